package partition

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// A Slot is one of the two places an image lives. It comes from [Host.Find] and
// is a plain value: nothing is open.
type Slot struct {
	Name string // "A" or "B"
	Part int    // what the bootloader calls it
	Path string // canonical, symlinks resolved

	block bool
	dev   devnum // of a block device
	host  Host
}

// String names the slot and where it is, for messages.
func (s Slot) String() string { return fmt.Sprintf("%s (%s)", s.Name, s.Path) }

// Size returns how many bytes the slot can hold.
func (s Slot) Size() (int64, error) {
	f, err := os.Open(s.Path)
	if err != nil {
		return 0, fmt.Errorf("measure slot %v: %w", s, err)
	}
	defer f.Close()
	n, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, fmt.Errorf("measure slot %v: %w", s, err)
	}
	return n, nil
}

// open opens the slot for nobody else, flag being os.O_RDWR or os.O_RDONLY, and
// makes sure that it is still what was found. It is held until the file is
// closed.
//
// O_EXCL without O_CREAT asks the kernel for sole use of a block device: it
// refuses what is mounted (in any namespace), mapped, swapped to, or held by
// another such open. A plain file gets the advisory lock, and must not be
// shown by a loop device.
func (s Slot) open(flag int) (*os.File, error) {
	if s.block {
		flag |= unix.O_EXCL
	}
	f, err := os.OpenFile(s.Path, flag|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.EBUSY) {
		return nil, fmt.Errorf("%w: %w", ErrInUse, err)
	}
	if err != nil {
		return nil, err
	}
	if err := s.claim(f); err != nil {
		f.Close()
		return nil, err
	}
	if s.block && flag&unix.O_ACCMODE != os.O_RDONLY {
		// The kernel opens a write-protected device for writing and refuses
		// each write; better to know now.
		if ro, err := unix.IoctlGetInt(int(f.Fd()), unix.BLKROGET); err != nil || ro != 0 {
			f.Close()
			return nil, fmt.Errorf("device is write-protected: %w", errors.Join(unix.EROFS, err))
		}
	}
	return f, nil
}

func (s Slot) claim(f *os.File) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return err
	}
	if s.block {
		rdev := uint64(st.Rdev)
		if st.Mode&unix.S_IFMT != unix.S_IFBLK || (devnum{unix.Major(rdev), unix.Minor(rdev)}) != s.dev {
			return fmt.Errorf("%w: it was device %v and is another now", ErrNoSlot, s.dev)
		}
		return nil
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return fmt.Errorf("%w: it is no plain file any more", ErrUnsupported)
	}
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return fmt.Errorf("%w: another process has locked it", ErrInUse)
	}
	if err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	if loop := s.host.loopOf(s.Path); loop != "" {
		return fmt.Errorf("%w: %s shows it", ErrInUse, loop)
	}
	return nil
}

// loopOf returns the name of a loop device that shows the file, "" if none does.
func (h Host) loopOf(path string) string {
	for _, d := range h.allDisks() {
		if file := d.backing(); file != "" && sameFile(file, path) {
			return d.name()
		}
	}
	return ""
}
