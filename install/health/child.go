package health

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A tail keeps the last bytes that were written to it.
type tail struct {
	limit int
	b     []byte
	lost  bool // something was written before them
}

func (t *tail) Write(p []byte) (int, error) {
	n := len(p)
	if len(p) >= t.limit {
		t.lost = t.lost || len(t.b) > 0 || len(p) > t.limit
		t.b = append(t.b[:0], p[len(p)-t.limit:]...)
		return n, nil
	}
	if over := len(t.b) + len(p) - t.limit; over > 0 {
		t.b, t.lost = append(t.b[:0], t.b[over:]...), true
	}
	t.b = append(t.b, p...)
	return n, nil
}

// errKilled is a child that did not end in time.
var errKilled = errors.New("did not end in time, and was killed")

// run starts a program in a process group of its own, and ends all of the group
// with it, or when ctx is done: what it left in the background too. It does not
// reach what made itself a session of its own.
func run(ctx context.Context, cmd *exec.Cmd) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = time.Second // for a pipe that somebody outside of the group holds
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		for {
			err := unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
			if !errors.Is(err, unix.EINTR) {
				return
			}
		}
	}()
	inTime := true
	select {
	case <-exited:
	case <-ctx.Done():
		inTime = false
	}
	// It is not waited for yet, so that the number is still its own.
	killed := unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
	err := cmd.Wait()
	switch {
	case !inTime && killed == nil:
		return errKilled
	case !inTime:
		return fmt.Errorf("did not end in time: %w", killed)
	case errors.Is(err, exec.ErrWaitDelay):
		return nil // it ended well; only its output was held on to
	}
	return err
}
