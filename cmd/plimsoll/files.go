package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// A replacement is a file that comes into being whole or not at all: written
// without a name where the file system can do that, else under a temporary one
// in the same folder; synced, and renamed.
type replacement struct {
	*os.File
	path    string
	unnamed bool
}

// replace begins a replacement of path. A symbolic link is followed, so that
// what it points to is replaced. Root leaves the file to whom it belongs.
func replace(path string, mode fs.FileMode) (*replacement, error) {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	r := &replacement{path: path, unnamed: true}
	var err error
	if r.File, err = unnamedFile(filepath.Dir(path)); err != nil {
		r.unnamed = false
		if r.File, err = os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*"); err != nil {
			return nil, err
		}
	}
	if st, statErr := os.Stat(path); statErr == nil && os.Geteuid() == 0 {
		if sys, ok := st.Sys().(*syscall.Stat_t); ok {
			err = r.Chown(int(sys.Uid), int(sys.Gid))
		}
	}
	if err == nil {
		err = r.Chmod(mode)
	}
	if err != nil {
		return nil, errors.Join(err, r.abort())
	}
	return r, nil
}

// unnamedFile makes a file that is gone when the process is, unless it is linked.
func unnamedFile(dir string) (*os.File, error) {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	f := os.NewFile(uintptr(fd), fmt.Sprintf("/proc/self/fd/%d", fd))
	if _, err := os.Stat(f.Name()); err != nil { // without it there is no way to a name
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// name links an unnamed file to a temporary name, because a link replaces nothing.
func (r *replacement) name() (string, error) {
	if !r.unnamed {
		return r.Name(), nil
	}
	for range 100 {
		name := filepath.Join(filepath.Dir(r.path), fmt.Sprintf(".%s.%08x", filepath.Base(r.path), rand.Uint32()))
		err := unix.Linkat(unix.AT_FDCWD, r.Name(), unix.AT_FDCWD, name, unix.AT_SYMLINK_FOLLOW)
		if err == nil {
			return name, nil
		}
		if !errors.Is(err, unix.EEXIST) {
			return "", &os.LinkError{Op: "link", Old: r.Name(), New: name, Err: err}
		}
	}
	return "", fmt.Errorf("%s: no temporary name is free", r.path)
}

// settle makes the file durable under a temporary name, and closes it. After an
// error there is none.
func (r *replacement) settle() (temporary string, err error) {
	if err := r.Sync(); err != nil {
		return "", errors.Join(err, r.abort())
	}
	name, err := r.name()
	if err != nil {
		return "", errors.Join(err, r.Close())
	}
	if err := r.Close(); err != nil {
		return "", errors.Join(err, os.Remove(name))
	}
	return name, nil
}

// commit makes the file appear.
func (r *replacement) commit() error {
	name, err := r.settle()
	if err != nil {
		return err
	}
	if err := os.Rename(name, r.path); err != nil {
		return errors.Join(err, os.Remove(name))
	}
	dir, err := os.Open(filepath.Dir(r.path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// abort leaves nothing behind.
func (r *replacement) abort() error {
	err := r.Close()
	if !r.unnamed {
		err = errors.Join(err, os.Remove(r.Name()))
	}
	return err
}

// create calls body with a writer to path, or to standard output for "-". When
// body fails, or the file cannot be made durable, nothing is left at path that
// was not there before.
func (a *app) create(path string, mode fs.FileMode, body func(io.Writer) error) error {
	if path == "-" {
		return body(a.stdout)
	}
	r, err := replace(path, mode)
	if err != nil {
		return err
	}
	if err := body(r); err != nil {
		return errors.Join(err, r.abort())
	}
	return r.commit()
}

// createBytes is create for what is in memory already.
func (a *app) createBytes(path string, b []byte) error {
	return a.create(path, 0o644, func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	})
}

// open opens path for reading, or standard input for "-". Reading ends when
// ctx does.
func (a *app) open(ctx context.Context, path string) (src io.ReadCloser, name string, err error) {
	if path == "-" {
		return interruptible(ctx, a.stdin), "standard input", nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, path, err
	}
	return struct {
		io.Reader
		io.Closer
	}{untilDone{ctx, f}, f}, path, nil
}

// interruptible returns a reader of r that fails as soon as ctx is done, even
// while r has nothing to give: a pipe whose other end is silent. Close it.
func interruptible(ctx context.Context, r io.Reader) io.ReadCloser {
	pr, pw := io.Pipe()
	stop := context.AfterFunc(ctx, func() { pw.CloseWithError(context.Cause(ctx)) })
	go func() {
		_, err := io.CopyBuffer(struct{ io.Writer }{pw}, struct{ io.Reader }{r}, make([]byte, 256<<10))
		stop()
		pw.CloseWithError(err)
	}()
	return pr
}

// untilDone is a reader that fails once its context is done.
type untilDone struct {
	ctx context.Context
	r   io.Reader
}

func (u untilDone) Read(b []byte) (int, error) {
	if u.ctx.Err() != nil {
		return 0, context.Cause(u.ctx)
	}
	return u.r.Read(b)
}
