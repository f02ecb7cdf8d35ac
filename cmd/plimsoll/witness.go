package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plimsoll-ota/plimsoll/install"
	"github.com/plimsoll-ota/plimsoll/udev"
	"github.com/plimsoll-ota/plimsoll/udev/report"
	"github.com/plimsoll-ota/plimsoll/udev/tell"
)

// A witness tells whoever stands before the device how a trial goes: from early
// in its first boot, with a stick or without. A stick that is in has a visit of
// its own, which has the last word, since it has a report to write first.
type witness struct {
	app    *app
	config *config
	device *install.Device
	told   bool
}

func (a *app) witness(c *config, d *install.Device) *witness {
	return &witness{app: a, config: c, device: d}
}

// watched reports whether there is anybody to be told: a bench has no light, and
// its console is somebody's desk.
func (w *witness) watched() bool { return w.config.Stick.Enable && !w.device.Bench }

// before tells that a trial is on.
func (w *witness) before() {
	if !w.watched() {
		return
	}
	s, err := (&stickDevice{Device: w.device, config: w.config}).Standing()
	if err != nil || !s.OnTrial {
		return
	}
	w.told = true
	w.tell(tell.Message{State: tell.Testing})
}

// after tells how it ended. What a stick brought and was armed at this boot, the
// device restarts into: the power went when the stick was to be pulled out.
func (w *witness) after(ctx context.Context, o install.Outcome, err error) error {
	if !w.watched() || o.Trial == nil || o.Trial.Drill != "" {
		return nil
	}
	switch fell := errors.Is(err, install.ErrFellBack); {
	case err == nil && o.Event == "armed" && w.ofStick(o.Trial):
		return w.restart(ctx, o.Trial)
	case fell && o.Reboot, w.visited():
		return nil
	case fell:
		w.tell(tell.Message{State: tell.WentBack, Code: trialCode(o.Trial), Artifact: o.Trial.Artifact, Detail: o.Trial.Why})
	case err == nil && o.Event == "committed" && w.told:
		w.tell(tell.Message{State: tell.Updated, Artifact: o.Trial.Artifact})
	}
	return nil
}

func (w *witness) tell(m tell.Message) {
	all := w.app.tellers(w.config, tell.Console(w.config.Stick.Console...))
	all.Tell(m)
	if err := all.Close(); err != nil {
		w.app.out.say("%v", err)
	}
}

// visited reports whether a stick is in, and its visit at work.
func (w *witness) visited() bool {
	f, err := os.Open(filepath.Join(w.app.env.root, runDir, "stick.lock"))
	if err != nil {
		return false
	}
	defer f.Close()
	return errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB), unix.EWOULDBLOCK)
}

// ofStick reports whether a stick brought an update.
func (w *witness) ofStick(t *install.Trial) bool {
	if w.config.Stick.Reboot == rebootNever {
		return false
	}
	open, err := (&report.Store{Dir: filepath.Join(w.config.StateDir, "reports")}).Open()
	if err != nil {
		w.app.out.say("%v", err)
	}
	for _, r := range open {
		if r.Manifest == t.Manifest {
			return true
		}
	}
	return false
}

// restart restarts into what is armed, as soon as the policy lets.
func (w *witness) restart(ctx context.Context, t *install.Trial) error {
	d := &stickDevice{Device: w.device, config: w.config}
	ask := func() (bool, error) { return d.MayReboot(ctx, t.Artifact) }
	err := udev.Permitted(ctx, time.Duration(w.config.Policy.Interval), ask, func(why error) {
		w.tell(tell.Message{State: tell.Waiting, Artifact: t.Artifact, Detail: why.Error()})
	})
	if err != nil {
		return err
	}
	w.tell(tell.Message{State: tell.Restarting, Artifact: t.Artifact})
	return d.Reboot()
}
