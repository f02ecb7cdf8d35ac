package bootloader

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// defaultLock is the file that libubootenv's fw_printenv and fw_setenv lock
// around their work. Locking it keeps all of us apart.
const defaultLock = "/var/lock/fw_printenv.lock"

// lockWait is how long somebody else's work on the environment is waited for.
const lockWait = 10 * time.Second

// lock takes the lock until the returned file is closed. A file that is there
// already is opened without O_CREAT: in a sticky folder the kernel refuses that
// to root, too, when the file is somebody else's (fs.protected_regular). Nor is a
// link followed, which somebody may have put there. The file is for root: whoever
// may open it may lock it, for ever.
func lock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	}
	if err != nil {
		return nil, fmt.Errorf("lock the boot environment: %w", err)
	}
	for end := time.Now().Add(lockWait); ; time.Sleep(20 * time.Millisecond) {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return nil, errors.Join(fmt.Errorf("lock the boot environment: %s: %w", path, err), f.Close())
		}
		if time.Now().After(end) {
			return nil, errors.Join(fmt.Errorf("lock the boot environment: %s is held for more than %v: %w", path, lockWait, err), f.Close())
		}
	}
}
