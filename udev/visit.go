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
}

// Result is what a visit has come to.
type Result struct {
	tell.Message
	Manifest string // of the artifact that it is about; "" for none
	Reboot   bool   // a reboot is owed, and not by the visit
}

// Run is the whole visit. It returns when the stick is pulled out, or when there
// is no reason to wait for that. The error is ErrOwnDisk, volume.ErrName, or the
// context's cause: all else is a Result.
func (v *Visit) Run(ctx context.Context) (Result, error) {
	for {
		stick, err := volume.Find("", v.Disk)
		if errors.Is(err, volume.ErrGone) {
			return Result{Message: tell.Message{State: tell.Nothing, Code: tell.NoArtifact}}, nil
		}
		if err != nil {
			return Result{}, err
		}
		own, err := v.Device.Owns(v.Disk)
		if err != nil {
			return Result{}, err
		}
		if own {
			return Result{}, fmt.Errorf("%s: %w", v.Disk, ErrOwnDisk)
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
		return Result{Message: tell.Message{State: tell.Nothing, Code: tell.NoArtifact}}, nil
	}
	yield, err := v.turn(ctx, stick)
	if err != nil {
		return Result{}, err
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
	// The result stays to be seen for as long as the stick is in.
	if err := stick.WaitGone(ctx); err != nil {
		return r, nil
	}
	v.reset()
	return r, nil
}

// work is what is done while the stick must stay in. stay is false if it has
// nothing to do with plimsoll.
func (v *Visit) work(ctx context.Context, stick volume.Stick) (r Result, stay bool, err error) {
	v.tell(Result{Message: tell.Message{State: tell.Looking}})
	if err := v.settle(ctx); err != nil {
		return r, false, err
	}
	earlier := v.outcomes()
	m, err := mount(stick, v.Dir)
	if err != nil {
		return v.failed(err), true, nil
	}
	if len(m.mounted) > 0 && !m.ours() {
		err := m.close()
		return Result{Message: tell.Message{State: tell.Nothing, Code: tell.NoArtifact}}, false, err
	}
	r, err = v.update(ctx, m, earlier)
	if err == nil {
		v.deliver(m)
	}
	if closed := m.close(); closed != nil && !errors.Is(closed, volume.ErrGone) {
		v.note("the stick was not put away: %v", closed)
		if r.Code == 0 {
			r.Detail = "the stick was not put away in order"
		}
	}
	return r, true, err
}

// restart does what is left to do when the stick is free, and tells the result.
func (v *Visit) restart(ctx context.Context, stick volume.Stick, r Result) (Result, error) {
	standing, err := v.Device.Standing()
	if err != nil {
		v.note("%v", err)
	}
	switch {
	case r.Manifest == "" || standing.Armed != r.Manifest && standing.Held != r.Manifest:
		v.tell(r) // nothing is owed
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
	return v.reboot(ctx, r, standing.Held == r.Manifest)
}

// reboot arms what is held, and restarts the device as soon as its policy lets.
func (v *Visit) reboot(ctx context.Context, r Result, held bool) (Result, error) {
	ask := func() (bool, error) { return v.Device.MayReboot(ctx, r.Artifact) }
	if err := v.permitted(ctx, r, ask); err != nil {
		if ctx.Err() != nil {
			return r, context.Cause(ctx)
		}
		r.Reboot, r.Detail = true, err.Error()
		r.State = tell.Remove
		v.tell(r)
		return r, nil
	}
	if held {
		if err := v.Device.Arm(ctx); err != nil {
			r = v.ended(r, err)
			v.tell(r)
			return r, nil
		}
	}
	r.State = tell.Restarting
	v.tell(r)
	err := v.Device.Reboot()
	if ctx.Err() != nil { // it is on its way, and has stopped this process
		return r, nil
	}
	r.Message = tell.Message{State: tell.Failed, Code: tell.Other, Artifact: r.Artifact, Detail: fmt.Sprintf("the device does not restart: %v", err)}
	r.Reboot = true
	v.tell(r)
	return r, nil
}

// permitted asks the policy until it has an answer.
func (v *Visit) permitted(ctx context.Context, r Result, ask func() (later bool, err error)) error {
	for {
		later, err := ask()
		if err == nil || !later {
			return err
		}
		r.State, r.Detail = tell.Waiting, err.Error()
		v.tell(r)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(v.Interval):
		}
	}
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
