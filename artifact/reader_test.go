package artifact

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/iotest"
)

// written returns an artifact by our writer, with an image of size bytes that does not compress.
func written(t testing.TB, c Compression, s Signer, size int) ([]byte, []byte) {
	t.Helper()
	img := make([]byte, size)
	x := uint32(2463534242)
	for i := range img {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		img[i] = byte(x)
	}
	var b bytes.Buffer
	h := Header{Name: "rel-1", DeviceTypes: []string{"rpi3"}, Type: RootFS}
	w := Create(&b, h, Options{Compression: c, Signer: s, Rootfs: &Software{}, TempDir: t.TempDir()})
	if err := w.Add("rootfs.ext4", int64(size), bytes.NewReader(img)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), img
}

// readAll opens src and reads it to the end; it returns the image only if all was well.
func readAll(src io.Reader, v Verifier) ([]byte, error) {
	r, err := Open(src, v)
	if err != nil {
		return nil, err
	}
	p, err := r.Next()
	if err != nil {
		return nil, err
	}
	img, err := io.ReadAll(p)
	if err != nil {
		return nil, err
	}
	if _, err := r.Next(); err != io.EOF {
		return nil, fmt.Errorf("second Next: %w", err)
	}
	return img, nil
}

var allCompressions = []Compression{None, Gzip, LZMA, Zstd, ZstdFastest, ZstdFast, ZstdBetter, ZstdBest}

// TestReaders reads through readers that do all that a reader may do.
func TestReaders(t *testing.T) {
	for _, c := range allCompressions {
		a, img := written(t, c, testKey("p256"), 20000)
		for name, wrap := range map[string]func(io.Reader) io.Reader{
			"plain":    func(r io.Reader) io.Reader { return r },
			"one byte": iotest.OneByteReader,
			"half":     iotest.HalfReader,
			"data err": iotest.DataErrReader,
		} {
			have, err := readAll(wrap(bytes.NewReader(a)), testKey("p256"))
			if err != nil || !bytes.Equal(have, img) {
				t.Errorf("%s, %s: %v, %d bytes, want %d", c, name, err, len(have), len(img))
			}
			if _, err := Inspect(wrap(bytes.NewReader(a))); err != nil {
				t.Errorf("%s, %s: Inspect: %v", c, name, err)
			}
		}
	}
}

// TestTruncation cuts at every boundary of a block, and a byte beside it.
func TestTruncation(t *testing.T) {
	for _, c := range []Compression{None, Gzip, LZMA, Zstd} {
		a, _ := written(t, c, testKey("p256"), 10000)
		for at := 0; at <= len(a); at += block {
			for _, n := range []int{at - 1, at, at + 1} {
				if n < 0 || n >= len(a) {
					continue
				}
				for who, err := range map[string]error{"Open": second(readAll(bytes.NewReader(a[:n]), testKey("p256"))), "Inspect": second(Inspect(bytes.NewReader(a[:n])))} {
					if !errors.Is(err, ErrTruncated) {
						t.Errorf("%s, cut at %d of %d: %s: %v, want ErrTruncated", c, n, len(a), who, err)
					}
				}
				if err := Sign(io.Discard, bytes.NewReader(a[:n]), testKey("p256"), true); !errors.Is(err, ErrTruncated) {
					t.Errorf("%s, cut at %d of %d: Sign: %v, want ErrTruncated", c, n, len(a), err)
				}
			}
		}
	}
}

func second[T any](_ T, err error) error { return err }

// TestEveryByte changes one byte at a time. Only what no sum covers may be another without being refused: the tar headers of the outer
// archive and of the payload's, whose names and sizes are checked, and the headers of compressed streams.
func TestEveryByte(t *testing.T) {
	for c, step := range map[Compression]int{None: 1, Gzip: 1, LZMA: 29, Zstd: 7} { // the larger dictionaries take their time
		a, img := written(t, c, testKey("p256"), 600)
		for i := 0; i < len(a); i += step {
			a[i] ^= 0x20
			have, err := readAll(bytes.NewReader(a), testKey("p256"))
			a[i] ^= 0x20
			if err == nil && !bytes.Equal(have, img) {
				t.Fatalf("%s: byte %d: another image passes", c, i)
			}
			if err == nil && c == None && tarHeader(i) == "" {
				t.Errorf("%s: byte %d is in no tar header, and was changed unseen", c, i)
			}
			if err != nil && !isOurs(err) {
				t.Errorf("%s: byte %d: %v, which is none of the sentinels", c, i, err)
			}
		}
	}
}

// tarHeader says where in which kind of block i is, for an artifact as the test above makes it; "" if it is content.
func tarHeader(i int) string {
	switch i / block {
	case 0, 2, 4, 6, 14, 15:
		return "header"
	}
	return ""
}

func isOurs(err error) bool {
	for _, s := range sentinels {
		if errors.Is(err, s) {
			return true
		}
	}
	return false
}

// TestSourceFails has the source fail after each number of bytes: the error is its own, and none of ours.
func TestSourceFails(t *testing.T) {
	broken := errors.New("the stick is gone")
	for _, c := range []Compression{None, Gzip, LZMA, Zstd} {
		a, _ := written(t, c, testKey("p256"), 3000)
		for n := 0; n <= len(a); n += 97 {
			src := func() io.Reader { return io.MultiReader(bytes.NewReader(a[:n]), iotest.ErrReader(broken)) }
			for who, err := range map[string]error{
				"Open": second(readAll(src(), testKey("p256"))), "Inspect": second(Inspect(src())), "Sign": Sign(io.Discard, src(), testKey("p256"), true),
			} {
				if !errors.Is(err, broken) || isOurs(err) {
					t.Fatalf("%s, byte %d: %s: %v, want the source's own error", c, n, who, err)
				}
			}
		}
	}
}

// TestOpenReadsNoFurther shows that a refusal does not depend on what follows what is refused.
func TestOpenReadsNoFurther(t *testing.T) {
	a, _ := written(t, Gzip, testKey("rsa2048"), 3000)
	top := io.MultiReader(bytes.NewReader(a[:7*block]), iotest.ErrReader(errors.New("read too far")))
	if _, err := Open(top, testKey("rsa3072")); !errors.Is(err, ErrUntrusted) {
		t.Errorf("%v, want ErrUntrusted after the signature", err)
	}
}

// A witness remembers what it was asked.
type witness struct {
	asked    int
	manifest []byte
	sig      []byte
	says     error
}

func (w *witness) Verify(manifest, sig []byte) error {
	w.asked++
	w.manifest, w.sig = manifest, sig
	return w.says
}

func TestVerifier(t *testing.T) {
	no := errors.New("no")
	signed, _ := written(t, None, testKey("p256"), 10)
	unsigned, _ := written(t, None, nil, 10)
	sig, err := testKey("p256").Sign([]byte(inspect(t, signed).Manifest))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		data []byte
		says error
		sig  []byte
		want error
	}{
		{"signed and trusted", signed, nil, sig, nil},
		{"signed and not trusted", signed, no, sig, ErrUntrusted},
		{"unsigned and trusted", unsigned, nil, nil, nil},
		{"unsigned and not trusted", unsigned, no, nil, ErrUnsigned},
	} {
		w := &witness{says: tt.says}
		_, err := Open(bytes.NewReader(tt.data), w)
		if !errors.Is(err, tt.want) || !errors.Is(err, tt.says) {
			t.Errorf("%s: %v, want %v and %v", tt.name, err, tt.want, tt.says)
		}
		if w.asked != 1 || (w.sig == nil) != (tt.sig == nil) || !bytes.Equal(w.sig, tt.sig) || !bytes.Equal(w.manifest, inspect(t, tt.data).Manifest) {
			t.Errorf("%s: asked %d times, signature %x, want once and %x", tt.name, w.asked, w.sig, tt.sig)
		}
		if err := inspect(t, tt.data).Verify(w); !errors.Is(err, tt.want) {
			t.Errorf("%s: Info.Verify: %v, want %v", tt.name, err, tt.want)
		}
	}
}

// TestNilVerifier: forgetting to trust is not trusting.
func TestNilVerifier(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("Open took a nil Verifier")
		}
	}()
	Open(bytes.NewReader(nil), nil)
}

func inspect(t *testing.T, a []byte) *Info {
	t.Helper()
	info, err := Inspect(bytes.NewReader(a))
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// TestNext shows that going on without reading is still reading, and that an error stays.
func TestNext(t *testing.T) {
	two := parts{info: moduleInfo, typeInfo: moduleType, data: []file{{name: "a", body: "first"}, {name: "b", body: "second"}}}
	r, err := Open(bytes.NewReader(two.build()), anybody{})
	if err != nil {
		t.Fatal(err)
	}
	a, err := r.Next()
	if err != nil || a.Name != "a" || a.Size != 5 || a.Type != "files" || a.Sum.String() != sumOf("first") {
		t.Fatalf("%+v, %v", a, err)
	}
	b, err := r.Next()
	if err != nil || b.Name != "b" {
		t.Fatalf("%+v, %v", b, err)
	}
	if n, err := a.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("reading the file before: %d, %v; want io.EOF", n, err)
	}
	for range 2 {
		if _, err := r.Next(); err != io.EOF {
			t.Errorf("at the end: %v, want io.EOF", err)
		}
	}

	two.manifest = replace(sumOf("first"), sumOf("other"))
	if r, err = Open(bytes.NewReader(two.build()), anybody{}); err != nil {
		t.Fatal(err)
	}
	if a, err = r.Next(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := r.Next(); !errors.Is(err, ErrChecksum) {
			t.Errorf("passing over a damaged file: %v, want ErrChecksum", err)
		}
	}
	if _, err := a.Read(make([]byte, 1)); !errors.Is(err, ErrChecksum) {
		t.Errorf("reading it after all: %v, want ErrChecksum", err)
	}
}

// TestManifestSum: the identity of an artifact does not depend on who signed it.
func TestManifestSum(t *testing.T) {
	signed, _ := written(t, None, testKey("p256"), 10)
	unsigned, _ := written(t, None, nil, 10)
	r, err := Open(bytes.NewReader(signed), testKey("p256"))
	if err != nil {
		t.Fatal(err)
	}
	if have, want := r.ManifestSum(), inspect(t, unsigned).ManifestSum; have != want || want.String() != sumOf(string(inspect(t, signed).Manifest)) {
		t.Errorf("%v, want %v", have, want)
	}
}

// TestBombs: what expands without end is refused after little.
func TestBombs(t *testing.T) {
	zeros := bytes.Repeat([]byte{0}, maxHeader)
	for _, tt := range []struct {
		name  string
		parts parts
		says  string
	}{
		{"header-info", parts{headerName: "header.tar.gz", packHeader: func(string) string {
			return gz(ustar(file{name: "header-info", body: string(zeros)}))
		}}, ""},
		{"script", parts{headerName: "header.tar.gz", packHeader: func(string) string {
			return gz(ustar(file{name: "header-info", body: goodInfo}, file{name: "scripts/ArtifactInstall_Enter_00", body: string(zeros)}))
		}}, ""},
		{"behind the header", parts{headerName: "header.tar.gz", packHeader: func(s string) string { return gz(s + string(zeros[:2<<20])) }}, ""},
		{"behind the payload", parts{dataName: "data/0000.tar.gz", packData: func(s string) string { return gz(s + string(zeros[:2<<20])) }}, ""},
	} {
		if _, err := Inspect(bytes.NewReader(tt.parts.build())); !errors.Is(err, ErrLimit) {
			t.Errorf("%s: %v, want ErrLimit", tt.name, err)
		}
	}
}

// TestManyFiles shows that 64 KiB of manifest are usable: as many files as fit.
func TestManyFiles(t *testing.T) {
	var data []file
	for i := range 700 {
		data = append(data, file{name: fmt.Sprintf("file-%04d", i), body: fmt.Sprint(i)})
	}
	info := inspect(t, parts{info: moduleInfo, typeInfo: moduleType, data: data}.build())
	if len(info.Files) != len(data) || info.Files[699].Sum.String() != sumOf("699") {
		t.Errorf("%d files, want %d", len(info.Files), len(data))
	}
}
