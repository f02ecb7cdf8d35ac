package install

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// How long an ordered reboot may take before it is forced. A shutdown that
// hangs on a dead NFS server would otherwise leave the device armed, or on a
// slot that was judged unhealthy, for ever.
const (
	orderedReboot = 90 * time.Second
	forcedReboot  = 30 * time.Second // 120 s after it was ordered
)

// RebootNow reboots the system: ordered, through the init system; after 90 s
// by the kernel, without asking anybody; after 120 s by sysrq. Never by kexec
// or a soft reboot, which would go past the bootloader and its counter. It
// does not return while the reboot is under way, unless none of the three can
// be asked for, or it is this process's turn to end.
func RebootNow() error {
	ctx, cancel := context.WithTimeout(context.Background(), orderedReboot)
	defer cancel()
	last, stop := lastCall()
	defer stop()
	ordered := orderReboot(ctx)
	if ordered == nil {
		select {
		case <-last:
			return nil
		case <-ctx.Done():
		}
	}
	forced := make(chan error, 1)
	go func() {
		unix.Sync() // may hang as well, on a server that went away
		forced <- unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
	}()
	select {
	case err := <-forced:
		return errors.Join(ordered, err, sysrq())
	case <-time.After(forcedReboot):
		return errors.Join(ordered, sysrq())
	}
}

// lastCall returns a channel that is closed when this process should go. That
// is not yet when systemd stops the unit that it belongs to, because of the
// reboot that it ordered: what hangs may be stopped later. It is when process 1
// has become the program that kills what is left.
func lastCall() (last <-chan struct{}, stop func()) {
	signals, done := make(chan os.Signal, 4), make(chan struct{})
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		for sig := range signals {
			first, err := os.ReadFile("/proc/1/comm")
			if sig == syscall.SIGTERM && err == nil && string(first) == "systemd\n" {
				continue
			}
			close(done)
			return
		}
	}()
	return done, func() {
		signal.Stop(signals)
		close(signals)
	}
}

// orderReboot asks the init system: systemd's, or whichever reboot(8) there is.
// One that hangs is given up when ctx is done.
func orderReboot(ctx context.Context) error {
	var problems []error
	for _, order := range [][]string{{"systemctl", "reboot"}, {"reboot"}} {
		err := exec.CommandContext(ctx, order[0], order[1:]...).Run()
		if err == nil {
			return nil
		}
		problems = append(problems, fmt.Errorf("%s: %w", strings.Join(order, " "), err))
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(problems...)
}

// sysrq asks the kernel for an immediate restart: without unmounting, which is
// safe here because all that plimsoll wrote was synced.
func sysrq() error {
	return os.WriteFile("/proc/sysrq-trigger", []byte("b"), 0)
}
