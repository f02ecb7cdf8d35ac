package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// A replacement is a file that comes into being whole or not at all: written
// under a temporary name in the same folder, synced, and renamed.
type replacement struct {
	*os.File
	path string
}

// replace begins a replacement of path. A symbolic link is followed, so that
// what it points to is replaced.
func replace(path string, mode fs.FileMode) (*replacement, error) {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return nil, err
	}
	r := &replacement{f, path}
	if err := f.Chmod(mode); err != nil {
		return nil, errors.Join(err, r.abort())
	}
	return r, nil
}

// commit makes the file appear.
func (r *replacement) commit() error {
	err := errors.Join(r.Sync(), r.Close())
	if err == nil {
		err = os.Rename(r.Name(), r.path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(r.Name()))
	}
	dir, err := os.Open(filepath.Dir(r.path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// abort leaves nothing behind.
func (r *replacement) abort() error {
	return errors.Join(r.Close(), os.Remove(r.Name()))
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
