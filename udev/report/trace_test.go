package report

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const traced = "PLIMSOLL_TEST_TRACED"

// TestTraced is what TestWriteOrder looks at: it does nothing by itself.
func TestTraced(t *testing.T) {
	dir := os.Getenv(traced)
	if dir == "" {
		return
	}
	_, root := opened(t, filepath.Join(dir, "stick"))
	deliver(t, root, sample())
	s := &Store{Dir: filepath.Join(dir, "store")}
	begin(t, s, sample())
}

// trace returns what the calls of TestTraced do to the files below dir.
func trace(t *testing.T, dir string) string {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	out := filepath.Join(t.TempDir(), "calls")
	c := exec.Command("strace", "-f", "-y", "-qq", "-s", "0", "-o", out,
		"-e", "trace=write,pwrite64,fsync,fdatasync,fadvise64,mkdir,mkdirat,unlink,unlinkat,rename,renameat,renameat2", self, "-test.run=^TestTraced$")
	c.Env = append(os.Environ(), traced+"="+dir)
	if b, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	var calls []string
	call := regexp.MustCompile(`(\w+)\((.*)\) += (\S+)`)
	paths := regexp.MustCompile(`[<"]` + regexp.QuoteMeta(dir) + `/([^>"]*)[>"]`)
	begun := map[string]string{} // by thread: strace splits a call when another thread's comes in between
	resumed := regexp.MustCompile(`^<\.\.\. \w+ resumed>`)
	for l := range strings.Lines(readFile(t, out)) {
		thread, rest, _ := strings.Cut(strings.TrimSpace(l), " ")
		l = strings.TrimSpace(rest)
		if start, split := strings.CutSuffix(l, " <unfinished ...>"); split {
			begun[thread] = start
			continue
		}
		if at := resumed.FindString(l); at != "" {
			l = begun[thread] + strings.TrimPrefix(l, at)
		}
		m := call.FindStringSubmatch(l)
		if m == nil || !strings.Contains(l, dir) || m[3] == "-1" {
			continue
		}
		name := strings.TrimSuffix(strings.TrimSuffix(m[1], "at"), "64")
		for _, p := range paths.FindAllStringSubmatch(m[2], -1) {
			name += " " + p[1]
		}
		calls = append(calls, name)
	}
	return strings.Join(calls, "\n") + "\n"
}

// TestWriteOrder: what is on the medium before what. Nothing but the order of
// these calls shows that a cut finds it so.
func TestWriteOrder(t *testing.T) {
	asRoot(t)
	dir, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	stick := mkdir(t, dir, "stick")
	const report = "stick/plimsoll/reports/SN-0042"
	const store = `
mkdir store
fsync
write store/counter.tmp
fsync store/counter.tmp
rename store/counter.tmp store/counter
fsync store
write store/1.json.tmp
fsync store/1.json.tmp
rename store/1.json.tmp store/1.json
fsync store
`
	const made = `
mkdir stick
fsync stick
mkdir stick/plimsoll
fsync stick/plimsoll
mkdir stick/plimsoll/reports
fsync stick/plimsoll/reports
write REPORT/12.json
fsync REPORT/12.json
fsync REPORT
fadvise REPORT/12.json
write REPORT/12.txt
fsync REPORT/12.txt
fsync REPORT
fadvise REPORT/12.txt`
	const again = `
pwrite REPORT/12.json
fsync REPORT/12.json
fadvise REPORT/12.json
pwrite REPORT/12.txt
fsync REPORT/12.txt
pwrite REPORT/12.txt
fsync REPORT/12.txt
fadvise REPORT/12.txt`
	for _, tt := range []struct {
		name, want string
		begin      func()
	}{
		{"new files", made + store, func() {}},
		{"an older revision is there", again + store, func() {
			old := sample()
			old.Revision, old.Result = 1, "restarting"
			_, root := opened(t, stick)
			deliver(t, root, old)
		}},
		{"it is there", store, func() {}},
	} {
		tt.begin()
		got := trace(t, dir)
		if d := cmp.Diff(strings.ReplaceAll(tt.want[1:], "REPORT", report), got); d != "" {
			t.Errorf("%s: want -, got +\n%s", tt.name, d)
		}
		must(t, os.RemoveAll(filepath.Join(dir, "store")))
	}
}
