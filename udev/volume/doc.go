// Package volume is everything between the kernel's name of a disk and a
// mounted folder: what is on a stick, whether it may be written, mounting it,
// and handing it back.
//
// # What is there
//
// [Disk] takes a name such as "sda", waits until the kernel has shown all of
// its partitions, and says of each what kind of file system it holds. It finds
// that out from the first 68 KiB and at most three short reads further on
// ([Identify]): no byte of them is believed before it is checked, and what
// they claim decides neither how much memory is taken nor how much is read.
// Only the kind that was recognised is ever mounted; the kernel is never left
// to try its drivers on what a stranger brings.
//
// # Reading
//
// [Volume.Mount] mounts read-only, without devices, setuid, programs or
// symlinks, and marks the block device itself as read-only for as long: drivers
// replay journals, release orphans and note errors even where the mount is
// read-only, and this is where that ends. What a file system says about
// itself does not decide what the kernel does on an error (an ext4 superblock
// may ask for a panic).
//
// # Writing
//
// [Mounted.Writable] is for one short write. A volume is written only if its
// file system says that it was put away in order (clean), the medium is not
// write-protected, and the kind is one that the kernel writes well: vfat, exfat,
// ext4. After [Mounted.Close] returns nil, every byte is on the stick.
//
// # The stick that is pulled out
//
// sysfs is the truth: a disk is gone when /sys/block does not list it, or lists
// another under its name (the kernel numbers disks, diskseq, since Linux 5.15).
// Nothing here waits without bound for a stick that does not answer.
package volume

import "errors"

// What a caller may have to tell apart. All are wrapped with the device;
// compare with [errors.Is]. A [KindError] says which kind it was.
var (
	// ErrKind: the file system is not one that is mounted here, or that is
	// asked for. Always a [KindError].
	ErrKind = errors.New("file system is not supported")
	// ErrCorrupt: the kernel does not mount a file system of a kind that it
	// knows, or finds files in it that lead nowhere.
	ErrCorrupt = errors.New("file system is damaged")
	// ErrMedium: the stick answers, but cannot do all that it is asked for: it is
	// wearing out.
	ErrMedium = errors.New("stick has read or write errors")
	// ErrDirty: the file system was not put away in order (pulled out, or in
	// use elsewhere), so nothing is written to it.
	ErrDirty = errors.New("file system was not unmounted cleanly")
	// ErrWriteProtected: the stick, or its switch, refuses writes.
	ErrWriteProtected = errors.New("stick is write-protected")
	// ErrInUse: somebody else has the volume mounted or mapped.
	ErrInUse = errors.New("volume is in use")
	// ErrGone: the stick is not there any more, or another one has its name.
	ErrGone = errors.New("stick is gone")
	// ErrName: what was named cannot be the name of a disk.
	ErrName = errors.New("not the name of a disk")
	// ErrTooMany: the stick has more volumes than are looked at.
	ErrTooMany = errors.New("too many volumes")
	// ErrStuck: the stick is there and does not answer.
	ErrStuck = errors.New("stick does not answer")
)
