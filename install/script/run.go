package script

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/plimsoll-ota/plimsoll/install/internal/process"
)

// What a Runner does unless told otherwise.
const (
	DefaultTimeout       = time.Hour
	DefaultRetryWindow   = 30 * time.Minute
	DefaultRetryInterval = time.Minute
)

// retryLater is the exit code of a script that wants to be run again.
const retryLater = 21

// ErrRetries is a script that asked to be run again for longer than it may.
var ErrRetries = errors.New("still asks to be run later")

// A Runner runs scripts.
type Runner struct {
	Dirs []string // searched for scripts; they need not exist

	Timeout       time.Duration // of one run of a script; 0 is DefaultTimeout
	RetryWindow   time.Duration // from a script's first run to its last; 0 is DefaultRetryWindow
	RetryInterval time.Duration // between two of its runs; 0 is DefaultRetryInterval

	Report func(Report) // if not nil, is told of every run
}

// A Report is what became of one run of a script.
type Report struct {
	Script         string // its path
	Skipped        string // if not "", why it was not run: then there is nothing else
	Attempt        int    // 1 is the first run
	Code           int    // of its exit; -1 if it did not exit by itself
	Again          bool   // it will be run again
	Err            error  // nil if it ended well
	Stdout, Stderr process.Output
	Took           time.Duration
}

// String says what became of it, and what it said, in short.
func (r Report) String() string {
	switch {
	case r.Skipped != "":
		return "not run: " + r.Skipped
	case r.Again:
		return fmt.Sprintf("asks to be run later (run %d)", r.Attempt)
	}
	return process.Summary(r.Err, r.Stdout, r.Stderr)
}

// IgnoresErrors reports whether the scripts of a moment are run whatever
// becomes of each: those that clean up, and those behind the point of no
// return.
func IgnoresErrors(state, action string) bool {
	switch {
	case action == "Error", state == "ArtifactRollback", state == "ArtifactFailure":
		return true
	}
	return state == "ArtifactCommit" && action == "Leave"
}

// Run runs the scripts of a moment. The first failure is returned at once, or,
// where IgnoresErrors, all failures when all the scripts were run. A context
// that is done ends the script that runs, and nothing is run after it.
func (r *Runner) Run(ctx context.Context, state, action string) error {
	scripts, err := find(r.Dirs, state, action)
	if err != nil {
		return fmt.Errorf("%s_%s: %w", state, action, err)
	}
	var failed []error
	for _, s := range scripts {
		if s.skipped != "" {
			r.report(Report{Script: s.path, Skipped: s.skipped})
			continue
		}
		err := r.run(ctx, s.path)
		if err == nil {
			continue
		}
		failed = append(failed, err)
		if ctx.Err() != nil || !IgnoresErrors(state, action) {
			break
		}
	}
	return errors.Join(failed...)
}

// run runs one script until it no longer asks to be run again.
func (r *Runner) run(ctx context.Context, path string) error {
	window := time.NewTimer(cmp.Or(r.RetryWindow, DefaultRetryWindow))
	defer window.Stop()
	for attempt := 1; ; attempt++ {
		again, err := r.once(ctx, path, attempt)
		if !again {
			return err
		}
		select {
		case <-time.After(cmp.Or(r.RetryInterval, DefaultRetryInterval)):
		case <-window.C:
			return fmt.Errorf("%s: %w after %d runs", path, ErrRetries, attempt)
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", path, context.Cause(ctx))
		}
	}
}

// once runs a script once, and reports whether it asks for more.
func (r *Runner) once(ctx context.Context, path string, attempt int) (again bool, err error) {
	// A service that it starts must outlive it, and it gets no grace: nor does
	// it in any other client.
	result, err := process.Run(ctx, process.Command{Path: path, Timeout: cmp.Or(r.Timeout, DefaultTimeout), Spare: true})
	report := Report{Script: path, Attempt: attempt, Code: -1, Err: err}
	if result != nil {
		report.Code, report.Took = result.Code, result.Took
		report.Stdout, report.Stderr = result.Stdout, result.Stderr
	}
	report.Again = report.Code == retryLater
	r.report(report)
	return report.Again, err
}

func (r *Runner) report(what Report) {
	if r.Report != nil {
		r.Report(what)
	}
}
