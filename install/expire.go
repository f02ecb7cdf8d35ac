package install

import (
	"context"
	"errors"
)

// Expire ends a trial whose time is up: one that has no verdict by now is
// unhealthy, and returns to its source slot, with a reboot. ErrNothing where
// nothing is on trial. It is what the deadline's timer runs, beside a Resume
// that may hang: where that holds the lock, ErrLocked, and only a reboot is
// left, which the bootloader counts.
func (d *Device) Expire(ctx context.Context) (Outcome, error) {
	s, err := d.begin()
	if err != nil {
		return Outcome{}, err
	}
	o, err := s.expire(ctx)
	return o, errors.Join(err, s.end())
}

// ReasonDeadline is the Reason of a trial that had no verdict in time.
const ReasonDeadline = "deadline"

var errDeadline = errors.New("no verdict by its deadline")

func (s *session) expire(ctx context.Context) (Outcome, error) {
	d := Decide(s.situation())
	o := Outcome{Decision: d, Trial: s.state.Trial}
	switch d.Do {
	case Judge, Adopt:
	case Prove, Restart: // a drill goes back as it should, without a verdict
		return s.resume(ctx)
	default:
		return o, ErrNothing
	}
	s.decided = true
	if err := s.judge(ctx); err != nil {
		return o, err
	}
	s.verdict, s.failure = Unhealthy, errDeadline
	return s.resume(ctx)
}
