package report

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"
)

// files are what is on a stick: paths and sizes.
func files(t testing.TB, dir string) map[string]int64 {
	t.Helper()
	all := map[string]int64{}
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == "fill" {
			return err
		}
		st, err := d.Info()
		rel, _ := filepath.Rel(dir, path)
		all[rel] = st.Size()
		return err
	}))
	return all
}

func readFile(t testing.TB, path ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(path...))
	must(t, err)
	return string(b)
}

// readAll reads a stick on which nothing may be odd.
func readAll(t testing.TB, dir string) []Report {
	t.Helper()
	r, err := Read(dir, ReadOptions{})
	must(t, err)
	for _, p := range r.Problems {
		t.Errorf("odd: %v", p)
	}
	var all []Report
	for _, f := range r.Reports {
		all = append(all, f.Report)
	}
	return all
}

func deliver(t testing.TB, root *os.Root, r ...Report) {
	t.Helper()
	written, err := Write(root, r, Options{})
	if err != nil || len(written) != len(r) {
		t.Fatalf("wrote %d of %d: %v", len(written), len(r), err)
	}
}

func TestWriteNewFiles(t *testing.T) {
	for _, m := range media(t) {
		t.Run(m.name, func(t *testing.T) {
			dir, root := m.make(t)
			a, b := sample(), sample()
			b.Sequence, b.Serial = 13, "../SN"
			deliver(t, root, a, b)
			want := map[string]int64{
				"plimsoll/reports/SN-0042/12.json": fileSize, "plimsoll/reports/SN-0042/12.txt": fileSize,
				"plimsoll/reports/" + folderName("../SN") + "/13.json": fileSize, "plimsoll/reports/" + folderName("../SN") + "/13.txt": fileSize,
			}
			got := files(t, dir)
			delete(got, "lost+found")
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("want -, got +\n%s", d)
			}
			if text := readFile(t, dir, "plimsoll/reports/SN-0042/12.txt"); !strings.HasPrefix(text, a.Text()) || strings.TrimSpace(text[len(a.Text()):]) != "" {
				t.Errorf("the text is %q", text)
			}
			if d := cmp.Diff([]Report{a, b}, readAll(t, dir), sortReports); d != "" {
				t.Errorf("want -, read +\n%s", d)
			}
		})
	}
}

var sortReports = cmpopts.SortSlices(func(a, b Report) bool {
	return a.Serial < b.Serial || a.Serial == b.Serial && a.Sequence < b.Sequence
})

// layout is what a file system would have to write for if it changed: which
// blocks the files have, their sizes, and how many are free.
func layout(t *testing.T, dir string) string {
	t.Helper()
	unix.Sync()
	var s strings.Builder
	var st unix.Statfs_t
	must(t, unix.Statfs(dir, &st))
	fmt.Fprintf(&s, "free %d blocks, %d inodes\n", st.Bfree, st.Ffree)
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		must(t, err)
		var st unix.Stat_t
		must(t, unix.Lstat(path, &st))
		fmt.Fprintf(&s, "%s: inode %d, size %d, blocks %d, links %d", path, st.Ino, st.Size, st.Blocks, st.Nlink)
		if d.IsDir() {
			fmt.Fprintf(&s, ", changed %v", st.Mtim)
		}
		s.WriteByte('\n')
		return nil
	}))
	return s.String()
}

// TestWriteInPlace: into what was allocated, and nothing else on the stick
// changes, however often it is rewritten.
func TestWriteInPlace(t *testing.T) {
	for _, m := range media(t)[1:] { // a folder of this machine is used by others too
		t.Run(m.name, func(t *testing.T) {
			dir, root := m.make(t)
			must(t, Allocate(dir, 3))
			was := layout(t, dir)
			a, b := sample(), sample()
			b.Serial = "another"
			a.Revision, a.Final, a.Result = 1, false, "restarting"
			deliver(t, root, a, b)
			a = sample()
			for range 3 {
				deliver(t, root, a)
			}
			if d := cmp.Diff(was, layout(t, dir)); d != "" {
				t.Errorf("before -, after +\n%s", d)
			}
			if d := cmp.Diff([]Report{a, b}, readAll(t, dir), sortReports); d != "" {
				t.Errorf("want -, read +\n%s", d)
			}
			text := readFile(t, dir, "plimsoll/reports/01.txt")
			if !strings.HasPrefix(text, a.Text()) || strings.TrimSpace(text[len(a.Text()):]) != "" {
				t.Errorf("the text is %q", text)
			}
			if s := readFile(t, dir, "plimsoll/reports/03.json"); !isBlank([]byte(s)) {
				t.Errorf("the third is %q", s)
			}

			// Used up: new files.
			c, d := sample(), sample()
			c.Sequence, d.Sequence = 20, 21
			deliver(t, root, c, d)
			if s, err := os.Stat(filepath.Join(dir, "plimsoll/reports/SN-0042/21.json")); err != nil || s.Size() != fileSize {
				t.Errorf("the one too many: %v", err)
			}
			if d := cmp.Diff([]Report{a, b, c, d}, readAll(t, dir), sortReports); d != "" {
				t.Errorf("want -, read +\n%s", d)
			}
		})
	}
}

// TestWriteOneAttemptOneReport: a stick that stays in through a fallback, five
// restarts, as the device's store and the stick see it.
func TestWriteOneAttemptOneReport(t *testing.T) {
	for _, allocated := range []int{0, 4} {
		s, _ := newStore(t)
		dir, root := opened(t, t.TempDir())
		if allocated > 0 {
			must(t, Allocate(dir, allocated))
		}
		r := begin(t, s, Report{Serial: "SN-1", Result: "working, do not remove"})
		was := -1
		for boot := range 6 {
			for _, result := range []string{"restarting", "testing the new version, do not switch off", "went back to the old version"} {
				open, err := s.Open()
				must(t, err)
				if len(open) == 1 {
					r = open[0]
					r.Result, r.Final = result, boot == 5 && strings.HasPrefix(result, "went")
					r.Phases = append(r.Phases, Phase{Name: result, Uptime: float64(boot)})
					must(t, s.Save(&r))
				}
				todo, err := s.Undelivered()
				must(t, err)
				written, err := Write(root, todo, Options{})
				must(t, err)
				for _, w := range written {
					must(t, s.Delivered(w))
				}
			}
			if n := len(files(t, dir)); was >= 0 && n != was {
				t.Fatalf("%d files, then %d", was, n)
			} else {
				was = n
			}
		}
		all := readAll(t, dir)
		if len(all) != 1 || all[0].Result != "went back to the old version" || !all[0].Final || all[0].Revision != 19 {
			t.Errorf("got %+v", all)
		}
		if left := numbersOf(t, s.Undelivered); len(left) > 0 {
			t.Errorf("still to deliver: %v", left)
		}
	}
}

// TestWriteClaims: which file a report goes to.
func TestWriteClaims(t *testing.T) {
	mine, other, reborn := sample(), sample(), sample()
	other.Serial, reborn.Store = "SN-9", "99999999"
	torn := func(r Report, n int) string { return string(padded(encode(t, r, nil))[:n]) + string(blank(fileSize-n)) }
	const in = "plimsoll/reports/"
	spaces := string(blank(fileSize))
	tests := []struct {
		name string
		has  map[string]string // before
		want string            // the file that the report is in
	}{
		{"an empty stick", nil, in + "SN-0042/12.json"},
		{"allocated", map[string]string{in + "01.json": spaces, in + "01.txt": spaces}, in + "01.json"},
		{"the second, since the first is another's", map[string]string{
			in + "01.json": torn(other, fileSize), in + "01.txt": spaces, in + "02.json": spaces, in + "02.txt": spaces}, in + "02.json"},
		{"its own, though an earlier one is blank", map[string]string{
			in + "01.json": spaces, in + "01.txt": spaces, in + "02.json": torn(mine, fileSize), in + "02.txt": spaces}, in + "02.json"},
		{"its own that was cut", map[string]string{
			in + "01.json": spaces, in + "01.txt": spaces, in + "02.json": torn(mine, 512), in + "02.txt": spaces}, in + "02.json"},
		{"cut before it says whose it is", map[string]string{
			in + "01.json": torn(mine, 30), in + "01.txt": spaces, in + "02.json": spaces, in + "02.txt": spaces}, in + "01.json"},
		{"another's that was cut", map[string]string{
			in + "01.json": torn(other, 512), in + "01.txt": spaces, in + "02.json": spaces, in + "02.txt": spaces}, in + "02.json"},
		{"the wrong size", map[string]string{in + "01.json": spaces[1:], in + "01.txt": spaces}, in + "SN-0042/12.json"},
		{"no text", map[string]string{in + "01.json": spaces}, in + "SN-0042/12.json"},
		{"somebody wrote into the text", map[string]string{in + "01.json": spaces, in + "01.txt": "hello" + spaces[5:]}, in + "SN-0042/12.json"},
		{"zeros are not blank", map[string]string{in + "01.json": string(make([]byte, fileSize)), in + "01.txt": spaces}, in + "SN-0042/12.json"},
		{"a name with three digits", map[string]string{in + "100.json": spaces, in + "100.txt": spaces}, in + "SN-0042/12.json"},
		{"in its folder already, though one is blank", map[string]string{
			in + "01.json": spaces, in + "01.txt": spaces, in + "SN-0042/12.json": torn(mine, fileSize)}, in + "SN-0042/12.json"},
		{"its name belongs to the life before it was wiped", map[string]string{in + "SN-0042/12.json": torn(reborn, fileSize)}, in + "SN-0042/12-ab12cd34.json"},
		{"its name belongs to another whose serial is written alike", map[string]string{in + "SN-0042/12.json": torn(other, fileSize)}, in + "SN-0042/12-ab12cd34.json"},
		{"its name was cut before anything was written", map[string]string{in + "SN-0042/12.json": ""}, in + "SN-0042/12.json"},
		{"its name has blocks that never were written", map[string]string{in + "SN-0042/12.json": string(make([]byte, 4096))}, in + "SN-0042/12.json"},
		{"its name is something else", map[string]string{in + "SN-0042/12.json": "shopping list"}, in + "SN-0042/12-ab12cd34.json"},
		{"both names are, and one is nobody's", map[string]string{
			in + "SN-0042/12.json": "shopping list", in + "SN-0042/12-ab12cd34.json": "\xff\xfe"}, in + "SN-0042/12-ab12cd34.json"},
		{"larger than any", map[string]string{in + "SN-0042/12.json": strings.Repeat("x", fileSize+1)}, in + "SN-0042/12-ab12cd34.json"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir, root := opened(t, t.TempDir())
			for name, b := range tt.has {
				must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
				must(t, os.WriteFile(filepath.Join(dir, name), []byte(b), 0o644))
			}
			deliver(t, root, mine)
			deliver(t, root, mine)
			if s, err := Parse([]byte(readFile(t, dir, tt.want))); err != nil || !s.same(&mine) {
				t.Errorf("%v; there is %v", err, files(t, dir))
			}
			text := strings.TrimSuffix(tt.want, ".json") + ".txt"
			if !strings.HasPrefix(readFile(t, dir, text), mine.Text()) {
				t.Errorf("the text is not beside it")
			}
			for name, b := range tt.has {
				if name != tt.want && name != text && readFile(t, dir, name) != b {
					t.Errorf("%s was changed", name)
				}
			}
			if n := len(files(t, dir)); n > len(tt.has)+2 {
				t.Errorf("%d files were made: %v", n-len(tt.has), files(t, dir))
			}
		})
	}
}

// TestWriteHostile: what a stick can put in the way. Nothing is followed, and
// nothing outside is touched.
func TestWriteHostile(t *testing.T) {
	link := func(to string) func(string) error { return func(path string) error { return os.Symlink(to, path) } }
	folder := func(path string) error { return os.Mkdir(path, 0o755) }
	file := func(path string) error { return os.WriteFile(path, []byte("x"), 0o644) }
	fifo := func(path string) error { return unix.Mkfifo(path, 0o644) }
	const in = "plimsoll/reports/"
	tests := []struct {
		name, path string
		make       func(path string) error
		want       string // where the report is nevertheless
	}{
		{"plimsoll is a file", "plimsoll", file, ""},
		{"plimsoll is a link to a folder outside", "plimsoll", link("/outside"), ""},
		{"plimsoll is a link to a folder on it", "plimsoll", link("elsewhere"), ""},
		{"plimsoll is a link to itself", "plimsoll", link("plimsoll"), ""},
		{"plimsoll is a link to nothing", "plimsoll", link("nothing"), ""},
		{"plimsoll is a pipe", "plimsoll", fifo, ""},
		{"reports is a file", "plimsoll/reports", file, ""},
		{"reports is a link", "plimsoll/reports", link("../elsewhere"), ""},
		{"the serial number is a file", in + "SN-0042", file, ""},
		{"the serial number is a link", in + "SN-0042", link("../../elsewhere"), ""},
		{"the report is a link", in + "SN-0042/12.json", link("../../../victim"), in + "SN-0042/12-ab12cd34.json"},
		{"the report is a link to nothing", in + "SN-0042/12.json", link("nothing"), in + "SN-0042/12-ab12cd34.json"},
		{"the report is a folder", in + "SN-0042/12.json", folder, in + "SN-0042/12-ab12cd34.json"},
		{"the report is a pipe", in + "SN-0042/12.json", fifo, in + "SN-0042/12-ab12cd34.json"},
		{"what is allocated is a link", in + "01.json", link("../../victim"), in + "SN-0042/12.json"},
		{"what is allocated is a folder", in + "01.json", folder, in + "SN-0042/12.json"},
		{"what is allocated is a pipe", in + "01.json", fifo, in + "SN-0042/12.json"},
		{"its text is a link", in + "01.txt", link("../../victim"), in + "SN-0042/12.json"},
		{"its text is a pipe", in + "01.txt", fifo, in + "SN-0042/12.json"},
		{"the text is a link", in + "SN-0042/12.txt", link("../../../victim"), in + "SN-0042/12.json"},
		{"the text is a folder", in + "SN-0042/12.txt", folder, in + "SN-0042/12.json"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			top := t.TempDir()
			dir, root := opened(t, filepath.Join(mkdir(t, top, "stick")))
			outside := mkdir(t, top, "outside")
			mkdir(t, dir, "elsewhere")
			must(t, os.WriteFile(filepath.Join(dir, "victim"), blank(fileSize), 0o644))
			path := filepath.Join(dir, tt.path)
			must(t, os.MkdirAll(filepath.Dir(path), 0o755))
			if strings.HasPrefix(tt.name, "plimsoll is a link to a folder outside") {
				must(t, os.Symlink(outside, path))
			} else {
				must(t, tt.make(path))
			}
			if base, text := strings.CutSuffix(path, ".txt"); text && strings.HasSuffix(base, "01") {
				must(t, os.WriteFile(base+".json", blank(fileSize), 0o644))
			} else if base, j := strings.CutSuffix(path, ".json"); j && strings.HasSuffix(base, "01") {
				must(t, os.WriteFile(base+".txt", blank(fileSize), 0o644))
			}
			before := files(t, dir)
			written, err := Write(root, []Report{sample()}, Options{})
			inText := strings.HasPrefix(tt.name, "the text")
			if (len(written) == 1) != (tt.want != "") || (err != nil) != (tt.want == "" || inText) {
				t.Fatalf("wrote %d: %v", len(written), err)
			}
			if err != nil && (!errors.Is(err, errInTheWay) || !strings.Contains(err.Error(), "write report 12: ") || !strings.Contains(err.Error(), tt.path)) {
				t.Errorf("said: %v", err)
			}
			if tt.want != "" {
				if s, err := Parse([]byte(readFile(t, dir, tt.want))); err != nil || s.Sequence != 12 {
					t.Errorf("%v", err)
				}
			} else if d := cmp.Diff(before, files(t, dir)); d != "" {
				t.Errorf("before -, after +\n%s", d)
			}
			if !isBlank([]byte(readFile(t, dir, "victim"))) || len(files(t, outside))+len(files(t, filepath.Join(dir, "elsewhere"))) > 0 {
				t.Error("something was followed")
			}
		})
	}
}

func mkdir(t *testing.T, dir, name string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	must(t, os.Mkdir(path, 0o755))
	return path
}

// sampled is a step: 1 where everything is tested.
func sampled(step int) int {
	if os.Getenv("PLIMSOLL_SOAK") != "" {
		return 1
	}
	return step
}

// limited has every write of this process to a file stop at a byte of it.
func limited(t *testing.T, bytes int, body func()) {
	t.Helper()
	var was unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_FSIZE, &was))
	must(t, unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: uint64(bytes), Max: was.Max}))
	defer func() { must(t, unix.Setrlimit(unix.RLIMIT_FSIZE, &was)) }()
	body()
}

// TestWriteStopsAtEveryByte: a write that stops at each byte of a file is an
// error, leaves no report that nobody wrote, and the next one mends it.
func TestWriteStopsAtEveryByte(t *testing.T) {
	// The limit is the process's, which would write a log of the files that it opens.
	if mark, name := "PLIMSOLL_LIMITED", t.Name(); os.Getenv(mark) == "" {
		cmd := exec.Command(os.Args[0], "-test.run", "^"+name+"$", "-test.v")
		cmd.Env = append(os.Environ(), mark+"=1")
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "--- PASS: "+name) {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	signal.Ignore(unix.SIGXFSZ)
	defer signal.Reset(unix.SIGXFSZ)
	older := sample()
	older.Revision, older.Result, older.Final, older.Detail = 1, "restarting", false, strings.Repeat("x", 500)
	for _, tt := range []struct {
		name      string
		allocated bool
		has       []Report
	}{{"new", false, nil}, {"new, over an older one", false, []Report{older}}, {"allocated", true, nil}, {"allocated, over an older one", true, []Report{older}}} {
		t.Run(tt.name, func(t *testing.T) {
			dir, root := inMemory(t)
			for n := 0; n < fileSize; n += sampled(61) {
				must(t, os.RemoveAll(filepath.Join(dir, "plimsoll")))
				if tt.allocated {
					must(t, Allocate(dir, 2))
				}
				deliver(t, root, tt.has...)
				count := len(files(t, dir))
				var written []Report
				var err error
				limited(t, n, func() { written, err = Write(root, []Report{sample()}, Options{}) })
				if err == nil || len(written) > 0 {
					t.Fatalf("stopped at %d: wrote %d, %v", n, len(written), err)
				}
				if !errors.Is(err, unix.EFBIG) {
					t.Fatalf("stopped at %d: %v", n, err)
				}
				mayRead(t, dir, n, tt.has)
				deliver(t, root, sample())
				if d := cmp.Diff([]Report{sample()}, readAll(t, dir)); d != "" {
					t.Fatalf("after a stop at %d: want -, read +\n%s", n, d)
				}
				if after := len(files(t, dir)); after != max(count, 2) {
					t.Fatalf("after a stop at %d: %v", n, files(t, dir))
				}
			}
		})
	}
}

// mayRead: nothing on the stick but what was there, or what is written.
func mayRead(t *testing.T, dir string, n int, was []Report) {
	t.Helper()
	r, err := Read(dir, ReadOptions{})
	must(t, err)
	for _, f := range r.Reports {
		if !cmp.Equal(f.Report, sample()) && !(len(was) == 1 && cmp.Equal(f.Report, was[0])) {
			t.Fatalf("stopped at %d: read as %+v", n, f)
		}
	}
}

// TestWriteAfterCut: whatever a cut left of a new file, the next visit of the
// stick ends with one report.
func TestWriteAfterCut(t *testing.T) {
	b := padded(encode(t, sample(), nil))
	dir, root := inMemory(t)
	for n := 0; n < fileSize; n += sampled(61) {
		for name, left := range map[string][]byte{
			"short": b[:n], "the rest never written": append(slices.Clone(b[:n]), make([]byte, fileSize-n)...),
			"the beginning never written": append(make([]byte, n), b[n:]...),
		} {
			must(t, os.RemoveAll(filepath.Join(dir, "plimsoll")))
			must(t, os.MkdirAll(filepath.Join(dir, "plimsoll/reports/SN-0042"), 0o755))
			must(t, os.WriteFile(filepath.Join(dir, "plimsoll/reports/SN-0042/12.json"), left, 0o644))
			for range 2 {
				deliver(t, root, sample())
			}
			r, err := Read(dir, ReadOptions{})
			if err != nil || len(r.Reports) != 1 || !cmp.Equal(r.Reports[0].Report, sample()) {
				t.Fatalf("%s, cut at %d: %v, %v", name, n, r, err)
			}
		}
	}
}

// TestWriteFull: with any number of blocks left, an error that says so, and
// never more than whole reports.
func TestWriteFull(t *testing.T) {
	asRoot(t)
	all := media(t)
	for _, m := range all[1:] {
		t.Run(m.name, func(t *testing.T) {
			dir, root := m.make(t)
			fill(t, dir)
			path := filepath.Join(dir, "fill")
			st, err := os.Stat(path)
			must(t, err)
			full, whole := 0, 0
			for left := int64(0); left < 32<<10; left += 512 {
				must(t, os.Truncate(path, max(0, st.Size()-left)))
				written, err := Write(root, []Report{sample()}, Options{})
				if err != nil && !errors.Is(err, unix.ENOSPC) || err == nil && len(written) != 1 {
					t.Fatalf("%d bytes left: wrote %d, %v", left, len(written), err)
				}
				got := reportsOn(t, dir)
				if len(got) != len(written) || len(got) == 1 && !cmp.Equal(got[0], sample()) {
					t.Fatalf("%d bytes left: wrote %d, read %v", left, len(written), got)
				}
				for name, size := range files(t, dir) {
					if size != fileSize {
						t.Errorf("%d bytes left: %s of %d bytes is left", left, name, size)
					}
				}
				if err != nil {
					full++
				} else {
					whole++
				}
				must(t, os.RemoveAll(filepath.Join(dir, "plimsoll")))
				fill(t, dir)
			}
			if full == 0 || whole == 0 {
				t.Errorf("full %d times, and room enough %d times", full, whole)
			}
		})
	}
}

// reportsOn reads a stick that may have no folder for reports yet.
func reportsOn(t *testing.T, dir string) []Report {
	t.Helper()
	if _, err := Read(dir, ReadOptions{}); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return readAll(t, dir)
}

// TestWriteFullAllocated: what is allocated takes a report however full the
// stick is.
func TestWriteFullAllocated(t *testing.T) {
	for _, m := range media(t)[1:] {
		t.Run(m.name, func(t *testing.T) {
			dir, root := m.make(t)
			must(t, Allocate(dir, 1))
			fill(t, dir)
			next := sample()
			next.Sequence++
			third := next
			third.Sequence++
			written, err := Write(root, []Report{sample(), next, third}, Options{})
			if len(written) != 1 || !errors.Is(err, unix.ENOSPC) || strings.Contains(err.Error(), "report 14") {
				t.Errorf("wrote %d, %v", len(written), err)
			}
			if d := cmp.Diff([]Report{sample()}, readAll(t, dir)); d != "" {
				t.Errorf("want -, read +\n%s", d)
			}
		})
	}
}

func TestWriteProtected(t *testing.T) {
	for _, m := range media(t)[1:] {
		for _, allocated := range []bool{false, true} {
			t.Run(fmt.Sprint(m.name, allocated), func(t *testing.T) {
				dir, root := m.make(t)
				if allocated {
					must(t, Allocate(dir, 1))
				}
				was := files(t, dir)
				must(t, unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
				written, err := Write(root, []Report{sample(), sample()}, Options{})
				if len(written) > 0 || !errors.Is(err, unix.EROFS) {
					t.Errorf("wrote %d, %v", len(written), err)
				}
				if d := cmp.Diff(was, files(t, dir)); d != "" {
					t.Errorf("before -, after +\n%s", d)
				}
				must(t, unix.Mount("", dir, "", unix.MS_REMOUNT, ""))
			})
		}
	}
}

// TestWriteFails: a stick that takes what is written and then cannot keep it:
// its blocks are of a file that cannot grow. It is an error of the sync.
func TestWriteFails(t *testing.T) {
	asRoot(t)
	below := t.TempDir()
	mount(t, "tmpfs", below, "tmpfs", 0, "size=1m")
	dir := t.TempDir()
	mount(t, loop(t, "ext4", filepath.Join(below, "stick.img"), 8<<20), dir, "ext4", 0, "")
	_, root := opened(t, dir)
	fill(t, below)
	written, err := Write(root, []Report{sample()}, Options{})
	if len(written) > 0 || !errors.Is(err, unix.EIO) && !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "sync ") {
		t.Errorf("wrote %d, %v", len(written), err)
	}
	if got := reportsOn(t, dir); len(got) > 0 {
		t.Errorf("read %v", got)
	}
	must(t, os.Remove(filepath.Join(below, "fill")))
}

// TestWriteReadsBack: a stick that keeps something else than was written.
func TestWriteReadsBack(t *testing.T) {
	dir := t.TempDir()
	_, root := opened(t, dir)
	d, err := openFolder(root)
	must(t, err)
	defer d.Close()
	must(t, os.WriteFile(filepath.Join(dir, "x"), []byte("as it is kept"), 0o644))
	for _, want := range []string{"as it is sent", "as it is", "as it is kept and more"} {
		if err := d.compare("x", []byte(want)); !errors.Is(err, ErrTorn) {
			t.Errorf("%q: got %v", want, err)
		}
	}
	must(t, d.compare("x", []byte("as it is kept")))
}

func TestWriteCannotSign(t *testing.T) {
	dir, root := opened(t, t.TempDir())
	written, err := Write(root, []Report{sample()}, Options{Signer: sizedSigner(0)})
	if err == nil || len(written)+len(files(t, dir)) > 0 {
		t.Errorf("wrote %d, %v", len(written), err)
	}
}

func TestAllocate(t *testing.T) {
	for _, m := range media(t) {
		t.Run(m.name, func(t *testing.T) {
			dir, root := m.make(t)
			must(t, Allocate(dir, 2))
			deliver(t, root, sample())
			used := readFile(t, dir, "plimsoll/reports/01.json")
			must(t, Allocate(dir, 3))
			if readFile(t, dir, "plimsoll/reports/01.json") != used {
				t.Error("a report was lost")
			}
			for _, name := range []string{"01.txt", "02.json", "02.txt", "03.json", "03.txt"} {
				if s := readFile(t, dir, "plimsoll/reports", name); len(s) != fileSize || name[:2] != "01" && !isBlank([]byte(s)) {
					t.Errorf("%s is %q", name, s)
				}
			}
			if all := readAll(t, dir); len(all) != 1 {
				t.Errorf("read %d", len(all))
			}
		})
	}
}

func TestAllocateCannot(t *testing.T) {
	dir := t.TempDir()
	for _, n := range []int{-1, 0, 100} {
		if err := Allocate(dir, n); err == nil {
			t.Errorf("allocated %d", n)
		}
	}
	if err := Allocate(filepath.Join(dir, "nowhere"), 1); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	must(t, os.MkdirAll(filepath.Join(dir, "plimsoll/reports/02.txt"), 0o755))
	if err := Allocate(dir, 3); !errors.Is(err, errInTheWay) || !strings.Contains(err.Error(), "02.txt") {
		t.Errorf("got %v", err)
	}
	must(t, os.Remove(filepath.Join(dir, "plimsoll/reports/02.txt")))
	must(t, os.WriteFile(filepath.Join(dir, "plimsoll/reports/02.txt"), []byte("short"), 0o644))
	if err := Allocate(dir, 3); !errors.Is(err, errInTheWay) || !strings.Contains(err.Error(), "5 bytes") {
		t.Errorf("got %v", err)
	}
	asRoot(t)
	small := t.TempDir()
	mount(t, "tmpfs", small, "tmpfs", 0, "size=64k")
	if err := Allocate(small, 10); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("got %v", err)
	}
	for name, size := range files(t, small) {
		if size != fileSize {
			t.Errorf("%s of %d bytes is left", name, size)
		}
	}
}

// TestStoreKeepsOutcomes: plugging in one stick after the other does not make a device forget what came of an update.
func TestStoreKeepsOutcomes(t *testing.T) {
	s, notes := newStore(t)
	for _, result := range []string{wentBack, updated} {
		begin(t, s, Report{Serial: "A", Result: result, Final: true})
	}
	for range maxStored {
		begin(t, s, Report{Serial: "A", Result: "nothing here for this device", Final: true})
	}
	notes()
	if got := numbersOf(t, s.Undelivered); len(got) != maxStored || got[0] != 1 || got[1] != 2 {
		t.Errorf("%v are left, want the first two among them", got)
	}
}
