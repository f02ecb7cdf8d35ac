package scan

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plimsoll-ota/plimsoll/artifact"
)

// A once counts how often each byte is read, and answers any read after the first with something else.
type once struct {
	b     []byte
	reads []int
}

func newOnce(b []byte) *once { return &once{b, make([]int, len(b))} }

func (o *once) ReadAt(p []byte, off int64) (int, error) {
	if off >= int64(len(o.b)) {
		return 0, io.EOF
	}
	n := copy(p, o.b[off:])
	for i := range n {
		if o.reads[int(off)+i]++; o.reads[int(off)+i] > 1 {
			p[i] ^= 0xff
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// A stick that answers the second read differently gains nothing: there is none.
func TestReadsOnce(t *testing.T) {
	for _, c := range []artifact.Compression{artifact.None, artifact.Gzip, artifact.LZMA, artifact.Zstd} {
		t.Run(string(c), func(t *testing.T) {
			b := recipe{compression: c}.make(t)
			want, err := payload(bytes.NewReader(b), trusted(t))
			if err != nil {
				t.Fatal(err)
			}
			file := newOnce(b)
			candidate, err := Look(file, int64(len(b)), trusted(t))
			if err != nil {
				t.Fatal(err)
			}
			if n := total(file.reads); n > 8<<10 {
				t.Errorf("%d bytes were read for the header", n)
			}
			if candidate.Header.Name != "rel-1" || candidate.Size != int64(len(b)) {
				t.Errorf("got %v", candidate.Header)
			}
			var whole bytes.Buffer
			got, err := payload(io.TeeReader(candidate.Source(), &whole), trusted(t))
			if err != nil || got != want || !bytes.Equal(whole.Bytes(), b) {
				t.Errorf("got %v, %v, want %v; the same bytes: %v", got, err, want, bytes.Equal(whole.Bytes(), b))
			}
			// Asked for again, the source is at its end: it does not begin anew.
			if n, err := io.Copy(io.Discard, candidate.Source()); n != 0 || err != nil {
				t.Errorf("the source goes on: %d bytes, %v", n, err)
			}
			for off, n := range file.reads {
				if n != 1 {
					t.Fatalf("byte %d was read %d times", off, n)
				}
			}
		})
	}
}

func total(reads []int) (n int) {
	for _, k := range reads {
		n += k
	}
	return n
}

// The header that was judged is the one that is installed: what is read later comes from memory.
func TestHeaderIsRemembered(t *testing.T) {
	b := recipe{name: "judged"}.make(t)
	dir := write(t, map[string][]byte{"a.mender": b})
	s := openStick(t, dir)
	tree, err := s.Tree()
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.Look(tree.Files[0], trusted(t))
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "a.mender"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(recipe{name: "swapped"}.make(t)[:2048]); err != nil {
		t.Fatal(err)
	}
	r, err := artifact.Open(c.Source(), trusted(t))
	if err != nil || r.Header().Name != "judged" || r.ManifestSum() != c.Manifest {
		t.Errorf("got %v, %v", r, err)
	}
	if err := errors.Join(c.Close(), f.Close()); err != nil {
		t.Error(err)
	}
	if _, err := c.Source().Read(make([]byte, 1)); err == nil {
		t.Error("a source that can be read after Close")
	}
}

// Every vector of the artifact package gets the same verdict here, whatever else is said.
func TestVectors(t *testing.T) {
	paths, err := filepath.Glob("../../testdata/vectors/*.txt")
	if err != nil || len(paths) < 100 {
		t.Fatalf("%d vectors, %v", len(paths), err)
	}
	outcomes := map[string]error{
		"unsigned": artifact.ErrUnsigned, "untrusted": artifact.ErrUntrusted, "checksum": artifact.ErrChecksum, "format": artifact.ErrFormat,
		"truncated": artifact.ErrTruncated, "limit": artifact.ErrLimit, "unsupported": artifact.ErrUnsupported,
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		fields := map[string]string{}
		for line := range strings.Lines(string(text)) {
			k, v, _ := strings.Cut(strings.TrimSpace(line), ": ")
			fields[k] = v
		}
		b, err := os.ReadFile(strings.TrimSuffix(path, ".txt") + ".mender")
		if err != nil {
			t.Fatal(err)
		}
		var v artifact.Verifier = anybody{}
		if fields["key"] != "" {
			v = keyring(t, fields["key"])
		}
		c, err := Look(bytes.NewReader(b), int64(len(b)), v)
		if err == nil {
			err = c.Verify(nil)
		}
		if want := outcomes[fields["expect"]]; !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", path, err, want)
		}
	}
}

type anybody struct{}

func (anybody) Verify([]byte, []byte) error { return nil }

// A copy that ends early is unfinished, wherever it ends; one whose end is zeros too, and damage is neither.
func TestUnfinished(t *testing.T) {
	for _, c := range []artifact.Compression{artifact.None, artifact.Gzip, artifact.LZMA, artifact.Zstd} {
		for _, unsigned := range []bool{false, true} {
			var v artifact.Verifier = trusted(t)
			if unsigned {
				v = anybody{}
			}
			b := recipe{compression: c, unsigned: unsigned, image: noise(100_000)}.make(t)
			end := len(bytes.TrimRight(b, "\x00"))
			for n := 0; n < len(b); n += 3 * 512 {
				verdict(t, v, fmt.Sprintf("%s cut at %d", c, n), b[:n], true)
				zeroed := append(bytes.Clone(b[:n]), make([]byte, len(b)-n)...)
				// What is missing of a payload that is not compressed may be too little to tell.
				if n <= end-zeroTailPlain || c != artifact.None && n <= end-512 {
					verdict(t, v, fmt.Sprintf("%s zeros from %d", c, n), zeroed, true)
				}
			}
			for n := 300; n < end; n += 1000 {
				flipped := bytes.Clone(b)
				flipped[n] ^= 1
				verdict(t, v, fmt.Sprintf("%s bit flipped at %d", c, n), flipped, false)
			}
		}
	}
}

// verdict looks at b, which is not right, and compares whether it is an unfinished copy.
func verdict(t *testing.T, v artifact.Verifier, what string, b []byte, unfinished bool) {
	t.Helper()
	c, err := Look(bytes.NewReader(b), int64(len(b)), v)
	if err == nil {
		err = c.Verify(nil)
	}
	if err == nil || errors.Is(err, ErrUnfinished) != unfinished || errors.Is(err, ErrRenamed) {
		t.Errorf("%s: %v", what, err)
	}
}

// What is known from the header is said before anything of the payload is read.
func TestUnfinishedBeforePayload(t *testing.T) {
	b := recipe{}.make(t)
	file := newOnce(b)
	if _, err := Look(file, int64(len(b)-1024), trusted(t)); !errors.Is(err, ErrUnfinished) {
		t.Errorf("got %v", err)
	}
	if n := total(file.reads); n > 32<<10 {
		t.Errorf("%d bytes were read", n)
	}
	zeroed := append(bytes.Clone(b[:headerEnd(t, b)]), make([]byte, len(b))...)
	if _, err := Look(bytes.NewReader(zeroed), int64(len(zeroed)), trusted(t)); !errors.Is(err, ErrUnfinished) {
		t.Errorf("zeros in place of the payload: got %v", err)
	}
}

func TestRenamed(t *testing.T) {
	pad := strings.Repeat("x", 2000)
	for _, text := range []string{
		"PK\x03\x04" + pad, "\x1f\x8b\x08" + pad, "7z\xbc\xaf\x27\x1c" + pad, "Rar!\x1a\x07\x01" + pad, "BZh9" + pad, "\xfd7zXZ\x00" + pad, "%PDF-1.7" + pad,
		"<!DOCTYPE html>" + pad, "\xef\xbb\xbf\r\n <html>" + pad, "<html>", "-----BEGIN PUBLIC KEY-----\n",
	} {
		if _, err := Look(strings.NewReader(text), int64(len(text)), trusted(t)); !errors.Is(err, ErrRenamed) || errors.Is(err, ErrUnfinished) {
			t.Errorf("%.20q: got %v", text, err)
		}
	}
	var other strings.Builder // another archive, and cut off
	w := tar.NewWriter(&other)
	if err := w.WriteHeader(&tar.Header{Name: "readme", Size: 9000, Mode: 0o644}); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{pad, "version", other.String() + pad, strings.Repeat("\xff", 5000)} {
		if _, err := Look(strings.NewReader(text), int64(len(text)), trusted(t)); err == nil || errors.Is(err, ErrRenamed) || errors.Is(err, ErrUnfinished) {
			t.Errorf("%.20q: got %v", text, err)
		}
	}
}

// Who made the file is said as it is, whatever the file looks like.
func TestTrustComesFirst(t *testing.T) {
	good := recipe{}.make(t)
	for name, tt := range map[string]struct {
		b       []byte
		key     string
		want    error
		wantNot error
	}{
		"unsigned":                    {recipe{unsigned: true}.make(t), "p256", artifact.ErrUnsigned, ErrUnfinished},
		"unsigned, not compressed":    {recipe{unsigned: true, compression: artifact.None, image: make([]byte, 300_000)}.make(t), "p256", artifact.ErrUnsigned, ErrUnfinished},
		"by another key":              {good, "rsa2048", artifact.ErrUntrusted, ErrUnfinished},
		"by another key, and cut off": {good[:len(good)-4096], "rsa2048", artifact.ErrUntrusted, ErrUnfinished},
	} {
		_, err := Look(bytes.NewReader(tt.b), int64(len(tt.b)), keyring(t, tt.key))
		if !errors.Is(err, tt.want) || errors.Is(err, tt.wantNot) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// A file without end costs little, whatever it begins with.
func TestEndless(t *testing.T) {
	good := recipe{}.make(t)
	records := strings.Repeat(string(paxRecord()), 40)
	for name, tt := range map[string]struct {
		begin []byte
		fill  []byte // over and over
		want  error
	}{
		"zeros":                    {nil, nil, ErrUnfinished},
		"zeros after an artifact":  {good, nil, artifact.ErrLimit},
		"records before a member":  {nil, []byte(records), artifact.ErrLimit},
		"records after the header": {good[:headerEnd(t, good)], []byte(records), artifact.ErrLimit},
	} {
		t.Run(name, func(t *testing.T) {
			file := &endless{begin: tt.begin, fill: tt.fill}
			limited(t, func() {
				if _, err := Look(file, 1<<40, trusted(t)); !errors.Is(err, tt.want) {
					t.Errorf("got %v, want %v", err, tt.want)
				}
			})
			if file.n > maxHead+2*maxWalk {
				t.Errorf("%d bytes were read", file.n)
			}
		})
	}
}

// The same with a real file, of which almost nothing is on the medium.
func TestSparse(t *testing.T) {
	dir := write(t, map[string][]byte{"zeros.mender": nil, "behind.mender": recipe{}.make(t)})
	for _, name := range []string{"zeros.mender", "behind.mender"} {
		if err := os.Truncate(filepath.Join(dir, name), 1<<40); err != nil {
			t.Fatal(err)
		}
	}
	s := openStick(t, dir)
	tree, err := s.Tree()
	if err != nil || len(tree.Files) != 2 {
		t.Fatalf("got %v, %v", tree, err)
	}
	limited(t, func() {
		for i, want := range []error{artifact.ErrLimit, ErrUnfinished} {
			if _, err := s.Look(tree.Files[i], trusted(t)); !errors.Is(err, want) {
				t.Errorf("%s: got %v", tree.Files[i].Name, err)
			}
		}
	})
}

// endless is a file of as many bytes as anybody wants.
type endless struct {
	begin, fill []byte
	n           int64
}

func (e *endless) ReadAt(p []byte, off int64) (int, error) {
	e.n += int64(len(p))
	for i := range p {
		at := off + int64(i)
		switch {
		case at < int64(len(e.begin)):
			p[i] = e.begin[at]
		case len(e.fill) > 0:
			p[i] = e.fill[(at-int64(len(e.begin)))%int64(len(e.fill))]
		default:
			p[i] = 0
		}
	}
	return len(p), nil
}

// paxRecord is a member of a tar archive that only says something about the next one.
func paxRecord() []byte {
	body := "20 comment=padding.\n"
	h := make([]byte, 1024)
	copy(h, "x")
	copy(h[100:], "0000600\x000000000\x000000000\x0000000000024\x0000000000000\x00        x")
	copy(h[257:], "ustar\x0000")
	sum := 0
	for _, c := range h[:512] {
		sum += int(c)
	}
	copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
	copy(h[512:], body)
	return h
}

// headerEnd is where the payload's header begins.
func headerEnd(t *testing.T, b []byte) int {
	t.Helper()
	i := bytes.Index(b, []byte("data/0000.tar\x00"))
	if i < 0 {
		t.Fatal("no payload")
	}
	return i
}

// failing is a file that cannot be read from an offset on.
type failing struct {
	b    []byte
	from int64
	err  error
}

func (f failing) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > f.from {
		return 0, f.err
	}
	return bytes.NewReader(f.b).ReadAt(p, off)
}

// A stick that cannot be read is not an artifact that is damaged.
func TestReadErrors(t *testing.T) {
	b := recipe{}.make(t)
	for from := int64(0); from < int64(len(b)); from += 4096 {
		c, err := Look(failing{b, from, unix.EIO}, int64(len(b)), trusted(t))
		if err == nil {
			err = c.Verify(nil)
		}
		if !errors.Is(err, unix.EIO) || errors.Is(err, ErrUnfinished) || errors.Is(err, artifact.ErrTruncated) {
			t.Errorf("from %d: %v", from, err)
		}
	}
}

// A stick that fails while it is found out what an error means changes nothing about the error.
func TestReadErrorsExplaining(t *testing.T) {
	b := []byte(strings.Repeat("x", 4096))
	_, err := Look(&failsLater{bytes.NewReader(b), 1}, int64(len(b)), trusted(t))
	if !errors.Is(err, artifact.ErrFormat) || errors.Is(err, ErrUnfinished) || errors.Is(err, ErrRenamed) {
		t.Errorf("got %v", err)
	}
	_, err = Look(&failsLater{bytes.NewReader(make([]byte, 4096)), 1}, 4096, trusted(t))
	if errors.Is(err, ErrUnfinished) {
		t.Errorf("got %v", err)
	}
}

// failsLater is a file that can be read from so often.
type failsLater struct {
	io.ReaderAt
	n int
}

func (f *failsLater) ReadAt(p []byte, off int64) (int, error) {
	if f.n--; f.n < 0 {
		return 0, unix.EIO
	}
	return f.ReaderAt.ReadAt(p, off)
}

// A candidate that is closed holds nothing, and hands out nothing.
func TestClosed(t *testing.T) {
	b := recipe{}.make(t)
	c, err := Look(bytes.NewReader(b), int64(len(b)), trusted(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if n, err := c.Source().Read(make([]byte, 10)); n != 0 || err == nil || err == io.EOF {
		t.Errorf("read %d bytes, %v", n, err)
	}
}

// Whatever becomes of a file, nothing stays open.
func TestNothingStaysOpen(t *testing.T) {
	good := recipe{}.make(t)
	s := openStick(t, write(t, map[string][]byte{"plimsoll/a.mender": good, "b.mender": good[:9000], "plimsoll/only-serials": []byte("A")}))
	before := descriptors(t)
	for range 20 {
		tree, err := s.Tree()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range tree.Files {
			if c, err := s.Look(f, trusted(t)); err == nil {
				c.Close()
			}
		}
	}
	if after := descriptors(t); after != before {
		t.Errorf("%d files are open, %d were before", after, before)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// Whatever is in a file, looking at it ends, and says yes only to what the artifact package says yes to.
func FuzzLook(f *testing.F) {
	f.Add(recipe{image: noise(1000)}.make(f))
	f.Add(recipe{image: noise(1000), compression: artifact.None, unsigned: true}.make(f)[:3000])
	f.Add(append([]byte("PK\x03\x04"), make([]byte, 600)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Look(bytes.NewReader(b), int64(len(b)), anybody{})
		if err == nil {
			err = c.Verify(nil)
		}
		_, want := payload(bytes.NewReader(b), anybody{})
		if err == nil && want != nil {
			t.Errorf("accepted, and it is %v", want)
		}
		if err != nil && want == nil && !errors.Is(err, artifact.ErrLimit) {
			t.Errorf("refused, and it is whole: %v", err)
		}
	})
}
