package install

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/plimsoll-ota/plimsoll/artifact"
	"github.com/plimsoll-ota/plimsoll/bootloader"
	"github.com/plimsoll-ota/plimsoll/partition"
)

// A Drill is how the last drill with one version of the bootloader ended.
type Drill struct {
	Version string `json:"version"` // of the bootloader, as it tells the kernel
	Passed  bool   `json:"passed"`  // it came back by itself, from a system that was alive
	Reason  string `json:"reason"`  // for people
	Time    string `json:"time"`    // RFC 3339, UTC, as the device's clock had it
}

// drillBoots is how often a drill's target may start: the next start must be of
// the slot that it came from.
const drillBoots = 1

// maxDrills bounds what is remembered; the oldest is forgotten.
const maxDrills = 8

// unknownBootloader is the version of one that tells none.
const unknownBootloader = "unknown"

// Drill shows on a device that works that its bootloader comes back by itself:
// it arms the inactive slot for one boot. In that boot Resume gives no verdict;
// it records that it ran, and reboots. The bootloader must count, and return to
// the slot that runs now, where Resume notes how the drill ended. Neither what
// is installed nor what is known of the slots changes by it.
//
// The inactive slot must hold what was installed there, unchanged: it is read
// back and compared. Else ErrDrillImage, and src must be an artifact, which is
// installed there first, whatever its version; src may be nil. On nil a reboot
// is owed. It is refused while an update is in progress, as an update is while a
// drill is: ErrPending.
func (d *Device) Drill(ctx context.Context, src io.Reader) (Outcome, error) {
	s, err := d.begin()
	if err != nil {
		return Outcome{}, &Error{StepRead, "", err}
	}
	err = s.startDrill(ctx, src)
	if closed := s.end(); closed != nil && err == nil {
		s.report(Progress{Step: StepReboot, Note: closed.Error()})
	}
	if err != nil {
		return Outcome{Trial: s.state.Trial}, err
	}
	return Outcome{Event: "drill armed", Reboot: true, Trial: s.state.Trial}, nil
}

func (s *session) startDrill(ctx context.Context, src io.Reader) error {
	s.report(Progress{Step: StepRead})
	if d := Decide(s.situation()); d.Do == Arm {
		return &Error{StepRead, "", s.atRest(d)} // an update waits, and would be lost
	}
	if src != nil {
		_, err := s.install(ctx, src, Options{AllowDowngrade: true, drill: true})
		return err
	}
	t, err := s.drillRecorded(ctx)
	if err != nil {
		return &Error{StepRead, "", err}
	}
	return s.arm(t)
}

// drillRecorded makes the trial of what the inactive slot holds already.
func (s *session) drillRecorded(ctx context.Context) (*Trial, error) {
	if err := s.mayInstall(); err != nil {
		return nil, err
	}
	d, err := s.settle(ctx, func(d Decision) bool { return !bookkeeping(d) })
	if err != nil {
		return nil, err
	}
	if d.Do != Nothing {
		return nil, s.atRest(d)
	}
	if err := s.checkBoot(); err != nil {
		return nil, err
	}
	target := other(s.run)
	have := s.state.Slots[target]
	if err := s.sameAsRecorded(ctx, target, have); err != nil {
		return nil, err
	}
	if err := s.backup(s.state); err != nil {
		return nil, err
	}
	s.mark(s.run, StatusGood) // it runs
	s.state.Trial = &Trial{
		Source: s.run, Target: target, Artifact: orDrill(have.Artifact), SHA256: have.SHA256, Size: have.Size,
		Clears: &[]string{}, Drill: have.Status,
	}
	return s.state.Trial, nil
}

func orDrill(name string) string {
	if name == "" {
		return unknownBootloader
	}
	return name
}

// sameAsRecorded reads a slot back: it must hold what was installed there.
func (s *session) sameAsRecorded(ctx context.Context, slot string, have SlotState) error {
	sum, err := artifact.ParseSum(have.SHA256)
	switch {
	case have.Status != StatusGood && have.Status != StatusWritten:
		return fmt.Errorf("%w: nothing complete is recorded of slot %s", ErrDrillImage, slot)
	case err != nil || have.Size == 0:
		return fmt.Errorf("%w: slot %s is %s, and what its image was is not recorded", ErrDrillImage, slot, have.Status)
	}
	progress := func(n int64) { s.report(Progress{Step: StepVerify, Done: n, Total: have.Size}) }
	err = s.slot(slot).ReadBack(ctx, have.Size, sum, progress)
	if errors.Is(err, partition.ErrReadBack) || errors.Is(err, partition.ErrSize) {
		return fmt.Errorf("%w: slot %s was changed since %s was installed there, as by mounting it writable", ErrDrillImage, slot, orDrill(have.Artifact))
	}
	return err
}

// prove records that the target of a drill reached plimsoll in this boot. Where
// that cannot be written the drill shows nothing, and is called off.
func (s *session) prove() error {
	t := s.state.Trial
	t.Boots++
	t.Uptime = uptime()
	if err := s.enter(PhaseAlive); err != nil {
		s.verdict = Unhealthy
		s.report(Progress{Step: StepResume, Note: fmt.Sprintf("the drill is called off: %v", err)})
		return nil
	}
	s.noteTrial("alive", Decision{})
	return nil
}

// endDrill notes how a drill ended: for the caller to save with the record. One
// that somebody called off, or that was cut before it began, shows nothing.
func (s *session) endDrill(d Decision) {
	t := s.state.Trial
	s.mark(t.Target, t.Drill)
	if t.Phase != PhaseRollingBack {
		t.Why = d.Is
	}
	if !t.ended(d) {
		return
	}
	s.state.Drills = slices.DeleteFunc(s.state.Drills, func(o Drill) bool { return o.Version == s.BootloaderVersion() })
	s.state.Drills = append(s.state.Drills, Drill{
		Version: s.BootloaderVersion(), Passed: d.Passed, Reason: t.Why, Time: time.Now().UTC().Format(time.RFC3339),
	})
	if extra := len(s.state.Drills) - maxDrills; extra > 0 {
		s.state.Drills = s.state.Drills[extra:]
	}
}

// ended reports whether a drill came to an end that shows something.
func (t *Trial) ended(d Decision) bool {
	return d.Row != "C1" && d.Row != "D1" && t.Reason != "by hand"
}

// drillEvent is what the history calls an event of a drill.
func drillEvent(event string, d Decision) string {
	if event == "failed" && d.Passed {
		return "drill passed"
	}
	return "drill " + event
}

// drillEnded is the outcome of a Resume that closed a drill.
func (s *session) drillEnded(o Outcome) (Outcome, error) {
	t := s.state.Trial
	switch {
	case s.last.Passed:
		o.Event = "drill passed"
		return o, nil
	case t.ended(s.last):
		return o, fmt.Errorf("%w: %s", ErrDrillFailed, t.Why)
	}
	return o, fmt.Errorf("%w: %s", ErrFellBack, t.Why)
}

// drill returns the last drill with a version of the bootloader, or nil.
func (s *State) drill(version string) *Drill {
	for _, d := range s.Drills {
		if d.Version == version {
			return &d
		}
	}
	return nil
}

// drilled is asked before an installation that nobody watches: whether this
// bootloader was seen to come back. Without that such an installation is
// refused on a board whose bootloader counts in a register, and told of on any
// other.
func (s *session) drilled() error {
	version := s.BootloaderVersion()
	if d := s.state.drill(version); d != nil && d.Passed {
		return nil
	}
	if s.env.Counter == bootloader.CounterRegister {
		return fmt.Errorf("%w (%s), and its register counts every boot", ErrNoDrill, version)
	}
	s.report(Progress{Step: StepRead, Note: fmt.Sprintf("%v (%s); see: plimsoll doctor --drill", ErrNoDrill, version)})
	return nil
}

// BootloaderVersion is what the bootloader told the kernel of itself, or
// "unknown".
func (d *Device) BootloaderVersion() string {
	proc := d.Host.Proc
	if proc == "" {
		proc = "/proc"
	}
	b, err := os.ReadFile(filepath.Join(proc, "device-tree/chosen/u-boot,version"))
	version := strings.Trim(string(b), " \n\x00")
	if err != nil || version == "" {
		return unknownBootloader
	}
	return version
}

// drillID begins the id of a drill's trial, so that it is never kept, even
// where its record is lost.
const drillID = "drill"

func isDrill(id string) bool { return strings.HasPrefix(id, drillID) }
