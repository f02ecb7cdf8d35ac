//go:build linux && (amd64 || arm64)

package cuts

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The command that is cut is this test's own binary: a Go program, with the
// threads of one.
const asCommand = "CUTS_COMMAND_IN"

func TestMain(m *testing.M) {
	if dir := os.Getenv(asCommand); dir != "" {
		os.Exit(command(dir))
	}
	os.Exit(m.Run())
}

// records is how many bytes-of-ten the command writes, each from a thread of
// its own.
const records = 8

// want are the command's calls.
var want = append(append([]string{"openat log"}, slicesOf("write log", records)...),
	"pwrite64 log", "fsync log", "openat tmp", "renameat done", "unlinkat log")

func slicesOf(s string, n int) (all []string) {
	for range n {
		all = append(all, s)
	}
	return all
}

func command(dir string) int {
	f, err := os.Create(filepath.Join(dir, "log"))
	check(err)
	for i := range records {
		fmt.Println("to standard output", i)
		onThread(func() { _, err := fmt.Fprintf(f, "record %d\n\n", i); check(err) })
	}
	_, err = f.WriteAt([]byte("first ten!"), 0)
	check(err)
	check(f.Sync())
	tmp, err := os.Create(filepath.Join(dir, "tmp"))
	check(err)
	check(tmp.Close())
	check(os.Rename(tmp.Name(), filepath.Join(dir, "done")))
	check(os.Remove(f.Name()))
	return 7
}

// check ends the command with an exit code that says which errno it met.
func check(err error) {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		os.Exit(100 + int(errno))
	} else if err != nil {
		os.Exit(99)
	}
}

// onThread runs f on a thread that is nobody else's and ends with it.
func onThread(f func()) {
	done := make(chan bool)
	go func() {
		runtime.LockOSThread()
		f()
		close(done)
	}()
	<-done
}

func runIn(t *testing.T, dir string, decide func(Call) Fate) Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), asCommand+"="+dir)
	r, err := Run(ctx, cmd, decide)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestCalls: over all threads, and nothing of standard output.
func TestCalls(t *testing.T) {
	r := runIn(t, t.TempDir(), func(Call) Fate { return Go })
	if r.Killed || r.Code != 7 {
		t.Errorf("the command ended %+v, want code 7", r)
	}
	var have []string
	for i, c := range r.Calls {
		if c.N != i+1 {
			t.Errorf("call %d has number %d", i+1, c.N)
		}
		have = append(have, c.Name+" "+filepath.Base(c.Path))
	}
	if got := strings.Join(have, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("calls:\n%s\nwant:\n%s", got, strings.Join(want, "\n"))
	}
	if c := r.Calls[1+records]; c.Len != 10 || c.Off != 0 {
		t.Errorf("pwrite64 of %d bytes at %d, want 10 at 0", c.Len, c.Off)
	}
}

// TestKill: cut before call k, everything before it has acted and nothing else.
func TestKill(t *testing.T) {
	for k := 1; k <= len(want); k++ {
		dir := t.TempDir()
		r := runIn(t, dir, At(k, Kill()))
		if !r.Killed || len(r.Calls) != k {
			t.Fatalf("cut at %d: %+v", k, r)
		}
		checkAfter(t, dir, k, 0)
	}
	dir := t.TempDir()
	if r := runIn(t, dir, At(len(want)+1, Kill())); r.Killed || r.Code != 7 {
		t.Errorf("cut behind the last call: %+v", r)
	}
}

// TestTear: of the call that is torn there is a part.
func TestTear(t *testing.T) {
	for k := 2; k <= 1+records; k++ {
		dir := t.TempDir()
		if r := runIn(t, dir, At(k, Tear(3))); !r.Killed || len(r.Calls) != k {
			t.Fatalf("torn at %d: %+v", k, r)
		}
		checkAfter(t, dir, k, 3)
	}
	dir := t.TempDir()
	runIn(t, dir, At(2+records, Tear(5)))
	if b, _ := os.ReadFile(filepath.Join(dir, "log")); string(b[:10]) != "firstd 0\n\n" {
		t.Errorf("pwrite64 torn after 5 bytes left %q", b[:10])
	}
}

// checkAfter compares the folder with what a command that ended before its
// k-th call, and after torn bytes of it, leaves.
func checkAfter(t *testing.T, dir string, k, torn int) {
	t.Helper()
	n := min(max(k-2, 0), records)
	log, err := os.ReadFile(filepath.Join(dir, "log"))
	if exists := k > 1; (err == nil) != exists {
		t.Errorf("before call %d: log: %v", k, err)
	}
	if k > 1 && len(log) != 10*n+torn {
		t.Errorf("before call %d: the log has %d bytes, want %d", k, len(log), 10*n+torn)
	}
	if overwritten := strings.HasPrefix(string(log), "first ten!"); overwritten != (k > records+2) {
		t.Errorf("before call %d: overwritten: %v", k, overwritten)
	}
	for name, from := range map[string]int{"tmp": records + 5, "done": records + 6} {
		_, err := os.Stat(filepath.Join(dir, name))
		want := k >= from && !(name == "tmp" && k > from)
		if (err == nil) != want {
			t.Errorf("before call %d: %s: %v, want it there: %v", k, name, err, want)
		}
	}
}

// TestFail: the call returns the errno, and has done nothing.
func TestFail(t *testing.T) {
	for k := 1; k <= len(want); k++ {
		dir := t.TempDir()
		r := runIn(t, dir, At(k, Fail(unix.EDQUOT)))
		if r.Killed || r.Code != 100+int(unix.EDQUOT) {
			t.Fatalf("call %d failed: %+v", k, r)
		}
		if k <= 1+records {
			checkAfter(t, dir, k, 0)
		}
	}
}

// TestShort: the command is told how much was written, and writes the rest.
func TestShort(t *testing.T) {
	dir := t.TempDir()
	r := runIn(t, dir, func(c Call) Fate {
		if c.Name == "write" && c.Len > 1 {
			return Short(1)
		}
		return Go
	})
	if r.Killed || r.Code != 7 || len(r.Calls) != len(want)+9*records {
		t.Errorf("%d calls, code %d, want %d and 7", len(r.Calls), r.Code, len(want)+9*records)
	}
}

// TestContext: a command that does not end is ended, and that is an error.
func TestContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	r, err := Run(ctx, exec.Command("sleep", "60"), At(1, Kill()))
	if !errors.Is(err, context.DeadlineExceeded) || !r.Killed {
		t.Errorf("%+v, %v; want killed, and why", r, err)
	}
}

// TestOthersChildren: commands that run beside a traced one are left to those
// who started them, whichever thread that was.
func TestOthersChildren(t *testing.T) {
	for range 4 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			for range 20 {
				if err := exec.Command("true").Run(); err != nil {
					t.Error(err)
				}
				quick := exec.Command("sleep", "0.01")
				if err := quick.Start(); err != nil {
					t.Fatal(err)
				}
				if r, err := Run(t.Context(), exec.Command("true"), At(1, Go)); err != nil || r.Code != 0 {
					t.Errorf("%+v, %v", r, err)
				}
				if err := quick.Wait(); err != nil {
					t.Errorf("wait: %v", err)
				}
			}
		})
	}
}
