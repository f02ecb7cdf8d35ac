package install

import (
	"errors"
	"os"
	"os/exec"
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
// be asked for.
func RebootNow() error {
	ordered := orderReboot()
	if ordered == nil {
		time.Sleep(orderedReboot)
	}
	unix.Sync()
	forced := make(chan error, 1)
	go func() { forced <- unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART) }()
	select {
	case err := <-forced:
		return errors.Join(ordered, err, sysrq())
	case <-time.After(forcedReboot):
		return errors.Join(ordered, sysrq())
	}
}

// orderReboot asks the init system: systemd's, or whichever reboot(8) there is.
func orderReboot() error {
	err := exec.Command("systemctl", "reboot").Run()
	if err == nil {
		return nil
	}
	return errors.Join(err, exec.Command("reboot").Run())
}

// sysrq asks the kernel for an immediate restart: without unmounting, which is
// safe here because all that plimsoll wrote was synced.
func sysrq() error {
	return os.WriteFile("/proc/sysrq-trigger", []byte("b"), 0)
}
