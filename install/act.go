package install

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/plimsoll-ota/plimsoll/artifact"
	"github.com/plimsoll-ota/plimsoll/bootloader"
	"github.com/plimsoll-ota/plimsoll/install/health"
)

// act does what a decision says. Each action can be cut anywhere and is then
// found again by the table, in the same row or in the next.
func (s *session) act(ctx context.Context, d Decision) error {
	switch d.Do {
	case Adopt:
		return s.adopt()
	case Forget:
		s.note(Event{Event: "outcome known, details lost", Row: d.Row})
		return s.Boot.Forget()
	case Abandon:
		return s.abandon(d)
	case Arm:
		return s.armAgain(ctx)
	case Disarm:
		return s.disarm(d)
	case Judge:
		return s.judge(ctx)
	case Commit:
		return s.commit(ctx)
	case Finish:
		return s.finish()
	case Fail:
		return s.fail(d)
	case Return:
		return s.goBack(d)
	case Reboot:
		return s.reboot()
	case Restore:
		return s.restore(d)
	case Prove:
		return s.prove()
	case Restart:
		return s.reboot()
	case RunInstall:
		_, err := s.runInstall(ctx)
		return err
	case RunLeave:
		return s.runLeave(ctx)
	case RunRollback:
		return s.runRollback(ctx)
	case RunFailure:
		return s.runFailure(ctx)
	case RunCleanup:
		return s.runCleanup(ctx)
	}
	panic(fmt.Sprintf("install: no action %d", d.Do))
}

// adopt rebuilds the record of a trial whose state directory was lost: the
// environment's id says that it is ours.
func (s *session) adopt() error {
	source := other(s.run)
	if s.state.Slots[source].Status == "" {
		s.mark(source, StatusGood) // it armed this trial, so it was running
	}
	var drill Status
	if isDrill(s.env.ID) {
		drill = StatusWritten
	}
	s.state.Trial = &Trial{
		ID: s.env.ID, Drill: drill, Phase: PhaseAlive, Source: source, Target: s.run,
		Artifact: "unknown", Boots: max(1, s.env.Count), Uptime: uptime(), Clears: &[]string{},
	}
	return s.save()
}

// abandon closes the record of an installation that was cut while it wrote.
// What is on the slot stays: the same artifact goes on where it was cut, since
// blocks that are right are not written again.
func (s *session) abandon(d Decision) error {
	t := s.state.Trial
	if t.Payload == "" {
		s.mark(t.Target, StatusBad)
	}
	t.Class, t.Reason, t.Why = ClassDisturbed, d.Row, d.Is
	s.remember(t)
	if err := s.owe(PhaseFailed, t.around(OwesCleanup)); err != nil {
		return err
	}
	s.noteTrial("failed", d)
	return nil
}

// judge notes that the trial reached user space in this boot, and asks for a
// verdict.
func (s *session) judge(ctx context.Context) error {
	if t := s.state.Trial; t != nil && s.missing == nil && t.Phase != PhaseCommitting && t.Payload == "" {
		if t.Phase != PhaseAlive || t.BootID != s.bootID() {
			t.Boots++
			t.Uptime = uptime()
			if err := s.enter(PhaseAlive); err != nil {
				return err
			}
		}
	}
	if s.missing != nil {
		s.fails(s.missing) // what cannot be remembered cannot be kept
		return nil
	}
	if t := s.state.Trial; t != nil && t.Carries && !s.decided {
		if err := s.applyData(ctx); err != nil { // where nothing ran early in this boot
			s.fails(err)
			return nil
		}
	}
	return s.examine(ctx)
}

// examine asks the health checks. Cancelled, they give no verdict.
func (s *session) examine(ctx context.Context) error {
	s.verdict = Healthy
	if s.Health == nil || s.decided {
		return nil
	}
	var before json.RawMessage
	if t := s.state.Trial; t != nil {
		before = t.Before
	}
	s.report(Progress{Step: StepResume})
	err := s.Health(ctx, before)
	if ctx.Err() != nil || errors.Is(err, health.ErrStopped) {
		s.verdict = NoVerdict
		return fmt.Errorf("%w: %w", ErrPending, cmp.Or(context.Cause(ctx), err))
	}
	if err != nil {
		s.fails(err)
	}
	return nil
}

// commit keeps the trial: record, environment, record. Once the environment
// is written the way is forward only.
func (s *session) commit(ctx context.Context) error {
	t := s.state.Trial
	if ok, err := s.confirm(ctx); !ok || err != nil {
		return err
	}
	if t.Payload != "" {
		return s.finish()
	}
	if err := s.enter(PhaseCommitting); err != nil {
		return err
	}
	floor := raiseFloor(raiseFloor(s.state.Floor, s.env.Floor), t.Provides[keyFloor])
	if err := s.Boot.Commit(s.slot(t.Target).Part, floor); err != nil {
		return err
	}
	s.env.ID, s.env.Floor = "", floor
	return s.finish()
}

// finish brings the record up to an environment that is committed.
func (s *session) finish() error {
	t := s.state.Trial
	s.state.provide(t)
	s.state.Floor = raiseFloor(raiseFloor(s.state.Floor, s.env.Floor), t.Provides[keyFloor])
	if t.Payload == "" {
		s.mark(t.Target, StatusGood)
	}
	if err := s.owe(PhaseCommitted, t.around(OwesLeave)); err != nil {
		return err
	}
	s.noteTrial("committed", Decision{})
	if s.env.ID == "" {
		return nil
	}
	return s.Boot.Forget()
}

// fail closes the record of an update that is not running any more.
func (s *session) fail(d Decision) error {
	t := s.state.Trial
	d.Is = s.because(d.Is)
	if d.Class != ClassNone {
		t.Class, t.Reason, t.Why = d.Class, d.Row, d.Is
	}
	if s.byHand && t.Payload != "" {
		t.Class, t.Reason, t.Why = ClassNone, "by hand", "rolled back by hand"
	}
	switch {
	case t.Drill != "":
		s.endDrill(d)
	case t.Payload != "": // no slot has to do with it
	case t.Class == ClassBad:
		s.mark(t.Target, StatusBad)
	default:
		s.mark(t.Target, StatusWritten)
	}
	s.remember(t)
	if err := s.owe(PhaseFailed, t.around(OwesRollback)); err != nil {
		return err
	}
	s.noteTrial("failed", d)
	if s.env.ID == "" {
		return nil
	}
	return s.Boot.Forget()
}

// disarm takes the arm back where the running system is the one to keep.
func (s *session) disarm(d Decision) error {
	t := s.state.Trial
	if t.Phase != PhaseFailed {
		d.Is = s.because(d.Is)
		if d.Class != ClassNone {
			t.Class, t.Reason, t.Why = d.Class, d.Row, d.Is
		}
		s.mark(t.Target, StatusWritten)
		if t.Drill != "" {
			s.endDrill(d)
		}
		s.remember(t)
		if err := s.owe(PhaseFailed, t.around(OwesRollback)); err != nil {
			return err
		}
		s.noteTrial("failed", d)
	}
	return s.Boot.Rollback(s.slot(d.Boots).Part)
}

// goBack returns to the source slot. A record that cannot be written does not
// keep the environment from being put right: the table recognises what is left.
func (s *session) goBack(d Decision) error {
	t := s.state.Trial
	var recorded error
	if t != nil && s.missing == nil {
		d.Is = s.because(d.Is)
		if t.Phase != PhaseRollingBack {
			t.Class, t.Reason, t.Why = d.Class, d.Row, d.Is
			if errors.Is(s.failure, errDeadline) {
				t.Reason = ReasonDeadline
			}
		}
		if s.byHand {
			t.Class, t.Reason, d.Is = ClassNone, "by hand", "rolled back by hand"
			t.Why = d.Is
		}
		recorded = s.enter(PhaseRollingBack)
		s.noteTrial("rolling back", d)
	}
	if err := s.Boot.Rollback(s.slot(d.Boots).Part); err != nil {
		return errors.Join(recorded, err)
	}
	if t != nil && s.missing == nil {
		t.Returned = true
		recorded = errors.Join(recorded, s.save())
	}
	return errors.Join(recorded, s.reboot())
}

// errRebooting ends a verb whose reboot is on its way.
var errRebooting = errors.New("rebooting")

func (s *session) reboot() error {
	if s.reboots == nil {
		return nil
	}
	if err := s.reboots(); err != nil {
		return fmt.Errorf("%w: reboot: %w", ErrAttention, err)
	}
	return errRebooting
}

// restore writes both copies of the environment from the backup.
func (s *session) restore(d Decision) error {
	raw, err := s.backupFits(s.state)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrAttention, err)
	}
	if err := s.Boot.Restore(raw, s.slot(d.Boots).Part); err != nil {
		return err
	}
	s.note(Event{Event: "environment restored", Row: d.Row, To: d.Boots})
	if t := s.state.Trial; t == nil || t.Phase != PhaseCommitted || d.Boots != t.Source {
		return nil
	}
	// The last update was kept, and the bootloader's default is the slot before
	// it: that is what runs from now on, and what the device provides.
	s.state.returnTo(d.Boots)
	s.state.Trial.Why = "the boot environment was lost, and the bootloader's default is the other slot"
	return s.enter(PhaseFailed)
}

// armAgain goes on with an update that was verified before a cut: the slot is
// read back once more, since nothing held it in between.
func (s *session) armAgain(ctx context.Context) error {
	t := s.state.Trial
	slot := s.slot(t.Target)
	sum, err := artifact.ParseSum(t.SHA256)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrAttention, err)
	}
	progress := func(n int64) { s.report(Progress{Step: StepVerify, Done: n, Total: t.Size}) }
	if err := slot.ReadBack(ctx, t.Size, sum, progress); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		s.mark(t.Target, StatusBad)
		t.Class, t.Reason = ClassDisturbed, "read back"
		s.remember(t)
		first := OwesCleanup
		if t.Phase == PhaseArming {
			first = OwesRollback
		}
		return errors.Join(err, s.owe(PhaseFailed, t.around(first)))
	}
	if t.Phase == PhaseVerified {
		if ok, err := s.runInstall(ctx); !ok || err != nil {
			return err
		}
	}
	return s.arm(t)
}

// arm are steps 4 and 5: the intent on the medium, then one write of the
// environment. An arm that did not come about closes the record.
func (s *session) arm(t *Trial) error {
	basis, kind, limit := t.Manifest, "", s.TrialBoots
	if t.Drill != "" {
		basis, kind, limit = t.SHA256, drillID, drillBoots // of an image whose artifact nobody may have any more
	}
	manifest, err := artifact.ParseSum(basis)
	if err != nil {
		return err
	}
	t.ID, t.Boots, t.Returned = newTrialID(kind, manifest), 0, false
	s.report(Progress{Step: StepRecord})
	if s.Observe != nil && t.Before == nil {
		t.Before = s.Observe()
	}
	if err := s.enter(PhaseArming); err != nil {
		return &Error{StepRecord, t.Artifact, err}
	}
	s.report(Progress{Step: StepArm})
	err = s.Boot.Try(bootloader.Trial{Part: s.slot(t.Target).Part, ID: t.ID, Limit: limit})
	if err != nil {
		return &Error{StepArm, t.Artifact, errors.Join(err, s.unarm(t))}
	}
	if err := s.enter(PhaseArmed); err != nil {
		s.report(Progress{Step: StepArm, Note: fmt.Sprintf("armed; the record is behind: %v", err)})
	}
	s.noteTrial("armed", Decision{})
	return nil
}

// unarm makes sure that a failed arm is none, and closes the record. Where
// that cannot be had the record stays at arming, and the table decides.
func (s *session) unarm(t *Trial) error {
	if err := s.look(); err != nil {
		return err
	}
	if s.envLost {
		return fmt.Errorf("%w: both copies of the boot environment are damaged", ErrAttention)
	}
	if s.env.ID == t.ID {
		if err := s.Boot.Rollback(s.slot(t.Source).Part); err != nil {
			return fmt.Errorf("%w: %w", ErrAttention, err)
		}
	}
	t.Class, t.Reason = ClassDisturbed, "arm"
	s.remember(t)
	return s.owe(PhaseFailed, t.around(OwesRollback))
}

// newTrialID names one trial of one artifact: the first 16 hex digits of
// SHA-256(manifest ‖ nonce), fewer where a kind stands before them.
func newTrialID(kind string, manifest artifact.Sum) string {
	nonce := make([]byte, 16)
	rand.Read(nonce) // never fails (crypto/rand)
	sum := sha256.Sum256(append(manifest[:], nonce...))
	return (kind + hex.EncodeToString(sum[:8]))[:16]
}

// noteTrial appends an event about the trial to the history.
func (s *session) noteTrial(event string, d Decision) {
	t := s.state.Trial
	if t.Drill != "" {
		event = drillEvent(event, d)
	}
	s.note(Event{
		Event: event, Row: d.Row, Artifact: t.Artifact, Manifest: t.Manifest,
		From: t.Source, To: t.Target, Class: t.Class, Detail: d.Is,
	})
}
