package external

import (
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// ownGroup gives the program a process group of its own, so that all of it can
// be ended. Where this process has a terminal the group gets it: whoever asks
// for a PIN there may read the answer, and Ctrl-C reaches it. give takes the
// terminal back, and must be called once the program has ended.
func ownGroup(cmd *exec.Cmd) (give func(), err error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return func() {}, nil // there is no terminal
	}
	fd := int(tty.Fd())
	mine := unix.Getpgrp()
	if front, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP); err != nil || front != mine {
		return func() { _ = tty.Close() }, nil // it is somebody else's just now
	}
	// Who takes the terminal without having it is stopped, unless it ignores that.
	signal.Ignore(syscall.SIGTTOU)
	cmd.SysProcAttr.Foreground, cmd.SysProcAttr.Ctty = true, fd
	return func() {
		_ = unix.IoctlSetPointerInt(fd, unix.TIOCSPGRP, mine)
		signal.Reset(syscall.SIGTTOU)
		_ = tty.Close()
	}, nil
}
