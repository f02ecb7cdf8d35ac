package doctor

import (
	"fmt"
	"time"

	"github.com/plimsoll-ota/plimsoll/bootloader"
	"github.com/plimsoll-ota/plimsoll/install"
	"github.com/plimsoll-ota/plimsoll/partition"
)

// A Level says how much a finding matters.
type Level string

const (
	OK      Level = "ok"
	Warning Level = "warning"
	Problem Level = "problem"
)

// A Result is what one check found. Names of checks are interface: scripts
// depend on them.
type Result struct {
	Check string `json:"check"`
	Level Level  `json:"level"`
	Found string `json:"found"`
	Means string `json:"means,omitempty"` // what it leads to; empty where the level is ok
	Do    string `json:"do,omitempty"`    // what to do about it
}

// A World is a device as far as it could be opened.
type World struct {
	Root   string          // stands for "/" where /etc, /run and /lib are read; "" is the running system's
	Now    time.Time       // by the device's clock
	Built  time.Time       // when this program was made; zero if that is not known
	Config Config          // what the device's configuration says
	Device *install.Device // never nil; Slots and Boot only where there is no error below
	Slots  error           // why the slots were not found
	UBoot  *bootloader.UBoot
	Boot   error // why UBoot is nil
	Board  Board
}

// Config is what checks need of the device's configuration beside what is in
// its install.Device.
type Config struct {
	Path       string // of the file
	Err        error  // why it cannot be used: nothing below is known then
	Slots      partition.Spec
	FwEnv      string // path of fw_env.config
	SingleCopy bool   // an environment of one copy is accepted
	Unsigned   bool   // artifacts without a signature are accepted
	Keys       int    // keys that are trusted
	KeysErr    error  // why there are none

	Deadline time.Duration // of the health checks, from the boot
}

// Board is what a device should have, by its board's profile. Empty strings are
// not known.
type Board struct {
	Script   string // identity of the boot script, as it tells the kernel in plimsoll.script
	Commands string // Commands of its environment, for a bootloader that starts the slots by itself
}

// A check is one point of the list.
type check struct {
	name  string
	needs need
	real  bool // makes no sense on a bench
	look  func(*patient) Result
}

// A need is what a check rests on.
type need int

const (
	nothing     need = iota
	config           // the configuration
	slots            // both slots
	environment      // where the boot environment is
	variables        // a valid copy of it
	active           // the slot that runs
)

// checks is the list, in the order of a boot's cause and effect.
var checks = []check{
	{"config", nothing, false, lookConfig},
	{"device-type", config, false, lookDeviceType},
	{"keys", config, false, lookKeys},

	{"slots", config, false, lookSlots},
	{"slot-names", config, true, lookSlotNames},
	{"slot-size", slots, false, lookSlotSize},
	{"running", slots, true, lookRunning},
	{"active", active, false, lookActive},
	{"record", config, false, lookRecord},
	{"slot-status", active, false, lookSlotStatus},
	{"inactive", active, true, lookInactive},
	{"filesystem-ids", slots, true, lookFilesystemIDs},

	{"env-config", config, false, lookEnvConfig},
	{"env-copies", environment, false, lookEnvCopies},
	{"env-geometry", environment, false, lookEnvGeometry},
	{"env-backup", environment, false, lookEnvBackup},
	{"env-disk", environment, true, lookEnvDisk},
	{"env-place", environment, true, lookEnvPlace},
	{"env-writable", environment, false, lookEnvWritable},
	{"env-space", variables, false, lookEnvSpace},
	{"canary", variables, false, lookCanary},

	{"boot-counter", variables, false, lookBootCounter},
	{"boot-script", nothing, true, lookBootScript},
	{"boot-commands", variables, true, lookBootCommands},
	{"boot-order", config, true, lookBootOrder},
	{"emergency", nothing, true, lookEmergency},
	{"drill", config, true, lookDrill},
	{"root-argument", nothing, true, lookRootArgument},
	{"kernel", nothing, true, lookKernel},

	{"state-dir", config, false, lookStateDir},
	{"state-mount", config, true, lookStateMount},
	{"state-space", config, false, lookStateSpace},
	{"alignment", slots, true, lookAlignment},
	{"emmc-life", config, true, lookEMMCLife},

	{"resume", nothing, true, lookResume},
	{"trial-units", nothing, true, lookTrialUnits},
	{"trial-deadline", nothing, true, lookDeadline},
	{"data-unit", nothing, true, lookDataUnit},
	{"other-client", nothing, true, lookOtherClient},
	{"watchdog", nothing, true, lookWatchdog},
	{"panic", nothing, true, lookPanic},
	{"clock", nothing, false, lookClock},
}

// Names returns the names of all checks, in their order.
func Names() []string {
	var names []string
	for _, c := range checks {
		names = append(names, c.name)
	}
	return names
}

// Examine runs every check. There is one result for each, in the order of
// Names.
func Examine(w World) []Result {
	p := admit(w)
	var all []Result
	for _, c := range checks {
		r := p.run(c)
		r.Check = c.name
		all = append(all, r)
	}
	return all
}

func (p *patient) run(c check) Result {
	if c.real && p.Device.Bench {
		return ok("a bench: not asked")
	}
	if missing := p.lacks(c.needs); missing != "" {
		return Result{Level: Warning, Found: "not looked at: see " + missing}
	}
	return c.look(p)
}

// lacks names the check that says why a need is not met.
func (p *patient) lacks(n need) string {
	switch {
	case n == nothing:
		return ""
	case p.Config.Err != nil:
		return "config"
	case (n == slots || n == active) && p.Slots != nil:
		return "slots"
	case (n == environment || n == variables) && p.UBoot == nil:
		return "env-config"
	case n == variables && p.env == nil:
		return "env-copies"
	case n == active && p.running == "":
		return p.whyNotActive()
	}
	return ""
}

// ok is a finding that needs no explanation.
func ok(format string, args ...any) Result {
	return Result{Level: OK, Found: fmt.Sprintf(format, args...)}
}

// warning and problem are findings that need one.
func warning(found, means, do string) Result {
	return Result{Level: Warning, Found: found, Means: means, Do: do}
}

func problem(found, means, do string) Result {
	return Result{Level: Problem, Found: found, Means: means, Do: do}
}
