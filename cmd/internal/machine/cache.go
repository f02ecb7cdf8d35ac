package machine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// cacheDir returns the folder that is kept between runs. What is in it is
// complete: it is made in a folder beside it and renamed.
func cacheDir() (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(base, "plimsoll", "machine")
	return dir, os.MkdirAll(dir, 0o755)
}

// lock waits until no other process holds the lock file and returns what
// releases it. The kernel releases it as well when the process dies.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return func() { f.Close() }, nil
		case !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR):
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("wait for another process to release %s: %w", path, context.Cause(ctx))
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// cached returns the folder of that name in the cache. If it is not there, fill
// is called once, by one process, with the folder to be filled.
func cached(ctx context.Context, name string, fill func(dir string) error) (string, error) {
	base, err := cacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(base, name)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	unlock, err := lock(ctx, filepath.Join(base, "lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(dir); err == nil { // by the one that held the lock
		return dir, nil
	}
	tmp := filepath.Join(base, "incomplete") // perhaps of one that was killed
	if err := errors.Join(os.RemoveAll(tmp), os.Mkdir(tmp, 0o755)); err != nil {
		return "", err
	}
	if err := fill(tmp); err != nil {
		return "", errors.Join(err, os.RemoveAll(tmp))
	}
	unix.Sync() // or the host's power cut would leave a folder of empty files
	return dir, os.Rename(tmp, dir)
}
