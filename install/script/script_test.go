package script

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plimsoll-ota/plimsoll/install/internal/process"
)

var names = map[string]Name{
	"ArtifactInstall_Enter_00":                             {"ArtifactInstall", "Enter", "00", ""},
	"ArtifactRollbackReboot_Leave_99_x":                    {"ArtifactRollbackReboot", "Leave", "99", "x"},
	"Download_Error_10_a_b.sh":                             {"Download", "Error", "10", "a_b.sh"},
	"Idle_Enter_10_..":                                     {"Idle", "Enter", "10", ".."},
	"Sync_Leave_10_ü":                                      {"Sync", "Leave", "10", "ü"},
	"ArtifactInstall_Enter_1":                              {},
	"ArtifactInstall_Enter_100":                            {},
	"ArtifactInstall_Enter_10_":                            {},
	"ArtifactInstall_Enter_10-x":                           {},
	"ArtifactInstall_Enter_10_a b":                         {},
	"ArtifactInstall_Enter_10_a\tb":                        {},
	"ArtifactInstall_Enter_10\n":                           {},
	"ArtifactInstall_Enter_10_a/b":                         {},
	"../ArtifactInstall_Enter_10":                          {},
	"ArtifactInstall_Enter_10/../../x":                     {},
	"ArtifactInstall_Enter_10_\x00":                        {},
	"ArtifactInstall_enter_10":                             {},
	"ArtifactInstall_Retry_10":                             {},
	"Artifact_Enter_10":                                    {},
	"xArtifactInstall_Enter_10":                            {},
	"version":                                              {},
	"":                                                     {},
	"ArtifactInstall_Enter_10_x.dpkg-dist ":                {},
	"ArtifactInstall_Enter_10_" + strings.Repeat("x", 256): {},
}

func TestParseName(t *testing.T) {
	for name, want := range names {
		got, ok := ParseName(name)
		if got != want || ok != (want != Name{}) {
			t.Errorf("%q: got %+v, %v, want %+v", name, got, ok, want)
		}
		if ok && got.String() != name {
			t.Errorf("%q: is %q again", name, got)
		}
	}
}

func FuzzParseName(f *testing.F) {
	for name := range names {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		n, ok := ParseName(name)
		if ok && (n.String() != name || strings.ContainsAny(name, "/ \n\x00") || filepath.Base(name) != name) {
			t.Errorf("%q: got %+v", name, n)
		}
	})
}

// put writes a script, executable unless the mode says otherwise.
func put(t *testing.T, dir, name, body string, mode fs.FileMode) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+body+"\n"), mode); err != nil {
		t.Fatal(err)
	}
}

// told collects what is reported, in short.
func told(r *Runner) *[]string {
	var lines []string
	r.Report = func(p Report) {
		switch {
		case p.Skipped != "":
			lines = append(lines, fmt.Sprintf("%s skipped: %s", filepath.Base(p.Script), p.Skipped))
		default:
			lines = append(lines, fmt.Sprintf("%s %d: %d %v %q %q", filepath.Base(p.Script), p.Attempt, p.Code, p.Again, p.Stdout, p.Stderr))
		}
	}
	return &lines
}

func TestRun(t *testing.T) {
	t.Chdir(t.TempDir())
	first, second := t.TempDir(), t.TempDir()
	put(t, second, "Download_Enter_50", "echo second 50", 0o755)
	put(t, second, "Download_Enter_10_same", "echo never", 0o755)
	put(t, second, "Download_Enter_05_off", "echo never", 0o755)
	put(t, first, "Download_Enter_10_same", "echo first 10; echo hm >&2; pwd", 0o700)
	put(t, first, "Download_Enter_05_off", "echo never", 0o644)
	put(t, first, "Download_Enter_9", "echo never", 0o755)
	put(t, first, "Download_Enter_20", "exit 0", 0o755)
	put(t, first, "Download_Enter_20.bak", "echo never", 0o755)
	put(t, first, "Download_Leave_20", "echo never", 0o755)
	put(t, first, "Sync_Enter_20", "echo never", 0o755)
	if err := os.Symlink("nowhere", filepath.Join(first, "Download_Enter_30")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(first, "Download_Enter_40"), 0o755); err != nil {
		t.Fatal(err)
	}
	pwd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	r := &Runner{Dirs: []string{filepath.Join(first, "nowhere"), first, second}}
	lines := told(r)
	if err := r.Run(t.Context(), "Download", "Enter"); err != nil {
		t.Error(err)
	}
	want := []string{
		"Download_Enter_05_off skipped: it is not executable",
		fmt.Sprintf("Download_Enter_10_same 1: 0 false %q %q", "first 10\n"+pwd+"\n", "hm\n"),
		`Download_Enter_20 1: 0 false "" ""`,
		"Download_Enter_30 skipped: stat " + filepath.Join(first, "Download_Enter_30") + ": no such file or directory",
		"Download_Enter_40 skipped: it is not a file",
		`Download_Enter_50 1: 0 false "second 50\n" ""`,
	}
	if d := cmp.Diff(want, *lines); d != "" {
		t.Error(d)
	}
	r.Report = nil
	if err := r.Run(t.Context(), "Download", "Leave"); err != nil {
		t.Error(err)
	}
}

func TestVersion(t *testing.T) {
	for content, good := range map[string]bool{"": false, "1": false, "2": true, "3": true, "3\n": true, " 2 \n": true, "4": false, "33": false, "3\n3": false} {
		dir := t.TempDir()
		put(t, dir, "Download_Enter_10", "exit 0", 0o755)
		if err := os.WriteFile(filepath.Join(dir, "version"), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		r := &Runner{Dirs: []string{dir}}
		lines := told(r)
		err := r.Run(t.Context(), "Download", "Enter")
		if (err == nil) != good || (len(*lines) == 1) != good || err != nil && !strings.Contains(err.Error(), filepath.Join(dir, "version")) {
			t.Errorf("version %q: got %v, run: %v", content, err, *lines)
		}
		if err := r.Run(t.Context(), "Download", "Leave"); err != nil {
			t.Errorf("version %q, no scripts: got %v", content, err)
		}
	}
}

// TestErrors is which errors end a moment.
func TestErrors(t *testing.T) {
	ignores := map[string]bool{"ArtifactCommit_Leave": true}
	for _, action := range []string{"Enter", "Leave", "Error"} {
		ignores["ArtifactRollback_"+action], ignores["ArtifactFailure_"+action] = true, true
	}
	for _, state := range []string{"Idle", "Sync", "Download", "ArtifactInstall", "ArtifactReboot", "ArtifactCommit", "ArtifactRollback", "ArtifactRollbackReboot", "ArtifactFailure"} {
		for _, action := range []string{"Enter", "Leave", "Error"} {
			moment := state + "_" + action
			want := ignores[moment] || action == "Error"
			if got := IgnoresErrors(state, action); got != want {
				t.Errorf("%s: ignores errors: %v, want %v", moment, got, want)
			}
			dir := t.TempDir()
			put(t, dir, moment+"_10", "exit 1", 0o755)
			put(t, dir, moment+"_20", "exit 0", 0o755)
			put(t, dir, moment+"_30", "echo bad >&2; exit 2", 0o755)
			r := &Runner{Dirs: []string{dir}}
			lines := told(r)
			err := r.Run(t.Context(), state, action)
			text, runs := filepath.Join(dir, moment+"_10")+": exit code 1", 1
			if want {
				text, runs = text+"\n"+filepath.Join(dir, moment+"_30")+": exit code 2: bad", 3
			}
			if fmt.Sprint(err) != text || len(*lines) != runs {
				t.Errorf("%s: got %v after %q", moment, err, *lines)
			}
		}
	}
}

func TestRetry(t *testing.T) {
	dir := t.TempDir()
	const moment = "ArtifactInstall_Enter"
	put(t, dir, moment+"_10", `cd "$(dirname "$0")"; echo x >> runs; [ "$(wc -l < runs)" = 3 ] || exit 21`, 0o755)
	put(t, dir, moment+"_20", "exit 0", 0o755)
	r := &Runner{Dirs: []string{dir}, RetryInterval: 50 * time.Millisecond, RetryWindow: time.Minute}
	lines := told(r)
	start := time.Now()
	if err := r.Run(t.Context(), "ArtifactInstall", "Enter"); err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took < 100*time.Millisecond {
		t.Errorf("took %v", took)
	}
	want := []string{
		moment + `_10 1: 21 true "" ""`, moment + `_10 2: 21 true "" ""`, moment + `_10 3: 0 false "" ""`, moment + `_20 1: 0 false "" ""`,
	}
	if d := cmp.Diff(want, *lines); d != "" {
		t.Error(d)
	}
}

func TestRetriesEnd(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "ArtifactInstall_Enter_10", "exit 21", 0o755)
	put(t, dir, "ArtifactInstall_Enter_20", "exit 0", 0o755)
	r := &Runner{Dirs: []string{dir}, RetryInterval: 100 * time.Millisecond, RetryWindow: time.Second}
	lines := told(r)
	start := time.Now()
	if err := r.Run(t.Context(), "ArtifactInstall", "Enter"); !errors.Is(err, ErrRetries) {
		t.Errorf("got %v", err)
	}
	if n, took := len(*lines), time.Since(start); n < 2 || n > 10 || took < time.Second {
		t.Errorf("%d runs in %v", n, took)
	}
	*lines = nil
	r.RetryInterval, r.RetryWindow = time.Hour, 0
	ctx, cancel := context.WithCancelCause(t.Context())
	mine := errors.New("not today")
	report := r.Report
	r.Report = func(p Report) { report(p); cancel(mine) }
	if err := r.Run(ctx, "ArtifactInstall", "Enter"); !errors.Is(err, mine) || len(*lines) != 1 {
		t.Errorf("cancelled between two runs: got %v after %v", err, *lines)
	}
}

// TestEnded is a script that takes too long, where errors are ignored: the next
// one has its turn. Nothing is run once nobody wants it any more.
func TestEnded(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "ArtifactFailure_Enter_10", `trap "" TERM; echo $$; setsid sleep 1000 & sleep 1000; sleep 1000`, 0o755)
	put(t, dir, "ArtifactFailure_Enter_20", "exit 0", 0o755)
	r := &Runner{Dirs: []string{dir}, Timeout: time.Second}
	lines := told(r)
	start := time.Now()
	if err := r.Run(t.Context(), "ArtifactFailure", "Enter"); !errors.Is(err, process.ErrTimeout) || len(*lines) != 2 {
		t.Errorf("got %v after %v", err, *lines)
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("took %v", took)
	}
	*lines, r.Timeout = nil, 0
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := r.Run(ctx, "ArtifactFailure", "Enter"); !errors.Is(err, context.DeadlineExceeded) || len(*lines) != 1 {
		t.Errorf("got %v after %v", err, *lines)
	}
}

// TestService has a script start a service the old way, which lives on.
func TestService(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "ArtifactInstall_Leave_10", `sleep 1000 >/dev/null 2>&1 & echo $!`, 0o755)
	r := &Runner{Dirs: []string{dir}}
	pid := 0
	r.Report = func(p Report) { fmt.Sscan(p.Stdout.String(), &pid) }
	if err := r.Run(t.Context(), "ArtifactInstall", "Leave"); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Errorf("the service: %v", err)
	}
}

// list makes of a table what Store takes.
func list(scripts [][2]string) func(func(string, io.Reader) error) error {
	return func(put func(string, io.Reader) error) error {
		for _, s := range scripts {
			if err := put(s[0], strings.NewReader(s[1])); err != nil {
				return err
			}
		}
		return nil
	}
}

func TestStore(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	dir := filepath.Join(t.TempDir(), "var", "scripts")
	elsewhere := t.TempDir()
	for range 2 { // the second time, over what is there
		err := Store(dir, list([][2]string{{"ArtifactInstall_Enter_10_a", "#!/bin/sh\necho a\n"}, {"ArtifactCommit_Leave_99", "#!/bin/sh\necho b\n"}}))
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]string{"ArtifactInstall_Enter_10_a": "#!/bin/sh\necho a\n", "ArtifactCommit_Leave_99": "#!/bin/sh\necho b\n", "version": "3"}
		if d := cmp.Diff(want, content(t, dir)); d != "" {
			t.Error(d)
		}
		if info, err := os.Stat(filepath.Join(dir, "ArtifactCommit_Leave_99")); err != nil || info.Mode() != 0o755 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
		r := &Runner{Dirs: []string{dir}}
		lines := told(r)
		if err := r.Run(t.Context(), "ArtifactInstall", "Enter"); err != nil || len(*lines) != 1 {
			t.Errorf("run what was stored: %v, %v", err, *lines)
		}
		put(t, dir, "ArtifactInstall_Enter_00_old", "", 0o755)
		put(t, filepath.Join(dir, "folder"), "x", "", 0o644)
		_ = os.Symlink(elsewhere, filepath.Join(dir, "link"))
	}
	put(t, elsewhere, "precious", "", 0o644)
	if err := Store(dir, list(nil)); err != nil || len(content(t, dir)) != 0 {
		t.Errorf("no scripts: %v, left %v", err, content(t, dir))
	}
	if len(content(t, elsewhere)) != 1 {
		t.Error("what a link in the directory leads to was removed")
	}
}

func TestStoreRefuses(t *testing.T) {
	mine := errors.New("mine")
	for _, c := range []struct {
		name string
		all  func(func(string, io.Reader) error) error
		want error
	}{
		{"a name that leads elsewhere", list([][2]string{{"../ArtifactInstall_Enter_10", ""}}), nil},
		{"a name that is none", list([][2]string{{"version", "3"}}), nil},
		{"a script of the device's", list([][2]string{{"Download_Enter_10", ""}}), nil},
		{"one twice", list([][2]string{{"ArtifactInstall_Enter_10", ""}, {"ArtifactInstall_Enter_10", ""}}), fs.ErrExist},
		{"an error of the source", func(func(string, io.Reader) error) error { return mine }, mine},
		{"an error of a script", func(put func(string, io.Reader) error) error { return put("ArtifactInstall_Enter_10", failing{mine}) }, mine},
	} {
		top := t.TempDir()
		dir := filepath.Join(top, "scripts")
		put(t, dir, "version", "3", 0o644)
		err := Store(dir, c.all)
		if err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: got %v", c.name, err)
		}
		if content(t, dir)["version"] != "" {
			t.Errorf("%s: there is a version", c.name)
		}
		if n := len(content(t, top)); n != 0 {
			t.Errorf("%s: %d files beside the directory", c.name, n)
		}
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func content(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string]string)
	for _, e := range entries {
		if e.IsDir() {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[e.Name()] = string(b)
	}
	return files
}
