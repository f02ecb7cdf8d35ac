package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"
)

// plimsoll is the command as a process of its own.
func plimsoll(args ...string) *exec.Cmd {
	c := exec.Command("/proc/self/exe", args...)
	c.Args[0] = "plimsoll"
	return c
}

func runPlimsoll(t testing.TB, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	c := plimsoll(args...)
	c.Stdout, c.Stderr = &stdout, &stderr
	err := runProcess(c)
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{c.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// mountedExt4 returns a file system on a loop device, mounted, with a file on it.
func mountedExt4(t *testing.T) (dev, dir string) {
	t.Helper()
	image := filepath.Join(t.TempDir(), "fs.img")
	sparse(t, image, 8*machineMiB, 0)
	peer(t, "mkfs.ext4", "-q", "-F", image)
	dev, dir = loop(t, image), t.TempDir()
	must(t, unix.Mount(dev, dir, "ext4", 0, ""))
	t.Cleanup(func() {
		err := unix.EBUSY // a guard may be about to end
		for end := time.Now().Add(30 * time.Second); err == unix.EBUSY && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			err, _ = unix.Unmount(dir, 0).(unix.Errno)
		}
		if err != 0 {
			t.Errorf("umount: %v", err)
		}
	})
	writeFile(t, filepath.Join(dir, "hello"), "hello")
	return dev, dir
}

// holdsHello complains unless an image is whole and has the file.
func holdsHello(t *testing.T, image string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "copy.img")
	writeFile(t, path, image)
	peer(t, "e2fsck", "-fn", path)
	if got := peer(t, "debugfs", "-R", "cat /hello", path); got != "hello" {
		t.Errorf("in the image is %q", got)
	}
}

func TestSnapshot(t *testing.T) {
	t.Parallel()
	if !asRoot(t) {
		return
	}
	dev, dir := mountedExt4(t)
	for _, source := range []string{dir, filepath.Join(dir, "hello"), dev} {
		r := runPlimsoll(t, "snapshot", "dump", "--source", source).want(t, 0, "copy "+dev, "100 %")
		holdsHello(t, r.stdout)
	}
	r := runPlimsoll(t, "snapshot", "--source", dir, "--quiet", "-C", "gzip").want(t, 0)
	z, err := gzip.NewReader(strings.NewReader(r.stdout))
	must(t, err)
	b, err := io.ReadAll(z)
	must(t, err)
	holdsHello(t, string(b))
	if r.stderr != "" {
		t.Errorf("quiet says %q", r.stderr)
	}
	r = runPlimsoll(t, "snapshot", "--source", dir, "--compression", "zstd").want(t, 0)
	d, err := zstd.NewReader(strings.NewReader(r.stdout))
	must(t, err)
	defer d.Close()
	b, err = io.ReadAll(d)
	must(t, err)
	holdsHello(t, string(b))

	runPlimsoll(t, "snapshot", "--source", "/proc").want(t, 5, "no block device")
	runPlimsoll(t, "snapshot", "--source", filepath.Join(dir, "none")).want(t, 1, "no such file")
	for _, wrong := range [][]string{{"all"}, {"dump", "dump"}, {"--compression", "lzma"}, {"--freeze-limit", "0s"}, {"--json"}} {
		if r := runPlimsoll(t, append([]string{"snapshot", "--source", dir}, wrong...)...); r.code != exitUsage || wrong[0] != "--json" && r.stdout != "" {
			t.Errorf("%q: %+v", wrong, r)
		}
	}
}

// An image is not for a terminal, and not for the file system that is frozen.
func TestSnapshotOutput(t *testing.T) {
	t.Parallel()
	if !asRoot(t) {
		return
	}
	_, dir := mountedExt4(t)
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	must(t, err)
	defer terminal.Close()
	onto, err := os.Create(filepath.Join(dir, "image"))
	must(t, err)
	defer onto.Close()
	for _, c := range []struct {
		out  *os.File
		code int
		says string
	}{{terminal, exitUsage, "a terminal"}, {onto, exitFailed, "would wait for ever"}} {
		var stderr bytes.Buffer
		p := plimsoll("snapshot", "--source", dir)
		p.Stdout, p.Stderr = c.out, &stderr
		runProcess(p) // its code is looked at
		result{p.ProcessState.ExitCode(), "", stderr.String()}.want(t, c.code, c.says)
	}
	// A log there is silent, and not waited for.
	log, err := os.Create(filepath.Join(dir, "log"))
	must(t, err)
	defer log.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	p := exec.CommandContext(ctx, "/proc/self/exe", "snapshot", "--source", dir)
	p.Args[0] = "plimsoll"
	p.Stderr = log
	must(t, runProcess(p))
}

// TestSnapshotKilled kills the command while it has the file system frozen. It
// is thawed then, and can be written to.
func TestSnapshotKilled(t *testing.T) {
	t.Parallel()
	if !asRoot(t) {
		return
	}
	_, dir := mountedExt4(t)
	for _, signal := range []os.Signal{unix.SIGKILL, unix.SIGTERM, unix.SIGPIPE} {
		r, w, err := os.Pipe()
		must(t, err)
		var stderr bytes.Buffer
		c := plimsoll("snapshot", "--source", dir)
		c.Stdout, c.Stderr = w, &stderr
		forks.Lock()
		err = c.Start()
		forks.Unlock()
		must(t, err)
		must(t, w.Close())
		if _, err := io.ReadFull(r, make([]byte, machineMiB)); err != nil { // and no more: it is frozen now
			t.Fatalf("%v\n%s", err, &stderr)
		}
		wrote := make(chan error, 1)
		go func() { wrote <- os.WriteFile(filepath.Join(dir, "later"), []byte(signal.String()), 0o600) }()
		select {
		case err := <-wrote:
			t.Errorf("not frozen: %v", err)
		case <-time.After(200 * time.Millisecond):
		}
		if signal == unix.SIGPIPE {
			must(t, r.Close())
		} else {
			must(t, c.Process.Signal(signal))
		}
		select {
		case err := <-wrote:
			must(t, err)
		case <-time.After(30 * time.Second):
			t.Fatalf("%v: frozen after 30 s", signal)
		}
		c.Wait() // its code is looked at
		r.Close()
		want := map[os.Signal]int{unix.SIGKILL: -1, unix.SIGTERM: exitInterrupted, unix.SIGPIPE: exitFailed}[signal]
		if got := c.ProcessState.ExitCode(); got != want {
			t.Errorf("%v: exit %d, want %d\n%s", signal, got, want, &stderr)
		}
	}
}

// The running slot is what is copied by default, frozen if it is mounted for
// writing.
func TestSnapshotOfDevice(t *testing.T) {
	t.Parallel()
	if !asRoot(t) {
		return
	}
	m, _ := newMachine(t)
	for _, m.rw = range []bool{false, true} {
		r := m.run("", "snapshot").want(t, 0, "copy /dev/"+m.name+"p2")
		path := filepath.Join(t.TempDir(), "copy.img")
		writeFile(t, path, r.stdout)
		peer(t, "e2fsck", "-fn", path)
		if got := peer(t, "debugfs", "-R", "cat /etc/release", path); got != "A" {
			t.Errorf("in the image is %q", got)
		}
	}
	m.run("", "--config", "/etc/plimsoll/none.toml", "snapshot").want(t, 5, "none.toml")
	m.run("", "--config", "/etc/plimsoll/bench.toml", "snapshot").want(t, 5)
}
