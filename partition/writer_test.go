package partition

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"testing/iotest"
)

// fileSlot makes a plain file with the given content into slot B.
func fileSlot(t *testing.T, content []byte) Slot {
	t.Helper()
	path := filepath.Join(t.TempDir(), "slot3.img")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return Slot{Name: "B", Part: 3, Path: path}
}

// noise is n bytes that differ in every block from those of another seed.
func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	var key [32]byte
	key[0], key[1] = byte(seed), byte(seed>>8)
	if _, err := rand.NewChaCha8(key).Read(b); err != nil {
		panic(err)
	}
	return b
}

// with returns a copy of b in which the block at each offset is other noise.
func with(b []byte, offs ...int) []byte {
	b = bytes.Clone(b)
	for _, off := range offs {
		copy(b[off:min(off+block4, len(b))], noise(uint64(off/block4)+7777, block4))
	}
	return b
}

// holes returns a copy of b with ranges of zeroes: offset and length of each.
func holes(b []byte, ranges ...int) []byte {
	b = bytes.Clone(b)
	for i := 0; i < len(ranges); i += 2 {
		clear(b[ranges[i]:][:ranges[i+1]])
	}
	return b
}

func install(t *testing.T, s Slot, image []byte) (written int64, err error) {
	t.Helper()
	w, err := s.Create(int64(len(image)))
	if err != nil {
		return 0, err
	}
	defer w.Abort()
	return writeAll(w, image)
}

func writeAll(w *Writer, image []byte) (int64, error) {
	if _, err := io.Copy(w, bytes.NewReader(image)); err != nil {
		return w.Written(), err
	}
	if err := w.Verify(context.Background(), sha256.Sum256(image), nil); err != nil {
		return w.Written(), err
	}
	return w.Written(), w.Close()
}

func contents(t *testing.T, s Slot) []byte {
	t.Helper()
	b, err := os.ReadFile(s.Path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestWriteExactly(t *testing.T) {
	for _, c := range []struct {
		name        string
		slot, image int
		differ      []int // blocks of the slot that are not the image's; nil: all
		want        int64 // bytes written; -1: do not care
	}{
		{"whole slot", 3 * mib, 3 * mib, nil, -1},
		{"smaller than the slot", 3 * mib, 2*mib + 4096, nil, -1},
		{"not a multiple of 512", 3*mib + 77, 2*mib + 33, nil, -1},
		{"slot and image end together, unaligned", 2*mib + 513, 2*mib + 513, nil, -1},
		{"one byte", mib, 1, nil, -1},
		{"one block", mib, 4096, nil, -1},
		{"one block and one byte", mib, 4097, nil, -1},
		{"exactly the first MiB", 2 * mib, mib, nil, -1},
		{"the first MiB and one byte", 2 * mib, mib + 1, nil, -1},
		{"nothing differs", 3 * mib, 3*mib - 5, []int{}, 0},
		{"only the first block", 3 * mib, 3 * mib, []int{0}, 2 * mib},
		{"only a late block", 3 * mib, 3 * mib, []int{2*mib + 8192}, 2*mib + 4096},
		{"only the unaligned tail", 3 * mib, 2*mib + 10, []int{2 * mib}, 2*mib + 10},
		{"small image, last block", mib, 10000, []int{8192}, 20000},
	} {
		t.Run(c.name, func(t *testing.T) {
			image := noise(1, c.image)
			slot := noise(2, c.slot)
			if c.differ != nil {
				slot = append(with(image, c.differ...), slot[c.image:]...)
			}
			s := fileSlot(t, slot)
			written, err := install(t, s, image)
			if err != nil {
				t.Fatal(err)
			}
			if c.want >= 0 && written != c.want {
				t.Errorf("got %d bytes written, want %d", written, c.want)
			}
			want := append(bytes.Clone(image), slot[c.image:]...)
			if !bytes.Equal(contents(t, s), want) {
				t.Error("the slot is not the image followed by what was there")
			}
			if again, err := install(t, s, image); err != nil || again != 0 {
				t.Errorf("the same image again: got %d bytes written, %v; want 0, nil", again, err)
			}
			if err := s.ReadBack(context.Background(), int64(c.image), sha256.Sum256(image), nil); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestHostileReaders(t *testing.T) {
	image, old := noise(1, mib+5000), noise(2, 2*mib)
	for name, r := range map[string]io.Reader{
		"OneByteReader": iotest.OneByteReader(bytes.NewReader(image)),
		"HalfReader":    iotest.HalfReader(bytes.NewReader(image)),
		"DataErrReader": iotest.DataErrReader(bytes.NewReader(image)),
	} {
		s := fileSlot(t, old)
		w, err := s.Create(int64(len(image)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(struct{ io.Writer }{w}, r); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := errors.Join(w.Verify(context.Background(), sha256.Sum256(image), nil), w.Close()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := contents(t, s); !bytes.Equal(got[:len(image)], image) || !bytes.Equal(got[len(image):], old[len(image):]) {
			t.Errorf("%s: the slot is not the image", name)
		}
	}
}

func TestCreateRefusesBeforeTouching(t *testing.T) {
	old := noise(2, 10000)
	s := fileSlot(t, old)
	for _, size := range []int64{-1, 0, 10001, 1 << 40} {
		if _, err := s.Create(size); !errors.Is(err, ErrSize) {
			t.Errorf("Create(%d): got %v, want ErrSize", size, err)
		}
	}
	w, err := s.Create(10000)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Create(10000); !errors.Is(err, ErrInUse) {
		t.Errorf("second Create: got %v, want ErrInUse", err)
	}
	if err := s.ReadBack(context.Background(), 1, [32]byte{}, nil); !errors.Is(err, ErrInUse) {
		t.Errorf("ReadBack of a held slot: got %v, want ErrInUse", err)
	}
	w.Abort()
	w.Abort()
	if err := w.Close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Close after Abort: got %v, want os.ErrClosed", err)
	}
	if _, err := w.Write([]byte{1}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Write after Abort: got %v, want os.ErrClosed", err)
	}
	if !bytes.Equal(contents(t, s), old) {
		t.Error("the slot changed")
	}
	if w, err = s.Create(10000); err != nil {
		t.Fatalf("after Abort the slot is not free: %v", err)
	}
	w.Abort()
}

func TestTooLongTooShort(t *testing.T) {
	image, old := noise(1, 2*mib), noise(2, 3*mib)
	s := fileSlot(t, old)
	w, err := s.Create(int64(len(image)) - 1)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := w.Write(image); n != len(image)-1 || !errors.Is(err, ErrSize) {
		t.Errorf("Write of one byte too many: got %d, %v; want %d, ErrSize", n, err, len(image)-1)
	}
	if err := w.Verify(context.Background(), sha256.Sum256(image), nil); !errors.Is(err, ErrSize) {
		t.Errorf("Verify after it: got %v, want the first error", err)
	}
	if err := w.Close(); !errors.Is(err, ErrSize) {
		t.Errorf("Close after it: got %v, want the first error", err)
	}
	wantUnloadable(t, s)
	if got := contents(t, s); !bytes.Equal(got[len(image)-1:], old[len(image)-1:]) {
		t.Error("bytes behind the end were changed")
	}

	w, err = s.Create(int64(len(image)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(image[:len(image)-1]); err != nil {
		t.Fatal(err)
	}
	if err := w.Verify(context.Background(), sha256.Sum256(image), nil); !errors.Is(err, ErrIncomplete) {
		t.Errorf("Verify of a short image: got %v, want ErrIncomplete", err)
	}
	if err := w.Close(); !errors.Is(err, ErrIncomplete) {
		t.Errorf("Close of a short image: got %v, want ErrIncomplete", err)
	}
	wantUnloadable(t, s)
}

func wantUnloadable(t *testing.T, s Slot) {
	t.Helper()
	got := contents(t, s)
	if !bytes.Equal(got[:mib], make([]byte, mib)) {
		t.Errorf("slot %v: the first MiB is not zero", s)
	}
}

func TestCloseWithoutVerify(t *testing.T) {
	image := noise(1, mib+1)
	s := fileSlot(t, image)
	w, err := s.Create(int64(len(image)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(image); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); !errors.Is(err, ErrIncomplete) {
		t.Errorf("got %v, want ErrIncomplete", err)
	}
	if err := w.Close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("second Close: got %v, want os.ErrClosed", err)
	}
}

func TestWrongSum(t *testing.T) {
	image := noise(1, 2*mib)
	for name, old := range map[string][]byte{"all differs": noise(2, 2*mib), "nothing differs": image} {
		s := fileSlot(t, old)
		w, err := s.Create(int64(len(image)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(image); err != nil {
			t.Fatal(err)
		}
		if err := w.Verify(context.Background(), sha256.Sum256(old[1:]), nil); !errors.Is(err, ErrReadBack) {
			t.Errorf("%s: got %v, want ErrReadBack", name, err)
		}
		if err := w.Close(); !errors.Is(err, ErrReadBack) {
			t.Errorf("%s: Close: got %v, want ErrReadBack", name, err)
		}
		if name == "all differs" {
			wantUnloadable(t, s)
		} else if !bytes.Equal(contents(t, s), image) {
			t.Errorf("%s: the slot changed", name)
		}
	}
}

func TestCancelled(t *testing.T) {
	image, cause := noise(1, 4*mib), errors.New("the stick went away")
	s := fileSlot(t, noise(2, 4*mib))
	w, err := s.Create(int64(len(image)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(image); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	var last int64
	err = w.Verify(ctx, sha256.Sum256(image), func(n int64) {
		if n <= last || n > int64(len(image)) {
			t.Errorf("progress: got %d after %d of %d", n, last, len(image))
		}
		if last = n; n >= 2*mib {
			cancel(cause)
		}
	})
	if !errors.Is(err, cause) || last != 2*mib {
		t.Errorf("got %v at %d, want the cause at %d", err, last, 2*mib)
	}
	if err := w.Close(); !errors.Is(err, cause) {
		t.Errorf("Close: got %v, want the cause", err)
	}
	wantUnloadable(t, s)
	if err := s.ReadBack(ctx, mib, [32]byte{}, nil); !errors.Is(err, cause) {
		t.Errorf("ReadBack: got %v, want the cause", err)
	}
}

func TestVerifyAgain(t *testing.T) {
	image := noise(1, mib+4096)
	s := fileSlot(t, noise(2, 2*mib))
	w, err := s.Create(int64(len(image)))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	if _, err := w.Write(image); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := w.Verify(context.Background(), sha256.Sum256(image), nil); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.OpenFile(s.Path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("bad"), 100); err != nil {
		t.Fatal(err)
	}
	if err := w.Verify(context.Background(), sha256.Sum256(image), nil); !errors.Is(err, ErrReadBack) {
		t.Errorf("after the slot was changed: got %v, want ErrReadBack", err)
	}
	if err := w.Close(); !errors.Is(err, ErrReadBack) {
		t.Errorf("Close: got %v, want ErrReadBack", err)
	}
}

func TestReadBack(t *testing.T) {
	slot := noise(1, 2*mib+100)
	s := fileSlot(t, slot)
	for _, c := range []struct {
		name string
		size int64
		sum  [32]byte
		want error
	}{
		{"right", mib + 7, sha256.Sum256(slot[:mib+7]), nil},
		{"to the unaligned end", 2*mib + 100, sha256.Sum256(slot), nil},
		{"nothing", 0, sha256.Sum256(nil), nil},
		{"one byte less", mib + 6, sha256.Sum256(slot[:mib+7]), ErrReadBack},
		{"beyond the slot", 2*mib + 101, sha256.Sum256(slot), ErrSize},
		{"negative", -1, sha256.Sum256(nil), ErrSize},
	} {
		if err := s.ReadBack(context.Background(), c.size, c.sum, nil); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
	}
	if n, err := s.Size(); n != int64(len(slot)) || err != nil {
		t.Errorf("Size: got %d, %v; want %d", n, err, len(slot))
	}
}

// Where O_DIRECT is refused the pages are dropped instead, with the same result.
func TestWithoutDirect(t *testing.T) {
	image, old := noise(1, 2*mib+33), noise(2, 2*mib+500)
	s := fileSlot(t, old)
	w, err := s.Create(int64(len(image)))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	if err := w.med.buffered(); err != nil {
		t.Fatal(err)
	}
	if _, err := writeAll(w, image); err != nil {
		t.Fatal(err)
	}
	if got := contents(t, s); !bytes.Equal(got[:len(image)], image) || !bytes.Equal(got[len(image):], old[len(image):]) {
		t.Error("the slot is not the image")
	}
}
