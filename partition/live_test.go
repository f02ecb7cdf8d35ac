package partition

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// liveEnv has the test binary be the guard, or copy a device to its standard
// output: "guard", or "LIMIT PATH".
const liveEnv = "PARTITION_TEST_LIVE"

func live(v string) {
	err := error(nil)
	if v == "guard" {
		err = GuardFreeze()
	} else {
		limit, path, _ := strings.Cut(v, " ")
		var s Source
		if s, err = (Host{}).Source(path); err == nil {
			d, _ := time.ParseDuration(limit)
			_, err = s.Copy(context.Background(), os.Stdout, CopyOptions{Limit: d, Guard: guard()})
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func guard() *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), liveEnv+"=guard")
	return cmd
}

// mounted returns an ext4 of so many MiB on a loop device, and where it is
// mounted. It is thawed, whatever happened, before it is unmounted.
func mountedExt4(t *testing.T, size int64) (dev, dir string) {
	t.Helper()
	asRoot(t)
	image := file(t, "fs.img", nil)
	if err := os.Truncate(image, size<<20); err != nil {
		t.Fatal(err)
	}
	run(t, "mke2fs", "-q", "-F", "-t", "ext4", image)
	dev, dir = loop(t, image), t.TempDir()
	run(t, "mount", dev, dir)
	t.Cleanup(func() {
		if f, err := os.Open(dir); err == nil {
			if thaw(f) == nil {
				t.Error("it was still frozen at the end")
			}
			f.Close()
		}
		for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) { // a guard may be about to end
			err := unix.Unmount(dir, 0)
			if err == nil || time.Now().After(end) {
				if err != nil {
					t.Errorf("umount: %v", err)
				}
				return
			}
		}
	})
	return dev, dir
}

// isFrozen asks the kernel: what is frozen cannot be frozen again.
func isFrozen(t *testing.T, dir string) bool {
	t.Helper()
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	switch err := freeze(f); {
	case errors.Is(err, unix.EBUSY):
		return true
	case err != nil:
		t.Fatal(err)
	}
	if err := thaw(f); err != nil {
		t.Fatal(err)
	}
	return false
}

// eventually waits until a file system is frozen, or is not.
func eventually(t *testing.T, dir string, want bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); isFrozen(t, dir) != want; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("frozen is not %v, after 30 s", want)
		}
	}
}

// writeMuch creates, appends, renames and removes until stop is closed.
func writeMuch(dir string, stop chan struct{}) error {
	for i := 0; ; i++ {
		select {
		case <-stop:
			return nil
		default:
		}
		path := filepath.Join(dir, fmt.Sprint(i%200))
		err := os.WriteFile(path, bytes.Repeat([]byte{byte(i)}, 100+i%9000), 0o600)
		if err == nil && i%3 == 0 {
			err = os.Rename(path, path+"-renamed")
		}
		if err == nil && i%7 == 0 {
			err = os.RemoveAll(filepath.Join(dir, fmt.Sprintf("%d-renamed", (i+60)%200)))
		}
		if err == nil && i%5 == 0 {
			err = os.MkdirAll(filepath.Join(dir, fmt.Sprintf("d%d/e", i%50)), 0o700)
		}
		if err != nil {
			return err
		}
	}
}

// checked is the verdict of e2fsck on an image, changing nothing.
func checked(t *testing.T, image string) {
	t.Helper()
	if out, err := exec.Command("e2fsck", "-fn", image).CombinedOutput(); err != nil {
		t.Errorf("e2fsck: %v\n%s", err, out)
	}
}

// An image that is copied while somebody writes is that of one moment.
func TestCopyLive(t *testing.T) {
	dev, dir := mountedExt4(t, 48)
	s, err := Host{}.Source(dir)
	if err != nil || s.Path != dev || s.Size != 48<<20 {
		t.Fatalf("Source: %+v, %v", s, err)
	}
	if !s.Holds(filepath.Join(dir, "x")) || s.Holds(t.TempDir()) {
		t.Error("Holds does not tell the file system from another")
	}
	stop := make(chan struct{})
	var writers sync.WaitGroup
	writers.Go(func() {
		if err := writeMuch(dir, stop); err != nil {
			t.Error(err)
		}
	})
	for range 3 {
		time.Sleep(100 * time.Millisecond)
		image := filepath.Join(t.TempDir(), "copy.img")
		f, err := os.Create(image)
		if err != nil {
			t.Fatal(err)
		}
		var last, frozen int64
		doubt, err := s.Copy(t.Context(), f, CopyOptions{Limit: time.Minute, Guard: guard(), Progress: func(done, total int64) {
			if last = done; done < total && frozen == 0 && isFrozen(t, dir) {
				frozen = done
			}
		}})
		if err != nil || doubt != "" || last != s.Size || frozen == 0 {
			t.Errorf("got %q, %v, %d of %d bytes, frozen at %d", doubt, err, last, s.Size, frozen)
		}
		f.Close()
		checked(t, image)
	}
	close(stop)
	writers.Wait()
	if isFrozen(t, dir) {
		t.Error("it is frozen afterwards")
	}
}

// What is mounted read-only, or nowhere, is not frozen: no guard is needed.
func TestCopyAtRest(t *testing.T) {
	dev, dir := mountedExt4(t, 8)
	run(t, "mount", "-o", "remount,ro", dir)
	for _, path := range []string{dir, dev} {
		s, err := Host{}.Source(path)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if doubt, err := s.Copy(t.Context(), &b, CopyOptions{}); err != nil || doubt != "" || b.Len() != 8<<20 {
			t.Errorf("%s: %q, %v, %d bytes", path, doubt, err, b.Len())
		}
	}
	for path, want := range map[string]error{"/proc": ErrUnsupported, "/dev/shm": ErrUnsupported, filepath.Dir(dev): ErrUnsupported} {
		if _, err := (Host{}).Source(path); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", path, err, want)
		}
	}
}

// However a copy ends, the file system is thawed: here nobody reads what it
// writes, so that it never ends by itself.
func TestThawed(t *testing.T) {
	t.Run("cancelled", func(t *testing.T) {
		_, dir := mountedExt4(t, 8)
		ctx, cancel := context.WithCancelCause(t.Context())
		because := errors.New("somebody pressed a key")
		done := stuck(t, ctx, dir, time.Minute, guard())
		eventually(t, dir, true)
		cancel(because)
		if err := <-done.end; !errors.Is(err, because) || errors.Is(err, ErrThawed) {
			t.Errorf("got %v, want the cause", err)
		}
		eventually(t, dir, false)
	})
	t.Run("too long", func(t *testing.T) {
		_, dir := mountedExt4(t, 8)
		if err := <-stuck(t, t.Context(), dir, time.Second, guard()).end; !errors.Is(err, ErrThawed) {
			t.Errorf("got %v, want ErrThawed", err)
		}
		eventually(t, dir, false)
	})
	t.Run("the reader went away", func(t *testing.T) {
		_, dir := mountedExt4(t, 8)
		s, err := Host{}.Source(dir)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Copy(t.Context(), failing{}, CopyOptions{Limit: time.Minute, Guard: guard()}); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("got %v, want ErrClosedPipe", err)
		}
		eventually(t, dir, false)
	})
	t.Run("the guard is killed", func(t *testing.T) {
		_, dir := mountedExt4(t, 8)
		g := guard()
		done := stuck(t, t.Context(), dir, 10*time.Minute, g)
		<-done.began
		eventually(t, dir, true)
		if err := g.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-done.end:
			if !errors.Is(err, ErrThawed) {
				t.Errorf("got %v, want ErrThawed", err)
			}
		case <-time.After(30 * time.Second):
			t.Error("it goes on without its guard")
		}
		eventually(t, dir, false)
	})
	t.Run("no guard", func(t *testing.T) {
		_, dir := mountedExt4(t, 8)
		for _, g := range []*exec.Cmd{exec.Command("/nonexistent"), exec.Command("/bin/true"), exec.Command("/bin/false")} {
			if err := <-stuck(t, t.Context(), dir, time.Minute, g).end; err == nil {
				t.Errorf("%s: no error", g.Path)
			}
			eventually(t, dir, false)
		}
	})
	t.Run("frozen by another", func(t *testing.T) {
		_, dir := mountedExt4(t, 8)
		f, err := os.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := freeze(f); err != nil {
			t.Fatal(err)
		}
		if err := <-stuck(t, t.Context(), dir, time.Minute, guard()).end; !errors.Is(err, ErrInUse) {
			t.Errorf("got %v, want ErrInUse", err)
		}
		if err := thaw(f); err != nil {
			t.Errorf("what another froze was thawed: %v", err)
		}
	})
}

// failing is a pipe that nobody reads.
type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// A stuckCopy is one whose reader takes nothing.
type stuckCopy struct {
	began chan struct{} // closed when the first bytes are there: it is frozen
	end   chan error
}

// stuck copies to somebody who takes nothing until the test ends.
func stuck(t *testing.T, ctx context.Context, dir string, limit time.Duration, g *exec.Cmd) stuckCopy {
	t.Helper()
	s, err := Host{}.Source(dir)
	if err != nil {
		t.Fatal(err)
	}
	c := stuckCopy{make(chan struct{}), make(chan error, 1)}
	over := make(chan struct{})
	t.Cleanup(func() { close(over) })
	go func() {
		_, err := s.Copy(ctx, writer(func() { close(c.began); <-over }), CopyOptions{Limit: limit, Guard: g})
		c.end <- err
	}()
	return c
}

// A writer calls itself, and then fails.
type writer func()

func (w writer) Write([]byte) (int, error) { w(); return 0, io.ErrClosedPipe }

// TestKilledWhileFrozen kills, or stops, the process that froze: the guard thaws.
func TestKilledWhileFrozen(t *testing.T) {
	for name, c := range map[string]struct {
		limit  string
		signal unix.Signal
	}{
		"killed":  {"10m", unix.SIGKILL},
		"stopped": {"1s", unix.SIGSTOP}, // it cannot thaw; the guard's limit passes
		"quit":    {"10m", unix.SIGTERM},
	} {
		t.Run(name, func(t *testing.T) {
			_, dir := mountedExt4(t, 8)
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			cmd := exec.Command("/proc/self/exe")
			cmd.Env = append(os.Environ(), liveEnv+"="+c.limit+" "+dir)
			cmd.Stdout, cmd.Stderr = w, os.Stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			w.Close()
			defer cmd.Wait()
			defer cmd.Process.Kill()
			if _, err := io.ReadFull(r, make([]byte, 1<<20)); err != nil { // and no more
				t.Fatal(err)
			}
			if name != "stopped" {
				eventually(t, dir, true)
			}
			if err := cmd.Process.Signal(c.signal); err != nil {
				t.Fatal(err)
			}
			eventually(t, dir, false)
		})
	}
}

// What somebody uses where it cannot be seen from here, in another mount
// namespace, is copied all the same, and the doubt is told.
func TestCopyWithDoubt(t *testing.T) {
	dev, dir := mountedExt4(t, 8)
	run(t, "umount", dir)
	defer run(t, "mount", dev, dir) // for the end of mountedExt4
	hidden := exec.Command("unshare", "-m", "sh", "-c", `mount "$0" "$1" && echo mounted && exec cat`, dev, dir)
	stdin, err := hidden.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := hidden.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := hidden.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(stdout, make([]byte, len("mounted"))); err != nil {
		t.Fatal(err)
	}
	s, err := Host{}.Source(dev)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if doubt, err := s.Copy(t.Context(), &b, CopyOptions{}); err != nil || !strings.Contains(doubt, "somebody uses it") || b.Len() != 8<<20 {
		t.Errorf("got %q, %v, %d bytes", doubt, err, b.Len())
	}
	stdin.Close()
	if err := hidden.Wait(); err != nil {
		t.Error(err)
	}
}

// What is mounted from a mapping of the source is what is to be frozen; a file
// system on a loop device whose file lies there is not.
func TestAbove(t *testing.T) {
	sys := t.TempDir()
	for path, content := range map[string]string{
		"sda2/dev": "8:2", "dm-0/dev": "253:0", "dm-0/slaves/sda2/dev": "8:2", "dm-1/dev": "253:1", "dm-1/slaves/dm-0/dev": "253:0", "loop0/dev": "7:0",
	} {
		path = filepath.Join(sys, "devices", path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content+"\n"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(filepath.Join(sys, "dev/block"), 0o755))
	for dev, name := range map[string]string{"8:2": "sda2", "253:0": "dm-0", "253:1": "dm-1", "7:0": "loop0"} {
		must(os.Symlink("../../devices/"+name, filepath.Join(sys, "dev/block", dev)))
	}
	s := Source{dev: devnum{8, 2}, host: Host{Sys: sys}}
	for _, c := range []struct {
		on   devnum
		want bool
	}{{devnum{8, 2}, true}, {devnum{253, 0}, true}, {devnum{253, 1}, true}, {devnum{7, 0}, false}, {devnum{8, 1}, false}, {devnum{0, 33}, false}} {
		if _, ok := s.above(Mount{dev: c.on, Source: "none"}); ok != c.want {
			t.Errorf("%v: got %v", c.on, ok)
		}
	}
}
