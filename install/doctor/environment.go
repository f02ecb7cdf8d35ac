package doctor

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/plimsoll-ota/plimsoll/bootloader"
)

const doRepair = "do not switch the device off; then: plimsoll doctor --repair-env"

func lookEnvConfig(p *patient) Result {
	if p.Boot != nil {
		return problem(p.Boot.Error(), "no slot can be armed",
			"correct "+p.Config.FwEnv+": a line for each copy, DEVICE OFFSET SIZE, as the bootloader has it")
	}
	var places []string
	for _, l := range p.UBoot.Locations() {
		places = append(places, fmt.Sprintf("%v, %#x long", l, l.Size))
	}
	return ok("%s", strings.Join(places, "; "))
}

func lookEnvCopies(p *patient) Result {
	n, valid := p.state.Copies, p.state.Valid
	found := fmt.Sprintf("%d of %d copies are valid", valid, n)
	switch {
	case p.envErr != nil && !errors.Is(p.envErr, bootloader.ErrNoCopy):
		return problem(p.envErr.Error(), "nobody can tell what the bootloader makes of it, and nothing is installed",
			"see the variable with fw_printenv, and put it right with fw_setenv")
	case valid == 0:
		return problem(found, "the bootloader starts by its defaults, whatever slot that is", doRepair+"; if the place is wrong: see env-geometry")
	case n == 1 && p.Config.SingleCopy:
		return warning("there is a single copy, and the configuration accepts it",
			"a power cut during a write loses the environment: the bootloader then starts by its defaults",
			"build the bootloader with a redundant environment")
	case n == 1:
		return problem("there is a single copy",
			"a power cut during a write would lose the environment, so that nothing is installed",
			"build the bootloader with a redundant environment and configure both copies in "+p.Config.FwEnv+"; or accept the risk: [bootloader] single_copy = true")
	case valid < n:
		return warning(found, "the other one is all there is: a second fault would lose the environment", "plimsoll doctor --repair-env")
	}
	return ok("%s", found)
}

// secondPlaces are where bootloaders that are known keep the other copy, beside
// right behind the first one and right before it.
var secondPlaces = []int64{4 << 20, 8 << 20, 16 << 20}

// sizes are those that environments have.
var sizes = []int64{0x1000, 0x2000, 0x4000, 0x8000, 0x10000, 0x20000, 0x40000, 0x80000}

// lookEnvGeometry looks at the bytes around the copies that are configured:
// what is valid there in another form than configured is what the bootloader
// keeps, and not an environment that was lost.
func lookEnvGeometry(p *patient) Result {
	copies := p.UBoot.Locations()
	redundant := len(copies) == 2
	for _, l := range copies {
		if form := formOf(l, redundant); form != "" {
			return problem(fmt.Sprintf("%v: %s", l, form),
				"plimsoll and the bootloader would not mean the same environment: an arm is ignored, or destroys a copy",
				"correct "+p.Config.FwEnv+" to what the bootloader is built with")
		}
	}
	if redundant {
		return ok("as configured: two copies of %#x bytes", copies[0].Size)
	}
	if second, found := p.secondCopy(copies[0]); found {
		return problem(fmt.Sprintf("one copy is configured, and another one is at %v", second),
			"the bootloader may take the one that plimsoll does not write",
			"configure both copies in "+p.Config.FwEnv)
	}
	return ok("as configured: one copy of %#x bytes", copies[0].Size)
}

// formOf says in which other form than configured an environment is at l, or "".
func formOf(l bootloader.Location, redundant bool) string {
	if validAt(l, redundant) {
		return ""
	}
	if validAt(l, !redundant) {
		if redundant {
			return "two copies are configured, and the bootloader keeps a single one"
		}
		return "one copy is configured, and the bootloader keeps two"
	}
	for _, size := range sizes {
		m := l
		m.Size = size
		if size != l.Size && (validAt(m, true) || validAt(m, false)) {
			return fmt.Sprintf("it has %#x bytes, and %#x are configured", size, l.Size)
		}
	}
	return ""
}

// secondCopy looks for a redundant copy beside a single one that is configured.
func (p *patient) secondCopy(l bootloader.Location) (bootloader.Location, bool) {
	var places []bootloader.Location
	for _, off := range append([]int64{l.Offset + l.Size, l.Offset - l.Size, l.Offset + erase, l.Offset - erase}, secondPlaces...) {
		m := l
		m.Offset = off
		places = append(places, m)
	}
	for first, second := range map[string]string{"boot0": "boot1", "boot1": "boot0"} {
		if stem, is := strings.CutSuffix(l.Path, first); is {
			m := l
			m.Path = stem + second
			places = append(places, m)
		}
	}
	for _, m := range places {
		if m.Offset >= 0 && m != l && validAt(m, true) {
			return m, true
		}
	}
	return l, false
}

// validAt reports whether a copy of that form is at l, with at least one
// variable: a run of equal bytes is none, whatever its checksum.
func validAt(l bootloader.Location, redundant bool) bool {
	f, err := os.Open(l.Path)
	if err != nil {
		return false
	}
	defer f.Close() // only read
	b := make([]byte, l.Size)
	if _, err := f.ReadAt(b, l.Offset); err != nil {
		return false
	}
	env, _, err := bootloader.ParseEnv(b, redundant)
	return err == nil && len(env) > 0
}

func lookEnvBackup(p *patient) Result {
	switch {
	case p.Slots != nil || p.noState != nil:
		return Result{Level: Warning, Found: "not looked at: see slots and active"}
	case p.report.Backup == nil:
		return ok("there is one, and it fits")
	case p.report.Artifact == "" && p.report.Trial == nil:
		return ok("%v yet: an installation makes one", p.report.Backup)
	}
	return warning(p.report.Backup.Error(),
		"an environment that is lost could not be restored from it",
		"nothing: the next installation makes another one")
}

func lookEnvDisk(p *patient) Result {
	if p.Slots != nil {
		return Result{Level: Warning, Found: "not looked at: see slots"}
	}
	for _, l := range p.UBoot.Locations() {
		same, err := p.Device.Host.SameDisk(p.Device.Slots.A, l.Path)
		if err != nil {
			return problem(err.Error(), "nothing is installed", "name the environment's device in "+p.Config.FwEnv)
		}
		if !same {
			return problem(fmt.Sprintf("%v is not on the disk of the slots", l),
				"a card that is exchanged, or written anew, would meet an environment that tells of another one; nothing is installed",
				"keep the environment on the disk of the slots")
		}
	}
	return ok("on the disk of the slots")
}

// lookEnvPlace looks for copies that lie within a partition of their disk.
func lookEnvPlace(p *patient) Result {
	for _, l := range p.UBoot.Locations() {
		d, found := p.device(l.Path)
		if !found || d.isPartition() {
			continue
		}
		for _, q := range d.partitions() {
			if l.Offset < q.start()+q.size() && q.start() < l.Offset+l.Size {
				return problem(fmt.Sprintf("%v lies within %s", l, q.name()),
					"the file system there and the bootloader overwrite each other",
					"let the first partition begin behind the environment, at 24 MiB for instance")
			}
		}
	}
	return ok("outside of every partition, or a partition or file of its own")
}

func lookEnvWritable(p *patient) Result {
	// A change of nothing takes the lock and writes nothing.
	err := p.UBoot.Update(func(bootloader.Env) error { return nil })
	if err != nil && !errors.Is(err, bootloader.ErrNoCopy) {
		return problem(err.Error(), "no slot can be armed", "make the lock's folder writable at every boot, and run plimsoll as root")
	}
	switch err := p.UBoot.Check(); {
	case err == nil:
		return ok("as far as the kernel knows")
	case errors.Is(err, bootloader.ErrPending), errors.Is(err, bootloader.ErrNoCopy), errors.Is(err, bootloader.ErrCannotSave),
		errors.Is(err, bootloader.ErrNoLimit), errors.Is(err, bootloader.ErrSingleCopy), p.envErr != nil:
		return ok("not asked now: %v", err)
	default:
		return problem(err.Error(), "no slot can be armed", "take the write protection away, or keep the environment elsewhere")
	}
}

// spare is how much of an environment should be free: an arm adds some
// variables, and one that does not fit is refused.
const spare = 512

func lookEnvSpace(p *patient) Result {
	size := p.UBoot.Locations()[0].Size
	used := int64(6)
	for name, value := range p.env {
		used += int64(len(name) + len(value) + 2)
	}
	if free := size - used; free < spare {
		return warning(fmt.Sprintf("%d of %d bytes are free", max(free, 0), size),
			"variables that do not fit are refused: then no slot can be armed",
			"remove variables with fw_setenv, or build the bootloader with a larger environment")
	}
	return ok("%d of %d bytes are used", used, size)
}

func lookCanary(p *patient) Result {
	if !p.state.CanSave {
		return problem("the bootloader never showed that it can save its environment (mender_saveenv_canary)",
			"it could not count the boots of a trial, and never fall back; no slot is armed",
			"see that the bootloader can write where its environment is, and start the device once")
	}
	return ok("the bootloader can save, or is not asked to show it")
}
