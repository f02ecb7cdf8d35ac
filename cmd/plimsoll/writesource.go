package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// A payload is a file of the payload, opened, and its size.
type payload struct {
	io.ReadCloser
	size int64
}

// openPayload opens a file. What has no size, a pipe or standard input, is read
// to its end first, into a file in the folder tmp that has no name.
func (a *app) openPayload(ctx context.Context, path, tmp string) (*payload, error) {
	if isStdin(path) {
		if f, ok := a.stdin.(*os.File); ok && mode(f)&fs.ModeCharDevice != 0 {
			return nil, errors.New("standard input is neither a file nor a pipe")
		}
		return a.spool(ctx, "standard input", a.stdin, tmp)
	}
	f, err := openUntilDone(ctx, path)
	if err != nil {
		return nil, err
	}
	switch m := mode(f); {
	case m.IsRegular():
		st, err := f.Stat()
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		return &payload{f, st.Size()}, nil
	case m.Type() == fs.ModeNamedPipe:
		defer f.Close() // only read
		return a.spool(ctx, path, f, tmp)
	}
	return nil, errors.Join(fmt.Errorf("%s is neither a regular file nor a pipe", path), f.Close())
}

// mode returns what kind of file f is; what cannot be asked is no regular one.
func mode(f *os.File) fs.FileMode {
	st, err := f.Stat()
	if err != nil {
		return fs.ModeIrregular
	}
	return st.Mode()
}

// spool keeps all of r in a file without a name: nothing is left behind, however
// the process ends. A pipe of which nothing comes is the sign of something that
// failed at its other end, and no file of the payload.
func (a *app) spool(ctx context.Context, what string, r io.Reader, tmp string) (*payload, error) {
	f, err := unnamed(tmp)
	if err != nil {
		return nil, err
	}
	in := interruptible(ctx, r)
	defer in.Close() // only read
	a.out.count("receive", 0, 0)
	size, err := io.Copy(f, in)
	if err == nil && size == 0 {
		err = errors.New("nothing came out of it")
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read %s: %w", what, err), f.Close())
	}
	return &payload{f, size}, nil
}

// unnamed returns a new file in a folder, that of temporary files for "". It has
// no name there any more.
func unnamed(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, ".plimsoll-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// openUntilDone opens a file for reading. A pipe by name opens when somebody
// opens its other end, which may be never: ctx is the way out.
func openUntilDone(ctx context.Context, path string) (*os.File, error) {
	type opened struct {
		f   *os.File
		err error
	}
	ch := make(chan opened, 1)
	go func() {
		f, err := os.Open(path)
		ch <- opened{f, err}
	}()
	select {
	case o := <-ch:
		return o.f, o.err
	case <-ctx.Done():
	}
	go func() {
		if o := <-ch; o.f != nil {
			o.f.Close() // not even read
		}
	}()
	// For a moment the other end, so that the one who waits comes back.
	if w, err := os.OpenFile(path, os.O_WRONLY|unix.O_NONBLOCK, 0); err == nil {
		w.Close() // nothing was written
	}
	return nil, context.Cause(ctx)
}
