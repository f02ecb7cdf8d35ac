package artifact

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"testing/synctest"
)

func tempFile(t *testing.T, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// countReader counts, and fails or ends at limit.
type countReader struct {
	n, limit int64
	err      error
}

func (c *countReader) Read(b []byte) (int, error) {
	if c.n >= c.limit {
		return 0, c.err
	}
	n := copy(b[:min(int64(len(b)), c.limit-c.n)], noisePage[c.n%int64(len(noisePage)):])
	c.n += int64(n)
	return n, nil
}

var noisePage = func() []byte {
	b := make([]byte, 64<<10)
	io.ReadFull(newNoise(), b)
	return b
}()

// TestWriterFails: an error of the image or of the spool is what Add returns, the rest is not read, and neither a goroutine nor a file
// is left.
func TestWriterFails(t *testing.T) {
	const size = 20 << 20
	broken := errors.New("broken")
	for _, c := range allCompressions {
		for _, tt := range []struct {
			name string
			src  countReader
			full bool // the spool takes nothing
			want error
			read int64 // at most
		}{
			{"image breaks", countReader{limit: size / 4, err: broken}, false, broken, size / 4},
			{"image is short", countReader{limit: size / 4, err: io.EOF}, false, io.ErrUnexpectedEOF, size / 4},
			{"spool is full", countReader{limit: size, err: io.EOF}, true, os.ErrClosed, size / 2},
		} {
			t.Run(string(c)+", "+tt.name, func(t *testing.T) {
				late := tt.full && (c == LZMA || c == ZstdBest) // a part may take all of it before one is written
				before := countFiles(t)
				synctest.Test(t, func(t *testing.T) {
					var b bytes.Buffer
					w := Create(&b, Header{Name: "rel-1", DeviceTypes: []string{"rpi3"}, Type: RootFS}, Options{Compression: c, TempDir: os.TempDir()})
					if err := w.startSpool(); err != nil {
						t.Fatal(err)
					}
					if tt.full {
						w.spool.f.Close()
					}
					src := tt.src
					if err := w.Add("a", size, &src); !errors.Is(err, tt.want) && !(late && err == nil) {
						t.Errorf("Add: %v, want %v", err, tt.want)
					}
					if err := w.Close(); !errors.Is(err, tt.want) {
						t.Errorf("Close: %v, want %v", err, tt.want)
					}
					w.Abort()
					if src.n > tt.read && !late || b.Len() > 0 {
						t.Errorf("%d bytes read, want at most %d; %d written", src.n, tt.read, b.Len())
					}
				})
				if after := countFiles(t); after != before {
					t.Errorf("%d files open, before %d", after, before)
				}
			})
		}
	}
}

// TestBestIsReproducible: zstd_best works in parts of 32 MiB, of which TestReproducible's image has one, and they are one frame.
func TestBestIsReproducible(t *testing.T) {
	const size = 70 << 20
	var want []byte
	for _, cores := range []int{1, 2, 7} {
		old := runtime.GOMAXPROCS(cores)
		var b bytes.Buffer
		z, err := ZstdBest.writer(&b)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(z, &countReader{limit: size, err: io.EOF}); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		runtime.GOMAXPROCS(old)
		if want == nil {
			want = b.Bytes()
		}
		if !bytes.Equal(b.Bytes(), want) {
			t.Errorf("other bytes on %d processors", cores)
		}
	}
	d, err := newDecoder("x.tar.zst", bytes.NewReader(want), classify)
	if err != nil {
		t.Fatal(err)
	}
	have, wanted := sha256.New(), sha256.New()
	n, err := io.Copy(have, d)
	io.Copy(wanted, &countReader{limit: size, err: io.EOF})
	if err != nil || n != size || !bytes.Equal(have.Sum(nil), wanted.Sum(nil)) {
		t.Errorf("%d bytes, %v, want the same %d", n, err, size)
	}
	if frames := bytes.Count(want, []byte{0x28, 0xb5, 0x2f, 0xfd}); frames != 1 {
		t.Errorf("%d frames, want one", frames)
	}
}

// TestWriterAborts gives up between Add and Close.
func TestWriterAborts(t *testing.T) {
	for _, c := range allCompressions {
		synctest.Test(t, func(t *testing.T) {
			w := Create(io.Discard, Header{Name: "rel-1", DeviceTypes: []string{"rpi3"}, Type: RootFS}, Options{Compression: c, TempDir: os.TempDir()})
			const size = 5 << 20
			if err := w.Add("a", size, &countReader{limit: size, err: io.EOF}); err != nil {
				t.Errorf("%s: %v", c, err)
			}
			w.Abort()
			if err := w.Close(); err != errClosed {
				t.Errorf("%s: Close after Abort: %v", c, err)
			}
		})
	}
}
