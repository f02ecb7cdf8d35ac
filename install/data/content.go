package data

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

const unit = 256 << 10 // of copying

// A copier copies the content of files.
type copier struct {
	ctx   context.Context
	clone bool // share blocks where the file system can
	buf   [unit]byte
	zero  [unit]byte
	moved func(n int64) // may be nil
}

// copy copies size bytes of src to dst, which is empty, and returns their sum.
// Where src has holes, dst has. A source that ends early is errShort.
func (c *copier) copy(dst, src *os.File, size int64) (sum string, err error) {
	if c.clone && size > 0 && unix.IoctlFileClone(int(dst.Fd()), int(src.Fd())) == nil {
		return c.sum(dst, size)
	}
	h := sha256.New()
	for at := int64(0); at < size; {
		from, to := nextData(src, at, size)
		if err := c.zeros(h, from-at); err != nil {
			return "", err
		}
		if err := c.stretch(h, dst, src, from, to); err != nil {
			return "", err
		}
		at = to
	}
	if err := dst.Truncate(size); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// errShort is a file that has less than it had.
var errShort = errors.New("the file is shorter than it was")

// stretch copies and hashes the bytes of one range.
func (c *copier) stretch(h hash.Hash, dst, src *os.File, from, to int64) error {
	for from < to {
		if c.ctx.Err() != nil {
			return context.Cause(c.ctx)
		}
		b := c.buf[:min(to-from, unit)]
		n, err := src.ReadAt(b, from)
		if err != nil && err != io.EOF {
			return err
		}
		if n < len(b) {
			return fmt.Errorf("%s: %w", src.Name(), errShort)
		}
		h.Write(b)
		if dst != nil {
			if _, err := dst.WriteAt(b, from); err != nil {
				return err
			}
		}
		from += int64(n)
		c.count(int64(n))
	}
	return nil
}

// zeros hashes a hole.
func (c *copier) zeros(h hash.Hash, n int64) error {
	for n > 0 {
		if c.ctx.Err() != nil {
			return context.Cause(c.ctx)
		}
		k := min(n, unit)
		h.Write(c.zero[:k])
		n -= k
		c.count(k)
	}
	return nil
}

func (c *copier) count(n int64) {
	if c.moved != nil {
		c.moved(n)
	}
}

// sum returns the sum of what f holds.
func (c *copier) sum(f *os.File, size int64) (string, error) {
	h := sha256.New()
	for at := int64(0); at < size; {
		from, to := nextData(f, at, size)
		if err := c.zeros(h, from-at); err != nil {
			return "", err
		}
		if err := c.stretch(h, nil, f, from, to); err != nil {
			return "", err
		}
		at = to
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// sumOnMedium is sum of what was flushed, after the kernel was asked to forget
// it: from the medium, as far as a program can have that.
func (c *copier) sumOnMedium(f *os.File, size int64) (string, error) {
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		return "", fmt.Errorf("drop cached pages: %w", err)
	}
	return c.sum(f, size)
}

// nextData returns the next range from at on, and before size, that is not a
// hole; an empty one at size if there is none. A file system that does not know
// has no holes.
func nextData(f *os.File, at, size int64) (from, to int64) {
	from, err := unix.Seek(int(f.Fd()), at, unix.SEEK_DATA)
	if errors.Is(err, unix.ENXIO) {
		return size, size
	}
	if err != nil {
		return at, size
	}
	to, err = unix.Seek(int(f.Fd()), from, unix.SEEK_HOLE)
	if err != nil || to <= from {
		to = size
	}
	return min(from, size), min(to, size)
}

// stored returns how many bytes of a file are not holes.
func stored(f *os.File, size int64) (n int64) {
	for at := int64(0); at < size; {
		from, to := nextData(f, at, size)
		n += to - from
		at = to
	}
	return n
}

// readBack makes sure that the medium has what f should hold.
func (c *copier) readBack(f *os.File, e entry) error {
	have, err := c.sumOnMedium(f, e.Size)
	if err != nil {
		return err
	}
	if have != e.SHA256 {
		return fmt.Errorf("%s: the medium does not hold what was written: have sha256 %s, want %s", e.Path, have, e.SHA256)
	}
	return nil
}
