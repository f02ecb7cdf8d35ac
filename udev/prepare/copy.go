package prepare

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/plimsoll-ota/plimsoll/artifact"
	"github.com/plimsoll-ota/plimsoll/udev/scan"
)

const (
	unit   = 1 << 20  // of reading and writing
	page   = 4 << 10  // what buffers of direct I/O are aligned to
	stride = 32 << 20 // written to the medium at a time: progress is true, and an interrupt takes seconds, not minutes

	partPrefix, partSuffix = ".plimsoll-", ".part"
)

// copy puts an artifact into the folder. All of it is verified again as it is read, since what was checked may have changed.
func (s *stick) copy(ctx context.Context, src source, o Options) error {
	write := func(w io.Writer) error {
		f, err := os.Open(src.path)
		if err != nil {
			return err
		}
		defer f.Close() // only read
		sum, n := sha256.New(), int64(0)
		r := bufio.NewReaderSize(watch{ctx, f, func(k int) {
			n += int64(k)
			o.Progress(StepCopy, n, src.Size)
		}}, unit)
		if _, _, err := scan.Read(io.TeeReader(r, io.MultiWriter(w, sum)), o.Verifier); err != nil {
			return err
		}
		if artifact.Sum(sum.Sum(nil)) != src.SHA256 {
			return ErrChanged
		}
		return nil
	}
	return s.place(src.File, write, func(part string) error {
		o.Progress(StepVerify, 0, src.Size)
		return s.readBack(ctx, part, src.SHA256, func(n int64) { o.Progress(StepVerify, n, src.Size) })
	})
}

// placeBytes puts a small file into the folder.
func (s *stick) placeBytes(ctx context.Context, name string, b []byte) error {
	write := func(w io.Writer) error {
		_, err := io.Copy(w, bytes.NewReader(b))
		return err
	}
	err := s.place(name, write, func(part string) error { return s.readBack(ctx, part, sha256.Sum256(b), func(int64) {}) })
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// place makes a file appear in the folder by its name once it is written, flushed and verified. Before that it has a hidden name, which
// is gone after an error.
func (s *stick) place(name string, write func(io.Writer) error, verify func(part string) error) (err error) {
	part := partPrefix + rand.Text() + partSuffix
	f, err := s.folder.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.folder.Remove(part))
		}
	}()
	if err := fill(f, write); err != nil {
		return err
	}
	if err := verify(part); err != nil {
		return err
	}
	return s.folder.Rename(part, name)
}

// fill writes, flushes and closes f.
func fill(f *os.File, write func(io.Writer) error) error {
	b := bufio.NewWriterSize(&steady{f: f}, unit)
	err := write(b)
	if err == nil {
		err = b.Flush()
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// steady is a writer that does not run ahead of its medium.
type steady struct {
	f *os.File
	n int64 // not flushed
}

func (s *steady) Write(b []byte) (int, error) {
	n, err := s.f.Write(b)
	if s.n += int64(n); err == nil && s.n >= stride {
		s.n, err = 0, s.f.Sync()
	}
	return n, err
}

// readBack returns ErrReadBack unless the file, as the medium holds it, has the sum want.
func (s *stick) readBack(ctx context.Context, name string, want artifact.Sum, progress func(n int64)) error {
	have, err := s.sum(ctx, name, unix.O_DIRECT, progress)
	if errors.Is(err, unix.EINVAL) { // not every file system has it
		have, err = s.sum(ctx, name, 0, progress)
	}
	if err != nil {
		return fmt.Errorf("read back: %w", err)
	}
	if have != want {
		return fmt.Errorf("read back: %w: have sha256 %v, want %v", ErrReadBack, have, want)
	}
	return nil
}

// sum returns the sum of a file past the cache: by reading with O_DIRECT, or after the kernel was asked to forget what it has in memory.
func (s *stick) sum(ctx context.Context, name string, direct int, progress func(n int64)) (artifact.Sum, error) {
	f, err := s.folder.OpenFile(name, os.O_RDONLY|direct, 0)
	if err != nil {
		return artifact.Sum{}, err
	}
	defer f.Close() // only read
	if direct == 0 {
		// Only what was written to the medium is forgotten.
		if err := errors.Join(f.Sync(), unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)); err != nil {
			return artifact.Sum{}, err
		}
	}
	sum, n, buf := sha256.New(), int64(0), aligned(unit)
	for {
		if ctx.Err() != nil {
			return artifact.Sum{}, context.Cause(ctx)
		}
		k, err := f.Read(buf)
		sum.Write(buf[:k])
		n += int64(k)
		if err == io.EOF {
			return artifact.Sum(sum.Sum(nil)), nil
		}
		if err != nil {
			return artifact.Sum{}, err
		}
		progress(n)
	}
}

// aligned returns n bytes for direct I/O.
func aligned(n int) []byte {
	b := make([]byte, n+page)
	return b[-uintptr(unsafe.Pointer(unsafe.SliceData(b)))%page:][:n:n]
}

// sweep removes what a call left that was killed.
func (s *stick) sweep() error {
	names, err := namesIn(s.folder)
	for _, name := range names {
		if strings.HasPrefix(name, partPrefix) && strings.HasSuffix(name, partSuffix) {
			err = errors.Join(err, s.folder.Remove(name))
		}
	}
	return err
}
