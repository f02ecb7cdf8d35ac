package module

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/plimsoll-ota/plimsoll/install/internal/process"
)

// What a Module is given unless told otherwise.
const (
	DefaultTimeout = 4 * time.Hour
	DefaultGrace   = time.Minute
)

// The states of an installation that a module is called for with Call.
// Download and Cleanup are methods of their own.
const (
	ArtifactInstall              = "ArtifactInstall"
	ArtifactReboot               = "ArtifactReboot"
	ArtifactVerifyReboot         = "ArtifactVerifyReboot"
	ArtifactCommit               = "ArtifactCommit"
	ArtifactRollback             = "ArtifactRollback"
	ArtifactRollbackReboot       = "ArtifactRollbackReboot"
	ArtifactVerifyRollbackReboot = "ArtifactVerifyRollbackReboot"
	ArtifactFailure              = "ArtifactFailure"
)

// ErrNoTree is a call of a module whose tree is not there.
var ErrNoTree = errors.New("there is no module tree")

// A Module is an update module and the tree that it works in.
type Module struct {
	Path string // of the program, see Find
	Tree string // absolute, see CreateTree

	Timeout time.Duration // of a call; 0 is DefaultTimeout
	Grace   time.Duration // for it to end by itself when it has to; 0 is DefaultGrace

	Report func(Report) // if not nil, is told of every call
}

// A Report is what became of one call.
type Report struct {
	Call           string // "ArtifactInstall", "SupportsRollback"
	Code           int    // of its exit; -1 if it did not exit by itself
	Err            error  // nil if it ended well
	Stdout, Stderr process.Output
	Took           time.Duration
}

// String says what became of it, and what the module said, in short.
func (r Report) String() string { return process.Summary(r.Err, r.Stdout, r.Stderr) }

// Call calls the module for a state.
func (m *Module) Call(ctx context.Context, state string) error {
	result, err := m.run(ctx, state)
	m.report(state, result, err)
	return err
}

// Cleanup lets the module clean up and removes the tree, whatever becomes of
// the module. It does nothing if there is no tree: then it was done before.
func (m *Module) Cleanup(ctx context.Context) error {
	const state = "Cleanup"
	if _, err := os.Lstat(m.Tree); errors.Is(err, fs.ErrNotExist) {
		return RemoveTree(m.Tree)
	}
	return errors.Join(m.Call(ctx, state), RemoveTree(m.Tree))
}

// A Reboot is what a module needs of one after ArtifactInstall.
type Reboot int

const (
	NoReboot        Reboot = iota
	ModuleReboot           // the module does it when called for ArtifactReboot
	AutomaticReboot        // somebody else does it
)

// NeedsReboot asks the module for the reboot that it needs.
func (m *Module) NeedsReboot(ctx context.Context) (Reboot, error) {
	answer, err := m.ask(ctx, "NeedsArtifactReboot", "No", "Yes", "Automatic")
	return Reboot(answer), err
}

// SupportsRollback asks the module whether it can be called for
// ArtifactRollback.
func (m *Module) SupportsRollback(ctx context.Context) (bool, error) {
	answer, err := m.ask(ctx, "SupportsRollback", "No", "Yes")
	return answer == 1, err
}

// wantsSizes asks the module whether it wants to be told the sizes of files. A
// module that predates the question says nothing.
func (m *Module) wantsSizes(ctx context.Context) (bool, error) {
	answer, err := m.ask(ctx, "ProvidePayloadFileSizes", "No", "Yes")
	return answer == 1, err
}

// ask asks a question, and returns which of the answers the module gave, in one
// line. To say nothing is to give the first.
func (m *Module) ask(ctx context.Context, question string, answers ...string) (int, error) {
	result, err := m.run(ctx, question)
	answer := 0
	if err == nil {
		answer, err = choose(result.Stdout.String(), answers)
		if err != nil {
			err = fmt.Errorf("%s: %w", m.name(question), err)
		}
	}
	m.report(question, result, err)
	return answer, err
}

func choose(said string, answers []string) (int, error) {
	said = strings.TrimSuffix(said, "\n")
	if said == "" {
		return 0, nil
	}
	for i, a := range answers {
		if said == a {
			return i, nil
		}
	}
	return 0, fmt.Errorf("answered %.80q, want one line with %s", said, strings.Join(answers, " or "))
}

// run runs the module to its end.
func (m *Module) run(ctx context.Context, state string) (*process.Result, error) {
	p, err := m.start(ctx, state)
	if err != nil {
		return nil, err
	}
	return p.Wait()
}

func (m *Module) start(ctx context.Context, state string) (*process.Process, error) {
	if info, err := os.Stat(m.Tree); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("%s: %w: %s", m.name(state), ErrNoTree, m.Tree)
	}
	return process.Start(ctx, process.Command{
		Name: m.name(state), Path: m.Path, Args: []string{state, m.Tree}, Dir: m.Tree,
		Timeout: cmp.Or(m.Timeout, DefaultTimeout), Grace: m.grace(),
	})
}

// name is what a call is called in errors.
func (m *Module) name(state string) string {
	return "update module " + filepath.Base(m.Path) + " " + state
}

func (m *Module) grace() time.Duration { return cmp.Or(m.Grace, DefaultGrace) }

func (m *Module) report(call string, result *process.Result, err error) {
	if m.Report == nil {
		return
	}
	report := Report{Call: call, Code: -1, Err: err}
	if result != nil {
		report.Code, report.Took = result.Code, result.Took
		report.Stdout, report.Stderr = result.Stdout, result.Stderr
	}
	m.Report(report)
}
