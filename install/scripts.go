package install

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/plimsoll-ota/plimsoll/artifact"
	"github.com/plimsoll-ota/plimsoll/install/script"
)

// scriptsDir is where the scripts of the artifact are, so that both slots have
// them.
func (d *Device) scriptsDir() string { return filepath.Join(d.StateDir, "scripts") }

// storeScripts keeps the scripts of an artifact until its end.
func (s *session) storeScripts(r *artifact.Reader) error {
	if !s.state.Trial.Scripts {
		return nil
	}
	return script.Store(s.scriptsDir(), func(put func(name string, text io.Reader) error) error {
		return r.Scripts(func(one artifact.Script, text io.Reader) error { return put(one.Name, text) })
	})
}

// sweep removes what an update has left in the state directory.
func (s *session) sweep() error {
	if err := os.RemoveAll(s.scriptsDir()); err != nil {
		return fmt.Errorf("%w: %w", ErrState, err)
	}
	if err := s.discardData(); err != nil {
		return err
	}
	return syncDir(s.StateDir)
}

// scripts runs those of the artifact for one moment of the update.
func (s *session) scripts(ctx context.Context, state, action string) error {
	if t := s.state.Trial; !t.Scripts || t.Drill != "" {
		return nil
	}
	return s.runScripts(ctx, []string{s.scriptsDir()}, state, action)
}

// downloadScripts runs those of the device around the state Download. After a
// failure of that state come those for errors, which change nothing.
func (s *session) downloadScripts(ctx context.Context, action string) error {
	return s.runScripts(ctx, s.Scripts.Dirs, "Download", action)
}

func (s *session) runScripts(ctx context.Context, dirs []string, state, action string) error {
	r := s.Scripts
	r.Dirs, r.Report = dirs, s.noteScript
	return r.Run(ctx, state, action)
}

// noteScript takes what became of a script into the history.
func (s *session) noteScript(r script.Report) {
	name := filepath.Base(r.Script)
	s.report(Progress{Note: name + ": " + r.String()})
	t := s.state.Trial
	if t == nil {
		t = &Trial{}
	}
	s.note(Event{Event: "script", Artifact: t.Artifact, Manifest: t.Manifest, Detail: name + ": " + r.String()})
}
