package install

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/plimsoll-ota/plimsoll/artifact"
	"github.com/plimsoll-ota/plimsoll/install/module"
)

// A Modules says which update modules a device has, and how long they may take.
type Modules struct {
	Dirs    []string      // where they are; of two of one name the first counts
	Timeout time.Duration // of one call; 0 is the package's own
}

// treeDir is where a module works. It is absolute: a module runs in there.
func (d *Device) treeDir() string {
	dir := filepath.Join(d.StateDir, "modules/v3/payloads/0000/tree")
	if abs, err := filepath.Abs(dir); err == nil {
		return abs
	}
	return dir // which the module package refuses, if it has to
}

// installModule does for the payload of a module what installImage does for a
// slot: it is taken in (Download), and installed. The running system itself may
// change with that; there is no other one to try it in.
func (s *session) installModule(ctx context.Context, r *artifact.Reader, o Options) error {
	h := r.Header()
	m, err := s.prepareModule(r)
	if err != nil {
		return &Error{StepRead, h.Name, err}
	}
	if err := s.downloadScripts(ctx, "Enter"); err != nil {
		_ = s.downloadScripts(ctx, "Error") // noted
		return &Error{StepRead, h.Name, err}
	}
	s.state.Trial = newTrial(r)
	s.state.Trial.Payload = h.Type
	s.declare(s.state.Trial)
	if err := s.enter(PhaseWriting); err != nil {
		return &Error{StepWrite, h.Name, err}
	}
	if err := s.takeInModule(ctx, m, r, o); err != nil {
		return s.giveUpModule(ctx, &Error{StepWrite, h.Name, err})
	}
	if err := s.enter(PhaseVerified); err != nil {
		return &Error{StepRecord, h.Name, err}
	}
	return s.applyModule(ctx)
}

// prepareModule asks what can be asked before anything changes.
func (s *session) prepareModule(r *artifact.Reader) (*module.Module, error) {
	h := r.Header()
	if d := Decide(s.situation()); d.Do == Arm {
		return nil, s.atRest(d) // an image waits
	}
	path, err := module.Find(s.Modules.Dirs, h.Type)
	if err != nil {
		return nil, err
	}
	return s.moduleAt(path), nil
}

func (s *session) moduleAt(path string) *module.Module {
	return &module.Module{Path: path, Tree: s.treeDir(), Timeout: s.Modules.Timeout, Report: s.noteModule}
}

// takeInModule is the state Download.
func (s *session) takeInModule(ctx context.Context, m *module.Module, r *artifact.Reader, o Options) error {
	if err := s.discardData(); err != nil {
		return err
	}
	if err := s.storeScripts(r); err != nil {
		return err
	}
	if err := s.createTree(r); err != nil {
		return err
	}
	limit := o.limiter()
	next := func() (*module.File, error) {
		p, err := r.Next()
		if err != nil {
			return nil, err
		}
		s.report(Progress{Step: StepWrite, Total: p.Size})
		content := &counted{r: p, report: func(n int64) {
			s.report(Progress{Step: StepWrite, Done: n, Total: p.Size})
		}, wait: func(n int) error { return limit.WaitN(ctx, n) }}
		return &module.File{Name: p.Name, Size: p.Size, Content: content}, nil
	}
	if err := m.Download(ctx, next); err != nil {
		return err
	}
	return s.downloadScripts(ctx, "Leave")
}

func (s *session) createTree(r *artifact.Reader) error {
	h := r.Header()
	info, err1 := r.HeaderInfo()
	typeInfo, err2 := r.TypeInfo()
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	return module.CreateTree(s.treeDir(), module.Info{
		CurrentName: s.state.Artifact, CurrentGroup: s.state.Group, DeviceType: s.Type,
		Name: h.Name, Group: h.Group, Type: h.Type, HeaderInfo: info, TypeInfo: typeInfo, MetaData: h.MetaData,
	})
}

// counted reports how much was read, and does not read faster than it may.
type counted struct {
	r      io.Reader
	n      int64
	report func(int64)
	wait   func(int) error
}

func (c *counted) Read(b []byte) (int, error) {
	b = b[:min(len(b), burst)]
	n, err := c.r.Read(b)
	if n > 0 {
		if err := c.wait(n); err != nil {
			return 0, err
		}
		c.n += int64(n)
		c.report(c.n)
	}
	return n, err
}

// giveUpModule closes an update that was not taken in: nothing was changed.
func (s *session) giveUpModule(ctx context.Context, e *Error) error {
	t := s.state.Trial
	ctx = context.WithoutCancel(ctx)
	_ = s.downloadScripts(ctx, "Error") // noted
	t.Class, t.Reason, t.Why = ClassDisturbed, e.Step.String(), e.Err.Error()
	s.remember(t)
	if err := s.owe(PhaseFailed, OwesCleanup); err != nil {
		e.Err = errors.Join(e.Err, err)
		return e
	}
	s.noteTrial("failed", Decision{Is: e.Err.Error()})
	return s.tookBack(ctx, e)
}

// applyModule goes on from what was taken in until a verdict is needed: a module
// that cannot go back has it, and a failure has it as well.
func (s *session) applyModule(ctx context.Context) error {
	t := s.state.Trial
	d, err := s.settle(ctx, func(d Decision) bool { return d.Do == Judge })
	switch {
	case err != nil:
		return &Error{StepRecord, t.Artifact, err}
	case s.stopped, d.Do == Judge, d.Do == Wait, t.Phase == PhaseCommitted:
		return nil
	}
	err = s.failure
	if err == nil {
		err = errors.New(t.Why)
	}
	if t.Inconsistent {
		err = fmt.Errorf("%w: %w", ErrInconsistent, err)
	}
	return &Error{StepRecord, t.Artifact, err}
}

// module calls the module for a state. An update without one has nothing to do.
func (s *session) module(ctx context.Context, state string) error {
	t := s.state.Trial
	if t.Payload == "" {
		return nil
	}
	path, err := module.Find(s.Modules.Dirs, t.Payload)
	if state == "Cleanup" {
		if err != nil { // it was removed: what it left is removed all the same
			return module.RemoveTree(s.treeDir())
		}
		return s.moduleAt(path).Cleanup(ctx)
	}
	if err != nil {
		return err
	}
	return s.moduleAt(path).Call(ctx, state)
}

// askModule asks what follows from what the module has installed.
func (s *session) askModule(ctx context.Context, t *Trial) error {
	path, err := module.Find(s.Modules.Dirs, t.Payload)
	if err != nil {
		return err
	}
	m := s.moduleAt(path)
	reboot, err := m.NeedsReboot(ctx)
	if err != nil {
		return err
	}
	back, err := m.SupportsRollback(ctx)
	t.OneWay, t.NeedsBoot = !back, reboot != module.NoReboot
	return err
}

// moduleRollsBack lets the module take back what it installed, if it can.
func (s *session) moduleRollsBack(ctx context.Context) error {
	t := s.state.Trial
	if t.Payload == "" {
		return nil
	}
	path, err := module.Find(s.Modules.Dirs, t.Payload)
	if err != nil {
		return err
	}
	m := s.moduleAt(path)
	back, err := m.SupportsRollback(ctx)
	if err != nil {
		return err
	}
	if !back {
		return errOneWay
	}
	return m.Call(ctx, module.ArtifactRollback)
}

var errOneWay = errors.New("the module cannot roll back")

// noteModule takes what became of a call into the history.
func (s *session) noteModule(r module.Report) {
	t := s.state.Trial
	text := r.Call + ": " + r.String()
	s.report(Progress{Note: t.Payload + ": " + text})
	s.note(Event{Event: "module", Artifact: t.Artifact, Manifest: t.Manifest, Detail: t.Payload + ": " + text})
}
