package scan

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// What lies on sticks, and what becomes of it.
func TestTree(t *testing.T) {
	x := []byte("x")
	for _, tt := range []struct {
		name  string
		files map[string][]byte
		want  Result
	}{
		{"nothing", nil, Result{}},
		{"in the root, and in plimsoll", map[string][]byte{"b.mender": x, "plimsoll/c.mender": x, "a.mender": x},
			Result{Files: []File{{"plimsoll/c.mender", "plimsoll/c.mender", 1}, {"a.mender", "a.mender", 1}, {"b.mender", "b.mender", 1}}}},
		{"in any case", map[string][]byte{"REL.MENDER": x, "PLIMSOLL/Rel.Mender": x},
			Result{Files: []File{{"PLIMSOLL/Rel.Mender", "PLIMSOLL/Rel.Mender", 1}, {"REL.MENDER", "REL.MENDER", 1}}}},
		{"nothing deeper", map[string][]byte{
			"plimsoll/plimsoll/a.mender": x, "updates/a.mender": x, "plimsoll/old/a.mender": x, "System Volume Information/a.mender": x,
			"$RECYCLE.BIN/a.mender": x, ".Trashes/a.mender": x, "plimsoll/reports/SN1/a.mender": x,
		}, Result{}},
		{"names that are passed over", map[string][]byte{
			"._a.mender": x, ".mender": x, ".a.mender.part": x, "plimsoll/._a.mender": x, "plimsoll/.plimsoll-X.part": x, "a.mender.sha256": x,
			"mender": x, "amender": x, "a.menders": x, "readme.txt": x, "a.zip": x,
		}, Result{}},
		{"odd", map[string][]byte{
			"a.mender.zip": x, "b.mender.crdownload": x, "c.MENDER.Part": x, "d.mender.download": x, "e.mender.txt": x, "f.mender": nil,
			"g.mender/content": x, "plimsoll/h.mender.zip": x,
		}, Result{Odd: []Oddity{
			{"a.mender.zip", Renamed}, {"b.mender.crdownload", Download}, {"c.MENDER.Part", Download}, {"d.mender.download", Download},
			{"e.mender.txt", Renamed}, {"f.mender", Empty}, {"g.mender", Folder}, {"plimsoll/h.mender.zip", Renamed},
		}}},
		{"a name to fool people", map[string][]byte{"rel-\u202erednem.mender": x, "a\nb\x1b[2J\xff.mender": x},
			Result{Files: []File{{"a\nb\x1b[2J\xff.mender", "a?b?[2J?.mender", 1}, {"rel-\u202erednem.mender", "rel-?rednem.mender", 1}}}},
		{"plimsoll is a file", map[string][]byte{"plimsoll": x, "a.mender": x}, Result{Files: []File{{"a.mender", "a.mender", 1}}}},
		{"serials", map[string][]byte{"plimsoll/only-serials": []byte("SN1\r\n# all\r\nSN2"), "only-serials": []byte("SN3")},
			Result{OnlySerials: []string{"SN1", "SN2"}}},
		{"no serials", map[string][]byte{"plimsoll/only-serials": []byte("# none\n")}, Result{OnlySerials: []string{}}},
		{"serials from Windows", map[string][]byte{"plimsoll/Only-Serials.TXT": []byte("\xef\xbb\xbfSN1")}, Result{OnlySerials: []string{"SN1"}}},
		{"a bad list lists nobody", map[string][]byte{"plimsoll/only-serials": []byte("SN1\n\xff\xfe")},
			Result{OnlySerials: []string{}, Odd: []Oddity{{"plimsoll/only-serials", BadList}}}},
		{"a folder in its place", map[string][]byte{"plimsoll/only-serials/x": x},
			Result{OnlySerials: []string{}, Odd: []Oddity{{"plimsoll/only-serials", BadList}}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := openStick(t, write(t, tt.files)).Tree()
			if err != nil {
				t.Fatal(err)
			}
			if got.Files = append([]File(nil), got.Files...); len(got.Files) == 0 {
				got.Files = nil
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// limited fails if f takes long: something waited that must not.
func limited(t *testing.T, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("it does not end")
	}
}

// What is no regular file is neither followed nor opened: not from the tree, and not when it takes the place of a file later.
func TestSpecial(t *testing.T) {
	outside := filepath.Join(write(t, map[string][]byte{"secret": []byte("x"), "folder/a.mender": []byte("x")}))
	for _, tt := range []struct {
		name string
		make func(path string) error
		why  Why
	}{
		{"a link out", func(p string) error { return os.Symlink(outside+"/secret", p) }, Link},
		{"a link to a file beside it", func(p string) error { return os.Symlink("good.mender", p) }, Link},
		{"an endless link", func(p string) error { return os.Symlink(filepath.Base(p), p) }, Link},
		{"a link to nothing", func(p string) error { return os.Symlink("nothing", p) }, Link},
		{"a pipe", func(p string) error { return unix.Mkfifo(p, 0o644) }, Special},
		{"a device", func(p string) error { return unix.Mknod(p, unix.S_IFBLK|0o644, int(unix.Mkdev(7, 0))) }, Special},
		{"a terminal", func(p string) error { return unix.Mknod(p, unix.S_IFCHR|0o644, int(unix.Mkdev(5, 0))) }, Special},
		{"a socket", func(p string) error { return unix.Mknod(p, unix.S_IFSOCK|0o644, 0) }, Special},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := write(t, map[string][]byte{"good.mender": []byte("x"), "plimsoll/later.mender": []byte("x")})
			s := openStick(t, dir)
			before, err := s.Tree()
			if err != nil || len(before.Files) != 2 {
				t.Fatalf("got %v, %v", before, err)
			}
			later := filepath.Join(dir, "plimsoll/later.mender")
			if err := errors.Join(tt.make(filepath.Join(dir, "odd.mender")), os.Remove(later), tt.make(later)); err != nil {
				t.Fatal(err)
			}
			limited(t, func() {
				got, err := s.Tree()
				want := []Oddity{{"odd.mender", tt.why}, {"plimsoll/later.mender", tt.why}}
				if diff := cmp.Diff(want, got.Odd); err != nil || diff != "" || len(got.Files) != 1 {
					t.Errorf("%v, %v\n%s", got.Files, err, diff)
				}
				for _, f := range append(before.Files[:1:1], File{Path: "odd.mender"}) {
					if f, _, err := s.Open(f); err == nil {
						t.Errorf("opened %s", f.Name())
					}
				}
			})
		})
	}
}

// A File of another stick, or of nobody, opens nothing that Tree would not have found.
func TestOpenStaysInside(t *testing.T) {
	dir := write(t, map[string][]byte{"stick/a.mender": []byte("x"), "secret": []byte("x"), "stick/deep/er/a.mender": []byte("x")})
	s := openStick(t, filepath.Join(dir, "stick"))
	for _, path := range []string{"../secret", "..", ".", "", "/etc/passwd", dir + "/secret", "a.mender/../../secret", "./../secret", "deep/er/a.mender", "deep//er/a.mender"} {
		if f, _, err := s.Open(File{Path: path}); err == nil {
			t.Errorf("opened %q: %s", path, f.Name())
		}
	}
}

// A folder plimsoll that is a link is not followed, and one that becomes a link in between neither.
func TestFolderLink(t *testing.T) {
	outside := write(t, map[string][]byte{"a.mender": []byte("x")})
	dir := write(t, map[string][]byte{"Plimsoll/b.mender": []byte("x")})
	if err := os.Symlink(outside, filepath.Join(dir, "plimsoll")); err != nil {
		t.Fatal(err)
	}
	s := openStick(t, dir)
	got, err := s.Tree()
	want := Result{Files: []File{{"Plimsoll/b.mender", "Plimsoll/b.mender", 1}}, Odd: []Oddity{{"plimsoll", Link}}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	if f, _, err := s.Open(File{Path: "plimsoll/a.mender"}); err == nil {
		t.Errorf("opened %s", f.Name())
	}
}

// A stick without end is read in part, in an order that does not depend on the file system.
func TestTreeIsBounded(t *testing.T) {
	dir := write(t, map[string][]byte{"plimsoll/prepared.mender": []byte("x")})
	touch := func(format string, from, to int) {
		t.Helper()
		for i := from; i < to; i++ {
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf(format, i)), []byte("x"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	s := openStick(t, dir)
	tree := func() Result {
		t.Helper()
		got, err := s.Tree()
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	touch("a%03d.mender", 0, MaxFiles-1)
	if got := tree(); got.Truncated || len(got.Files) != MaxFiles {
		t.Errorf("%d files, truncated: %v", len(got.Files), got.Truncated)
	}
	touch("a%03d.mender", MaxFiles-1, 3*MaxFiles)
	got := tree()
	if !got.Truncated || len(got.Files) != MaxFiles || got.Files[0].Name != "plimsoll/prepared.mender" || got.Files[MaxFiles-1].Name != fmt.Sprintf("a%03d.mender", MaxFiles-2) {
		t.Errorf("%d files, truncated: %v, %v", len(got.Files), got.Truncated, got.Files[MaxFiles-1])
	}
	for i := range maxOdd + 1 {
		if err := os.Symlink("x", filepath.Join(dir, fmt.Sprintf("l%d.mender", i))); err != nil {
			t.Fatal(err)
		}
	}
	if got := tree(); len(got.Odd) != maxOdd {
		t.Errorf("%d oddities", len(got.Odd))
	}
}

func TestLooksAreBounded(t *testing.T) {
	dir := write(t, map[string][]byte{"plimsoll/prepared.mender": []byte("x")})
	for i := range maxLooks + 1 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.mender", i)), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s := openStick(t, dir)
	w := walk{left: MaxEntries}
	if _, err := w.folder(s.dir, ".", true); err != nil || w.looks != maxLooks {
		t.Errorf("%v, %d files were looked at, of %d", err, w.looks, maxLooks+1)
	}
	if got, err := s.Tree(); err != nil || !got.Truncated || len(got.Files) == 0 || got.Files[0].Name != "plimsoll/prepared.mender" {
		t.Errorf("%v, truncated: %v, first of %v", err, got.Truncated, got.Files)
	}
}

func TestEntriesAreBounded(t *testing.T) {
	dir := write(t, map[string][]byte{"plimsoll/a.mender": []byte("x")})
	first := filepath.Join(dir, "0")
	if err := os.WriteFile(first, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	// Links are cheaper than files.
	for i := 1; i < MaxEntries-3; i++ {
		if err := os.Link(first, filepath.Join(dir, fmt.Sprint(i))); err != nil {
			if !errors.Is(err, unix.EMLINK) {
				t.Fatal(err)
			}
			first = filepath.Join(dir, fmt.Sprint(i))
			if err := os.WriteFile(first, nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	s := openStick(t, dir)
	if got, err := s.Tree(); err != nil || got.Truncated || len(got.Files) != 1 {
		t.Errorf("%d entries less one: %v, %v", MaxEntries, got, err)
	}
	for i := range 2 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("last%d", i)), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Tree(); err != nil || got.Truncated != (i == 1) {
			t.Errorf("%d entries more: truncated %v, %v", i, got.Truncated, err)
		}
	}
	allocated := testing.AllocsPerRun(1, func() { s.Tree() })
	if per := allocated / MaxEntries; per > 3 {
		t.Errorf("%.1f allocations for an entry", per)
	}
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "rel-1.mender": "rel-1.mender", "ä ß 日本": "ä ß 日本", "a\tb\nc\rd\x00e\x7f": "a?b?c?d?e?", "\x1b[31mred": "?[31mred",
		"a\u202eb\u2066c\u200bd\u200fe\ufefff": "a?b?c?d?e?f", "\xff\xfe\xc3": "???", "a\u00a0b\u2028c": "a?b?c", "%s%n": "%s%n",
		strings.Repeat("x", 80): strings.Repeat("x", 80), strings.Repeat("ä", 80): strings.Repeat("ä", 80),
		strings.Repeat("x", 80) + "\u202ey.mender": strings.Repeat("x", 64) + "…" + strings.Repeat("x", 7) + "?y.mender",
		strings.Repeat("日", 9999) + ".mender":      strings.Repeat("日", 64) + "…" + strings.Repeat("日", 9) + ".mender",
	} {
		if got := Printable(in); got != want {
			t.Errorf("%.40q: got %q, want %q", in, got, want)
		}
	}
}

func TestSerials(t *testing.T) {
	for in, want := range map[string][]string{
		"": {}, "\n\n": {}, "# nobody": {}, "A": {"A"}, "A\nB\n": {"A", "B"}, " A \t# the first\r\n\r\nB C": {"A", "B C"}, "\xef\xbb\xbfA\rB": {"A", "B"},
		strings.Repeat("A\n", maxSerials): append([]string{}, strings.Fields(strings.Repeat("A ", maxSerials))...),
		strings.Repeat("x", maxSerial):    {strings.Repeat("x", maxSerial)},
	} {
		got, err := ParseSerials([]byte(in))
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%.40q: %v\n%s", in, err, diff)
		}
	}
	for _, in := range []string{
		"A\nB\x00", "\xff\xfeA\x00", "ä", "A\x1b[2J", strings.Repeat("x", maxSerial+1), strings.Repeat("A\n", maxSerials+1),
		strings.Repeat("\n", maxSerialsFile+1),
	} {
		if got, err := ParseSerials([]byte(in)); !errors.Is(err, ErrSerials) || got != nil {
			t.Errorf("%.40q: got %q, %v", in, got, err)
		}
	}
	for _, tt := range []struct {
		list []string
		want bool
	}{{nil, true}, {[]string{}, false}, {[]string{"sn1"}, true}, {[]string{"SN10", "SN"}, false}} {
		if got := (Result{OnlySerials: tt.list}).Listed("SN1"); got != tt.want {
			t.Errorf("%q: got %v", tt.list, got)
		}
	}
}

// A list that is too large is not read.
func TestLargeSerials(t *testing.T) {
	dir := write(t, map[string][]byte{"plimsoll/only-serials": nil})
	if err := os.Truncate(filepath.Join(dir, "plimsoll/only-serials"), 1<<40); err != nil {
		t.Fatal(err)
	}
	limited(t, func() {
		got, err := openStick(t, dir).Tree()
		if err != nil || got.OnlySerials == nil || len(got.OnlySerials) != 0 || len(got.Odd) != 1 {
			t.Errorf("got %v, %v", got, err)
		}
	})
}

func FuzzPrintable(f *testing.F) {
	for _, s := range []string{"rel-1.mender", "\u202e\xff", strings.Repeat("日", 200)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := Printable(s)
		if n := len([]rune(got)); n > 81 || Printable(got) != got && n <= 80 {
			t.Errorf("%q: %q", s, got)
		}
		if strings.ContainsAny(got, "\n\r\x1b\x00\u202e") {
			t.Errorf("%q: %q", s, got)
		}
	})
}

func FuzzParseSerials(f *testing.F) {
	f.Add([]byte("A # b\r\nC"))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := ParseSerials(b)
		if err != nil {
			return
		}
		again, err := ParseSerials([]byte(strings.Join(list, "\n")))
		if diff := cmp.Diff(list, again); err != nil || diff != "" {
			t.Errorf("%v\n%s", err, diff)
		}
	})
}
