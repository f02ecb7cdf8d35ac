package main

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// The classes of ioprio_set(2).
const (
	ioprioProcess = 1 // IOPRIO_WHO_PROCESS, which is one thread
	ioprioShift   = 13
	ioprioIdle    = 3
)

// lastInLine lets all other programs' reads and writes go before this one's,
// where the disk's scheduler has priorities (bfq, mq-deadline). Whoever starts
// it with ionice has chosen already.
func lastInLine() error {
	if now, _, errno := unix.Syscall(unix.SYS_IOPRIO_GET, ioprioProcess, 0, 0); errno != 0 || now>>ioprioShift != 0 {
		return nil
	}
	// Each thread has its own, and a new one that of the thread that makes it:
	// after the first round nothing else is made, and the second finds all.
	for range 2 {
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return fmt.Errorf("lower the I/O priority: %w", err)
		}
		for _, t := range threads {
			id, err := strconv.Atoi(t.Name())
			if err != nil {
				continue
			}
			_, _, errno := unix.Syscall(unix.SYS_IOPRIO_SET, ioprioProcess, uintptr(id), ioprioIdle<<ioprioShift)
			if errno != 0 && errno != unix.ESRCH {
				return fmt.Errorf("lower the I/O priority: %w", errno)
			}
		}
	}
	return nil
}
