package install

import (
	"context"
	"errors"
	"fmt"
)

// An Outcome is how a verb left the device.
type Outcome struct {
	Decision        // the row that the device is in now
	Event    string // what was done: "committed", "armed", "disarmed", "rolled back"; "" for nothing
	Reboot   bool   // a reboot is owed, or is on its way
	Trial    *Trial // the update that it was about; nil if none is known
}

// Resume looks up what the last boot, cut or command left behind and brings it
// to its end: it is what runs at every boot. It returns nil if an update was
// committed or armed; ErrNothing if nothing was owed; ErrPending if a reboot
// is; ErrFellBack if an update did not stay; ErrCut, ErrForeign, ErrAttention.
// It may be called at any time, and again.
func (d *Device) Resume(ctx context.Context) (Outcome, error) {
	d.stamp()
	s, err := d.begin()
	if err != nil {
		return Outcome{}, err
	}
	o, err := s.resume(ctx)
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

// untilRest lets settle act on every row.
func untilRest(Decision) bool { return false }

func (s *session) resume(ctx context.Context) (Outcome, error) {
	d, err := s.settle(ctx, untilRest)
	o := Outcome{Decision: d, Trial: s.state.Trial}
	switch {
	case errors.Is(err, errRebooting) && d.Do == Restart:
		o.Reboot, o.Event = true, "drill"
		return o, fmt.Errorf("%w: %s; rebooting", ErrDrill, d.Is)
	case errors.Is(err, errRebooting):
		o.Reboot, o.Event = true, "rolled back"
		return o, fmt.Errorf("%w: %s; rebooting", ErrFellBack, d.Is)
	case err != nil:
		return o, err
	}
	if s.stopped {
		o.Event = "stopped"
		return o, nil
	}
	if s.paid && s.last.Do == Nothing { // only what was owed: the outcome is the record's
		s.last = Decision{Do: Fail, Is: s.state.Trial.Why}
		if s.state.Trial.Phase == PhaseCommitted {
			s.last.Do = Finish
		}
	}
	switch s.last.Do {
	case Commit, Finish:
		o.Event = "committed"
		return o, nil
	case Arm:
		o.Event, o.Reboot = "armed", true
		return o, nil
	case Restore:
		o.Event = "restored"
		return o, nil
	case Fail, Disarm:
		if t := s.state.Trial; t != nil && t.Drill != "" {
			return s.drillEnded(o)
		}
		return o, fmt.Errorf("%w: %s", ErrFellBack, s.last.Is)
	case Abandon:
		return o, fmt.Errorf("%w: %s", ErrCut, s.state.Trial.Artifact)
	}
	return o, s.atRest(d)
}

// atRest is the error for a row in which there is nothing for plimsoll to do.
func (s *session) atRest(d Decision) error {
	if t := s.state.Trial; t != nil && t.Drill != "" && (d.Do == Wait || d.Do == Prove || d.Do == Restart) {
		return fmt.Errorf("%w: %s", ErrDrill, d.Is)
	}
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
		return fmt.Errorf("%w: %w", ErrAttention, s.missing) // the row says no more
	case s.unreadable != nil:
		return fmt.Errorf("%w: %s (%w)", ErrAttention, d.Is, s.unreadable)
	}
	return fmt.Errorf("%w: %s", ErrAttention, d.Is)
}

// commitByHand is legal where the target runs, on trial, under our id; and
// where only the bookkeeping of an update that ended is behind.
func (s *session) commitByHand(ctx context.Context) (Outcome, error) {
	d := Decide(s.situation())
	o := Outcome{Decision: d, Trial: s.state.Trial}
	switch {
	case s.missing != nil:
		return o, s.attention(d)
	case d.Do == Prove, d.Do == Restart:
		return o, fmt.Errorf("%w: it is not kept", ErrDrill)
	case d.Row == "M4":
		s.verdict = Healthy
	case d.Do == Wait, d.Do == Arm, d.Do == RunInstall:
		return o, fmt.Errorf("%w: %s", ErrNotOnTrial, d.Is)
	case d.Do == Judge && !s.env.Trial:
		return o, fmt.Errorf("%w: %s; plimsoll resume judges it", ErrAttention, d.Is)
	}
	s.decided = true
	return s.resume(ctx)
}

func (s *session) rollbackByHand(ctx context.Context) (Outcome, error) {
	d := Decide(s.situation())
	o := Outcome{Decision: d, Trial: s.state.Trial}
	switch d.Do {
	case Nothing:
		return o, s.nothingToReturnTo()
	case HandsOff:
		if s.env.ID != "" && s.run != "" { // ours, and its record is lost
			return s.disarmed(o, s.Boot.Rollback(s.slot(s.run).Part))
		}
		return o, s.atRest(d)
	case Attention:
		return o, s.atRest(d)
	case Abandon:
		return o, fmt.Errorf("%w: slot %s: %s", ErrNotGood, s.state.Trial.Target, d.Is)
	case RunInstall:
		return s.dropped(ctx, o)
	}
	if t := s.state.Trial; t != nil && t.Payload != "" && d.Row == "M4" {
		s.verdict, s.byHand, s.decided = Unhealthy, true, true
		return s.moduleTakenBack(ctx, o)
	}
	switch d.Do {
	case Wait, Arm:
		return s.takeBack(ctx, o)
	case Judge, Adopt, Prove, Restart:
		return s.leaveTrial(ctx, o)
	}
	return s.resume(ctx)
}

// nothingToReturnTo is the error of a rollback where no update is in progress.
func (s *session) nothingToReturnTo() error {
	switch slot := s.state.Slots[other(s.run)]; slot.Status {
	case StatusWriting, StatusBad:
		return fmt.Errorf("%w: slot %s is %s", ErrNotGood, other(s.run), slot.Status)
	}
	return ErrNothing
}

// takeBack closes an update that was not booted yet: first the record, then
// the environment, so that a cut in between is row D3. The verified image
// stays on its slot.
func (s *session) takeBack(ctx context.Context, o Outcome) (Outcome, error) {
	t := s.state.Trial
	t.Class, t.Reason = ClassNone, "by hand"
	s.mark(t.Target, StatusWritten)
	if t.Drill != "" {
		s.mark(t.Target, t.Drill)
	}
	if err := s.owe(PhaseFailed, t.around(OwesRollback)); err != nil {
		return o, err
	}
	s.noteTrial("rolled back", o.Decision)
	if o.Do == Arm {
		return s.disarmed(o, s.tookBack(ctx, nil))
	}
	err := s.Boot.Rollback(s.slot(t.Source).Part)
	if err == nil {
		err = s.tookBack(ctx, nil)
	}
	return s.disarmed(o, err)
}

// dropped closes an update of a module that was taken in and not installed: the
// system was not changed.
func (s *session) dropped(ctx context.Context, o Outcome) (Outcome, error) {
	t := s.state.Trial
	t.Class, t.Reason, t.Why = ClassNone, "by hand", "rolled back by hand"
	if err := s.owe(PhaseFailed, OwesCleanup); err != nil {
		return o, err
	}
	s.noteTrial("rolled back", o.Decision)
	return s.disarmed(o, s.tookBack(ctx, nil))
}

// moduleTakenBack takes back what a module installed, because somebody asked.
func (s *session) moduleTakenBack(ctx context.Context, o Outcome) (Outcome, error) {
	d, err := s.settle(ctx, untilRest)
	o.Decision, o.Trial, o.Event = d, s.state.Trial, "rolled back"
	switch {
	case err != nil:
		return o, err
	case s.stopped:
		o.Event = "stopped"
	case s.state.Trial.Inconsistent:
		return o, fmt.Errorf("%w: %s", ErrInconsistent, s.state.Trial.Why)
	}
	return o, nil
}

// disarmed is the end of a rollback before the reboot.
func (s *session) disarmed(o Outcome, err error) (Outcome, error) {
	if err == nil {
		err = s.look()
	}
	if err != nil {
		return o, fmt.Errorf("%w: %w", ErrAttention, err)
	}
	o.Decision, o.Event = Decide(s.situation()), "disarmed"
	return o, nil
}

// leaveTrial returns from a trial because somebody asked for it: that is a
// verdict, and the table knows the way back for each kind of trial. The reboot
// is left to them.
func (s *session) leaveTrial(ctx context.Context, o Outcome) (Outcome, error) {
	s.byHand, s.decided, s.reboots = true, true, nil
	if err := s.judge(ctx); err != nil { // which records that it was alive in this boot
		return o, err
	}
	s.verdict = Unhealthy
	d, err := s.settle(ctx, untilRest)
	o.Decision, o.Trial = d, s.state.Trial
	switch back := s.last.Do == Return; {
	case err != nil:
		return o, err
	case d.Do == Attention && !back:
		return o, fmt.Errorf("%w: slot %s", ErrNotGood, other(s.run))
	default:
		o.Event, o.Reboot = "rolled back", d.Do == Reboot || back && !s.Bench
		return o, nil
	}
}
