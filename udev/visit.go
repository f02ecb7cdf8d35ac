package udev

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/plimsoll-ota/plimsoll/artifact"
	"github.com/plimsoll-ota/plimsoll/udev/report"
	"github.com/plimsoll-ota/plimsoll/udev/tell"
	"github.com/plimsoll-ota/plimsoll/udev/volume"
)

// ErrOwnDisk is a disk that is no stick: the system lives on it.
var ErrOwnDisk = errors.New("the system lives on this disk")

// A Visit is one stick's, from when it is plugged in to when it is pulled out.
type Visit struct {
	Disk   string            // the kernel's name of it, such as "sda"
	Dir    string            // a folder of this visit's, in which the stick is mounted
	Turn   string            // a file that is locked by the visit whose turn it is
	Memory string            // a file in which the last visit's result is kept
	Device Device            //
	Trust  artifact.Verifier // whose artifacts are taken
	Serial string            // what the device is called in reports and in only-serials

	DeviceType string // in reports
	Plimsoll   string // its version, in reports

	WhenUnplugged bool          // the device is armed, and restarts, when the stick is pulled out
	NeverReboot   bool          // somebody else restarts it
	Interval      time.Duration // how long to wait before the policy is asked again

	Tell  tell.Teller // light, screens, hook
	Queue tell.Teller // who is told by a visit whose turn it is not: not the light

	Store *report.Store
	Write report.Options
	Note  func(text string) // is told what went wrong beside the update; it is for the log

	lookFor time.Duration // as lookLimit, if it is not 0
}

// Result is what a visit has come to.
type Result struct {
	tell.Message
	Manifest string // of the artifact that it is about; "" for none
	Reboot   bool   // a reboot is owed, and not by the visit
}

// nothing is the result of a visit without a stick, or of one that is not ours.
var nothing = Result{Message: tell.Message{State: tell.Nothing, Code: tell.NoArtifact}}

// Run is the whole visit. It returns when the stick is pulled out, or when there
// is no reason to wait for that. The error is ErrOwnDisk, volume.ErrName, one of
// reading sysfs, or the context's cause: all else is a Result.
func (v *Visit) Run(ctx context.Context) (Result, error) {
	for {
		if ctx.Err() != nil {
			return Result{}, context.Cause(ctx)
		}
		stick, err := volume.Find("", v.Disk)
		if errors.Is(err, volume.ErrGone) {
			return nothing, nil
		}
		if err != nil {
			return Result{}, err
		}
		own, err := v.Device.Owns(v.Disk)
		if own {
			return Result{}, fmt.Errorf("%s: %w", v.Disk, ErrOwnDisk)
		}
		if err != nil { // it may be its own: nothing of it is touched
			r := v.failed(err)
			v.tell(r)
			return v.shown(ctx, stick, r), nil
		}
		r, err := v.visit(ctx, stick)
		if err != nil || !stick.Gone() || volume.Gone(v.Disk) {
			return r, err
		}
		// Another stick has its name already; its event found this visit at work.
	}
}

// visit is one stick's.
func (v *Visit) visit(ctx context.Context, stick volume.Stick) (Result, error) {
	if stick.Size == 0 { // a reader without a card
		return nothing, nil
	}
	yield, err := v.turn(ctx, stick)
	switch {
	case err == nil:
	case errors.Is(err, volume.ErrGone):
		return nothing, nil
	case ctx.Err() != nil:
		return Result{}, context.Cause(ctx)
	default:
		r := v.failed(err)
		v.tell(r)
		return v.shown(ctx, stick, r), nil
	}
	r, stay, err := v.work(ctx, stick)
	yield()
	if err != nil {
		return r, err
	}
	if !stay {
		v.reset()
		return r, nil
	}
	if r, err = v.restart(ctx, stick, r); err != nil {
		return r, err
	}
	return v.shown(ctx, stick, r), nil
}

// shown leaves the result to be seen for as long as the stick is in.
func (v *Visit) shown(ctx context.Context, stick volume.Stick, r Result) Result {
	if stick.WaitGone(ctx) == nil {
		v.reset()
	}
	return r
}

// work is what is done while the stick must stay in. stay is false if it has
// nothing to do with plimsoll.
func (v *Visit) work(ctx context.Context, stick volume.Stick) (r Result, stay bool, err error) {
	v.tell(Result{Message: tell.Message{State: tell.Looking}})
	if err := v.settle(ctx); err != nil {
		return r, false, err
	}
	if stick.Gone() { // while the update was judged that it had brought
		return v.missed(), true, nil
	}
	m, err := mount(ctx, stick, v.Dir)
	if err != nil {
		if ctx.Err() != nil {
			return r, false, context.Cause(ctx)
		}
		return v.failed(err), true, nil
	}
	if m.elses() {
		v.putAway(m)
		v.tell(nothing)
		return nothing, false, nil
	}
	r, err = v.update(ctx, m, v.outcomes())
	if err == nil {
		v.deliver(m)
	}
	if !v.putAway(m) && r.Code == 0 {
		r.Detail = "the stick was not put away in order"
	}
	return r, true, err
}

// missed is the result of a visit whose stick was pulled out before it was looked
// at: the verdict on what it had brought, if there is one.
func (v *Visit) missed() Result {
	known := v.outcomes()
	if len(known) == 0 {
		return v.failed(volume.ErrGone)
	}
	last := known[len(known)-1]
	r := resultOf(last)
	v.remember(visited{last.Stick, r})
	return r
}

// putAway unmounts a stick. Of one that is gone there is nothing to be said.
func (v *Visit) putAway(m *media) (ok bool) {
	err := m.close()
	if err == nil || errors.Is(err, volume.ErrGone) {
		return true
	}
	v.note("the stick was not put away: %v", err)
	return false
}

// restart does what is left to do when the stick is free, and tells the result.
func (v *Visit) restart(ctx context.Context, stick volume.Stick, r Result) (Result, error) {
	s, err := v.Device.Standing()
	switch {
	case err != nil && (r.State == tell.Restarting || r.State == tell.Remove):
		r = v.ended(r, err)
		r.Reboot = true
		v.tell(r)
		return r, nil
	case err != nil:
		v.note("%v", err)
		v.tell(r)
		return r, nil
	case !s.owes(r.Manifest):
		v.tell(r)
		return r, nil
	case v.NeverReboot:
		r.State, r.Reboot, r.Detail = tell.Remove, true, "restart the device to try the new version"
		v.tell(r)
		return r, nil
	case v.WhenUnplugged:
		r.State = tell.Remove
		v.tell(r)
		if err := stick.WaitGone(ctx); err != nil {
			return r, err
		}
	}
	return v.reboot(ctx, r, s.Held == r.Manifest)
}

// reboot arms what is held, and restarts the device as soon as its policy lets.
func (v *Visit) reboot(ctx context.Context, r Result, held bool) (Result, error) {
	ask := func() (bool, error) { return v.Device.MayReboot(ctx, r.Artifact) }
	if err := v.permitted(ctx, nil, r, ask); err != nil {
		if ctx.Err() != nil {
			return r, context.Cause(ctx)
		}
		r.Reboot, r.Detail = true, err.Error()
		r.State = tell.Remove
		v.tell(r)
		return r, nil
	}
	if held {
		switch over, err := v.arm(ctx, &r); {
		case ctx.Err() != nil:
			return r, context.Cause(ctx)
		case err != nil:
			r = v.ended(r, err)
			v.tell(r)
			return r, nil
		case over:
			v.tell(r)
			return r, nil
		}
	}
	r.State, r.Detail = tell.Restarting, ""
	v.tell(r)
	err := v.Device.Reboot()
	if ctx.Err() != nil { // it is on its way, and has stopped this process
		return r, nil
	}
	r.Message = tell.Message{State: tell.Failed, Code: tell.Other, Artifact: r.Artifact, Detail: "the device does not restart"}
	if err != nil {
		r.Detail += ": " + err.Error()
	}
	r.Reboot = true
	v.tell(r)
	return r, nil
}

// arm goes on with what is held. over is true if that needs no reboot: the
// payload of a module may be judged at once.
func (v *Visit) arm(ctx context.Context, r *Result) (over bool, err error) {
	if err := v.Device.Arm(ctx); err != nil {
		return false, err
	}
	s, err := v.Device.Standing()
	if err != nil || s.owes(r.Manifest) {
		return false, err
	}
	o := v.Device.Outcome(r.Manifest)
	if o.State == "" {
		return false, nil
	}
	r.State, r.Code, r.Detail = o.State, o.Code, o.Detail
	return true, nil
}

// permitted asks the policy until it has an answer, or until the stick is pulled
// out, unless that is nil: volume.ErrGone.
func (v *Visit) permitted(ctx context.Context, stick *volume.Stick, r Result, ask func() (later bool, err error)) error {
	return permitted(ctx, stick, v.Interval, ask, func(why error) {
		r.State, r.Detail = tell.Waiting, why.Error()
		v.tell(r)
	})
}

// Permitted asks a policy, again after each interval, until it does not ask to
// wait; waiting is told why it does. The error is the policy's, or the context's
// cause.
func Permitted(ctx context.Context, interval time.Duration, ask func() (later bool, err error), waiting func(why error)) error {
	return permitted(ctx, nil, interval, ask, waiting)
}

func permitted(ctx context.Context, stick *volume.Stick, interval time.Duration, ask func() (later bool, err error), waiting func(why error)) error {
	for {
		later, err := ask()
		if err == nil || !later {
			return err
		}
		waiting(err)
		if err := pause(ctx, stick, interval); err != nil {
			return err
		}
	}
}

// pause waits, but not for a stick that is pulled out.
func pause(ctx context.Context, stick *volume.Stick, long time.Duration) error {
	wait, cancel := context.WithTimeout(ctx, long)
	defer cancel()
	if stick == nil {
		<-wait.Done()
	} else if stick.WaitGone(wait) == nil {
		return volume.ErrGone
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// failed is the result of what the stick did.
func (v *Visit) failed(err error) Result {
	code := codeOf(v.Device, err)
	return Result{Message: tell.Message{State: ending(code), Code: code, Detail: err.Error()}}
}

// ended is the result of an attempt that did not come through.
func (v *Visit) ended(r Result, err error) Result {
	r.Code = codeOf(v.Device, err)
	r.State, r.Detail, r.Percent = ending(r.Code), err.Error(), 0
	return r
}

func (v *Visit) tell(r Result) { v.Tell.Tell(r.Message) }

// reset gives the light back.
func (v *Visit) reset() {
	if t, ok := v.Tell.(interface{ Reset() }); ok {
		t.Reset()
	}
}

func (v *Visit) note(format string, args ...any) { v.Note(fmt.Sprintf(format, args...)) }
