package image

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Align is the least alignment of partitions and areas: a card rewrites whole
// erase blocks, and a cut may hurt everything in one.
const Align = 4 << 20

const (
	sector  = 512
	block   = 4096    // of the block map, and of ext4
	cleared = 1 << 20 // always written, zero or not: the place of tables and superblocks
)

// An ID is an identity: 16 bytes that nothing else has. A caller derives it
// from what goes in, so that the same input gives the same image.
type ID [16]byte

// Sub returns an identity that follows from id and a name.
func (id ID) Sub(name string) ID {
	sum := sha256.Sum256(append(id[:], name...))
	return ID(sum[:16])
}

// UUID writes an identity as a UUID of version 8, which is the version for
// identities that are derived.
func (id ID) UUID() string {
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}

// The kinds of partition tables.
const (
	MBR = "mbr"
	GPT = "gpt"
)

// A Disk is a disk image to be written.
type Disk struct {
	Table      string // MBR or GPT
	Size       int64
	ID         ID
	Time       time.Time // of the files in FAT
	Partitions []Partition
	Areas      []Area

	Bmap   bool                    // a block map is written beside it, as FILE.bmap
	Report func(done, total int64) // bytes copied; may be nil
}

// A Partition is one entry of the table, numbered from 1 in their order. It
// holds an image, or a FAT file system with files, or nothing.
type Partition struct {
	Name        string // the GPT has it
	Boot        bool   // what the firmware or the bootloader looks for: active, or legacy bootable
	Start, Size int64
	Image       string // a file, of a file system, that is copied
	FAT         []File // files of a FAT file system, made if not nil
	Label       string // of that
}

func (p Partition) end() int64 { return p.Start + p.Size }

// An Area is bytes outside partitions.
type Area struct {
	Name   string // for messages
	Offset int64
	Data   []byte
}

// extent is a range of bytes, and what it is.
type extent struct {
	what       string
	start, end int64
}

// Check returns an error that wraps ErrLayout or ErrSize where parts of the
// disk overlap, are not aligned, or do not fit. Write begins with it.
func (d *Disk) Check() error {
	switch {
	case d.Table != MBR && d.Table != GPT:
		return fmt.Errorf("%w: the table is %q or %q, not %q", ErrLayout, MBR, GPT, d.Table)
	case d.Size <= 0 || d.Size%cleared != 0:
		return fmt.Errorf("%w: the disk's size must be a multiple of %d bytes, not %d", ErrLayout, cleared, d.Size)
	case d.Table == MBR && len(d.Partitions) > 4:
		return fmt.Errorf("%w: %d partitions in an MBR, which has room for 4", ErrLayout, len(d.Partitions))
	case d.Table == MBR && d.Size/sector > 1<<32:
		return fmt.Errorf("%w: a disk of %d bytes needs a GPT", ErrLayout, d.Size)
	case len(d.Partitions) > 128:
		return fmt.Errorf("%w: %d partitions", ErrLayout, len(d.Partitions))
	}
	var all []error
	parts := d.parts()
	for i, p := range d.Partitions {
		if p.Start%Align != 0 || p.Size <= 0 || p.Size%block != 0 {
			all = append(all, fmt.Errorf("%w: partition %d (%s) starts at %d and has %d bytes: its start must be a multiple of %d, its size of %d",
				ErrLayout, i+1, p.Name, p.Start, p.Size, Align, block))
		}
		if p.Image != "" && p.FAT != nil {
			all = append(all, fmt.Errorf("%w: partition %d (%s) has two contents", ErrLayout, i+1, p.Name))
		}
	}
	for _, a := range d.Areas {
		if a.Offset%sector != 0 {
			all = append(all, fmt.Errorf("%w: %s at %d: not at a sector of %d bytes", ErrLayout, a.Name, a.Offset, sector))
		}
	}
	for i, e := range parts {
		if e.start < 0 || e.end > d.Size {
			all = append(all, fmt.Errorf("%s ends at %d and the disk at %d: %w", e.what, e.end, d.Size, ErrSize))
		}
		if i > 0 && e.start < parts[i-1].end {
			all = append(all, fmt.Errorf("%w: %s (%d to %d) reaches into %s (%d to %d)", ErrLayout,
				parts[i-1].what, parts[i-1].start, parts[i-1].end, e.what, e.start, e.end))
		}
	}
	return errors.Join(all...)
}

// parts returns everything that takes room on the disk, by its start.
func (d *Disk) parts() []extent {
	parts := []extent{{"the partition table", 0, sector}}
	if d.Table == GPT {
		parts = []extent{
			{"the partition table", 0, gptFront},
			{"the second partition table", d.Size - gptBack, d.Size},
		}
	}
	for i, p := range d.Partitions {
		parts = append(parts, extent{fmt.Sprintf("partition %d (%s)", i+1, p.Name), p.Start, p.end()})
	}
	for _, a := range d.Areas {
		parts = append(parts, extent{a.Name, a.Offset, a.Offset + int64(len(a.Data))})
	}
	slices.SortStableFunc(parts, func(a, b extent) int { return cmp.Compare(a.start, b.start) })
	return parts
}
