package install

import (
	"context"
	"errors"
	"fmt"
)

// An Outcome is how a verb left the device.
type Outcome struct {
	Decision           // the row that the device is in now
	Artifact   string  // artifact_name of the update that it was about, if any
	From, To   string  // slots of that update
	Event      string  // what was done: "committed", "rolled back", "armed", …; empty for nothing
	Reboot     bool    // a reboot is owed, or is on its way
	Because    string  // of a failure: what it was
	Acted      string  // the row that was acted on
	ClassFound Class   // of a failure
}

// Resume looks up what the last boot, cut or command left behind and brings it
// to its end: it is what runs at every boot. It returns nil if an update was
// committed or armed; ErrNothing if nothing was owed; ErrPending if a reboot
// is; ErrFellBack if an update did not stay; ErrCut, ErrForeign, ErrAttention.
// It may be called at any time, and again.
func (d *Device) Resume(ctx context.Context) (Outcome, error) {
	s, err := d.begin()
	if err != nil {
		return Outcome{}, err
	}
	o, err := s.resume(ctx, func(Decision) bool { return false })
	return o, errors.Join(err, s.end())
}

// Commit keeps the update that is on trial, in place of the health checks. It
// is refused before the update was booted (ErrNotOnTrial) and after a fallback
// (ErrFellBack).
func (d *Device) Commit(ctx context.Context) (Outcome, error) {
	s, err := d.begin()
	if err != nil {
		return Outcome{}, err
	}
	o, err := s.commitByHand(ctx)
	return o, errors.Join(err, s.end())
}

// Rollback takes an update back. Before the reboot it disarms, and the slot
// that runs goes on; on trial it returns to the source slot. It is refused
// where the other slot is not whole (ErrNotGood).
func (d *Device) Rollback(ctx context.Context) (Outcome, error) {
	s, err := d.begin()
	if err != nil {
		return Outcome{}, err
	}
	o, err := s.rollbackByHand(ctx)
	return o, errors.Join(err, s.end())
}

func (s *session) resume(ctx context.Context, stop func(Decision) bool) (Outcome, error) {
	d, err := s.settle(ctx, stop)
	o := s.outcome(d)
	switch {
	case errors.Is(err, errRebooting):
		o.Reboot, o.Event = true, "rolling back"
		return o, fmt.Errorf("%w: %s; rebooting into slot %s", ErrFellBack, d.Is, s.state.Trial.sourceOr(d.Boots))
	case err != nil:
		return o, err
	}
	switch s.last.Do {
	case Commit, Finish:
		o.Event = "committed"
		return o, nil
	case Arm:
		o.Event, o.Reboot = "armed", true
		return o, nil
	case Fail, Disarm:
		o.Event = "failed"
		return o, fmt.Errorf("%w: %s", ErrFellBack, s.last.Is)
	case Abandon:
		return o, fmt.Errorf("%w: %s", ErrCut, o.Artifact)
	}
	return o, s.atRest(d)
}

// atRest is the error for a row in which there is nothing for plimsoll to do.
func (s *session) atRest(d Decision) error {
	switch d.Do {
	case Wait:
		return fmt.Errorf("%w: %s", ErrPending, d.Is)
	case HandsOff:
		return fmt.Errorf("%w: %s", ErrForeign, d.Is)
	case Attention:
		return s.attention(d)
	case Nothing:
		return ErrNothing
	}
	return fmt.Errorf("%w: %s", ErrPending, d.Is)
}

// attention says what is wrong, with the reason that the table cannot know.
func (s *session) attention(d Decision) error {
	switch {
	case s.missing != nil:
		return fmt.Errorf("%w: %s: %w", ErrAttention, d.Is, s.missing)
	case s.unreadable != nil:
		return fmt.Errorf("%w: %s (%w)", ErrAttention, d.Is, s.unreadable)
	}
	return fmt.Errorf("%w: %s", ErrAttention, d.Is)
}

func (s *session) commitByHand(ctx context.Context) (Outcome, error) {
	d := Decide(s.situation())
	switch d.Do {
	case Wait, Arm:
		return s.outcome(d), fmt.Errorf("%w: %s", ErrNotOnTrial, d.Is)
	}
	return s.resume(ctx, func(Decision) bool { return false })
}

func (s *session) rollbackByHand(ctx context.Context) (Outcome, error) {
	d := Decide(s.situation())
	o := s.outcome(d)
	switch d.Do {
	case Nothing:
		return o, ErrNothing
	case HandsOff, Attention:
		return o, s.atRest(d)
	case Abandon:
		return o, fmt.Errorf("%w: slot %s: %s", ErrNotGood, s.state.Trial.Target, d.Is)
	case Wait, Arm:
		return s.takeBack(d)
	case Judge, Adopt:
		return s.leaveTrial(ctx, d)
	}
	return s.resume(ctx, func(Decision) bool { return false })
}

// takeBack closes an update that was not booted yet; the verified image stays
// on its slot.
func (s *session) takeBack(d Decision) (Outcome, error) {
	t := s.state.Trial
	t.Class, t.Reason = ClassNone, "by hand"
	s.mark(t.Target, StatusWritten)
	if err := s.enter(PhaseFailed); err != nil {
		return s.outcome(d), err
	}
	if d.Do == Wait {
		if err := s.Boot.Rollback(s.slot(t.Source).Part); err != nil {
			return s.outcome(d), fmt.Errorf("%w: %w", ErrAttention, err)
		}
	}
	s.noteTrial("rolled back", d)
	if err := s.look(); err != nil {
		return s.outcome(d), err
	}
	o := s.outcome(Decide(s.situation()))
	o.Event = "disarmed"
	return o, nil
}

// leaveTrial returns from a trial because somebody asked for it.
func (s *session) leaveTrial(ctx context.Context, d Decision) (Outcome, error) {
	if d.Do == Adopt {
		if err := s.adopt(); err != nil {
			return s.outcome(d), err
		}
	}
	back := s.situation().goBack(d.Row, "rolled back by hand", ClassNone)
	if back.Do == Attention {
		return s.outcome(back), fmt.Errorf("%w: slot %s", ErrNotGood, s.state.Trial.Source)
	}
	err := s.act(ctx, back)
	o := s.outcome(back)
	o.Event = "rolled back"
	if errors.Is(err, errRebooting) {
		o.Reboot = true
		return o, nil
	}
	if err != nil {
		return o, err
	}
	if err := s.look(); err != nil {
		return o, err
	}
	if _, err := s.settle(ctx, func(Decision) bool { return false }); err != nil {
		return o, err
	}
	o = s.outcome(Decide(s.situation()))
	o.Event = "rolled back"
	return o, nil
}

func (s *session) outcome(d Decision) Outcome {
	o := Outcome{Decision: d, Acted: s.last.Row, Because: s.last.Is}
	if t := s.state.Trial; t != nil {
		o.Artifact, o.From, o.To, o.ClassFound = t.Artifact, t.Source, t.Target, t.Class
	}
	return o
}
