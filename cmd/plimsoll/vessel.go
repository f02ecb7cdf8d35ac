package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/plimsoll-ota/plimsoll/partition"
	"github.com/plimsoll-ota/plimsoll/partition/files"
)

// A vessel is what holds file systems: the payload of an artifact, the image of
// a disk, or that of one file system.
type vessel struct {
	payload bool // of an artifact

	all  *files.System // the one, unless it is a disk
	boot *files.System // of a disk: its first FAT
	data *files.System
	root []*files.System // one, or those of both slots; nil for a slot that has none

	changed map[*files.System]bool
}

// errVessel is an image that is none.
var errVessel = errors.New("neither an artifact, nor a disk image, nor a file system image")

// openVessel looks at what is in f. t is the time of changes; zero leaves it to
// the file systems.
func openVessel(f *os.File, t time.Time) (*vessel, error) {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	v := &vessel{changed: map[*files.System]bool{}}
	open := func(off, size int64) (*files.System, error) {
		s, err := files.Open(f, off, size)
		if err == nil && !t.IsZero() {
			s.Time = t
		}
		return s, err
	}
	parts, err := partition.Extents(f)
	if err != nil {
		return nil, err
	}
	kind := files.Kind(f, 0, size)
	switch {
	case kind != "" && len(parts) > 0:
		return nil, fmt.Errorf("%w: it begins with a file system, and has a partition table", errVessel)
	case kind != "":
		if v.all, err = open(0, size); err != nil {
			return nil, err
		}
		return v, nil
	case len(parts) == 0:
		return nil, errVessel
	}
	return v, v.disk(f, parts, open)
}

// disk finds the partitions of a device: the first FAT is where it boots from,
// the last of the others holds its data, and what is between are its slots. A
// disk with only one beside the FAT has one root file system.
func (v *vessel) disk(f *os.File, parts []partition.Extent, open func(off, size int64) (*files.System, error)) error {
	var rest []*files.System
	for _, p := range parts {
		if p.Swap {
			continue
		}
		s, err := open(p.Start, p.Size)
		if err != nil && !errors.Is(err, files.ErrNone) {
			return fmt.Errorf("partition %d: %w", p.Number, err)
		}
		if s != nil && !s.HasOwners() && v.boot == nil {
			v.boot = s
			continue
		}
		rest = append(rest, s)
	}
	switch {
	case len(rest) == 1:
		v.root = rest
	case len(rest) > 2:
		v.root, v.data = rest[:2], rest[len(rest)-1]
	}
	return nil
}

// A fileAt is a path in one of a vessel's file systems.
type fileAt struct {
	*files.System
	path string
}

// bootFolders are where a device has its boot partition.
var bootFolders = []string{"/uboot", "/boot/efi", "/boot/grub"}

// places returns where a path of a device is: of a disk image, /data and the
// folders of the boot partition are on partitions of their own, and all else is
// in the slots, in each that has a file system.
func (v *vessel) places(name string) ([]fileAt, error) {
	clean := path.Clean("/" + name)
	if v.all != nil && !v.payload {
		return []fileAt{{v.all, clean}}, nil
	}
	where, inside := "", clean
	for _, folder := range append(slices.Clone(bootFolders), "/data") {
		if rest, ok := strings.CutPrefix(clean, folder); ok && (rest == "" || rest[0] == '/') {
			where, inside = folder, path.Clean("/"+rest)
		}
	}
	switch {
	case v.payload && where != "":
		return nil, fmt.Errorf("%s: an artifact holds a root file system, and %s is another partition of a device", clean, where)
	case v.payload:
		return []fileAt{{v.all, clean}}, nil
	case where == "/data":
		return v.only(v.data, "data", inside)
	case where != "":
		return v.only(v.boot, "boot", inside)
	}
	var all []fileAt
	for _, s := range v.root {
		if s != nil {
			all = append(all, fileAt{s, clean})
		}
	}
	if len(all) == 0 {
		return nil, errors.New("which partition has the root file system cannot be told")
	}
	return all, nil
}

func (v *vessel) only(s *files.System, what, inside string) ([]fileAt, error) {
	if s == nil {
		return nil, fmt.Errorf("there is no %s partition, or no file system on it", what)
	}
	return []fileAt{{s, inside}}, nil
}

// read finds the file to be read: of two slots, the first that has it.
func (v *vessel) read(ctx context.Context, name string) (fileAt, error) {
	all, err := v.places(name)
	if err != nil {
		return fileAt{}, err
	}
	for k, p := range all {
		if _, err = p.Stat(ctx, p.path); err == nil || k == len(all)-1 || !errors.Is(err, fs.ErrNotExist) {
			return p, err
		}
	}
	return fileAt{}, err
}

// each changes a file wherever it is.
func (v *vessel) each(name string, change func(fileAt) error) error {
	all, err := v.places(name)
	if err != nil {
		return err
	}
	for _, p := range all {
		v.changed[p.System] = true
		if err := change(p); err != nil && len(all) > 1 {
			return fmt.Errorf("slot %c: %w", 'A'+rune(slices.Index(v.root, p.System)), err)
		} else if err != nil {
			return err
		}
	}
	return nil
}

// check has every file system checked that was changed.
func (v *vessel) check(ctx context.Context) error {
	for s := range v.changed {
		if err := s.Check(ctx); err != nil {
			return fmt.Errorf("after the change: %w", err)
		}
	}
	return nil
}
