package partition

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	mib    = 1 << 20
	unit   = mib     // of reading and writing: a request costs the time of its way, however short it is
	block4 = 4 << 10 // the unit of comparing and writing
)

// A medium is a slot past the page cache: what it reads is what the device
// answers now, not what was written to it or read from it before, and what it
// writes is not kept in memory that others need.
//
// That is O_DIRECT, which wants buffers aligned to the device's block and
// lengths that are multiples of it: everything is done from an offset that is a
// multiple of 4 KiB, with buffers from aligned. Where the file system refuses
// O_DIRECT, and for an end that is no whole block, pages are dropped before each
// read, which needs what was written to have been flushed, and sent to the
// device soon after each write.
type medium struct {
	held   *os.File // through the page cache, and exclusive
	f      *os.File // past it
	direct bool
	size   int64
	buf    []byte  // one unit
	wrote  stretch // through the page cache, at last
	zeroes zeroes
}

// A stretch is a range of bytes.
type stretch struct{ off, n int64 }

// aligned returns n bytes for direct I/O.
func aligned(n int) []byte {
	b := make([]byte, n+block4)
	return b[-uintptr(unsafe.Pointer(unsafe.SliceData(b)))%block4:][:n:n]
}

func isAligned(b []byte) bool { return uintptr(unsafe.Pointer(unsafe.SliceData(b)))%block4 == 0 }

// openMedium opens the storage that held is already holding, for reading
// (os.O_RDONLY) or both (os.O_RDWR). Both files must be the same: the name may
// have come to mean another since.
func openMedium(held *os.File, mode int) (*medium, error) {
	m := &medium{held: held, direct: true}
	f, err := os.OpenFile(held.Name(), mode|unix.O_DIRECT|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.EINVAL) {
		m.direct = false
		f, err = os.OpenFile(held.Name(), mode|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		return nil, err
	}
	m.f = f
	if err := m.prepare(); err != nil {
		f.Close()
		return nil, err
	}
	return m, nil
}

func (m *medium) prepare() error {
	a, err1 := m.f.Stat()
	b, err2 := m.held.Stat()
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
	m.buf, m.zeroes = aligned(unit), zeroesOf(a)
	return nil
}

// read returns the n bytes at off as the medium holds them, valid until the
// next call. off is a multiple of 4 KiB, n at most one unit.
func (m *medium) read(off int64, n int) ([]byte, error) { return m.readTo(m.buf, off, n) }

// readTo is read with a buffer that is aligned and a multiple of 4 KiB.
func (m *medium) readTo(buf []byte, off int64, n int) ([]byte, error) {
	got, err := m.fill(buf, off, n)
	if errors.Is(err, unix.EINVAL) && m.direct {
		if err = m.buffered(); err == nil {
			got, err = m.fill(buf, off, n)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("read at %d: %w", off, err)
	}
	if got < n {
		return nil, fmt.Errorf("read at %d: %w: %d of %d bytes", off, io.ErrUnexpectedEOF, got, n)
	}
	return buf[:n], nil
}

// fill reads at least n bytes, rounded up to what a direct read may ask for;
// fewer only at the end of the slot.
func (m *medium) fill(buf []byte, off int64, n int) (got int, err error) {
	if !m.direct {
		if err := unix.Fadvise(int(m.f.Fd()), off, int64(n), unix.FADV_DONTNEED); err != nil {
			return 0, fmt.Errorf("drop cached pages: %w", err)
		}
	}
	whole := (n + block4 - 1) &^ (block4 - 1)
	for got < n {
		k, err := unix.Pread(int(m.f.Fd()), buf[got:whole], off+int64(got))
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

// writeAt writes b, which is aligned, at off, a multiple of 4 KiB. It is on the
// medium after a flush of held.
func (m *medium) writeAt(b []byte, off int64) (n int, err error) {
	whole := len(b) &^ (block4 - 1)
	if m.direct && whole > 0 {
		n, err = m.f.WriteAt(b[:whole], off)
		if errors.Is(err, unix.EINVAL) {
			err = m.buffered()
		}
		if err != nil {
			return n, err
		}
	}
	if n < len(b) {
		k, err := m.held.WriteAt(b[n:], off+int64(n))
		return n + k, errors.Join(err, m.push(stretch{off + int64(n), int64(k)}))
	}
	return n, nil
}

// push sends what was written through the page cache to the device, and drops
// what was sent before. An error is one of the writing: the kernel tells of it
// once only, and a flush after it might succeed.
func (m *medium) push(now stretch) error {
	last := m.wrote
	m.wrote = now
	err := unix.SyncFileRange(int(m.held.Fd()), now.off, now.n, unix.SYNC_FILE_RANGE_WRITE)
	if err != nil || last.n == 0 {
		return err
	}
	const wait = unix.SYNC_FILE_RANGE_WAIT_BEFORE | unix.SYNC_FILE_RANGE_WRITE | unix.SYNC_FILE_RANGE_WAIT_AFTER
	if err := unix.SyncFileRange(int(m.held.Fd()), last.off, last.n, wait); err != nil {
		return err
	}
	_ = unix.Fadvise(int(m.held.Fd()), last.off, last.n, unix.FADV_DONTNEED) // a help
	return nil
}

func (m *medium) close() error { return m.f.Close() }

// sum hashes head and then the medium from len(head) to size; while one unit is
// hashed the next is read. len(head) is a multiple of 4 KiB, or size.
func (m *medium) sum(ctx context.Context, head []byte, size int64, progress func(n int64)) (sum [32]byte, err error) {
	if progress == nil {
		progress = func(int64) {}
	}
	hash := sha256.New()
	hash.Write(head)
	progress(int64(len(head)))
	ahead := m.ahead(int64(len(head)), size)
	defer ahead.end()
	for off := int64(len(head)); off < size; {
		if ctx.Err() != nil {
			return sum, context.Cause(ctx)
		}
		b, err := ahead.next()
		if err != nil {
			return sum, err
		}
		hash.Write(b)
		off += int64(len(b))
		progress(off)
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

// same compares the medium at off with want.
func (m *medium) same(off int64, want []byte) (bool, error) {
	for b := range slices.Chunk(want, unit) {
		have, err := m.read(off, len(b))
		if err != nil || !bytes.Equal(have, b) {
			return false, err
		}
		off += int64(len(b))
	}
	return true, nil
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
	m, err := openMedium(f, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer m.close()
	if size < 0 || size > m.size {
		return fmt.Errorf("%w: the image has %d bytes, the slot %d", ErrSize, size, m.size)
	}
	return m.check(ctx, nil, size, sum, progress)
}
