package partition

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Running returns the slot that "/" is on, however many layers above it, if the
// kernel command line does not say otherwise (plimsoll.slot=, root=; a root=
// that names a file system instead of a device, such as UUID= or LABEL=, says
// nothing: both slots may bear it).
//
// Where the layers of "/" cannot be seen, because an initramfs mounted them and
// went away, the command line must name a slot, and the kernel must hold that
// one in use and the other not.
//
// ErrNotSlot: "/" is on neither. ErrAmbiguous: the layers of "/" are on both,
// or the command line names another device; the slot beneath "/" is then
// returned as well if there is one, for a report and nothing else.
func (h Host) Running(p Pair) (Slot, error) {
	s, err := h.running(p)
	if err != nil {
		return s, fmt.Errorf("find the running slot: %w", err)
	}
	return s, nil
}

func (h Host) running(p Pair) (Slot, error) {
	st, err := h.beneathRoot()
	if err != nil {
		return Slot{}, err
	}
	line, err := os.ReadFile(h.proc("cmdline"))
	if err != nil {
		return Slot{}, fmt.Errorf("read kernel command line: %w: %w", ErrAmbiguous, err)
	}
	onA, onB := st.holds(p.A), st.holds(p.B)
	switch {
	case onA && onB:
		return Slot{}, fmt.Errorf("%w: / has layers on both", ErrAmbiguous)
	case onA:
		return p.A, h.agrees(string(line), p, p.A)
	case onB:
		return p.B, h.agrees(string(line), p, p.B)
	case st.hidden:
		return h.unseen(string(line), p)
	}
	return Slot{}, ErrNotSlot
}

func (h Host) agrees(line string, p Pair, s Slot) error {
	if _, against := h.testimony(line, p, s); against != "" {
		return fmt.Errorf("%w: / is on %v, but the kernel was started with %s", ErrAmbiguous, s, against)
	}
	return nil
}

// unseen decides where no path leads to what lies beneath "/".
func (h Host) unseen(line string, p Pair) (Slot, error) {
	for _, s := range []Slot{p.A, p.B} {
		named, against := h.testimony(line, p, s)
		if named != "" && against == "" && s.inUse() && !p.Other(s).inUse() {
			return s, nil
		}
	}
	return Slot{}, fmt.Errorf("%w: what lies beneath / is not visible, and the kernel command line names no slot that is in use", ErrNotSlot)
}

func (s Slot) inUse() bool {
	f, err := s.open(os.O_RDONLY)
	if err == nil {
		f.Close()
	}
	return errors.Is(err, ErrInUse)
}

// testimony returns the argument of the kernel command line that names s as
// what is running, and the one that names something else.
func (h Host) testimony(line string, p Pair, s Slot) (named, against string) {
	args := bootArgs(line)
	say := func(arg string, is bool) {
		if is {
			named = arg
		} else {
			against = arg
		}
	}
	if v, ok := args["plimsoll.slot"]; ok {
		say("plimsoll.slot="+v, p.named(v, s))
	}
	if path, ok := h.rootArg(args["root"]); ok {
		st, err := h.beneathPath(path)
		say("root="+args["root"], err == nil && st.holds(s) && !st.holds(p.Other(s)))
	}
	return named, against
}

// named reports whether a boot script's word for a slot, its letter or its
// number, means s.
func (p Pair) named(word string, s Slot) bool {
	if n, ok := digits(word); ok {
		return n == s.Part
	}
	return strings.EqualFold(word, s.Name)
}

// bootArgs splits a kernel command line; quotes protect spaces, the last of two
// equal names counts, and what follows "--" is for init.
func bootArgs(line string) map[string]string {
	args := map[string]string{}
	quoted := false
	for _, f := range strings.FieldsFunc(line, func(r rune) bool {
		if r == '"' {
			quoted = !quoted
		}
		return !quoted && (r == ' ' || r == '\t' || r == '\n')
	}) {
		if f == "--" {
			break
		}
		k, v, _ := strings.Cut(strings.ReplaceAll(f, `"`, ""), "=")
		args[k] = v
	}
	return args
}

// rootArg resolves the device that root= names. Names of file systems, network
// and memory roots, and names that this system does not know are no evidence.
func (h Host) rootArg(v string) (path string, known bool) {
	if uuid, ok := cutPrefixFold(v, "PARTUUID="); ok {
		if strings.Contains(uuid, "/") { // PARTNROFF: an offset from another partition
			return "", false
		}
		path, err := h.findPartUUID(uuid)
		return path, err == nil
	}
	if d, err := parseDevnum(v); err == nil {
		b, ok := h.block(d)
		if !ok {
			return "", false
		}
		return h.dev(b.name()), true
	}
	name, ok := strings.CutPrefix(v, "/dev/")
	if !ok {
		return "", false
	}
	for _, vague := range []string{"disk/by-uuid/", "disk/by-label/", "ram", "root", "nfs"} {
		if strings.HasPrefix(name, vague) {
			return "", false
		}
	}
	path = h.dev(name)
	_, isBlock := blockDevice(path)
	return path, isBlock
}

// Holds reports whether path is on the slot: on its file system, or on an
// overlay or a loop device that is. Of a path that does not exist yet, what
// exists of it counts. Where layers beneath path cannot be seen, it is on every
// slot that somebody uses.
func (h Host) Holds(s Slot, path string) (bool, error) {
	st, err := h.beneathPath(path)
	if err != nil {
		return false, fmt.Errorf("look beneath %s: %w", path, err)
	}
	if st.holds(s) || !st.hidden {
		return st.holds(s), nil
	}
	if s.block {
		return s.inUse(), nil
	}
	return h.loopOf(s.Path) != "", nil
}

// SameDisk reports whether path (a block device, or a file on its file system)
// is on the disk that holds the slot. Flash that is no block device never is.
func (h Host) SameDisk(s Slot, path string) (bool, error) {
	if fi, err := os.Stat(h.devPath(path)); err == nil && fi.Mode()&os.ModeCharDevice != 0 {
		return false, nil
	}
	if h.partsOfOne(s.Path, path) {
		return true, nil
	}
	slot, err := h.beneathSlot(s)
	if err != nil {
		return false, fmt.Errorf("look beneath %v: %w", s, err)
	}
	other, err := h.beneathPath(filepath.Clean(path))
	if err != nil {
		return false, fmt.Errorf("look beneath %s: %w", path, err)
	}
	disks := h.disks(slot)
	for _, d := range h.disks(other) {
		if contains(disks, d) {
			return true, nil
		}
	}
	return false, nil
}

// partsOfOne reports whether two device nodes are of one disk, whatever that
// lies on: a loop device may have partitions as well as a file beneath it.
func (h Host) partsOfOne(a, b string) bool {
	one, okA := h.wholeDisk(a)
	two, okB := h.wholeDisk(b)
	return okA && okB && one == two
}

// wholeDisk returns the disk that a device node is, or is a partition of.
func (h Host) wholeDisk(path string) (devnum, bool) {
	d, ok := blockDevice(h.devPath(path))
	if !ok {
		return devnum{}, false
	}
	b, ok := h.block(d)
	if !ok {
		return devnum{}, false
	}
	return b.disk().devnum()
}
