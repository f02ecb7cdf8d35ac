package install

import (
	"context"
	"fmt"
)

// runInstall is the state ArtifactInstall: the data as they are, the artifact's scripts before it,
// what a module does, the scripts after it. For a slot nothing is left to be
// done in between, and the arm comes when all of it went well: a cut leaves
// nothing armed whose migration was not complete. It reports whether it went
// well; if not, the verdict says so, and the table what follows from that.
func (s *session) runInstall(ctx context.Context) (bool, error) {
	t := s.state.Trial
	if t.Payload == "" && !t.Scripts {
		return true, nil
	}
	if err := s.enter(PhaseInstalling); err != nil {
		return false, err
	}
	ctx = context.WithoutCancel(ctx) // what is begun is brought to its end
	err := s.snapshotData(ctx)
	if err == nil {
		err = s.scripts(ctx, "ArtifactInstall", "Enter")
	}
	if err == nil {
		err = s.module(ctx, "ArtifactInstall")
	}
	if err == nil {
		err = s.scripts(ctx, "ArtifactInstall", "Leave")
	}
	if err == nil {
		err = s.installed(ctx)
	}
	if err != nil {
		s.fails(err)
		_ = s.scripts(ctx, "ArtifactInstall", "Error") // noted
		return false, nil
	}
	return true, nil
}

// installed records that a module has done its part; for a slot the arm says so.
func (s *session) installed(ctx context.Context) error {
	t := s.state.Trial
	if t.Payload == "" {
		return nil
	}
	if err := s.askModule(ctx, t); err != nil {
		return err
	}
	if t.OneWay { // there is nothing that a verdict could decide
		s.verdict = Healthy
	}
	return s.enter(PhaseInstalled)
}

// confirm is the first part of the state ArtifactCommit, up to where the way is
// forward only. It reports whether the update may be kept.
func (s *session) confirm(ctx context.Context) (bool, error) {
	t := s.state.Trial
	switch {
	case t.Payload == "" && !t.Scripts, t.Phase == PhaseCommitting, t.Phase == PhaseCommitted:
		return true, nil
	}
	if err := s.enter(PhaseConfirming); err != nil {
		return false, err
	}
	ctx = context.WithoutCancel(ctx)
	err := s.scripts(ctx, "ArtifactCommit", "Enter")
	if err == nil {
		err = s.module(ctx, "ArtifactCommit")
	}
	if err != nil {
		s.fails(err)
		_ = s.scripts(ctx, "ArtifactCommit", "Error") // noted
		return false, nil
	}
	return true, nil
}

// fails makes err the verdict.
func (s *session) fails(err error) {
	s.verdict, s.failure = Unhealthy, err
}

// because is what a decision says of a failure, with the reason that the table
// cannot know.
func (s *session) because(is string) string {
	if s.failure == nil {
		return is
	}
	return fmt.Sprintf("%s: %v", is, s.failure)
}
