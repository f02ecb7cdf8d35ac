package udev

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plimsoll-ota/plimsoll/udev/tell"
	"github.com/plimsoll-ota/plimsoll/udev/volume"
)

// How often is looked whether it is this visit's turn, or an update has its
// verdict.
const lookAgain = 500 * time.Millisecond

// turn waits until no other stick is being worked with. It returns what lets the
// next one go.
func (v *Visit) turn(ctx context.Context, stick volume.Stick) (yield func(), err error) {
	f, err := os.OpenFile(v.Turn, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("wait for the turn: %w", err)
	}
	said := false
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			f.Close()
			return nil, fmt.Errorf("wait for the turn: lock %s: %w", v.Turn, err)
		}
		if !said {
			v.Queue.Tell(tell.Message{State: tell.Waiting, Detail: "another stick is first"})
			said = true
		}
		if stick.Gone() {
			f.Close()
			return nil, volume.ErrGone
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, context.Cause(ctx)
		case <-time.After(lookAgain):
		}
	}
}

// settle waits until the last update is at rest: on trial it has no verdict yet,
// and what is on the stick is judged by what that will be.
func (v *Visit) settle(ctx context.Context) error {
	for {
		s, err := v.Device.Standing()
		if err != nil || !s.Moving { // what is wrong with the device is told when it refuses to install
			return nil
		}
		if s.OnTrial {
			v.tell(Result{Message: tell.Message{State: tell.Testing}})
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(lookAgain):
		}
	}
}
