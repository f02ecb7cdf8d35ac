package partition

import (
	"bytes"
	"os"
	"strings"
	"syscall"
	"testing"
)

// Long runs of zeroes are made by the medium, if it can; the others, and all of
// them where it cannot, are written. What is zero already is left alone.
func TestZeroes(t *testing.T) {
	const size = 4 * mib
	image := holes(noise(1, size), mib, mib, 2*mib+4096, fewZeroes, 3*mib, fewZeroes-4096, 4*mib-fewZeroes, fewZeroes)
	full := noise(2, size)
	for _, c := range []struct {
		name string
		old  []byte
		none bool  // the medium makes no zeroes
		sent int64 // bytes, the first MiB not counted
	}{
		{"everything differs", full, false, 3*mib - (mib + 2*fewZeroes)},
		{"a medium that makes none", full, true, 3 * mib},
		{"some are there", holes(full, mib, mib/2, 2*mib, mib), false, 2*mib - fewZeroes - fewZeroes},
		{"only they differ", with(image, mib+4096*3), false, 4096},
	} {
		for _, kind := range []string{"file", "loop"} {
			s := fileSlot(t, c.old)
			if kind == "loop" {
				p, _, _ := loopPair(t, noise(3, mib), c.old)
				s = p.B
			}
			w, err := s.Create(size)
			if err != nil {
				t.Fatal(err)
			}
			if w.med.zeroes == noZeroes {
				t.Fatalf("%s: makes no zeroes", kind)
			}
			if c.none {
				w.med.zeroes = noZeroes
			}
			var sent int64
			writeAt := w.writeAt
			w.writeAt = func(b []byte, off int64) (int, error) {
				if off >= mib {
					sent += int64(len(b))
				}
				return writeAt(b, off)
			}
			n, err := writeAll(w, image)
			if err != nil {
				t.Fatal(err)
			}
			if sent != c.sent {
				t.Errorf("%s, %s: %d bytes sent, want %d", kind, c.name, sent, c.sent)
			}
			if c.name == "only they differ" && n != 2*mib+4096 {
				t.Errorf("%s, %s: %d bytes changed, want one block, and the first MiB twice", kind, c.name, n)
			}
			if !bytes.Equal(contents(t, s), image) {
				t.Errorf("%s, %s: the slot is not the image", kind, c.name)
			}
		}
	}
}

// A file has a hole where the image has zeroes.
func TestHole(t *testing.T) {
	s := fileSlot(t, noise(2, 4*mib))
	if _, err := install(t, s, holes(noise(1, 4*mib), mib, 2*mib)); err != nil {
		t.Fatal(err)
	}
	fi, err := os.Stat(s.Path)
	if err != nil {
		t.Fatal(err)
	}
	if got := fi.Sys().(*syscall.Stat_t).Blocks * 512; got > 2*mib+64<<10 {
		t.Errorf("the file takes %d bytes, want 2 MiB", got)
	}
}

func TestSplit(t *testing.T) {
	x, o := strings.Repeat("x", block4), strings.Repeat("\x00", block4)
	few, long := strings.Repeat(o, fewZeroes/block4-1), strings.Repeat(o, fewZeroes/block4)
	for _, c := range []struct {
		b          string
		data, zero int
	}{
		{"", 0, 0},
		{x, block4, 0},
		{o, block4, 0},
		{few + x, len(few + x), 0},
		{long, 0, len(long)},
		{long + x, 0, len(long)},
		{x + long + o + x, block4, len(long + o)},
		{few + x + long, len(few + x), len(long)},
		{"short", 5, 0},
		{long + "\x00", 0, len(long)},
		{x + few + "\x00", len(x + few + "\x00"), 0},
	} {
		if data, zero := split([]byte(c.b)); data != c.data || zero != c.zero {
			t.Errorf("%d bytes: got %d, %d, want %d, %d", len(c.b), data, zero, c.data, c.zero)
		}
	}
}
