package doctor_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/plimsoll-ota/plimsoll/bootloader"
	"github.com/plimsoll-ota/plimsoll/install"
	"github.com/plimsoll-ota/plimsoll/install/doctor"
	"github.com/plimsoll-ota/plimsoll/partition"
)

const (
	envSize = 0x1000
	mib     = 1 << 20
)

// A tree is a healthy board, as files: an eMMC with the environment before its
// first partition, two slots, and a data partition with the state directory.
// It runs from slot A (partition 2).
type tree struct {
	*testing.T
	dir     string
	options bootloader.Options
	spec    partition.Spec
	copies  []bootloader.Location
	config  doctor.Config
	board   doctor.Board
	bench   bool
	data    install.Data
	now     time.Time
}

const bootID = "11111111-2222-3333-4444-555555555555"

func newTree(t *testing.T) *tree {
	t.Helper()
	w := &tree{T: t, dir: t.TempDir(), now: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)}
	w.disk()
	w.kernel()
	w.root()
	w.write("data/plimsoll/.keep", "")
	w.write("proc/device-tree/chosen/u-boot,version", "U-Boot 2026.01\x00")
	w.record(`{"schema": 1}`)
	w.spec = partition.Spec{A: w.path("dev/mmcblk0p2"), B: w.path("dev/mmcblk0p3")}
	w.options = bootloader.Options{Counter: bootloader.CounterScript}
	w.copies = []bootloader.Location{
		{Path: w.path("dev/mmcblk0"), Offset: 8 * mib, Size: envSize}, {Path: w.path("dev/mmcblk0"), Offset: 16 * mib, Size: envSize},
	}
	w.env(bootloader.Env{
		"mender_boot_part": "2", "mender_boot_part_hex": "2", "upgrade_available": "0", "bootcount": "0", "bootlimit": "3",
	})
	w.config = doctor.Config{
		Path: "/etc/plimsoll/plimsoll.toml", FwEnv: "/etc/fw_env.config", Keys: 1,
		Slots: partition.Spec{A: "2", B: "3"},
	}
	w.board = doctor.Board{Script: "0123456789abcdef"}
	return w
}

// disk makes what the kernel knows of the medium, and the medium.
func (w *tree) disk() {
	const disk = "sys/devices/platform/mmc0/block/mmcblk0"
	w.write(disk+"/dev", "179:0\n")
	w.write(disk+"/size", fmt.Sprintln(1024*mib/512))
	w.write(disk+"/device/life_time", "0x01 0x02\n")
	w.write(disk+"/device/pre_eol_info", "0x01\n")
	for i, start := range []int{24, 64, 320, 576} {
		part := fmt.Sprintf("%s/mmcblk0p%d", disk, i+1)
		w.write(part+"/dev", fmt.Sprintf("179:%d\n", i+1))
		w.write(part+"/partition", fmt.Sprintln(i+1))
		w.write(part+"/start", fmt.Sprintln(start*mib/512))
		w.write(part+"/size", fmt.Sprintln(40*mib/512))
		w.link("../../"+strings.TrimPrefix(part, "sys/"), fmt.Sprintf("sys/class/block/mmcblk0p%d", i+1))
		w.link("../../"+strings.TrimPrefix(part, "sys/"), fmt.Sprintf("sys/dev/block/179:%d", i+1))
	}
	w.link("../../"+strings.TrimPrefix(disk, "sys/"), "sys/class/block/mmcblk0")
	w.link("../../"+strings.TrimPrefix(disk, "sys/"), "sys/dev/block/179:0")
	w.sized("dev/mmcblk0", 32*mib)
	w.sized("dev/mmcblk0p2", 2*mib)
	w.sized("dev/mmcblk0p3", 2*mib)
	w.superblock("dev/mmcblk0p2", "\x01", "root-a")
	w.superblock("dev/mmcblk0p3", "\x02", "root-b")
	// The root is on a file that is slot A, the only way for a file to be one.
	w.write("sys/devices/virtual/block/loop0/dev", "7:0\n")
	w.write("sys/devices/virtual/block/loop0/loop/backing_file", w.path("dev/mmcblk0p2")+"\n")
	w.link("../../devices/virtual/block/loop0", "sys/dev/block/7:0")
}

func (w *tree) kernel() {
	w.write("proc/cmdline", "console=ttyS0 root=PARTUUID=0001-02 panic=5 plimsoll.slot=A plimsoll.script=0123456789abcdef plimsoll.boot_targets=,mmc0,usb0\n")
	w.mounts()
	w.write("proc/swaps", "Filename Type Size Used Priority\n")
	w.write("proc/sys/kernel/random/boot_id", bootID+"\n")
	w.write("proc/sys/kernel/osrelease", "6.12.1-board\n")
	w.write("proc/sys/kernel/panic", "5\n")
	w.write("proc/sys/kernel/panic_on_oops", "1\n")
	w.write("proc/1/comm", "systemd\n")
	w.link("/dev/null", "proc/1/fd/0")
	w.link("/dev/watchdog0", "proc/1/fd/7")
	for name, value := range map[string]string{"state": "active", "bootstatus": "0", "identity": "Board watchdog", "timeout": "30"} {
		w.write("sys/class/watchdog/watchdog0/"+name, value+"\n")
	}
}

// mounts are those of every healthy device, and more.
func (w *tree) mounts(more ...string) {
	lines := append([]string{
		"1 0 7:0 / / rw - ext4 /dev/root rw",
		"2 1 179:1 / " + w.dir + " rw - ext4 /dev/mmcblk0p1 rw",
		"3 2 179:4 / " + w.path("data") + " rw - ext4 /dev/mmcblk0p4 rw",
	}, more...)
	w.write("proc/self/mountinfo", strings.Join(lines, "\n")+"\n")
}

// root is the part of the root file system that is looked at.
func (w *tree) root() {
	w.write("root/lib/modules/6.12.1-board/modules.dep", "")
	w.write("root/etc/fstab", "# the data partition\nLABEL=data "+w.path("data")+" ext4 defaults,nofail,x-systemd.device-timeout=1min 0 2\n")
	w.write("root/run/systemd/system/.keep", "")
	w.write("root/usr/lib/systemd/system/plimsoll-resume.service", "[Unit]\nAfter=basic.target\nRequiresMountsFor="+w.path("data")+"\n")
	w.write("root/run/plimsoll/resume.boot", bootID+" 9\n")
	for unit, target := range map[string]string{
		"plimsoll-resume.service": "multi-user.target", "plimsoll-emergency.service": "emergency.target", "plimsoll-deadline.timer": "sysinit.target",
	} {
		w.link("/usr/lib/systemd/system/"+unit, "root/etc/systemd/system/"+target+".wants/"+unit)
	}
}

func (w *tree) path(name string) string { return filepath.Join(w.dir, name) }

func (w *tree) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *tree) write(name, content string) {
	w.Helper()
	w.must(os.MkdirAll(filepath.Dir(w.path(name)), 0o755))
	w.must(os.WriteFile(w.path(name), []byte(content), 0o644))
}

func (w *tree) remove(name string) { w.Helper(); w.must(os.RemoveAll(w.path(name))) }

func (w *tree) link(target, name string) {
	w.Helper()
	w.must(os.MkdirAll(filepath.Dir(w.path(name)), 0o755))
	w.must(os.Symlink(target, w.path(name)))
}

func (w *tree) sized(name string, size int64) {
	w.Helper()
	w.write(name, "")
	w.must(os.Truncate(w.path(name), size))
}

// put writes into a file that is there.
func (w *tree) put(name string, at int64, b string) {
	w.Helper()
	f, err := os.OpenFile(w.path(name), os.O_RDWR, 0)
	w.must(err)
	_, err = f.WriteAt([]byte(b), at)
	w.must(err)
	w.must(f.Close())
}

// superblock makes what names an ext4 file system.
func (w *tree) superblock(name, uuid, label string) {
	w.put(name, 0x438, "\x53\xef")
	w.put(name, 0x468, strings.Repeat(uuid, 16))
	w.put(name, 0x478, label+strings.Repeat("\x00", 16-len(label)))
}

// env writes both copies; the second is current.
func (w *tree) env(e bootloader.Env) {
	w.Helper()
	for i, l := range w.copies {
		b, err := e.Encode(envSize, len(w.copies) == 2, byte(i+1))
		w.must(err)
		w.put("dev/"+filepath.Base(l.Path), l.Offset, string(b))
	}
}

// change changes variables of the environment; an empty value removes one.
func (w *tree) change(pairs ...string) {
	w.Helper()
	u, err := bootloader.OpenUBoot(w.opened(), w.copies...)
	w.must(err)
	e, err := u.Env()
	w.must(err)
	for i := 0; i < len(pairs); i += 2 {
		e[pairs[i]] = pairs[i+1]
	}
	w.env(e)
}

func (w *tree) opened() bootloader.Options {
	o := w.options
	o.Sys = w.path("sys")
	if o.LockPath == "" {
		o.LockPath = w.path("lock")
	}
	return o
}

// record writes the state directory's file, with a drill that passed where
// nothing is said of one.
func (w *tree) record(s string) {
	if !strings.Contains(s, "drills") {
		s = strings.Replace(s, `"schema": 1`, `"schema": 1, "drills": [{"version": "U-Boot 2026.01", "passed": true}]`, 1)
	}
	w.write("data/plimsoll/state.json", s)
}

// world opens it as the command does.
func (w *tree) world() doctor.World {
	w.Helper()
	host := partition.Host{Proc: w.path("proc"), Sys: w.path("sys"), Dev: w.path("dev")}
	o := doctor.World{
		Root: w.path("root"), Now: w.now, Built: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), Config: w.config, Board: w.board,
		Device: &install.Device{Type: "board", Host: host, StateDir: w.path("data/plimsoll"), TrialBoots: 3, Bench: w.bench, Data: w.data},
	}
	switch {
	case o.Config.Err != nil:
		return o
	case o.Config.Path == noType:
		o.Device.Type = ""
	}
	o.Device.Slots, o.Slots = host.Find(w.spec)
	if o.UBoot, o.Boot = bootloader.OpenUBoot(w.opened(), w.copies...); o.Boot == nil {
		o.Device.Boot = o.UBoot
	}
	return o
}

// examine returns the results by name.
func (w *tree) examine() map[string]doctor.Result {
	w.Helper()
	all := map[string]doctor.Result{}
	for i, r := range doctor.Examine(w.world()) {
		if r.Check != doctor.Names()[i] || r.Found == "" {
			w.Errorf("result %d is %+v", i, r)
		}
		if explained := r.Means != "" && r.Do != ""; (r.Level != doctor.OK) != explained && !skipped(r) {
			w.Errorf("%s is %s, and says %q, %q", r.Check, r.Level, r.Means, r.Do)
		}
		all[r.Check] = r
	}
	for _, r := range all {
		if skipped(r) && !slices.ContainsFunc(reasons(r), func(name string) bool { return all[name].Level != doctor.OK }) {
			w.Errorf("%s: %s, where nothing was found wanting", r.Check, r.Found)
		}
	}
	return all
}

// skipped reports whether a check did not look, because of what others found.
func skipped(r doctor.Result) bool { return strings.HasPrefix(r.Found, notLooked) }

const notLooked = "not looked at: see "

func reasons(r doctor.Result) []string {
	return strings.Fields(strings.NewReplacer(",", " ", " and ", " ").Replace(strings.TrimPrefix(r.Found, notLooked)))
}

// notOK are the checks that looked and are not ok, as NAME=LEVEL.
func notOK(all map[string]doctor.Result) (names []string) {
	for _, name := range doctor.Names() {
		if all[name].Level != doctor.OK && !skipped(all[name]) {
			names = append(names, name+"="+string(all[name].Level))
		}
	}
	return names
}

func (w *tree) noType() { w.config.Path = noType }

// noType stands for a configuration without a device type.
const noType = "no device type"

// single configures one copy, of an environment that has one; where size is
// not 0 there is a copy of another, redundant one as well.
func (w *tree) single(other, size int64) {
	w.Helper()
	u, err := bootloader.OpenUBoot(w.opened(), w.copies...)
	w.must(err)
	e, err := u.Env()
	w.must(err)
	w.put("dev/mmcblk0", 16*mib, strings.Repeat("\xff", envSize))
	w.copies = w.copies[:1]
	w.env(e)
	if size != 0 {
		b, err := e.Encode(int(size), true, 1)
		w.must(err)
		w.put("dev/mmcblk0", other, string(b))
	}
}

// singles makes both places hold an environment of one copy.
func (w *tree) singles() {
	w.Helper()
	b, err := bootloader.Env{"a": "b"}.Encode(envSize, false, 0)
	w.must(err)
	for _, l := range w.copies {
		w.put("dev/mmcblk0", l.Offset, string(b))
	}
}

// move puts a copy of the environment elsewhere.
func (w *tree) move(n int, to int64) {
	w.Helper()
	u, err := bootloader.OpenUBoot(w.opened(), w.copies...)
	w.must(err)
	e, err := u.Env()
	w.must(err)
	w.copies[n].Offset = to
	w.env(e)
}

// elsewhere puts the environment on another disk.
func (w *tree) elsewhere() {
	w.Helper()
	u, err := bootloader.OpenUBoot(w.opened(), w.copies...)
	w.must(err)
	e, err := u.Env()
	w.must(err)
	const disk = "sys/devices/platform/mmc1/block/mmcblk1"
	w.write(disk+"/dev", "180:0\n")
	w.write(disk+"/size", "65536\n")
	w.link("../../"+strings.TrimPrefix(disk, "sys/"), "sys/dev/block/180:0")
	w.sized("other/mmcblk1", 32*mib)
	w.mounts("4 2 180:0 / " + w.path("other") + " rw - ext4 /dev/mmcblk1 rw")
	for i := range w.copies {
		w.copies[i].Path = w.path("other/mmcblk1")
		b, err := e.Encode(envSize, true, byte(i))
		w.must(err)
		w.put("other/mmcblk1", w.copies[i].Offset, string(b))
	}
}
