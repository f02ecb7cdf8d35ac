package udev

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/plimsoll-ota/plimsoll/udev/scan"
	"github.com/plimsoll-ota/plimsoll/udev/volume"
)

// Media are the volumes of one stick that are mounted, and what is on them.
type media struct {
	stick   volume.Stick
	mounted []*medium
	unread  []error // why volumes are not among them
}

// A medium is one of them.
type medium struct {
	*volume.Mounted
	stick *scan.Stick
	found scan.Result
	err   error // why not all was found
}

// mount mounts what can be mounted of a stick, each volume in a folder of its
// own beneath dir, and reads which files there are.
func mount(stick volume.Stick, dir string) (*media, error) {
	volumes, err := volume.Disk("", "", stick.Name)
	if err != nil {
		return nil, err
	}
	m := &media{stick: stick}
	for n, v := range volumes {
		if v.PassedOver() {
			continue
		}
		one, err := mountOne(v, filepath.Join(dir, fmt.Sprint(n)))
		if err != nil {
			m.unread = append(m.unread, err)
			continue
		}
		m.mounted = append(m.mounted, one)
	}
	return m, nil
}

func mountOne(v volume.Volume, dir string) (*medium, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	mounted, err := v.Mount(dir)
	if err != nil {
		return nil, errors.Join(err, os.Remove(dir))
	}
	one := &medium{Mounted: mounted}
	if one.stick, err = scan.Open(dir); err != nil {
		return nil, errors.Join(err, one.close())
	}
	if one.found, err = one.stick.Tree(); err != nil {
		one.err = v.Explain(err)
	}
	return one, nil
}

// close unmounts it: after nil, what was written is on the stick.
func (m *medium) close() error {
	var err error
	if m.stick != nil {
		err = m.stick.Close()
	}
	return errors.Join(err, m.Close(), os.Remove(m.Dir))
}

// close unmounts all.
func (m *media) close() error {
	var all error
	for _, one := range m.mounted {
		all = errors.Join(all, one.close())
	}
	m.mounted = nil
	return all
}

// ours reports whether the stick has anything that concerns plimsoll. Nothing is
// ever written onto one that has not: it is somebody's photographs.
func (m *media) ours() bool {
	return slices.ContainsFunc(m.mounted, (*medium).ours)
}

func (m *medium) ours() bool {
	if len(m.found.Files) > 0 || len(m.found.Odd) > 0 || m.found.OnlySerials != nil {
		return true
	}
	st, err := os.Lstat(filepath.Join(m.Dir, "plimsoll"))
	return err == nil && st.IsDir()
}

// label is what the stick is called in reports.
func (m *media) label() string {
	for _, one := range m.mounted {
		if one.ours() {
			return cmp.Or(one.UUID, one.Label, m.stick.Model)
		}
	}
	return m.stick.Model
}

// reportsTo returns the volumes that reports may go to, the one with the
// artifacts first.
func (m *media) reportsTo() []*medium {
	var to []*medium
	for _, one := range m.mounted {
		if one.ours() {
			to = append(to, one)
		}
	}
	slices.SortStableFunc(to, func(a, b *medium) int {
		return cmp.Compare(len(b.found.Files), len(a.found.Files))
	})
	return to
}
