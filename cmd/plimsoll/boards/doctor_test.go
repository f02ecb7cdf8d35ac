package boards

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/plimsoll-ota/plimsoll/cmd/internal/machine"
)

// doctor returns the checks that are not ok, with their level, and what the
// doctor found.
func (b *board) doctor() (wanting map[string]string, exit int) {
	b.Helper()
	out, exit := b.run("plimsoll --json doctor")
	wanting = map[string]string{}
	checks := 0
	for line := range strings.Lines(out) {
		var r struct{ Event, Check, Level, Found string }
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			b.Fatalf("doctor: %v: %s", err, line)
		}
		if r.Event != "check" {
			continue
		}
		if checks++; r.Level != "ok" {
			wanting[r.Check] = r.Level + ": " + r.Found
		}
	}
	if checks < 30 {
		b.Fatalf("doctor: only %d checks:\n%s", checks, out)
	}
	return wanting, exit
}

// green fails unless the doctor finds nothing.
func (b *board) green() {
	b.Helper()
	if wanting, exit := b.doctor(); len(wanting) > 0 || exit != 0 {
		b.Errorf("on a healthy board: exit %d, %v", exit, wanting)
	}
}

// finds fails unless a check is what the doctor finds wanting.
func (b *board) finds(check, level string) {
	b.Helper()
	wanting, exit := b.doctor()
	if !strings.HasPrefix(wanting[check], level) || level == "problem" && exit != 5 {
		b.Errorf("%s: got %q, exit %d, want a %s; found wanting: %v", check, wanting[check], exit, level, slices.Sorted(maps.Keys(wanting)))
	}
	b.Logf("%s: %s", check, wanting[check])
}

// TestDoctor: on the healthy board all is green; each fault that is planted is
// found and named, and nothing is left of it when it is taken away.
func TestDoctor(t *testing.T) {
	b := committed(t)
	if err := b.m.Send("plimsoll --quiet doctor --drill --artifact /mnt/2.0.0.mender"); err != nil {
		t.Fatal(err)
	}
	b.expect(`going back`)
	b.settled()
	b.green()

	with := func(change string) string { // another configuration over the one that is there
		return "sed '" + change + "' /etc/plimsoll/plimsoll.toml > /run/toml; mount -o bind /run/toml /etc/plimsoll/plimsoll.toml"
	}
	const withoutToml = "umount /etc/plimsoll/plimsoll.toml"
	for _, c := range []struct{ name, plant, check, level, undo string }{
		{"a key that is not known", with("s/^state_dir/state_folder/"), "config", "problem", withoutToml},
		{"both slots one", with("s/^b = 3/b = 2/"), "slots", "problem", withoutToml},
		{"a slot by a name that moves", with(`s/^a = 2/a = "\/dev\/vda2"/`), "slot-names", "warning", withoutToml},
		{"the state directory on the root", with(`s/^state_dir.*/state_dir = "\/root"/`), "state-dir", "problem", withoutToml},
		{"another counter", with(`s/^counter.*/counter = "native"/`), "boot-counter", "problem", withoutToml},
		{"no keys", "mount -t tmpfs none /etc/plimsoll/keys", "keys", "problem", "umount /etc/plimsoll/keys"},
		{"one copy of two", "head -n 2 /etc/fw_env.config > /run/fw; mount -o bind /run/fw /etc/fw_env.config", "env-geometry", "problem", "umount /etc/fw_env.config"},
		{"another size", "sed s/0x4000/0x8000/ /etc/fw_env.config > /run/fw; mount -o bind /run/fw /etc/fw_env.config", "env-geometry", "problem", "umount /etc/fw_env.config"},
		{"a copy that is damaged", "dd if=/dev/zero of=/dev/vda bs=4096 seek=2048 count=1 conv=notrunc; sync", "env-copies", "warning", "plimsoll doctor --repair-env"},
		{"the inactive slot mounted", "mount -o ro /dev/vda2 /root", "inactive", "problem", "umount /root"},
		{"panic does not reboot", "echo 0 > /proc/sys/kernel/panic", "panic", "warning", "echo 5 > /proc/sys/kernel/panic"},
		{"a clock that was never set", "date -s '1980-01-01 00:00:00'", "clock", "warning", "hwclock -s -u"},
		{"the state directory full", "dd if=/dev/zero of=/data/fill bs=64k", "state-space", "", "rm /data/fill"},
		{"a record of a newer release", `cp /data/plimsoll/state.json /run/; sed -i 's/"schema": 1/"schema": 99/' /data/plimsoll/state.json`, "record", "", "cp /run/state.json /data/plimsoll/state.json"},
	} {
		t.Run(c.name, func(t *testing.T) {
			outer := b.T
			b.T = t
			defer func() { b.T = outer }()
			b.run(c.plant)
			b.finds(c.check, c.level)
			b.do(c.undo)
		})
	}
	b.green()

	// What is planted in front of the kernel.
	b.cut()
	b.config.Watchdog = false
	b.config.UBoot = map[string]string{"boot_targets": "usb0 virtio0"}
	p, err := boardProfile()
	if err != nil {
		t.Fatal(err)
	}
	b.script(strings.ReplaceAll(p.Script(), p.ScriptID(), "0123456789abcdef"))
	b.on()
	b.finds("watchdog", "warning")
	b.finds("boot-order", "problem")
	b.finds("boot-script", "warning")

	// The kept slot cannot be loaded any more.
	b.config.Watchdog, b.config.UBoot = true, nil
	b.do("dd if=/dev/zero of=/dev/vda3 bs=1M count=1; sync")
	b.cut()
	b.script(p.Script())
	b.power()
	b.expect(`slot B cannot be started, trying the other one`)
	b.up()
	b.finds("emergency", "problem")
	if s := b.status(); s.Running != "A" || s.Row != "A5" || !strings.Contains(s.Meaning, "could not") {
		t.Errorf("status: %+v", s)
	}

	// Nothing runs resume.
	b.hook("mount -o bind /bin/true /usr/bin/plimsoll")
	b.restart()
	b.expect(machine.Ready)
	b.do("umount /usr/bin/plimsoll")
	b.finds("resume", "problem")
}
