package install

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/plimsoll-ota/plimsoll/install/data"
)

// A Data says what an update takes across, and what goes back with it.
type Data struct {
	Root     string   // the root file system that the paths are in; "" is "/"
	Carry    []string // from the root file system of the source slot to that of the target
	Limit    int64    // bytes of Carry; 0 is data.DefaultLimit
	Snapshot []string // as they were before the update, if it does not stay
}

func (d *Device) carryDir() string    { return filepath.Join(d.StateDir, "carry") }
func (d *Device) snapshotDir() string { return filepath.Join(d.StateDir, "snapshot") }

// declare notes in the record of an update what data it is to take across. What
// the running release declares counts: the new one may not know what the old one
// needs.
func (s *session) declare(t *Trial) {
	if t.Drill == "" {
		t.Carries, t.Snapshot = t.Payload == "" && len(s.Data.Carry) > 0, s.Data.Snapshot
	}
}

// stageData copies what is to be carried while nothing was written yet, and
// forgets what an earlier update may have left.
func (s *session) stageData(ctx context.Context) error {
	if err := s.discardData(); err != nil {
		return err
	}
	if !s.state.Trial.Carries {
		return nil
	}
	r, err := data.Stage(ctx, data.Request{Root: s.Data.Root, Paths: s.Data.Carry, Dir: s.carryDir(), Bytes: s.Data.Limit})
	s.noteData("staged for the new release", r, err)
	return err
}

// snapshotData copies the data that go back with the release, once: before the
// first that could migrate them, which are the artifact's scripts, or the
// services of the new release in the first boot of the trial.
func (s *session) snapshotData(ctx context.Context) error {
	t := s.state.Trial
	if len(t.Snapshot) == 0 || data.Taken(s.snapshotDir()) {
		return nil
	}
	r, err := data.Snapshot(ctx, data.Request{Root: s.Data.Root, Paths: t.Snapshot, Dir: s.snapshotDir()})
	s.noteData("copied as they are", r, err)
	return err
}

// applyData puts what was staged into the root file system that is on trial,
// once. One that is never changed is no reason to go back: it says so.
func (s *session) applyData(ctx context.Context) error {
	t := s.state.Trial
	if !t.Carries || s.run != t.Target {
		return nil
	}
	r, err := data.Apply(ctx, s.carryDir(), s.Data.Root)
	if r.Before {
		return err
	}
	readOnly := errors.Is(err, data.ErrReadOnly)
	if readOnly {
		r.Findings = nil // nothing was replaced
	}
	s.noteData("put into slot "+t.Target, r, err)
	if readOnly {
		return nil
	}
	if err != nil || r.Changed == 0 {
		return err
	}
	s.mark(t.Target, StatusModified)
	return s.save()
}

// restoreData makes the data what they were, if they were copied, once.
func (s *session) restoreData(ctx context.Context) error {
	if len(s.state.Trial.Snapshot) == 0 || !data.Taken(s.snapshotDir()) {
		return nil
	}
	r, err := data.Restore(ctx, s.snapshotDir(), s.Data.Root)
	if !r.Before {
		s.noteData("restored", r, err)
	}
	return err
}

// discardData forgets all copies, keys among them.
func (s *session) discardData() error {
	if err := errors.Join(data.Discard(s.carryDir()), data.Discard(s.snapshotDir())); err != nil {
		return fmt.Errorf("%w: %w", ErrState, err)
	}
	return nil
}

// noteData takes what became of data into the history.
func (s *session) noteData(what string, r data.Report, err error) {
	text := fmt.Sprintf("%s: %d files, folders and links, %d bytes", what, r.Entries, r.Bytes)
	if err != nil {
		text = fmt.Sprintf("not %s: %v", what, err)
	}
	lines := []string{text}
	for _, f := range r.Findings {
		lines = append(lines, fmt.Sprintf("%s: %s: %s", f.Path, f.Kind, f.Why))
	}
	t := s.state.Trial
	s.report(Progress{Note: "data: " + strings.Join(lines, "; ")})
	s.note(Event{Event: "data", Artifact: t.Artifact, Manifest: t.Manifest, Detail: strings.Join(lines, "\n")})
}

// Early does what has to come before the services of this boot: in a trial the
// declared data are copied and carried, and after one that went back they are
// restored. A trial to whose data that cannot be done goes back at once, before
// anything could migrate them. Whatever else the boot owes is Resume's. It
// returns ErrNothing if nothing was to be done.
func (d *Device) Early(ctx context.Context) (Outcome, error) {
	s, err := d.begin()
	if err != nil {
		return Outcome{}, err
	}
	o, err := s.early(ctx)
	return o, errors.Join(err, s.end())
}

func (s *session) early(ctx context.Context) (Outcome, error) {
	d := Decide(s.situation())
	t := s.state.Trial
	o := Outcome{Decision: d, Trial: t}
	if t == nil || s.missing != nil || s.unreadable != nil || !t.Carries && len(t.Snapshot) == 0 {
		return o, ErrNothing
	}
	switch {
	case d.Do == Judge && s.run == t.Target:
		return s.earlyOnTrial(ctx, o)
	case d.Do == Fail, d.Do == Disarm, d.Do == RunRollback:
		return o, s.restoreData(ctx)
	}
	return o, ErrNothing
}

func (s *session) earlyOnTrial(ctx context.Context, o Outcome) (Outcome, error) {
	err := s.snapshotData(ctx)
	if err == nil {
		err = s.applyData(ctx)
	}
	if err == nil || ctx.Err() != nil {
		return o, err
	}
	s.decided = true
	if alive := s.judge(ctx); alive != nil {
		return o, errors.Join(err, alive)
	}
	s.fails(err)
	return s.resume(ctx)
}
