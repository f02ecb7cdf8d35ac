package install

import (
	"context"
	"errors"
	"fmt"

	"github.com/plimsoll-ota/plimsoll/install/module"
)

// owed reports whether a decision is about what a closed update still owes.
func owed(d Decision) bool {
	switch d.Do {
	case RunLeave, RunRollback, RunFailure, RunCleanup:
		return true
	}
	return false
}

// maxTries is how often a part that is owed is begun. A script that takes the
// device down each time must not do so for ever: the way goes on without it.
const maxTries = 3

// owe closes the record with what is still to be done around it.
func (s *session) owe(phase Phase, p Part) error {
	t := s.state.Trial
	t.Owed, t.Tries = p, 0
	return s.enter(phase)
}

// around returns the first part that an update which has got into
// ArtifactInstall owes when it is closed: nothing where it brought nothing that
// could be run, and no data was copied for it.
func (t *Trial) around(first Part) Part {
	if t.Payload == "" && !t.Scripts && !t.Carries && len(t.Snapshot) == 0 || t.Drill != "" {
		return OwesNothing
	}
	return first
}

// tookBack does what is owed after an installation that ended with err, and
// returns that. It is not cancelled: what was begun is brought to its end.
func (s *session) tookBack(ctx context.Context, err error) error {
	e := s.look()
	if e == nil {
		_, e = s.settle(context.WithoutCancel(ctx), func(d Decision) bool { return !owed(d) && d.Do != Fail })
	}
	if e != nil {
		err = errors.Join(err, fmt.Errorf("what is owed around it is left for plimsoll resume: %w", e))
	}
	return err
}

// begins counts that a part is begun, and reports whether it should be.
func (s *session) begins() (bool, error) {
	t := s.state.Trial
	if t.Tries >= maxTries {
		s.noteTrial("given up", Decision{Is: string(t.Owed) + " was begun too often"})
		return false, nil
	}
	t.Tries++
	return true, s.save()
}

// runLeave is ArtifactCommit_Leave: it stayed, whatever these say.
func (s *session) runLeave(ctx context.Context) error {
	if ok, err := s.begins(); err != nil {
		return err
	} else if ok {
		if err := s.scripts(ctx, "ArtifactCommit", "Leave"); ctx.Err() != nil {
			return err
		}
	}
	return s.owe(PhaseCommitted, OwesCleanup)
}

// runRollback takes back what ArtifactInstall did. It may have been begun
// before. Scripts are asked and not obeyed; a module's word counts.
func (s *session) runRollback(ctx context.Context) error {
	t := s.state.Trial
	ok, err := s.begins()
	if err != nil {
		return err
	}
	undone := errors.New("ArtifactRollback was begun too often")
	if ok {
		if err := s.restoreData(ctx); err != nil {
			return err // once more at the next boot
		}
		_ = s.scripts(ctx, "ArtifactRollback", "Enter") // noted
		undone = s.moduleRollsBack(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		_ = s.scripts(ctx, "ArtifactRollback", "Leave") // noted
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if t.Payload != "" && undone != nil {
		t.Inconsistent = true
		t.Why += "; " + undone.Error()
	}
	return s.owe(PhaseFailed, OwesFailure)
}

func (s *session) runFailure(ctx context.Context) error {
	if ok, err := s.begins(); err != nil {
		return err
	} else if ok {
		_ = s.scripts(ctx, "ArtifactFailure", "Enter") // noted
		_ = s.module(ctx, "ArtifactFailure")           // noted
		_ = s.scripts(ctx, "ArtifactFailure", "Leave") // noted
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return s.owe(PhaseFailed, OwesCleanup)
}

// inconsistent is what the name of an artifact ends in that failed, and that
// could not be taken back. (Mender client, INCONSISTENT.)
const inconsistent = "_INCONSISTENT"

// runCleanup is the last of all. What is installed is as it was, unless the
// module could not go back: then what it was is not known any more.
func (s *session) runCleanup(ctx context.Context) error {
	t := s.state.Trial
	switch ok, err := s.begins(); {
	case err != nil:
		return err
	case ok:
		_ = s.module(ctx, "Cleanup") // noted
	case t.Payload != "": // it took the device down each time: its tree goes without it
		_ = module.RemoveTree(s.treeDir()) // one that cannot be removed keeps the next from being made, and that says so
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := s.sweep(); err != nil {
		return err
	}
	if t.Inconsistent && t.Phase == PhaseFailed {
		s.state.provide(t)
		s.state.Artifact += inconsistent
	}
	return s.owe(t.Phase, OwesNothing)
}
