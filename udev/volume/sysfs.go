package volume

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A host is where the kernel's view of its disks is read.
type host struct{ sys, dev string }

func hostAt(sys, dev string) host {
	if sys == "" {
		sys = "/sys"
	}
	if dev == "" {
		dev = "/dev"
	}
	return host{sys, dev}
}

// A block is the folder of a disk or partition in sysfs.
type block string

// The kernel's names of disks: sda, mmcblk1, nvme0n1, loop0, dm-0. What comes
// from a unit's instance name is no path.
var diskName = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,30}$`)

func checkName(name string) error {
	if !diskName.MatchString(name) {
		return fmt.Errorf("%w: %q", ErrName, name)
	}
	return nil
}

// disk finds a disk by name.
func (h host) disk(name string) (block, error) {
	if err := checkName(name); err != nil {
		return "", err
	}
	dir, err := filepath.EvalSymlinks(filepath.Join(h.sys, "block", name))
	if err == nil {
		return block(dir), nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("find disk %s: %w", name, err)
	}
	if _, err := os.Stat(filepath.Join(h.sys, "class/block", name)); err == nil {
		return "", fmt.Errorf("%w: %s is a partition; name its disk", ErrName, name)
	}
	if _, err := os.Stat(filepath.Join(h.sys, "block")); err != nil {
		return "", fmt.Errorf("find disk %s: %w", name, err)
	}
	return "", fmt.Errorf("find disk %s: %w", name, ErrGone)
}

func (b block) name() string { return filepath.Base(string(b)) }

func (b block) attr(elem ...string) string {
	if b == "" {
		return ""
	}
	v, err := os.ReadFile(filepath.Join(append([]string{string(b)}, elem...)...))
	if err != nil {
		return "" // what an attribute is missing means is for the caller to say
	}
	return strings.TrimSpace(string(v))
}

// number reads an attribute; 0 if it is not there. ioerr_cnt is hexadecimal.
func (b block) number(elem ...string) int64 {
	n, err := strconv.ParseInt(b.attr(elem...), 0, 64)
	if err != nil {
		return 0
	}
	return n
}

// bytes is the size. sysfs counts in 512 on every disk.
func (b block) bytes() int64 { return b.number("size") * 512 }

func (b block) device() (uint64, bool) {
	major, minor, _ := strings.Cut(b.attr("dev"), ":")
	x, err1 := strconv.ParseUint(major, 10, 32)
	y, err2 := strconv.ParseUint(minor, 10, 32)
	return unix.Mkdev(uint32(x), uint32(y)), err1 == nil && err2 == nil
}

// partitions returns the partitions of a disk in the order of their numbers.
func (b block) partitions() []block {
	attrs, err := filepath.Glob(filepath.Join(string(b), "*", "partition"))
	if err != nil {
		return nil // a bad pattern: the folder's name has no special characters
	}
	var all []block
	for _, a := range attrs {
		all = append(all, block(filepath.Dir(a)))
	}
	sort.Slice(all, func(i, j int) bool { return all[i].number("partition") < all[j].number("partition") })
	return all
}

// open opens the device node of a disk or partition for reading. It must be the
// device that sysfs means: a node may be left of another one.
func (h host) open(b block) (*os.File, error) {
	path := filepath.Join(h.dev, b.name())
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	switch {
	case errors.Is(err, unix.ENXIO), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENOMEDIUM), errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("%w: %w", ErrGone, err)
	case err != nil:
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		f.Close()
		return nil, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	want, ok := b.device()
	if st.Mode&unix.S_IFMT != unix.S_IFBLK || !ok || uint64(st.Rdev) != want {
		f.Close()
		return nil, fmt.Errorf("%s: %w: it is not block device %s", path, ErrGone, b.attr("dev"))
	}
	return f, nil
}
