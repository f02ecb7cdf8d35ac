package main

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plimsoll-ota/plimsoll/artifact"
	"github.com/plimsoll-ota/plimsoll/bootloader"
	"github.com/plimsoll-ota/plimsoll/install"
	"github.com/plimsoll-ota/plimsoll/install/module"
	"github.com/plimsoll-ota/plimsoll/partition"
	"github.com/plimsoll-ota/plimsoll/signing"
	"github.com/plimsoll-ota/plimsoll/udev"
	"github.com/plimsoll-ota/plimsoll/udev/report"
	"github.com/plimsoll-ota/plimsoll/udev/scan"
	"github.com/plimsoll-ota/plimsoll/udev/tell"
)

// A stickDevice is this device as a stick sees it.
type stickDevice struct {
	*install.Device
	config *config
	hold   bool // what was installed is armed when the stick is pulled out
}

// options are those of an update that nobody watches.
func (d *stickDevice) options() install.Options {
	return install.Options{Unattended: true, Unversioned: d.config.Stick.Unversioned == "allow"}
}

func (d *stickDevice) Accept(h *artifact.Header, manifest artifact.Sum) error {
	facts, err := d.Facts()
	if err != nil {
		return err
	}
	return facts.Accept(h, manifest, d.options())
}

func (*stickDevice) Current(err error) bool { return errors.Is(err, install.ErrCurrent) }

func (d *stickDevice) Compare(a, b *artifact.Header) (int, bool) {
	return install.CompareVersions(a, b)
}

// Owns reports whether a disk has a slot, the root file system or the state
// directory on it.
func (d *stickDevice) Owns(disk string) (bool, error) {
	dev := filepath.Join("/dev", disk)
	for _, path := range []string{"/", d.StateDir, d.Slots.A.Path, d.Slots.B.Path} {
		if on, err := d.Host.Backs(dev, path); on || err != nil {
			return on, err
		}
	}
	return false, nil
}

func (d *stickDevice) Standing() (udev.Standing, error) {
	r, err := d.Status()
	if err != nil {
		return udev.Standing{}, err
	}
	s := udev.Standing{Artifact: report.Artifact{Name: r.Artifact, Version: scan.VersionOf(&artifact.Header{Provides: r.Provides})}}
	switch r.Do {
	case install.Nothing, install.HandsOff, install.Attention:
	case install.Wait:
		s.Armed = manifestOf(r.Trial)
	case install.Arm, install.RunInstall: // of a module, the latter
		s.Held = manifestOf(r.Trial)
	case install.Abandon:
		// An installation that was cut: installing again is what brings it to its end.
	case install.Judge, install.Adopt, install.Commit, install.Prove, install.Restart:
		s.Moving, s.OnTrial = true, true
	default:
		s.Moving = true
	}
	return s, nil
}

func manifestOf(t *install.Trial) string {
	if t == nil {
		return ""
	}
	return t.Manifest
}

// Outcome looks in the record, which is of the last update.
func (d *stickDevice) Outcome(manifest string) udev.Outcome {
	r, err := d.Status()
	if err != nil || r.Trial == nil || r.Trial.Manifest != manifest {
		return udev.Outcome{}
	}
	t := r.Trial
	switch {
	case t.Phase == install.PhaseCommitted:
		return udev.Outcome{State: tell.Updated}
	case t.Phase != install.PhaseFailed, cutReasons[t.Reason]:
		return udev.Outcome{} // not over, or nothing was tried: the next visit goes on with it
	}
	return udev.Outcome{State: tell.WentBack, Code: trialCode(t), Detail: t.Why}
}

// cutReasons are those of attempts that ended before there was anything to try.
var cutReasons = map[string]bool{
	"B1": true, "M1": true, install.StepWrite.String(): true, install.StepVerify.String(): true, install.StepRecord.String(): true,
}

// trialCodes are the codes of the rows in which a trial ends, see docs/safety.md.
var trialCodes = map[string]tell.Code{
	"by hand": tell.TakenBack, install.ReasonDeadline: tell.Deadline,
	"D4": tell.Unhealthy, "D4'": tell.Unhealthy, "D7": tell.Unhealthy, "I2": tell.StateDir, "M4": tell.Unhealthy,
	"D5": tell.NeverStarted, "F3": tell.NeverStarted, "B2": tell.BootEnv, "A7": tell.BootEnv,
	"D3a": tell.BootIgnored, "D3b": tell.BootIgnored, "D4''": tell.BootIgnored, "G3": tell.BootIgnored,
	"C2": tell.Migration, "F0": tell.Migration, "M3": tell.Migration, "M5": tell.Migration,
	"arm": tell.BootEnv, "read back": tell.DeviceMedium,
}

// trialCode is why an update did not stay.
func trialCode(t *install.Trial) tell.Code {
	if code, ok := trialCodes[t.Reason]; ok {
		return code
	}
	return tell.Other
}

func (d *stickDevice) Install(ctx context.Context, src io.Reader, step func(percent int)) (udev.Installed, error) {
	d.Report = func(p install.Progress) {
		if p.Step <= install.StepRead { // nothing is changed yet
			return
		}
		percent := 0
		if p.Total > 0 {
			percent = int(p.Done * 50 / p.Total) // it is written, and then it is read back
			if p.Step == install.StepVerify {
				percent += 50
			}
		}
		step(percent)
	}
	d.StopBefore = nil
	if d.hold {
		d.StopBefore = []install.Stop{install.StopInstall}
	}
	done, err := d.install(ctx, src)
	d.StopBefore = nil
	switch {
	case err != nil:
		return 0, err
	case done.Event == "stopped":
		return udev.Held, nil
	case done.Event == "installed" && !done.Reboot, d.Bench && done.Event != "committed":
		// A module has no trial, and a bench counts as booted: it is judged here.
		if _, err := d.Resume(ctx); err != nil {
			return 0, err
		}
	case done.Event != "committed":
		return udev.Armed, nil
	}
	return udev.Committed, nil
}

// install is refused before a byte of the source is read, if it is refused for
// the lock.
func (d *stickDevice) install(ctx context.Context, src io.Reader) (done install.Outcome, err error) {
	err = alone(ctx, func() error {
		done, err = d.Device.Install(ctx, src, d.options())
		return err
	})
	return done, err
}

// alone waits for a resume that is at work, at boot: two minutes at most.
func alone(ctx context.Context, do func() error) error {
	for range 240 {
		if err := do(); !errors.Is(err, install.ErrLocked) {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(500 * time.Millisecond):
		}
	}
	return install.ErrLocked
}

// Arm may find that a resume has done it meanwhile.
func (d *stickDevice) Arm(ctx context.Context) error {
	err := alone(ctx, func() error {
		_, err := d.Resume(ctx)
		return err
	})
	if ctx.Err() == nil && (errors.Is(err, install.ErrPending) || errors.Is(err, install.ErrNothing)) {
		return nil
	}
	return err
}

func (d *stickDevice) MayInstall(ctx context.Context, c *scan.Candidate) (later bool, err error) {
	return ask(ctx, d.config.Policy.BeforeInstall, d.config.Policy, "install", c.Header.Name, c.Version())
}

func (d *stickDevice) MayReboot(ctx context.Context, artifact string) (later bool, err error) {
	return ask(ctx, d.config.Policy.BeforeReboot, d.config.Policy, "reboot", artifact, "")
}

// ask asks one of the policy's programs.
func ask(ctx context.Context, command []string, p policyConfig, what, artifact, version string) (later bool, err error) {
	gate := install.Gate{Command: command, Timeout: time.Duration(p.Timeout)}
	err = gate.Ask(ctx, "PLIMSOLL_ASK="+what, "PLIMSOLL_ARTIFACT="+artifact, "PLIMSOLL_VERSION="+version)
	return errors.Is(err, install.ErrLater), err
}

func (d *stickDevice) Reboot() error {
	if d.Device.Reboot == nil {
		return errors.New("a bench does not restart")
	}
	return d.Device.Reboot()
}

// stickCodes are the codes of a device's errors, the first match counting.
var stickCodes = []struct {
	err  error
	code tell.Code
}{
	{install.ErrCurrent, 0},
	{install.ErrDeviceType, tell.WrongType},
	{install.ErrDepends, tell.Depends},
	{install.ErrUnversioned, tell.Unversioned},
	{install.ErrFloor, tell.BelowFloor},
	{install.ErrDowngrade, tell.Older},
	{install.ErrFailedBefore, tell.FailedBefore},
	{install.ErrForbidden, tell.Refused},
	{install.ErrPending, tell.Busy},
	{install.ErrForeign, tell.Busy},
	{install.ErrLocked, tell.Busy},
	{install.ErrFellBack, tell.Unhealthy},
	{install.ErrNoDrill, tell.BootEnv},
	{errConfig, tell.Config},
	{signing.ErrNoKeys, tell.Config},
	{module.ErrUnsupported, tell.Unsupported},
	{module.ErrSpace, tell.DeviceFull},
	{partition.ErrSize, tell.TooLarge},
	{partition.ErrInUse, tell.Busy},
	{partition.ErrReadBack, tell.DeviceMedium},
	{bootloader.ErrNoCopy, tell.BootEnv},
	{bootloader.ErrReadBack, tell.BootEnv},
	{bootloader.ErrCannotSave, tell.BootEnv},
	{bootloader.ErrSingleCopy, tell.BootEnv},
	{bootloader.ErrNoLimit, tell.BootEnv},
	{bootloader.ErrTooLarge, tell.BootEnv},
	{unix.ENOSPC, tell.DeviceFull},
	{install.ErrState, tell.StateDir},
	{install.ErrAttention, tell.BootEnv},
	{context.Canceled, tell.Interrupted},
}

func (d *stickDevice) Code(err error) tell.Code { return stickCode(err) }

func stickCode(err error) tell.Code {
	for _, c := range stickCodes {
		if errors.Is(err, c.err) {
			return c.code
		}
	}
	var e *install.Error
	if !errors.As(err, &e) {
		return tell.Other
	}
	switch e.Step {
	case install.StepWrite, install.StepVerify:
		return tell.DeviceMedium
	case install.StepRecord:
		return tell.Migration
	case install.StepArm:
		return tell.BootEnv
	}
	return tell.Other
}

// log is the history of the device, as an office may want it.
func (d *stickDevice) log() []byte {
	events, err := install.History(d.StateDir)
	if err != nil {
		return []byte(err.Error() + "\n")
	}
	var b strings.Builder
	for _, e := range slices.Backward(events) { // the last ones are what fits
		line := historyLine(e) + "\n"
		if b.Len()+len(line) > maxLog {
			break
		}
		b.WriteString(line)
	}
	return []byte(b.String())
}

// maxLog bounds a log.
const maxLog = 60 << 10
