package report

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// Results as they stand on sticks.
const (
	updated  = "updated and confirmed"
	upToDate = "up to date"
	wentBack = "went back to the old version"
)

// put writes a file on a stick.
func put(t testing.TB, b []byte, path ...string) {
	t.Helper()
	name := filepath.Join(path...)
	must(t, os.MkdirAll(filepath.Dir(name), 0o755))
	must(t, os.WriteFile(name, b, 0o644))
}

func TestReadWhere(t *testing.T) {
	for _, tt := range []struct{ folder, at string }{
		{"plimsoll/reports", "."}, {"plimsoll/reports", "plimsoll"}, {"plimsoll/reports", "plimsoll/reports"},
		{"PLIMSOLL/Reports", "."}, {"Plimsoll/REPORTS", "Plimsoll"},
	} {
		dir := t.TempDir()
		put(t, encode(t, sample(), nil), dir, tt.folder, "X/1.json")
		r, err := Read(filepath.Join(dir, tt.at), ReadOptions{})
		if err != nil || len(r.Reports) != 1 || len(r.Problems) != 0 {
			t.Errorf("%s at %s: %v, %v", tt.folder, tt.at, r, err)
		}
	}
	t.Chdir(filepath.Join(t.TempDir()))
	must(t, os.MkdirAll("plimsoll/reports", 0o755))
	t.Chdir("plimsoll")
	if r, err := Read(".", ReadOptions{}); err != nil || len(r.Reports) != 0 {
		t.Errorf("here: %v, %v", r, err)
	}
	for _, dir := range []string{t.TempDir(), filepath.Join(t.TempDir(), "nowhere")} {
		if _, err := Read(dir, ReadOptions{}); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: got %v", dir, err)
		}
	}
	dir := t.TempDir()
	must(t, os.Symlink("/", filepath.Join(dir, "plimsoll")))
	if _, err := Read(dir, ReadOptions{}); !errors.Is(err, errInTheWay) {
		t.Errorf("a link: got %v", err)
	}
}

// TestReadHostile: what may lie among reports. None of it hides the others.
func TestReadHostile(t *testing.T) {
	b := encode(t, sample(), nil)
	odd := func(dir string) string { return filepath.Join(dir, "plimsoll/reports/SN-1/odd.json") }
	tests := []struct {
		name    string
		make    func(dir string) error
		problem string // "": none
	}{
		{"nothing", func(string) error { return nil }, ""},
		{"allocated", func(dir string) error { return Allocate(dir, 3) }, ""},
		{"a Mac's shadow", func(dir string) error {
			return os.WriteFile(filepath.Join(filepath.Dir(odd(dir)), "._12.json"), []byte("\x00\x05\x16\x07"), 0o644)
		}, ""},
		{"a note", func(dir string) error { return os.WriteFile(odd(dir)+".doc", []byte("x"), 0o644) }, ""},
		{"empty", func(dir string) error { return os.WriteFile(odd(dir), nil, 0o644) }, "not whole"},
		{"torn", func(dir string) error { return os.WriteFile(odd(dir), b[:200], 0o644) }, "not whole"},
		{"sparse, 1 TiB", func(dir string) error {
			return errors.Join(os.WriteFile(odd(dir), nil, 0o644), os.Truncate(odd(dir), 1<<40))
		}, "more than 65536 bytes"},
		{"a link outside", func(dir string) error { return os.Symlink("/etc/passwd", odd(dir)) }, "in the way"},
		{"a link to another report", func(dir string) error { return os.Symlink("12.json", odd(dir)) }, "in the way"},
		{"a link in a circle", func(dir string) error { return os.Symlink("odd.json", odd(dir)) }, "in the way"},
		{"a pipe", func(dir string) error { return unix.Mkfifo(odd(dir), 0o644) }, "in the way"},
		{"a folder", func(dir string) error { return os.Mkdir(odd(dir), 0o755) }, "in the way"},
		{"a folder of folders", func(dir string) error {
			return os.MkdirAll(filepath.Join(filepath.Dir(odd(dir)), strings.Repeat("deep/", 100)), 0o755)
		}, ""},
		{"reports further below", func(dir string) error {
			deep := filepath.Join(filepath.Dir(odd(dir)), "deep")
			return errors.Join(os.Mkdir(deep, 0o755), os.WriteFile(filepath.Join(deep, "1.json"), b, 0o644))
		}, ""},
		{"a link for a folder", func(dir string) error { return os.Symlink("SN-1", filepath.Join(dir, "plimsoll/reports/SN-2")) }, ""},
		{"a name that moves the cursor", func(dir string) error {
			return os.WriteFile(filepath.Join(filepath.Dir(odd(dir)), "\x1b[2J\u202e.json"), nil, 0o644)
		}, "[2J"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			put(t, b, dir, "plimsoll/reports/SN-1/12.json")
			must(t, tt.make(dir))
			r, err := Read(dir, ReadOptions{})
			must(t, err)
			if len(r.Reports) != 1 || !cmp.Equal(r.Reports[0].Report, sample()) {
				t.Errorf("read %v", r.Reports)
			}
			if (len(r.Problems) > 0) != (tt.problem != "") || len(r.Problems) > 1 {
				t.Errorf("said %v", r.Problems)
			}
			for _, p := range r.Problems {
				if s := p.Error(); !strings.Contains(s, tt.problem) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
					t.Errorf("said %q, want %q", s, tt.problem)
				}
			}
		})
	}
}

// TestReadBounds: more than anybody needs is not read.
func TestReadBounds(t *testing.T) {
	dir := t.TempDir()
	for i := range maxEntries + 5 {
		put(t, nil, dir, "plimsoll/reports/X", fmt.Sprintf("%d.json", i))
	}
	r, err := Read(dir, ReadOptions{})
	must(t, err)
	if n := len(r.Problems); n != maxTroubles+1 || !strings.Contains(r.Problems[n-1].Error(), "more") {
		t.Errorf("%d problems, the last is %v", n, r.Problems[n-1])
	}

	d, err := os.Open(filepath.Join(dir, "plimsoll/reports/X"))
	must(t, err)
	defer d.Close()
	all, err := folder{d}.list()
	if len(all) != maxEntries || err == nil {
		t.Errorf("listed %d, %v", len(all), err)
	}

	full := &reader{}
	full.Reports = make([]Found, maxEntries)
	put(t, encode(t, sample(), nil), dir, "one", "1.json")
	one, err := os.Open(filepath.Join(dir, "one"))
	must(t, err)
	defer one.Close()
	full.folder(folder{one}, false)
	if len(full.Reports) != maxEntries || len(full.Problems) != 1 {
		t.Errorf("%d reports, %v", len(full.Reports), full.Problems)
	}
}

func TestReadTrust(t *testing.T) {
	keys := func(serial string) Verifier {
		if serial == "SN-0042" {
			return newKey(1)
		}
		return nil
	}
	stranger := sample()
	stranger.Serial = "SN-1"
	changed := bytes.Replace(encode(t, sample(), newKey(1)), []byte(`"signature":"`), []byte(`"signature":"AAAA`), 1)
	for _, tt := range []struct {
		name string
		b    []byte
		keys Keys
		want Trust
	}{
		{"unsigned", encode(t, sample(), nil), keys, Unsigned},
		{"unsigned, no keys", encode(t, sample(), nil), nil, Unsigned},
		{"signed, no keys", encode(t, sample(), newKey(1)), nil, Unchecked},
		{"signed", encode(t, sample(), newKey(1)), keys, Verified},
		{"signed by another", encode(t, sample(), newKey(2)), keys, Forged},
		{"another signature", changed, keys, Forged},
		{"of a device without key", encode(t, stranger, newKey(1)), keys, Unchecked},
	} {
		dir := t.TempDir()
		put(t, tt.b, dir, "plimsoll/reports/01.json")
		r, err := Read(dir, ReadOptions{Keys: tt.keys})
		if err != nil || len(r.Reports) != 1 || r.Reports[0].Trust != tt.want {
			t.Errorf("%s: got %+v, %v, want %s", tt.name, r, err, tt.want)
		}
	}
}

// found is a report as it might be read.
func found(serial, store string, sequence int64, change ...func(*Found)) Found {
	f := Found{Report: Report{Schema: 1, Serial: serial, Store: store, Sequence: sequence, Revision: 1, Final: true, Result: updated}, Trust: Unsigned}
	for _, c := range change {
		c(&f)
	}
	return f
}

func TestDevices(t *testing.T) {
	revision := func(n int) func(*Found) { return func(f *Found) { f.Revision = n } }
	trust := func(x Trust) func(*Found) { return func(f *Found) { f.Trust = x } }
	at := func(s string) func(*Found) { return func(f *Found) { f.Time, f.ClockSet = s, true } }
	path := func(s string) func(*Found) { return func(f *Found) { f.Path = s } }
	for _, tt := range []struct {
		name string
		in   []Found
		want string // serial: number of reports, latest store/sequence/revision/path
	}{
		{"none", nil, ""},
		{"the greatest number is the latest", []Found{found("a", "1", 9), found("a", "1", 10), found("a", "1", 8)}, "a: 3, 1/10/1/"},
		{"on two sticks", []Found{found("a", "1", 9, path("x")), found("a", "1", 9, path("y"))}, "a: 1, 1/9/1/x"},
		{"on two sticks, one knows more", []Found{found("a", "1", 9, revision(2), path("x")), found("a", "1", 9, revision(3), path("y"))}, "a: 1, 1/9/3/y"},
		{"two devices", []Found{found("b", "1", 1), found("a", "1", 2)}, "a: 1, 1/2/1/; b: 1, 1/1/1/"},
		{"wiped, as the clocks say", []Found{found("a", "2", 40, at("2026-01-01T00:00:00Z")), found("a", "1", 2, at("2026-02-01T00:00:00Z"))}, "a: 2, 1/2/1/"},
		{"wiped, only one clock was set", []Found{found("a", "2", 40), found("a", "1", 2, at("2026-02-01T00:00:00Z"))}, "a: 2, 1/2/1/"},
		{"an unsigned one cannot hide what is verified", []Found{found("a", "1", 2, trust(Verified)), found("a", "1", 99)}, "a: 2, 1/2/1/"},
		{"nor replace it", []Found{found("a", "1", 2, revision(99)), found("a", "1", 2, trust(Verified))}, "a: 1, 1/2/1/"},
		{"a wrong signature is less than none", []Found{found("a", "1", 3, trust(Forged)), found("a", "1", 2)}, "a: 2, 1/2/1/"},
		{"nor can it replace one", []Found{found("a", "1", 2, trust(Forged), revision(9)), found("a", "1", 2)}, "a: 1, 1/2/1/"},
	} {
		for range 2 {
			var got []string
			for _, d := range Devices(tt.in) {
				l := d.Latest
				got = append(got, fmt.Sprintf("%s: %d, %s/%d/%d/%s", d.Serial, len(d.Reports), l.Store, l.Sequence, l.Revision, l.Path))
			}
			if s := strings.Join(got, "; "); s != tt.want {
				t.Errorf("%s: got %s, want %s", tt.name, s, tt.want)
			}
			slices.Reverse(tt.in)
		}
	}
}

func TestGood(t *testing.T) {
	for _, tt := range []struct {
		result, code string
		final, want  bool
	}{
		{updated, "", true, true}, {upToDate, "", true, true},
		{updated, "", false, false}, {updated, "E51", true, false}, {"went back to the old version", "E51", true, false},
		{"nothing here for this device", "", true, false}, {"failed", "E13", true, false}, {"restarting", "", false, false},
	} {
		if got := (Report{Result: tt.result, Code: tt.code, Final: tt.final}).Good(); got != tt.want {
			t.Errorf("%+v: got %v", tt, got)
		}
	}
}

func TestSerials(t *testing.T) {
	got, err := Serials(strings.NewReader("\ufeff# our fleet\r\nSN-1\r\n\r\n  SN-2  \nSN-1\n#SN-9\nbad\x1b[2J\nSN 3"))
	if d := cmp.Diff([]string{"SN-1", "SN-2", "bad [2J", "SN 3"}, got); d != "" || err != nil {
		t.Errorf("%v, want -, got +\n%s", err, d)
	}
	for name, r := range map[string]string{"without end": strings.Repeat("x\n", maxSerials), "a line without end": strings.Repeat("x", 100<<10)} {
		if _, err := Serials(strings.NewReader(r)); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	if _, err := Serials(iotest.ErrReader(unix.EIO)); !errors.Is(err, unix.EIO) {
		t.Errorf("got %v", err)
	}
	devices := Devices([]Found{found("SN-2", "1", 1), found("x", "1", 1)})
	if d := cmp.Diff([]string{"SN-1", "SN-3"}, Missing([]string{"SN-1", "SN-2", "SN-3"}, devices)); d != "" {
		t.Errorf("want -, got +\n%s", d)
	}
}

func TestTable(t *testing.T) {
	s := sample()
	open := Report{Serial: "SN-7", Sequence: 3, Result: "restarting", Tried: Artifact{Name: "rel-8"}, Before: Artifact{Name: strings.Repeat("x", 60)}}
	var b strings.Builder
	must(t, Table(&b, []Found{{Report: s, Trust: Verified}, {Report: open, Trust: Unsigned}, {Report: Report{Sequence: 1, Result: "up to date", Final: true}, Trust: Forged}}, []string{"SN-9"}))
	const want = `
SERIAL   NR  BEFORE → AFTER                            RESULT                             WHEN                  SIGNED
SN-0042  12  rel-7 → rel-7                             went back to the old version: E51  2026-11-25T12:56:42Z  verified
SN-7     3   xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…  restarting (not the end)           clock not set         unsigned
-        1   ? → ?                                     up to date                         clock not set         wrong signature
SN-9     -   -                                         missing                            -                     -
`
	if d := cmp.Diff(want, "\n"+b.String()); d != "" {
		t.Errorf("want -, got +\n%s", d)
	}
}

func TestCSV(t *testing.T) {
	s := sample()
	s.Detail = `=HYPERLINK("http://x";"y"), "quoted"`
	var b bytes.Buffer
	must(t, CSV(&b, []Found{{Report: s, Trust: Verified}}, []string{"@SN-9"}))
	if !bytes.HasSuffix(b.Bytes(), []byte("\r\n")) {
		t.Error("a line without end")
	}
	rows, err := csv.NewReader(&b).ReadAll()
	must(t, err)
	if len(rows) != 3 || len(rows[1]) != len(rows[0]) || len(rows[2]) != len(rows[0]) {
		t.Fatalf("got %q", rows)
	}
	for column, want := range map[string][2]string{
		"serial": {"SN-0042", "'@SN-9"}, "sequence": {"12", ""}, "result": {"went back to the old version", "missing"}, "code": {"E51", ""},
		"before": {"rel-7", ""}, "tried_version": {"1.8.0", ""}, "time": {"2026-11-25T12:56:42Z", ""}, "signed": {"verified", ""},
		"detail": {`'=HYPERLINK("http://x";"y"), "quoted"`, ""}, "clock_set": {"true", ""}, "final": {"true", ""},
	} {
		i := slices.Index(rows[0], column)
		if i < 0 || rows[1][i] != want[0] || rows[2][i] != want[1] {
			t.Errorf("%s: got %q and %q, want %q", column, rows[1][i], rows[2][i], want)
		}
	}
	if err := CSV(failing{}, nil, nil); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("got %v", err)
	}
	if err := Table(failing{}, nil, nil); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("got %v", err)
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, unix.ENOSPC }

func TestDefused(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"", ""}, {"rel-8", "rel-8"}, {"2026-11-25T12:56:42Z", "2026-11-25T12:56:42Z"}, {"a@b", "a@b"}, {"1+1=2", "1+1=2"},
		{"=1+1", "'=1+1"}, {"+1", "'+1"}, {"-1", "'-1"}, {"@SUM", "'@SUM"}, {"  =1", "  '=1"}, {"＝1", "'＝1"}, {"\t=1", "\t'=1"},
		{"x;=cmd|' /C calc'!A0", "x;'=cmd|' /C calc'!A0"}, {"x, +1", "x, '+1"}, {`x"=1`, `x"'=1`}, {"--1", "'--1"}, {"-", "'-"},
	} {
		if got := defused(tt.in); got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestLogText(t *testing.T) {
	f := Found{Log: []byte("one\r\ntwo\t\x1b[31m\xff\nthree\u202e")}
	if got := f.LogText(); got != "one\ntwo  [31m\nthree\n" {
		t.Errorf("got %q", got)
	}
}
