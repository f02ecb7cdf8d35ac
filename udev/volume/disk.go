package volume

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A Volume is a partition, or a disk that has none. It is a plain value:
// nothing is open.
type Volume struct {
	Device   string // /dev/sda1
	Stick    Stick  // the disk that it is on
	Part     int    // its number; 0 is the disk itself
	Size     int64  // bytes
	Kind     Kind
	Label    string // printable, at most 64 characters; for people only
	UUID     string // or the serial number, as the system writes it that made it; printable
	ESP      bool   // an EFI system partition, which holds a bootloader
	Clean    bool   // of a kind that can be written, and put away in order
	Unclean  string // why it is not, for people; "" of kinds that are never written
	ReadOnly bool   // write-protected
	Err      error  // what kept it from being looked at; Mount returns it as well

	refused string
	block   block
}

// PassedOver reports whether nothing is to be looked for on the volume: it
// holds a bootloader, or nothing at all.
func (v Volume) PassedOver() bool { return v.ESP || v.Kind == Empty }

// How long the partitions of a disk may take to appear, and how long nothing
// must change before they count as complete.
const (
	settleLimit = 5 * time.Second
	settleQuiet = 300 * time.Millisecond
	settlePoll  = 50 * time.Millisecond
)

// maxVolumes bounds how many partitions of a disk are looked at: the kernel takes
// hundreds, and each may be full of names. Sticks have one or two.
const maxVolumes = 16

// Disk waits until the kernel has shown all partitions of a disk, at most five
// seconds, and returns what is on it: its partitions, or the disk itself if it
// has none. Extended partitions and those that hold no file system by their
// type are left out; see also [Volume.PassedOver]. A volume that cannot be read is among them
// and has an Err; so has each behind the sixteenth ([ErrTooMany]).
//
// sys and dev are where sysfs and the device nodes are, "" for /sys and /dev;
// name is the kernel's, such as "sda". Nothing in it is followed as a path. The
// error is [ErrName], or [ErrGone] if the disk is not there, has no medium, or
// went away meanwhile.
func Disk(sys, dev, name string) ([]Volume, error) {
	h := hostAt(sys, dev)
	d, err := h.disk(name)
	if err != nil {
		return nil, err
	}
	stick := h.stick(d)
	uses, err := h.settle(d)
	if err != nil {
		return nil, fmt.Errorf("look at %s: %w", name, err)
	}
	var found []Volume
	for _, p := range d.partitions() {
		n := int(p.number("partition"))
		if p.bytes() == 0 || uses[n] == nothing {
			continue
		}
		if len(found) >= maxVolumes {
			found = append(found, h.unseen(stick, p, n, ErrTooMany))
			continue
		}
		v := h.volume(stick, p, n)
		v.ESP = uses[n] == esp
		found = append(found, v)
	}
	if len(d.partitions()) == 0 {
		found = append(found, h.volume(stick, d, 0))
	}
	if stick.Gone() {
		return nil, fmt.Errorf("look at %s: %w", name, ErrGone)
	}
	return found, nil
}

// settle waits for the partitions of a disk, and returns what its table says
// that they are for.
func (h host) settle(d block) (map[int]use, error) {
	var (
		start = time.Now()
		since = start
		last  map[int]string
		uses  map[int]use
	)
	for {
		if d.bytes() == 0 {
			return nil, ErrGone
		}
		if now := h.shown(d); !maps.Equal(now, last) {
			last, since, uses = now, time.Now(), nil
		}
		quiet, over := time.Since(since) >= settleQuiet, time.Since(start) >= settleLimit
		if quiet && uses == nil {
			var err error
			if uses, err = h.uses(d); err != nil {
				return nil, err
			}
		}
		if over || quiet && complete(d, last, uses) {
			return uses, nil
		}
		time.Sleep(settlePoll)
	}
}

// shown lists what there is of a disk: how large it is (0), and its partitions,
// by number, that have a node.
func (h host) shown(d block) map[int]string {
	all := map[int]string{0: d.attr("size")}
	for _, p := range d.partitions() {
		if f, err := h.open(p); err == nil {
			f.Close()
			all[int(p.number("partition"))] = p.attr("start") + " " + p.attr("size")
		}
	}
	return all
}

// uses reads the partition table. A disk that is one file system has none, if
// the kernel sees none: the first sector of a FAT may look like one.
func (h host) uses(d block) (map[int]use, error) {
	f, err := h.open(d)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if len(d.partitions()) == 0 {
		if c, err := inspect(f, d.bytes()); err != nil || c.kind != Unknown {
			return map[int]use{}, nil // an error is told when the volume is looked at
		}
	}
	sector := d.number("queue", "logical_block_size")
	if sector < 512 || sector > 1<<16 {
		sector = 512
	}
	uses := map[int]use{}
	maps.Copy(uses, readTable(f, int(sector)))
	return uses, nil
}

// complete reports whether the partitions that are shown are all that sysfs
// lists and the table names. Extended ones are hidden by some kernels.
func complete(d block, shown map[int]string, uses map[int]use) bool {
	for _, p := range d.partitions() {
		if _, ok := shown[int(p.number("partition"))]; !ok {
			return false
		}
	}
	for n, u := range uses {
		if _, ok := shown[n]; !ok && u != nothing {
			return false
		}
	}
	return true
}

// volume looks at one partition, or at a disk without any.
func (h host) volume(s Stick, b block, part int) Volume {
	v := h.unseen(s, b, part, nil)
	f, err := h.open(b)
	if err != nil {
		v.Err = fmt.Errorf("open %s: %w", v.Device, err)
		return v
	}
	defer f.Close()
	c, err := inspect(f, v.Size)
	if err != nil {
		v.Err = fmt.Errorf("look at %s: %w", v.Device, v.Stick.explain(err))
	}
	v.take(c)
	return v
}

// unseen is a volume that was not looked at.
func (h host) unseen(s Stick, b block, part int, err error) Volume {
	s.host = h
	return Volume{
		Device: h.dev + "/" + b.name(), Stick: s, Part: part, Size: b.bytes(), Kind: Unknown,
		ReadOnly: s.ReadOnly || part == 0 && b.number("ro") != 0, Err: err, block: b,
	}
}

func (v *Volume) take(c content) {
	v.Kind, v.Label, v.UUID, v.Unclean, v.refused = c.kind, c.label, c.uuid, c.unclean, c.refused
	v.Clean = drivers[c.kind].writes && c.unclean == ""
}

// Explain says what a failed read or write of a file on the volume means: that
// the stick was pulled out ([ErrGone]), that it is wearing out ([ErrMedium]), or
// that the file system is damaged ([ErrCorrupt]), of which drivers say that it
// is an I/O error as well. It waits up to two seconds for the kernel to notice
// that the stick is gone. Errors of another origin are returned as they are.
func (v Volume) Explain(err error) error { return v.Stick.explain(err) }

// What the kernel says of a medium that answers wrongly, and of one that does
// not answer any more, which may begin like the former. A file system that
// cannot write any more becomes read-only.
var (
	badMedium = []error{unix.EIO, unix.EREMOTEIO, unix.ENODATA}
	noMedium  = []error{unix.ENXIO, unix.ENODEV, unix.ENOMEDIUM, unix.ESHUTDOWN, unix.EROFS}
)

func (s Stick) explain(err error) error {
	if isAny(err, []error{unix.EUCLEAN, unix.EBADMSG}) {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	bad := isAny(err, badMedium)
	if !bad && !isAny(err, noMedium) || isAny(err, []error{ErrGone, ErrCorrupt}) {
		return err
	}
	for range 20 {
		if s.Gone() {
			return fmt.Errorf("%w: %w", ErrGone, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
	switch {
	case !bad, errors.Is(err, ErrMedium):
		return err
	case s.Errors >= 0 && s.now().Errors == s.Errors:
		return fmt.Errorf("%w: %w", ErrCorrupt, err) // the disk did all that it was asked for
	}
	return fmt.Errorf("%w: %w", ErrMedium, err)
}

// now looks at the stick again.
func (s Stick) now() Stick {
	b, err := s.host.disk(s.Name)
	if err != nil {
		return s // gone, which is found out elsewhere
	}
	return s.host.stick(b)
}

func isAny(err error, any []error) bool {
	return slices.ContainsFunc(any, func(e error) bool { return errors.Is(err, e) })
}

// String names the volume for messages.
func (v Volume) String() string {
	if v.Label == "" {
		return fmt.Sprintf("%s (%s)", v.Device, v.Kind)
	}
	return fmt.Sprintf("%s (%s, %s)", v.Device, v.Kind, strings.TrimSpace(v.Label))
}
