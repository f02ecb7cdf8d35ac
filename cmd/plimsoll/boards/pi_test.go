package boards

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/plimsoll-ota/plimsoll/bootloader"
	profile "github.com/plimsoll-ota/plimsoll/bootloader/board"
	"github.com/plimsoll-ota/plimsoll/cmd/internal/machine"
)

// newPi returns an emulated Raspberry Pi 3. QEMU takes a card only if its size
// is a power of two, and starts U-Boot by itself: the firmware is not to be had.
func newPi(t *testing.T, first release) *board {
	t.Helper()
	t.Parallel()
	w := workshopOf(t)
	k := kind{
		board:    "raspberrypi3",
		args:     []string{"--allow-missing-firmware", "--size", "512MiB", "--slot-size", "64MiB"},
		firmware: filepath.Dir(w.debian.File("u-boot-rpi", "usr/lib/u-boot/rpi_3/u-boot.bin")),
	}
	b := &board{T: t, workshop: w, kind: k, disk: filepath.Join(t.TempDir(), "disk.img")}
	copySparse(t, filepath.Join(w.built(t, k, first), "disk.img"), b.disk)
	b.config = machine.Config{
		Board: machine.Pi3, Disks: []machine.Disk{{Path: b.disk}},
		Args: []string{"-append", "firmware.says=hello"}, // what the firmware would put into the device tree
	}
	return b
}

// TestPi takes a Raspberry Pi 3 through what can happen to it, in one story: a
// start takes half a minute.
func TestPi(t *testing.T) {
	broken := release{name: "3.1.0-no-kernel", fault: machine.KernelMissing}
	if soak() {
		broken = release{name: "3.4.0-init-exits", fault: machine.InitExits}
	}
	b := newPi(t, v1)
	began := time.Now()
	step := func(what string) {
		t.Logf("%5.1f s: %s", time.Since(began).Seconds(), what)
	}
	b.on()
	step("up")
	b.runs(v1, "A", "A1")
	b.commandLine("A", "plimsoll.boot_targets=,mmc0,mmc1,mmc2,usb0,pxe,dhcp", "firmware.says=hello", "console=ttyS1,115200")

	stick := b.plug(v2, broken)
	step("stick")
	b.install(v2)
	step("installed")
	b.do("cp /mnt/" + broken.name + ".mender /data/; umount /mnt")
	step("copied")
	if err := stick.Unplug(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.restart()
	b.expect(`^plimsoll: boot 1 of 3 of slot B, on trial$`)
	if code := b.expect(machine.Resumed); code != "0" {
		t.Errorf("resume: exit %s", code)
	}
	b.up()
	step("good update")
	b.runs(v2, "B", "A1")
	b.commandLine("B", "plimsoll.trial=1")

	// The newest copy is the commit's. Without it the trial goes on.
	b.cut()
	b.tearNewest()
	b.power()
	b.expect(`^plimsoll: boot 2 of 3 of slot B, on trial$`)
	b.up()
	step("torn environment")
	b.runs(v2, "B", "A1")
	if _, e := b.environment(); e.Trial || e.Part != 3 || e.Valid != 2 {
		t.Errorf("environment: %+v", e)
	}

	b.do("mount -o bind /data /mnt")
	b.install(broken)
	step("installed")
	b.restart()
	why := "D3b"
	if broken.fault == machine.KernelMissing {
		b.expect(`^plimsoll: slot A cannot be started, trying the other one$`)
	} else {
		why = "D5"
		for _, n := range []string{"1", "2", "3"} {
			b.expect(`^plimsoll: boot ` + n + ` of 3 of slot A, on trial$`)
			b.expect(machine.Panic)
			step("panic")
		}
		b.expect(`^plimsoll: 3 boots of slot A without a verdict, going back$`)
	}
	b.up()
	step("rollback")
	s := b.runs(v2, "B", "H1")
	if s.Trial == nil || s.Trial.Reason != why || s.Slots["A"].Status == "good" || len(s.Failed) != 1 {
		t.Errorf("status: %+v", s)
	}
	if env, e := b.environment(); e.Trial || e.Part != 3 || e.Valid != 2 || env["mender_boot_part_hex"] != "3" {
		t.Errorf("environment: %v, %+v", env, e)
	}
}

// commandLine checks words of the kernel's command line.
func (b *board) commandLine(slot string, words ...string) {
	b.Helper()
	p, err := profile.Load(b.kind.board)
	if err != nil {
		b.Fatal(err)
	}
	line := strings.Fields(b.do("cat /proc/cmdline"))
	for _, want := range append(words, "plimsoll.slot="+slot, "plimsoll.script="+p.ScriptID()) {
		found := false
		for _, word := range line {
			found = found || word == want
		}
		if !found {
			b.Errorf("the kernel's command line lacks %s: %s", want, line)
		}
	}
}

// plug plugs in a stick with artifacts, and mounts it.
func (b *board) plug(releases ...release) *machine.Stick {
	b.Helper()
	s, err := b.m.Plug(b.Context(), machine.Disk{Path: b.payload(releases...), ReadOnly: true})
	if err != nil {
		b.Fatal(err)
	}
	b.do("n=0; until [ -b /dev/sda ] || [ $n = 100 ]; do usleep 100000; n=$((n+1)); done; mount -t ext4 -o ro /dev/sda /mnt")
	return s
}

// tearNewest leaves of the newest copy of the environment what a torn write
// leaves, on the disk of a board that is off.
func (b *board) tearNewest() {
	b.Helper()
	f, err := os.OpenFile(b.disk, os.O_RDWR, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	current, err := b.uboot(b.disk).Raw()
	if err != nil {
		b.Fatal(err)
	}
	raw := make([]byte, copySize)
	for _, at := range copies {
		if _, err := f.ReadAt(raw, at); err != nil {
			b.Fatal(err)
		}
		if string(raw) != string(current) {
			continue
		}
		for i := range raw[512:] {
			raw[512+i] ^= 0xff
		}
		if _, err := f.WriteAt(raw[512:], at+512); err != nil {
			b.Fatal(err)
		}
	}
	if s, err := b.uboot(b.disk).State(); s.Valid != 1 || errors.Is(err, bootloader.ErrNoCopy) {
		b.Fatalf("%d copies are valid, want one: %v", s.Valid, err)
	}
}
