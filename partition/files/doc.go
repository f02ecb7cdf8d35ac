// Package files reads and changes the files of a file system that lies inside a
// plain file: an image, or a partition of a disk image. Nothing is mounted, and
// no root is needed. It knows nothing of artifacts or slots.
//
// # What it promises
//
// A path means what it means on a system that runs from the file system: links
// are followed from component to component, and never lead out of it. "/" is the
// top of the file system, also for a link that begins with it or climbs above it.
//
// The same change to the same image gives the same bytes: every time that is
// written is the System's, also in the superblock. Content is streamed.
//
// A change is made in place, by several writes. Work on a copy, call [System.Check]
// when all is changed, and throw the copy away after any error.
//
// # Whose work it is
//
// ext2, ext3 and ext4 are read and changed by e2fsprogs' debugfs, and checked by
// its e2fsck. debugfs exits with 0 whatever happens, so that everything it says
// on standard error is an error here, and what was put is read back and compared.
// It reads its commands line by line, which is why a name with a line break can
// be read and not written.
//
// FAT is changed by mtools, for the reasons that the package image gives, and
// read here: mtools prints folders for people, and takes names for patterns. FAT
// has neither owners nor permissions nor links.
package files

import "errors"

// What a caller may have to tell apart; compare with [errors.Is]. A path that is
// not there is an fs.ErrNotExist.
var (
	// ErrNone: there is no file system that is known.
	ErrNone = errors.New("no ext2, ext3, ext4 or FAT file system")
	// ErrUnclean: the file system has errors, or was not unmounted.
	ErrUnclean = errors.New("file system is not clean")
	// ErrName: a name that cannot be written, though it may be there.
	ErrName = errors.New("name is not supported")
	// ErrSpace: the file system has no room for what is put.
	ErrSpace = errors.New("file system is full")
	// ErrKind: what is there is of another kind: a folder in place of a file.
	ErrKind = errors.New("the wrong kind of file")
)
