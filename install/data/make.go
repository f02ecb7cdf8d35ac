package data

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// A maker makes things as they were when they were taken.
type maker struct {
	copier
	c      *copies
	report *Report
}

func (m *maker) label(e entry, refused string) {
	if refused != "" {
		m.report.find(Label, string(e.Path), "the system does not accept its label "+refused)
	}
}

// file makes a file that is not there yet. It is not flushed; f is for that.
func (m *maker) file(e entry, dir *os.File, name string) (f *os.File, refused string, err error) {
	src, err := m.c.blob(e)
	if err != nil {
		return nil, "", err
	}
	defer src.Close() // only read
	f, err = openAt(dir, name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL, 0o600)
	if err != nil {
		return nil, "", err
	}
	sum, err := m.copy(f, src, e.Size)
	switch {
	case errors.Is(err, errShort):
		err = fmt.Errorf("%w: %w", ErrDamaged, err)
	case err == nil && sum != e.SHA256:
		err = fmt.Errorf("%w: %s: have sha256 %s, want %s", ErrDamaged, src.Name(), sum, e.SHA256)
	}
	if err == nil {
		refused, err = e.dress(f)
	}
	if err == nil {
		err = e.date(dir, name)
	}
	if err != nil {
		return nil, "", errors.Join(fmt.Errorf("make %s: %w", e.Path, err), f.Close())
	}
	m.label(e, refused)
	return f, refused, nil
}

// link makes a symbolic link that is not there yet.
func (m *maker) link(e entry, dir *os.File, name string) error {
	err := again(func() error { return unix.Symlinkat(string(e.Target), int(dir.Fd()), name) })
	if err != nil {
		return &fs.PathError{Op: "symlink", Path: filepath.Join(dir.Name(), name), Err: err}
	}
	refused, err := e.dressLink(dir, name)
	if err == nil {
		err = e.date(dir, name)
	}
	if err != nil {
		return fmt.Errorf("make %s: %w", e.Path, err)
	}
	m.label(e, refused)
	return nil
}

// folder makes a folder, or gives the one that is there what it should have. Its
// time is for when it is full.
func (m *maker) folder(e entry, dir *os.File, name string) error {
	err := mkdirAt(dir, name)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	d, err := openDir(dir, name)
	if err != nil {
		return err
	}
	refused, err := e.dress(d)
	m.label(e, refused)
	if err = errors.Join(err, d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("make %s: %w", e.Path, err)
	}
	return nil
}

// newFolder makes a folder under a temporary name first: nobody finds it without
// its owner and mode, and neither does the next run after a cut.
func (m *maker) newFolder(e entry, dir *os.File, name string) error {
	err := remove(dir, temporary) // of a cut
	if err == nil {
		err = m.folder(e, dir, temporary)
	}
	if err != nil {
		return errors.Join(err, remove(dir, temporary))
	}
	return renameAt(dir, temporary, dir, name, 0)
}
