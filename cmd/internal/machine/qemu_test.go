//go:build machine

package machine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// These tests need QEMU and the packages of the host that disk_test.go names,
// and apt's sources at the first run.

func fetch(t *testing.T) *Debian {
	t.Helper()
	d, err := Fetch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// A bench is a machine under test.
type bench struct {
	*Machine
	t     *testing.T
	began time.Time
}

// start switches a machine on; it is cut at the end of the test.
func start(t *testing.T, d *Debian, c Config) bench {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), "console"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	c.Log = log
	began := time.Now()
	m, err := d.Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Cut)
	return bench{m, t, began}
}

// expect waits for each of the patterns and returns what the last one met.
func (b bench) expect(patterns ...string) (met string) {
	b.t.Helper()
	for _, p := range patterns {
		var err error
		if met, err = b.Expect(b.t.Context(), p); err != nil {
			b.t.Fatal(err)
		}
		b.t.Logf("%5.1f s: %s: %s", time.Since(b.began).Seconds(), p, met)
	}
	return met
}

func (b bench) run(command string) string {
	b.t.Helper()
	began := time.Now()
	out, code, err := b.Run(b.t.Context(), command)
	if err != nil {
		b.t.Fatal(err)
	}
	if code != 0 {
		b.t.Errorf("%s: exit code %d: %s", command, code, out)
	}
	b.t.Logf("        %s: %q after %v", command, out, time.Since(began).Round(time.Millisecond))
	return strings.TrimSpace(out)
}

// appears waits in the guest for a device, or for its absence.
func (b bench) appears(device string, want bool) {
	b.t.Helper()
	test := map[bool]string{true: "-e", false: "! -e"}[want]
	b.run(fmt.Sprintf("n=0; until [ %s %s ] || [ $n = 200 ]; do usleep 50000; n=$((n+1)); done; [ %s %s ]", test, device, test, device))
}

func virtScript() string { return fmt.Sprintf(bootScript, "ttyAMA0") }

func TestVirt(t *testing.T) {
	d := fetch(t)
	disk := makeDisk(t, d, "gpt", Guest{
		Version: "v1",
		Files: map[string]File{
			"/etc/guest-hook":   {Data: []byte("echo HOOK in process $$\n")},
			"/usr/bin/plimsoll": {Data: []byte("#!/bin/sh\necho called with $*\nexit 2\n"), Mode: 0o755},
		},
	}, virtScript())
	config := Config{Disks: []Disk{{Path: disk}}, Watchdog: true, USB: true, Clock: time.Date(2031, 2, 3, 4, 5, 6, 0, time.UTC)}
	m := start(t, d, config)
	m.expect(Banner, Initramfs, Init, "^HOOK in process 1$", "^called with resume$", Resumed, Ready)
	if got := m.run("uname -r"); got != d.KernelRelease() {
		t.Errorf("kernel: got %s, want %s", got, d.KernelRelease())
	}
	if got := m.run("date -u +%Y-%m-%d"); got != "2031-02-03" {
		t.Errorf("date: got %s, want that of the real-time clock", got)
	}
	m.run("df | grep -q /data && df | grep -q /boot/firmware && cat /sys/class/watchdog/watchdog0/state")
	_, code, err := m.Run(t.Context(), "if nonsense; do")
	if err != nil || code != 2 {
		t.Errorf("a syntax error: got exit code %d, %v; want 2", code, err)
	}

	t.Log("a stick")
	stick, err := m.Plug(t.Context(), Disk{Path: makeStick(t), ReadOnly: true, Rate: 10 << 20})
	if err != nil {
		t.Fatal(err)
	}
	m.appears("/dev/sda1", true)
	if got := m.run("mount -t vfat -o ro /dev/sda1 /mnt && cat /mnt/hello.txt && umount /mnt"); got != "hello" {
		t.Errorf("the stick's file: got %q, want hello", got)
	}
	if err := stick.Unplug(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.appears("/dev/sda", false)

	t.Log("reboot in order")
	m.run("echo kept > /data/file")
	m.began = time.Now()
	if err := m.Send("reboot"); err != nil {
		t.Fatal(err)
	}
	m.expect(Banner, Ready)

	t.Log("power cut")
	m.run("cat /data/file; echo synced > /data/file; sync")
	m.Cut()
	if _, err := m.Expect(t.Context(), Ready); !errors.Is(err, ErrCut) {
		t.Errorf("expect after a cut: got %v, want ErrCut", err)
	}
	if err := m.WaitExit(t.Context()); !errors.Is(err, ErrCut) {
		t.Errorf("wait after a cut: got %v, want ErrCut", err)
	}
	m = start(t, d, config)
	m.expect(Ready)
	if got := m.run("cat /data/file"); got != "synced" {
		t.Errorf("after the cut: got %q, want synced", got)
	}

	t.Log("poweroff")
	if err := m.Send("poweroff"); err != nil {
		t.Fatal(err)
	}
	if err := m.WaitExit(t.Context()); err != nil {
		t.Error(err)
	}
}

// makeStick makes a stick with a partition and a file.
func makeStick(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(in("hello.txt"), []byte("hello\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	host(t, "mkfs.vfat", "-C", in("1"), fmt.Sprint(7<<10))
	host(t, "mcopy", "-i", in("1"), in("hello.txt"), "::")
	return assemble(t, in("stick"), "dos", 8, []part{{1, 7, in("1")}})
}

// Each broken guest comes back to U-Boot by itself, which is what a rollback
// needs.
func TestFaults(t *testing.T) {
	d := fetch(t)
	for _, test := range []struct {
		name  string
		fault Fault
		signs []string
	}{
		{"kernel missing", KernelMissing, []string{"File not found /boot/Image"}},
		{"kernel corrupt", KernelCorrupt, []string{"Bad Linux ARM64 Image magic"}},
		{"init missing", InitMissing, []string{Initramfs, Panic}},
		{"init exits", InitExits, []string{Initramfs, "^GUEST-INIT exits", Panic}},
		{"init hangs", InitHangs, []string{Initramfs, "^GUEST-INIT hangs"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			disk := makeDisk(t, d, "dos", Guest{Version: test.name, Fault: test.fault}, virtScript())
			m := start(t, d, Config{Disks: []Disk{{Path: disk}}, Watchdog: true})
			m.expect(append(append([]string{Banner}, test.signs...), Banner)...)
		})
	}
}

// A system that stops feeding the watchdog later on is reset as well, and one
// whose root file system is not there.
func TestLateFaults(t *testing.T) {
	d := fetch(t)
	disk := makeDisk(t, d, "dos", Guest{Version: "v1"}, virtScript())
	m := start(t, d, Config{Disks: []Disk{{Path: disk}}, Watchdog: true})
	m.expect(Ready)
	time.Sleep(12 * time.Second) // longer than the watchdog waits
	m.began = time.Now()
	if err := m.Send("echo 0 > /proc/sys/kernel/panic; echo c > /proc/sysrq-trigger"); err != nil {
		t.Fatal(err)
	}
	m.expect(Panic, Banner, Ready) // by the watchdog: panic=0 waits for ever

	script := strings.ReplaceAll(virtScript(), "root=PARTUUID=${uuid}", "root=PARTUUID=01234567-09")
	disk = makeDisk(t, d, "dos", Guest{Version: "v1"}, script)
	m.Cut()
	m = start(t, d, Config{Disks: []Disk{{Path: disk}}})
	m.expect(Initramfs, "^GUEST-INITRAMFS cannot mount root=PARTUUID=01234567-09$", Banner)
}

// U-Boot takes our variables, and with them starts without waiting for a key,
// which it does for two seconds.
func TestUBootEnvironment(t *testing.T) {
	d := fetch(t)
	disk := makeDisk(t, d, "gpt", Guest{Version: "v1"}, virtScript())
	waits := func(set map[string]string) bool {
		m := start(t, d, Config{Disks: []Disk{{Path: disk}}, UBoot: set})
		m.expect(Initramfs)
		defer m.Cut()
		return strings.Contains(m.Log(), "Hit any key to stop autoboot:  2")
	}
	if ours, debians := waits(nil), waits(map[string]string{}); ours || !debians {
		t.Errorf("waits for a key: %v with the flash, %v without", ours, debians)
	}

	m := start(t, d, Config{Disks: []Disk{{Path: disk}}, UBoot: map[string]string{"bootdelay": "-1", "answer": "42"}})
	m.expect("^=> ")
	if err := m.Send("printenv answer boot_targets bootdelay"); err != nil {
		t.Fatal(err)
	}
	m.expect("^answer=42\nboot_targets=virtio0\nbootdelay=-1$")
	if strings.Contains(m.Log(), "bad CRC") {
		t.Error("U-Boot did not take the flash's environment")
	}
}

// The log holds all that the guest wrote. And this tree's plimsoll runs in it.
func TestWriteLog(t *testing.T) {
	d := fetch(t)
	plimsoll, err := Command(t.Context(), "arm64")
	if err != nil {
		t.Fatal(err)
	}
	disk := makeDisk(t, d, "gpt", Guest{Version: "v1", Plimsoll: plimsoll}, virtScript())
	before, err := os.ReadFile(disk)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "log")
	m := start(t, d, Config{Disks: []Disk{{Path: disk, WriteLog: path}}})
	m.expect(Resumed, Ready)
	m.run("plimsoll --help > /dev/null")
	m.run("dd if=/dev/urandom of=/data/file bs=1k count=900; sync")
	m.Cut()

	log, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	writes, err := ReadLog(log)
	if err != nil {
		t.Fatal(err)
	}
	flushes := 0
	var size int64
	for _, w := range writes {
		if w.Flush {
			flushes++
		}
		if !w.Discard {
			size += w.Size
		}
		b, err := w.Data()
		if err != nil {
			t.Fatal(err)
		}
		copy(before[w.Offset:], b)
	}
	t.Logf("%d writes of %d bytes, %d flushes", len(writes), size, flushes)
	after, err := os.ReadFile(disk)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(before, after) {
		t.Error("the log, applied to what the disk was, is not what the disk is")
	}
	if size < 900<<10 || flushes == 0 {
		t.Error("the log lacks what was written")
	}
}

func TestPi3(t *testing.T) {
	d := fetch(t)
	disk := makeDisk(t, d, "dos", Guest{Version: "v1"}, fmt.Sprintf(bootScript, "ttyS1,115200"))
	m := start(t, d, Config{Board: Pi3, Disks: []Disk{{Path: disk}}})
	m.expect(Banner, Initramfs, Init, Ready)
	m.run("cat /proc/device-tree/model; df")
	stick, err := m.Plug(t.Context(), Disk{Path: makeStick(t)})
	if err != nil {
		t.Fatal(err)
	}
	m.appears("/dev/sda1", true)
	if err := stick.Unplug(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.appears("/dev/sda", false)
	m.began = time.Now()
	if err := m.Send("reboot"); err != nil {
		t.Fatal(err)
	}
	m.expect(Banner)
}

// Whoever waits is told at once what QEMU died of.
func TestQEMUDies(t *testing.T) {
	d := fetch(t)
	disk := filepath.Join(t.TempDir(), "disk")
	if err := errors.Join(os.WriteFile(disk, nil, 0o644), os.Truncate(disk, 1<<20)); err != nil {
		t.Fatal(err)
	}
	_, err := d.Start(t.Context(), Config{Disks: []Disk{{Path: disk}}, Args: []string{"-device", "nonesuch"}})
	if err == nil || !strings.Contains(err.Error(), "'nonesuch' is not a valid device") {
		t.Errorf("a bad argument: got %v, want what QEMU said", err)
	}
	_, err = d.Start(t.Context(), Config{Board: Pi3, Disks: []Disk{{Path: disk + "x"}}})
	if err == nil || !strings.Contains(err.Error(), "No such file") {
		t.Errorf("a disk that is not there: got %v, want what QEMU said", err)
	}
	m := start(t, d, Config{Disks: []Disk{{Path: disk}}})
	began := time.Now()
	time.AfterFunc(100*time.Millisecond, func() { m.process.Signal(os.Interrupt) })
	if _, err := m.Expect(t.Context(), "never"); err == nil || !strings.Contains(err.Error(), "signal") || time.Since(began) > 5*time.Second {
		t.Errorf("QEMU was ended by a signal: got %v after %v", err, time.Since(began))
	}
	ctx, cancel := context.WithCancel(t.Context())
	if m.Machine, err = d.Start(ctx, Config{Disks: []Disk{{Path: disk}}}); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := m.WaitExit(t.Context()); !errors.Is(err, ErrCut) {
		t.Errorf("the context ended: got %v, want ErrCut", err)
	}
}

// QEMU does not outlive a test that was killed.
func TestNothingIsLeft(t *testing.T) {
	const asked = "MACHINE_TEST_DISK"
	if disk := os.Getenv(asked); disk != "" {
		m := start(t, fetch(t), Config{Disks: []Disk{{Path: disk}}})
		fmt.Println("pid", m.process.Pid)
		select {}
	}
	disk := filepath.Join(t.TempDir(), "disk")
	if err := errors.Join(os.WriteFile(disk, nil, 0o644), os.Truncate(disk, 1<<20)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestNothingIsLeft$")
	cmd.Env = append(os.Environ(), asked+"="+disk)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Fscanf(out, "pid %d", &pid); err != nil {
		t.Fatal(err)
	}
	cmd.Process.Kill()
	cmd.Wait()
	for range 50 {
		if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err != nil || strings.Contains(string(b), ") Z ") {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Errorf("QEMU, process %d, outlived the test by five seconds", pid)
}
