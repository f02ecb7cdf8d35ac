package data

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// errLink is a symbolic link where a folder is needed.
var errLink = errors.New("is a symbolic link")

// errNoFolder is something else where a folder is needed.
var errNoFolder = errors.New("is not a folder")

// CheckPaths returns nil if each of the paths can be declared: absolute, in its
// shortest form, not the root itself; none twice, and none within another or
// the state directory, or around it.
func CheckPaths(paths []string, stateDir string) error {
	for i, p := range paths {
		switch {
		case p == "" || !filepath.IsAbs(p):
			return fmt.Errorf("%q: %w: it does not begin with /", p, ErrPath)
		case filepath.Clean(p) != p:
			return fmt.Errorf("%q: %w: write it as %q", p, ErrPath, filepath.Clean(p))
		case p == "/":
			return fmt.Errorf("%q: %w: it is the whole root file system", p, ErrPath)
		case strings.ContainsRune(p, 0):
			return fmt.Errorf("%q: %w: it has a zero byte", p, ErrPath)
		case stateDir != "" && (within(p, stateDir) || within(stateDir, p)):
			return fmt.Errorf("%q: %w: the state directory, %s, is its own affair", p, ErrPath, stateDir)
		}
		for _, o := range paths[:i] {
			if within(p, o) || within(o, p) {
				return fmt.Errorf("%q: %w: %q has it already, or is in it", p, ErrPath, o)
			}
		}
	}
	return nil
}

// within reports whether path is dir or lies in it.
func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

// A tree is a root directory. Names beneath it are looked up one at a time, in
// folders that are open, and no symbolic link is followed: nothing that another
// process does to the tree leads out of it.
type tree struct {
	root *os.File
	path string // of root, for messages
	last string // the folder that was opened last
	dir  *os.File
}

func openTree(path string) (*tree, error) {
	if path == "" {
		path = "/"
	}
	fd, err := openFD(unix.AT_FDCWD, path, unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return &tree{root: os.NewFile(uintptr(fd), path), path: path}, nil
}

func (t *tree) close() error {
	t.forget()
	return t.root.Close()
}

// forget closes the folder that was opened last.
func (t *tree) forget() {
	if t.dir != nil {
		t.dir.Close() // only looked in, or flushed already
	}
	t.last, t.dir = "", nil
}

// folder opens a folder. It stays open until the next call.
func (t *tree) folder(path string) (*os.File, error) {
	if t.dir != nil && t.last == path {
		return t.dir, nil
	}
	t.forget()
	dir, err := openDir(t.root, ".")
	if err != nil {
		return nil, err
	}
	for name := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		if name == "" {
			continue
		}
		next, err := openDir(dir, name)
		dir.Close() // only looked in
		if err != nil {
			return nil, err
		}
		dir = next
	}
	t.last, t.dir = path, dir
	return dir, nil
}

// parent opens the folder that holds path, and returns the name in it.
func (t *tree) parent(path string) (dir *os.File, name string, err error) {
	dir, err = t.folder(filepath.Dir(path))
	return dir, filepath.Base(path), err
}

// look returns what path is. Something that is not there, or whose folder is
// not there, is fs.ErrNotExist.
func (t *tree) look(path string) (unix.Statx_t, error) {
	if path == "/" {
		return lookAt(t.root, ".")
	}
	dir, name, err := t.parent(path)
	if err != nil {
		return unix.Statx_t{}, err
	}
	return lookAt(dir, name)
}

// again calls f until no signal interrupts it.
func again(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func openFD(dir int, name string, flags int, mode uint32) (fd int, err error) {
	err = again(func() error {
		fd, err = unix.Openat(dir, name, flags|unix.O_CLOEXEC, mode)
		return err
	})
	return fd, err
}

// openAt opens a name in a folder, and not what a symbolic link points to.
func openAt(dir *os.File, name string, flags int, mode uint32) (*os.File, error) {
	path := filepath.Join(dir.Name(), name)
	fd, err := openFD(int(dir.Fd()), name, flags|unix.O_NOFOLLOW|unix.O_NONBLOCK, mode)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// openDir opens a folder in a folder. What is something else is errLink or
// errNoFolder.
func openDir(dir *os.File, name string) (*os.File, error) {
	f, err := openAt(dir, name, unix.O_DIRECTORY, 0)
	if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		path := filepath.Join(dir.Name(), name)
		if st, look := lookAt(dir, name); look == nil && kindOf(&st) == kindLink {
			return nil, fmt.Errorf("%s %w", path, errLink)
		}
		return nil, fmt.Errorf("%s %w", path, errNoFolder)
	}
	return f, err
}

// lookAt returns what a name in a folder is, not what it points to.
func lookAt(dir *os.File, name string) (st unix.Statx_t, err error) {
	const flags = unix.AT_SYMLINK_NOFOLLOW | unix.AT_NO_AUTOMOUNT
	err = again(func() error {
		return unix.Statx(int(dir.Fd()), name, flags, unix.STATX_BASIC_STATS|unix.STATX_MNT_ID, &st)
	})
	if err != nil {
		err = &fs.PathError{Op: "stat", Path: filepath.Join(dir.Name(), name), Err: err}
	}
	return st, err
}

// lookInto returns what an open file is.
func lookInto(f *os.File) (st unix.Statx_t, err error) {
	err = again(func() error {
		return unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS|unix.STATX_MNT_ID, &st)
	})
	if err != nil {
		err = &fs.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	return st, err
}

// sameMount reports whether two things are on one mount; where the kernel (before
// 5.8) does not number mounts, on one file system.
func sameMount(a, b *unix.Statx_t) bool {
	if a.Mask&b.Mask&unix.STATX_MNT_ID != 0 {
		return a.Mnt_id == b.Mnt_id
	}
	return a.Dev_major == b.Dev_major && a.Dev_minor == b.Dev_minor
}

func sameThing(a, b *unix.Statx_t) bool {
	return a.Ino == b.Ino && a.Dev_major == b.Dev_major && a.Dev_minor == b.Dev_minor
}

// What an entry is, in the manifest's words.
const (
	kindFile   = "file"
	kindFolder = "folder"
	kindLink   = "link"
	kindAbsent = "absent" // a declared path that was not there
	kindOther  = ""       // a device, a socket or a pipe
)

func kindOf(st *unix.Statx_t) string {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return kindFile
	case unix.S_IFDIR:
		return kindFolder
	case unix.S_IFLNK:
		return kindLink
	}
	return kindOther
}

// special names what is not taken.
func special(st *unix.Statx_t) string {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFSOCK:
		return "it is a socket, which whoever listens makes anew"
	case unix.S_IFIFO:
		return "it is a pipe, which has no content"
	}
	return "it is a device, which has no content of its own"
}

// readLink returns what a symbolic link holds.
func readLink(dir *os.File, name string) (string, error) {
	b := make([]byte, unix.PathMax)
	n := 0
	err := again(func() (err error) {
		n, err = unix.Readlinkat(int(dir.Fd()), name, b)
		return err
	})
	if err != nil {
		return "", &fs.PathError{Op: "readlink", Path: filepath.Join(dir.Name(), name), Err: err}
	}
	return string(b[:n]), nil
}

// names returns at most n names of a folder, sorted.
func names(dir *os.File, n int) ([]string, error) {
	d, err := openDir(dir, ".") // a position of its own
	if err != nil {
		return nil, err
	}
	defer d.Close() // only read
	all, err := d.Readdirnames(n)
	if len(all) == 0 && err != nil && n > 0 { // io.EOF of an empty folder
		return nil, ignoreEOF(err)
	}
	for n > 0 && len(all) < n {
		more, err := d.Readdirnames(n - len(all))
		if all = append(all, more...); err != nil {
			if err := ignoreEOF(err); err != nil {
				return nil, err
			}
			break
		}
	}
	slices.Sort(all)
	return all, nil
}
