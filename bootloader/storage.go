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
	raw    bool   // flash: read, and not written
	larger bool   // NOR flash: of two flags the larger is current, without a wrap
}

// open resolves l and checks that it lies on what it names.
func (l Location) open(sys string) (*storage, error) {
	if l.Size < minSize || l.Size > maxSize {
		return nil, fmt.Errorf("%s: size %#x, want %#x to %#x", l.Path, l.Size, minSize, maxSize)
	}
	path, err := filepath.EvalSymlinks(l.Path)
	if err != nil && l.flash() { // also /dev/ubi0:NAME, which is not a file
		return nil, fmt.Errorf("%s: %w: %w", l.Path, ErrUnsupported, err)
	}
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // a FIFO would wait
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
	case mode.IsRegular():
	case mode&fs.ModeDevice != 0 && mode&fs.ModeCharDevice == 0:
		s.raw = s.flash() // mtdblock0, ubiblock0_1
	case mode&fs.ModeCharDevice != 0 && s.flash():
		kind, err := os.ReadFile(filepath.Join(s.sys, "class/mtd", filepath.Base(s.Path), "type"))
		s.raw, s.larger = true, err == nil && strings.TrimSpace(string(kind)) == "nor"
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

// read returns all of the copy, as the medium has it.
func (s *storage) read() (b []byte, err error) {
	f, err := os.Open(s.Path)
	if err != nil {
		return nil, err
	}
	b, err = s.readFrom(f)
	return b, errors.Join(err, f.Close())
}

// readFrom drops what is clean from the page cache first, so that the read asks
// the medium: after a failed write the two differ. The kernel keeps a page that
// is named in part only, hence the rounding.
func (s *storage) readFrom(f *os.File) ([]byte, error) {
	if !s.raw {
		page := int64(os.Getpagesize())
		from, to := s.Offset/page*page, (s.Offset+s.Size+page-1)/page*page
		if err := unix.Fadvise(int(f.Fd()), from, to-from, unix.FADV_DONTNEED); err != nil {
			return nil, fmt.Errorf("read %v: %w", s.Location, err)
		}
	}
	b := make([]byte, s.Size)
	if _, err := f.ReadAt(b, s.Offset); err != nil {
		return nil, fmt.Errorf("read %v: %w", s.Location, err)
	}
	return b, nil
}

// write replaces the copy and proves, past the page cache, that the medium has
// it. After an error the copy may hold anything.
func (s *storage) write(b []byte) (err error) {
	if s.raw {
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

// spoil makes the copy's checksum wrong.
func (s *storage) spoil() error {
	b, err := s.read()
	if err != nil {
		return err
	}
	for i := range headerSingle {
		b[i] = ^b[i]
	}
	head := *s
	head.Size = headerSingle
	return head.write(b[:headerSingle])
}

func (s *storage) writeTo(f *os.File, b []byte) error {
	if _, err := f.WriteAt(b, s.Offset); err != nil {
		return fmt.Errorf("write %v: %w", s.Location, err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync %v: %w", s.Location, err)
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
