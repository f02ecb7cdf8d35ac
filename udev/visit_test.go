package udev

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/plimsoll-ota/plimsoll/artifact"
	"github.com/plimsoll-ota/plimsoll/udev/report"
	"github.com/plimsoll-ota/plimsoll/udev/tell"
	"github.com/plimsoll-ota/plimsoll/udev/volume"
)

var errEnough = errors.New("enough")

// A rig is a device, and what it keeps between visits.
type rig struct {
	t     *testing.T
	dir   string
	fake  *fake
	store *report.Store
	said  *recorder // of the last visit
	queue *recorder

	change func(v *Visit)       // if it is not as usual
	on     func(m tell.Message) // what happens meanwhile
	ctx    context.Context      // of the last visit
	cancel context.CancelCauseFunc

	mu    sync.Mutex
	notes []string
}

func newRig(t *testing.T) *rig {
	t.Helper()
	dir := t.TempDir()
	r := &rig{t: t, dir: dir, fake: &fake{outcomes: map[string]Outcome{}}, store: &report.Store{Dir: filepath.Join(dir, "reports")}}
	r.fake.reboot = func() error {
		r.cancel(errEnough) // the init system stops this process
		return nil
	}
	return r
}

// ends are states after which nobody waits for anything but the unplug.
var ends = []tell.State{tell.Remove, tell.Updated, tell.WentBack, tell.UpToDate, tell.Nothing, tell.Failed}

// start runs a visit until it has a result; the context ends then, as if the
// stick stayed for ever and the device were switched off.
func (r *rig) start(s *stick) func() (Result, error) {
	r.t.Helper()
	r.ctx, r.cancel = context.WithCancelCause(context.Background())
	ctx, cancel := r.ctx, r.cancel
	v := &Visit{
		Disk: s.name(), Dir: filepath.Join(r.dir, "mnt-"+s.name()), Turn: filepath.Join(r.dir, "turn"), Memory: filepath.Join(r.dir, "memory.json"),
		Device: r.fake, Trust: keys, Serial: "SN-1", DeviceType: "crane", Plimsoll: "0", Interval: 50 * time.Millisecond, Store: r.store,
		Note: func(text string) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.notes = append(r.notes, text)
		},
	}
	if r.change != nil {
		r.change(v)
	}
	on := r.on
	said := &recorder{on: func(m tell.Message) {
		if on != nil {
			on(m)
		}
		if slices.Contains(ends, m.State) && !(v.WhenUnplugged && m.State == tell.Remove) {
			cancel(errEnough)
		}
	}}
	queue := &recorder{}
	r.said, r.queue = said, queue
	v.Tell, v.Queue = said, queue
	type end struct {
		r   Result
		err error
	}
	done := make(chan end, 1)
	go func() {
		res, err := v.Run(ctx)
		done <- end{res, err}
	}()
	return func() (Result, error) {
		r.t.Helper()
		select {
		case e := <-done:
			if _, err := os.Lstat(v.Dir); !errors.Is(err, os.ErrNotExist) {
				r.t.Errorf("%s is left behind: %v", v.Dir, err)
			}
			if left, _ := filepath.Glob(filepath.Join(r.dir, "*.tmp")); len(left) > 0 {
				r.t.Errorf("left behind: %v", left)
			}
			return e.r, e.err
		case <-time.After(15 * time.Second):
			r.t.Fatalf("the visit does not end; it said %q", said.all())
			panic("not reached")
		}
	}
}

// visit runs a visit that must end without an error.
func (r *rig) visit(s *stick) Result {
	r.t.Helper()
	res, err := r.start(s)()
	if err != nil && !errors.Is(err, errEnough) {
		r.t.Fatalf("visit: %v", err)
	}
	return res
}

func (r *rig) noted(text string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.notes, func(n string) bool { return strings.Contains(n, text) })
}

// stored are the reports on the device.
func (r *rig) stored() (all []report.Report) {
	r.t.Helper()
	all, err := r.store.Undelivered()
	must(r.t, err)
	return all
}

// brief is what a test looks at of reports.
func brieflyOf(all []report.Report) (lines []string) {
	for _, rep := range all {
		text := fmt.Sprintf("%d %s: %s %s", rep.Sequence, rep.Tried.Name, rep.Result, rep.Code)
		if rep.Final {
			text += " final"
		}
		lines = append(lines, strings.Join(strings.Fields(text), " "))
	}
	return lines
}

func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: -want +got\n%s", what, diff)
	}
}

func ends1(t *testing.T, r Result, state tell.State, code tell.Code) {
	t.Helper()
	if r.State != state || r.Code != code {
		t.Errorf("ended with %q %v (%s), want %q %v", r.State, r.Code, r.Detail, state, code)
	}
}

// What Install leaves decides what is told, and whether a reboot follows.
func TestInstalls(t *testing.T) {
	working := []string{"looking", "working, do not remove", "working, do not remove 50 %"}
	for _, c := range []struct {
		name    string
		left    Installed
		never   bool
		unplug  bool
		said    []string
		asked   []string
		reboot  bool // is owed
		reports string
	}{
		{"committed", Committed, false, false, []string{"updated and confirmed"}, nil, false, "1 new: updated and confirmed final"},
		{"armed, now", Armed, false, false, []string{"restarting"}, []string{"may reboot", "reboot"}, false, "1 new: restarting"},
		{"armed, never", Armed, true, false, []string{"you may remove the stick"}, nil, true, "1 new: restarting"},
		{"held, when unplugged", Held, false, true, []string{"you may remove the stick", "restarting", "reset"}, []string{"may reboot", "arm", "reboot"}, false, "1 new: you may remove the stick"},
		{"held, never", Held, true, false, []string{"you may remove the stick"}, nil, true, "1 new: you may remove the stick"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newStick(t, map[string]string{"new.mender": string(good(t, "new", "2"))})
			r := newRig(t)
			r.fake.left = c.left
			r.change = func(v *Visit) { v.NeverReboot, v.WhenUnplugged = c.never, c.unplug }
			end := r.start(s)
			if c.unplug {
				patient(t, "it may be removed", func() bool { return slices.Contains(r.said.all(), "you may remove the stick") })
				time.Sleep(200 * time.Millisecond)
				if r.fake.was("arm") || r.fake.was("reboot") {
					t.Error("armed while the stick is in")
				}
				same(t, "reports", brieflyOf(s.reports()), []string{c.reports})
				s.pull()
			}
			res, err := end()
			if err != nil {
				t.Error(err)
			}
			same(t, "said", r.said.all(), append(slices.Clone(working), c.said...))
			same(t, "asked", r.fake.asked, append([]string{"may install", "install"}, c.asked...))
			if res.Reboot != c.reboot {
				t.Errorf("a reboot is owed: %v", res.Reboot)
			}
			if !c.unplug {
				same(t, "reports", brieflyOf(s.reports()), []string{c.reports})
			}
			if left := r.stored(); len(left) > 0 {
				t.Errorf("not delivered: %v", brieflyOf(left))
			}
		})
	}
}

// The policy may want to wait, or not to have the reboot, and the reboot may fail.
func TestReboots(t *testing.T) {
	t.Parallel()
	s := newStick(t, map[string]string{"new.mender": string(good(t, "new", "2"))})
	for _, c := range []struct {
		name  string
		set   func(f *fake)
		said  []string
		owed  bool
		state tell.State
		code  tell.Code
	}{
		{"later", func(f *fake) {
			f.mayBoot = func() (bool, error) {
				if f.times("may reboot") < 3 {
					return true, errors.New("a load on the hook")
				}
				return false, nil
			}
		}, []string{"waiting for permission", "waiting for permission", "restarting"}, false, tell.Restarting, 0},
		{"refused", func(f *fake) { f.mayBoot = func() (bool, error) { return false, coded(tell.Refused) } },
			[]string{"you may remove the stick"}, true, tell.Remove, 0},
		{"it does not restart", func(f *fake) { f.reboot = func() error { return errors.New("no") } },
			[]string{"restarting", "failed E99"}, true, tell.Failed, tell.Other},
		{"its record is lost", func(f *fake) {
			f.standing = func() (Standing, error) {
				if f.was("install") {
					return Standing{}, coded(tell.StateDir)
				}
				return Standing{}, nil
			}
		}, []string{"failed E43"}, true, tell.Failed, tell.StateDir},
		{"it cannot be armed", func(f *fake) { f.left, f.arm = Held, coded(tell.BootEnv) }, []string{"failed E44"}, false, tell.Failed, tell.BootEnv},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			r.fake.left = Armed
			c.set(r.fake)
			res := r.visit(s)
			ends1(t, res, c.state, c.code)
			same(t, "said", r.said.all()[3:], c.said)
			if res.Reboot != c.owed {
				t.Errorf("a reboot is owed: %v", res.Reboot)
			}
			if owed := c.code == 0 && !c.owed; r.fake.was("reboot") != (owed || c.code == tell.Other) {
				t.Errorf("asked %v", r.fake.asked)
			}
		})
	}
}

// A module's payload that was held may need no reboot in the end.
func TestHeldAndOver(t *testing.T) {
	t.Parallel()
	b := good(t, "new", "2")
	s := newStick(t, map[string]string{"new.mender": string(b)})
	r := newRig(t)
	r.fake.left = Held
	r.fake.standing = func() (Standing, error) {
		if r.fake.was("arm") || !r.fake.was("install") {
			return Standing{}, nil
		}
		return Standing{Held: manifest(t, b)}, nil
	}
	r.on = func(m tell.Message) {
		r.fake.set(func() { r.fake.outcomes[manifest(t, b)] = Outcome{State: tell.Updated} })
	}
	ends1(t, r.visit(s), tell.Updated, 0)
	if r.fake.was("reboot") {
		t.Error("restarted for nothing")
	}
}

// Reasons for which nothing is installed, alone and together: of several the one
// is told that a person can mend, and that is about this device.
func TestReasons(t *testing.T) {
	ok := string(good(t, "new", "2"))
	cut, wrong := ok[:len(ok)*2/3], []byte(ok)
	wrong[700] ^= 1
	files := map[string]string{
		"unsigned": string(made(t, "new", "2", "")), "stranger": string(made(t, "new", "2", "trust him")), "cut": cut, "zip": "PK\x03\x04" + strings.Repeat("zip", 999),
		"noise": strings.Repeat("noise", 999),
	}
	for name, code := range map[string]tell.Code{
		"older": tell.Older, "type": tell.WrongType, "before": tell.FailedBefore, "floor": tell.BelowFloor, "depends": tell.Depends, "unversioned": tell.Unversioned, "current": 0,
	} {
		files[name] = string(good(t, fmt.Sprintf("code-%d", code), "2"))
	}
	odd := map[string]string{"x.mender.crdownload": ok, "y.mender.zip": "PK", "empty.mender": "", "folder.mender/": ""}
	for _, c := range []struct {
		files string // of those above
		odd   string // their names
		list  string
		state tell.State
		code  tell.Code
	}{
		{files: "unsigned", state: tell.Failed, code: tell.Unsigned},
		{files: "stranger", state: tell.Failed, code: tell.Untrusted},
		{files: "cut", state: tell.Failed, code: tell.Unfinished},
		{files: "zip", state: tell.Failed, code: tell.Renamed},
		{files: "noise", state: tell.Failed, code: tell.Damaged},
		{files: "older", state: tell.Nothing, code: tell.Older},
		{files: "type", state: tell.Nothing, code: tell.WrongType},
		{files: "before", state: tell.Failed, code: tell.FailedBefore},
		{files: "floor", state: tell.Failed, code: tell.BelowFloor},
		{files: "current", state: tell.UpToDate},
		{odd: "x.mender.crdownload", state: tell.Failed, code: tell.Renamed},
		{odd: "y.mender.zip", state: tell.Failed, code: tell.Renamed},
		{odd: "empty.mender", state: tell.Failed, code: tell.Unfinished},
		{odd: "folder.mender/", state: tell.Failed, code: tell.Renamed},
		{files: "current", list: "SN-2\n", state: tell.Nothing, code: tell.NotListed},
		{files: "current", list: "sn-1\n", state: tell.UpToDate},
		{files: "current", list: "\x00\x01", state: tell.Nothing, code: tell.NotListed},
		{files: "type older", state: tell.Nothing, code: tell.Older},
		{files: "older current type", state: tell.UpToDate},
		{files: "current older unsigned", state: tell.Failed, code: tell.Unsigned},
		{files: "before current unsigned", state: tell.Failed, code: tell.FailedBefore},
		{files: "zip type depends", odd: "empty.mender", state: tell.Failed, code: tell.Depends},
		{files: "unversioned older", state: tell.Failed, code: tell.Unversioned},
	} {
		name := strings.Join(strings.Fields(c.files+" "+c.odd+" "+c.list), " and ")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			on := map[string]string{}
			for _, f := range strings.Fields(c.files) {
				on["plimsoll/"+f+".mender"] = files[f]
			}
			for _, f := range strings.Fields(c.odd) {
				on[f] = odd[f]
			}
			if c.list != "" {
				on["plimsoll/only-serials"] = c.list
			}
			s := newStick(t, on)
			r := newRig(t)
			r.fake.accept = func(h *artifact.Header) error {
				var code tell.Code
				if _, err := fmt.Sscanf(h.Name, "code-%d", &code); err != nil {
					t.Errorf("accepts %q", h.Name)
				}
				return coded(code)
			}
			ends1(t, r.visit(s), c.state, c.code)
			if r.fake.was("may install") || r.fake.was("install") || r.fake.was("reboot") {
				t.Errorf("asked %v", r.fake.asked)
			}
			got := s.reports()
			if len(got) != 1 || got[0].Result != string(c.state) || got[0].Code != c.code.String() || !got[0].Final {
				t.Errorf("reported %v", brieflyOf(got))
			}
		})
	}
}

// Every code has a weight and an ending that fit together, and errors get theirs.
func TestCodeOf(t *testing.T) {
	t.Parallel()
	kind := func(k volume.Kind, no bool) error {
		return fmt.Errorf("mount: %w", &volume.KindError{Kind: k, NoDriver: no})
	}
	for _, c := range []struct {
		err  error
		want tell.Code
	}{
		{kind(volume.NTFS, true), tell.NTFS}, {kind(volume.NTFS, false), tell.NTFS}, {kind(volume.ExFAT, true), tell.ExFAT},
		{kind(volume.VFAT, true), tell.Config}, {kind(volume.VFAT, false), tell.UnknownFS}, {kind(volume.Ext4, true), tell.UnknownFS},
		{kind(volume.BitLocker, false), tell.Locked}, {kind(volume.LUKS, false), tell.Encrypted}, {kind(volume.APFS, false), tell.Apple},
		{kind(volume.HFSPlus, false), tell.Apple}, {kind(volume.Unknown, false), tell.UnknownFS}, {kind(volume.Btrfs, false), tell.UnknownFS},
		{errors.Join(kind(volume.Unknown, false), volume.ErrGone), tell.Removed},
		{fmt.Errorf("x: %w: %w", volume.ErrGone, unix.EIO), tell.Removed}, {volume.ErrCorrupt, tell.CorruptFS}, {volume.ErrMedium, tell.StickErrors},
		{volume.ErrStuck, tell.StickErrors}, {volume.ErrInUse, tell.Busy}, {errNotLookedAt, tell.TooMuch},
		{coded(tell.DeviceFull), tell.DeviceFull}, {errors.New("x"), tell.Other},
	} {
		if got := codeOf(&fake{}, c.err); got != c.want {
			t.Errorf("%v: got %v, want %v", c.err, got, c.want)
		}
	}
	for _, e := range tell.Codes() {
		if weight(e.Code) < 1 || ending(e.Code) == tell.Nothing && weight(e.Code) >= weightUpToDate {
			t.Errorf("%v: weight %d, and it ends with %q", e.Code, weight(e.Code), ending(e.Code))
		}
	}
}

// Somebody's photographs are not written, and the light is given back.
func TestPhotographs(t *testing.T) {
	t.Parallel()
	s := newStick(t, map[string]string{"DCIM/1.jpg": "jpeg", "update/new.mender": "too deep"})
	before := s.bytes()
	r := newRig(t)
	waiting, err := r.store.Begin(report.Report{Serial: "SN-1", Result: "looking", Manifest: "abc"})
	must(t, err)
	r.fake.outcomes["abc"] = Outcome{State: tell.Updated}
	r.on = func(tell.Message) {}
	ends1(t, r.visit(s), tell.Nothing, tell.NoArtifact)
	same(t, "said", r.said.all(), []string{"looking", "nothing here for this device E28", "reset"})
	if !bytes.Equal(before, s.bytes()) {
		t.Error("written")
	}
	// and does not use up what is known meanwhile
	if open, err := r.store.Open(); err != nil || len(open) != 1 || open[0].Sequence != waiting.Sequence {
		t.Errorf("open: %v %v", brieflyOf(open), err)
	}
}

// Before the install the policy is asked, again and again if it says so.
func TestPolicy(t *testing.T) {
	t.Parallel()
	s := newStick(t, map[string]string{"new.mender": string(good(t, "new", "2"))})
	r := newRig(t)
	r.fake.may = func() (bool, error) {
		if r.fake.times("may install") < 3 {
			return true, errors.New("the bucket is up")
		}
		return false, nil
	}
	ends1(t, r.visit(s), tell.Updated, 0)
	same(t, "said", r.said.all()[:4], []string{"looking", "waiting for permission", "waiting for permission", "working, do not remove"})

	for n := range 3 { // boots with the stick in
		r = &rig{t: t, dir: r.dir, fake: &fake{may: func() (bool, error) { return false, coded(tell.Refused) }}, store: r.store}
		ends1(t, r.visit(s), tell.Failed, tell.Refused)
		if r.fake.was("install") {
			t.Error("installed all the same")
		}
		same(t, fmt.Sprint("reports after boot ", n), brieflyOf(s.reports()), []string{"1 new: updated and confirmed final", "2 new: failed E61 final"})
	}
}

// The stick may be taken while the policy wants to wait, and that is noticed.
func TestTakenWhileWaiting(t *testing.T) {
	t.Parallel()
	s := newStick(t, map[string]string{"new.mender": string(good(t, "new", "2"))})
	r := newRig(t)
	r.change = func(v *Visit) { v.Interval = time.Hour }
	r.fake.may = func() (bool, error) { return true, errors.New("the bucket is up") }
	r.on = func(m tell.Message) {
		if m.State == tell.Waiting {
			s.pull()
		}
	}
	ends1(t, r.visit(s), tell.Failed, tell.Removed)
	if r.fake.was("install") {
		t.Error("installed from a stick that is gone")
	}
}

// The stick goes, or cannot be read any more, in the middle: the stick is to
// blame, not the device, and the device's own fault stays its own.
func TestFaultsInTheMiddle(t *testing.T) {
	for _, c := range []struct {
		name  string
		fault func(s *stick)
		read  bool
		err   error // the device's
		code  tell.Code
	}{
		{"pulled", (*stick).pull, true, nil, tell.Removed},
		{"pulled, and not read any more", (*stick).pull, false, coded(tell.Migration), tell.Migration},
		{"worn out", (*stick).fails, true, nil, tell.StickErrors},
		{"the device's medium", func(*stick) {}, false, fmt.Errorf("%w: %w", coded(tell.DeviceMedium), unix.EIO), tell.DeviceMedium},
		{"installed meanwhile", func(*stick) {}, false, coded(0), 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newStick(t, map[string]string{"new.mender": string(good(t, "new", "2"))})
			r := newRig(t)
			r.fake.install = func(_ context.Context, src io.Reader, step func(int)) (Installed, error) {
				step(1)
				c.fault(s)
				if !c.read {
					return 0, c.err
				}
				dir := filepath.Join(r.dir, "mnt-"+s.name(), "0", "new.mender")
				if f, err := os.Open(dir); err == nil { // what the kernel has of it is not asked
					_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
					f.Close()
				}
				_, err := io.Copy(io.Discard, src)
				if err == nil {
					t.Error("all could be read")
				}
				return 0, fmt.Errorf("%w: %w", coded(tell.DeviceMedium), err)
			}
			res := r.visit(s)
			state := tell.Failed
			if c.code == 0 {
				state = tell.UpToDate
			}
			ends1(t, res, state, c.code)
			known, err := r.store.Open()
			if err != nil || len(known) > 0 {
				t.Errorf("open: %v %v", brieflyOf(known), err)
			}
			if c.code == tell.Removed {
				same(t, "reports", brieflyOf(r.stored()), []string{"1 new: failed E62 final"})
			}
		})
	}
}

// Pulled out before, or while it is looked at.
func TestPulledEarly(t *testing.T) {
	t.Parallel()
	s := newStick(t, map[string]string{"new.mender": string(good(t, "new", "2"))})
	s.pull()
	r := newRig(t)
	ends1(t, r.visit(s), tell.Nothing, tell.NoArtifact)

	s = newStick(t, map[string]string{"a.mender": string(good(t, "new", "2")), "b.mender": string(good(t, "newer", "3"))})
	r = newRig(t)
	r.fake.accept = func(*artifact.Header) error {
		s.pull()
		return nil
	}
	ends1(t, r.visit(s), tell.Failed, tell.Removed)
	if r.fake.was("install") {
		t.Error("installed from a stick that is gone")
	}
	if open, err := r.store.Open(); err != nil || len(open) > 0 {
		t.Errorf("open: %v %v", brieflyOf(open), err)
	}
}

// The context may end at any moment; then nothing stays mounted, and what was cut
// is not over.
func TestCancelled(t *testing.T) {
	stages := map[string]func(r *rig, v *Visit){
		"before": func(r *rig, _ *Visit) { r.cancel(errEnough) },
		"in turn": func(r *rig, v *Visit) {
			holdTurn(r.t, v.Turn)
			time.AfterFunc(300*time.Millisecond, func() { r.cancel(errEnough) })
		},
		"on trial": func(r *rig, _ *Visit) { r.fake.state.Moving, r.fake.state.OnTrial = true, true },
		"looking": func(r *rig, _ *Visit) {
			r.fake.accept = func(*artifact.Header) error { r.cancel(errEnough); return nil }
		},
		"policy": func(r *rig, _ *Visit) {
			r.fake.may = func() (bool, error) { r.cancel(errEnough); return true, errEnough }
		},
		"policy no": func(r *rig, _ *Visit) {
			r.fake.may = func() (bool, error) { r.cancel(errEnough); return false, coded(tell.Refused) }
		},
		"installing": func(r *rig, _ *Visit) {
			r.fake.install = func(ctx context.Context, _ io.Reader, step func(int)) (Installed, error) {
				step(1)
				r.cancel(errEnough)
				return 0, context.Cause(ctx)
			}
		},
		"reboot": func(r *rig, _ *Visit) {
			r.fake.left = Armed
			r.fake.mayBoot = func() (bool, error) { r.cancel(errEnough); return true, errEnough }
		},
		"arming": func(r *rig, _ *Visit) {
			r.fake.left = Held
			r.fake.arm = errEnough
			r.fake.mayBoot = func() (bool, error) { r.cancel(errEnough); return false, nil }
		},
	}
	for name, set := range stages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStick(t, map[string]string{"new.mender": string(good(t, "new", "2"))})
			r := newRig(t)
			r.change = func(v *Visit) { set(r, v) }
			r.on = func(m tell.Message) {
				if m.State == tell.Testing {
					r.cancel(errEnough)
				}
				if slices.Contains(ends, m.State) {
					t.Errorf("it ended with %q", m.State)
				}
			}
			if _, err := r.start(s)(); !errors.Is(err, errEnough) {
				t.Errorf("got %v, want the cause", err)
			}
			open, err := r.store.Open()
			must(t, err)
			var want []string
			switch name {
			case "installing":
				want = []string{"1 new: working, do not remove"}
			case "reboot":
				want = []string{"1 new: restarting"}
			case "arming":
				want = []string{"1 new: you may remove the stick"}
			}
			same(t, "open", brieflyOf(open), want)
		})
	}
}

func holdTurn(t *testing.T, path string) (yield func()) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	must(t, err)
	must(t, unix.Flock(int(f.Fd()), unix.LOCK_EX))
	t.Cleanup(func() { f.Close() })
	return func() { f.Close() }
}

// TestNoTurns: of two artifacts that cannot be compared, one of which is installed,
// the other is not installed: at the next boot it would be the turn of the first.
func TestNoTurns(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		version string // of the one that is not installed
		state   tell.State
	}{{"", tell.UpToDate}, {"2", tell.Updated}} {
		s := newStick(t, map[string]string{"a.mender": string(good(t, "installed", "")), "b.mender": string(good(t, "other", c.version))})
		r := newRig(t)
		r.fake.accept = func(h *artifact.Header) error {
			if h.Name == "installed" {
				return coded(0)
			}
			return nil
		}
		ends1(t, r.visit(s), c.state, 0)
	}
}
