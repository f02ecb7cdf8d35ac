package machine

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// hostCommand returns a command of the host that a test runs.
func hostCommand(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	path, err := tool(name)
	if err != nil {
		t.Fatal(err)
	}
	return exec.CommandContext(t.Context(), path, args...)
}

func TestMissingToolNamesItsPackage(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	_, err := Fetch(t.Context())
	if !errors.Is(err, exec.ErrNotFound) || !strings.Contains(err.Error(), "Debian package dpkg") {
		t.Errorf("got %v, want the name of a package", err)
	}
	if _, err := new(Debian).Start(t.Context(), Config{Disks: []Disk{{}}}); err == nil || !strings.Contains(err.Error(), "qemu-system-arm") {
		t.Errorf("got %v, want the name of QEMU's package", err)
	}
}

func TestCached(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	var filled atomic.Int32
	fill := func(dir string) error {
		filled.Add(1)
		time.Sleep(50 * time.Millisecond)
		return os.WriteFile(filepath.Join(dir, "file"), []byte("whole"), 0o644)
	}
	broken := errors.New("broken")
	_, err := cached(t.Context(), "x", func(dir string) error { return errors.Join(fill(dir), broken) })
	if !errors.Is(err, broken) {
		t.Fatalf("got %v, want the error", err)
	}
	filled.Store(0)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			dir, err := cached(t.Context(), "x", fill)
			if err != nil {
				t.Error(err)
			}
			if b, err := os.ReadFile(filepath.Join(dir, "file")); err != nil || string(b) != "whole" {
				t.Errorf("got %q, %v; want what was filled", b, err)
			}
		})
	}
	all.Wait()
	if filled.Load() != 1 {
		t.Errorf("filled %d times, want once", filled.Load())
	}
}

func TestLockIsWaitedFor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := lock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := lock(ctx, path); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the deadline", err)
	}
	unlock()
	if unlock, err = lock(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	unlock()
}

func TestModules(t *testing.T) {
	tree := parseModules("kernel/fs/ext4/ext4.ko: kernel/fs/jbd2/jbd2.ko kernel/lib/crc16.ko\n" +
		"kernel/fs/jbd2/jbd2.ko:\nkernel/lib/crc16.ko:\nkernel/drivers/usb-storage.ko: kernel/lib/crc16.ko\nkernel/x.ko.xz:\n")
	got, err := tree.closure("ext4", "usb_storage")
	want := []string{"kernel/lib/crc16.ko", "kernel/fs/jbd2/jbd2.ko", "kernel/fs/ext4/ext4.ko", "kernel/drivers/usb-storage.ko"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
	if _, err := tree.closure("nonesuch"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want that it does not exist", err)
	}
	if _, err := tree.closure("x"); err == nil {
		t.Error("a compressed module is no error, and busybox cannot load it")
	}
}

func TestApplets(t *testing.T) {
	var names []string
	for c := 'a'; c <= 'z'; c++ {
		for d := 'a'; d < 'f'; d++ {
			names = append(names, string([]rune{c, d}))
		}
	}
	program := "code\x00[\x00[[\x00busybox\x00" + strings.Join(names, "\x00") + "\x00\x00more\x00"
	got, err := applets([]byte(program))
	if want := append([]string{"[", "[["}, names...); err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
	for _, bad := range []string{"", "\x00[\x00[[\x00short\x00\x00"} {
		if _, err := applets([]byte(bad)); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

func TestDiskNodes(t *testing.T) {
	group, top := Disk{Path: "/a,b", WriteLog: "/log", Rate: 1000}.nodes("disk0")
	const wantGroup = `{"limits":{"bps-total":1000},"qom-type":"throttle-group","id":"disk0-rate"}`
	if len(group.json()) != len(wantGroup) {
		t.Errorf("got %s, want %s", group.json(), wantGroup)
	}
	if group, _ := (Disk{WriteRate: 10}).nodes("disk0"); !strings.Contains(group.json(), `"limits":{"bps-write":10}`) {
		t.Errorf("a limit of writing alone: got %s", group.json())
	}
	const want = "driver=throttle," +
		"file.driver=blklogwrites,file.file.driver=raw,file.file.file.cache.direct=off,file.file.file.cache.no-flush=on," +
		"file.file.file.discard=unmap,file.file.file.driver=file,file.file.file.filename=/a,,b,file.file.file.read-only=off,file.file.read-only=off," +
		"file.log.cache.direct=off,file.log.cache.no-flush=on,file.log.driver=file,file.log.filename=/log,file.log-sector-size=512,file.log-super-update-interval=1," +
		"node-name=disk0,read-only=off,throttle-group=disk0-rate"
	if got := top.dotted(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
