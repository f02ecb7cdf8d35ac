package artifact

import (
	"archive/tar"
	"bufio"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// zeros is a sparse file, as a reader.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// TestLargerThan32Bits writes and reads a sparse image of 4 GiB and a byte.
func TestLargerThan32Bits(t *testing.T) {
	const size = 4<<30 + 1
	f, err := os.Create(filepath.Join(t.TempDir(), "a.mender"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	o := Options{Compression: ZstdFastest, TempDir: t.TempDir(), Rootfs: &Software{}}
	if err := write(f, o, nil, io.LimitReader(zeros{}, size), size); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	info, err := Inspect(bufio.NewReaderSize(f, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	if have := info.Files[0].Size; have != size {
		t.Errorf("size is %d, want %d", have, int64(size))
	}
}

// TestLargerThanOctal reads and writes the header of a member that eleven octal digits do not hold, and refuses it cut short.
func TestLargerThanOctal(t *testing.T) {
	const size = 8<<30 + 1
	pr, pw := io.Pipe()
	go func() {
		w := tar.NewWriter(pw)
		w.WriteHeader((&Writer{}).member("data/0000.tar", size))
		pw.CloseWithError(io.EOF)
	}()
	m := newMembers(pr)
	h, err := m.next()
	if err != nil || h.Size != size {
		t.Fatalf("%+v, %v, want a size of %d", h, err, int64(size))
	}
	if _, err := m.next(); !errors.Is(err, ErrTruncated) {
		t.Errorf("%v, want ErrTruncated", err)
	}
}

// TestMemory writes, signs, inspects and opens an image of which half does not compress, each in a process of its own on two processors,
// and asks the kernel for its peak. The test's own process is part of it.
func TestMemory(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct {
		step     string
		mib, max int // of the image, of the process
	}{
		{"write lzma", 80, 350},       // all pieces of the ring are under way
		{"write zstd_best", 200, 600}, // what the library throws away waits for its collection
		{"write zstd_better", 200, 64},
		{"write zstd_fastest", 200, 64},
		{"write gzip", 200, 64},
		{"write zstd", 200, 64},
		{"sign", 200, 64},
		{"inspect", 200, 64},
		{"open", 200, 64},
	} {
		c := exec.Command(os.Args[0], "-test.run=^TestMemoryStep$", "-test.v")
		c.Env = append(os.Environ(), "GOMAXPROCS=2", "MEMORY_STEP="+tt.step, "MEMORY_MIB="+strconv.Itoa(tt.mib), "MEMORY_DIR="+dir)
		out, err := c.CombinedOutput()
		var peak int
		for line := range strings.Lines(string(out)) {
			if _, rest, ok := strings.Cut(line, "peak KiB "); ok {
				fmt.Sscan(rest, &peak)
			}
		}
		if err != nil || peak == 0 || peak > tt.max<<10 {
			t.Errorf("%s: peak is %d KiB, want at most %d (%v)\n%s", tt.step, peak, tt.max<<10, err, out)
		}
		t.Logf("%s: peak %d KiB", tt.step, peak)
	}
}

// TestMemoryStep is what TestMemory runs; alone it checks that the image is what it is meant to be.
func TestMemoryStep(t *testing.T) {
	dir := os.Getenv("MEMORY_DIR")
	path := func(name string) string { return filepath.Join(dir, name) }
	open := func(name string) *os.File {
		f, err := os.OpenFile(path(name), os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	var err error
	step, c, _ := strings.Cut(os.Getenv("MEMORY_STEP"), " ")
	switch step {
	case "write":
		os.Remove(path("a.mender")) // of the step before
		var mib int64
		fmt.Sscan(os.Getenv("MEMORY_MIB"), &mib)
		err = write(open("a.mender"), Options{Compression: Compression(c), TempDir: dir}, nil, io.LimitReader(newNoise(), mib<<20), mib<<20)
	case "sign":
		err = Sign(open("signed.mender"), open("a.mender"), testKey("p256"), false)
	case "inspect":
		_, err = Inspect(open("signed.mender"))
	case "open":
		var r *Reader
		if r, err = Open(open("signed.mender"), testKey("p256")); err == nil {
			_, err = r.Next()
		}
		if err == nil {
			_, err = r.Next()
		}
		if err == io.EOF {
			err = nil
		}
	default:
		a, b := make([]byte, 3000), make([]byte, 3000)
		io.ReadFull(newNoise(), a)
		if io.ReadFull(newNoise(), b); sha256.Sum256(a) != sha256.Sum256(b) {
			t.Error("the noise is not the same twice")
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, peak, _ := strings.Cut(string(status), "VmHWM:")
	fmt.Println("peak KiB", strings.Fields(peak)[0])
}

// noise is blocks that do not compress and blocks that do, in turn.
type noise struct {
	r   *rand.ChaCha8
	odd bool
}

func newNoise() io.Reader {
	return bufio.NewReaderSize(&noise{r: rand.NewChaCha8([32]byte{1})}, 64<<10)
}

func (n *noise) Read(b []byte) (int, error) {
	if n.odd = !n.odd; n.odd {
		return n.r.Read(b)
	}
	clear(b)
	return len(b), nil
}
