package doctor

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

func lookStateDir(p *patient) Result {
	const means = "what is tried, and what failed, could not be remembered across an update: nothing is installed, and no trial is kept"
	const do = "mount a writable partition, which is neither slot, where state_dir is"
	dir := p.Device.StateDir
	if p.Slots == nil {
		if err := p.Device.CheckState(); err != nil {
			return problem(err.Error(), means, do)
		}
	}
	if err := tryWriting(dir); err != nil {
		return problem(err.Error(), means, do)
	}
	if p.Device.Bench {
		return ok("%s", dir)
	}
	m, err := p.Device.Host.MountOf(dir)
	switch {
	case err != nil:
		return problem(err.Error(), means, do)
	case m.Point == "/": // where the slots are not known either
		return problem(dir+" is on the root file system", means, do)
	}
	return ok("%s, on %s mounted at %s", dir, m.Source, m.Point)
}

// tryWriting proves that dir takes a file and keeps it, under a name of its own:
// whoever else is at work there is not disturbed.
func tryWriting(dir string) error {
	f, err := os.CreateTemp(dir, ".doctor-")
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, 4096))
	return errors.Join(err, f.Sync(), f.Close(), os.Remove(f.Name()))
}

func lookStateMount(p *patient) Result {
	m, err := p.Device.Host.MountOf(p.Device.StateDir)
	if err != nil || m.Point == "/" {
		return Result{Level: Warning, Found: "not looked at: see state-dir"}
	}
	const means = "when that mount fails, a device waits in emergency mode for a person with a keyboard"
	options, listed := p.fstab(m.Point)
	unit := escape(m.Point) + ".mount"
	file, required := p.mountUnit(unit)
	switch {
	case !p.systemd():
		return ok("%s: this init does not stop for a mount that fails", m.Point)
	case listed && !slices.Contains(options, "nofail") && !slices.Contains(options, "noauto"):
		return problem(fmt.Sprintf("%s is in /etc/fstab without nofail", m.Point), means,
			"add nofail,x-systemd.device-timeout=1min to its options")
	case listed && p.enabled(resumeUnit) != "" && !p.after(resumeUnit, unit):
		return problem(fmt.Sprintf("%s does not wait for %s", resumeUnit, unit),
			"a good update is judged before its state directory is there, and goes back",
			"systemctl edit "+resumeUnit+": below [Unit], After="+unit)
	case listed:
		return ok("%s is in /etc/fstab, with nofail", m.Point)
	case required:
		return problem(fmt.Sprintf("%s is required by local-fs.target", unit), means,
			"install it as wanted: WantedBy=local-fs.target instead of RequiredBy=")
	case file != "":
		return ok("%s is mounted by %s, which the boot does not depend on", m.Point, unit)
	}
	return ok("%s has no line in /etc/fstab and no unit: something else mounts it, and must not stop the boot when that fails", m.Point)
}

// fstab returns the options of the line for a mount point.
func (p *patient) fstab(point string) (options []string, listed bool) {
	for line := range strings.Lines(read(p.file("/etc/fstab"))) {
		f := strings.Fields(line)
		if len(f) < 3 || strings.HasPrefix(f[0], "#") || filepath.Clean(f[1]) != point {
			continue
		}
		if len(f) > 3 {
			options = strings.Split(f[3], ",")
		}
		return options, true
	}
	return nil, false
}

// mountUnit looks for a unit that mounts, and whether the boot depends on it.
func (p *patient) mountUnit(unit string) (file string, required bool) {
	for _, dir := range unitDirs {
		if path := p.file(filepath.Join(dir, unit)); exists(path) {
			file = path
		}
		if exists(p.file(filepath.Join(dir, "local-fs.target.requires", unit))) {
			required = true
		}
	}
	return file, required
}

const resumeUnit = "plimsoll-resume.service"

// after reports whether a unit says, itself or in a drop-in, that it starts
// after another, or needs the mount of a path at or beneath it.
func (p *patient) after(unit, other string) bool {
	var files []string
	for _, dir := range unitDirs {
		more, _ := filepath.Glob(p.file(filepath.Join(dir, unit+".d", "*.conf")))
		files = append(append(files, p.file(filepath.Join(dir, unit))), more...)
	}
	for _, file := range files {
		for line := range strings.Lines(read(file)) {
			key, value, _ := strings.Cut(line, "=")
			words := strings.Fields(value)
			switch strings.TrimSpace(key) {
			case "After":
				if slices.Contains(words, other) {
					return true
				}
			case "RequiresMountsFor", "WantsMountsFor":
				for _, path := range words {
					if strings.HasPrefix(escape(path)+"-", strings.TrimSuffix(other, ".mount")+"-") {
						return true
					}
				}
			}
		}
	}
	return false
}

// escape is systemd's name of a path (systemd-escape --path).
func escape(path string) string {
	var b strings.Builder
	for i, c := range []byte(strings.Trim(path, "/")) {
		switch {
		case c == '/':
			b.WriteByte('-')
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == ':', c == '.' && i > 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, `\x%02x`, c)
		}
	}
	return b.String()
}

// What the state directory should have free: its files are replaced by writing
// the new one beside the old.
const (
	scarce = 4 << 20
	toofew = 1 << 20
	inodes = 16
)

func lookStateSpace(p *patient) Result {
	var st unix.Statfs_t
	if err := unix.Statfs(p.Device.StateDir, &st); err != nil {
		return Result{Level: Warning, Found: "not looked at: see state-dir"}
	}
	files := int64(st.Ffree)
	if st.Files == 0 {
		files = inodes // a file system that does not count them
	}
	return space(int64(st.Bavail)*int64(st.Bsize), files)
}

func space(free, files int64) Result {
	found := fmt.Sprintf("%s and %d files are free", mib(free), files)
	const do = "free space on the state directory's file system, and bound what else writes there"
	switch {
	case free < toofew || files < inodes:
		return problem(found, "an update is refused when its record does not fit", do)
	case free < scarce:
		return warning(found, "an update will be refused when its record does not fit", do)
	}
	return ok("%s", mib(free)+" are free")
}

// What an eMMC says of itself (JESD84-B51, EXT_CSD 267 to 269).
const (
	lifeWorn    = 0x09 // 80 to 90 % of its life is used
	lifeOver    = 0x0b // more than was estimated
	eolUrgent   = 0x03 // nine tenths of the spare blocks are used
	eolConsumed = 0x02 // eight tenths are
)

func lookEMMCLife(p *patient) Result {
	d, found := p.slotDisk()
	life, eol := d.attr("device", "life_time"), d.attr("device", "pre_eol_info")
	switch {
	case !found && p.Slots != nil:
		return Result{Level: Warning, Found: "not looked at: see slots"}
	case life == "" && eol == "":
		return ok("the medium (%s) does not tell its age", orUnknown(d.name()))
	}
	worst := int64(0) // of the two kinds of cells
	for _, field := range strings.Fields(life) {
		worst = max(worst, hexadecimal(field))
	}
	spare := hexadecimal(eol)
	told := fmt.Sprintf("%s: life_time %s, pre_eol_info %s", d.name(), orUnknown(life), orUnknown(eol))
	switch {
	case worst >= lifeOver || spare >= eolUrgent:
		return problem(told, "the medium is at its end: it may turn read-only, or lose what is written", "replace it before the next update")
	case worst >= lifeWorn || spare >= eolConsumed:
		return warning(told, "more than 80 % of the medium's life is used", "plan to replace it, and look for what writes that much")
	}
	return ok("%s", told)
}
