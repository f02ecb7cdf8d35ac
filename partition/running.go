package partition

import (
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
// ErrNotSlot: "/" is on neither. ErrAmbiguous: the layers of "/" are on both,
// or the command line names another device; the slot beneath "/" is then
// returned as well if there is one, for a report and nothing else.
func (h Host) Running(p Pair) (Slot, error) {
	st, err := h.beneathRoot()
	if err != nil {
		return Slot{}, fmt.Errorf("find the running slot: %w", err)
	}
	onA, onB := st.holds(p.A), st.holds(p.B)
	running := p.A
	switch {
	case onA && onB:
		return Slot{}, fmt.Errorf("find the running slot: %w: / has layers on both", ErrAmbiguous)
	case onB:
		running = p.B
	case !onA && st.hidden:
		return Slot{}, fmt.Errorf("find the running slot: %w: what lies beneath / is not visible (an overlay whose lower folder is not mounted here)", ErrNotSlot)
	case !onA:
		return Slot{}, fmt.Errorf("find the running slot: %w", ErrNotSlot)
	}
	line, err := os.ReadFile(h.proc("cmdline"))
	if err != nil {
		return running, fmt.Errorf("read kernel command line: %w: %w", ErrAmbiguous, err)
	}
	if arg, says := h.contradicts(string(line), p, running); says {
		return running, fmt.Errorf("find the running slot: %w: / is on %v, but the kernel was started with %s", ErrAmbiguous, running, arg)
	}
	return running, nil
}

// contradicts returns the argument of the kernel command line that names
// something else than the running slot.
func (h Host) contradicts(line string, p Pair, running Slot) (arg string, says bool) {
	args := bootArgs(line)
	if v, ok := args["plimsoll.slot"]; ok && !p.named(v, running) {
		return "plimsoll.slot=" + v, true
	}
	if v, ok := args["root"]; ok {
		path, known := h.rootArg(v)
		if !known {
			return "", false
		}
		st, err := h.beneathPath(path)
		if err != nil || !st.holds(running) || st.holds(p.Other(running)) {
			return "root=" + v, true
		}
	}
	return "", false
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
// exists of it counts.
func (h Host) Holds(s Slot, path string) (bool, error) {
	st, err := h.beneathPath(path)
	if err != nil {
		return false, fmt.Errorf("look beneath %s: %w", path, err)
	}
	return st.holds(s), nil
}

// SameDisk reports whether path (a block device, or a file on its file system)
// is on the disk that holds the slot. Flash that is no block device never is.
func (h Host) SameDisk(s Slot, path string) (bool, error) {
	if fi, err := os.Stat(h.devPath(path)); err == nil && fi.Mode()&os.ModeCharDevice != 0 {
		return false, nil
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
