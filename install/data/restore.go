package data

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Restore makes the declared paths of a root file system ("" is "/") what they
// were when Snapshot copied them to dir, once: where that was done before,
// nothing is touched.
//
// All of the copies are made beside what is there and flushed before the first
// path is exchanged, and each path is exchanged by a rename: at every moment it
// is the one or the other, whole. (Where the file system cannot exchange two
// names it takes two renames; a cut between them is put right when Restore is
// called again.) What was there is removed at the end. After an error or a cut
// Restore may be called again. ErrNone, ErrDamaged, ErrSpace and ErrPath while
// nothing is exchanged.
//
// Whoever uses the data must not run meanwhile.
func Restore(ctx context.Context, dir, root string) (Report, error) {
	r, err := restore(ctx, dir, root)
	if err != nil {
		return r, fmt.Errorf("restore data: %w", err)
	}
	return r, nil
}

func restore(ctx context.Context, dir, root string) (r Report, err error) {
	c, err := openCopies(dir, useSnapshot)
	if err != nil {
		return r, err
	}
	to, err := openTree(root)
	if err != nil {
		return r, errors.Join(err, c.close())
	}
	r = Report{Entries: c.Entries, Bytes: c.Bytes}
	s := &restorer{to: to, absent: map[string]bool{}}
	s.maker = maker{c: c, report: &r}
	s.ctx, s.clone = ctx, true
	err = errors.Join(s.restore(), to.close(), c.close())
	return r.short(), err
}

// A restorer puts a snapshot back.
type restorer struct {
	maker
	to     *tree
	absent map[string]bool // declared paths that were not there
}

func (s *restorer) restore() error {
	j, err := s.c.journal()
	if err != nil {
		return err
	}
	if j.Done {
		s.report.Before = true
		s.clear()
		return nil
	}
	for _, step := range []func() error{s.recover, s.check, s.build, s.flush} {
		if err := step(); err != nil {
			return errors.Join(err, s.recover()) // nothing was exchanged: the copies are only in the way
		}
	}
	if err := s.exchange(); err != nil {
		return err
	}
	if err := s.c.note(true, *s.report); err != nil {
		return err
	}
	s.clear()
	return nil
}

// beside are the names, next to a declared path, of its copy and of what was
// there.
func beside(path string) (fresh, old string) {
	sum := sha256.Sum256([]byte(path))
	base := fmt.Sprintf(".plimsoll-%x", sum[:4])
	return base + "-new", base + "-old"
}

// paths calls f with each declared path and the folder that holds it; a folder
// that is not there is not visited.
func (s *restorer) paths(f func(path string, dir *os.File, name string) error) error {
	for _, p := range s.c.Paths {
		dir, name, err := s.to.parent(string(p))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = f(string(p), dir, name)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
	}
	return nil
}

// recover undoes what a cut left: a path between its two renames is what it
// was, and copies that may be incomplete are removed.
func (s *restorer) recover() error {
	return s.paths(func(path string, dir *os.File, name string) error {
		fresh, old := beside(path)
		_, err := lookAt(dir, name)
		if errors.Is(err, fs.ErrNotExist) {
			err = renameAt(dir, old, dir, name, 0)
			if errors.Is(err, fs.ErrNotExist) {
				err = nil
			}
		}
		if err == nil {
			err = remove(dir, fresh)
		}
		if err == nil { // the path is there, whole, or neither is
			err = remove(dir, old)
		}
		return errors.Join(err, dir.Sync())
	})
}

// check refuses what could not be exchanged, or would not fit, before anything
// is made.
func (s *restorer) check() error {
	w := &walker{
		ctx: s.ctx, from: s.to, entries: math.MaxInt - 1, depth: math.MaxInt, over: true,
		each: func(node) error { return nil }, find: func(Kind, string, string) {},
	}
	declared := make([]string, len(s.c.Paths))
	for i, p := range s.c.Paths {
		declared[i] = string(p)
	}
	if err := w.all(declared); err != nil {
		return err
	}
	return s.fits()
}

// fits adds up what each file system will get.
func (s *restorer) fits() error {
	type place struct {
		need
		room
		clones, asked bool
		where         string
	}
	places := map[[2]uint32]*place{}
	err := s.c.each(func(e entry) error {
		if e.Kind == kindAbsent || e.Way {
			s.absent[string(e.Path)] = e.Kind == kindAbsent
			return nil
		}
		st, dir, err := s.ground(string(e.Path))
		if err != nil {
			return err
		}
		dev := [2]uint32{st.Dev_major, st.Dev_minor}
		p := places[dev]
		if p == nil {
			p = &place{where: dir.Name()}
			if p.room, err = roomOf(dir); err != nil {
				return err
			}
			places[dev] = p
		}
		if e.Size > 0 && !p.asked {
			f, err := s.c.blob(e)
			if err != nil {
				return err
			}
			defer f.Close() // only read
			p.asked, p.clones = true, canClone(f, dir)
		}
		size := e.stored()
		if p.clones {
			size = 0
		}
		p.add(size, p.block)
		return nil
	})
	for _, p := range places {
		if err == nil {
			err = p.fits(p.need, p.where)
		}
	}
	return err
}

// ground returns the nearest folder above a declared path, or beneath it, that
// is there: what is made for path will be on its file system.
func (s *restorer) ground(path string) (st unix.Statx_t, dir *os.File, err error) {
	for up := filepath.Dir(s.declared(path)); ; up = filepath.Dir(up) {
		dir, err = s.to.folder(up)
		if err == nil {
			st, err = lookInto(dir)
			return st, dir, err
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return st, nil, err
		}
	}
}

// declared returns the declared path that path is of.
func (s *restorer) declared(path string) string {
	for _, p := range s.c.Paths {
		if within(path, string(p)) {
			return string(p)
		}
	}
	return path
}

// place returns where the copy of path is made: beside the declared path.
func (s *restorer) place(path string) string {
	p := s.declared(path)
	fresh, _ := beside(p)
	return filepath.Join(filepath.Dir(p), fresh) + strings.TrimPrefix(path, p)
}

// build makes all copies.
func (s *restorer) build() error {
	if err := s.c.each(s.make); err != nil {
		return err
	}
	return s.c.each(func(e entry) error {
		if e.Kind != kindFolder || e.Way {
			return nil
		}
		dir, name, err := s.to.parent(s.place(string(e.Path)))
		if err != nil {
			return err
		}
		return e.date(dir, name)
	})
}

func (s *restorer) make(e entry) error {
	if s.ctx.Err() != nil {
		return context.Cause(s.ctx)
	}
	if e.Way {
		return s.makeWay(e)
	}
	if e.Kind == kindAbsent {
		return nil
	}
	dir, name, err := s.to.parent(s.place(string(e.Path)))
	if err != nil {
		return err
	}
	switch e.Kind {
	case kindFolder:
		return s.folder(e, dir, name)
	case kindLink:
		return s.link(e, dir, name)
	}
	f, _, err := s.file(e, dir, name)
	if err != nil {
		return err
	}
	return f.Close()
}

// makeWay makes a folder on the way to a declared path, where it is missing.
func (s *restorer) makeWay(e entry) error {
	st, err := s.to.look(string(e.Path))
	if err == nil && kindOf(&st) != kindFolder {
		return fmt.Errorf("%s %w", e.Path, errNoFolder)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	dir, name, err := s.to.parent(string(e.Path))
	if err != nil {
		return err
	}
	return errors.Join(s.newFolder(e, dir, name), dir.Sync())
}

// flush brings all copies to the medium, each file system in one go.
func (s *restorer) flush() error {
	return s.paths(func(_ string, dir *os.File, _ string) error {
		return again(func() error { return unix.Syncfs(int(dir.Fd())) })
	})
}

// exchange puts the copies in their places.
func (s *restorer) exchange() error {
	return s.paths(func(path string, dir *os.File, name string) error {
		fresh, old := beside(path)
		_, err := lookAt(dir, name)
		there := err == nil
		switch {
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return err
		case s.absent[path] && !there:
			return nil
		case s.absent[path]:
			err = renameAt(dir, name, dir, old, 0)
		case !there:
			err = renameAt(dir, fresh, dir, name, 0)
		default:
			err = s.swap(dir, name, fresh, old)
		}
		return errors.Join(err, dir.Sync())
	})
}

// swap exchanges what is there with its copy.
func (s *restorer) swap(dir *os.File, name, fresh, old string) error {
	// It is not everywhere: NFS and FAT before Linux 6.0 have none.
	err := renameAt(dir, fresh, dir, name, unix.RENAME_EXCHANGE)
	if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOSYS) && !isUnsupported(err) {
		return err
	}
	if err := renameAt(dir, name, dir, old, 0); err != nil {
		return err
	}
	return renameAt(dir, fresh, dir, name, 0)
}

// clear removes what was there. What it cannot remove is told of, and is no
// failure: the data is restored.
func (s *restorer) clear() {
	err := s.paths(func(path string, dir *os.File, _ string) error {
		fresh, old := beside(path)
		if err := errors.Join(remove(dir, fresh), remove(dir, old), dir.Sync()); err != nil {
			s.report.find(Left, path, err.Error())
		}
		return nil
	})
	if err != nil {
		s.report.find(Left, s.to.path, err.Error())
	}
}
