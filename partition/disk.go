package partition

import (
	"fmt"
	"path/filepath"
)

// RootDisk returns the path of the disk that backs "/".
func (h Host) RootDisk() (string, error) {
	disk, err := h.rootDisk()
	if err != nil {
		return "", err
	}
	return h.dev(disk.name()), nil
}

// Backs reports whether what path is on lies on a disk, given by its device. Of a
// path that does not exist yet, what exists of it counts; where layers beneath it
// cannot be seen, it may lie anywhere, and the answer is true.
func (h Host) Backs(disk, path string) (bool, error) {
	d, ok := h.wholeDisk(disk)
	if !ok {
		return false, fmt.Errorf("find what is on %s: %w: not a block device", disk, ErrUnsupported)
	}
	st, err := h.beneathPath(path)
	if err != nil {
		return false, fmt.Errorf("look beneath %s: %w", path, err)
	}
	return st.hidden || contains(h.disks(st), d), nil
}

// PartitionOf returns the path of partition n of a disk and the size that the
// kernel knows it with; ok is false if the kernel has none, as of a plain file.
func (h Host) PartitionOf(disk string, n int) (path string, size int64, ok bool) {
	d, ok := blockDevice(h.devPath(disk))
	if !ok {
		return "", 0, false
	}
	b, ok := h.block(d)
	if !ok {
		return "", 0, false
	}
	for _, p := range b.children() {
		if p.partition() == n {
			return h.dev(p.name()), p.number("size") * 512, true // sysfs counts in 512 on every disk
		}
	}
	return "", 0, false
}

// MountsOf returns the mounts of the file system on a block device.
func (h Host) MountsOf(device string) ([]Mount, error) {
	d, ok := blockDevice(h.devPath(device))
	if !ok {
		return nil, fmt.Errorf("find mounts of %s: %w: not a block device", filepath.Clean(device), ErrUnsupported)
	}
	all, err := h.mounts()
	if err != nil {
		return nil, err
	}
	var on []Mount
	for _, m := range all {
		if m.dev == d {
			on = append(on, m)
		}
	}
	return on, nil
}
