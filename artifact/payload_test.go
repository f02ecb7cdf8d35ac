package artifact

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"testing"
	"testing/iotest"
	"time"
)

// payloadOf opens src and returns its first file.
func payloadOf(t *testing.T, src io.Reader) (*Reader, *Payload) {
	t.Helper()
	r, err := Open(src, testKey("p256"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	return r, p
}

// sizes keeps what is written and how much at once.
type sizes struct {
	bytes.Buffer
	each []int
}

func (s *sizes) Write(b []byte) (int, error) {
	s.each = append(s.each, len(b))
	return s.Buffer.Write(b)
}

// TestWriteTo: all of the file in portions, whatever the source does.
func TestWriteTo(t *testing.T) {
	for _, size := range []int{1, 1000, portionSize - 1, portionSize, portionSize + 1, 7*portionSize + 5} {
		for _, c := range []Compression{None, Zstd} {
			a, img := written(t, c, testKey("p256"), size)
			for name, wrap := range map[string]func(io.Reader) io.Reader{
				"plain": func(r io.Reader) io.Reader { return r }, "half": iotest.HalfReader, "data err": iotest.DataErrReader,
			} {
				r, p := payloadOf(t, wrap(bytes.NewReader(a)))
				var have sizes
				n, err := p.WriteTo(&have)
				if err != nil || n != int64(size) || !bytes.Equal(have.Bytes(), img) {
					t.Errorf("%d bytes, %s, %s: %d, %v", size, c, name, n, err)
				}
				for i, k := range have.each {
					if k != min(portionSize, size-i*portionSize) {
						t.Errorf("%d bytes, %s, %s: %d bytes at once", size, c, name, k)
					}
				}
				if n, err := p.WriteTo(io.Discard); n != 0 || err != nil {
					t.Errorf("once more: %d, %v", n, err)
				}
				if _, err := p.Read(make([]byte, 1)); err != io.EOF {
					t.Errorf("Read after it: %v", err)
				}
				if _, err := r.Next(); err != io.EOF {
					t.Errorf("Next after it: %v", err)
				}
			}
		}
	}
}

// A file of which a part was read is written from there.
func TestWriteToTheRest(t *testing.T) {
	a, img := written(t, Gzip, testKey("p256"), 3*portionSize)
	_, p := payloadOf(t, bytes.NewReader(a))
	first := make([]byte, 12345)
	if _, err := io.ReadFull(p, first); err != nil {
		t.Fatal(err)
	}
	rest := bytes.NewBuffer(first)
	if _, err := p.WriteTo(rest); err != nil || !bytes.Equal(rest.Bytes(), img) {
		t.Errorf("got %v", err)
	}
}

// failing fails or stops after some writes.
type failing struct {
	after int
	err   error
}

func (f *failing) Write(b []byte) (int, error) {
	if f.after--; f.after < 0 {
		return len(b) / 2, f.err
	}
	return len(b), nil
}

// TestWriteToFails: the first error of either side is returned, once all that
// was started has ended, and stays.
func TestWriteToFails(t *testing.T) {
	before := runtime.NumGoroutine()
	full, gone := errors.New("full"), errors.New("gone")
	a, _ := written(t, None, testKey("p256"), 9*portionSize)
	for after := range 9 {
		for _, want := range []error{full, io.ErrShortWrite} {
			w := &failing{after: after, err: want}
			if want == io.ErrShortWrite {
				w.err = nil
			}
			r, p := payloadOf(t, bytes.NewReader(a))
			n, err := p.WriteTo(w)
			if err != want || n != int64(after)*portionSize+portionSize/2 {
				t.Errorf("write %d fails: %d, %v", after, n, err)
			}
			if _, err := p.WriteTo(io.Discard); err != want {
				t.Errorf("write %d fails, once more: %v", after, err)
			}
			if _, err := r.Next(); !errors.Is(err, want) {
				t.Errorf("write %d fails, Next: %v", after, err)
			}
		}
		at := len(a) - 9*portionSize + after*portionSize
		_, p := payloadOf(t, io.MultiReader(bytes.NewReader(a[:at]), iotest.ErrReader(gone)))
		if n, err := p.WriteTo(io.Discard); !errors.Is(err, gone) || n > int64(at) {
			t.Errorf("the source fails at %d: %d, %v", at, n, err)
		}
		wrong := bytes.Clone(a)
		wrong[at] ^= 1
		_, p = payloadOf(t, bytes.NewReader(wrong))
		if n, err := p.WriteTo(io.Discard); !errors.Is(err, ErrChecksum) || n != 9*portionSize {
			t.Errorf("a wrong byte at %d: %d, %v", at, n, err)
		}
	}
	for range 100 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d goroutines, before %d", runtime.NumGoroutine(), before)
}
