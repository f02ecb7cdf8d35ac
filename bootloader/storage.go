package bootloader

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrReadBack: the medium does not hold the environment that was written.
var ErrReadBack = errors.New("the medium does not hold what was written")

// A storage is where one copy is kept: a location whose path is canonical and
// whose offset is from the beginning.
type storage struct {
	Location
	info   fs.FileInfo
	sys    string // where sysfs is
	larger bool   // NOR flash: of two flags the larger is current, without a wrap
}

// open resolves l and checks that it lies on what it names.
func (l Location) open(sys string) (*storage, error) {
	path, err := filepath.EvalSymlinks(l.Path)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	s := &storage{Location: l, sys: sys}
	s.Path = path
	return s, errors.Join(s.measure(f), f.Close())
}

// measure takes the offset from the end, if it is negative, and refuses what
// goes past it.
func (s *storage) measure(f *os.File) (err error) {
	if s.info, err = f.Stat(); err != nil {
		return err
	}
	switch mode := s.info.Mode(); {
	case mode.IsRegular(), mode&fs.ModeDevice != 0 && mode&fs.ModeCharDevice == 0:
	case s.flash() && mode&fs.ModeCharDevice != 0:
		kind, err := os.ReadFile(filepath.Join(s.sys, "class/mtd", filepath.Base(s.Path), "type"))
		s.larger = err == nil && strings.TrimSpace(string(kind)) == "nor"
		return nil // its size is not to be had by seeking
	default:
		return fmt.Errorf("%s: %w: neither a block device nor a plain file", s.Path, ErrUnsupported)
	}
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("size of %s: %w", s.Path, err)
	}
	if s.Offset < 0 {
		s.Offset += end
	}
	if s.Offset < 0 || s.Offset > end-s.Size {
		return fmt.Errorf("%s: the environment is %#x bytes at %#x, and the device ends at %#x", s.Path, s.Size, s.Offset, end)
	}
	return nil
}

// overlaps reports whether two copies share a byte. They must not: the write
// of one would destroy the other.
func (s *storage) overlaps(o *storage) bool {
	same := s.Path == o.Path || os.SameFile(s.info, o.info)
	a, okA := s.info.Sys().(*syscall.Stat_t)
	b, okB := o.info.Sys().(*syscall.Stat_t)
	if okA && okB && s.info.Mode()&fs.ModeDevice != 0 && o.info.Mode()&fs.ModeDevice != 0 {
		same = same || a.Rdev == b.Rdev
	}
	return same && s.Offset < o.Offset+o.Size && o.Offset < s.Offset+s.Size
}

// read returns all of the copy.
func (s *storage) read() (b []byte, err error) {
	f, err := os.Open(s.Path)
	if err != nil {
		return nil, err
	}
	b, err = s.readFrom(f)
	return b, errors.Join(err, f.Close())
}

func (s *storage) readFrom(f *os.File) ([]byte, error) {
	b := make([]byte, s.Size)
	if _, err := f.ReadAt(b, s.Offset); err != nil {
		return nil, fmt.Errorf("read %v: %w", s.Location, err)
	}
	return b, nil
}

// write replaces the copy and proves, past the page cache, that the medium has
// it. After an error the copy may hold anything.
func (s *storage) write(b []byte) (err error) {
	if s.flash() {
		return fmt.Errorf("%s: %w: raw flash is read and not written", s.Path, ErrUnsupported)
	}
	unlock, err := s.unprotect()
	if err != nil {
		return err
	}
	return errors.Join(s.writeAndCompare(b), unlock())
}

func (s *storage) writeAndCompare(b []byte) error {
	f, err := os.OpenFile(s.Path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	err = s.writeTo(f, b)
	return errors.Join(err, f.Close())
}

func (s *storage) writeTo(f *os.File, b []byte) error {
	if _, err := f.WriteAt(b, s.Offset); err != nil {
		return fmt.Errorf("write %v: %w", s.Location, err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync %v: %w", s.Location, err)
	}
	// What is clean is dropped from the cache, so that the read asks the medium.
	if err := unix.Fadvise(int(f.Fd()), s.Offset, s.Size, unix.FADV_DONTNEED); err != nil {
		return fmt.Errorf("read back %v: %w", s.Location, err)
	}
	have, err := s.readFrom(f)
	if err != nil {
		return err
	}
	if !bytes.Equal(have, b) {
		return fmt.Errorf("read back %v: %w", s.Location, ErrReadBack)
	}
	return nil
}

// unprotect clears force_ro of an eMMC boot partition, where the kernel
// refuses writes by default, and returns what sets it back.
func (s *storage) unprotect() (protect func() error, err error) {
	name := filepath.Base(s.Path)
	path := filepath.Join(s.sys, "class/block", name, "force_ro")
	if !strings.HasPrefix(name, "mmcblk") || !strings.Contains(name, "boot") {
		return func() error { return nil }, nil
	}
	before, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return func() error { return nil }, nil
	}
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(path, []byte("0"), 0); err != nil {
		return nil, err
	}
	return func() error { return os.WriteFile(path, bytes.TrimSpace(before), 0) }, nil
}
