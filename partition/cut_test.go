package partition

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
)

// A move is one thing that happened to the medium: a write, or, without bytes,
// a flush.
type move struct {
	off int64
	b   []byte
}

// record writes image to s and returns every move in order.
func record(t *testing.T, s Slot, image []byte) []move {
	t.Helper()
	w, err := s.Create(int64(len(image)))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	var moves []move
	writeAt, zeroAt, flush := w.writeAt, w.zeroAt, w.flush
	w.writeAt = func(b []byte, off int64) (int, error) {
		moves = append(moves, move{off, bytes.Clone(b)})
		return writeAt(b, off)
	}
	w.zeroAt = func(off, n int64) (bool, error) {
		done, err := zeroAt(off, n)
		if done {
			moves = append(moves, move{off, make([]byte, n)})
		}
		return done, err
	}
	w.flush = func() error {
		moves = append(moves, move{})
		return flush()
	}
	if _, err := writeAll(w, image); err != nil {
		t.Fatal(err)
	}
	return moves
}

// survivors calls f with what a cut may leave on the medium: everything before
// the last flush, and of what came after it each write wholly, torn at a
// sector, or not at all.
func survivors(rnd *rand.Rand, old []byte, moves []move, f func(at string, slot []byte)) {
	flushed := bytes.Clone(old)
	var loose []move
	for k, m := range moves {
		if m.b == nil {
			for _, l := range loose {
				copy(flushed[l.off:], l.b)
			}
			loose = nil
			f(fmt.Sprintf("after flush %d", k), flushed)
			continue
		}
		loose = append(loose, m)
		for try := range 3 {
			slot := bytes.Clone(flushed)
			for i, l := range loose {
				n := len(l.b)
				switch choice := rnd.IntN(3); {
				case try == 0 && i < len(loose)-1: // the last alone is torn
				case choice == 0:
					n = 0
				case choice == 1:
					n = min(n, 512*rnd.IntN(n/512+1))
				}
				copy(slot[l.off:], l.b[:n])
			}
			f(fmt.Sprintf("in write %d at %d, try %d", k, m.off, try), slot)
		}
	}
}

// intact reports whether nothing could load the slot, or what could be loaded
// is complete: the first block zero, or everything behind it the old content,
// or everything behind it the image.
func intact(slot, old, image []byte) bool {
	first := min(block4, len(image))
	if bytes.Equal(slot[:first], make([]byte, first)) {
		return bytes.Equal(slot[len(image):], old[len(image):])
	}
	now := append(bytes.Clone(image), old[len(image):]...)
	return bytes.Equal(slot[first:], old[first:]) || bytes.Equal(slot[first:], now[first:])
}

func TestCutAnywhere(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	cases := [][2][]byte{}
	add := func(old, image []byte) { cases = append(cases, [2][]byte{old, image}) }
	base := noise(1, 3*mib)
	add(noise(2, 3*mib), base[:2*mib+700])
	add(base, base)
	add(with(base, 0), base)
	add(with(base, 2*mib+4096*9), base)
	add(with(base, 4096), base)
	add(noise(2, 9000), base[:8500])
	add(noise(2, 5000), base[:1200])
	add(noise(2, 3*mib), holes(base, mib, fewZeroes, 2*mib, mib))
	add(holes(base, 2*mib, mib), base)
	add(holes(base, 0, mib/2), holes(base, mib/2, 2*mib))
	for range 12 {
		size := 1 + rnd.IntN(3*mib)
		old := with(base)
		for range rnd.IntN(6) {
			old = with(old, rnd.IntN(3*mib)&^(block4-1))
		}
		add(old, base[:size])
	}
	for i, c := range cases {
		old, image := c[0], c[1]
		s := fileSlot(t, old)
		moves := record(t, s, image)
		cuts := 0
		survivors(rnd, old, moves, func(at string, slot []byte) {
			cuts++
			if !intact(slot, old, image) {
				t.Errorf("case %d (%d bytes): cut %s: a half-written slot with a first block", i, len(image), at)
			}
		})
		same := bytes.Equal(old[:len(image)], image)
		if same && (len(moves) != 1 || moves[0].b != nil) {
			t.Errorf("case %d: got %d moves for an image that is the same, want a flush", i, len(moves))
		}
		if !same && (moves[len(moves)-1].b != nil || cuts < 5) {
			t.Errorf("case %d: %d cuts, and the last move must be a flush", i, cuts)
		}
	}
}

// A write that fails, and a flush that fails, at every position: no success is
// reported, and the slot is left without its first block or untouched.
func TestFaultAnywhere(t *testing.T) {
	old, image := noise(2, 2*mib+4096), noise(1, 2*mib+900)
	copy(old[mib+8192:], image[mib+8192:mib+65536]) // two runs in the second MiB
	image = holes(image, mib+mib/2, mib/2)
	moves := record(t, fileSlot(t, old), image)
	full := errors.New("no more")
	for k := range moves {
		for _, partial := range []int{0, 512} {
			s := fileSlot(t, old)
			w, err := s.Create(int64(len(image)))
			if err != nil {
				t.Fatal(err)
			}
			at, writeAt, zeroAt, flush := 0, w.writeAt, w.zeroAt, w.flush
			fails := func() bool { at++; return at-1 == k }
			w.zeroAt = func(off, n int64) (bool, error) {
				if fails() {
					return false, full
				}
				return zeroAt(off, n)
			}
			w.writeAt = func(b []byte, off int64) (int, error) {
				if fails() {
					n, _ := writeAt(b[:min(partial, len(b))], off)
					return n, full
				}
				return writeAt(b, off)
			}
			w.flush = func() error {
				if fails() {
					return full
				}
				return flush()
			}
			if _, err := writeAll(w, image); !errors.Is(err, full) {
				t.Errorf("move %d fails: got %v", k, err)
			}
			if err := w.Verify(context.Background(), sha256.Sum256(image), nil); !errors.Is(err, full) {
				t.Errorf("move %d fails: Verify after it: got %v", k, err)
			}
			if err := w.Close(); !errors.Is(err, full) {
				t.Errorf("move %d fails: Close: got %v", k, err)
			}
			if !intact(contents(t, s), old, image) {
				t.Errorf("move %d fails after %d bytes: a half-written slot with a first block", k, partial)
			}
		}
	}
}

// A medium that loses the withheld first MiB is found out after the very last
// write, and the slot is left unloadable.
func TestLostFirstMiB(t *testing.T) {
	old, image := noise(2, 2*mib), noise(1, 2*mib)
	for _, off := range []int64{0, 4096, 8192 + 5, mib - 1} {
		s := fileSlot(t, old)
		moves := len(record(t, fileSlot(t, old), image))
		w, err := s.Create(int64(len(image)))
		if err != nil {
			t.Fatal(err)
		}
		n, writeAt, zeroAt, flush := 0, w.writeAt, w.zeroAt, w.flush
		w.writeAt = func(b []byte, off int64) (int, error) { n++; return writeAt(b, off) }
		w.zeroAt = func(off, k int64) (bool, error) { n++; return zeroAt(off, k) }
		w.flush = func() error {
			err := flush()
			if n++; n == moves {
				_, err = w.held.WriteAt([]byte{image[off] + 1}, off)
			}
			return err
		}
		if _, err := writeAll(w, image); !errors.Is(err, ErrReadBack) {
			t.Errorf("byte %d lost: got %v, want ErrReadBack", off, err)
		}
		wantUnloadable(t, s)
		w.Abort()
	}
}
