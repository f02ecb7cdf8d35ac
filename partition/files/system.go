package files

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"
)

// An Info is what is known of a file. Path has no link in it but the last name.
type Info struct {
	Path     string
	Mode     fs.FileMode // of FAT: 0755 for folders and 0644 for files
	UID, GID int
	Size     int64
	ModTime  time.Time
	Target   string // of a symbolic link

	node int64 // inode of ext, first cluster of FAT
	acl  int64 // of ext: a block of extended attributes, or 0
}

// Name is the last name of the path.
func (i Info) Name() string { return path.Base(i.Path) }

// Attr is what a file or folder gets that has none yet.
type Attr struct {
	Mode     fs.FileMode // permissions, with fs.ModeSetuid, ModeSetgid and ModeSticky
	UID, GID int
}

// A System is a file system inside a file.
type System struct {
	// Time is that of every change. Open sets it to the last one that the file
	// system knows of, so that a change depends on nothing but what is changed.
	Time time.Time

	kind string
	d    driver
	seen map[string]Info // what was looked up since the last change
}

// A driver knows one family of file systems. Its paths are resolved.
type driver interface {
	stat(ctx context.Context, path string) (Info, error) // a link is not followed
	list(ctx context.Context, dir Info) ([]Info, error)
	read(ctx context.Context, file Info, w io.Writer) error

	// put writes what is in src; old is what is there, nil if nothing is.
	put(ctx context.Context, t time.Time, path string, src *os.File, a Attr, old *Info) error
	mkdir(ctx context.Context, t time.Time, path string, a Attr) error
	chmod(ctx context.Context, t time.Time, file Info, a Attr) error
	remove(ctx context.Context, t time.Time, all []Info) error // a folder after what is in it
	check(ctx context.Context) error
}

// Open returns the file system that lies in f from off on, in size bytes. f stays
// the caller's, and must be open for writing if anything is to be changed.
func Open(f *os.File, off, size int64) (*System, error) {
	s := &System{seen: map[string]Info{}}
	switch kind := Kind(f, off, size); kind {
	case "":
		return nil, fmt.Errorf("%s: %w", f.Name(), ErrNone)
	case "fat":
		d, err := openFAT(f, off, size)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name(), err)
		}
		s.kind, s.d, s.Time = kind, d, d.last()
	default:
		d, err := openExt(f, off, size)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name(), err)
		}
		s.kind, s.d, s.Time = kind, d, d.last()
	}
	return s, nil
}

// Kind returns "ext" or "fat", as the first sectors have it, or "" for anything else.
func Kind(r io.ReaderAt, off, size int64) string {
	switch {
	case isExt(r, off, size):
		return "ext"
	case isFAT(r, off, size):
		return "fat"
	}
	return ""
}

// HasOwners reports whether the file system has owners, permissions and links.
func (s *System) HasOwners() bool { return s.kind != "fat" }

// Stat returns what is at name, where links lead.
func (s *System) Stat(ctx context.Context, name string) (Info, error) {
	return s.resolve(ctx, "stat", name, true)
}

// Lstat is Stat, and does not follow the last name.
func (s *System) Lstat(ctx context.Context, name string) (Info, error) {
	return s.resolve(ctx, "stat", name, false)
}

// List returns what is in a folder, sorted by name; of anything else, that alone.
func (s *System) List(ctx context.Context, name string) ([]Info, error) {
	i, err := s.resolve(ctx, "list", name, true)
	if err != nil || !i.Mode.IsDir() {
		return []Info{i}, err
	}
	return s.list(ctx, i)
}

func (s *System) list(ctx context.Context, dir Info) ([]Info, error) {
	all, err := s.d.list(ctx, dir)
	if err != nil {
		return nil, &fs.PathError{Op: "list", Path: dir.Path, Err: err}
	}
	slices.SortFunc(all, func(a, b Info) int { return strings.Compare(a.Path, b.Path) })
	return all, nil
}

// Read writes the content of a file to w.
func (s *System) Read(ctx context.Context, name string, w io.Writer) error {
	i, err := s.resolve(ctx, "read", name, true)
	if err == nil && !i.Mode.IsRegular() {
		err = &fs.PathError{Op: "read", Path: i.Path, Err: kindOf(i)}
	}
	if err != nil {
		return err
	}
	if err := s.read(ctx, i, w); err != nil {
		return &fs.PathError{Op: "read", Path: i.Path, Err: err}
	}
	return nil
}

// read reads all of a file, or says so.
func (s *System) read(ctx context.Context, i Info, w io.Writer) error {
	c := &counter{w: w}
	if err := s.d.read(ctx, i, c); err != nil {
		return err
	}
	if c.n != i.Size {
		return fmt.Errorf("%d bytes of %d: %w", c.n, i.Size, ErrUnclean)
	}
	return nil
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}

// Put puts what is in src at name, where links lead. A file that is there keeps
// owner, permissions and extended attributes, and only loses what it had to say;
// other names of it, as hard links, keep that. A new one gets a; its folder must
// be there.
func (s *System) Put(ctx context.Context, name string, src *os.File, a Attr) error {
	i, old, err := s.place(ctx, "put", name)
	if err == nil && old != nil && !old.Mode.IsRegular() {
		err = &fs.PathError{Op: "put", Path: i, Err: kindOf(*old)}
	}
	if err != nil {
		return err
	}
	if old != nil {
		a = Attr{Mode: old.Mode, UID: old.UID, GID: old.GID}
	}
	if err := s.put(ctx, i, src, a, old); err != nil {
		return &fs.PathError{Op: "put", Path: i, Err: err}
	}
	return nil
}

func (s *System) put(ctx context.Context, name string, src *os.File, a Attr, old *Info) error {
	s.forget(name)
	if err := s.d.put(ctx, s.Time, name, src, a, old); err != nil {
		return err
	}
	want := sha256.New()
	size, err := src.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = io.Copy(want, io.NewSectionReader(src, 0, size))
	}
	if err != nil {
		return err
	}
	i, err := s.d.stat(ctx, name)
	if err != nil {
		return fmt.Errorf("read it back: %w", err)
	}
	have := sha256.New()
	if err := s.read(ctx, i, have); err != nil {
		return fmt.Errorf("read it back: %w", err)
	}
	if string(have.Sum(nil)) != string(want.Sum(nil)) {
		return errors.New("read it back: it is not what was put there")
	}
	return nil
}

// forget makes what is at name be looked up again, and its folder.
func (s *System) forget(name string) {
	delete(s.seen, name)
	delete(s.seen, path.Dir(name))
}

// Mkdir makes a folder; the one that it is in must be there.
func (s *System) Mkdir(ctx context.Context, name string, a Attr) error {
	i, old, err := s.place(ctx, "mkdir", name)
	if err == nil && old != nil {
		err = &fs.PathError{Op: "mkdir", Path: i, Err: fs.ErrExist}
	}
	if err != nil {
		return err
	}
	s.forget(i)
	if err := s.d.mkdir(ctx, s.Time, i, a); err != nil {
		return &fs.PathError{Op: "mkdir", Path: i, Err: err}
	}
	return nil
}

// Chmod gives what is at name, where links lead, permissions and owner. FAT has none.
func (s *System) Chmod(ctx context.Context, name string, a Attr) error {
	i, err := s.resolve(ctx, "chmod", name, true)
	if err != nil {
		return err
	}
	s.forget(i.Path)
	if err := s.d.chmod(ctx, s.Time, i, a); err != nil {
		return &fs.PathError{Op: "chmod", Path: i.Path, Err: err}
	}
	return nil
}

// Remove removes what is at name, which is not followed if it is a link. A folder
// is removed only with all, and with all that is in it.
func (s *System) Remove(ctx context.Context, name string, all bool) error {
	i, err := s.resolve(ctx, "remove", name, false)
	if err != nil {
		return err
	}
	fail := func(err error) error { return &fs.PathError{Op: "remove", Path: i.Path, Err: err} }
	if i.Path == "/" {
		return fail(errors.New("the top of the file system stays"))
	}
	if i.Mode.IsDir() && !all {
		return fail(kindOf(i))
	}
	doomed, err := s.tree(ctx, i, nil)
	if err != nil {
		return err
	}
	clear(s.seen)
	if err := s.d.remove(ctx, s.Time, doomed); err != nil {
		return fail(err)
	}
	return nil
}

// maxDepth is how far down a tree goes: a damaged folder may contain itself.
const maxDepth = 256

// tree appends i after all that is in it.
func (s *System) tree(ctx context.Context, i Info, to []Info) ([]Info, error) {
	if i.Mode.IsDir() {
		if strings.Count(i.Path, "/") > maxDepth {
			return nil, &fs.PathError{Op: "list", Path: i.Path, Err: fmt.Errorf("folders in folders without end: %w", ErrUnclean)}
		}
		all, err := s.list(ctx, i)
		if err != nil {
			return nil, err
		}
		for _, j := range all {
			if to, err = s.tree(ctx, j, to); err != nil {
				return nil, err
			}
		}
	}
	return append(to, i), nil
}

// Check returns an error unless the file system is without fault.
func (s *System) Check(ctx context.Context) error { return s.d.check(ctx) }

// kindOf is the error that something is what it is.
func kindOf(i Info) error {
	what := "a device, pipe or socket"
	switch {
	case i.Mode.IsDir():
		what = "a folder"
	case i.Mode.IsRegular():
		what = "a file"
	case i.Mode&fs.ModeSymlink != 0:
		what = "a symbolic link"
	}
	return fmt.Errorf("%w: it is %s", ErrKind, what)
}
