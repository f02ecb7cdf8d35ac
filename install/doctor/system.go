package doctor

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/plimsoll-ota/plimsoll/bootloader"
	"github.com/plimsoll-ota/plimsoll/install"
)

// hexadecimal reads a number such as 0x0b; what is none is 0.
func hexadecimal(s string) int64 {
	n, err := strconv.ParseInt(s, 0, 64)
	if err != nil {
		return 0
	}
	return n
}

// lookKernel: the kernel that runs must be the one of the slot that runs. Its
// modules tell: an image has those of its own kernel only.
func lookKernel(p *patient) Result {
	release := read(p.proc("sys/kernel/osrelease"))
	var have []string
	for _, dir := range []string{"/lib/modules", "/usr/lib/modules"} {
		entries, err := os.ReadDir(p.file(dir))
		if err != nil {
			continue
		}
		for _, e := range entries {
			if e.Name() == release {
				return ok("%s, and its modules are in the root file system", release)
			}
			have = append(have, e.Name())
		}
	}
	if len(have) == 0 {
		return ok("%s; the root file system has no modules to compare it with", orUnknown(release))
	}
	return problem(fmt.Sprintf("%s runs, and the root file system has the modules of %s", orUnknown(release), strings.Join(have, ", ")),
		"kernel and root file system are of different images: an update that replaces one of them is no update of both",
		"load the kernel from the slot that is mounted at /, not from a partition that updates leave alone")
}

// soonAfterBoot is when a resume that is wired into the boot has run.
const soonAfterBoot = 600

func lookResume(p *patient) Result {
	when := ""
	boot, err := p.Device.Host.BootID()
	if f := strings.Fields(read(p.file("/run/plimsoll/" + install.StampName))); err == nil && len(f) == 2 && f[0] == boot {
		when = f[1]
	}
	if target := p.enabled(resumeUnit); target != "" {
		if when == "" {
			return ok("plimsoll-resume.service is enabled (%s), and has not run in this boot", target)
		}
		return ok("plimsoll-resume.service is enabled (%s), and ran %s s after the start", target, when)
	}
	if at, err := strconv.ParseFloat(when, 64); err == nil && at < soonAfterBoot {
		return ok("plimsoll resume ran %s s after the start", when)
	}
	found := "plimsoll resume does not run at boot"
	if when != "" {
		found = fmt.Sprintf("plimsoll resume ran %s s after the start, which is too late for a boot that calls it", when)
	}
	return problem(found,
		"a good update is never kept, and falls back; nobody learns why one fell back",
		"systemctl enable plimsoll-resume.service; or call plimsoll resume in the init script once the state directory is mounted")
}

func lookTrialUnits(p *patient) Result {
	if !p.systemd() {
		return ok("no systemd: there is no emergency mode that waits")
	}
	const means = "a trial that ends in emergency mode, or never has a verdict, stays until somebody pulls the plug"
	for _, unit := range []string{"plimsoll-emergency.service", "plimsoll-deadline.timer"} {
		if p.enabled(unit) == "" {
			return warning(unit+" is not enabled", means, "systemctl enable plimsoll-emergency.service plimsoll-deadline.timer")
		}
	}
	if p.env != nil && p.state.Counter == bootloader.CounterNative && !p.tellsTrial() {
		return warning("they are enabled, and the bootloader does not tell the kernel that it is on trial", means,
			"have plimsoll.trial=${upgrade_available} in the bootloader's kernel arguments: the units are started by it")
	}
	return ok("enabled")
}

// timer is when plimsoll-deadline.timer takes a trial back, as packaged.
const timer = 15 * time.Minute

func lookDeadline(p *patient) Result {
	if p.systemd() && p.Config.Deadline > timer-time.Minute {
		return warning(fmt.Sprintf("[health] deadline is %v, and plimsoll-deadline.timer takes a trial back after %v", p.Config.Deadline, timer),
			"a healthy trial that takes its time is taken back by the timer",
			"set a deadline of 14 min at most; or systemctl edit plimsoll-deadline.timer")
	}
	return ok("a trial has a verdict after %v at the latest", p.Config.Deadline)
}

func lookDataUnit(p *patient) Result {
	const unit = "plimsoll-early.service"
	switch d := p.Device.Data; {
	case len(d.Carry)+len(d.Snapshot) == 0:
		return ok("no [data] is declared")
	case !p.systemd():
		return ok("no systemd: the init system runs plimsoll resume --early before the services")
	case p.enabled(unit) == "":
		return warning(unit+" is not enabled",
			"declared data is carried beside the services, and not copied before they can migrate it", "systemctl enable "+unit)
	}
	return ok("%s is enabled", unit)
}

// tellsTrial reports whether the bootloader's own scripts pass plimsoll.trial.
func (p *patient) tellsTrial() bool {
	if _, told := p.args["plimsoll.trial"]; told {
		return true
	}
	for _, value := range p.env {
		if strings.Contains(value, "plimsoll.trial=") {
			return true
		}
	}
	return false
}

func lookOtherClient(p *patient) Result {
	for _, unit := range []string{"mender-client.service", "mender-updated.service"} {
		if p.enabled(unit) != "" {
			return warning(unit+" is enabled",
				"two clients share one bootloader environment: either may take the other's trial for its own, and end it",
				"systemctl disable "+unit+", once plimsoll has taken over")
		}
	}
	return ok("none")
}

// lookWatchdog states three facts: there is one, who keeps it, and whether it
// ran before there was anybody to keep it.
func lookWatchdog(p *patient) Result {
	dirs, _ := filepath.Glob(p.sys("class/watchdog", "watchdog[0-9]*"))
	if len(dirs) == 0 {
		return warning("there is none",
			"a system that hangs, on trial or not, needs a hand",
			"enable the driver of the board's watchdog in the kernel (i6300esb, bcm2835_wdt, omap_wdt, …), built in")
	}
	keeper, unseen := p.watchdogKeeper()
	d := device(dirs[0])
	facts := []string{orUnknown(d.attr("identity"))}
	if t := d.attr("timeout"); t != "" {
		facts = append(facts, t+" s")
	}
	if b := d.number("bootstatus"); b != 0 {
		facts = append(facts, fmt.Sprintf("bootstatus %#x: it may have caused the last start", b))
	}
	told := strings.Join(facts, ", ")
	running := d.attr("state") == "active"
	switch {
	case keeper != "":
		return ok("%s, kept by %s; a kernel that hangs before user space needs a hand, unless the bootloader starts it", told, keeper)
	case unseen:
		return warning(told+"; who keeps it cannot be seen", "a system that hangs may need a hand", "run plimsoll doctor as root")
	case running:
		return warning(told+", running since before user space, and kept by nobody but the kernel",
			"a user space that hangs needs a hand: the kernel alone feeds it",
			"RuntimeWatchdogSec=30s in /etc/systemd/system.conf; or let another PID 1 or a daemon keep it")
	}
	return warning(told+", kept by nobody",
		"a system that hangs, on trial or not, needs a hand",
		"RuntimeWatchdogSec=30s in /etc/systemd/system.conf; or let another PID 1 or a daemon keep it")
}

// watchdogKeeper returns the process that holds a watchdog open, PID 1 first;
// unseen where nobody's files may be looked at.
func (p *patient) watchdogKeeper() (keeper string, unseen bool) {
	procs, _ := filepath.Glob(p.proc("[0-9]*"))
	for _, dir := range append([]string{p.proc("1")}, procs...) {
		fds, err := os.ReadDir(filepath.Join(dir, "fd"))
		if err != nil {
			unseen = unseen || filepath.Base(dir) == "1" && os.IsPermission(err)
			continue
		}
		for _, fd := range fds {
			to, err := os.Readlink(filepath.Join(dir, "fd", fd.Name()))
			if err == nil && strings.HasPrefix(to, "/dev/watchdog") {
				return fmt.Sprintf("%s (process %s)", orUnknown(read(filepath.Join(dir, "comm"))), filepath.Base(dir)), false
			}
		}
	}
	return "", unseen
}

func lookPanic(p *patient) Result {
	seconds := read(p.proc("sys/kernel/panic"))
	if seconds == "" || seconds == "0" {
		return warning("panic="+orUnknown(seconds),
			"a kernel that panics stays there, unless a watchdog runs already",
			"panic=5 on the kernel command line")
	}
	found := "panic=" + seconds
	if _, told := p.args["panic"]; !told {
		found += ", and not on the kernel command line: whether it holds before user space is the kernel's configuration"
	}
	if read(p.proc("sys/kernel/panic_on_oops")) != "1" {
		found += "; an oops is no panic (oops=panic would make it one)"
	}
	return ok("%s", found)
}

// epoch is older than this program.
var epoch = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)

func lookClock(p *patient) Result {
	least := epoch
	if p.Built.After(least) {
		least = p.Built
	}
	now := p.Now.UTC().Format("2006-01-02 15:04:05")
	if p.Now.Before(least) {
		return warning(now+" UTC, which is before this program was made",
			"times in the history are wrong, and servers' certificates are not valid yet; plimsoll decides nothing by the clock",
			"give the device a clock with a battery, or let systemd-timesyncd or ntpd set it")
	}
	return ok("%s UTC", now)
}
