package doctor

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/plimsoll-ota/plimsoll/install"
)

func lookSlots(p *patient) Result {
	if p.Slots != nil {
		return problem(p.Slots.Error(), "nothing can be installed", "correct [slots] in the configuration: two different partitions are needed")
	}
	a, b := p.Device.Slots.A, p.Device.Slots.B
	return ok("A is %s (%d), B is %s (%d)", a.Path, a.Part, b.Path, b.Part)
}

func lookSlotNames(p *patient) Result {
	for _, spec := range []string{p.Config.Slots.A, p.Config.Slots.B} {
		if strings.HasPrefix(spec, "/dev/") && !strings.HasPrefix(spec, "/dev/disk/") {
			return warning(spec+" is the name of a device",
				"names move: with another kernel, or a card left in its slot, it may be another disk",
				"name slots by partition number (a = 2), or by \"PARTUUID=…\"")
		}
	}
	return ok("%s and %s", p.Config.Slots.A, p.Config.Slots.B)
}

func lookSlotSize(p *patient) Result {
	a, err := p.Device.Slots.A.Size()
	if err != nil {
		return problem(err.Error(), "nothing can be installed into a slot that cannot be read", "see the kernel's log for errors of the medium")
	}
	b, err := p.Device.Slots.B.Size()
	if err != nil {
		return problem(err.Error(), "nothing can be installed into a slot that cannot be read", "see the kernel's log for errors of the medium")
	}
	if a != b {
		return warning(fmt.Sprintf("A has %s, B has %s", mib(a), mib(b)),
			"an image that fits one slot may not fit the other, and is refused at every second update",
			"make both slots the same size, or every image fit the smaller one")
	}
	return ok("%s each", mib(a))
}

func lookRunning(p *patient) Result {
	s, err := p.Device.Host.Running(p.Device.Slots)
	if err != nil {
		return problem(err.Error(),
			"nothing is installed while it is not certain which slot runs",
			"start the device from one of its slots; root= and plimsoll.slot= on the kernel command line must name the one that is mounted at /")
	}
	return ok("slot %v is beneath /", s)
}

// lookActive compares what runs with what the environment names, in the words
// of the table of plimsoll status.
func lookActive(p *patient) Result {
	r := p.report
	switch {
	case p.noState != nil:
		return problem(p.noState.Error(), "nothing can be installed", "see: plimsoll status")
	case r.EnvLost:
		return Result{Level: Warning, Found: "not looked at: see env-copies"}
	case r.Do == install.Attention && r.Problem == nil:
		return problem(fmt.Sprintf("%s (row %s): slot %s runs, and the environment names %s", r.Is, r.Row, r.Running, orNone(r.Boots)),
			"the next boot may be of another system than this one, and nothing is installed",
			"see docs/safety.md at this row; write nothing by hand before")
	case r.Running != r.Boots && r.Do == install.Attention:
		return problem(fmt.Sprintf("slot %s runs, and the environment names %s", r.Running, orNone(r.Boots)),
			"the bootloader does not follow the environment that is configured here",
			"compare "+p.Config.FwEnv+" with the bootloader's configuration")
	case r.Running != r.Boots:
		return ok("slot %s runs, slot %s is next (row %s: %s)", r.Running, orNone(r.Boots), r.Row, r.Is)
	}
	return ok("slot %s runs, and the environment names it (row %s: %s)", r.Running, r.Row, r.Is)
}

func orNone(s string) string {
	if s == "" {
		return "neither"
	}
	return s
}

func lookRecord(p *patient) Result {
	switch {
	case p.Slots != nil || p.UBoot == nil:
		return Result{Level: Warning, Found: "not looked at: see slots and env-config"}
	case p.noState != nil:
		return Result{Level: Warning, Found: "not looked at: see running and env-copies"}
	case p.Device.CheckState() != nil:
		return Result{Level: Warning, Found: "not looked at: see state-dir"}
	case p.report.Problem != nil:
		return warning(p.report.Problem.Error(),
			"what was installed, and what failed, is not known; plimsoll decides by the boot environment alone",
			"nothing: it is kept beside the new record that the next update writes")
	case p.report.Trial == nil:
		return ok("no update was recorded yet")
	}
	t := p.report.Trial
	if t.Drill != "" {
		return ok("the last update is a drill of %s, from slot %s to slot %s", t.Artifact, t.Source, t.Target)
	}
	return ok("the last update is %s, from slot %s to slot %s: %s", t.Artifact, t.Source, t.Target, t.Phase)
}

func lookSlotStatus(p *patient) Result {
	other := p.inactive()
	switch s := p.report.Slots[other.Name]; s.Status {
	case install.StatusGood, install.StatusWritten, install.StatusModified:
		return ok("slot %s is %s: %s", other.Name, s.Status, s.Artifact)
	case "":
		return ok("nothing is recorded of slot %s: no update was installed yet", other.Name)
	default:
		return warning(fmt.Sprintf("slot %s is %s: %s", other.Name, s.Status, s.Artifact),
			"there is nothing to return to if the running slot cannot be read any more",
			"install an artifact")
	}
}

// lookInactive asks the kernel, without opening the slot: an installation may
// want it for itself at this moment.
func lookInactive(p *patient) Result {
	s := p.inactive()
	user := p.userOf(s.Path)
	if user == "" {
		return ok("nobody uses slot %s", s.Name)
	}
	return problem(fmt.Sprintf("slot %v is in use: %s", s, user),
		"an update is refused while somebody else holds the slot that it goes to",
		"unmount it, and keep automounters away: udev's ENV{UDISKS_IGNORE}=\"1\", ENV{SYSTEMD_READY}=\"0\"; no line for it in /etc/fstab")
}

// userOf says who uses a block device, or "".
func (p *patient) userOf(path string) string {
	d, ok := p.device(path)
	if !ok {
		return ""
	}
	holders, _ := filepath.Glob(filepath.Join(string(d), "holders", "*"))
	if len(holders) > 0 {
		return "it is part of " + filepath.Base(holders[0])
	}
	number := d.attr("dev")
	tables, _ := filepath.Glob(p.proc("[0-9]*", "mountinfo")) // each namespace has mounts of its own
	for _, table := range append([]string{p.proc("self/mountinfo")}, tables...) {
		b, err := os.ReadFile(table)
		if err != nil {
			continue // not ours to read, or gone
		}
		for line := range strings.Lines(string(b)) {
			if f := strings.Fields(line); len(f) > 4 && f[2] == number && number != "" {
				return "it is mounted at " + f[4]
			}
		}
	}
	if strings.Contains(read(p.proc("swaps")), "/"+d.name()+" ") {
		return "it is swapped to"
	}
	return ""
}

// erase is what a card writes in one piece, at most of those that are known.
const erase = 4 << 20

func lookAlignment(p *patient) Result {
	var off []string
	for _, s := range p.both() {
		d, ok := p.device(s.Path)
		if ok && d.isPartition() && d.start()%erase != 0 {
			off = append(off, fmt.Sprintf("slot %s begins at byte %d", s.Name, d.start()))
		}
	}
	if p.UBoot != nil {
		for _, l := range p.UBoot.Locations() {
			d, ok := p.device(l.Path)
			if !ok || d.bootPartition() {
				continue // in a file system, or an eMMC's own small area
			}
			if at := l.Offset + d.start(); at%erase != 0 {
				off = append(off, fmt.Sprintf("a copy of the boot environment is at byte %d", at))
			}
		}
	}
	if len(off) == 0 {
		return ok("at multiples of 4 MiB")
	}
	return warning(strings.Join(off, "; "),
		"a card rewrites a whole erase block for one sector: a power cut during a write can damage what lies in the same block",
		"lay slots and both copies out at multiples of 4 MiB")
}
