package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// A placing is files that appear together or not at all, and never in the place
// of one that is there.
type placing struct {
	waiting []waiting // complete, in the order in which they came
	placed  []string
	folders []string // that were made, the innermost last
}

type waiting struct{ temporary, path string }

// folder makes a folder, and those that it is in.
func (p *placing) folder(dir string) error {
	var missing []string
	for d := filepath.Clean(dir); ; d = filepath.Dir(d) {
		if _, err := os.Lstat(d); !errors.Is(err, fs.ErrNotExist) {
			break // what it is instead, Mkdir says
		}
		missing = append(missing, d)
	}
	for _, d := range slices.Backward(missing) {
		if err := os.Mkdir(d, 0o755); err != nil {
			return err
		}
		p.folders = append(p.folders, d)
	}
	return nil
}

// add writes content beside the place that it will have.
func (p *placing) add(path string, mode fs.FileMode, content io.Reader) error {
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("%s: %w", path, fs.ErrExist)
	}
	r, err := replace(path, mode)
	if err != nil {
		return err
	}
	if _, err := io.Copy(r, content); err != nil {
		return errors.Join(err, r.abort())
	}
	temporary, err := r.settle()
	if err != nil {
		return err
	}
	p.waiting = append(p.waiting, waiting{temporary, path})
	return nil
}

// commit puts all in their places.
func (p *placing) commit() error {
	for _, w := range p.waiting {
		if err := moveTo(w.temporary, w.path); err != nil {
			return err
		}
		p.placed = append(p.placed, w.path)
	}
	return nil
}

// moveTo renames a file, and fails if there is one of the new name. Where the file
// system knows no such renaming, a second name is given first.
func moveTo(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if err == unix.EINVAL || err == unix.ENOSYS {
		if err := os.Link(from, to); err != nil {
			return err
		}
		return os.Remove(from)
	}
	if err != nil {
		return &fs.PathError{Op: "place", Path: to, Err: err}
	}
	return nil
}

// abort removes all that add and commit did, and the folders that are empty now.
func (p *placing) abort() error {
	var err error
	for _, path := range p.placed {
		err = errors.Join(err, os.Remove(path))
	}
	for _, w := range p.waiting[len(p.placed):] {
		err = errors.Join(err, os.Remove(w.temporary))
	}
	for _, d := range slices.Backward(p.folders) {
		if e := os.Remove(d); e != nil && !errors.Is(e, unix.ENOTEMPTY) {
			err = errors.Join(err, e)
		}
	}
	return err
}
