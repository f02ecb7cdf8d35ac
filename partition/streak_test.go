package partition

import (
	"crypto/sha256"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// sectorsRead returns how many sectors the kernel has read from a device.
func sectorsRead(t *testing.T, dev string) int64 {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("/sys/block", filepath.Base(dev), "stat"))
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.ParseInt(strings.Fields(string(b))[2], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A slot that has nothing of the image is not read for nothing, and one that has
// some of it again is written only where it differs.
func TestStreak(t *testing.T) {
	const size = 64 * mib
	image := noise(1, size)
	half := append(noise(2, size/2), image[size/2:]...)
	for _, c := range []struct {
		name          string
		old           []byte
		read, written int64 // at most
	}{
		{"nothing is right", noise(2, size), 12 * mib, size + mib},
		{"the second half is right", half, 46 * mib, size/2 + mib},
		{"all is right", image, size, 0},
		{"the first block is right", append(image[:block4:block4], noise(2, size)[block4:]...), 12 * mib, size + mib},
	} {
		p, _, _ := loopPair(t, noise(3, mib), c.old)
		before := sectorsRead(t, p.B.Path)
		w, err := p.B.Create(size)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(image); err != nil {
			t.Fatal(err)
		}
		if read := (sectorsRead(t, p.B.Path) - before) << 9; read > c.read {
			t.Errorf("%s: %d bytes read, want at most %d", c.name, read, c.read)
		}
		if n := w.Written(); n > c.written || c.written > 0 && n < c.written/2 {
			t.Errorf("%s: %d bytes written, want at most %d", c.name, n, c.written)
		}
		w.Abort()
	}
}

// What is written leaves the page cache alone, also where O_DIRECT is refused.
func TestPageCache(t *testing.T) {
	image := noise(1, 48*mib)
	for _, direct := range []bool{true, false} {
		p, _, _ := loopPair(t, noise(3, mib), noise(2, 48*mib))
		w, err := p.B.Create(int64(len(image)))
		if err != nil {
			t.Fatal(err)
		}
		if !direct {
			if err := w.med.buffered(); err != nil {
				t.Fatal(err)
			}
		}
		for b := range slices.Chunk(image, mib) {
			if _, err := w.Write(b); err != nil {
				t.Fatal(err)
			}
			if n := resident(t, p.B.Path); n > 4*mib {
				t.Fatalf("direct %v: %d bytes are in the page cache", direct, n)
			}
		}
		w.Abort()
	}
}

// resident returns how many bytes of a device are in the page cache.
func resident(t *testing.T, dev string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(run(t, "fincore", "--bytes", "--noheadings", "--output", "RES", dev), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A slot with blocks that cannot be read is not lost: they are written.
func TestUnreadable(t *testing.T) {
	for _, left := range []int64{0, 4096, 2*mib + 8192} {
		image := noise(1, 3*mib)
		p, _, behind := loopPair(t, noise(3, mib), noise(2, 3*mib))
		if err := os.Truncate(behind, left); err != nil {
			t.Fatal(err)
		}
		if _, err := os.ReadFile(p.B.Path); err == nil {
			t.Fatal("all can be read")
		}
		if _, err := install(t, p.B, image); err != nil {
			t.Errorf("readable up to %d: %v", left, err)
		}
		if err := p.B.ReadBack(t.Context(), 3*mib, sha256.Sum256(image), nil); err != nil {
			t.Errorf("readable up to %d: %v", left, err)
		}
	}
}
