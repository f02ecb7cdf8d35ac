package boards

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/plimsoll-ota/plimsoll/bootloader"
	"github.com/plimsoll-ota/plimsoll/cmd/internal/machine"
)

// Lines of fstab, and what a trial has wrong.
const (
	varMount  = "tmpfs /var tmpfs defaults 0 0\n"
	dataMount = "LABEL=data /data ext4 defaults,nofail,x-systemd.device-timeout=1min 0 2\n"
	goneMount = "LABEL=gone /mnt ext4 defaults,x-systemd.device-timeout=3s 0 0\n"         // emergency mode
	goneData  = "LABEL=gone /data ext4 defaults,nofail,x-systemd.device-timeout=3s 0 2\n" // unhealthy
)

// What is added to plimsoll's units in a trial.
var (
	soon = map[string]string{etcUnits + "plimsoll-deadline.timer.d/soon.conf": "[Timer]\nOnBootSec=\nOnBootSec=30s\n"}
	says = verdictOf("resume")
)

// verdictOf has a unit of plimsoll's say that it starts.
func verdictOf(unit string) map[string]string {
	return map[string]string{etcUnits + "plimsoll-" + unit + ".service.d/says.conf": `
[Service]
ExecStartPre=/bin/sh -c 'echo GUEST-VERDICT > /dev/console'
`}
}

// A unit that the boot waits for, early, and that never ends.
var startHangs = map[string]string{
	etcUnits + "sysinit.target.d/hangs.conf": "[Unit]\nWants=hangs.service\n",
	etcUnits + "hangs.service": `
[Unit]
DefaultDependencies=no
Before=sysinit.target
[Service]
Type=oneshot
ExecStart=/bin/sleep infinity
`}

// A unit that the end of the boot waits for, and that never ends.
var bootHangs = map[string]string{
	etcUnits + "multi-user.target.d/hangs.conf": "[Unit]\nWants=hangs.service\n",
	etcUnits + "hangs.service": `
[Service]
Type=oneshot
ExecStart=/bin/sleep infinity
TimeoutStartSec=infinity
`}

// A unit that starts early and never stops.
var stopHangs = map[string]string{
	etcUnits + "sysinit.target.d/hangs.conf": "[Unit]\nWants=hangs.service\n",
	etcUnits + "hangs.service": `
[Unit]
DefaultDependencies=no
Before=plimsoll-early.service
Conflicts=shutdown.target
Before=shutdown.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/true
ExecStop=/bin/sh -c 'trap "" TERM; sleep infinity'
TimeoutStopSec=infinity
`}

// A resume that has begun and never ends.
var resumeHangs = map[string]string{
	etcUnits + "plimsoll-resume.service.d/hangs.conf": `
[Service]
ExecStart=
ExecStart=/bin/sh -c 'echo GUEST-VERDICT > /dev/console; exec flock /data/plimsoll/lock sleep infinity'
`}

func fstab(lines ...string) map[string]string {
	return map[string]string{"/etc/fstab": strings.Join(lines, "")}
}

// TestSystemd: what packaging/systemd does with a real systemd as process 1,
// from a device that runs 1.0.0 and has 2.0.0 armed. It has data that are to be
// taken across.
func TestSystemd(t *testing.T) {
	w := withSystemd(t)
	first := newBoard(t, systemdVirt, systemd1, systemd2)
	first.on()
	first.runs(systemd1, "A", "A1")
	app := first.hasData()
	first.install(systemd2)
	first.do("sync")
	first.cut()
	armed, fresh := first.disk, filepath.Join(w.built(t, systemdVirt, systemd1), "disk.img")

	t.Run("kept", func(t *testing.T) {
		b := newSystemd(t, w, armed)
		b.change("B", writable, migrates(0))
		b.power()
		b.expect(`boot 1 of 3 of slot B, on trial`)
		if code := b.expect(machine.Resumed); code != "0" {
			t.Errorf("resume: exit %s", code)
		}
		b.up()
		b.runs(systemd2, "B", "A1")
		if out := b.do("cat " + identity + " /data/carried /data/app/format"); out != ofDevice+ofDevice+"of 2.0.0\n" {
			t.Errorf("the data of what is kept: %q", out)
		}
		if out := b.do("plimsoll history"); !strings.Contains(out, identity+": replaced") {
			t.Errorf("the history does not say what was carried:\n%s", out)
		}
		b.noCopies()
		// The deadline comes, and there is nothing to take back.
		b.do("systemctl is-active plimsoll-deadline.timer")
		b.do("systemctl start plimsoll-deadline.service")
		b.unitsAreWell()
		b.reboot()
		b.runs(systemd2, "B", "A1")
		b.unitsAreWell()
		b.exits(3, "systemctl is-active plimsoll-deadline.timer")
		if env, s := b.environment(); s.Valid != 2 || s.Trial || s.Part != 3 || env["plimsoll_trial"] != "" {
			t.Errorf("environment %v, %+v", env, s)
		}
		if wanting, _ := b.doctor(); len(wanting) > 1 || !strings.Contains(wanting["drill"], "none has passed") {
			t.Errorf("the doctor: %v", wanting)
		}
		if out := b.do("systemd-analyze verify --man=no " + etcUnits + "plimsoll-*.service " + etcUnits + "plimsoll-*.timer"); out != "" {
			t.Errorf("systemd-analyze verify:\n%s", out)
		}
	})

	some := newSome(t, 11, 3)
	for _, c := range []struct {
		name, ask string
		trial     map[string]string
		because   string
	}{
		{"a command fails", `command = ["/bin/sh", "-c", "echo no sensor; exit 7"]`, nil, `echo no sensor; exit 7: exit status 7: no sensor, since `},
		{"a command hangs", "command = [\"/bin/sleep\", \"infinity\"]\ntimeout = \"5s\"", nil, `command /bin/sleep infinity: did not end in time, and was killed, since `},
		{"a unit hangs", `units = ["hangs.service"]`, bootHangs, `unit hangs.service: is activating (start), since `},
	} {
		some.run(c.name, func(t *testing.T) {
			b := newSystemd(t, w, armed)
			b.change("B", asks(c.ask), c.trial)
			b.fellBack(c.because)
			// A root file system that is mounted read-only gets nothing carried.
			if out := b.do("plimsoll history"); !strings.Contains(out, "not put into slot B: carry data: ") {
				t.Errorf("the history does not say that nothing was carried:\n%s", out)
			}
			b.dataIs(app)
		})
	}

	some.run("a migration fails", func(t *testing.T) {
		b := newSystemd(t, w, armed)
		b.change("B", writable, migrates(1), asks(`units = ["migrate.service"]`))
		b.change("A", sees())
		b.fellBack("unit migrate.service: is failed (failed), result exit-code, since ")
		if out := b.do("cat /data/carried"); out != ofDevice {
			t.Errorf("the new system started with %q", out)
		}
		if out := b.do("cat /run/seen"); out != app {
			t.Errorf("the services of the old system saw\n%s\nand the data were\n%s", out, app)
		}
		b.dataIs(app)
	})

	some.run("data that cannot be copied", func(t *testing.T) {
		b := newSystemd(t, w, armed)
		b.change("B", mountsOver, migrates(0))
		b.fellBack("not a path that can be declared")
		b.exits(1, "ls /data/carried")
		b.dataIs(app)
	})

	some.run("emergency mode on trial", func(t *testing.T) {
		b := newSystemd(t, w, armed)
		b.change("B", fstab(dataMount, varMount, goneMount))
		for n := b.booted(few(2, 0)); n < 3; n++ {
			b.expect(fmt.Sprintf(`boot %d of 3 of slot B, on trial`, n+1))
		}
		b.expect(`3 boots of slot B without a verdict, going back`)
		b.up()
		if s := b.runs(systemd1, "A", "H1"); s.Trial == nil || s.Trial.Reason != "D5" || len(s.Failed) != 1 || s.Failed[0].Class != "bad" {
			t.Errorf("status: %+v", s)
		}
	})

	some.run("emergency mode of what is kept", func(t *testing.T) {
		b := newSystemd(t, w, fresh)
		b.change("A", fstab(dataMount, varMount, goneMount))
		b.power()
		b.expect(`You are in emergency mode`)
		b.stays(10 * time.Second)
		if err := b.m.Send(""); err != nil { // press Enter for maintenance
			t.Fatal(err)
		}
		b.expect(`built-in shell`)
		b.do("systemctl is-active emergency.target")
		for _, unit := range []string{"emergency", "resume", "deadline", "grow"} {
			if out := b.do("SYSTEMD_PAGER= systemctl show -P ExecMainStartTimestampMonotonic plimsoll-" + unit + ".service"); out != "0\n" {
				t.Errorf("plimsoll-%s.service ran, at %s", unit, out)
			}
		}
		b.runs(systemd1, "A", "A1")
	})

	some.run("never judged", func(t *testing.T) {
		b := newSystemd(t, w, armed)
		b.change("B", soon, startHangs)
		b.power()
		b.expect(`boot 1 of 3 of slot B, on trial`)
		b.goesBack()
	})

	some.run("unhealthy", func(t *testing.T) {
		b := newSystemd(t, w, armed)
		b.change("B", fstab(goneData, varMount), says)
		b.power()
		b.expect(`^GUEST-VERDICT$`)
		if took := b.goesBack(); took > 60*time.Second {
			t.Errorf("rebooted %v after the verdict: the shutdown waits for something", took)
		}
	})

	some.run("unhealthy, and the shutdown hangs", func(t *testing.T) {
		b := newSystemd(t, w, armed)
		b.change("B", fstab(goneData, varMount), says, stopHangs)
		b.power()
		b.expect(`^GUEST-VERDICT$`)
		if took := b.goesBack(); took < 85*time.Second || took > 150*time.Second {
			t.Errorf("forced after %v, want 90 s", took)
		}
	})

	some.run("grow", func(t *testing.T) {
		b := newSystemd(t, w, fresh)
		info, err := os.Stat(b.disk)
		if err == nil {
			err = os.Truncate(b.disk, info.Size()+64<<20)
		}
		if err != nil {
			t.Fatal(err)
		}
		b.on()
		size := b.grown("0")
		if size < 85<<20 { // of 32 MiB that are 96 now
			t.Errorf("the file system has %d bytes", size)
		}
		b.reboot()
		if again := b.grown("2"); again != size {
			t.Errorf("at the second boot the file system has %d bytes, was %d", again, size)
		}
		b.runs(systemd1, "A", "A1")
	})

	some.done()

	if soak() {
		t.Run("data that cannot be copied, and the shutdown hangs", func(t *testing.T) {
			b := newSystemd(t, w, armed)
			b.change("B", mountsOver, verdictOf("early"), stopHangs)
			b.power()
			b.expect(`^GUEST-VERDICT$`)
			if took := b.goesBack(); took < 85*time.Second || took > 150*time.Second {
				t.Errorf("forced after %v, want 90 s", took)
			}
		})
		t.Run("judged for ever", func(t *testing.T) {
			b := newSystemd(t, w, armed)
			b.change("B", soon, resumeHangs)
			for n := b.booted(0); n < 3; n++ {
				b.expect(fmt.Sprintf(`boot %d of 3 of slot B, on trial`, n+1))
				b.expect(`^GUEST-VERDICT$`)
			}
			b.expect(`3 boots of slot B without a verdict, going back`)
			b.up()
			b.runs(systemd1, "A", "H1")
		})
		t.Run("a reboot by hand hangs", func(t *testing.T) {
			b := newSystemd(t, w, fresh)
			b.change("A", stopHangs, map[string]string{etcUnits + "reboot.target.d/bound.conf": "[Unit]\nJobTimeoutSec=20s\n"})
			b.on()
			b.restart()
			b.up()
			b.runs(systemd1, "A", "A1")
		})
	}
}

// booted switches on a board with a trial that has been started n times, and
// returns n.
func (b *board) booted(n int) int {
	b.Helper()
	err := b.uboot(b.disk).Update(func(e bootloader.Env) error {
		e["bootcount"] = strconv.Itoa(n)
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	b.power()
	return n
}

// goesBack waits for the reboot of a trial that is over, and says how long it
// took. What the next start does with it is known from other boards.
func (b *board) goesBack() time.Duration {
	b.Helper()
	began := time.Now()
	b.patient(machine.Banner, 4*time.Minute)
	took := time.Since(began)
	b.Logf("rebooted after %v", took)
	if !soak() {
		b.cut()
	} else {
		b.up()
		b.runs(systemd1, "A", "H1")
	}
	if _, s := b.environment(); s.Valid != 2 || s.Trial || s.Part != 2 {
		b.Errorf("environment: %+v", s)
	}
	return took
}

// stays makes sure that a board does not reboot for a while.
func (b *board) stays(d time.Duration) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), d)
	defer cancel()
	if _, err := b.m.Expect(ctx, machine.Banner); !errors.Is(err, context.DeadlineExceeded) {
		b.Fatalf("the board did not stay as it was: %v", err)
	}
}

// unitsAreWell waits until systemd has started all that it will, and no unit
// has failed.
func (b *board) unitsAreWell() {
	b.Helper()
	if out, code := b.run("systemctl is-system-running --wait; systemctl --failed"); code != 0 || !strings.HasPrefix(out, "running\n") {
		b.Errorf("not all units are well:\n%s", out)
	}
}

// grown returns the size of the file system on the data partition, after
// plimsoll-grow.service has ended with a code.
func (b *board) grown(exit string) (size int64) {
	b.Helper()
	if got := b.do("systemctl show -P Result -P ExecMainStatus plimsoll-grow.service"); got != "success\n"+exit+"\n" {
		b.Errorf("plimsoll-grow.service: %q, want exit %s", got, exit)
	}
	if _, err := fmt.Sscan(b.do("df -k /data | awk 'END { print $2 * 1024 }'"), &size); err != nil {
		b.Fatal(err)
	}
	return size
}
