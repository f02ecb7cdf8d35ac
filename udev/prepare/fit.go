package prepare

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

const (
	magicFAT   = 0x4d44     // MSDOS_SUPER_MAGIC, linux/magic.h
	magicNTFS  = 0x5346544e // of the older driver
	magicNTFS3 = 0x7366746e // of fs/ntfs3
	maxFAT     = 1<<32 - 1  // bytes of a file: its size has 32 bits

	entrySize  = 4 << 10 // of one artifact in the index and in the folder: more than it ever takes
	folderSize = 64 << 10
)

// fits asks the file system of the stick. kept is how many artifacts are on it that stay.
func (s *stick) fits(sources []source, kept int, o Options) error {
	d, err := s.root.Open(".")
	if err != nil {
		return err
	}
	defer d.Close() // only asked
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(d.Fd()), &st); err != nil {
		return fmt.Errorf("ask for free space: %w", err)
	}
	var add []source
	for _, src := range sources {
		if !s.holds(src) {
			add = append(add, src)
		}
	}
	extra := folderSize + int64(len(sources)+kept)*entrySize + o.Reserve
	for _, serial := range o.Serials {
		extra += int64(len(serial)) + 1
	}
	return fits(space{magic: int64(st.Type) & 0xffffffff, block: int64(st.Bsize), free: int64(st.Bavail)}, add, extra)
}

// holds reports whether a file of that name and size is there: if it turns out not to be the same it is a clash anyway.
func (s *stick) holds(src source) bool {
	if s.folder == nil {
		return false
	}
	st, err := s.folder.Lstat(src.File)
	return err == nil && st.Mode().IsRegular() && st.Size() == src.Size
}

// A space is what a file system says of itself.
type space struct {
	magic       int64
	block, free int64 // bytes of a block, and how many of them may be used
}

// fits returns nil if sources, and extra bytes of small files, fit.
func fits(s space, sources []source, extra int64) error {
	if s.magic == magicNTFS || s.magic == magicNTFS3 {
		return fmt.Errorf("%w: format the stick as FAT32 or exFAT", ErrNTFS)
	}
	var errs []error
	block := max(s.block, 1)
	need := (extra + block - 1) / block
	for _, src := range sources {
		if s.magic == magicFAT && src.Size > maxFAT {
			errs = append(errs, fmt.Errorf("%s: %d bytes: %w: format the stick as exFAT or ext4", src.path, src.Size, ErrFAT))
		}
		need += src.Size/block + 1
	}
	if need > s.free {
		errs = append(errs, fmt.Errorf("%w: it needs %d MiB, and %d MiB are free", ErrSpace, up(need*block), (s.free*block)>>20))
	}
	return errors.Join(errs...)
}

// up returns how many MiB hold n bytes.
func up(n int64) int64 { return (n + 1<<20 - 1) >> 20 }
