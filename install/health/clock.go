package health

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// SinceBoot returns how long ago the kernel started, time asleep included. It
// does not know the wall clock, and cannot be set.
func SinceBoot() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic(fmt.Sprintf("health: CLOCK_BOOTTIME: %v", err)) // Go itself asks for a newer kernel
	}
	return time.Duration(ts.Nano())
}
