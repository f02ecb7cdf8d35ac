package doctor_test

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/plimsoll-ota/plimsoll/bootloader"
	"github.com/plimsoll-ota/plimsoll/install/doctor"
)

func TestHealthy(t *testing.T) {
	w := newTree(t)
	all := w.examine()
	for _, name := range doctor.Names() {
		if r := all[name]; r.Level != doctor.OK {
			t.Errorf("%s is %s: %s", name, r.Level, r.Found)
		}
		if r := all[name]; strings.Contains(r.Found, "%!") || strings.Contains(r.Found, "not known") {
			t.Errorf("%s: %s", name, r.Found)
		}
	}
}

// TestFaults plants one fault at a time: exactly the checks that look for it
// must find it, name it, and say what to do.
func TestFaults(t *testing.T) {
	native := func(w *tree) {
		w.options.Counter, w.board.Script = bootloader.CounterNative, ""
		w.cmdline("plimsoll.script=0123456789abcdef", "")
		w.change("altbootcmd", "run mender_altbootcmd", "bootcmd", "run mender_setup", "mender_setup", "setenv bootargs plimsoll.trial=${upgrade_available}")
	}
	register := func(w *tree) {
		w.options.Counter = bootloader.CounterRegister
		w.change("bootlimit", "", "bootcount", "", "plimsoll_limit", "3", "plimsoll_count", "0")
	}
	for _, c := range []struct {
		name  string
		plant func(*tree)
		want  string // CHECK=LEVEL...
		says  string // in what was found by the first of them
	}{
		{"device type unset", func(w *tree) { w.noType() }, "device-type=problem", "none"},
		{"Mender's device type differs", func(w *tree) { w.write("root/var/lib/mender/device_type", "device_type=other\n") }, "device-type=warning", "other"},
		{"Mender's device type is the same", func(w *tree) { w.write("root/data/mender/device_type", "device_type=board\n") }, "", ""},
		{"keys unreadable", func(w *tree) { w.config.KeysErr = errors.New("key.pem: permission denied") }, "keys=problem", "permission denied"},
		{"no keys", func(w *tree) { w.config.Keys = 0 }, "keys=problem", "none"},
		{"unsigned", func(w *tree) { w.config.Unsigned = true }, "keys=warning", "without a signature"},

		{"one slot", func(w *tree) { w.spec.B = w.spec.A }, "slots=problem", "both slots are the same"},
		{"slots by device", func(w *tree) { w.config.Slots.B = "/dev/mmcblk0p3" }, "slot-names=warning", "/dev/mmcblk0p3"},
		{"slots of two sizes", func(w *tree) { w.sized("dev/mmcblk0p3", 3*mib) }, "slot-size=warning", "3.0 MiB"},
		{"kernel command line names the other slot", func(w *tree) { w.cmdline("plimsoll.slot=A", "plimsoll.slot=B") },
			"running=problem", "plimsoll.slot=B"},
		{"root on neither slot", func(w *tree) { w.write("sys/devices/virtual/block/loop0/loop/backing_file", w.path("lock")+"\n") },
			"running=problem", "neither"},
		{"environment names the other slot", func(w *tree) { w.change("mender_boot_part", "3") }, "active=problem", "row A5"},
		{"environment names no slot", func(w *tree) { w.change("mender_boot_part", "") }, "active=problem", "neither"},
		{"record damaged", func(w *tree) { w.record("{") }, "record=warning", "cannot be read"},
		{"inactive slot is bad", func(w *tree) { w.record(`{"schema": 1, "slots": {"B": {"status": "bad", "artifact": "rel-2"}}}`) }, "slot-status=warning", "rel-2"},
		{"inactive slot is half-written", func(w *tree) { w.record(`{"schema": 1, "slots": {"B": {"status": "writing"}}}`) }, "slot-status=warning", "writing"},
		{"inactive slot mounted", func(w *tree) { w.mounts("4 1 179:3 / /media/root-b rw - ext4 /dev/mmcblk0p3 rw") }, "inactive=problem", "/media/root-b"},
		{"inactive slot mounted elsewhere", func(w *tree) { w.write("proc/77/mountinfo", "4 1 179:3 / /mnt rw - ext4 /dev/mmcblk0p3 rw\n") }, "inactive=problem", "/mnt"},
		{"inactive slot mapped", func(w *tree) { w.write("sys/class/block/mmcblk0p3/holders/dm-0/dev", "") }, "inactive=problem", "dm-0"},
		{"inactive slot is swap", func(w *tree) { w.write("proc/swaps", "/dev/mmcblk0p3 partition 1 0 -2\n") }, "inactive=problem", "swap"},
		{"same UUID, root by PARTUUID", func(w *tree) { w.superblock("dev/mmcblk0p3", "\x01", "root-b") }, "", ""},
		{"same UUID, root by UUID", func(w *tree) {
			w.superblock("dev/mmcblk0p3", "\x01", "root-b")
			w.cmdline("root=PARTUUID=0001-02", "root=UUID=0101")
		}, "filesystem-ids=problem root-argument=problem", "same UUID"},
		{"same label, root by label", func(w *tree) {
			w.superblock("dev/mmcblk0p3", "\x02", "root-a")
			w.cmdline("root=PARTUUID=0001-02", "root=LABEL=root-a")
		}, "filesystem-ids=problem root-argument=problem", "same label"},
		{"no drill", func(w *tree) { w.record(`{"schema": 1, "drills": []}`) }, "drill=warning", "none has passed"},
		{"no drill, and a register", func(w *tree) { register(w); w.record(`{"schema": 1, "drills": []}`) }, "drill=warning", "register counts every boot"},
		{"no drill with this bootloader", func(w *tree) { w.write("proc/device-tree/chosen/u-boot,version", "U-Boot 2027.01\x00") }, "drill=warning", "2027.01"},
		{"a drill that failed", func(w *tree) {
			w.record(`{"schema": 1, "drills": [{"version": "U-Boot 2026.01", "passed": false, "reason": "it does not count"}]}`)
		}, "drill=problem", "it does not count"},
		{"root by label", func(w *tree) { w.cmdline("root=PARTUUID=0001-02", "root=LABEL=root-a") }, "root-argument=problem", "LABEL=root-a"},

		{"environment beyond the device", func(w *tree) { w.copies[1].Offset = 64 * mib },
			"env-config=problem", "ends at"},
		{"one copy lost", func(w *tree) { w.put("dev/mmcblk0", 8*mib, "\xff\xff") }, "env-copies=warning", "1 of 2"},
		{"both copies lost", func(w *tree) { w.put("dev/mmcblk0", 8*mib, "\xff\xff"); w.put("dev/mmcblk0", 16*mib, "\xff\xff") },
			"env-copies=problem", "0 of 2"},
		{"one copy is configured of two", func(w *tree) { w.copies = w.copies[:1] },
			"env-copies=problem env-geometry=problem", "0 of"},
		{"one copy configured, the second elsewhere", func(w *tree) { w.single(16*mib, envSize) }, "env-copies=problem env-geometry=problem", "single copy"},
		{"a single copy", func(w *tree) { w.single(0, 0) }, "env-copies=problem", "single copy"},
		{"a single copy, accepted", func(w *tree) { w.single(0, 0); w.config.SingleCopy, w.options.SingleCopy = true, true }, "env-copies=warning", "accepts"},
		{"two copies configured of one", func(w *tree) { w.singles() },
			"env-copies=problem env-geometry=problem", "0 of"},
		{"another size", func(w *tree) { w.copies[0].Size, w.copies[1].Size = 2*envSize, 2*envSize },
			"env-copies=problem env-geometry=problem", "0 of"},
		{"trial flag is a word", func(w *tree) { w.change("upgrade_available", "yes") },
			"env-copies=problem", "not a number"},
		{"backup of another place", func(w *tree) {
			w.record(`{"schema": 1, "artifact": "rel-1", "backup": {"geometry": "elsewhere"}}`)
		}, "env-backup=warning", "elsewhere"},
		{"environment on another disk", func(w *tree) { w.elsewhere() }, "env-disk=problem", "not on the disk"},
		{"environment within a partition", func(w *tree) { w.write("sys/class/block/mmcblk0p1/start", "8192\n") }, "env-place=problem", "mmcblk0p1"},
		{"environment read-only", func(w *tree) { w.options.LockPath = w.path("no/such/lock") }, "env-writable=problem", "lock"},
		{"environment full", func(w *tree) { w.change("filler", strings.Repeat("x", envSize-500)) }, "env-space=warning", "bytes are free"},
		{"canary", func(w *tree) { w.change("mender_check_saveenv_canary", "1") }, "canary=problem", "never showed"},

		{"native", native, "", ""},
		{"native without bootlimit", func(w *tree) { native(w); w.change("bootlimit", "") }, "boot-counter=problem", "bootlimit"},
		{"native without altbootcmd", func(w *tree) { native(w); w.change("altbootcmd", "") }, "boot-counter=problem", "altbootcmd"},
		{"native, scripts older than configured", func(w *tree) { native(w); w.board.Commands = "0000000000000000" }, "boot-commands=warning", "0000000000000000"},
		{"native, kernel not told of a trial", func(w *tree) { native(w); w.change("mender_setup", "true") }, "trial-units=warning", "does not tell"},
		{"register", register, "", ""},
		{"register with a bootlimit", func(w *tree) { register(w); w.change("bootlimit", "3") }, "boot-counter=problem", "bootlimit=3"},
		{"script did not run", func(w *tree) { w.write("proc/cmdline", "root=PARTUUID=0001-02 panic=5\n") }, "boot-counter=warning boot-script=warning", "not started by it"},
		{"script is an older one", func(w *tree) { w.cmdline("plimsoll.script=0123456789abcdef", "plimsoll.script=ffff") }, "boot-script=warning", "ffff"},
		{"USB first", func(w *tree) { w.cmdline(",mmc0,usb0", ",usb0,mmc0") }, "boot-order=problem", "usb0 mmc0"},
		{"USB first, by the environment", func(w *tree) {
			w.cmdline("plimsoll.boot_targets=,mmc0,usb0", "")
			w.change("boot_targets", "usb0 mmc1 mmc0")
		}, "boot-order=problem", "mmcblk0"},
		{"disk is no target", func(w *tree) { w.cmdline(",mmc0,usb0", ",qfw,usb0,virtio0") }, "boot-order=problem", "qfw"},
		{"emergency", func(w *tree) {
			w.cmdline("plimsoll.slot=A", "plimsoll.slot=A plimsoll.emergency=1")
			w.change("mender_boot_part", "3")
		},
			"active=problem emergency=problem", ""},
		{"kernel of another image", func(w *tree) { w.write("proc/sys/kernel/osrelease", "6.12.2-board\n") }, "kernel=problem", "6.12.1-board"},
		{"kernel without modules", func(w *tree) { w.remove("root/lib/modules") }, "", ""},

		{"state directory missing", func(w *tree) { w.remove("data/plimsoll") }, "state-dir=problem", "data/plimsoll"},
		{"state directory on the root", func(w *tree) { w.write("proc/self/mountinfo", "1 0 7:0 / / rw - ext4 /dev/root rw\n") }, "", "-"},
		{"state directory read-only", func(w *tree) {
			w.write("proc/self/mountinfo", strings.ReplaceAll(w.read("proc/self/mountinfo"), w.path("data")+" rw", w.path("data")+" ro"))
		}, "state-dir=problem", "read-only"},
		{"mount without nofail", func(w *tree) { w.write("root/etc/fstab", "LABEL=data "+w.path("data")+" ext4 defaults 0 2\n") }, "state-mount=problem", "without nofail"},
		{"mount without nofail, no systemd", func(w *tree) {
			w.write("root/etc/fstab", "LABEL=data "+w.path("data")+" ext4 defaults 0 2\n")
			w.remove("root/run/systemd")
		}, "", ""},
		{"resume before the mount", func(w *tree) {
			w.write("root/usr/lib/systemd/system/plimsoll-resume.service", "[Unit]\nAfter=data.mount\n")
		}, "state-mount=problem", "does not wait"},
		{"resume after the mount, by a drop-in", func(w *tree) {
			w.write("root/usr/lib/systemd/system/plimsoll-resume.service", "[Unit]\nAfter=data.mount\n")
			w.write("root/etc/systemd/system/plimsoll-resume.service.d/state.conf", "[Unit]\nRequiresMountsFor="+w.path("data")+"/plimsoll\n")
		}, "", ""},
		{"mount by nobody known", func(w *tree) { w.write("root/etc/fstab", "") }, "", ""},
		{"slot not aligned", func(w *tree) { w.write("sys/class/block/mmcblk0p3/start", "655361\n") }, "alignment=warning", "slot B begins at byte 335544832"},
		{"environment not aligned", func(w *tree) { w.move(0, 1*mib) }, "alignment=warning", "byte 1048576"},
		{"eMMC worn", func(w *tree) { w.write("sys/class/block/mmcblk0/device/life_time", "0x01 0x09\n") }, "emmc-life=warning", "0x09"},
		{"eMMC over", func(w *tree) { w.write("sys/class/block/mmcblk0/device/life_time", "0x0b 0x01\n") }, "emmc-life=problem", "0x0b"},
		{"eMMC spares used up", func(w *tree) { w.write("sys/class/block/mmcblk0/device/pre_eol_info", "0x03\n") }, "emmc-life=problem", "0x03"},
		{"SD card", func(w *tree) { w.remove("sys/class/block/mmcblk0/device") }, "", ""},

		{"resume not enabled", func(w *tree) {
			w.remove("root/etc/systemd/system/multi-user.target.wants")
			w.remove("root/run/plimsoll")
		}, "resume=problem", "does not run"},
		{"resume of another boot", func(w *tree) {
			w.remove("root/etc/systemd/system/multi-user.target.wants")
			w.write("root/run/plimsoll/resume.boot", "another 9\n")
		}, "resume=problem", "does not run"},
		{"resume by hand", func(w *tree) {
			w.remove("root/etc/systemd/system/multi-user.target.wants")
			w.write("root/run/plimsoll/resume.boot", bootID+" 4000\n")
		}, "resume=problem", "4000 s"},
		{"resume by an init script", func(w *tree) { w.remove("root/etc/systemd/system/multi-user.target.wants") }, "", ""},
		{"no deadline", func(w *tree) { w.remove("root/etc/systemd/system/sysinit.target.wants") }, "trial-units=warning", "plimsoll-deadline.timer"},
		{"emergency mode waits", func(w *tree) { w.remove("root/etc/systemd/system/emergency.target.wants") }, "trial-units=warning", "plimsoll-emergency.service"},
		{"a deadline after the timer's", func(w *tree) { w.config.Deadline = 20 * time.Minute }, "trial-deadline=warning", "20m0s"},
		{"data without its unit", func(w *tree) { w.data.Snapshot = []string{"/data/app"} }, "data-unit=warning", "plimsoll-early.service"},
		{"data with its unit", func(w *tree) {
			w.data.Carry = []string{"/etc/ssh"}
			w.link("x", "root/etc/systemd/system/sysinit.target.wants/plimsoll-early.service")
		}, "", ""},
		{"Mender's client too", func(w *tree) { w.link("x", "root/etc/systemd/system/multi-user.target.wants/mender-updated.service") }, "other-client=warning", "mender-updated"},
		{"no watchdog", func(w *tree) { w.remove("sys/class/watchdog") }, "watchdog=warning", "none"},
		{"watchdog kept by nobody", func(w *tree) { w.remove("proc/1/fd/7"); w.write("sys/class/watchdog/watchdog0/state", "inactive\n") }, "watchdog=warning", "kept by nobody"},
		{"watchdog kept by the kernel", func(w *tree) { w.remove("proc/1/fd/7") }, "watchdog=warning", "before user space"},
		{"watchdog kept by a daemon", func(w *tree) {
			w.remove("proc/1/fd/7")
			w.link("/dev/watchdog", "proc/55/fd/3")
			w.write("proc/55/comm", "watchdogd\n")
		}, "", ""},
		{"panic stays", func(w *tree) { w.write("proc/sys/kernel/panic", "0\n") }, "panic=warning", "panic=0"},
		{"an oops is no panic", func(w *tree) { w.write("proc/sys/kernel/panic_on_oops", "0\n") }, "", ""},
		{"clock of 1970", func(w *tree) { w.now = time.Unix(0, 0) }, "clock=warning", "1970"},
		{"clock before the program", func(w *tree) { w.now = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC) }, "clock=warning", "2025"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newTree(t)
			c.plant(w)
			all := w.examine()
			if c.says == "-" { // the temporary folder is on the test's own root then: only that it is found
				if all["state-dir"].Level != doctor.Problem {
					t.Errorf("state-dir: %+v", all["state-dir"])
				}
				return
			}
			want := strings.Fields(c.want)
			if got := notOK(all); !slices.Equal(got, want) {
				t.Errorf("not ok:  %v\nwant:    %v", got, want)
			}
			for _, name := range notOK(all) {
				check, _, _ := strings.Cut(name, "=")
				t.Logf("%+v", all[check])
			}
			if len(want) > 0 {
				first, _, _ := strings.Cut(want[0], "=")
				if found := all[first].Found; !strings.Contains(found, c.says) {
					t.Errorf("%s found %q, want %q", first, found, c.says)
				}
			}
		})
	}
}

// cmdline replaces a part of the kernel's command line.
func (w *tree) cmdline(old, new string) {
	w.Helper()
	have := w.read("proc/cmdline")
	if !strings.Contains(have, old) {
		w.Fatalf("%q has no %q", have, old)
	}
	w.write("proc/cmdline", strings.Replace(have, old, new, 1))
}

func (w *tree) read(name string) string {
	w.Helper()
	b, err := os.ReadFile(w.path(name))
	w.must(err)
	return string(b)
}

// TestConfigUnreadable: nothing of the device is known, and what needs no
// configuration is examined all the same.
func TestConfigUnreadable(t *testing.T) {
	w := newTree(t)
	w.config = doctor.Config{Err: errors.New("plimsoll.toml: unknown key slot")}
	w.write("proc/sys/kernel/panic", "0\n")
	all := w.examine()
	if r := all["config"]; r.Level != doctor.Problem || !strings.Contains(r.Found, "unknown key slot") {
		t.Errorf("config: %+v", r)
	}
	for _, name := range []string{"emergency", "root-argument", "kernel", "resume", "watchdog", "clock"} {
		if all[name].Level != doctor.OK {
			t.Errorf("%s: %+v", name, all[name])
		}
	}
	if all["panic"].Level != doctor.Warning || all["panic"].Means == "" {
		t.Errorf("panic: %+v", all["panic"])
	}
	if !strings.HasPrefix(all["state-dir"].Found, "not looked at") {
		t.Errorf("state-dir: %+v", all["state-dir"])
	}
}

// TestBench: a device of files is asked what it can answer, and is ok.
func TestBench(t *testing.T) {
	w := newTree(t)
	w.bench = true
	w.remove("root")
	w.remove("sys/class/watchdog")
	all := w.examine()
	if got := notOK(all); len(got) > 0 {
		t.Errorf("not ok: %v", got)
	}
	if all["watchdog"].Found != "a bench: not asked" || strings.Contains(all["env-copies"].Found, "bench") {
		t.Errorf("%+v, %+v", all["watchdog"], all["env-copies"])
	}
}

// TestNothingIsLeft: an examination changes nothing.
func TestNothingIsLeft(t *testing.T) {
	w := newTree(t)
	before := w.read("dev/mmcblk0")
	w.examine()
	entries, err := os.ReadDir(w.path("data/plimsoll"))
	w.must(err)
	if len(entries) != 2 || w.read("dev/mmcblk0") != before {
		t.Errorf("left behind: %v, or the environment was written", entries)
	}
}

// TestDocumented: every check has its line in the manual.
func TestDocumented(t *testing.T) {
	b, err := os.ReadFile("../../docs/doctor.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range doctor.Names() {
		if strings.Count(string(b), "\n| `"+name+"` |") != 1 {
			t.Errorf("docs/doctor.md has not one line for %s", name)
		}
	}
}
