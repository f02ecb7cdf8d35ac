package install

import (
	"errors"
	"fmt"
)

// What a caller may want to know of a refusal. Everything else is text.
var (
	ErrPending      = errors.New("an update is on trial or waits for its reboot")
	ErrForeign      = errors.New("another client's update is in progress")
	ErrAttention    = errors.New("the device needs attention")
	ErrNothing      = errors.New("no update in progress")
	ErrNotOnTrial   = errors.New("the update was not booted yet")
	ErrFellBack     = errors.New("the update did not stay")
	ErrCut          = errors.New("the installation was cut before it was complete")
	ErrNotGood      = errors.New("the other slot does not hold a complete system")
	ErrDeviceType   = errors.New("the artifact is not for this device")
	ErrDepends      = errors.New("the artifact depends on something that is not there")
	ErrDowngrade    = errors.New("the artifact is older than what is installed")
	ErrFloor        = errors.New("the artifact is below the floor")
	ErrUnversioned  = errors.New("the artifact cannot be told from an older one")
	ErrCurrent      = errors.New("the artifact is installed already")
	ErrFailedBefore = errors.New("the artifact failed on this device before")
	ErrDrill        = fmt.Errorf("a drill is under way: %w", ErrPending) // an ErrPending, too
	ErrDrillImage   = errors.New("the other slot holds nothing that a drill could start")
	ErrDrillFailed  = errors.New("the drill failed")
	ErrNoDrill      = errors.New("no drill has passed with this bootloader")
	ErrIntact       = errors.New("the boot environment is not damaged")
	ErrInconsistent = errors.New("the update failed and could not be taken back")
	ErrLocked       = errors.New("another plimsoll is at work on this device")
)

// A Step is one of the seven of an update, in their order.
type Step int

const (
	StepRead   Step = iota + 1 // artifact and device are checked; nothing is touched
	StepWrite                  // the payload goes to the inactive slot
	StepVerify                 // the slot is read back and compared
	StepRecord                 // the intent is recorded
	StepArm                    // the boot environment is written
	StepReboot                 // the device reboots
	StepResume                 // the trial is judged
)

func (s Step) String() string {
	switch s {
	case StepRead:
		return "check"
	case StepWrite:
		return "write"
	case StepVerify:
		return "verify"
	case StepRecord:
		return "record"
	case StepArm:
		return "arm"
	case StepReboot:
		return "reboot"
	case StepResume:
		return "resume"
	}
	return fmt.Sprintf("step %d", int(s))
}

// An Error is an installation that ended in Step. Before StepArm the device
// boots as it did before; in StepRead it is untouched.
type Error struct {
	Step     Step
	Artifact string // artifact_name, as soon as it is known and trusted
	Err      error
}

func (e *Error) Error() string {
	if e.Artifact == "" {
		return fmt.Sprintf("install: %v", e.Err)
	}
	return fmt.Sprintf("install %s: %v", e.Artifact, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }
