package partition

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// A Writer puts one image into one slot. It is an [io.Writer] for the image;
// after the last byte comes Verify, then Close. The first error stays: every
// later call returns it.
type Writer struct {
	slot Slot
	size int64
	held *os.File // exclusive
	med  *medium

	// All that changes the medium goes through these three, its own.
	writeAt func(b []byte, off int64) (int, error)
	zeroAt  func(off, n int64) (bool, error)
	flush   func() error

	head    []byte // the image's first unit, withheld from the medium to the end
	chunk   []byte // the unit being gathered
	taken   int64  // bytes of the image accepted
	written int64
	differs streak

	begun    bool // the slot's first MiB is being or was zeroed
	verified bool
	closed   bool
	err      error
}

// Create opens the slot for an image of exactly size bytes and holds it until
// Close or Abort. It writes nothing. ErrInUse: somebody else uses the slot;
// ErrSize: the image does not fit, or has no bytes.
func (s Slot) Create(size int64) (*Writer, error) {
	w, err := s.create(size)
	if err != nil {
		return nil, fmt.Errorf("open slot %v: %w", s, err)
	}
	return w, nil
}

func (s Slot) create(size int64) (*Writer, error) {
	f, err := s.open(os.O_RDWR)
	if err != nil {
		return nil, err
	}
	dropCache(f)
	m, err := openMedium(f, os.O_RDWR)
	if err != nil {
		f.Close()
		return nil, err
	}
	if size <= 0 || size > m.size {
		m.close()
		f.Close()
		return nil, fmt.Errorf("%w: the image has %d bytes, the slot %d", ErrSize, size, m.size)
	}
	return &Writer{
		slot: s, size: size, held: f, med: m,
		writeAt: m.writeAt, zeroAt: m.zeroAt, flush: f.Sync,
	}, nil
}

// dropCache asks the kernel to forget clean pages. It is a help, not a need:
// what is compared is read past the cache anyhow.
func dropCache(f *os.File) { _ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) }

// Write takes the next bytes of the image. Bytes beyond the size given to
// Create are refused with ErrSize and change nothing.
func (w *Writer) Write(b []byte) (n int, err error) {
	if err := w.usable(); err != nil {
		return 0, err
	}
	room := w.size - w.taken
	over := int64(len(b)) > room
	if over {
		b = b[:room]
	}
	for len(b) > 0 {
		part, k := w.gather(b)
		b, n, w.taken = b[k:], n+k, w.taken+int64(k)
		if len(part) < unit && w.taken < w.size {
			break
		}
		if err := w.settle(part); err != nil {
			return n, w.fail("write", err)
		}
		w.chunk = w.chunk[:0]
	}
	if n > 0 && w.taken == w.size && w.begun {
		if err := w.sync(); err != nil { // part of the writing, rather than of what comes after it
			return n, w.fail("write", err)
		}
	}
	if over {
		return n, w.fail("write", fmt.Errorf("%w: it is longer than the %d bytes announced", ErrSize, w.size))
	}
	return n, nil
}

func (w *Writer) usable() error {
	if w.err == nil && w.closed {
		return fmt.Errorf("write slot %v: %w", w.slot, os.ErrClosed)
	}
	return w.err
}

func (w *Writer) fail(verb string, err error) error {
	w.verified = false
	w.err = fmt.Errorf("%s slot %v: %w", verb, w.slot, err)
	return w.err
}

// gather takes the next k bytes of b, and returns what there is of the unit that
// they belong to. That is b itself where it can be written from there.
func (w *Writer) gather(b []byte) (part []byte, k int) {
	whole := int(min(unit, w.size))
	part = b[:min(len(b), whole)]
	isWhole := len(part) == whole || w.taken+int64(len(part)) == w.size
	if isWhole && w.head != nil && len(w.chunk) == 0 && isAligned(part) {
		return part, len(part)
	}
	if w.chunk == nil {
		w.chunk = aligned(whole)[:0]
	}
	k = min(len(b), whole-len(w.chunk))
	w.chunk = append(w.chunk, b[:k]...)
	return w.chunk, k
}

// settle compares a part of the image, to taken, with the medium and writes what
// differs. The first MiB is withheld: it only decides whether the writing begins.
func (w *Writer) settle(part []byte) error {
	w.verified = false
	off := w.taken - int64(len(part))
	if off == 0 {
		w.head, w.chunk = part, nil
		same, err := w.med.same(off, part)
		if same || err != nil && !errors.Is(err, unix.EIO) {
			return err
		}
		return w.begin()
	}
	have, err := w.compared(off, part)
	if err != nil || bytes.Equal(have, part) {
		return err
	}
	if !w.begun {
		if err := w.begin(); err != nil {
			return err
		}
		if have, err = w.have(off, len(part)); err != nil { // begin has used its buffer
			return err
		}
	}
	return w.put(off, part, have)
}

// piece is how much of the first MiB is written at once. The zeroes are in memory.
const piece = 64 << 10

// stages are where the first MiB is cut for zeroing and for the last write,
// each part flushed before the next. The first block holds, or belongs to, the
// superblock of every file system that U-Boot loads from (ext4 at 1024,
// squashfs and XFS at 0, erofs at 1024), the second one the spare of f2fs:
// these go first when the slot is made unloadable and come last when all else
// is in place. (btrfs has its own at 64 KiB and nothing else in this MiB.)
var stages = []int{0, block4, 2 * block4, mib}

// begin makes the slot unloadable before anything else in it changes.
func (w *Writer) begin() error {
	w.begun = true
	if err := w.clear(); err != nil {
		return fmt.Errorf("clear the first MiB: %w", err)
	}
	return nil
}

// clear zeroes the first MiB, as far as the image goes, from its beginning.
func (w *Writer) clear() error {
	zero := aligned(min(piece, len(w.head)))
	for i := 1; i < len(stages); i++ {
		if err := w.stage(i, func(_, n int) []byte { return zero[:n] }); err != nil {
			return err
		}
	}
	return nil
}

// finish writes the withheld first MiB, from its end to its beginning, and
// compares what the medium made of it. If that is not the image, or if it
// cannot be written, it is taken away again as well as that can be done.
func (w *Writer) finish() error {
	err := w.complete()
	if err != nil {
		return errors.Join(fmt.Errorf("write the first MiB: %w", err), w.clear())
	}
	return nil
}

func (w *Writer) complete() error {
	for i := len(stages) - 1; i > 0; i-- {
		if err := w.stage(i, func(off, n int) []byte { return w.head[off:][:n] }); err != nil {
			return err
		}
	}
	same, err := w.med.same(0, w.head)
	if err == nil && !same {
		err = ErrReadBack
	}
	return err
}

// stage puts what content has for the ith stage, as far as the image goes, and
// flushes it.
func (w *Writer) stage(i int, content func(off, n int) []byte) error {
	for off, end := stages[i-1], min(stages[i], len(w.head)); off < end; {
		b := content(off, min(piece, end-off))
		have, err := w.have(int64(off), len(b))
		if err != nil {
			return err
		}
		if err := w.put(int64(off), b, have); err != nil {
			return err
		}
		off += len(b)
	}
	if stages[i-1] >= len(w.head) {
		return nil
	}
	return w.sync()
}

// have returns what the slot holds, or nil where the medium cannot tell: what is
// written there it may be able to read again.
func (w *Writer) have(off int64, n int) ([]byte, error) {
	b, err := w.med.read(off, n)
	if errors.Is(err, unix.EIO) {
		return nil, nil
	}
	return b, err
}

// put makes the medium hold b at off, a multiple of 4 KiB. Blocks that it has
// already, according to have, are left alone; neighbours that it has not are
// one write. Without have it has none of them.
func (w *Writer) put(off int64, b, have []byte) error {
	for from := 0; from < len(b); {
		to := from
		for to < len(b) && !sameBlock(have, b, to) {
			to = min(to+block4, len(b))
		}
		if err := w.fill(off+int64(from), b[from:to]); err != nil {
			return err
		}
		from = min(to+block4, len(b)) // the block at to is right
	}
	return nil
}

func sameBlock(a, b []byte, at int) bool {
	end := min(at+block4, len(b))
	return a != nil && bytes.Equal(a[at:end], b[at:end])
}

// fill writes b, and has the medium make the zeroes of long runs itself.
func (w *Writer) fill(off int64, b []byte) error {
	for len(b) > 0 {
		data, zero := split(b)
		if err := w.pwrite(off, b[:data]); err != nil {
			return err
		}
		if zero > 0 {
			if err := w.zero(off+int64(data), b[data:data+zero]); err != nil {
				return err
			}
		}
		b, off = b[data+zero:], off+int64(data+zero)
	}
	return nil
}

// fewZeroes are not worth a write of their own.
const fewZeroes = 64 << 10

// split returns how many bytes of b come before a run of zeroes that is worth
// it, and how long that is; both are multiples of 4 KiB, unless b ends there.
func split(b []byte) (data, zero int) {
	for at := 0; at < len(b); {
		end := at
		for end+block4 <= len(b) && [block4]byte(b[end:]) == zeroBlock {
			end += block4
		}
		if end-at >= fewZeroes {
			return at, end - at
		}
		at = min(end+block4, len(b))
	}
	return len(b), 0
}

// zero makes the medium hold b, which is zero.
func (w *Writer) zero(off int64, b []byte) error {
	done, err := w.zeroAt(off, int64(len(b)))
	if err != nil {
		return fmt.Errorf("zero %d bytes at %d: %w", len(b), off, err)
	}
	if !done {
		return w.pwrite(off, b)
	}
	w.written += int64(len(b))
	return nil
}

func (w *Writer) pwrite(off int64, b []byte) error {
	if len(b) == 0 {
		return nil
	}
	n, err := w.writeAt(b, off)
	w.written += int64(n)
	if err != nil {
		return fmt.Errorf("write at %d: %w", off+int64(n), err)
	}
	return nil
}

func (w *Writer) sync() error {
	if err := w.flush(); err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	return nil
}

// Verify proves that the slot holds the whole image, whose SHA-256 is sum, and
// puts its first MiB in place. On any error the slot is left without its first
// MiB, unless nothing had differed: then nothing was written either.
//
// It is ErrIncomplete before the last byte was written and ErrReadBack when the
// medium, read past the page cache, holds something else, be it that the medium
// is bad or that the image was not the one signed. Cancelled, it returns the
// cause of ctx. progress, which may be nil, is told how many bytes were read
// back so far.
func (w *Writer) Verify(ctx context.Context, sum [32]byte, progress func(n int64)) error {
	if err := w.usable(); err != nil {
		return err
	}
	if w.taken != w.size {
		return w.fail("verify", fmt.Errorf("%w: %d of %d bytes came", ErrIncomplete, w.taken, w.size))
	}
	if err := w.verify(ctx, sum, progress); err != nil {
		return w.fail("verify", err)
	}
	w.begun, w.verified = false, true
	return nil
}

func (w *Writer) verify(ctx context.Context, sum [32]byte, progress func(n int64)) error {
	// Even where nothing differed: what is there may have been written by
	// somebody who did not flush it.
	if err := w.sync(); err != nil {
		return err
	}
	dropCache(w.held)
	if !w.begun {
		return w.med.check(ctx, nil, w.size, sum, progress)
	}
	if err := w.med.check(ctx, w.head, w.size, sum, progress); err != nil {
		return err
	}
	return w.finish()
}

// Written returns how many bytes went to the medium, zeroes included: 0 if the
// slot held the image already.
func (w *Writer) Written() int64 { return w.written }

// Close releases the slot. It is nil only if Verify succeeded: the whole image
// is then on the medium. Otherwise it is the first error there was, or
// ErrIncomplete. A second call is [os.ErrClosed].
func (w *Writer) Close() error {
	if w.closed {
		return fmt.Errorf("close slot %v: %w", w.slot, os.ErrClosed)
	}
	if w.err == nil && !w.verified {
		w.fail("close", fmt.Errorf("%w: it was not verified", ErrIncomplete))
	}
	if err := w.release(); err != nil && w.err == nil {
		w.fail("close", err)
	}
	return w.err
}

// Abort releases the slot and leaves in it what is there: what was there
// before, or an image without its first MiB. It does nothing after Close.
func (w *Writer) Abort() {
	if !w.closed {
		_ = w.release() // what is left is not relied upon
	}
}

func (w *Writer) release() error {
	w.closed = true
	return errors.Join(w.med.close(), w.held.Close())
}
