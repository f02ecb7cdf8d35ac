package health

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"
)

// A device is a system in a bubble: its clock began at the boot, some time ago.
type device struct {
	start time.Time
	up    time.Duration
}

func booted(up time.Duration) device { return device{time.Now(), up} }

func (d device) now() time.Duration { return d.up + time.Since(d.start) }

// plan is a check that holds at the times for which it returns "".
func (d device) plan(name string, f func(at time.Duration) string) Check {
	return Check{Name: name, Probe: func(context.Context) error {
		if s := f(d.now()); s != "" {
			return errors.New(s)
		}
		return nil
	}}
}

func from(at time.Duration) func(time.Duration) string {
	return func(now time.Duration) string {
		if now < at {
			return "not yet"
		}
		return ""
	}
}

func until(at time.Duration) func(time.Duration) string {
	return func(now time.Duration) string {
		if now >= at {
			return "not any more"
		}
		return ""
	}
}

func between(a, b time.Duration) func(time.Duration) string {
	return func(now time.Duration) string {
		if now >= a && now < b {
			return "broken"
		}
		return ""
	}
}

func always(time.Duration) string { return "" }

const second = time.Second

func options(d device) Options {
	return Options{Deadline: 300 * second, Stable: 30 * second, Interval: 2 * second, Timeout: 10 * second, Now: d.now}
}

func TestRun(t *testing.T) {
	flap := func(now time.Duration) string {
		if now%(20*second) < 3*second {
			return "down"
		}
		return ""
	}
	for _, c := range []struct {
		name    string
		up      time.Duration // when the checks begin
		plans   []func(time.Duration) string
		healthy bool
		at      time.Duration // of the verdict, to within a round
		says    []string      // in the reason
	}{
		{"all hold from the start", 20 * second, []func(time.Duration) string{always, always}, true, 50 * second, nil},
		{"one comes late", 20 * second, []func(time.Duration) string{always, from(100 * second)}, true, 130 * second, nil},
		{"one breaks, and holds again", 20 * second, []func(time.Duration) string{between(40*second, 42*second), always}, true, 72 * second, nil},
		{"two that never hold together", 20 * second, []func(time.Duration) string{from(150 * second), until(150 * second)}, false, 300 * second,
			[]string{"c1: not any more, since 2m30s after the boot"}},
		{"one never holds", 20 * second, []func(time.Duration) string{always, from(1000 * second)}, false, 300 * second,
			[]string{"c1: not yet, since 20s after the boot"}},
		{"one ceases to hold", 20 * second, []func(time.Duration) string{from(25 * second), until(40 * second)}, false, 300 * second,
			[]string{"c1: not any more, since 40s after the boot"}},
		{"one flaps", 20 * second, []func(time.Duration) string{always, flap}, false, 300 * second,
			[]string{"c1: holds for 16s, and 30s are asked for; before: down"}},
		{"too late to hold for long", 20 * second, []func(time.Duration) string{from(280 * second)}, false, 300 * second,
			[]string{"c0: holds for 20s, and 30s are asked for; before: not yet"}},
		{"just in time", 20 * second, []func(time.Duration) string{from(268 * second)}, true, 298 * second, nil},
		{"begun too late to hold for long", 280 * second, []func(time.Duration) string{always}, false, 300 * second,
			[]string{"time: all checks hold for 20s, and 30s are asked for; they were begun 4m40s after the boot, and the deadline is 5m0s after it"}},
		{"begun after the deadline", 301 * second, []func(time.Duration) string{always}, false, 301 * second,
			[]string{"time: the deadline is 5m0s after the boot, and the checks were begun 5m1s after it"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := booted(c.up)
				var checks []Check
				for i, p := range c.plans {
					checks = append(checks, d.plan(fmt.Sprintf("c%d", i), p))
				}
				v, err := Run(t.Context(), checks, options(d), nil)
				if err != nil {
					t.Fatal(err)
				}
				if v.Healthy != c.healthy || v.At < c.at || v.At > c.at+2*second {
					t.Errorf("healthy %v at %v, want %v at %v: %s", v.Healthy, v.At, c.healthy, c.at, v.Reason())
				}
				if got := d.now(); got > 300*second && got > c.up {
					t.Errorf("the verdict came %v after the boot", got)
				}
				for _, s := range c.says {
					if !strings.Contains(v.Reason(), s) {
						t.Errorf("reason %q, want %q in it", v.Reason(), s)
					}
				}
				if c.healthy != (v.Reason() == "") {
					t.Errorf("healthy %v, and the reason is %q", c.healthy, v.Reason())
				}
			})
		})
	}
}

// TestStableZero: one round in which all hold is enough.
func TestStableZero(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := booted(20 * second)
		o := options(d)
		o.Stable = 0
		v, err := Run(t.Context(), []Check{d.plan("a", from(30*second))}, o, nil)
		if err != nil || !v.Healthy || v.At != 30*second {
			t.Errorf("got %+v, %v", v, err)
		}
	})
}

// TestRestartedUnit: who begins again at 200 s has the time that is left, and
// not more.
func TestRestartedUnit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := booted(10 * second)
		broken := []Check{d.plan("a", from(1000*second))}
		ctx, cancel := context.WithTimeout(t.Context(), 190*second)
		defer cancel()
		if _, err := Run(ctx, broken, options(d), nil); !errors.Is(err, ErrStopped) {
			t.Fatalf("got %v", err)
		}
		v, err := Run(t.Context(), broken, options(d), nil)
		if err != nil || v.Healthy || v.At != 300*second {
			t.Errorf("got %+v, %v", v, err)
		}
	})
}

// stuck is a check that hangs as of a time, and does not look at its context.
func (d device) stuck(name string, at time.Duration, asked *atomic.Int32, release <-chan struct{}) Check {
	return Check{Name: name, Probe: func(context.Context) error {
		asked.Add(1)
		if d.now() >= at {
			<-release
		}
		return nil
	}}
}

// TestHangs: a check that hangs for ever keeps no verdict from being reached,
// is asked once while it hangs, and is named.
func TestHangs(t *testing.T) {
	for _, at := range []time.Duration{20 * second, 36 * second, 299 * second} {
		synctest.Test(t, func(t *testing.T) {
			d := booted(20 * second)
			release := make(chan struct{})
			defer close(release)
			var asked atomic.Int32
			o := options(d)
			o.Stable = 290 * second
			if at < 299*second {
				o.Stable = 30 * second
			}
			v, err := Run(t.Context(), []Check{d.stuck("stuck", at, &asked, release), d.plan("good", always)}, o, nil)
			if err != nil || v.Healthy || v.At != 300*second {
				t.Fatalf("hangs at %v: got %+v, %v", at, v, err)
			}
			if got := d.now(); got > 301*second {
				t.Errorf("hangs at %v: the verdict came at %v", at, got)
			}
			if want := 1 + int32((at-20*second)/(2*second)); asked.Load() != want && at < 299*second {
				t.Errorf("hangs at %v: asked %d times, want %d", at, asked.Load(), want)
			}
			if r := v.Reason(); at < 299*second && !strings.Contains(r, "stuck: no answer for ") {
				t.Errorf("hangs at %v: reason %q", at, r)
			}
			if strings.Contains(v.Reason(), "good") {
				t.Errorf("hangs at %v: blames the good one: %q", at, v.Reason())
			}
		})
	}
}

// TestHangsBesideOthers: they are looked at all the same.
func TestHangsBesideOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := booted(20 * second)
		var asked atomic.Int32
		release := make(chan struct{})
		defer close(release)
		v, err := Run(t.Context(), []Check{d.stuck("stuck", 0, &asked, release), d.plan("other", until(100*second))}, options(d), nil)
		if err != nil || len(v.Problems) != 2 || v.Problems[1].Check != "other" || v.Problems[1].Since > 102*second {
			t.Errorf("got %+v, %v", v, err)
		}
	})
}

// TestAnswersLate: what comes when the time of the probe is over is no answer.
func TestAnswersLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := booted(20 * second)
		slow := Check{Name: "slow", Probe: func(ctx context.Context) error { <-ctx.Done(); return nil }}
		v, err := Run(t.Context(), []Check{slow}, options(d), nil)
		if err != nil || v.Healthy || !strings.Contains(v.Reason(), "slow: no answer within 10s") {
			t.Errorf("got %+v, %v", v, err)
		}
	})
}

// TestSlowIsWell: a probe that takes its time holds.
func TestSlowIsWell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := booted(20 * second)
		slow := Check{Name: "slow", Probe: func(context.Context) error { time.Sleep(9 * second); return nil }}
		v, err := Run(t.Context(), []Check{slow}, options(d), nil)
		if err != nil || !v.Healthy || v.At > 80*second {
			t.Errorf("got %+v, %v", v, err)
		}
	})
}

// TestAsleep: a device that slept through the deadline is not healthy, whatever
// the timers of the process believe; not even if it fell asleep in the round
// that would have been the last.
func TestAsleep(t *testing.T) {
	for at := 40 * second; at <= 56*second; at += 2 * second {
		synctest.Test(t, func(t *testing.T) {
			d := booted(20 * second)
			o, asleep := options(d), time.Duration(0)
			o.Stable = 36 * second
			o.Now = func() time.Duration { return d.now() + asleep }
			v, err := Run(t.Context(), []Check{d.plan("a", func(now time.Duration) string {
				if now >= at {
					asleep = 400 * second
				}
				return ""
			})}, o, nil)
			if err != nil || v.Healthy {
				t.Errorf("falls asleep at %v: got %+v, %v", at, v, err)
			}
		})
	}
}

// TestStopped: SIGTERM is no verdict, whenever it comes, even in the round that
// would have been the last; and neither is a system that goes down.
func TestStopped(t *testing.T) {
	cause := errors.New("terminated")
	for at := 0 * second; at < 50*second; at += second / 2 {
		synctest.Test(t, func(t *testing.T) {
			d := booted(20 * second)
			ctx, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(at, func() { cancel(cause) })
			ended := false
			probe := Check{Name: "slow", Probe: func(ctx context.Context) error {
				defer func() { ended = true }()
				select {
				case <-time.After(second):
				case <-ctx.Done():
				}
				return nil
			}}
			v, err := Run(ctx, []Check{probe}, options(d), nil)
			stopped := errors.Is(err, ErrStopped) && errors.Is(err, cause) && !v.Healthy
			if healthy := err == nil && v.Healthy; !stopped && !(healthy && at > 30*second) {
				t.Errorf("stopped after %v: got %+v, %v", at, v, err)
			}
			if !ended {
				t.Errorf("stopped after %v: the probe goes on", at)
			}
		})
	}
	for _, f := range []func(time.Duration) string{always, from(1000 * second)} {
		synctest.Test(t, func(t *testing.T) {
			d := booted(20 * second)
			o := options(d)
			o.Stopping = func(context.Context) bool { return true }
			if v, err := Run(t.Context(), []Check{d.plan("a", f)}, o, nil); !errors.Is(err, ErrStopped) || v.Healthy {
				t.Errorf("going down: got %+v, %v", v, err)
			}
			// SIGTERM while that is being asked.
			ctx, cancel := context.WithCancel(t.Context())
			o.Now = booted(20 * second).now
			o.Stopping = func(context.Context) bool { cancel(); return false }
			if v, err := Run(ctx, []Check{d.plan("a", f)}, o, nil); !errors.Is(err, ErrStopped) || v.Healthy {
				t.Errorf("stopped while asking: got %+v, %v", v, err)
			}
		})
	}
}

// TestReport: each change is told once, in order, with its reason.
func TestReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := booted(20 * second)
		var got []string
		_, err := Run(t.Context(), []Check{d.plan("a", always), d.plan("b", between(30*second, 36*second))}, options(d), func(c Change) {
			got = append(got, fmt.Sprintf("%s %v %q %v", c.Check, c.Holds, c.Saw, c.At))
		})
		want := []string{`a true "" 20s`, `b true "" 20s`, `b false "broken" 30s`, `b true "" 36s`}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("got %q, want %q (%v)", got, want, err)
		}
	})
}

// TestBounded: what goes into the record is small, and is text, whatever the
// checks say.
func TestBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := booted(20 * second)
		var checks []Check
		for i := range 60 {
			c := d.plan(fmt.Sprintf("check %d %s", i, strings.Repeat("n", 1000)), func(time.Duration) string {
				return "\x1b[31m\xff line\nline\x00 " + strings.Repeat("ü", 5000)
			})
			c.Remarks = func() []string { return []string{strings.Repeat("r\n", 5000)} }
			checks = append(checks, c)
		}
		o := options(d)
		o.Deadline = 60 * second
		v, err := Run(t.Context(), checks, o, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(v.Problems) != maxProblems || v.More != 60-maxProblems || len(v.Remarks) != maxRemarks {
			t.Errorf("%d problems, %d more, %d remarks", len(v.Problems), v.More, len(v.Remarks))
		}
		for _, p := range v.Problems {
			if len(p.Saw) > maxSaw || len(p.Check) > maxName || !utf8.ValidString(p.Saw) || strings.ContainsAny(p.Saw, "\x1b\n\x00") || !strings.HasPrefix(p.Saw, "[31m? line line ü") {
				t.Errorf("problem %q", p)
			}
		}
		for _, r := range v.Remarks {
			if len(r) > maxSaw || strings.Contains(r, "\n") {
				t.Errorf("remark %q", r)
			}
		}
		r := v.Reason()
		if n := strings.Count(r, "check "); len(r) > maxReason || !strings.HasSuffix(r, fmt.Sprintf("; and %d more", 60-n)) {
			t.Errorf("reason of %d bytes, ending in %q", len(r), r[len(r)-40:])
		}
	})
}

func TestNoChecksIsABug(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a verdict that rests on nothing")
		}
	}()
	_, _ = Run(t.Context(), nil, Options{}, nil)
}

func TestOptions(t *testing.T) {
	if err := DefaultOptions().Validate(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
	for name, change := range map[string]func(*Options){
		"deadline":  func(o *Options) { o.Deadline = second },
		"stable":    func(o *Options) { o.Stable = -second },
		"interval":  func(o *Options) { o.Interval = 0 },
		"timeout (": func(o *Options) { o.Timeout = o.Deadline },
		"stable (":  func(o *Options) { o.Stable = o.Deadline - o.Interval },
	} {
		o := DefaultOptions()
		change(&o)
		if err := o.Validate(); err == nil || !strings.HasPrefix(err.Error(), name) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// TestNoWallClock: nothing in this package looks at the time of day.
func TestNoWallClock(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) < 8 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(f, "_test.go") && strings.Contains(string(b), "time.Now") {
			t.Errorf("%s asks for the time of day", f)
		}
	}
	before := SinceBoot()
	time.Sleep(20 * time.Millisecond)
	if d := SinceBoot() - before; before <= 0 || d < 20*time.Millisecond || d > 10*second {
		t.Errorf("since the boot: %v, and 20 ms later %v more", before, d)
	}
}
