package data

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// maxDepth bounds how deep folders are nested beneath a declared path: each
// level is an open file.
const maxDepth = 128

// A node is something that a walk has come to.
type node struct {
	dir  *os.File // that holds it
	name string   // in dir
	path string   // from the root
	kind string
	way  bool // a folder on the way to a declared path
	st   unix.Statx_t
}

// A walker goes through declared paths: folders before what is in them, names
// in their order, so that two walks of one tree are alike.
type walker struct {
	ctx     context.Context
	from    *tree
	entries int           // most that it goes to, findings included
	depth   int           // most folders within each other; 0 is maxDepth
	over    bool          // declared paths may be on other file systems than the root
	self    *unix.Statx_t // a folder that must not lie within
	each    func(node) error
	find    func(Kind, string, string)

	n   int
	way map[string]bool
}

// all goes through the declared paths.
func (w *walker) all(paths []string) error {
	w.n, w.way = 0, map[string]bool{}
	for _, p := range paths {
		if err := w.declared(p); err != nil {
			return err
		}
	}
	return nil
}

// declared goes to one path: the folders on the way, and what is there.
func (w *walker) declared(path string) error {
	root, err := w.from.look("/")
	if err != nil {
		return err
	}
	way, up, err := w.onTheWay(path)
	if errors.Is(err, fs.ErrNotExist) {
		return w.absent(path)
	}
	if err != nil {
		return err
	}
	st, err := w.from.look(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return w.absent(path)
	case err != nil:
		return err
	case !w.over && !sameMount(&root, &st):
		w.find(Mount, path, "it is on a file system of its own, which an update does not exchange")
		return nil
	case w.over && !sameMount(&up, &st):
		return fmt.Errorf("%s: %w: it is a mount point, which cannot be exchanged: declare what is in it", path, ErrPath)
	}
	for _, n := range way {
		if err := w.toward(n); err != nil {
			return err
		}
	}
	dir, name, err := w.from.parent(path)
	if err != nil {
		return err
	}
	// The walk has its own: the tree keeps one folder open at a time.
	if dir, err = openDir(dir, "."); err != nil {
		return err
	}
	defer dir.Close() // only looked in
	return w.visit(dir, name, path, 0)
}

// onTheWay returns the folders between the root and a declared path, and what
// its parent is.
func (w *walker) onTheWay(declared string) (way []node, up unix.Statx_t, err error) {
	for i, c := range declared {
		if c != '/' {
			continue
		}
		path := cmp.Or(declared[:i], "/")
		if up, err = w.from.look(path); err != nil {
			return nil, up, err
		}
		switch kindOf(&up) {
		case kindFolder:
		case kindLink:
			return nil, up, fmt.Errorf("%s: %w: %s %w; declare the path without it", declared, ErrPath, path, errLink)
		default:
			return nil, up, fmt.Errorf("%s: %w: %s %w", declared, ErrPath, path, errNoFolder)
		}
		if i > 0 {
			way = append(way, node{path: path, kind: kindFolder, way: true, st: up})
		}
	}
	return way, up, nil
}

// toward takes a folder on the way to a declared path.
func (w *walker) toward(n node) (err error) {
	if w.way[n.path] {
		return nil
	}
	w.way[n.path] = true
	if n.dir, n.name, err = w.from.parent(n.path); err != nil {
		return err
	}
	return w.each(n)
}

func (w *walker) absent(path string) error {
	w.find(Missing, path, "it is not there")
	return w.each(node{path: path, kind: kindAbsent})
}

func (w *walker) visit(dir *os.File, name, path string, depth int) error {
	if w.ctx.Err() != nil {
		return context.Cause(w.ctx)
	}
	if w.n++; w.n > w.entries {
		return fmt.Errorf("%s: %w: more than %d files, folders and links", path, ErrLimit, w.entries)
	}
	if most := cmp.Or(w.depth, maxDepth); depth > most {
		return fmt.Errorf("%s: %w: folders are nested more than %d deep", path, ErrLimit, most)
	}
	st, err := lookAt(dir, name)
	if err != nil {
		return gone(err)
	}
	kind := kindOf(&st)
	if kind == kindOther {
		w.find(Special, path, special(&st))
		return nil
	}
	if w.self != nil && sameThing(&st, w.self) {
		return fmt.Errorf("%s: %w: the copies themselves are in it", path, ErrPath)
	}
	n := node{dir: dir, name: name, path: path, kind: kind, st: st}
	if kind != kindFolder {
		return w.each(n)
	}
	return w.enter(n, depth)
}

// errGone is something that disappeared while it was looked at.
var errGone = errors.New("it has just disappeared")

// gone tells what is not there any more from what never was.
func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", errGone, err)
	}
	return err
}

func (w *walker) enter(n node, depth int) error {
	d, err := openDir(n.dir, n.name)
	if err != nil {
		return gone(err)
	}
	defer d.Close() // only looked in
	if err := w.each(n); err != nil {
		return err
	}
	in, err := names(d, w.entries-w.n+1)
	if err != nil {
		return err
	}
	for _, name := range in {
		below := n.path + "/" + name
		st, err := lookAt(d, name)
		if err == nil && !sameMount(&n.st, &st) {
			if w.over {
				return fmt.Errorf("%s: %w: it is a mount point within: declare what is beside it", below, ErrPath)
			}
			w.find(Mount, below, "another file system is mounted there, which an update does not exchange")
			continue
		}
		if err := w.visit(d, name, below, depth+1); err != nil && !errors.Is(err, errGone) {
			return err
		}
	}
	return nil
}

// remove removes name in dir and all that is beneath it, not what a symbolic
// link points to, and nothing on another file system.
func remove(dir *os.File, name string) error {
	st, err := lookAt(dir, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	up, err := lookInto(dir)
	if err != nil {
		return err
	}
	if !sameMount(&up, &st) {
		return fmt.Errorf("remove %s: a file system is mounted there", filepath.Join(dir.Name(), name))
	}
	flags := 0
	if kindOf(&st) == kindFolder {
		flags = unix.AT_REMOVEDIR
		if err := removeIn(dir, name); err != nil {
			return err
		}
	}
	if err := again(func() error { return unix.Unlinkat(int(dir.Fd()), name, flags) }); err != nil && err != unix.ENOENT {
		return &fs.PathError{Op: "remove", Path: filepath.Join(dir.Name(), name), Err: err}
	}
	return nil
}

// removeIn empties a folder, some names at a time.
func removeIn(dir *os.File, name string) error {
	d, err := openDir(dir, name)
	if err != nil {
		return err
	}
	defer d.Close() // what is removed in it is flushed by whom it matters to
	for {
		some, err := names(d, 1000)
		if err != nil || len(some) == 0 {
			return err
		}
		for _, n := range some {
			if err := remove(d, n); err != nil {
				return err
			}
		}
	}
}

func ignoreEOF(err error) error {
	if err == io.EOF {
		return nil
	}
	return err
}

// siblings returns the names in dir that begin with prefix.
func siblings(dir *os.File, prefix string) ([]string, error) {
	all, err := names(dir, -1)
	var found []string
	for _, n := range all {
		if strings.HasPrefix(n, prefix) {
			found = append(found, n)
		}
	}
	return found, err
}
