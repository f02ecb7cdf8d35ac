package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plimsoll-ota/plimsoll/bootloader"
	"github.com/plimsoll-ota/plimsoll/bootloader/board"
	"github.com/plimsoll-ota/plimsoll/partition/image"
)

// needsImages skips a test where the programs that make file systems are not installed.
func needsImages(t *testing.T) {
	t.Helper()
	for _, p := range []string{"mke2fs", "debugfs", "mkfs.fat", "mcopy", "fakeroot"} {
		if _, err := exec.LookPath(p); err != nil {
			if _, err := os.Stat("/usr/sbin/" + p); err != nil {
				t.Skipf("%s is not installed", p)
			}
		}
	}
}

// smallRoot is a root file system that nothing would boot.
func smallRoot(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "etc/hostname"), picture(300000, 3), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// What is built for each board is a device that plimsoll understands: its
// configuration, and its first environment.
func TestImageOfEveryBoard(t *testing.T) {
	t.Parallel()
	needsImages(t)
	root := smallRoot(t)
	for _, name := range board.Names() {
		p, err := board.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		disk, slot, toml := filepath.Join(dir, "disk.img"), filepath.Join(dir, "slot.ext4"), filepath.Join(dir, "plimsoll.toml")
		call(nil, "image", "build", "--board", name, "--rootfs", root, "-o", disk, "--slot-image", slot,
			"--slot-size", "32MiB", "--data-size", "16MiB", "--allow-missing-firmware").want(t, exitDone)
		for from, to := range map[string]string{rootConfig: toml, rootFwEnv: filepath.Join(dir, "fw_env.config")} {
			b, err := image.ReadFile(t.Context(), slot, from)
			if err != nil {
				t.Fatal(err)
			}
			// On the device the environment is on the disk; here the disk is a file.
			b = bytes.ReplaceAll(b, []byte(p.Disk.Linux+" "), []byte(disk+" "))
			if err := os.WriteFile(to, b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		c, err := parseConfig(toml)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if c.DeviceType != p.DeviceType || c.Bootloader.Counter != p.Environment.Counter || c.Slots.A != "2" || c.Slots.B != "3" {
			t.Errorf("%s: got %+v", name, c)
		}
		firstState(t, c, p, dir)
	}
}

// firstState looks at the environment of a device that has never updated.
func firstState(t *testing.T, c *config, p *board.Profile, dir string) {
	t.Helper()
	c.Bootloader.FwEnvConfig, c.Bootloader.Lock = filepath.Join(dir, "fw_env.config"), filepath.Join(dir, "lock")
	u, err := c.bootloader()
	if err != nil {
		t.Fatalf("%s: %v", p.Name, err)
	}
	s, err := u.State()
	switch {
	case p.Boot.Method == board.MethodNative:
		if !errors.Is(err, bootloader.ErrNoCopy) {
			t.Errorf("%s: got %+v, %v; want an environment that is not there yet", p.Name, s, err)
		}
	case err != nil || s.Part != 2 || s.Trial || s.Valid != 2:
		t.Errorf("%s: got %+v, %v", p.Name, s, err)
	}
	if p.Boot.Method == board.MethodNative {
		return
	}
	out, err := exec.Command("fw_printenv", "-c", c.Bootloader.FwEnvConfig).CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		return
	}
	if part, _, _ := bootloader.PartVariables(); err != nil || !strings.Contains(string(out), part+"=2\n") {
		t.Errorf("%s: fw_printenv: %v: %s", p.Name, err, out)
	}
}

// Interrupted, nothing is left.
func TestImageInterrupted(t *testing.T) {
	t.Parallel()
	needsImages(t)
	dir := t.TempDir()
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(errors.New("interrupted by a test"))
	callIn(ctx, &env{}, "image", "build", "--board", "qemu-arm64", "--rootfs", smallRoot(t), "-o", filepath.Join(dir, "disk.img")).
		want(t, exitInterrupted, "interrupted by a test")
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}
