package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/plimsoll-ota/plimsoll/bootloader"
	"github.com/plimsoll-ota/plimsoll/install"
	"github.com/plimsoll-ota/plimsoll/partition"
)

// A patient is a world, and what several checks want to know of it.
type patient struct {
	World
	args    map[string]string // of the kernel's command line
	env     bootloader.Env    // nil if no copy is valid
	state   bootloader.State
	envErr  error
	report  install.Report
	noState error  // why there is no report
	running string // the slot that runs, "" if that is not known
}

func admit(w World) *patient {
	p := &patient{World: w}
	p.args = arguments(read(p.proc("cmdline")))
	if p.Config.Err != nil {
		return p
	}
	if p.UBoot != nil {
		if p.state, p.envErr = p.UBoot.State(); !errors.Is(p.envErr, bootloader.ErrNoCopy) {
			if env, err := p.UBoot.Env(); err == nil {
				p.env = env
			}
		}
	}
	if p.Slots == nil && p.UBoot != nil {
		p.report, p.noState = p.Device.Status()
		p.running = p.report.Running
	}
	return p
}

// whyNotActive names the check that says why the running slot is not known.
func (p *patient) whyNotActive() string {
	switch {
	case p.UBoot == nil:
		return "env-config"
	case p.Device.Bench, p.env == nil, p.envErr != nil:
		return "env-copies"
	}
	return "running"
}

// slot returns a slot by its name.
func (p *patient) slot(name string) partition.Slot {
	if name == p.Device.Slots.A.Name {
		return p.Device.Slots.A
	}
	return p.Device.Slots.B
}

func (p *patient) both() []partition.Slot {
	return []partition.Slot{p.Device.Slots.A, p.Device.Slots.B}
}

// inactive returns the slot that does not run.
func (p *patient) inactive() partition.Slot { return p.Device.Slots.Other(p.slot(p.running)) }

func (p *patient) proc(elem ...string) string { return under(p.Device.Host.Proc, "/proc", elem) }
func (p *patient) sys(elem ...string) string  { return under(p.Device.Host.Sys, "/sys", elem) }

// file is a path of the root file system.
func (p *patient) file(path string) string { return filepath.Join(p.Root, path) }

func under(base, fallback string, elem []string) string {
	if base == "" {
		base = fallback
	}
	return filepath.Join(append([]string{base}, elem...)...)
}

// read returns a file of one value without the white space around it, or "".
func read(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.Trim(string(b), " \t\n\x00")
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// arguments splits a kernel command line; the last of two equal names counts.
// Quoted values with spaces are of no interest here.
func arguments(line string) map[string]string {
	args := map[string]string{}
	for _, f := range strings.Fields(line) {
		if f == "--" {
			break
		}
		name, value, _ := strings.Cut(f, "=")
		args[name] = value
	}
	return args
}

// A device is a block device as sysfs knows it.
type device string

// device returns what sysfs knows of a device node, false for a plain file.
func (p *patient) device(path string) (device, bool) {
	dev := under(p.Device.Host.Dev, "/dev", nil)
	name, err := filepath.Rel(dev, path)
	if err != nil || strings.HasPrefix(name, "..") {
		return "", false
	}
	dir, err := filepath.EvalSymlinks(p.sys("class/block", strings.ReplaceAll(name, "/", "!")))
	return device(dir), err == nil
}

func (d device) attr(elem ...string) string {
	if d == "" {
		return ""
	}
	return read(filepath.Join(append([]string{string(d)}, elem...)...))
}

func (d device) number(name string) int64 {
	n, err := strconv.ParseInt(d.attr(name), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func (d device) name() string        { return strings.TrimPrefix(filepath.Base(string(d)), ".") }
func (d device) isPartition() bool   { return d.attr("partition") != "" }
func (d device) bootPartition() bool { return strings.Contains(d.disk().name(), "boot") }
func (d device) start() int64        { return d.number("start") * sector }
func (d device) size() int64         { return d.number("size") * sector }

// sector is the unit of sysfs, whatever the device's own.
const sector = 512

// disk returns the disk that a partition is on, and a disk itself.
func (d device) disk() device {
	if d.isPartition() {
		return device(filepath.Dir(string(d)))
	}
	return d
}

// partitions returns the partitions of a disk.
func (d device) partitions() []device {
	var all []device
	found, _ := filepath.Glob(filepath.Join(string(d), "*", "partition"))
	for _, f := range found {
		all = append(all, device(filepath.Dir(f)))
	}
	return all
}

// slotDisk returns the disk of the slots.
func (p *patient) slotDisk() (device, bool) {
	if p.Config.Err != nil || p.Slots != nil {
		return "", false
	}
	d, ok := p.device(p.Device.Slots.A.Path)
	return d.disk(), ok
}

// enabled returns the folder that makes systemd start a unit at boot, relative
// to its folder of units, or "".
func (p *patient) enabled(unit string) string {
	for _, dir := range unitDirs {
		for _, kind := range []string{"wants", "requires"} {
			found, _ := filepath.Glob(filepath.Join(p.file(dir), "*."+kind, unit))
			if len(found) > 0 {
				return filepath.Base(filepath.Dir(found[0]))
			}
		}
	}
	return ""
}

var unitDirs = []string{"/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"}

// systemd reports whether systemd is PID 1.
func (p *patient) systemd() bool { return exists(p.file("/run/systemd/system")) }

// mib writes bytes in MiB.
func mib(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
