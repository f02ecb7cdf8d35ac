package partition

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// A Spec is how a configuration names the two slots: "2" is a partition number
// on the disk that backs "/"; "PARTUUID=…" a partition of any disk; anything
// else the path of a block device or of a plain file. APart and BPart are what
// the bootloader calls them; 0 means the partition's number, or the digits that
// end the name (before its suffix: slot2.img is 2).
type Spec struct {
	A, B         string
	APart, BPart int
}

// A Pair is the two slots of a device. They are different storage and bear
// different numbers.
type Pair struct{ A, B Slot }

// Other returns the slot that s is not.
func (p Pair) Other(s Slot) Slot {
	if s.Name == p.A.Name {
		return p.B
	}
	return p.A
}

// ByPart returns the slot that the bootloader knows as number n.
func (p Pair) ByPart(n int) (Slot, bool) {
	switch n {
	case p.A.Part:
		return p.A, true
	case p.B.Part:
		return p.B, true
	}
	return Slot{}, false
}

// Find resolves what spec names. It reads, and changes nothing. Errors wrap
// ErrNoSlot, ErrUnsupported, ErrSameSlot or ErrAmbiguous and say which slot and
// what was looked for.
func (h Host) Find(spec Spec) (Pair, error) {
	a, err := h.find("A", spec.A, spec.APart)
	if err != nil {
		return Pair{}, err
	}
	b, err := h.find("B", spec.B, spec.BPart)
	if err != nil {
		return Pair{}, err
	}
	p := Pair{a, b}
	if err := h.distinct(p); err != nil {
		return Pair{}, err
	}
	return p, nil
}

func (h Host) find(name, spec string, part int) (Slot, error) {
	path, err := h.locate(spec)
	if err != nil {
		return Slot{}, fmt.Errorf("find slot %s: %w", name, err)
	}
	s := Slot{Name: name, Part: part, host: h}
	if s.Path, err = filepath.EvalSymlinks(path); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return Slot{}, fmt.Errorf("find slot %s (%s): %w", name, spec, ErrNoSlot)
		}
		return Slot{}, fmt.Errorf("find slot %s (%s): %w", name, spec, err)
	}
	if err := s.identify(); err != nil {
		return Slot{}, fmt.Errorf("find slot %s (%s): %w", name, spec, err)
	}
	if s.Part == 0 {
		s.Part = s.number(spec)
	}
	if s.Part <= 0 {
		return Slot{}, fmt.Errorf("find slot %s (%s): %w: no digits end its name, and no number is configured", name, spec, ErrNoSlot)
	}
	return s, nil
}

// locate turns a specification into a path that may be a symlink.
func (h Host) locate(spec string) (string, error) {
	if n, ok := digits(spec); ok {
		return h.locateNumber(n)
	}
	if uuid, ok := cutPrefixFold(spec, "PARTUUID="); ok {
		return h.findPartUUID(uuid)
	}
	if spec == "" {
		return "", fmt.Errorf("%w: nothing is configured", ErrNoSlot)
	}
	if rawFlash.MatchString(spec) && !exists(h.devPath(spec)) {
		return "", fmt.Errorf("%s: %w: raw flash (UBI, MTD) is not written by this version", spec, ErrUnsupported)
	}
	return filepath.Abs(h.devPath(spec))
}

// rawFlash matches the ways in which mender.conf and U-Boot name volumes of raw
// flash: ubi0_1, ubi0:rootfs, ubi:rootfs, /dev/mtd3, mtdblock3.
var rawFlash = regexp.MustCompile(`^(/dev/)?(ubi|mtd)(block)?(\d|:)`)

func (h Host) locateNumber(n int) (string, error) {
	disk, err := h.rootDisk()
	if err != nil {
		return "", fmt.Errorf("partition %d: %w", n, err)
	}
	for _, p := range disk.children() {
		if p.partition() == n {
			return h.dev(p.name()), nil
		}
	}
	return "", fmt.Errorf("partition %d of %s: %w", n, disk.name(), ErrNoSlot)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func cutPrefixFold(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

// identify fills in what kind of storage the slot is, and refuses what is none.
func (s *Slot) identify() error {
	fi, err := os.Stat(s.Path)
	if err != nil {
		return err
	}
	switch mode := fi.Mode(); {
	case mode.IsRegular():
		return nil
	case mode.IsDir():
		return fmt.Errorf("%w: it is a folder", ErrUnsupported)
	case mode&fs.ModeCharDevice != 0:
		return fmt.Errorf("%w: it is a character device; raw flash (UBI, MTD) is not written by this version", ErrUnsupported)
	case mode&fs.ModeDevice == 0:
		return fmt.Errorf("%w: it is neither a block device nor a plain file", ErrUnsupported)
	}
	s.block = true
	s.dev, _ = blockDevice(s.Path)
	return s.identifyBlock()
}

// mtdblockMajor is the block translation of MTD (devices.txt): it rewrites
// whole erase blocks behind our back and knows no bad ones.
const mtdblockMajor = 31

func (s *Slot) identifyBlock() error {
	b, ok := s.host.block(s.dev)
	base := filepath.Base(string(b))
	if s.dev.major == mtdblockMajor || ok && (strings.HasPrefix(base, "mtdblock") || strings.HasPrefix(base, "ubiblock")) {
		return fmt.Errorf("%w: it is raw flash (UBI, MTD), which is not written by this version", ErrUnsupported)
	}
	if ok && len(b.children()) > 0 {
		return fmt.Errorf("%w: it is a disk with partitions", ErrUnsupported)
	}
	return nil
}

// number guesses what the bootloader calls the slot.
func (s *Slot) number(spec string) int {
	if n, ok := digits(spec); ok {
		return n
	}
	if s.block {
		if b, ok := s.host.block(s.dev); ok && b.partition() > 0 {
			return b.partition()
		}
	}
	names := []string{filepath.Base(spec), filepath.Base(s.Path)}
	if _, ok := cutPrefixFold(spec, "PARTUUID="); ok {
		names = names[1:]
	}
	for _, name := range names {
		for _, stem := range []string{strings.TrimSuffix(name, filepath.Ext(name)), name} {
			if n := lastDigits(stem); n > 0 {
				return n
			}
		}
	}
	return 0
}

func lastDigits(name string) int {
	n, _ := digits(name[len(strings.TrimRight(name, "0123456789")):])
	return n
}

// distinct refuses a pair of which one slot is, wholly or in part, the other.
func (h Host) distinct(p Pair) error {
	same := func(why string, arg ...any) error {
		return fmt.Errorf("slots %v and %v: %w: %s", p.A, p.B, ErrSameSlot, fmt.Sprintf(why, arg...))
	}
	if p.A.Part == p.B.Part {
		return same("both are number %d", p.A.Part)
	}
	if p.A.block == p.B.block && (p.A.block && p.A.dev == p.B.dev || !p.A.block && sameFile(p.A.Path, p.B.Path)) {
		return same("two names for one")
	}
	if x, y := h.extent(p.A), h.extent(p.B); x.file != "" && y.file != "" && sameFile(x.file, y.file) && x.overlaps(y) {
		return same("both show %s", x.file)
	}
	for _, s := range []Slot{p.A, p.B} {
		st, err := h.beneathSlot(s)
		if err != nil {
			return err
		}
		if st.holds(p.Other(s)) {
			return same("%s is above %s", s.Name, p.Other(s).Name)
		}
	}
	return nil
}

// beneathSlot walks down from a slot through what it maps; the file system that
// a plain file or a loop device's file lies in counts as beneath it.
func (h Host) beneathSlot(s Slot) (stack, error) {
	if s.block {
		return h.beneathPath(s.Path)
	}
	w, err := h.walker()
	if err != nil {
		return stack{}, err
	}
	w.path(s.Path)
	return w.stack, nil
}

// An extent is the part of a file that a slot shows; to is -1 for "its end".
type extent struct {
	file     string
	from, to int64
}

func (x extent) overlaps(y extent) bool {
	return (x.to < 0 || y.from < x.to) && (y.to < 0 || x.from < y.to)
}

// extent returns the file behind a slot: the plain file itself, or what its
// loop device shows of one, or what is shown by the loop device it is a
// partition of.
func (h Host) extent(s Slot) extent {
	if !s.block {
		return extent{file: s.Path, to: -1}
	}
	b, ok := h.block(s.dev)
	if !ok {
		return extent{}
	}
	const sector = 512 // the unit of sysfs, whatever the device's own
	disk, from := b.disk(), int64(0)
	if b.partition() > 0 {
		from = b.number("start") * sector
	}
	file := disk.backing()
	if file == "" {
		return extent{}
	}
	from += disk.number("loop", "offset")
	return extent{file, from, from + b.number("size")*sector}
}
