// Package image makes the file that is written to a device's disk before its
// first start: a partition table, file systems, and bytes outside partitions.
// It knows nothing of boards or slots: a [Disk] is assembled from values.
//
// # What it promises
//
// No root and no loop device is needed. The same values give the same bytes, at
// any time, in any time zone, for any user: identities and times are given by
// the caller, and what the programs beneath would take from the clock is put
// right. The file is sparse. It appears whole or not at all: it is written
// under a temporary name, synced and renamed.
//
// Beside the image stands a block map, as bmaptool reads it. A map that follows
// the holes of the file, as tools make it, leaves on the medium what was there
// before, also where a file system relies on zeros: in inode tables, a journal,
// a file allocation table. This one lists every block that a file system counts
// as used, every area that was asked for, and every block that is not zero. The
// first MiB of the disk and of each partition without content is always in it,
// so that no table and no file system of an earlier life is found.
//
// # Whose work it is
//
// File systems are made by the programs that everybody makes them with: mke2fs
// and debugfs (Debian's e2fsprogs), mkfs.fat (dosfstools), mcopy (mtools), and
// fakeroot for owners and device nodes. Tables are go-diskfs's. Its FAT was
// tried (1.9.4) and left. fsck.vfat says of what it makes: a FAT16 has a lost
// cluster, an empty file has one as well, two long names got one short name, and
// the table of a FAT32 of 64 MiB is too short for its clusters. Times come from
// the environment of the process, "..", serial and FSInfo are wrong. To put that
// right afterwards takes a reader of FAT as large as a writer.
package image

import (
	"errors"

	"github.com/plimsoll-ota/plimsoll/partition/internal/program"
)

// What a caller may have to tell apart; compare with [errors.Is].
var (
	// ErrSize: a content does not fit its partition, or a partition the disk.
	ErrSize = errors.New("does not fit")
	// ErrLayout: the parts of a disk are in each other's way, or misplaced.
	ErrLayout = errors.New("bad layout")
	// ErrSource: the root file system is not what one can be made from.
	ErrSource = errors.New("not a root file system")
	// ErrProgram: a program that is needed is not installed.
	ErrProgram = program.ErrMissing
	// ErrNotMounted: a file system that is to grow is not mounted for writing.
	ErrNotMounted = errors.New("not mounted")
)
