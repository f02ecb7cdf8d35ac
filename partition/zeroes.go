package partition

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// zeroes is how a medium makes a range of itself read as zero without being
// sent the zeroes.
type zeroes int

const (
	noZeroes    zeroes = iota
	blockZeroes        // BLKZEROOUT: the device says that it can write zeroes
	fileHole           // FALLOC_FL_PUNCH_HOLE
)

// zeroesOf finds out. A device that only discards does not count: what it
// returns afterwards is not said.
func zeroesOf(fi os.FileInfo) zeroes {
	if fi.Mode().IsRegular() {
		return fileHole
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok || fi.Mode()&os.ModeDevice == 0 {
		return noZeroes
	}
	dev := fmt.Sprintf("/sys/dev/block/%d:%d/", unix.Major(st.Rdev), unix.Minor(st.Rdev))
	for _, queue := range []string{"queue", "../queue"} { // a partition has its disk's
		b, err := os.ReadFile(dev + queue + "/write_zeroes_max_bytes")
		if err != nil {
			continue
		}
		if n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64); err == nil && n > 0 {
			return blockZeroes
		}
	}
	return noZeroes
}

// zeroAt makes n bytes at off read as zero, both multiples of 4 KiB, and
// reports whether it could.
func (m *medium) zeroAt(off, n int64) (bool, error) {
	var err error
	switch m.zeroes {
	case blockZeroes:
		err = zeroOut(m.f, stretch{off, n})
	case fileHole:
		err = unix.Fallocate(int(m.f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
	default:
		return false, nil
	}
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTTY) {
		m.zeroes = noZeroes
		return false, nil
	}
	return err == nil, err
}

func zeroOut(f *os.File, e stretch) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), unix.BLKZEROOUT, uintptr(unsafe.Pointer(&e))); errno != 0 {
		return errno
	}
	return nil
}

var zeroBlock [block4]byte
