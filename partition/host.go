package partition

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A Host is where the kernel's view of itself is read. The zero value is the
// running system; each field names a folder that stands for /proc, /sys or
// /dev, so that a copied tree of another machine can be asked as well. Paths
// that begin with /dev/ are looked up beneath Dev.
type Host struct {
	Proc, Sys, Dev string
}

func (h Host) proc(elem ...string) string { return under(h.Proc, "/proc", elem) }
func (h Host) sys(elem ...string) string  { return under(h.Sys, "/sys", elem) }
func (h Host) dev(elem ...string) string  { return under(h.Dev, "/dev", elem) }

func under(base, fallback string, elem []string) string {
	if base == "" {
		base = fallback
	}
	return filepath.Join(append([]string{base}, elem...)...)
}

// devPath maps a path as the kernel or a person writes it into h.Dev.
func (h Host) devPath(path string) string {
	if rest, ok := strings.CutPrefix(path, "/dev/"); ok {
		return h.dev(rest)
	}
	return path
}

// BootID returns the identity of this boot: it changes with every start of the
// kernel and with nothing else.
func (h Host) BootID() (string, error) {
	b, err := os.ReadFile(h.proc("sys/kernel/random/boot_id"))
	if err != nil {
		return "", fmt.Errorf("read boot id: %w", err)
	}
	id := strings.TrimSpace(string(b))
	if id == "" {
		return "", fmt.Errorf("read boot id: %s is empty", h.proc("sys/kernel/random/boot_id"))
	}
	return id, nil
}

// A devnum is a block device as the kernel numbers it. Major 0 is an anonymous
// file system: tmpfs, overlay, NFS, btrfs.
type devnum struct{ major, minor uint32 }

func (d devnum) String() string { return fmt.Sprintf("%d:%d", d.major, d.minor) }

func parseDevnum(s string) (devnum, error) {
	a, b, ok := strings.Cut(strings.TrimSpace(s), ":")
	major, err1 := strconv.ParseUint(a, 10, 32)
	minor, err2 := strconv.ParseUint(b, 10, 32)
	if !ok || err1 != nil || err2 != nil {
		return devnum{}, fmt.Errorf("device number %q: not MAJOR:MINOR", s)
	}
	return devnum{uint32(major), uint32(minor)}, nil
}

// blockDevice returns the number of the block device at path; ok is false for
// anything else, the absent included.
func blockDevice(path string) (d devnum, ok bool) {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return devnum{}, false
	}
	rdev := uint64(st.Rdev)
	return devnum{unix.Major(rdev), unix.Minor(rdev)}, true
}

// A block is a block device's folder in sysfs, symlinks resolved.
type block string

// block returns the folder of a device; ok is false for what sysfs does not
// know.
func (h Host) block(d devnum) (block, bool) {
	dir, err := filepath.EvalSymlinks(h.sys("dev/block", d.String()))
	return block(dir), err == nil
}

func (b block) attr(elem ...string) string {
	c, err := os.ReadFile(filepath.Join(append([]string{string(b)}, elem...)...))
	if err != nil {
		return ""
	}
	return strings.TrimRight(string(c), "\n")
}

func (b block) number(elem ...string) int64 {
	n, err := strconv.ParseInt(strings.TrimSpace(b.attr(elem...)), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func (b block) devnum() (devnum, bool) {
	d, err := parseDevnum(b.attr("dev"))
	return d, err == nil
}

// partition returns the number the kernel gave a partition, 0 for a whole disk.
func (b block) partition() int { return int(b.number("partition")) }

// uevent returns one value of the device's uevent file.
func (b block) uevent(key string) string {
	s := bufio.NewScanner(strings.NewReader(b.attr("uevent")))
	for s.Scan() {
		if v, ok := strings.CutPrefix(s.Text(), key+"="); ok {
			return v
		}
	}
	return ""
}

// name is the device's name beneath /dev; sysfs writes "!" for its "/".
func (b block) name() string {
	if n := b.uevent("DEVNAME"); n != "" {
		return n
	}
	return strings.ReplaceAll(filepath.Base(string(b)), "!", "/")
}

// disk climbs from a partition to its disk, and from an eMMC boot partition
// (a disk of its own to the kernel) to the eMMC it is part of. Only block
// devices have a size; a controller's folder above them may have a "dev".
func (b block) disk() block {
	for {
		parent := block(filepath.Dir(string(b)))
		if parent.attr("size") == "" || parent.attr("dev") == "" {
			return b
		}
		b = parent
	}
}

// children returns the folders of a disk's partitions.
func (b block) children() []block {
	dirs, _ := filepath.Glob(filepath.Join(string(b), "*", "partition"))
	var parts []block
	for _, d := range dirs {
		parts = append(parts, block(filepath.Dir(d)))
	}
	return parts
}

// slaves returns the devices that a mapped device (dm, md) is made of.
func (b block) slaves() []devnum {
	links, _ := filepath.Glob(filepath.Join(string(b), "slaves", "*"))
	var devs []devnum
	for _, l := range links {
		if d, ok := block(l).devnum(); ok {
			devs = append(devs, d)
		}
	}
	return devs
}

// backing returns the file that a loop device shows, "" if it shows none.
func (b block) backing() string { return b.attr("loop", "backing_file") }
