package artifact

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// write writes an artifact with two scripts and src of size bytes to dst.
func write(dst io.Writer, o Options, scripts []string, src io.Reader, size int64) error {
	w := Create(dst, Header{Name: "rel-1", DeviceTypes: []string{"rpi3"}, Type: RootFS}, o)
	defer w.Abort()
	for _, s := range scripts {
		if err := w.AddScript(s, int64(len(s)), strings.NewReader(s)); err != nil {
			return err
		}
	}
	if err := w.Add("rootfs.ext4", size, src); err != nil {
		return err
	}
	return w.Close()
}

// TestReproducible: neither cores, nor how the image arrives, nor the order of scripts, user, zone or time change a byte.
func TestReproducible(t *testing.T) {
	_, img := written(t, None, nil, 1<<20+12345)
	img = append(img, make([]byte, 1<<20)...)
	img = append(img, bytes.Repeat(image, 8)...)
	scripts := []string{"ArtifactInstall_Enter_01", "ArtifactInstall_Enter_00", "ArtifactCommit_Leave_50_x"}
	for _, c := range allCompressions {
		var want []byte
		for _, cores := range []int{1, 2, 7} {
			old := runtime.GOMAXPROCS(cores)
			for name, src := range map[string]io.Reader{
				"plain": bytes.NewReader(img),
				"half":  iotest.HalfReader(bytes.NewReader(img)),
				"odd":   &oddReader{r: bytes.NewReader(img)},
			} {
				var b bytes.Buffer
				slices.Reverse(scripts)
				if err := write(&b, Options{Compression: c, TempDir: t.TempDir(), Rootfs: &Software{}}, scripts, src, int64(len(img))); err != nil {
					t.Fatal(err)
				}
				if want == nil {
					want = b.Bytes()
				}
				if !bytes.Equal(b.Bytes(), want) {
					t.Errorf("%s: %d cores, %s reader: other bytes", c, cores, name)
				}
				if c == LZMA && cores > 1 {
					break // it takes its time
				}
			}
			runtime.GOMAXPROCS(old)
		}
	}
}

// An oddReader returns 1, 2, 3, … bytes.
type oddReader struct {
	r io.Reader
	n int
}

func (o *oddReader) Read(b []byte) (int, error) {
	o.n++
	return o.r.Read(b[:min(o.n, len(b))])
}

// TestAnonymous looks for what tells of the machine, in each tar header of an artifact.
func TestAnonymous(t *testing.T) {
	a, _ := written(t, None, testKey("p256"), 10)
	for i := 0; i+block <= len(a); i += block {
		h := a[i : i+block]
		if string(h[257:263]) != "ustar\x00" {
			continue
		}
		if have, want := string(h[100:124]), "0000600\x000000000\x000000000\x00"; have != want {
			t.Errorf("block %d: mode and owner %q, want %q", i/block, have, want)
		}
		if have, want := string(h[136:147]), "00000000000"; have != want {
			t.Errorf("block %d: time %q, want %q", i/block, have, want)
		}
		if strings.Trim(string(h[265:329]), "\x00") != "" {
			t.Errorf("block %d: owner's names %q, want none", i/block, h[265:329])
		}
	}
	z, _ := written(t, Gzip, nil, 10)
	at := bytes.Index(z, []byte{0x1f, 0x8b, 8})
	if have := z[at+4 : at+10]; !bytes.Equal(have, []byte{0, 0, 0, 0, 2, 255}) && !bytes.Equal(have, []byte{0, 0, 0, 0, 0, 255}) {
		t.Errorf("gzip header has % x for time and system", have)
	}
}

func TestModTime(t *testing.T) {
	when := time.Date(2026, 11, 24, 1, 2, 3, 999, time.FixedZone("x", 3600))
	var b bytes.Buffer
	if err := write(&b, Options{ModTime: when}, nil, strings.NewReader("x"), 1); err != nil {
		t.Fatal(err)
	}
	info := inspect(t, b.Bytes())
	if have, want := info.Files[0].ModTime, when.Truncate(time.Second); !have.Equal(want) {
		t.Errorf("file of %v, want %v", have, want)
	}
	for _, m := range info.Members {
		if !m.ModTime.Equal(when.Truncate(time.Second)) {
			t.Errorf("%s of %v, want %v", m.Name, m.ModTime, when)
		}
	}
}

// A tight writer is full after left bytes.
type tight struct{ left int }

var errFull = errors.New("no space left")

func (w *tight) Write(b []byte) (int, error) {
	if len(b) > w.left {
		n := w.left
		w.left = 0
		return n, errFull
	}
	w.left -= len(b)
	return len(b), nil
}

// TestFullDisk fills up the destination after every number of bytes.
func TestFullDisk(t *testing.T) {
	a, img := written(t, Gzip, testKey("p256"), 2000)
	o := Options{Compression: Gzip, Signer: testKey("p256"), Rootfs: &Software{}, TempDir: t.TempDir()}
	for n := 0; n < len(a); n += 11 {
		if err := write(&tight{n}, o, nil, bytes.NewReader(img), int64(len(img))); !errors.Is(err, errFull) {
			t.Fatalf("full after %d of %d bytes: %v, want errFull", n, len(a), err)
		}
		if err := Sign(&tight{n}, bytes.NewReader(a), testKey("p256"), true); !errors.Is(err, errFull) {
			t.Fatalf("Sign: full after %d of %d bytes: %v, want errFull", n, len(a), err)
		}
	}
	for n := len(a) - 3; n < len(a); n++ {
		if err := write(&tight{n}, o, nil, bytes.NewReader(img), int64(len(img))); !errors.Is(err, errFull) {
			t.Errorf("full after %d of %d bytes: %v, want errFull", n, len(a), err)
		}
	}
	if err := write(&tight{len(a)}, o, nil, bytes.NewReader(img), int64(len(img))); err != nil {
		t.Errorf("just large enough: %v", err)
	}
}

// TestNothingLeftBehind looks at the temporary directory during and after, whatever the end.
func TestNothingLeftBehind(t *testing.T) {
	dir := t.TempDir()
	empty := func(when string) {
		if e, err := os.ReadDir(dir); err != nil || len(e) > 0 {
			t.Errorf("%s: %v, %v in the temporary directory", when, e, err)
		}
	}
	before := countFiles(t)
	o := Options{Compression: Zstd, TempDir: dir}
	h := Header{Name: "rel-1", DeviceTypes: []string{"rpi3"}, Type: RootFS}
	w := Create(io.Discard, h, o)
	if err := w.Add("a", 1, strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
	empty("while writing") // a kill leaves nothing
	w.Abort()
	if err := w.Close(); err == nil {
		t.Error("Close after Abort: no error")
	}
	for name, err := range map[string]error{
		"closed": write(io.Discard, o, nil, strings.NewReader("x"), 1),
		"full":   write(&tight{100}, o, nil, strings.NewReader("x"), 1),
		"short":  write(io.Discard, o, nil, strings.NewReader("x"), 2),
	} {
		if (err == nil) != (name == "closed") {
			t.Errorf("%s: %v", name, err)
		}
	}
	empty("afterwards")
	if after := countFiles(t); after != before {
		t.Errorf("%d files open, before %d", after, before)
	}
	if err := write(io.Discard, Options{TempDir: dir + "/none"}, nil, strings.NewReader("x"), 1); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no temporary directory: %v, want not exist", err)
	}
}

func countFiles(t *testing.T) int {
	e, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(e)
}

// TestAdd: sizes are what was announced, names are what readers take.
func TestAdd(t *testing.T) {
	broken := errors.New("broken")
	for _, tt := range []struct {
		name string
		typ  string
		do   func(w *Writer) error
		want error // nil: any
	}{
		{"short", RootFS, func(w *Writer) error { return w.Add("a", 3, strings.NewReader("12")) }, io.ErrUnexpectedEOF},
		{"long", RootFS, func(w *Writer) error { return w.Add("a", 3, strings.NewReader("1234")) }, nil},
		{"negative", RootFS, func(w *Writer) error { return w.Add("a", -1, strings.NewReader("1")) }, nil},
		{"broken", RootFS, func(w *Writer) error { return w.Add("a", 3, iotest.ErrReader(broken)) }, broken},
		{"broken at the end", RootFS, func(w *Writer) error {
			return w.Add("a", 3, io.MultiReader(strings.NewReader("123"), iotest.ErrReader(broken)))
		}, broken},
		{"a path", RootFS, func(w *Writer) error { return w.Add("a/b", 1, strings.NewReader("1")) }, ErrFormat},
		{"dots", RootFS, func(w *Writer) error { return w.Add("..", 1, strings.NewReader("1")) }, ErrFormat},
		{"a long name", RootFS, func(w *Writer) error { return w.Add(strings.Repeat("n", 91), 1, strings.NewReader("1")) }, ErrFormat},
		{"a blank", RootFS, func(w *Writer) error { return w.Add("a b", 1, strings.NewReader("1")) }, ErrFormat},
		{"two images", RootFS, func(w *Writer) error {
			return errors.Join(w.Add("a", 1, strings.NewReader("1")), w.Add("b", 1, strings.NewReader("1")))
		}, ErrFormat},
		{"twice", "files", func(w *Writer) error {
			return errors.Join(w.Add("a", 1, strings.NewReader("1")), w.Add("a", 1, strings.NewReader("1")))
		}, ErrFormat},
		{"a file for nothing", "", func(w *Writer) error { return w.Add("a", 1, strings.NewReader("1")) }, ErrFormat},
		{"no image", RootFS, func(w *Writer) error { return w.Close() }, ErrFormat},
		{"script of a state", RootFS, func(w *Writer) error { return w.AddScript("Idle_Enter_00", 1, strings.NewReader("1")) }, ErrFormat},
		{"script anchored", RootFS, func(w *Writer) error { return w.AddScript("ArtifactInstall_Enter_000", 1, strings.NewReader("1")) }, ErrFormat},
		{"script twice", RootFS, func(w *Writer) error {
			return errors.Join(w.AddScript("ArtifactInstall_Enter_00", 1, strings.NewReader("1")), w.AddScript("ArtifactInstall_Enter_00", 1, strings.NewReader("1")))
		}, ErrFormat},
		{"script short", RootFS, func(w *Writer) error { return w.AddScript("ArtifactInstall_Enter_00", 2, strings.NewReader("1")) }, io.ErrUnexpectedEOF},
		{"script large", RootFS, func(w *Writer) error {
			return w.AddScript("ArtifactInstall_Enter_00", 1<<40, strings.NewReader("1"))
		}, ErrLimit},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var b bytes.Buffer
			w := Create(&b, Header{Name: "rel-1", DeviceTypes: []string{"rpi3"}, Type: tt.typ}, Options{TempDir: t.TempDir()})
			err := tt.do(w)
			if err == nil || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("%v, want %v", err, tt.want)
			}
			if err := w.Close(); err == nil {
				t.Error("Close reports success")
			}
			if b.Len() > 0 {
				t.Errorf("%d bytes written", b.Len())
			}
		})
	}
}

// TestCreate: what a reader would refuse is not written.
func TestCreate(t *testing.T) {
	good := Header{Name: "rel-1", DeviceTypes: []string{"rpi3"}, Type: RootFS}
	for name, spoil := range map[string]func(*Header, *Options){
		"no name":          func(h *Header, o *Options) { h.Name = "" },
		"a long name":      func(h *Header, o *Options) { h.Name = strings.Repeat("n", 257) },
		"a line break":     func(h *Header, o *Options) { h.Name = "a\nb" },
		"no UTF-8":         func(h *Header, o *Options) { h.Name = "a\xff" },
		"no device":        func(h *Header, o *Options) { h.DeviceTypes = nil },
		"an empty device":  func(h *Header, o *Options) { h.DeviceTypes = []string{""} },
		"a reserved key":   func(h *Header, o *Options) { h.Provides = map[string]string{"artifact_name": "x"} },
		"a reserved need":  func(h *Header, o *Options) { h.Depends = map[string][]string{"device_type": {"x"}} },
		"a need of none":   func(h *Header, o *Options) { h.Depends = map[string][]string{"x": {}} },
		"meta-data":        func(h *Header, o *Options) { h.MetaData = []byte("[]") },
		"null's meta-data": func(h *Header, o *Options) { h.Type, h.MetaData = "", []byte("{}") },
		"compression":      func(h *Header, o *Options) { o.Compression = "bzip2" },
		"before 1970":      func(h *Header, o *Options) { o.ModTime = time.Unix(-1, 0) },
		"rootfs defaults":  func(h *Header, o *Options) { h.Type, o.Rootfs = "files", &Software{} },
	} {
		h, o := good, Options{}
		spoil(&h, &o)
		var b bytes.Buffer
		w := Create(&b, h, o)
		if err := w.Close(); err == nil || b.Len() > 0 {
			t.Errorf("%s: %v and %d bytes, want an error and none", name, err, b.Len())
		}
	}
}

// TestRoundTrip: what was put in is what comes out.
func TestRoundTrip(t *testing.T) {
	for name, h := range map[string]Header{
		"rootfs":  {Name: "rel 1 äöü", Group: "g", DeviceTypes: []string{"rpi3", "bbb"}, DependsNames: []string{"a", "b"}, DependsGroups: []string{"g"}, Type: RootFS, Provides: map[string]string{"a": "", "b": "<&>"}, Depends: map[string][]string{"x": {"1"}, "y": {"1", "2"}}, Clears: []string{"a*", "*"}, HasClears: true},
		"module":  {Name: "m", DeviceTypes: []string{"x"}, Type: "files", MetaData: []byte(`{"a":1}`)},
		"nothing": {Name: "n", DeviceTypes: []string{"x"}, Clears: []string{}, HasClears: true},
	} {
		var b bytes.Buffer
		before := h.clone()
		w := Create(&b, h, Options{Compression: Gzip, TempDir: t.TempDir()})
		if h.Type != "" {
			if err := w.Add("f", 1, strings.NewReader("x")); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		have := inspect(t, b.Bytes()).Header
		if diff := cmp.Diff(before, have); diff != "" {
			t.Errorf("%s (-in +out):\n%s", name, diff)
		}
		if diff := cmp.Diff(before, h); diff != "" {
			t.Errorf("%s: the caller's header was changed:\n%s", name, diff)
		}
	}
}

// TestRootfsDefaults has the rules; the peer's tool is asked about them elsewhere.
func TestRootfsDefaults(t *testing.T) {
	sum := Sum{1}
	checksum := map[string]string{"rootfs-image.checksum": sum.String()}
	with := func(k, v string) map[string]string { m := maps.Clone(checksum); m[k] = v; return m }
	for _, tt := range []struct {
		name     string
		s        Software
		provides map[string]string
		clears   []string
	}{
		{"default", Software{}, with("rootfs-image.version", "rel-1"), []string{"mine", "artifact_group", "rootfs_image_checksum", "rootfs-image.*"}},
		{"name", Software{Name: "foo"}, with("rootfs-image.foo.version", "rel-1"), []string{"mine", "rootfs-image.foo.*"}},
		{"filesystem", Software{Filesystem: "data", Version: "7"}, with("data.version", "7"), []string{"mine", "data.*"}},
		{"no version", Software{NoVersion: true}, checksum, []string{"mine"}},
		{"no clears", Software{NoClears: true}, with("rootfs-image.version", "rel-1"), []string{"mine"}},
		{"no checksum", Software{NoChecksum: true, NoVersion: true}, nil, []string{"mine"}},
		{"legacy", Software{LegacyChecksum: true, NoVersion: true}, map[string]string{"rootfs_image_checksum": sum.String()}, []string{"mine"}},
	} {
		mine := make([]string, 1, 10)
		mine[0] = "mine"
		h := Header{Name: "rel-1", Clears: mine}
		h.RootfsDefaults(sum, tt.s)
		if diff := cmp.Diff(tt.provides, h.Provides); diff != "" {
			t.Errorf("%s: provides (-want +have):\n%s", tt.name, diff)
		}
		if diff := cmp.Diff(tt.clears, h.Clears); diff != "" {
			t.Errorf("%s: clears (-want +have):\n%s", tt.name, diff)
		}
	}
	h := Header{Name: "rel-1", Provides: map[string]string{"rootfs-image.version": "9"}}
	if h.RootfsDefaults(sum, Software{}); h.Provides["rootfs-image.version"] != "9" {
		t.Error("an explicit version was overwritten")
	}
}

func TestModuleDefaults(t *testing.T) {
	for _, tt := range []struct {
		name     string
		s        Software
		provides map[string]string
		clears   []string
	}{
		{"default", Software{}, map[string]string{"rootfs-image.docker.version": "rel-1"}, []string{"mine.*", "rootfs-image.docker.*"}},
		{"name", Software{Name: "mine", Filesystem: "data"}, map[string]string{"data.mine.version": "rel-1"}, []string{"mine.*", "data.mine.*"}},
		{"no version", Software{NoVersion: true}, nil, []string{"mine.*"}},
		{"no default, but a version", Software{NoVersion: true, Version: "7"}, map[string]string{"rootfs-image.version": "7"}, []string{"mine.*"}},
		{"no clears", Software{NoClears: true, Version: "7"}, map[string]string{"rootfs-image.docker.version": "7"}, []string{"mine.*"}},
	} {
		h := Header{Name: "rel-1", Type: "docker", Clears: []string{"mine.*"}}
		h.ModuleDefaults(tt.s)
		if diff := cmp.Diff(tt.provides, h.Provides); diff != "" {
			t.Errorf("%s: provides (-want +have):\n%s", tt.name, diff)
		}
		if diff := cmp.Diff(tt.clears, h.Clears); diff != "" {
			t.Errorf("%s: clears (-want +have):\n%s", tt.name, diff)
		}
	}
	h := Header{Name: "rel-1", Type: "docker", Clears: []string{"rootfs-image.docker.*"}}
	if h.ModuleDefaults(Software{}); len(h.Clears) != 1 {
		t.Errorf("clears %q: twice the same", h.Clears)
	}
}

func TestParseCompression(t *testing.T) {
	for _, c := range allCompressions {
		if have, err := ParseCompression(string(c)); have != c || err != nil {
			t.Errorf("%s: %v, %v", c, have, err)
		}
	}
	for _, s := range []string{"", "GZIP", "gz", "xz", "zstd_", "bzip2"} {
		if c, err := ParseCompression(s); err == nil {
			t.Errorf("%q: %v, want an error", s, c)
		}
	}
}

func TestParseSum(t *testing.T) {
	good := strings.Repeat("0a", 32)
	if s, err := ParseSum(good); err != nil || s.String() != good {
		t.Errorf("%v, %v", s, err)
	}
	for _, s := range []string{"", good[:63], good + "0", strings.ToUpper(good), strings.Repeat("g", 64), " " + good[1:]} {
		if _, err := ParseSum(s); err == nil {
			t.Errorf("%q: no error", s)
		}
	}
}
