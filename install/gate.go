package install

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/plimsoll-ota/plimsoll/install/internal/process"
)

// What a gate may say beside "go".
var (
	ErrLater     = errors.New("not now: asked to wait")
	ErrForbidden = errors.New("not allowed by this device")
)

// exitLater is how a gate asks for time, as a state script does. (Mender client,
// state scripts, exit code 21.)
const exitLater = 21

// A Gate is a program of the device that decides whether now is the time, for
// an update that nobody watches: a crane with a load on its hook must not
// reboot. The zero value is always open.
type Gate struct {
	Command []string      // the program and its arguments
	Timeout time.Duration // of one answer; 0: one minute
}

// Ask runs the program once, with env beside this process's environment. Exit 0
// is nil, 21 is ErrLater, and anything else, a time-out too, is ErrForbidden
// with what it said.
func (g Gate) Ask(ctx context.Context, env ...string) error {
	if len(g.Command) == 0 {
		return nil
	}
	timeout := g.Timeout
	if timeout == 0 {
		timeout = time.Minute
	}
	_, err := process.Run(ctx, process.Command{
		Path: g.Command[0], Args: g.Command[1:], Env: append(os.Environ(), env...), Timeout: timeout, Grace: time.Second,
	})
	var ended *process.Error
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &ended) && ended.Code == exitLater && ended.Left == nil:
		return fmt.Errorf("%w: %w", ErrLater, err)
	}
	return fmt.Errorf("%w: %w", ErrForbidden, err)
}
