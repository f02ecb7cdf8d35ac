package data

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// A need is what copies will take of a file system.
type need struct {
	bytes int64
	files int64
}

// add counts a file, and all that is not a file as one without content.
func (n *need) add(bytes, block int64) {
	n.bytes += (bytes + block - 1) / block * block
	n.files++
}

// room is what a file system has.
type room struct {
	free  int64 // bytes, without what is kept for root
	files int64 // that can be made; -1: as many as fit
	block int64
}

func roomOf(dir *os.File) (r room, err error) {
	var st unix.Statfs_t
	if err := again(func() error { return unix.Fstatfs(int(dir.Fd()), &st) }); err != nil {
		return r, fmt.Errorf("ask %s for its free space: %w", dir.Name(), err)
	}
	r.block = max(int64(st.Bsize), 1)
	r.free = int64(st.Bavail) * r.block
	r.files = int64(st.Ffree)
	if st.Files == 0 { // btrfs, vfat
		r.files = -1
	}
	return r, nil
}

// fits refuses what needs more than is free but for a tenth, which is left for
// whoever else writes meanwhile.
func (r room) fits(n need, where string) error {
	if usable := r.free - r.free/10; n.bytes > usable {
		return fmt.Errorf("%w: the copies need %d bytes on %s, where %d are free and a tenth of that is left alone", ErrSpace, n.bytes, where, r.free)
	}
	if r.files >= 0 && n.files > r.files-r.files/10 {
		return fmt.Errorf("%w: the copies are %d files on %s, where %d more can be made and a tenth of that is left alone", ErrSpace, n.files, where, r.files)
	}
	return nil
}

// canClone reports whether a new file in dir can share blocks with src. It
// leaves nothing behind: the file that it tries with has no name.
func canClone(src, dir *os.File) bool {
	fd, err := openFD(int(dir.Fd()), ".", unix.O_TMPFILE|unix.O_RDWR, 0o600)
	if err != nil {
		return false
	}
	defer unix.Close(fd) // of no consequence
	return unix.IoctlFileClone(fd, int(src.Fd())) == nil
}
