package machine

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

func hostCommand(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	path, err := tool(name)
	if err != nil {
		t.Fatal(err)
	}
	return exec.CommandContext(t.Context(), path, args...)
}

func fetch(t *testing.T) *Debian {
	t.Helper()
	d, err := Fetch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// start switches a machine on; it is cut at the end of the test.
func start(t *testing.T, d *Debian, c Config) *Machine {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), "console"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	c.Log = log
	m, err := d.Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Cut)
	return m
}

func expect(t *testing.T, m *Machine, pattern string) string {
	t.Helper()
	began := time.Now()
	met, err := m.Expect(t.Context(), pattern)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%5.1f s: %s %s", time.Since(began).Seconds(), pattern, met)
	return met
}

func command(t *testing.T, m *Machine, line, want string) {
	t.Helper()
	out, code, err := m.Run(t.Context(), line)
	if err != nil {
		t.Fatal(err)
	}
	if code != 0 || want != "" && out != want {
		t.Errorf("%s: got %q, exit %d; want %q", line, out, code, want)
	}
	t.Logf("%s: %q", line, out)
}

func TestVirt(t *testing.T) {
	d := fetch(t)
	script := fmt.Sprintf(bootScript, "ttyAMA0", "PARTUUID=${uuid}", "none")
	disk := makeDisk(t, d, "gpt", Guest{Version: "v1"}, script)
	m := start(t, d, Config{Disks: []Disk{{Path: disk}}, Watchdog: true, USB: true})
	expect(t, m, Banner)
	expect(t, m, Initramfs)
	expect(t, m, Init)
	expect(t, m, Ready)
	command(t, m, "uname -r", d.KernelRelease()+"\n")
	command(t, m, "cat /proc/cmdline; mount; lsmod; cat /sys/class/watchdog/*/state; df; ls -la /boot /boot/firmware; ps", "")
}
