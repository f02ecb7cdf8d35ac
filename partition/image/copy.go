package image

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// A copier copies files into a part of another that has only holes there, and
// leaves what is zero a hole.
type copier struct {
	ctx    context.Context
	dst    *os.File
	off    int64
	report func(n int64) // bytes that are through; may be nil
}

var zeros [block]byte

func (c copier) copy(src *os.File, size int64) error {
	buf := make([]byte, 1<<20)
	for at := int64(0); at < size; {
		if c.ctx.Err() != nil {
			return context.Cause(c.ctx)
		}
		data, end, err := nextData(src, at, size)
		if err != nil {
			return err
		}
		c.through(data - at)
		for at = data; at < end; {
			if c.ctx.Err() != nil {
				return context.Cause(c.ctx)
			}
			b := buf[:min(int64(len(buf)), end-at)]
			if _, err := io.ReadFull(io.NewSectionReader(src, at, int64(len(b))), b); err != nil {
				return err
			}
			if err := c.write(b, at); err != nil {
				return err
			}
			at += int64(len(b))
			c.through(int64(len(b)))
		}
	}
	return nil
}

func (c copier) through(n int64) {
	if c.report != nil && n > 0 {
		c.report(n)
	}
}

// write writes what is not zero of b, block by block.
func (c copier) write(b []byte, at int64) error {
	for i := 0; i < len(b); {
		n := min(block, len(b)-i)
		if bytes.Equal(b[i:i+n], zeros[:n]) {
			i += n
			continue
		}
		end := i + n
		for end < len(b) && !bytes.Equal(b[end:min(end+block, len(b))], zeros[:min(block, len(b)-end)]) {
			end = min(end+block, len(b))
		}
		if _, err := c.dst.WriteAt(b[i:end], c.off+at+int64(i)); err != nil {
			return err
		}
		i = end
	}
	return nil
}

// nextData returns the next part of a file, from at on, that is not a hole; end
// is never beyond size. On file systems that know no holes it is all of it.
func nextData(f *os.File, at, size int64) (data, end int64, err error) {
	data, err = unix.Seek(int(f.Fd()), at, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO):
		return size, size, nil
	case errors.Is(err, unix.EINVAL):
		return at, size, nil
	case err != nil:
		return 0, 0, err
	case data >= size:
		return size, size, nil
	}
	end, err = unix.Seek(int(f.Fd()), data, unix.SEEK_HOLE)
	if err != nil {
		return 0, 0, err
	}
	return data, min(end, size), nil
}

// Copy copies a file into another that is empty, with its holes.
func Copy(ctx context.Context, dst, src *os.File) error {
	size, err := src.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if err := dst.Truncate(size); err != nil {
		return err
	}
	return copier{ctx: ctx, dst: dst}.copy(src, size)
}
