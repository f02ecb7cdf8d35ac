package tell

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// sh returns a hook that is a script of the shell, with arguments.
func sh(script string, args ...string) []string {
	return append([]string{"/bin/sh", "-c", script, "hook"}, args...)
}

func content(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return string(b)
}

// TestHookSees is all that a hook gets.
func TestHookSees(t *testing.T) {
	t.Setenv("SECRET", "of the parent")
	out := filepath.Join(t.TempDir(), "out")
	h := Hook(sh(`{ env | grep -v '^\(PWD\|OLDPWD\|SHLVL\|_\)='; pwd; cat; } >"$1"; echo out; echo err >&2`, out), 0)
	h.Tell(Message{State: Failed, Code: NTFS, Artifact: "release-8\x00", Detail: "two\nlines $(reboot) `reboot`", Percent: 7})
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	got := strings.Split(strings.TrimSpace(content(t, out)), "\n")
	want := []string{
		"/",
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"PLIMSOLL_ARTIFACT=release-8",
		"PLIMSOLL_CODE=E31",
		"PLIMSOLL_DETAIL=two lines $(reboot) `reboot`",
		"PLIMSOLL_PERCENT=7",
		"PLIMSOLL_STATE=failed",
	}
	slices.Sort(got)
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// TestHookLatest: while it runs messages are left out, and the last one never.
func TestHookLatest(t *testing.T) {
	dir := t.TempDir()
	out, goOn := filepath.Join(dir, "out"), filepath.Join(dir, "go")
	// It would say so if it ran twice at once.
	h := Hook(sh(`mkdir "$1.lock" || echo twice >>"$1"; echo "$PLIMSOLL_STATE" >>"$1"; until [ -e "$2" ]; do sleep 0.01; done; rmdir "$1.lock"`, out, goOn), time.Minute)
	h.Tell(Message{State: Looking})
	waitUntil(t, func() bool { return content(t, out) != "" })
	for _, s := range []State{Working, Restarting, Testing, Updated} {
		h.Tell(Message{State: s})
	}
	if err := os.WriteFile(goOn, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	if got, want := content(t, out), "looking\nupdated and confirmed\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestHookTogether is for the race detector, and for the order.
func TestHookTogether(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	h := Hook(sh(`echo "$PLIMSOLL_STATE" >>"$1"`, out), 0)
	var wait sync.WaitGroup
	for i := range 8 {
		wait.Go(func() {
			for j := range 100 {
				h.Tell(Message{State: vocabulary[(i+j)%len(vocabulary)]})
			}
		})
	}
	wait.Wait()
	h.Tell(Message{State: "the last"})
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	if got := content(t, out); !strings.HasSuffix(got, "the last\n") {
		t.Errorf("got %q", got)
	}
	h.Tell(Message{State: Looking}) // after Close: nothing
}

// alive tells whether a process runs, from the file that holds its number.
func alive(t *testing.T, file string) bool {
	t.Helper()
	pid, err := strconv.Atoi(strings.TrimSpace(content(t, file)))
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(b), ") Z ")
}

// TestHookHangs: it is killed, with what it started, and the next message is
// told all the same.
func TestHookHangs(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "out")
	h := Hook(sh(`trap '' TERM INT HUP; echo "$PLIMSOLL_STATE" >>"$1"; sleep 1000 & echo $! >"$1.$PLIMSOLL_STATE"; while :; do sleep 1000; done`, out), 300*time.Millisecond)
	began := time.Now()
	h.Tell(Message{State: Looking})
	waitUntil(t, func() bool { return content(t, out+".looking") != "" })
	h.Tell(Message{State: UpToDate})
	err := h.Close()
	if took := time.Since(began); took < 500*time.Millisecond || took > 5*time.Second {
		t.Errorf("took %v", took)
	}
	if want := "tell hook: /bin/sh: killed after 300ms"; fmt.Sprint(err) != want { // once, not for each
		t.Errorf("Close said %q, want %q", err, want)
	}
	if got, want := content(t, out), "looking\nup to date\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, s := range []State{Looking, UpToDate} {
		waitUntil(t, func() bool { return !alive(t, out+"."+string(s)) })
	}
}

// TestHookForks: what it leaves in its group ends with it, and what has fled is
// not waited for, although it holds the output.
func TestHookForks(t *testing.T) {
	for _, c := range []struct {
		name, script string
		lives        bool
	}{
		{"into the background", `sleep 1000 & echo $! >"$1"`, false},
		{"into another session", `setsid sh -c 'echo $$ >"$1"; exec sleep 1000' sh "$1" & until [ -s "$1" ]; do sleep 0.01; done`, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "pid")
			h := Hook(sh(c.script, out), time.Minute)
			began := time.Now()
			h.Tell(Message{State: Looking})
			if err := h.Close(); err != nil || time.Since(began) > 10*time.Second {
				t.Errorf("Close said %v after %v", err, time.Since(began))
			}
			waitUntil(t, func() bool { return alive(t, out) == c.lives })
			if c.lives {
				pid, _ := strconv.Atoi(strings.TrimSpace(content(t, out)))
				if err := unix.Kill(pid, unix.SIGKILL); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// TestHookFloods: what it says is bounded, and its end is the reason.
func TestHookFloods(t *testing.T) {
	h := Hook(sh(`head -c 50M /dev/zero; head -c 50M /dev/zero >&2; printf '\033[31mno display\n' >&2; exit 3`), time.Minute)
	h.Tell(Message{State: Looking})
	if err, want := h.Close(), "tell hook: /bin/sh: exit status 3: [31mno display"; fmt.Sprint(err) != want {
		t.Errorf("got %q, want %q", err, want)
	}
}

func TestHookCannotStart(t *testing.T) {
	for _, c := range []struct {
		argv []string
		want error
	}{
		{[]string{"/nonexistent/hook"}, os.ErrNotExist},
		{[]string{t.TempDir()}, os.ErrPermission},
		{nil, nil},
	} {
		h := Hook(c.argv, time.Second)
		h.Tell(Message{State: Looking})
		h.Tell(Message{State: UpToDate})
		if err := h.Close(); err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%q: Close said %v", c.argv, err)
		}
	}
}

func TestTail(t *testing.T) {
	for _, piece := range []int{1, 7, maxSaid, maxSaid + 1, 5 * maxSaid} {
		said := []byte(strings.Repeat("0123456789", maxSaid))
		w := &tail{}
		for p := range slices.Chunk(said, piece) {
			if n, err := w.Write(p); n != len(p) || err != nil {
				t.Errorf("wrote %d, %v", n, err)
			}
		}
		if string(w.b) != string(said[len(said)-maxSaid:]) {
			t.Errorf("pieces of %d: have %q", piece, w.b)
		}
	}
}
