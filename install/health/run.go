package health

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrStopped is a Run that was told to stop, or found the system on its way
// down: there is no verdict, neither way.
var ErrStopped = errors.New("the health checks were stopped, without a verdict")

// A Check is one thing that a healthy system does.
type Check struct {
	Name string // what it looks at: "unit app.service"

	// Probe looks once. It returns nil if the check holds, and else what it
	// saw, as the end of the sentence "unit app.service: …". It should return
	// soon after ctx is done, and is never called twice at the same time.
	Probe func(ctx context.Context) error

	// Remarks returns what Probe saw that a person should know of, though it
	// holds. It may be nil, and is never called while Probe runs.
	Remarks func() []string
}

// Options say how long Run looks.
type Options struct {
	Deadline time.Duration // since the boot: without a verdict by then, the system is unhealthy
	Stable   time.Duration // how long all checks must hold together, without a break
	Interval time.Duration // pause between two rounds
	Timeout  time.Duration // for one probe

	// Now is the time since the boot, and never the wall clock. Nil is
	// SinceBoot; a bench, which does not boot, counts from when it begins.
	Now func() time.Duration

	// Stopping tells whether the system is on its way down. It is asked before
	// any verdict is given. Nil: it never is.
	Stopping func(context.Context) bool
}

// DefaultOptions are those of docs/health.md.
func DefaultOptions() Options {
	return Options{Deadline: 5 * time.Minute, Stable: 30 * time.Second, Interval: 2 * time.Second, Timeout: 10 * time.Second}
}

// Validate refuses times that cannot all be met.
func (o Options) Validate() error {
	for _, x := range []struct {
		name             string
		d, least, atMost time.Duration
	}{
		{"deadline", o.Deadline, 10 * time.Second, time.Hour},
		{"stable", o.Stable, 0, time.Hour},
		{"interval", o.Interval, 100 * time.Millisecond, time.Minute},
		{"timeout", o.Timeout, 100 * time.Millisecond, 10 * time.Minute},
	} {
		if x.d < x.least || x.d > x.atMost {
			return fmt.Errorf("%s is %v to %v, not %v", x.name, x.least, x.atMost, x.d)
		}
	}
	if o.Stable+o.Interval >= o.Deadline {
		return fmt.Errorf("stable (%v) and interval (%v) leave nothing of the deadline (%v), which counts from the boot", o.Stable, o.Interval, o.Deadline)
	}
	if o.Timeout >= o.Deadline {
		return fmt.Errorf("timeout (%v) is not shorter than the deadline (%v)", o.Timeout, o.Deadline)
	}
	return nil
}

// A Change is a check that began to hold, or ceased to.
type Change struct {
	Check string
	Holds bool
	Saw   string        // what it saw, where it does not hold
	At    time.Duration // since the boot
}

// Run asks all checks, round after round, until they have held together for
// o.Stable, which is healthy, or until o.Deadline, which is not. A verdict comes
// with a nil error; cancelled, Run gives none and returns ErrStopped with the
// cause. report is told of every check that changes its state, from this
// goroutine, and may be nil. No checks at all are a bug of the caller.
func Run(ctx context.Context, checks []Check, o Options, report func(Change)) (Verdict, error) {
	if len(checks) == 0 {
		panic("health: no checks: a verdict would rest on nothing")
	}
	if o.Now == nil {
		o.Now = SinceBoot
	}
	r := &runner{Options: o, report: report}
	for _, c := range checks {
		c.Name = line(c.Name, maxName)
		r.watches = append(r.watches, &watch{Check: c, answer: make(chan error, 1)})
	}
	probes, end := context.WithCancel(ctx)
	v := r.verdict(probes)
	r.finish(end)
	if ctx.Err() == nil && o.Stopping != nil && o.Stopping(ctx) {
		return Verdict{}, fmt.Errorf("%w: the system is going down", ErrStopped)
	}
	if ctx.Err() != nil {
		return Verdict{}, fmt.Errorf("%w: %w", ErrStopped, context.Cause(ctx))
	}
	v.Remarks = r.remarks()
	return v, nil
}

const (
	// grace is what a probe has to return in after its time is up.
	grace = time.Second
	// unhurried is how long a probe may have been asked at the deadline without
	// being the one that is to blame.
	unhurried = time.Second
)

type runner struct {
	Options
	report  func(Change)
	watches []*watch
}

// A watch is a check, and what is known of it.
type watch struct {
	Check
	answer chan error    // of the probe that is under way
	asked  time.Duration // when it was asked
	busy   bool          // it was, and has not answered
	known  bool          // it answered once, or was given up once
	holds  bool
	since  time.Duration // when it began to hold, or ceased to
	saw    string        // when it did not hold last; kept while it holds
	failed time.Duration // when that was
}

// verdict runs the rounds. What it returns counts only if ctx is not done.
func (r *runner) verdict(ctx context.Context) Verdict {
	began := r.Now()
	var holding bool
	var since time.Duration // end of the first of the rounds in which all held
	for ctx.Err() == nil {
		start := r.Now()
		if start >= r.Deadline {
			break
		}
		all := r.round(ctx, r.Deadline-start)
		end := r.Now()
		if all && !holding {
			since = end
		}
		holding = all
		if holding && max(0, start-since) >= r.Stable && end <= r.Deadline {
			return Verdict{Healthy: true, At: end}
		}
		pause(ctx, min(r.Interval, r.Deadline-end))
	}
	return r.unhealthy(began, since)
}

// round asks every check once, all at the same time, and tells whether all
// hold. It ends after left at the latest. One that hangs since an earlier round
// keeps the others waiting no longer.
func (r *runner) round(ctx context.Context, left time.Duration) bool {
	patience, cancel := context.WithTimeout(ctx, min(r.Timeout+grace, left))
	defer cancel()
	none, cancelNone := context.WithCancel(ctx)
	cancelNone()
	waits := make([]context.Context, len(r.watches))
	for i, w := range r.watches {
		if waits[i] = patience; w.busy {
			waits[i] = none
		} else {
			w.ask(ctx, r.Timeout, r.Now())
		}
	}
	all := true
	for i, w := range r.watches {
		answered, err := w.wait(waits[i])
		if ctx.Err() != nil {
			return false
		}
		now := r.Now()
		switch {
		case answered:
			r.note(w, err, now)
		case now >= r.Deadline && w.known && (!w.holds || now-w.asked < unhurried):
			// The deadline came while it was being asked: what it said before counts.
		default:
			r.note(w, fmt.Errorf("no answer for %v", seconds(now-w.asked)), now)
		}
		all = all && answered && err == nil
	}
	return all
}

// ask starts a probe. It is not to be called while the last one hangs.
func (w *watch) ask(ctx context.Context, timeout, now time.Duration) {
	w.busy, w.asked = true, now
	go func() {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		err := w.Probe(ctx)
		if late := ctx.Err(); late != nil && (err == nil || errors.Is(err, late)) {
			err = fmt.Errorf("no answer within %v", timeout)
		}
		w.answer <- err
	}()
}

// wait returns the probe's answer, if there is one before patience ends.
func (w *watch) wait(patience context.Context) (answered bool, err error) {
	select {
	case err = <-w.answer:
	case <-patience.Done():
		select { // of two that are ready the answer counts
		case err = <-w.answer:
		default:
			return false, nil
		}
	}
	w.busy = false
	return true, err
}

// note keeps what a check says, and reports it if that is news.
func (r *runner) note(w *watch, err error, now time.Duration) {
	holds := err == nil
	if !holds {
		w.saw, w.failed = line(err.Error(), maxSaw), now
	}
	if w.known && w.holds == holds {
		return
	}
	w.known, w.holds, w.since = true, holds, now
	if r.report != nil {
		c := Change{Check: w.Name, Holds: holds, At: now}
		if !holds {
			c.Saw = w.saw
		}
		r.report(c)
	}
}

// unhealthy says what kept the system from being healthy: what does not hold;
// else what broke the time that was asked for; else that there was none.
func (r *runner) unhealthy(began, since time.Duration) Verdict {
	now := r.Now()
	v := Verdict{At: now}
	for _, w := range r.watches {
		if w.known && !w.holds {
			v.add(w.Name, w.saw, w.since)
		}
	}
	if len(v.Problems) > 0 {
		return v
	}
	for _, w := range r.watches {
		if w.saw != "" && w.failed > now-r.Stable-r.Interval-r.Timeout {
			v.add(w.Name, fmt.Sprintf("holds for %v, and %v are asked for; before: %s", seconds(now-w.since), r.Stable, w.saw), w.since)
		}
	}
	switch {
	case len(v.Problems) > 0:
	case since == 0:
		v.add("time", fmt.Sprintf("the deadline is %v after the boot, and the checks were begun %v after it", r.Deadline, seconds(began)), began)
	default:
		v.add("time", fmt.Sprintf("all checks hold for %v, and %v are asked for; they were begun %v after the boot, and the deadline is %v after it",
			seconds(now-since), r.Stable, seconds(began), r.Deadline), since)
	}
	return v
}

// finish ends what is still being asked, so that no child outlives the verdict.
// What does not end even then, such as a look at a dead file server, is left.
func (r *runner) finish(end context.CancelFunc) {
	end()
	patience, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	for _, w := range r.watches {
		if w.busy {
			_, _ = w.wait(patience) // too late to count
		}
	}
}

func (r *runner) remarks() (all []string) {
	for _, w := range r.watches {
		if w.Remarks == nil || w.busy {
			continue
		}
		for _, s := range w.Remarks() {
			if len(all) < maxRemarks {
				all = append(all, line(s, maxSaw))
			}
		}
	}
	return all
}

// pause waits, unless ctx is done before.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
