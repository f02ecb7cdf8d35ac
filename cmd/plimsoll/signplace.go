package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// openAlone opens a file that is going to be replaced, and waits until nobody
// else does the same: two at a time would both start from what is there, and
// the work of the one who is done first would be lost. Where files cannot be
// locked both go on, and the file is still that of one of them, whole.
func openAlone(ctx context.Context, path string) (*os.File, error) {
	for {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		if err := lock(ctx, f); err != nil {
			return nil, errors.Join(err, f.Close())
		}
		// Whoever had the lock may have replaced the file meanwhile.
		mine, err := f.Stat()
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		if now, err := os.Stat(path); err == nil && os.SameFile(mine, now) {
			return f, nil
		}
		if err := f.Close(); err != nil {
			return nil, err
		}
	}
}

func lock(ctx context.Context, f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch err {
		case unix.EWOULDBLOCK, unix.EINTR:
		default: // nil, or a file system without locks
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// replaceLike replaces the file at path, which old is of, by what body writes,
// and keeps its permissions and its owner.
func (a *app) replaceLike(path string, old fs.FileInfo, body func(io.Writer) error) error {
	r, err := replace(path, old.Mode().Perm())
	if err != nil {
		return err
	}
	if err := body(r); err != nil {
		return errors.Join(err, r.abort())
	}
	st := old.Sys().(*syscall.Stat_t)
	if err := r.Chown(int(st.Uid), int(st.Gid)); errors.Is(err, fs.ErrPermission) {
		a.out.say("%s belongs to you now: only root can leave it to its owner", path)
	} else if err != nil {
		return errors.Join(err, r.abort())
	}
	// Another owner takes set-user-ID and the like away, and nothing else.
	if err := r.Chmod(old.Mode().Perm()); err != nil {
		return errors.Join(err, r.abort())
	}
	if err := r.commit(); err != nil {
		return err
	}
	if st.Nlink > 1 {
		a.out.say("%s: %s what it was before (hard links)", path, otherNames(uint64(st.Nlink)-1))
	}
	return nil
}

func otherNames(n uint64) string {
	if n == 1 {
		return "another name of the file holds"
	}
	return fmt.Sprintf("%d other names of the file hold", n)
}
