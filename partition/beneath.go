package partition

import (
	"os"
	"path/filepath"
	"strings"
)

// A stack is what lies beneath a file system or a device: every device the
// walk passed, in the order it met them, and the files behind loop devices.
type stack struct {
	devs   []devnum // partitions, disks, mapped devices, anonymous file systems
	files  []string // backing files of loop devices
	leaves []devnum // devices with nothing further beneath
	hidden bool     // an overlay or loop whose lower parts no path here leads to
}

// A walker descends from mounts and devices: overlay to its layers, loop to
// the file system of its backing file, device mapper to its slaves.
type walker struct {
	h      Host
	mounts mountTable
	upper  bool // descend to where overlays keep their changes, too
	seen   map[devnum]bool
	stack  stack
}

func (h Host) walker() (*walker, error) {
	ms, err := h.mounts()
	if err != nil {
		return nil, err
	}
	return &walker{h: h, mounts: ms, seen: map[devnum]bool{}}, nil
}

// beneathRoot walks down from "/" to what the system was started from; where an
// overlay keeps its changes is another matter.
func (h Host) beneathRoot() (stack, error) {
	w, err := h.walker()
	if err != nil {
		return stack{}, err
	}
	if m, ok := w.mounts.root(); ok {
		w.mount(m)
	}
	return w.stack, nil
}

// beneathPath walks down from the file system that holds path, or from path
// itself if that is a block device.
func (h Host) beneathPath(path string) (stack, error) {
	w, err := h.walker()
	if err != nil {
		return stack{}, err
	}
	w.upper = true
	real := resolve(h.devPath(path))
	if d, ok := blockDevice(real); ok {
		w.device(d)
	} else {
		w.path(real)
	}
	return w.stack, nil
}

func (w *walker) path(path string) {
	if m, ok := w.mounts.holding(path); ok {
		w.mount(m)
	}
}

func (w *walker) mount(m Mount) {
	if m.dev.major != 0 {
		w.device(m.dev)
		return
	}
	// btrfs, bcachefs and UBIFS number themselves; the source names the device.
	if d, ok := blockDevice(w.h.devPath(m.Source)); ok && strings.HasPrefix(m.Source, "/dev/") {
		w.device(d)
		return
	}
	if w.seen[m.dev] {
		return
	}
	w.seen[m.dev] = true
	w.stack.devs = append(w.stack.devs, m.dev)
	if m.Type != "overlay" {
		w.stack.leaves = append(w.stack.leaves, m.dev)
		return
	}
	lower, upper := m.layers()
	for _, dir := range lower {
		w.layer(m, dir)
	}
	if upper != "" && w.upper {
		w.layer(m, upper)
	}
}

// layer descends into one folder of an overlay. A path that is not there, or
// leads back to the overlay, was written down before the root was switched:
// what it meant then cannot be seen from here.
func (w *walker) layer(overlay Mount, dir string) {
	m, ok := w.mounts.holding(resolve(dir))
	if !ok || m.id == overlay.id || !filepath.IsAbs(dir) || !exists(dir) {
		w.stack.hidden = true
		w.stack.leaves = append(w.stack.leaves, overlay.dev)
		return
	}
	w.mount(m)
}

func (w *walker) device(d devnum) {
	if w.seen[d] {
		return
	}
	w.seen[d] = true
	w.stack.devs = append(w.stack.devs, d)
	b, ok := w.h.block(d)
	if !ok {
		w.stack.leaves = append(w.stack.leaves, d)
		return
	}
	if file := b.backing(); file != "" {
		w.loop(file)
		return
	}
	slaves := b.slaves()
	for _, s := range slaves {
		w.device(s)
	}
	if len(slaves) == 0 {
		w.stack.leaves = append(w.stack.leaves, d)
	}
}

func (w *walker) loop(file string) {
	w.stack.files = append(w.stack.files, file)
	m, ok := w.mounts.holding(resolve(file))
	if !ok || !exists(file) {
		w.stack.hidden = true // the path is of another namespace
		return
	}
	w.mount(m)
}

// holds reports whether the slot is part of the stack.
func (st stack) holds(s Slot) bool {
	if s.block {
		for _, d := range st.devs {
			if d == s.dev {
				return true
			}
		}
		return false
	}
	for _, f := range st.files {
		if sameFile(f, s.Path) {
			return true
		}
	}
	return false
}

// disks returns the disks that the leaves of a stack are part of; a file
// system without a device stands for itself.
func (h Host) disks(st stack) []devnum {
	var disks []devnum
	for _, d := range st.leaves {
		if b, ok := h.block(d); ok {
			if whole, ok := b.disk().devnum(); ok {
				d = whole
			}
		}
		if !contains(disks, d) {
			disks = append(disks, d)
		}
	}
	return disks
}

func contains(devs []devnum, d devnum) bool {
	for _, e := range devs {
		if e == d {
			return true
		}
	}
	return false
}

// sameFile reports whether two paths lead to one file, by any kind of link.
func sameFile(a, b string) bool {
	x, err1 := os.Stat(a)
	y, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(x, y)
}
