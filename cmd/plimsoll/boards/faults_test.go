package boards

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	profile "github.com/plimsoll-ota/plimsoll/bootloader/board"
	"github.com/plimsoll-ota/plimsoll/cmd/internal/machine"
)

// committed returns a board on which release 2.0.0 was installed and kept. That is
// done once; each board has a copy of its disk.
func committed(t *testing.T, others ...release) *board {
	t.Helper()
	b := newBoard(t, virt, v1, append([]release{v2}, others...)...)
	w := b.workshop
	disk := w.path("committed.img")
	err := w.once(disk, func() error {
		b := &board{T: t, workshop: w, kind: virt, disk: disk}
		copySparse(t, filepath.Join(w.built(t, virt, v1), "disk.img"), disk)
		b.config = machine.Config{Disks: []machine.Disk{{Path: disk}, {Path: b.payload(v2)}}, Watchdog: true}
		b.on()
		b.install(v2)
		b.reboot()
		b.runs(v2, "B", "A1")
		b.do("sync")
		b.cut()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	copySparse(t, disk, b.disk)
	b.on()
	b.runs(v2, "B", "A1")
	return b
}

// TestEnvironmentLost destroys both copies at rest: the backup in the state
// directory brings them back, and a complete system starts all the same.
func TestEnvironmentLost(t *testing.T) {
	some := newSome(t, 4, 2)
	some.run("A is active", func(t *testing.T) {
		b := newBoard(t, virt, v1, v2)
		b.on()
		b.install(v2)
		b.do("plimsoll rollback")
		b.cut()
		b.spoil(0, 1)
		b.power()
		b.expect(`both copies of the environment are damaged`)
		b.up()
		b.runs(v1, "A", "H1")
		if _, s := b.environment(); s.Valid != 2 || s.Part != 2 || !b.event("environment restored") {
			t.Errorf("environment: %+v", s)
		}
	})
	some.run("B is active", func(t *testing.T) {
		b := committed(t)
		b.cut()
		b.spoil(0, 1)
		b.on() // U-Boot knows no better than A, which is the old release, and whole
		s := b.status()
		if _, e := b.environment(); e.Valid != 2 || e.Part != 2 || s.Running != "A" || s.Artifact == v2.name {
			t.Errorf("environment %+v, status %+v", e, s)
		}
		b.install(v2)
		b.reboot()
		b.runs(v2, "B", "A1")
	})
	some.run("on trial", func(t *testing.T) {
		b := newBoard(t, virt, v1, v2)
		b.on()
		b.install(v2)
		b.onTrial("dd if=/dev/zero of=/dev/vda bs=4096 seek=2048 count=1 conv=notrunc 2>/dev/null; dd if=/dev/zero of=/dev/vda bs=4096 seek=4096 count=1 conv=notrunc 2>/dev/null; sync")
		b.reboot()
		b.runs(v2, "B", "A1")
		if _, s := b.environment(); s.Valid != 2 || s.Part != 3 || s.Trial {
			t.Errorf("environment: %+v", s)
		}
	})
	some.run("while slot A is written", func(t *testing.T) {
		v3 := release{name: "3.0.0"}
		b := committed(t, v3)
		if err := b.m.Send("plimsoll install /mnt/3.0.0.mender 2>&1 | cat"); err != nil {
			t.Fatal(err)
		}
		b.expect(`write +[3-6]0 %`)
		b.cut()
		b.spoil(0, 1)
		b.power()
		b.expect(`slot A cannot be started, trying the other one`)
		b.up()
		b.runs(v2, "B", "H1")
		if _, s := b.environment(); s.Valid != 2 || s.Part != 3 {
			t.Errorf("environment: %+v", s)
		}
		b.install(v3)
		b.reboot()
		b.runs(v3, "A", "A1")
	})
	some.done()
}

// TestOneCopyLost: either copy alone is enough, and the next write makes two.
func TestOneCopyLost(t *testing.T) {
	b := committed(t)
	for n := range copies {
		b.cut()
		b.spoil(n)
		b.on()
		if s := b.status(); s.Row != "A1" && s.Row != "D5" {
			t.Errorf("copy %d lost: %+v", n, s)
		}
		b.do("plimsoll doctor --repair-env")
		if _, s := b.environment(); s.Valid != 2 {
			t.Errorf("copy %d lost, after the repair: %+v", n, s)
		}
	}
}

// TestStateDirectory takes the data partition away: on trial that is unhealthy,
// afterwards it is no reason to reboot.
func TestStateDirectory(t *testing.T) {
	some := newSome(t, 3, 1)
	for _, c := range []struct {
		name, command string
		exit          string // of resume and install afterwards
	}{
		{"missing", "umount -l /data", "5"},
		{"read-only", "mount -o remount,ro /data", "5"},
		{"full", "dd if=/dev/zero of=/data/fill bs=64k 2>/dev/null; dd if=/dev/zero of=/data/fill2 bs=512 2>/dev/null", "1"},
	} {
		some.run(c.name, func(t *testing.T) {
			b := newBoard(t, virt, v1, v2)
			b.on()
			b.install(v2)
			b.onTrial(c.command)
			b.restart()
			b.expect(`boot 1 of 3 of slot B`)
			b.expect(machine.Banner)
			b.up()
			b.do("rm -f /data/fill*")
			b.run("plimsoll resume")
			b.runs(v1, "A", "H1")

			b.hook(c.command) // from now on at every start
			b.restart()
			if code := b.expect(machine.Resumed); code != c.exit {
				t.Errorf("resume: exit %s, want %s", code, c.exit)
			}
			b.up()
			if s := b.status(); s.Running != "A" || s.Row != "I3" && c.name != "full" { // to see that it is full it would have to write
				t.Errorf("status: %+v", s)
			}
			if out, code := b.run("plimsoll --quiet install /mnt/2.0.0.mender"); fmt.Sprint(code) != c.exit || !strings.Contains(out, "unchanged") {
				t.Errorf("install: exit %d, want %s:\n%s", code, c.exit, out)
			}
		})
	}
	some.done()
}

// TestPowerCycles pulls the plug early in the trial, once, twice, three times.
func TestPowerCycles(t *testing.T) {
	b := newBoard(t, virt, v1, v2)
	b.on()
	for _, cuts := range []int{1, 2, 3} {
		b.install(v2, "--allow-downgrade", "--retry")
		b.restart()
		for range cuts {
			b.expect(`boot \d of 3 of slot B`)
			b.expect(machine.Initramfs)
			b.cut()
			b.power()
		}
		b.up()
		if cuts == 3 {
			b.runs(v2, "A", "H1")
			break
		}
		b.runs(v2, "B", "A1")
		// Back to A for the next round.
		b.do("plimsoll --quiet install --allow-downgrade /mnt/2.0.0.mender")
		b.reboot()
		b.runs(v2, "A", "A1")
	}
}

// TestOldStick: an artifact that is older than what runs is not installed, and
// neither is one below the floor.
func TestOldStick(t *testing.T) {
	b := committed(t, v1)
	if out := b.exits(3, "plimsoll --quiet install /mnt/1.0.0.mender"); !strings.Contains(out, "older") {
		t.Errorf("%s", out)
	}
	b.do("plimsoll --quiet install --allow-downgrade /mnt/1.0.0.mender")
	b.reboot()
	b.runs(v1, "A", "A1")
}

// TestClock: the clock starts in 1970, and jumps to now during the trial.
func TestClock(t *testing.T) {
	b := newBoard(t, virt, v1, v2)
	b.config.Clock = time.Unix(3600, 0)
	b.on()
	b.install(v2)
	b.onTrial("date -s '2026-11-24 12:00:00'")
	b.reboot()
	b.runs(v2, "B", "A1")
	if !b.event("committed") {
		t.Error("the history has no commit")
	}
}

// TestNewerRecord: a record of a newer release is kept, and the environment
// decides.
func TestNewerRecord(t *testing.T) {
	b := newBoard(t, virt, v1, v2)
	b.on()
	b.install(v2)
	b.onTrial("sed -i 's/\"schema\": 1/\"schema\": 99/' /data/plimsoll/state.json")
	b.reboot()
	b.runs(v2, "B", "A1")
	if out := b.do("cat /data/plimsoll/state.json.kept-*"); !strings.Contains(out, `"schema": 99`) {
		t.Errorf("the newer record was not kept: %s", out)
	}
	if _, s := b.environment(); s.Trial || s.Part != 3 {
		t.Errorf("environment: %+v", s)
	}
}

// TestCommitBeforeTheReboot is refused, and disturbs nothing.
func TestCommitBeforeTheReboot(t *testing.T) {
	b := newBoard(t, virt, v1, v2)
	b.on()
	b.install(v2)
	if out := b.exits(1, "plimsoll commit"); !strings.Contains(out, "not booted yet") {
		t.Errorf("%s", out)
	}
	b.reboot()
	b.runs(v2, "B", "A1")
	b.exits(2, "plimsoll commit")
}

// TestTerminated: a signal during the verdict is no verdict.
func TestTerminated(t *testing.T) {
	b := newBoard(t, virt, v1, v2)
	b.on()
	b.install(v2)
	b.onTrial("(while :; do for p in $(pidof plimsoll); do kill -TERM $p; exit; done; done) &")
	b.reboot()
	s := b.status()
	t.Logf("after the signal: row %s", s.Row)
	if s.Running != "B" || s.Row == "Z" {
		t.Errorf("status: %+v", s)
	}
	if s.OnTrial {
		b.do("plimsoll resume")
	}
	b.runs(v2, "B", "A1")
}

// TestSameLabel: both slots hold the same image, and so the same file system
// label and UUID. What boots is what was asked for.
func TestSameLabel(t *testing.T) {
	b := newBoard(t, virt, v1, v1)
	b.on()
	b.install(v1, "--allow-downgrade")
	b.reboot()
	b.runs(v1, "B", "A1")
	b.reboot()
	b.runs(v1, "B", "A1")
}

// TestShutdownHangs: a reboot that was ordered and does not come is forced.
func TestShutdownHangs(t *testing.T) {
	b := newBoard(t, virt, v1, v2)
	b.on()
	b.install(v2)
	b.do("printf '#!/bin/sh\\nsleep 100000\\n' > /data/hangs; chmod +x /data/hangs; cp /data/hangs /run/hangs")
	b.onTrial("cp /data/hangs /run/hangs; mount -o bind /run/hangs /sbin/reboot; umount -l /data")
	b.restart()
	b.expect(machine.Init)
	began := time.Now()
	b.patient(machine.Banner, 3*time.Minute)
	if d := time.Since(began); d < 85*time.Second || d > 150*time.Second {
		t.Errorf("forced after %v, want 90 s", d)
	}
	b.up()
	b.runs(v1, "A", "H1")
}

// TestUBootCannotSave: a U-Boot that says yes and keeps nothing would try for
// ever. A drill finds out, and plimsoll counts for itself.
func TestUBootCannotSave(t *testing.T) {
	b := committed(t)
	b.cut()
	p, err := boardProfile()
	if err != nil {
		t.Fatal(err)
	}
	deaf := strings.ReplaceAll(p.Script(), "; virtio write ", "; echo not saved ")
	if deaf == p.Script() {
		t.Fatal("the script saves in another way")
	}
	b.script(deaf)
	b.on()
	b.do("plimsoll --quiet doctor --drill --no-reboot --artifact /mnt/2.0.0.mender")
	b.restart()
	b.expect(`boot 1 of 1 of slot A`)
	b.expect(`boot 1 of 1 of slot A`) // it was not counted
	b.settled()
	b.runs(v2, "B", "H1")
	if out := b.do("plimsoll status"); !strings.Contains(out, "not count") {
		t.Errorf("status does not say that boots are not counted:\n%s", out)
	}
}

// TestDrill: on a healthy board the bootloader falls back by its own count, and
// what ran before runs again.
func TestDrill(t *testing.T) {
	b := committed(t)
	if out, _ := b.run("plimsoll doctor"); !strings.Contains(out, "drill") {
		t.Errorf("doctor says nothing of a drill:\n%s", out)
	}
	if err := b.m.Send("plimsoll --quiet doctor --drill --artifact /mnt/2.0.0.mender"); err != nil {
		t.Fatal(err)
	}
	b.expect(`boot 1 of 1 of slot A`)
	b.expect(`1 boots of slot A without a verdict, going back`)
	b.settled()
	s := b.runs(v2, "B", "H1")
	if len(s.Failed) != 0 {
		t.Errorf("a drill is remembered as a failure: %+v", s)
	}
	if _, e := b.environment(); e.Trial || e.Part != 3 || e.ID != "" {
		t.Errorf("environment: %+v", e)
	}
	out, _ := b.run("plimsoll doctor")
	if !regexp.MustCompile(`(?m)^ok +drill`).MatchString(out) {
		t.Errorf("doctor does not know of the drill:\n%s", out)
	}
}

func boardProfile() (*profile.Profile, error) { return profile.Load("qemu-arm64") }
