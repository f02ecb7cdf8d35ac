package boards

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/plimsoll-ota/plimsoll/bootloader"
	profile "github.com/plimsoll-ota/plimsoll/bootloader/board"
)

// A verdict is what a boot script does with the environment that it finds.
type verdict struct {
	says   []string  // its words, without the program's name
	copies [2][]byte // what is on the disk then
	starts [2]string // the kernel's command line of the first attempt and of the second
}

// A decision is how the model comes to a verdict.
type decision struct {
	*profile.Profile
	verdict
	names   []string       // of the variables that are kept
	env     bootloader.Env // of the current copy
	flags   byte           // of that
	current int            // which copy that is, or -1
	slot    string
	trial   bool
}

// model is docs/boards.md, "Who decides which slot boots", of method script: it
// says what a script does of which no slot can be started. A script that cannot
// save goes on all the same.
func model(p *profile.Profile, copies [2][]byte, readOnly bool) verdict {
	d := &decision{Profile: p, verdict: verdict{copies: copies}}
	d.say("boot script %s", p.ScriptID())
	d.names = append(bootloader.ScriptVariables(p.Environment.Counter), p.Boot.Keep...)
	d.choose()
	part, _, trial := bootloader.PartVariables()
	d.slot = "A"
	if d.env[part] == strconv.Itoa(p.Number("b")) {
		d.slot = "B"
	}
	if d.trial = d.env[trial] != "" && d.env[trial] != "0"; d.trial {
		d.count()
		d.save(readOnly)
	}
	d.start()
	return d.verdict
}

func (d *decision) say(format string, args ...any) {
	d.says = append(d.says, fmt.Sprintf(format, args...))
}

// choose takes the newer copy whose checksum is right: larger flags, 0 after
// 255, and the first of equal ones.
func (d *decision) choose() {
	d.current = -1
	for i, raw := range d.copies {
		env, flags, err := bootloader.ParseEnv(raw, true)
		if err != nil {
			continue
		}
		wraps := d.flags == 255 && flags == 0 || d.flags == 0 && flags == 255
		if d.current < 0 || (flags > d.flags) != wraps {
			d.current, d.env, d.flags = i, bootloader.Env{}, flags
			for _, name := range d.names {
				if env[name] != "" {
					d.env[name] = env[name]
				}
			}
		}
	}
	switch d.current {
	case -1:
		d.say("environment from copy ")
		d.say("both copies of the environment are damaged")
	default:
		d.say("environment from copy %c", 'a'+d.current)
	}
}

// count counts a boot of a trial, or goes back.
func (d *decision) count() {
	count, limit := bootloader.CountVariables(d.Environment.Counter)
	allowed, err := strconv.Atoi(d.env[limit])
	if err != nil {
		allowed = 1
	}
	allowed = min(max(allowed, 1), bootloader.MaxScriptBoots)
	n := bootloader.MaxScriptBoots + 1
	switch c := d.env[count]; {
	case c == "":
		n = 1
	case len(c) == 1 && "0" <= c && c < "9":
		n, _ = strconv.Atoi(c)
		n++
	}
	if n <= allowed {
		d.say("boot %d of %d of slot %s, on trial", n, allowed, d.slot)
		d.env[count] = strconv.Itoa(n)
		return
	}
	d.say("%d boots of slot %s without a verdict, going back", allowed, d.slot)
	part, hex, trial := bootloader.PartVariables()
	d.slot, d.trial = other(d.slot), false
	number := d.Number(strings.ToLower(d.slot))
	d.env[part], d.env[hex] = strconv.Itoa(number), strconv.FormatInt(int64(number), 16)
	d.env[trial], d.env[count] = "0", "0"
}

// save writes to the copy that is not current.
func (d *decision) save(readOnly bool) {
	if readOnly {
		d.say("THE ENVIRONMENT CANNOT BE SAVED")
		return
	}
	flags := byte(255)
	switch d.flags {
	case 255:
		flags = 0
	case 0:
		flags = 1
	}
	b, err := d.env.Encode(int(d.Environment.Size), true, flags)
	if err != nil {
		panic("model: " + err.Error()) // what was imported fits
	}
	d.copies[1-d.current] = b
	d.say("saved")
}

// start tries the slot, then the other one, which saves nothing.
func (d *decision) start() {
	d.starts[0] = d.commandLine(d.trial, false)
	d.say("slot %s cannot be started, trying the other one", d.slot)
	d.slot = other(d.slot)
	d.starts[1] = d.commandLine(false, true)
	d.say("neither slot can be started; trying again in 10 seconds")
}

// commandLine is the kernel's, with UUID for the partition's and TARGETS for
// what U-Boot looks at.
func (d *decision) commandLine(trial, emergency bool) string {
	words := []string{"console=" + d.Boot.Console, "root=PARTUUID=UUID-" + d.slot}
	words = append(words, strings.Fields(d.Boot.Args)...)
	words = append(words, "plimsoll.slot="+d.slot)
	if trial {
		words = append(words, "plimsoll.trial=1")
	}
	if emergency {
		words = append(words, "plimsoll.emergency=1")
	}
	return strings.Join(append(words, "plimsoll.script="+d.ScriptID(), "plimsoll.boot_targets=TARGETS"), " ")
}

func other(slot string) string {
	return map[string]string{"A": "B", "B": "A"}[slot]
}
