package bootloader

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// sector is what a block device writes in one piece: copies that share one are
// torn together.
const sector = 512

// A medium is a block device or a plain file, whatever it is called.
type medium struct {
	block    bool
	dev, ino uint64 // of a block device: its number, and 0
}

func mediumOf(info fs.FileInfo) (medium, bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !ok:
		return medium{}, false
	case info.Mode().IsRegular():
		return medium{dev: uint64(st.Dev), ino: uint64(st.Ino)}, true
	}
	return medium{block: true, dev: uint64(st.Rdev)}, info.Mode()&fs.ModeCharDevice == 0
}

// An extent is a run of bytes of a medium.
type extent struct {
	medium
	start, end int64
}

// overlaps reports whether two copies share a byte, or a sector of a block
// device. They must not: the write of one would destroy the other.
func (s *storage) overlaps(o *storage) bool {
	a, okA := s.extent()
	b, okB := o.extent()
	if !okA || !okB {
		return s.Path == o.Path && s.Offset < o.Offset+o.Size && o.Offset < s.Offset+s.Size
	}
	return a.medium == b.medium && a.start < b.end && b.start < a.end
}

// extent returns where the copy lies beneath partitions and loop devices.
func (s *storage) extent() (extent, bool) {
	m, ok := mediumOf(s.info)
	e := extent{m, s.Offset, s.Offset + s.Size}
	if !ok {
		return e, false
	}
	if e.block {
		e.start, e.end = e.start/sector*sector, (e.end+sector-1)/sector*sector
	}
	for {
		below, shift, ok := e.below(s.sys)
		if !ok {
			return e, true
		}
		e = extent{below, e.start + shift, e.end + shift}
	}
}

// below returns what m is a part of, and where it begins there. What sysfs does
// not tell is taken for a medium of its own.
func (m medium) below(sys string) (medium, int64, bool) {
	if !m.block {
		return m, 0, false
	}
	dir := filepath.Join(sys, "dev/block", fmt.Sprintf("%d:%d", unix.Major(m.dev), unix.Minor(m.dev)))
	if backing, err := os.ReadFile(filepath.Join(dir, "loop/backing_file")); err == nil {
		info, err := os.Stat(strings.TrimSuffix(string(backing), "\n"))
		if err != nil {
			return m, 0, false
		}
		below, ok := mediumOf(info)
		shift, okShift := readNumber(filepath.Join(dir, "loop/offset"))
		return below, shift, ok && okShift
	}
	if _, err := os.Stat(filepath.Join(dir, "partition")); err != nil {
		return m, 0, false
	}
	start, ok := readNumber(filepath.Join(dir, "start"))
	if !ok {
		return m, 0, false
	}
	real, err := filepath.EvalSymlinks(dir) // …/mmcblk0/mmcblk0p1
	if err != nil {
		return m, 0, false
	}
	number, err := os.ReadFile(filepath.Join(filepath.Dir(real), "dev"))
	if err != nil {
		return m, 0, false
	}
	var major, minor uint32
	if _, err := fmt.Sscanf(string(number), "%d:%d", &major, &minor); err != nil {
		return m, 0, false
	}
	return medium{block: true, dev: unix.Mkdev(major, minor)}, start * sector, true
}

func readNumber(path string) (int64, bool) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	return n, err == nil
}
