package udev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plimsoll-ota/plimsoll/artifact"
	"github.com/plimsoll-ota/plimsoll/udev/tell"
)

// cut has the next installation cut off, as by the power.
func (r *rig) cut(s *stick) {
	r.t.Helper()
	r.fake.install = func(ctx context.Context, _ io.Reader, step func(int)) (Installed, error) {
		step(1)
		r.cancel(errEnough)
		return 0, context.Cause(ctx)
	}
	if _, err := r.start(s)(); !errors.Is(err, errEnough) {
		r.t.Fatalf("got %v, want the cause", err)
	}
	r.fake.install = nil
}

// current is a device that has what it is offered.
func (f *fake) current() {
	f.accept = func(*artifact.Header) error { return coded(0) }
}

// An attempt that is cut goes on under its number, from whatever stick; another
// artifact's ends it.
func TestCutAttempts(t *testing.T) {
	t.Parallel()
	b := string(good(t, "new", "2"))
	s, copied := newStick(t, map[string]string{"new.mender": b}), newStick(t, map[string]string{"plimsoll/copied.mender": b})
	other := newStick(t, map[string]string{"other.mender": string(good(t, "other", "3"))})
	r := newRig(t)
	r.cut(s)
	r.cut(copied)
	same(t, "stored", brieflyOf(r.stored()), []string{"1 new: working, do not remove"})
	ends1(t, r.visit(s), tell.Updated, 0)
	got := s.reports()
	same(t, "reports", brieflyOf(got), []string{"1 new: updated and confirmed final"})
	var phases []string
	for _, p := range got[0].Phases {
		phases = append(phases, p.Name)
	}
	same(t, "phases", phases, []string{"looking", "working, do not remove", "looking", "working, do not remove", "looking", "working, do not remove", "updated and confirmed"})

	r = newRig(t)
	r.cut(s)
	ends1(t, r.visit(other), tell.Updated, 0)
	same(t, "reports", brieflyOf(other.reports()), []string{"1 new: failed E64 final", "2 other: updated and confirmed final"})
}

// What is known after the reboot goes onto the stick that is in, whichever it is,
// as the same report, and is told there; afterwards nothing more is reported.
func TestOutcomes(t *testing.T) {
	b := good(t, "new", "2")
	for _, c := range []struct {
		name    string
		outcome Outcome
		after   error // what the device says of the artifact then
		same    bool  // stick
	}{
		{"committed, the same stick", Outcome{State: tell.Updated}, coded(0), true},
		{"committed, another stick", Outcome{State: tell.Updated}, coded(0), false},
		{"went back, the same stick", Outcome{State: tell.WentBack, Code: tell.Unhealthy, Detail: "no network"}, coded(tell.FailedBefore), true},
		{"went back, another stick", Outcome{State: tell.WentBack, Code: tell.NeverStarted}, coded(tell.FailedBefore), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newStick(t, map[string]string{"new.mender": string(b)})
			r := newRig(t)
			r.fake.left = Armed
			ends1(t, r.visit(s), tell.Restarting, 0)

			r.fake.state.Moving, r.fake.state.OnTrial, r.fake.state.Armed = true, true, ""
			r.fake.accept = func(*artifact.Header) error { return c.after }
			r.on = func(m tell.Message) {
				if m.State == tell.Testing {
					r.fake.set(func() { r.fake.state.Moving, r.fake.outcomes[manifest(t, b)] = false, c.outcome })
				}
			}
			home := s
			if !c.same {
				home = newStick(t, map[string]string{"plimsoll/": "", "plimsoll/x.mender": string(b)})
			}
			ends1(t, r.visit(home), c.outcome.State, c.outcome.Code)
			same(t, "said", r.said.all()[:2], []string{"looking", string(tell.Testing)})
			want := []string{fmt.Sprintf("1 new: %s final", c.outcome.State)}
			if c.outcome.Code != 0 {
				want[0] = fmt.Sprintf("1 new: %s %v final", c.outcome.State, c.outcome.Code)
			}
			got := home.reports()
			same(t, "reports", brieflyOf(got), want)
			if h := got[0].Health; h == nil || h.Healthy != (c.outcome.State == tell.Updated) || len(h.Problems) > 0 != (c.outcome.Code == tell.Unhealthy) {
				t.Errorf("health: %+v", h)
			}
			for range 2 {
				res := r.visit(home)
				if c.outcome.State == tell.WentBack {
					ends1(t, res, c.outcome.State, c.outcome.Code)
				} else {
					ends1(t, res, tell.UpToDate, 0)
				}
			}
			same(t, "reports after more boots", brieflyOf(home.reports()), want)
			if r.fake.times("install") != 1 || len(r.stored()) > 0 {
				t.Errorf("installed %d times; stored %v", r.fake.times("install"), brieflyOf(r.stored()))
			}
		})
	}
}

// What is wrong with another stick is told, and the outcome is reported all the same.
func TestOutcomeOnABadStick(t *testing.T) {
	t.Parallel()
	b := good(t, "new", "2")
	s, bad := newStick(t, map[string]string{"new.mender": string(b)}), newStick(t, map[string]string{"new.mender": string(made(t, "new", "3", ""))})
	r := newRig(t)
	r.fake.left = Armed
	r.visit(s)
	r.fake.state.Armed = ""
	r.fake.outcomes[manifest(t, b)] = Outcome{State: tell.Updated}
	ends1(t, r.visit(bad), tell.Failed, tell.Unsigned)
	same(t, "reports", brieflyOf(bad.reports()), []string{"1 new: updated and confirmed final", "2 : failed E11 final"})
}

// The stick that is pulled out in the trial: its verdict is told, and kept.
func TestPulledInTheTrial(t *testing.T) {
	t.Parallel()
	b := good(t, "new", "2")
	s := newStick(t, map[string]string{"new.mender": string(b)})
	r := newRig(t)
	r.fake.left = Armed
	r.visit(s)
	r.fake.state.Moving, r.fake.state.OnTrial = true, true
	r.on = func(m tell.Message) {
		if m.State == tell.Testing {
			s.pull()
			r.fake.set(func() { r.fake.state, r.fake.outcomes[manifest(t, b)] = Standing{}, Outcome{State: tell.Updated} })
		}
	}
	ends1(t, r.visit(s), tell.Updated, 0)
	same(t, "stored", brieflyOf(r.stored()), []string{"1 new: updated and confirmed final"})
}

// An update that waits for its reboot is not tried again, nor its report closed:
// neither by its own stick nor by another.
func TestWaitsForItsReboot(t *testing.T) {
	t.Parallel()
	s := newStick(t, map[string]string{"new.mender": string(good(t, "new", "2"))})
	other := newStick(t, map[string]string{"other.mender": string(good(t, "other", "3"))})
	r := newRig(t)
	r.fake.left = Armed
	r.change = func(v *Visit) { v.NeverReboot = true }
	for range 2 {
		res := r.visit(s)
		ends1(t, res, tell.Remove, 0)
		if !res.Reboot {
			t.Error("no reboot is owed")
		}
	}
	r.fake.install = func(context.Context, io.Reader, func(int)) (Installed, error) { return 0, coded(tell.Busy) }
	for range 2 {
		ends1(t, r.visit(other), tell.Failed, tell.Busy)
	}
	same(t, "reports", brieflyOf(s.reports()), []string{"1 new: restarting"})
	same(t, "the other's", brieflyOf(other.reports()), []string{"2 other: failed E45 final"})
	open, err := r.store.Open()
	must(t, err)
	same(t, "open", brieflyOf(open), []string{"1 new: restarting"})
}

// The same on the same stick is reported once; on another again. A memory that is
// damaged costs one report more and nothing else.
func TestMemory(t *testing.T) {
	t.Parallel()
	b := string(good(t, "old", "1"))
	s, other := newStick(t, map[string]string{"a.mender": b}), newStick(t, map[string]string{"a.mender": b})
	r := newRig(t)
	r.fake.current()
	for range 2 {
		ends1(t, r.visit(s), tell.UpToDate, 0)
	}
	one := "old: up to date final"
	same(t, "reports", brieflyOf(s.reports()), []string{"1 " + one})
	r.visit(other)
	same(t, "the other's", brieflyOf(other.reports()), []string{"2 " + one})
	for n, damage := range []string{"{", "", string(make([]byte, 1<<20)), `{"State":1}`} {
		must(t, os.WriteFile(filepath.Join(r.dir, "memory.json"), []byte(damage), 0o600))
		ends1(t, r.visit(other), tell.UpToDate, 0)
		if got := brieflyOf(other.reports()); len(got) != n+2 {
			t.Errorf("after %.10q: %v", damage, got)
		}
	}
	if !r.noted("the last visit is not known") {
		t.Errorf("noted %q", r.notes)
	}
	r.change = func(v *Visit) { v.Memory = "/nowhere/memory" }
	ends1(t, r.visit(other), tell.UpToDate, 0)
	if !r.noted("the last visit is not remembered") {
		t.Errorf("noted %q", r.notes)
	}
}

// A stick that takes no report does not fail an update, and neither does a store
// that keeps none.
func TestNoReport(t *testing.T) {
	t.Parallel()
	files := map[string]string{"new.mender": string(good(t, "new", "2"))}
	full, locked, next := newStick(t, files), newStick(t, files), newStick(t, map[string]string{"plimsoll/": ""})
	for n := range 3 { // there is always a little left
		full.inside(func(dir string) {
			f, err := os.Create(filepath.Join(dir, fmt.Sprint("fill", n)))
			must(t, err)
			for err == nil {
				_, err = f.Write(make([]byte, 1024))
			}
			if !errors.Is(err, unix.ENOSPC) {
				t.Fatalf("fill: %v", err)
			}
			must(t, f.Close())
		})
	}
	locked.unplug()
	locked.plug("-r")
	before := locked.bytes()
	for n, s := range []*stick{full, locked} {
		r := newRig(t)
		ends1(t, r.visit(s), tell.Updated, 0)
		same(t, fmt.Sprint("waiting ", n), brieflyOf(r.stored()), []string{"1 new: updated and confirmed final"})
		if !r.noted("no report on the stick") {
			t.Errorf("noted %q", r.notes)
		}
		r.fake.current()
		ends1(t, r.visit(next), tell.Nothing, tell.NoArtifact)
		if got := brieflyOf(next.reports()); !slices.Contains(got, "1 new: updated and confirmed final") || len(r.stored()) > 0 {
			t.Errorf("on the next: %v", got)
		}
	}
	if string(before) != string(locked.bytes()) {
		t.Error("the write-protected one was written")
	}
	locked.unplug()
	r := newRig(t)
	r.store.Dir = "/nowhere/reports"
	ends1(t, r.visit(full), tell.Updated, 0)
	if !r.noted("store of reports") {
		t.Errorf("noted %q", r.notes)
	}
}

// Of two sticks the second waits, and says so where the light is not.
func TestTwoSticks(t *testing.T) {
	t.Parallel()
	b := string(good(t, "new", "2"))
	first, second := newStick(t, map[string]string{"new.mender": b}), newStick(t, map[string]string{"new.mender": b})
	r := newRig(t)
	at, on := make(chan bool), make(chan bool)
	r.fake.install = func(context.Context, io.Reader, func(int)) (Installed, error) {
		at <- true
		<-on
		return Committed, nil
	}
	endFirst := r.start(first)
	<-at
	two := &rig{t: t, dir: r.dir, fake: &fake{}, store: r.store}
	two.fake.current()
	endSecond := two.start(second)
	patient(t, "the second waits", func() bool { return len(two.queue.all()) > 0 })
	time.Sleep(2 * lookAgain)
	same(t, "the light says of the second", two.said.all(), nil)
	on <- true
	for _, end := range []func() (Result, error){endFirst, endSecond} {
		if _, err := end(); err != nil {
			t.Error(err)
		}
	}
	same(t, "the queue", two.queue.all(), []string{"waiting for permission"})
	same(t, "the second", two.said.all(), []string{"looking", "up to date"})
	same(t, "the queue of the first", r.queue.all(), nil)

	yield := holdTurn(t, filepath.Join(r.dir, "turn"))
	defer yield()
	end := r.start(second)
	patient(t, "it waits", func() bool { return len(r.queue.all()) > 0 })
	second.pull()
	if res, err := end(); err != nil || res.State != tell.Nothing || len(r.said.all()) > 0 {
		t.Errorf("pulled out while it waited: %v, %v, said %q", res, err, r.said.all())
	}
}

// Another stick that takes the name of one that was pulled out meanwhile has a
// visit as well: its event was lost.
func TestNextStick(t *testing.T) {
	t.Parallel()
	s := newStick(t, map[string]string{"old.mender": string(good(t, "old", "1"))})
	r := newRig(t)
	r.fake.left = Held
	r.change = func(v *Visit) { v.WhenUnplugged = true }
	r.fake.mayBoot = func() (bool, error) {
		r.fake.current()
		r.fake.set(func() { r.fake.state = Standing{} })
		return false, coded(tell.Refused)
	}
	again := sync.OnceFunc(func() {
		dev := s.dev
		s.unplug()
		s.dev = dev
		run(t, "losetup", dev, s.file) // has another number
	})
	r.on = func(m tell.Message) {
		if m.State == tell.Remove {
			again()
		}
	}
	ends1(t, r.visit(s), tell.UpToDate, 0)
	same(t, "said", r.said.all(), []string{
		"looking", "working, do not remove", "working, do not remove 50 %", "you may remove the stick", "you may remove the stick", "reset", "looking", "up to date",
	})
}

// What lives on the disk is not touched, and neither is what might.
func TestOwnDisk(t *testing.T) {
	t.Parallel()
	s := newStick(t, map[string]string{"new.mender": string(good(t, "new", "2"))})
	r := newRig(t)
	r.fake.owns = errOwns
	if _, err := r.start(s)(); !errors.Is(err, ErrOwnDisk) || len(r.said.all()) > 0 {
		t.Errorf("got %v, and said %q", err, r.said.all())
	}
	r.fake.owns = coded(tell.Config)
	ends1(t, r.visit(s), tell.Failed, tell.Config)
	same(t, "said", r.said.all(), []string{"failed E46"})
}

// A volume that somebody has for a moment is waited for.
func TestInUse(t *testing.T) {
	t.Parallel()
	s := newStick(t, map[string]string{"old.mender": string(good(t, "old", "1"))})
	r := newRig(t)
	r.fake.current()
	dir := t.TempDir()
	run(t, "mount", "-o", "ro", s.dev, dir)
	ends1(t, r.visit(s), tell.Failed, tell.Busy)
	time.AfterFunc(time.Second, func() { _ = unix.Unmount(dir, 0) })
	ends1(t, r.visit(s), tell.UpToDate, 0)
}

// Files are looked at only for so long; what was found till then is taken.
func TestLookLimit(t *testing.T) {
	t.Parallel()
	s := newStick(t, map[string]string{"a.mender": string(good(t, "a", "2")), "b.mender": string(good(t, "b", "3"))})
	for _, c := range []struct {
		accept error
		state  tell.State
		code   tell.Code
	}{{coded(tell.Older), tell.Failed, tell.TooMuch}, {nil, tell.Updated, 0}} {
		r := newRig(t)
		r.change = func(v *Visit) { v.lookFor = 300 * time.Millisecond }
		r.fake.accept = func(h *artifact.Header) error {
			if h.Name == "b" {
				t.Error("looked at b")
			}
			time.Sleep(400 * time.Millisecond)
			return c.accept
		}
		res := r.visit(s)
		ends1(t, res, c.state, c.code)
	}
}

// A stick of which nothing can be read is not taken for somebody's photographs.
func TestDamagedRoot(t *testing.T) {
	t.Parallel()
	s := newStick(t, map[string]string{"new.mender": string(good(t, "new", "2"))})
	s.unplug()
	run(t, "debugfs", "-w", "-R", "sif <2> block[0] 9999999", s.file)
	s.plug()
	r := newRig(t)
	res := r.visit(s)
	if res.State != tell.Failed || res.Code != tell.CorruptFS && res.Code != tell.StickErrors {
		t.Errorf("got %v", res)
	}
}
