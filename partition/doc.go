// Package partition finds the two slots of a device and writes an image to the
// one that is not running, so that a cut at any moment leaves either a slot
// nobody touched, a slot that nothing can load, or the whole image.
//
// # Finding
//
// A [Host] is where the kernel's view of itself is read. [Host.Find] turns what
// the configuration says (a partition number on the disk that backs "/", a
// PARTUUID, a path) into a [Pair] and refuses what would let one name stand for
// both slots: symlinks, hard links, two loop devices of one file, a mapping
// above the other slot. [Host.Running] walks down from "/": overlay to its
// layers, loop to its backing file, device mapper to its slaves, until it
// stands on a slot; what it finds must agree with the kernel command line.
//
// A slot is a block device or a plain file. Raw flash (UBI, MTD) needs erasing
// and bad block handling and is refused.
//
// # Writing
//
// [Slot.Create] opens the slot exclusively and holds it. For a block device the
// kernel then answers for everything that could be using it, in any mount
// namespace, mapped or swapped to. After that:
//
//  1. Each MiB of the image is compared with what the medium holds, read past
//     the page cache. Blocks of 4 KiB that are right already are not written.
//     The image's first MiB is kept in memory.
//  2. Before the first block that differs is written, wherever it stands, the
//     slot's first MiB is zeroed and flushed. From here on the slot has no
//     superblock: no bootloader loads it and no kernel mounts it.
//  3. [Writer.Verify] flushes, reads back everything behind the first MiB past
//     the page cache, and hashes it behind the first MiB in memory. Only if
//     that is the sum that was signed is the first MiB written, its first
//     block last of all, flushed, read back and compared.
//  4. [Writer.Close] returns nil only after that. Nothing writes the slot
//     afterwards.
//
// An image that the slot holds already costs no write at all. No byte behind
// the end of the image is changed, and a plain file keeps its size. Memory is
// three buffers of one MiB, whatever the size of the image.
//
// # Copying
//
// [Source.Copy] reads the image of a file system that is in use, such as the
// running one. It is frozen meanwhile, so that the image is that of one moment,
// and a guard of its own process thaws it if this one dies: a device whose root
// stays frozen hangs.
//
// # What this cannot see
//
// A medium whose own cache answers the read-back instead of its cells. Most
// dying cards are found here; not all.
package partition

import "errors"

// What a caller may have to tell apart. All are wrapped with the slot and the
// values that matter; compare with [errors.Is].
var (
	// ErrNoSlot: the configuration names something that is not there.
	ErrNoSlot = errors.New("no such slot")
	// ErrSameSlot: both slots are the same storage, or bear the same number.
	ErrSameSlot = errors.New("both slots are the same")
	// ErrUnsupported: what is named is neither a block device nor a plain file
	// that can hold an image.
	ErrUnsupported = errors.New("not usable as a slot")
	// ErrAmbiguous: two sources disagree about which slot or disk is meant.
	ErrAmbiguous = errors.New("slots are ambiguous")
	// ErrNotSlot: the root file system is on neither slot (rescue system,
	// network root, another medium).
	ErrNotSlot = errors.New("running from neither slot")
	// ErrInUse: somebody else holds the slot: mounted, mapped, swapped to, or
	// being written.
	ErrInUse = errors.New("slot is in use")
	// ErrSize: the image does not fit the slot, or is longer than announced.
	ErrSize = errors.New("image does not fit")
	// ErrReadBack: the medium does not hold what it should.
	ErrReadBack = errors.New("medium differs from the image")
	// ErrIncomplete: the image was not written and verified to its end.
	ErrIncomplete = errors.New("image is incomplete")
)
