package udev

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/plimsoll-ota/plimsoll/udev/scan"
	"github.com/plimsoll-ota/plimsoll/udev/volume"
)

// Media are the volumes of one stick that are mounted, and what is on them.
type media struct {
	stick   volume.Stick
	dir     string // was made for them; "" if it was there
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
func mount(ctx context.Context, stick volume.Stick, dir string) (*media, error) {
	volumes, err := volume.Disk("", "", stick.Name)
	if err != nil {
		return nil, err
	}
	m := &media{stick: stick}
	if err := os.Mkdir(dir, 0o700); err == nil {
		m.dir = dir
	}
	for n, v := range volumes {
		if v.PassedOver() {
			continue
		}
		one, err := mountOne(ctx, v, filepath.Join(dir, fmt.Sprint(n)))
		if ctx.Err() != nil {
			if one != nil {
				m.mounted = append(m.mounted, one)
			}
			return nil, errors.Join(context.Cause(ctx), m.close())
		}
		if err != nil {
			m.unread = append(m.unread, err)
			continue
		}
		m.mounted = append(m.mounted, one)
	}
	return m, nil
}

func mountOne(ctx context.Context, v volume.Volume, dir string) (*medium, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	mounted, err := claim(ctx, v, dir)
	if err != nil {
		return nil, errors.Join(err, os.Remove(dir))
	}
	one := &medium{Mounted: mounted}
	if one.stick, err = scan.Open(dir); err != nil {
		return nil, errors.Join(err, one.close())
	}
	if one.found, err = one.stick.Tree(); err != nil {
		one.err = one.Explain(err)
	}
	return one, nil
}

// A volume may be in use when it is plugged in: by an automounter that looks at
// it, or by whoever probes it. It is asked for so often, with a pause between.
const (
	claims     = 6
	claimPause = 500 * time.Millisecond
)

// claim mounts a volume as soon as nobody else has it.
func claim(ctx context.Context, v volume.Volume, dir string) (*volume.Mounted, error) {
	for n := 1; ; n++ {
		mounted, err := v.Mount(dir)
		if n == claims || !errors.Is(err, volume.ErrInUse) {
			return mounted, err
		}
		if err := pause(ctx, &v.Stick, claimPause); err != nil {
			return nil, err
		}
	}
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
	if m.dir != "" {
		all = errors.Join(all, os.Remove(m.dir))
	}
	return all
}

// ours reports whether the stick has anything that concerns plimsoll. Nothing is
// ever written onto one that has not: it is somebody's photographs.
func (m *media) ours() bool {
	return slices.ContainsFunc(m.mounted, (*medium).ours)
}

// elses reports whether all that is on the stick is somebody else's. What cannot
// be read may be ours.
func (m *media) elses() bool {
	unknown := slices.ContainsFunc(m.mounted, func(one *medium) bool { return one.err != nil })
	return len(m.mounted) > 0 && !unknown && !m.ours()
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
