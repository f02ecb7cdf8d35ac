package doctor

import (
	"fmt"
	"slices"
	"strings"

	"github.com/plimsoll-ota/plimsoll/bootloader"
	"github.com/plimsoll-ota/plimsoll/install"
)

func lookBootCounter(p *patient) Result {
	switch p.state.Counter {
	case bootloader.CounterScript:
		return p.scriptCounts("our boot script counts, in the environment")
	case bootloader.CounterRegister:
		if p.state.RegisterLimit != 0 {
			return problem(fmt.Sprintf("the bootloader counts every boot in a register, and the environment has bootlimit=%d", p.state.RegisterLimit),
				"a healthy system falls back after that many boots",
				"fw_setenv bootlimit")
		}
		return p.scriptCounts("our boot script counts, beside a register that counts every boot")
	}
	switch {
	case p.state.Limit == 0:
		return problem("the bootloader counts, and bootlimit is not set",
			"it would never fall back from a trial; no slot is armed", "set bootlimit in the bootloader's environment")
	case !p.state.AltBoot:
		return problem("the bootloader counts, and altbootcmd is not set",
			"beyond the limit it would stop at its prompt; no slot is armed",
			"set altbootcmd in the bootloader's environment, or name who counts: [bootloader] counter")
	}
	return ok("the bootloader counts, in the environment; bootlimit is %d", p.state.Limit)
}

// scriptCounts: whether the script is there is seen by what it tells the kernel.
func (p *patient) scriptCounts(how string) Result {
	_, slot := p.args["plimsoll.slot"]
	_, script := p.args["plimsoll.script"]
	if p.Device.Bench || slot || script {
		return ok("%s", how)
	}
	return warning(how+", and the kernel was not started by it",
		"nobody counts the boots of a trial: an update that hangs stays",
		"put the board's boot script where the bootloader looks first; or name who counts: [bootloader] counter")
}

func lookBootScript(p *patient) Result {
	have, want := p.args["plimsoll.script"], p.Board.Script
	switch {
	case have == want && have != "":
		return ok("%s, the board's", have)
	case have == "" && want == "":
		return ok("none: the bootloader starts the slots by itself")
	case want == "":
		return ok("%s; no board is configured to compare it with", have)
	case have == "":
		return warning("the kernel was not started by the board's boot script ("+want+"), or by one that says nothing of itself",
			"what it does about trials and damaged slots is not known",
			"write the board's script to the boot partition: plimsoll image build has it")
	}
	return warning(fmt.Sprintf("%s started the kernel, and the board's is %s", have, want),
		"an older script, or another one: faults that were mended since are still in it",
		"write the board's script to the boot partition while nobody cuts the power; it is no part of an update")
}

func lookBootCommands(p *patient) Result {
	if p.state.Counter != bootloader.CounterNative {
		return ok("not in this environment")
	}
	have := p.env.Commands()
	switch p.Board.Commands {
	case have:
		return ok("%s, as configured", have)
	case "":
		return ok("%s; [bootloader] commands has none to compare it with", have)
	}
	return warning(fmt.Sprintf("the scripts of the saved environment are %s, and %s is configured", have, p.Board.Commands),
		"the saved environment wins over a newer bootloader's defaults: its old scripts are what runs",
		"compare bootcmd, altbootcmd and mender_setup with the bootloader's defaults, and set those that differ with fw_setenv")
}

// lookBootOrder: a stick that stays in must not be what boots.
func lookBootOrder(p *patient) Result {
	targets, told := p.targets()
	if !told {
		return ok("the bootloader's order is not known here")
	}
	list := strings.Join(targets, " ")
	usb := slices.IndexFunc(targets, func(t string) bool { return kindOf(t) == "usb" })
	if usb < 0 {
		return ok("%s: USB is not among them", list)
	}
	d, found := p.slotDisk()
	if !found {
		return Result{Level: Warning, Found: "not looked at: see slots"}
	}
	kinds := kindsOfDisk(d)
	own := slices.IndexFunc(targets, func(t string) bool { return slices.Contains(kinds, kindOf(t)) })
	switch {
	case slices.Contains(kinds, "usb"):
		return ok("%s, and the slots are on USB", list)
	case own >= 0 && own < usb, len(kinds) == 0 && usb > 0:
		return ok("%s", list)
	}
	return problem(fmt.Sprintf("%s: USB comes before the disk of the slots (%s)", list, d.name()),
		"a stick that stays in, or is slow, can become what boots, or keep the device from starting",
		"let the bootloader look at the disk of the slots first (boot_targets), and at USB never")
}

// targets are where the bootloader looks, in its order: as our boot script
// tells the kernel, else as the environment has it.
func (p *patient) targets() ([]string, bool) {
	text, told := p.args["plimsoll.boot_targets"]
	if !told {
		text = p.env.BootTargets()
		told = text != ""
	}
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' }), told
}

// kindOf is a target without its number.
func kindOf(target string) string { return strings.TrimRight(target, "0123456789") }

// kindsOfDisk are U-Boot's words for what a disk hangs on.
func kindsOfDisk(d device) []string {
	switch name := d.name(); {
	case strings.HasPrefix(name, "mmcblk"):
		return []string{"mmc"}
	case strings.HasPrefix(name, "vd"):
		return []string{"virtio"}
	case strings.HasPrefix(name, "nvme"):
		return []string{"nvme"}
	case strings.HasPrefix(name, "sd") && strings.Contains(string(d), "/usb"):
		return []string{"usb"}
	case strings.HasPrefix(name, "sd"):
		return []string{"scsi", "sata", "ahci", "ide", "ufs"}
	}
	return nil
}

func orUnknown(s string) string {
	if s == "" || s == "." {
		return "not known"
	}
	return s
}

// lookDrill asks whether this bootloader was seen to come back.
func lookDrill(p *patient) Result {
	d, t := p.report.Drill, p.report.Trial
	switch {
	case p.Slots != nil || p.UBoot == nil || p.noState != nil || p.report.Problem != nil:
		return Result{Level: Warning, Found: "not looked at: see active, record and state-dir"}
	case t != nil && t.Drill != "" && t.Phase != install.PhaseFailed:
		return ok("one is under way: %s", p.report.Is)
	case d == nil && p.state.Counter == bootloader.CounterRegister:
		return warning("none has passed with this bootloader ("+p.report.Bootloader+"), and its register counts every boot",
			"whether it comes back from an update that hangs is not known, and unattended installations are refused",
			"plimsoll doctor --drill: the device starts twice")
	case d == nil:
		return warning("none has passed with this bootloader ("+p.report.Bootloader+")",
			"whether it comes back from an update that hangs is not known",
			"plimsoll doctor --drill: the device starts twice")
	case !d.Passed:
		return problem(fmt.Sprintf("it failed with this bootloader (%s): %s", d.Version, d.Reason),
			"an update that hangs may need a hand",
			"see boot-counter, boot-script and env-geometry; then plimsoll doctor --drill again")
	}
	return ok("passed with this bootloader (%s)", d.Version)
}

func lookEmergency(p *patient) Result {
	if p.args["plimsoll.emergency"] != "1" {
		return ok("no emergency boot")
	}
	found := "the bootloader could not load the slot that it should, and started the other one"
	if named, known := p.Device.Slots.ByPart(p.state.Part); known && p.Config.Err == nil && p.Slots == nil {
		found = fmt.Sprintf("the bootloader could not load slot %s, which the environment names, and started slot %s", named.Name, orUnknown(p.args["plimsoll.slot"]))
	}
	return problem(found,
		"there is one system left: if this one cannot be loaded any more the device does not start",
		"see the kernel's log for errors of the medium; then install an artifact, which writes the broken slot anew")
}
