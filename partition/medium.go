package partition

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

const (
	mib    = 1 << 20 // the unit of reading, and what is withheld to the end
	block4 = 4 << 10 // the unit of comparing and writing
)

// A medium reads a slot past the page cache: what it returns is what the device
// answers now, not what was written to it or read from it before.
//
// It reads with O_DIRECT, which wants buffers aligned to the device's block and
// lengths that are multiples of it; the buffer is therefore a mapping of its
// own, and always read to from an offset that is a multiple of 4 KiB. Where the
// file system refuses O_DIRECT the pages are dropped before each read, which
// needs what was written to have been flushed.
type medium struct {
	f      *os.File
	direct bool
	buf    []byte // one MiB, page aligned
	size   int64
}

// openMedium opens the storage that held is already holding. Both must be the
// same: the name may have come to mean another since.
func openMedium(held *os.File) (*medium, error) {
	m := &medium{direct: true}
	f, err := os.OpenFile(held.Name(), os.O_RDONLY|unix.O_DIRECT|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.EINVAL) {
		m.direct = false
		f, err = os.OpenFile(held.Name(), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		return nil, err
	}
	m.f = f
	if err := m.prepare(held); err != nil {
		f.Close()
		return nil, err
	}
	return m, nil
}

func (m *medium) prepare(held *os.File) error {
	a, err1 := m.f.Stat()
	b, err2 := held.Stat()
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	if !os.SameFile(a, b) {
		return fmt.Errorf("%w: the name means another file now", ErrNoSlot)
	}
	var err error
	if m.size, err = m.f.Seek(0, io.SeekEnd); err != nil {
		return err
	}
	m.buf, err = unix.Mmap(-1, 0, mib, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return fmt.Errorf("map a buffer: %w", err)
	}
	return nil
}

// read returns the n bytes at off as the medium holds them, valid until the
// next call. off is a multiple of 4 KiB, n at most one MiB.
func (m *medium) read(off int64, n int) ([]byte, error) {
	got, err := m.fill(off, n)
	if errors.Is(err, unix.EINVAL) && m.direct {
		if err = m.buffered(); err == nil {
			got, err = m.fill(off, n)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("read at %d: %w", off, err)
	}
	if got < n {
		return nil, fmt.Errorf("read at %d: %w: %d of %d bytes", off, io.ErrUnexpectedEOF, got, n)
	}
	return m.buf[:n], nil
}

// fill reads at least n bytes, rounded up to what a direct read may ask for;
// fewer only at the end of the slot.
func (m *medium) fill(off int64, n int) (got int, err error) {
	if !m.direct {
		if err := unix.Fadvise(int(m.f.Fd()), off, int64(n), unix.FADV_DONTNEED); err != nil {
			return 0, fmt.Errorf("drop cached pages: %w", err)
		}
	}
	whole := (n + block4 - 1) &^ (block4 - 1)
	for got < n {
		k, err := unix.Pread(int(m.f.Fd()), m.buf[got:whole], off+int64(got))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || k == 0 {
			return got, err
		}
		got += k
	}
	return got, nil
}

// buffered gives up O_DIRECT for good.
func (m *medium) buffered() error {
	flags, err := unix.FcntlInt(m.f.Fd(), unix.F_GETFL, 0)
	if err == nil {
		_, err = unix.FcntlInt(m.f.Fd(), unix.F_SETFL, flags&^unix.O_DIRECT)
	}
	m.direct = false
	return err
}

func (m *medium) close() error {
	return errors.Join(unix.Munmap(m.buf), m.f.Close())
}

// sum hashes head and then the medium from len(head) to size, one MiB after the
// other. len(head) is a multiple of 4 KiB, or size.
func (m *medium) sum(ctx context.Context, head []byte, size int64, progress func(n int64)) (sum [32]byte, err error) {
	hash := sha256.New()
	hash.Write(head)
	for off := int64(len(head)); off < size; {
		if ctx.Err() != nil {
			return sum, context.Cause(ctx)
		}
		b, err := m.read(off, int(min(mib, size-off)))
		if err != nil {
			return sum, err
		}
		hash.Write(b)
		off += int64(len(b))
		if progress != nil {
			progress(off)
		}
	}
	if ctx.Err() != nil {
		return sum, context.Cause(ctx)
	}
	return [32]byte(hash.Sum(nil)), nil
}

// check compares with the sum that was signed.
func (m *medium) check(ctx context.Context, head []byte, size int64, want [32]byte, progress func(n int64)) error {
	have, err := m.sum(ctx, head, size, progress)
	if err != nil {
		return err
	}
	if have != want {
		return fmt.Errorf("%w: have sha256 %x, want %x", ErrReadBack, have, want)
	}
	return nil
}

// same compares the medium at off with want, at most one MiB.
func (m *medium) same(off int64, want []byte) error {
	b, err := m.read(off, len(want))
	if err != nil {
		return err
	}
	if !bytes.Equal(b, want) {
		return fmt.Errorf("%w: within the %d bytes at %d", ErrReadBack, len(want), off)
	}
	return nil
}

// ReadBack compares the first size bytes of the slot, as the medium holds them,
// with sum. The slot is held meanwhile: ErrInUse, ErrSize, ErrReadBack, or the
// cause of ctx. progress, which may be nil, is told how far it came.
func (s Slot) ReadBack(ctx context.Context, size int64, sum [32]byte, progress func(n int64)) error {
	err := s.readBack(ctx, size, sum, progress)
	if err != nil {
		return fmt.Errorf("read back slot %v: %w", s, err)
	}
	return nil
}

func (s Slot) readBack(ctx context.Context, size int64, sum [32]byte, progress func(n int64)) error {
	f, err := s.open(os.O_RDONLY)
	if err != nil {
		return err
	}
	defer f.Close()
	// What somebody wrote before us may still be on its way to the medium.
	if err := f.Sync(); err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	m, err := openMedium(f)
	if err != nil {
		return err
	}
	defer m.close()
	if size < 0 || size > m.size {
		return fmt.Errorf("%w: the image has %d bytes, the slot %d", ErrSize, size, m.size)
	}
	return m.check(ctx, nil, size, sum, progress)
}
