package data

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// temporary is what a file is called until it is whole. There is never more
// than one in a folder.
const temporary = ".plimsoll-carried"

// Apply puts what Stage copied to dir into a root file system ("" is "/"), once:
// where that was done before, nothing is touched and the report is that of the
// first time. After an error or a cut each file is the new release's or the
// carried one, whole, and Apply may be called again.
//
// What the new release has and the old one had not stays. What differs is
// replaced, and is a conflict; so is what has become a folder or was one, and
// what is behind a symbolic link now, which are left. ErrNone, ErrDamaged,
// ErrSpace and ErrReadOnly before anything is written.
func Apply(ctx context.Context, dir, root string) (Report, error) {
	r, err := apply(ctx, dir, root)
	if err != nil {
		return r, fmt.Errorf("carry data: %w", err)
	}
	return r, nil
}

func apply(ctx context.Context, dir, root string) (r Report, err error) {
	c, err := openCopies(dir, useCarry)
	if err != nil {
		return r, err
	}
	j, err := c.journal()
	if err == nil && j.Done {
		j.Report.Before = true
		return j.Report, c.close()
	}
	to, open := openTree(root)
	if err = errors.Join(err, open); err != nil {
		return r, errors.Join(err, c.close())
	}
	r = Report{Entries: c.Entries, Bytes: c.Bytes}
	a := &applier{to: to, made: map[text]bool{}}
	a.maker = maker{c: c, report: &r}
	a.ctx = ctx
	err = errors.Join(a.apply(j), a.leave(), to.close(), c.close())
	return r.short(), err
}

// An applier puts copies into a root file system.
type applier struct {
	maker
	to     *tree
	muted  bool          // findings were made before
	passed string        // a folder that is left, with all that is beneath it
	made   map[text]bool // folders
	dirty  *os.File      // a folder in which something was renamed, made or removed
	where  string        // its path
	need   need
	block  int64
}

func (a *applier) apply(before journal) error {
	if before.ID != "" { // it was cut: what it was about to replace may be gone by now
		a.muted = true
		*a.report = before.Report
		a.report.more = 0
	}
	changes, err := a.plan()
	if err != nil {
		return err
	}
	if changes > 0 {
		if err := a.mayChange(); err != nil {
			return err
		}
	}
	if before.ID == "" {
		a.report.Changed = changes
		if err := a.c.note(false, a.report.short()); err != nil {
			return err
		}
	}
	if changes > 0 {
		a.muted, a.passed = true, ""
		if err := a.c.each(a.put); err != nil {
			return err
		}
		if err := a.leave(); err != nil {
			return err
		}
		if err := a.c.each(a.date); err != nil {
			return err
		}
	}
	return a.c.note(true, a.report.short())
}

// plan counts what has to be done, and finds what is in the way.
func (a *applier) plan() (changes int, err error) {
	at, err := roomOf(a.to.root)
	if err != nil {
		return 0, err
	}
	a.block = at.block
	err = a.c.each(func(e entry) error {
		do, err := a.compare(e)
		if err != nil || do == leaveIt {
			return err
		}
		changes++
		a.need.add(e.stored(), a.block)
		return nil
	})
	return changes, err
}

func (a *applier) mayChange() error {
	if err := Writable(a.to.path); err != nil {
		return err
	}
	at, err := roomOf(a.to.root)
	if err != nil {
		return err
	}
	return at.fits(a.need, a.to.path)
}

func (a *applier) find(kind Kind, e entry, why string) {
	if !a.muted {
		a.report.find(kind, string(e.Path), why)
	}
}

// What is to be done about an entry.
type action int

const (
	leaveIt action = iota
	makeIt         // it is not there
	dressIt        // a folder that is there
	replaceIt
)

// compare looks at what a root file system has in an entry's place.
func (a *applier) compare(e entry) (action, error) {
	if a.ctx.Err() != nil {
		return leaveIt, context.Cause(a.ctx)
	}
	path := string(e.Path)
	if e.Kind == kindAbsent || a.passed != "" && within(path, a.passed) {
		return leaveIt, nil
	}
	st, err := a.to.look(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return makeIt, nil
	case errors.Is(err, errLink) || errors.Is(err, errNoFolder):
		if !e.Way {
			a.pass(Refused, e, err.Error()+" in the new release: it was left")
		}
		return leaveIt, nil
	case err != nil:
		return leaveIt, err
	case e.Way:
		return leaveIt, nil // if it is no folder, what is beneath will say so
	}
	root, err := a.to.look("/")
	if err != nil {
		return leaveIt, err
	}
	have := kindOf(&st)
	switch {
	case !sameMount(&root, &st):
		a.pass(Mount, e, "it is on a file system of its own, which an update does not exchange")
		return leaveIt, nil
	case have == kindOther, (have == kindFolder) != (e.Kind == kindFolder):
		a.pass(Refused, e, fmt.Sprintf("it was a %s, and the new release has %s there: it was left", e.Kind, called(have)))
		return leaveIt, nil
	}
	return a.differs(e, &st, have)
}

// pass leaves a thing as it is, and all that is beneath it.
func (a *applier) pass(kind Kind, e entry, why string) {
	a.find(kind, e, why)
	a.passed = string(e.Path)
}

func called(kind string) string {
	if kind == kindOther {
		return "a device, a socket or a pipe"
	}
	return "a " + kind
}

// differs compares two things neither or both of which are folders.
func (a *applier) differs(e entry, st *unix.Statx_t, have string) (action, error) {
	if have != e.Kind {
		a.find(Replaced, e, fmt.Sprintf("the new release had a %s there, and not a %s", have, e.Kind))
		return replaceIt, nil
	}
	dir, name, err := a.to.parent(string(e.Path))
	if err != nil {
		return leaveIt, err
	}
	var same bool
	h := handle{f: dir, name: name}
	switch e.Kind {
	case kindLink:
		target, err := readLink(dir, name)
		if err != nil {
			return leaveIt, err
		}
		if target != string(e.Target) {
			a.find(Replaced, e, fmt.Sprintf("in the new release it led to %q", target))
			return replaceIt, nil
		}
	default:
		f, err := openAt(dir, name, os.O_RDONLY, 0)
		if err != nil {
			return leaveIt, err
		}
		defer f.Close() // only read
		h = handle{f: f}
		if e.Kind == kindFolder {
			break
		}
		if same, err = a.sameContent(f, st, e); err != nil {
			return leaveIt, err
		}
		if !same {
			a.find(Replaced, e, "the new release had another content")
			return replaceIt, nil
		}
	}
	if same, err = e.sameMeta(st, h, false); err != nil || same {
		return leaveIt, err
	}
	a.find(Replaced, e, "the new release had another owner, mode or attributes")
	if e.Kind == kindFolder {
		return dressIt, nil
	}
	return replaceIt, nil
}

func (a *applier) sameContent(f *os.File, st *unix.Statx_t, e entry) (bool, error) {
	if int64(st.Size) != e.Size {
		return false, nil
	}
	sum, err := a.sum(f, e.Size)
	if errors.Is(err, errShort) {
		return false, nil
	}
	return sum == e.SHA256, err
}

// put does what is to be done about an entry.
func (a *applier) put(e entry) error {
	do, err := a.compare(e)
	if err != nil || do == leaveIt {
		return err
	}
	path := string(e.Path)
	if err := a.enter(filepath.Dir(path)); err != nil {
		return err
	}
	dir, name := a.dirty, filepath.Base(path)
	switch do {
	case makeIt:
		if e.Kind == kindFolder {
			a.made[e.Path] = true
			return a.newFolder(e, dir, name)
		}
	case dressIt:
		return a.folder(e, dir, name)
	}
	if err := a.beside(e, dir); err != nil {
		return errors.Join(err, remove(dir, temporary))
	}
	return renameAt(dir, temporary, dir, name, 0)
}

// beside makes a file or a link under a temporary name, and has it on the medium.
func (a *applier) beside(e entry, dir *os.File) error {
	if e.Kind == kindLink {
		return a.link(e, dir, temporary)
	}
	f, refused, err := a.file(e, dir, temporary)
	if err != nil {
		return err
	}
	return errors.Join(a.verify(f, e, refused != ""), f.Close())
}

// verify flushes a file, and compares it with its entry.
func (a *applier) verify(f *os.File, e entry, refused bool) error {
	if err := f.Sync(); err != nil {
		return err
	}
	if err := a.readBack(f, e); err != nil {
		return err
	}
	st, err := lookInto(f)
	if err != nil {
		return err
	}
	same, err := e.sameMeta(&st, handle{f: f}, refused)
	if err == nil && !same {
		err = fmt.Errorf("%s: the file system does not keep its owner, mode or attributes", e.Path)
	}
	return err
}

// enter opens the folder in which something is to be done, and ends with the
// one before.
func (a *applier) enter(path string) error {
	if a.dirty != nil && a.where == path {
		return nil
	}
	if err := a.leave(); err != nil {
		return err
	}
	dir, err := a.to.folder(path)
	if err != nil {
		return err
	}
	if a.dirty, err = openDir(dir, "."); err != nil {
		return err
	}
	a.where = path
	return remove(a.dirty, temporary) // of a cut
}

// leave makes what was renamed in a folder durable.
func (a *applier) leave() error {
	if a.dirty == nil {
		return nil
	}
	err := errors.Join(a.dirty.Sync(), a.dirty.Close())
	a.dirty = nil
	return err
}

// date gives a folder that was made its time, now that it is full.
func (a *applier) date(e entry) error {
	if !a.made[e.Path] {
		return nil
	}
	dir, name, err := a.to.parent(string(e.Path))
	if err != nil {
		return err
	}
	return e.dateFolder(dir, name)
}

func (e *entry) dateFolder(dir *os.File, name string) error {
	if err := e.date(dir, name); err != nil {
		return fmt.Errorf("%s: %w", e.Path, err)
	}
	d, err := openDir(dir, name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
