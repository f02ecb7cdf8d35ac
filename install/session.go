package install

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/plimsoll-ota/plimsoll/bootloader"
)

// A session is one verb at work: the lock, and what was found.
type session struct {
	*Device
	held       *os.File // the lock; nil where only looked at
	state      *State
	missing    error  // why the state directory cannot be used
	unreadable error  // why the record cannot be read
	foreign    string // an update in progress of the client before plimsoll
	env        bootloader.State
	envLost    bool
	run        string // the running slot, "" for neither
	verdict    Verdict
	last       Decision // what was acted on last
	reboots    func() error
	failure    error // what made the verdict Unhealthy
	byHand     bool  // somebody asked to go back: not the artifact's failure
	decided    bool  // by a person or by the clock: the health checks are not asked
	paid       bool  // what was done last is what an update owed that was over
	stopped    bool  // before a state that is not to be entered
}

// begin takes the lock and looks at the device.
func (d *Device) begin() (*session, error) {
	s := &session{Device: d, reboots: d.Reboot}
	if s.missing = d.checkState(); s.missing == nil {
		held, err := d.lock()
		switch {
		case errors.Is(err, ErrLocked):
			return nil, err
		case err != nil:
			s.missing = err
		default:
			s.held, s.missing = held, probe(d.StateDir)
		}
	}
	if err := s.load(); err != nil {
		return nil, errors.Join(err, s.end())
	}
	return s, nil
}

// peek looks at the device without a lock and without touching it.
func (d *Device) peek() (*session, error) {
	s := &session{Device: d}
	s.missing = d.checkState()
	return s, s.load()
}

// end gives the lock back.
func (s *session) end() error {
	if s.held == nil {
		return nil
	}
	return s.held.Close()
}

func (s *session) load() error {
	s.state = newState()
	if s.missing == nil {
		st, err := loadState(s.StateDir)
		switch {
		case err == nil:
			s.state = st
		case errors.Is(err, errUnreadable):
			s.unreadable = err
		default:
			s.missing = err
		}
	}
	if err := s.look(); err != nil {
		return err
	}
	s.takeOver()
	return nil
}

// look asks the bootloader and the kernel anew.
func (s *session) look() (err error) {
	s.env, err = s.Boot.State()
	s.envLost = errors.Is(err, bootloader.ErrNoCopy)
	if err != nil && !s.envLost {
		return fmt.Errorf("%w: %w", ErrAttention, err)
	}
	s.run, err = s.running(s.env, s.envLost, s.state.Trial)
	return err
}

// situation is what is known, in the words of the table.
func (s *session) situation() Situation {
	sit := Situation{
		Running:    s.run,
		EnvLost:    s.envLost,
		OnTrial:    s.env.Trial,
		Count:      s.env.Count,
		TrialLimit: s.TrialBoots,
		Verdict:    s.verdict,
	}
	if slot, ok := s.Slots.ByPart(s.env.Part); ok && !s.envLost {
		sit.Boots = slot.Name
	}
	if s.env.ID != "" {
		sit.ID = IDOther
	}
	_, err := s.backupFits(s.state)
	sit.Backup = err == nil
	switch t := s.state.Trial; {
	case s.missing != nil:
		sit.Phase = phaseMissing
	case s.unreadable != nil:
		sit.Phase = phaseUnreadable
	case t != nil:
		sit.Phase, sit.Source, sit.Target = t.Phase, t.Source, t.Target
		sit.SameBoot = t.BootID == s.bootID()
		sit.TrialBoots, sit.Returned = t.Boots, t.Returned
		if sit.Drill = t.Drill != ""; sit.Drill {
			sit.TrialLimit = drillBoots
		}
		sit.Module, sit.Owed, sit.NeedsBoot = t.Payload != "", t.Owed, t.NeedsBoot && !s.Bench
		sit.SourceGood = s.state.Slots[t.Source].Status == StatusGood
		if s.env.ID != "" && s.env.ID == t.ID {
			sit.ID = IDOurs
		}
	}
	return sit
}

// save writes the record. One that could not be read is kept beside it first.
func (s *session) save() error {
	if s.missing != nil {
		return s.missing
	}
	if s.unreadable != nil {
		if err := setAside(s.StateDir); err != nil {
			return err
		}
		s.unreadable = nil
	}
	if s.state.Trial != nil {
		s.state.Trial.BootID = s.bootID()
	}
	return s.state.save(s.StateDir)
}

// enter records that the trial has come to phase.
func (s *session) enter(phase Phase) error {
	s.state.Trial.Phase = phase
	return s.save()
}

// settle acts on the table until nothing is owed but a reboot or somebody
// else's act, or stop says that the decision is not for this verb to act on.
// The bound only guards against a fault in the table: its test shows that
// every situation ends after fewer.
func (s *session) settle(ctx context.Context, stop func(Decision) bool) (Decision, error) {
	for range 20 {
		d := Decide(s.situation())
		s.stopped = s.stops(d)
		switch {
		case s.stopped:
			return d, nil
		case d.Do == Nothing, d.Do == Wait, d.Do == HandsOff, d.Do == Attention, stop(d),
			(d.Do == Reboot || d.Do == Restart) && s.reboots == nil, s.last.Do == Arm && d.Do == Judge: // a bench: every boot is the same one
			return d, nil
		}
		if err := s.act(ctx, d); err != nil {
			return d, err
		}
		if s.paid = owed(d); !s.paid {
			s.last = d
		}
		if err := s.look(); err != nil {
			return d, err
		}
	}
	return Decision{}, fmt.Errorf("%w: the record and the environment do not come to rest", ErrAttention)
}

// mark records what is known of a slot.
func (s *session) mark(slot string, status Status) {
	have := s.state.Slots[slot]
	have.Status = status
	s.state.Slots[slot] = have
}

// remember counts a failure of the trial's artifact.
func (s *session) remember(t *Trial) {
	if t.Class == ClassNone || t.Drill != "" {
		return // not its failure
	}
	for i, f := range s.state.Failed {
		if f.Manifest == t.Manifest {
			f.Count++
			if f.Class != ClassBad {
				f.Class, f.Reason = t.Class, t.Reason
			}
			s.state.Failed[i] = f
			return
		}
	}
	s.state.Failed = append(s.state.Failed, Failure{
		Manifest: t.Manifest, Artifact: t.Artifact, Class: t.Class, Count: 1, Reason: t.Reason,
	})
	if extra := len(s.state.Failed) - maxFailed; extra > 0 {
		s.state.Failed = s.state.Failed[extra:]
	}
}

// maxFailed bounds the memory of failed artifacts; the oldest is forgotten.
const maxFailed = 64
