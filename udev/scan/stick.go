package scan

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/plimsoll-ota/plimsoll/artifact"
)

// errNotRegular is what has the name of an artifact and is no file that can be read like one.
var errNotRegular = errors.New("not a regular file")

// A Stick is a folder that a stranger filled. It may be used by one goroutine at a time.
type Stick struct {
	dir *os.File
}

// Open opens the folder at path, which is where the stick is mounted. The path is ours: symbolic links in it are followed.
func Open(path string) (*Stick, error) {
	fd, err := openat(unix.AT_FDCWD, path, unix.O_DIRECTORY)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return &Stick{os.NewFile(uintptr(fd), path)}, nil
}

// Close closes the folder. Files of it that are open stay open.
func (s *Stick) Close() error { return s.dir.Close() }

// Open opens a file that Tree found for reading, and returns its size as it is now. It is a regular file, whatever the stick has become
// in between.
func (s *Stick) Open(f File) (*os.File, int64, error) {
	dir, name := s.dir, f.Path
	if folder, rest, deeper := strings.Cut(f.Path, "/"); deeper {
		var err error
		if dir, err = openFolder(s.dir, folder); err != nil {
			return nil, 0, err
		}
		defer dir.Close() // only looked in
		name = rest
	}
	return openFile(dir, name)
}

// Look opens a file that Tree found, and looks at it. Close the Candidate. Errors do not name the file.
func (s *Stick) Look(f File, v artifact.Verifier) (*Candidate, error) {
	file, size, err := s.Open(f)
	if err != nil {
		return nil, bare(err)
	}
	c, err := Look(file, size, v)
	if err != nil {
		file.Close() // only read
		return nil, err
	}
	c.Name, c.close = f.Name, file.Close
	return c, nil
}

// bare takes the path out of an error: it has the name as the stick has it.
func bare(err error) error {
	if p := (*fs.PathError)(nil); errors.As(err, &p) {
		return p.Err
	}
	return err
}

// openat opens a name until no signal interrupts it.
func openat(dir int, name string, flags int) (fd int, err error) {
	for {
		fd, err = unix.Openat(dir, name, flags|unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

// openIn opens a name in a folder, which is no path, and not what a symbolic link points to. It waits for nobody: opening a named pipe
// would.
func openIn(dir *os.File, name string, flags int) (*os.File, error) {
	path := filepath.Join(dir.Name(), name)
	if strings.ContainsRune(name, '/') || name == ".." {
		return nil, &fs.PathError{Op: "open", Path: path, Err: unix.EINVAL}
	}
	fd, err := openat(int(dir.Fd()), name, flags|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

func openFolder(dir *os.File, name string) (*os.File, error) {
	return openIn(dir, name, unix.O_DIRECTORY)
}

// openFile opens a regular file. It is looked at before, because to open a device can be to use it, and after, because the name may mean
// another file then.
func openFile(dir *os.File, name string) (*os.File, int64, error) {
	if strings.ContainsRune(name, '/') {
		return nil, 0, &fs.PathError{Op: "open", Path: filepath.Join(dir.Name(), name), Err: unix.EINVAL}
	}
	st, err := stat(dir, name)
	if err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
		err = &fs.PathError{Op: "open", Path: filepath.Join(dir.Name(), name), Err: errNotRegular}
	}
	if err != nil {
		return nil, 0, err
	}
	f, err := openIn(dir, name, 0)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: f.Name(), Err: errNotRegular}
	}
	if err != nil {
		f.Close() // only looked at
		return nil, 0, err
	}
	return f, info.Size(), nil
}

// stat returns what a name in a folder is, not what it points to.
func stat(dir *os.File, name string) (st unix.Stat_t, err error) {
	for {
		err = unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		err = &fs.PathError{Op: "stat", Path: filepath.Join(dir.Name(), name), Err: err}
	}
	return st, err
}
