package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func sh(script string, args ...string) Command {
	return Command{Name: "it", Path: "/bin/sh", Args: append([]string{"-c", script, "it"}, args...)}
}

// TestEnds is how a program can end by itself.
func TestEnds(t *testing.T) {
	for _, c := range []struct {
		name, script string
		code         int
		signal       syscall.Signal
		want         string
	}{
		{"well", "exit 0", 0, 0, ""},
		{"badly", "exit 3", 3, 0, "it: exit code 3"},
		{"badly and says so", "echo one >&2; echo two >&2; echo; echo three >&2; exit 21", 21, 0, "it: exit code 21: two / three"},
		{"with colours", `printf '\033[31mred\n' >&2; exit 1`, 1, 0, "it: exit code 1: [31mred"},
		{"by a signal", "kill -9 $$", -1, 9, "it: ended by signal 9 (killed)"},
		{"by its own signal", "echo no >&2; kill -SEGV $$", -1, 11, "it: ended by signal 11 (segmentation fault): no"},
	} {
		t.Run(c.name, func(t *testing.T) {
			clean(t)
			r, err := Run(t.Context(), sh(c.script))
			if got := fmt.Sprint(err); got != c.want && (err != nil || c.want != "") {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if r.Code != c.code {
				t.Errorf("exit code %d, want %d", r.Code, c.code)
			}
			var e *Error
			if errors.As(err, &e) && (e.Signal != c.signal || e.Code != c.code) {
				t.Errorf("signal %v and code %d, want %v and %d", e.Signal, e.Code, c.signal, c.code)
			}
		})
	}
}

func TestCannotStart(t *testing.T) {
	clean(t)
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]error{"/nonexistent/program": os.ErrNotExist, plain: os.ErrPermission} {
		if _, err := Run(t.Context(), Command{Path: path}); !errors.Is(err, want) || !strings.HasPrefix(fmt.Sprint(err), path+": ") {
			t.Errorf("%s: got %v", path, err)
		}
	}
	over, cancel := context.WithCancelCause(t.Context())
	mine := errors.New("not today")
	cancel(mine)
	if _, err := Run(over, sh("exit 0")); !errors.Is(err, mine) {
		t.Errorf("a context that is done: got %v", err)
	}
}

// TestWorld is what a program finds around it.
func TestWorld(t *testing.T) {
	clean(t)
	c := sh(`pwd; echo "$COLOUR$HOME"; wc -c; ls /proc/self/fd | wc -l; ps -o sid= -o pgid= -o tty= -p $$ 2>/dev/null || echo "$$ $$ ?"; echo $$; (echo x >/dev/tty) 2>/dev/null || echo no terminal`)
	c.Dir, c.Env = t.TempDir(), []string{"COLOUR=green", "PATH=" + os.Getenv("PATH")}
	r, err := Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(r.Stdout.String()), "\n")
	pid := lines[5]
	if f := strings.Fields(lines[4]); lines[0] != c.Dir || lines[1] != "green" || lines[2] != "0" || f[0] != pid || f[1] != pid || f[2] != "?" || lines[6] != "no terminal" {
		t.Errorf("got %q", lines)
	}
	if want := strconv.Itoa(4 + inherited(t)); lines[3] != want { // 0, 1, 2, and what ls has open
		t.Errorf("the program has %s files open, want %s", lines[3], want)
	}
}

// inherited returns how many files above 2 every child of this test gets from
// whoever started the test.
func inherited(t *testing.T) (n int) {
	t.Helper()
	dir, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range dir {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			t.Fatal(err)
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && fd > 2 && flags&unix.FD_CLOEXEC == 0 {
			n++
		}
	}
	return n
}

// TestStopped is how a program that does not end by itself is ended, and that
// nothing is left of what it started.
func TestStopped(t *testing.T) {
	const setsid = `setsid sh -c 'trap "" TERM; echo $$ >> "$1"; sleep 1000' it "$1" & `
	for _, c := range []struct {
		name, script string
		grace        time.Duration
		atOnce       bool // it does not take the grace
	}{
		{"it hangs", `echo $$ >> "$1"; exec sleep 1000`, time.Minute, true},
		{"it has a child", `sleep 1000 & echo $! >> "$1"; wait`, time.Minute, true},
		{"it hears no signal", `trap "" TERM; echo $$ >> "$1"; sleep 1000; sleep 1000`, 300 * time.Millisecond, false},
		{"its child hears no signal", `sh -c 'trap "" TERM; echo $$ >> "$1"; exec sleep 1000' it "$1" & wait`, 300 * time.Millisecond, false},
		{"it gets no grace", `trap "" TERM; echo $$ >> "$1"; sleep 1000; sleep 1000`, 0, true},
		{"it stopped itself", `echo $$ >> "$1"; kill -STOP $$`, time.Minute, true},
		{"its child fled", setsid + "wait", time.Minute, true},
		{"its orphan fled", `(` + setsid + `); sleep 1000`, time.Minute, true},
		{"its orphan's orphan fled", `(setsid sh -c '( ` + strings.ReplaceAll(setsid, "'", `"'"`) + ` ) ' it "$1" &); sleep 1000`, time.Minute, true},
		{"its orphan joined another group", `(sh -m -c 'sleep 1000 & echo $! >> "$1"' it "$1" &); sleep 1000`, time.Minute, true},
	} {
		for _, how := range []string{"time-out", "cancel"} {
			if how == "time-out" && c.atOnce && c.grace > 0 {
				continue // it is the same but for the wait
			}
			t.Run(c.name+"/"+how, func(t *testing.T) {
				clean(t)
				pids := filepath.Join(t.TempDir(), "pids")
				cmd := sh(c.script, pids)
				cmd.Grace = c.grace
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				want := ErrTimeout
				if how == "cancel" {
					want = errors.New("not today")
				} else {
					cmd.Timeout = 3 * time.Second
				}
				p, err := Start(ctx, cmd)
				if err != nil {
					t.Fatal(err)
				}
				waitFor(t, "the program to be ready", func() bool { b, _ := os.ReadFile(pids); return len(b) > 0 })
				if how == "cancel" {
					cancel(want)
				}
				r, err := p.Wait()
				if !errors.Is(err, want) || r.Code != -1 {
					t.Errorf("got %v, exit code %d", err, r.Code)
				}
				if quick := r.Took < 20*time.Second; !quick || !c.atOnce && r.Took < c.grace {
					t.Errorf("took %v with a grace of %v", r.Took, c.grace)
				}
				dead(t, pids)
			})
		}
	}
}

func TestTimeoutSaysWhat(t *testing.T) {
	cmd := sh("echo waiting for the network >&2; sleep 1000")
	cmd.Timeout = 500 * time.Millisecond
	_, err := Run(t.Context(), cmd)
	if got, want := fmt.Sprint(err), "it: timed out after 500ms: waiting for the network"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestTrap lets a program use its grace.
func TestTrap(t *testing.T) {
	clean(t)
	cmd := sh(`trap 'echo tidied up; exit 0' TERM; sleep 1000 & wait`)
	cmd.Timeout, cmd.Grace = 500*time.Millisecond, time.Minute
	r, err := Run(t.Context(), cmd)
	if !errors.Is(err, ErrTimeout) || r.Code != -1 || r.Stdout.String() != "tidied up\n" {
		t.Errorf("got %v, code %d, %q", err, r.Code, r.Stdout)
	}
}

// TestLeftBehind is a program that ends well and leaves something that keeps
// its output open.
func TestLeftBehind(t *testing.T) {
	const service = `setsid sh -c 'echo $$ > "$1"; exec sleep 1000' it "$1" & while ! [ -s "$1" ]; do sleep 0.01; done; `
	for _, c := range []struct {
		name, script string
		spare, lives bool
	}{
		{"in the group", `sleep 1000 & echo $! > "$1"; echo done`, false, false},
		{"in the group, hears nothing", `sh -c 'trap "" TERM HUP; echo $$ > "$1"; exec sleep 1000' it "$1" & while ! [ -s "$1" ]; do sleep 0.01; done; echo done`, false, false},
		{"in the group, spared", `sleep 1000 & echo $! > "$1"; echo done`, true, true},
		{"in a session of its own", service + `echo done`, false, true},
		{"in a session of its own, spared", service + `echo done`, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			clean(t)
			pids := filepath.Join(t.TempDir(), "pids")
			cmd := sh(c.script, pids)
			cmd.Spare = c.spare
			r, err := Run(t.Context(), cmd)
			if err != nil || r.Stdout.String() != "done\n" || r.Took > 5*time.Second {
				t.Errorf("got %v, %q after %v", err, r.Stdout, r.Took)
			}
			if !c.lives {
				dead(t, pids)
				return
			}
			pid := readPids(t, pids)[0]
			if err := syscall.Kill(pid, 0); err != nil {
				t.Errorf("the service that was started: %v", err)
			}
			// Neither an end of the next program's, nor its own, leaves anything.
			next := sh("sleep 1000")
			next.Timeout = 50 * time.Millisecond
			if _, err := Run(t.Context(), next); !errors.Is(err, ErrTimeout) {
				t.Error(err)
			}
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Errorf("the service after the next program: %v", err)
			}
			waitFor(t, "the service to be reaped", func() bool { return syscall.Kill(pid, 0) == syscall.ESRCH })
		})
	}
}

// TestOneAtATime: what is adopted is known to be of the one program.
func TestOneAtATime(t *testing.T) {
	clean(t)
	first, err := Start(t.Context(), sh("sleep 0.5"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Run(ctx, sh("exit 0")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a second one while the first runs: got %v", err)
	}
	if _, err := Run(t.Context(), sh("exit 0")); err != nil {
		t.Error(err)
	}
	if !first.hasEnded() {
		t.Error("the second one did not wait")
	}
	if _, err := first.Wait(); err != nil {
		t.Error(err)
	}
}

func readPids(t *testing.T, file string) (pids []int) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range strings.Fields(string(b)) {
		pid, err := strconv.Atoi(f)
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	if len(pids) == 0 {
		t.Fatal("no process has told its number")
	}
	return pids
}

// dead fails if any of the processes is there, be it as a zombie.
func dead(t *testing.T, file string) {
	t.Helper()
	for _, pid := range readPids(t, file) {
		if m, err := readMember(pid); err == nil {
			t.Errorf("process %d (%s, %c) is left", pid, m.name, m.state)
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for start := time.Now(); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Since(start) > 20*time.Second {
			t.Fatalf("waited too long for %s", what)
		}
	}
}

// clean fails if a test leaves an open file or a child, of any kind.
func clean(t *testing.T) {
	t.Helper()
	before := files(t)
	t.Cleanup(func() {
		if after := files(t); after > before {
			t.Errorf("%d files are open, %d were", after, before)
		}
		children, err := processes()
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range below(children, children[os.Getpid()]) {
			t.Errorf("process %d (%s, %c) is left", m.pid, m.name, m.state)
		}
	})
}

func files(t *testing.T) int {
	t.Helper()
	dir, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(dir)
}
