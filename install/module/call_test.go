package module

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plimsoll-ota/plimsoll/install/internal/process"
)

func TestFind(t *testing.T) {
	top := t.TempDir()
	first, second := filepath.Join(top, "first"), filepath.Join(top, "second")
	for path, mode := range map[string]os.FileMode{
		"first/both": 0o755, "second/both": 0o755, "second/single-file": 0o755, "first/plain": 0o644, "second/plain": 0o755, "outside": 0o755, "second/folder/x": 0o755,
	} {
		path = filepath.Join(top, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	dirs := []string{filepath.Join(top, "nowhere"), first, second}
	for name, want := range map[string]string{"both": first + "/both", "single-file": second + "/single-file"} {
		if got, err := Find(dirs, name); err != nil || got != want {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
	for _, name := range []string{"", ".", "..", "../outside", "folder/x", "folder", "plain", "none", top + "/outside", "both\x00", strings.Repeat("x", 300)} {
		if got, err := Find(dirs, name); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%.80q: got %q, %v", name, got, err)
		}
	}
}

func TestCall(t *testing.T) {
	clean(t)
	m := write(t, `
case "$1" in
ArtifactInstall) [ "$(pwd)" = "$2" ] && [ "$#" = 2 ] && echo "$1 $2" > tmp/seen ;;
ArtifactCommit) echo out; echo no room >&2; exit 5 ;;
ArtifactRollback) kill -9 $$ ;;
Cleanup) echo "$1" > ../cleaned; exit 1 ;;
esac`)
	var calls []string
	m.Report = func(r Report) {
		calls = append(calls, fmt.Sprintf("%s %d %v %q %q", r.Call, r.Code, r.Err != nil, r.Stdout, r.Stderr))
	}
	for state, want := range map[string]string{
		ArtifactInstall: "<nil>", ArtifactFailure: "<nil>",
		ArtifactCommit:   "update module mod ArtifactCommit: exit code 5: no room",
		ArtifactRollback: "update module mod ArtifactRollback: ended by signal 9 (killed)",
	} {
		calls = nil
		if err := m.Call(t.Context(), state); fmt.Sprint(err) != want {
			t.Errorf("%s: got %v, want %s", state, err, want)
		}
		if len(calls) != 1 || !strings.HasPrefix(calls[0], state+" ") {
			t.Errorf("%s: reported %q", state, calls)
		}
		if state == ArtifactCommit && calls[0] != `ArtifactCommit 5 true "out\n" "no room\n"` {
			t.Errorf("reported %q", calls)
		}
	}
	if got, want := contents(t, m.Tree)["tmp/seen"], "ArtifactInstall "+m.Tree+"\n"; got != want {
		t.Errorf("the module saw %q, want %q", got, want)
	}
	if err := m.Cleanup(t.Context()); err == nil {
		t.Error("a module that cannot clean up was not told of")
	}
	work := filepath.Dir(m.Tree)
	if d := cmp.Diff(map[string]string{"cleaned": "Cleanup\n"}, contents(t, work)); d != "" {
		t.Error(d)
	}
	calls = nil
	if err := m.Cleanup(t.Context()); err != nil || len(calls) != 0 {
		t.Errorf("clean up once more: %v, %q", err, calls)
	}
	if err := m.Call(t.Context(), ArtifactInstall); !errors.Is(err, ErrNoTree) {
		t.Errorf("without a tree: %v", err)
	}
}

func TestAsk(t *testing.T) {
	clean(t)
	for _, c := range []struct {
		said           string
		rollback       any
		reboot         any
		rollbackFailed bool
		rebootFailed   bool
	}{
		{`:`, false, NoReboot, false, false},
		{`echo`, false, NoReboot, false, false},
		{`echo No`, false, NoReboot, false, false},
		{`echo Yes`, true, ModuleReboot, false, false},
		{`printf Yes`, true, ModuleReboot, false, false},
		{`echo Yes; echo debugging >&2`, true, ModuleReboot, false, false},
		{`echo Automatic`, nil, AutomaticReboot, true, false},
		{`echo yes`, nil, nil, true, true},
		{`echo Yes Sir`, nil, nil, true, true},
		{`echo "Yes "`, nil, nil, true, true},
		{`echo Yes; echo Yes`, nil, nil, true, true},
		{`echo; echo Yes`, nil, nil, true, true},
		{`echo Yes; exit 1`, nil, nil, true, true},
		{`head -c 100000 /dev/zero`, nil, nil, true, true},
	} {
		m := write(t, `case "$1" in SupportsRollback|NeedsArtifactReboot) `+c.said+` ;; esac`)
		rollback, err := m.SupportsRollback(t.Context())
		if (err != nil) != c.rollbackFailed || err == nil && rollback != c.rollback {
			t.Errorf("%s: rollback %v, %v", c.said, rollback, err)
		}
		reboot, err := m.NeedsReboot(t.Context())
		if (err != nil) != c.rebootFailed || err == nil && reboot != c.reboot {
			t.Errorf("%s: reboot %v, %v", c.said, reboot, err)
		}
		if err != nil && len(err.Error()) > 500 {
			t.Errorf("%s: an error of %d bytes", c.said, len(err.Error()))
		}
	}
}

// TestHangs: a module that does not end, and what it started, are ended.
func TestHangs(t *testing.T) {
	for name, body := range map[string]string{
		"it hangs":                     `exec sleep 1000`,
		"it hears no signal":           `trap "" TERM; sleep 1000; sleep 1000`,
		"it forked":                    `sleep 1000 & (sleep 1000 &) ; wait`,
		"it forked into a session":     `(setsid sh -c 'trap "" TERM; sleep 1000; sleep 1000' &) ; sleep 1000`,
		"it floods":                    `while :; do echo y; done`,
		"it floods standard error too": `while :; do echo y; done >&2`,
	} {
		t.Run(name, func(t *testing.T) {
			clean(t)
			m := write(t, body)
			m.Timeout, m.Grace = time.Second, 500*time.Millisecond
			start := time.Now()
			if err := m.Call(t.Context(), ArtifactInstall); !errors.Is(err, process.ErrTimeout) {
				t.Errorf("got %v", err)
			}
			if took := time.Since(start); took > 30*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

// TestOrphans: what a module that ends well leaves in its group is ended.
func TestOrphans(t *testing.T) {
	clean(t)
	m := write(t, `sleep 1000 & echo done`)
	if err := m.Call(t.Context(), ArtifactInstall); err != nil {
		t.Error(err)
	}
}
