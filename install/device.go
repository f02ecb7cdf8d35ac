package install

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/plimsoll-ota/plimsoll/artifact"
	"github.com/plimsoll-ota/plimsoll/bootloader"
	"github.com/plimsoll-ota/plimsoll/install/script"
	"github.com/plimsoll-ota/plimsoll/partition"
)

// A Bootloader is what a device needs of its bootloader. bootloader.UBoot is
// one, and says what each method promises.
type Bootloader interface {
	State() (bootloader.State, error)
	Check() error
	Try(bootloader.Trial) error
	Commit(part int, floor string) error
	Rollback(part int) error
	Forget() error
	Raw() ([]byte, error)
	Restore(raw []byte, part int) error
	Renew() error
	Locations() []bootloader.Location
}

// A Device is what plimsoll updates. Its methods may be called by several
// processes at once: one works, and the others are told ErrLocked.
type Device struct {
	Type       string            // device_type
	Slots      partition.Pair    // where images live
	Host       partition.Host    // where the kernel's view is read
	Boot       Bootloader        // what decides which slot boots
	Trust      artifact.Verifier // whose artifacts are installed
	StateDir   string            // on neither slot, writable
	TrialBoots int               // boots that a trial may take: at least 1

	// Bench believes mender_boot_part about the running slot, for a device
	// made of files: nothing reboots, and every boot is the same one.
	Bench bool

	// RunDir is a folder that a boot empties, in which Resume leaves word that
	// it ran. Empty: it leaves none.
	RunDir string

	// Origin is asked what is installed while plimsoll has no record. Nil: nobody
	// knows. With an error, what it returns is taken all the same.
	Origin func() (Origin, error)

	// Report is told of progress, and may be nil.
	Report func(Progress)

	// Observe says what works, in a form of its own, before the arm; Health says
	// whether the system that is on trial may be kept, and is given what Observe
	// said then. Cancelled, it gives no verdict. A nil one finds all healthy.
	Observe func() json.RawMessage
	Health  func(ctx context.Context, before json.RawMessage) error

	// Scripts says how state scripts are run; its Dirs are those of the device.
	Scripts script.Runner

	// Modules are the update modules, for what is no image of a slot.
	Modules Modules

	// Data are the paths that updates take across.
	Data Data

	// StopBefore are states that the update does not enter: the verb returns
	// instead, with Outcome.Event "stopped", and Resume goes on.
	StopBefore []Stop

	// Reboot reboots the device to go back to the source slot. It returns nil
	// only if the reboot is on its way. Nil: nothing reboots.
	Reboot func() error
}

// A Stop is a state that an update may be stopped before. (Mender client 5,
// --stop-before.)
type Stop string

const (
	StopInstall     Stop = "ArtifactInstall_Enter"
	StopCommit      Stop = "ArtifactCommit_Enter"
	StopCommitLeave Stop = "ArtifactCommit_Leave"
	StopRollback    Stop = "ArtifactRollback_Enter"
	StopFailure     Stop = "ArtifactFailure_Enter"
	StopCleanup     Stop = "Cleanup"
)

// Stops are all there are, in the order of an update.
var Stops = []Stop{StopInstall, StopCommit, StopCommitLeave, StopRollback, StopFailure, StopCleanup}

// stops reports whether a decision begins a state that is not to be entered.
func (d *Device) stops(what Decision) bool {
	stop, ok := map[Action]Stop{
		RunInstall: StopInstall, Arm: StopInstall, Commit: StopCommit, RunLeave: StopCommitLeave, RunRollback: StopRollback,
		RunFailure: StopFailure, RunCleanup: StopCleanup,
	}[what.Do]
	return ok && slices.Contains(d.StopBefore, stop)
}

// Progress is what an update is doing. Done and Total are bytes of the image,
// and zero where a step has none.
type Progress struct {
	Step        Step
	Done, Total int64
	Note        string // a sentence for people; empty for mere progress
}

func (d *Device) report(p Progress) {
	if d.Report != nil {
		d.Report(p)
	}
}

// bootID returns the kernel's name for this boot, or "" where boots are not
// told apart.
func (d *Device) bootID() string {
	if d.Bench {
		return ""
	}
	id, err := d.Host.BootID()
	if err != nil {
		return ""
	}
	return id
}

// running returns the name of the slot beneath /, or "" for neither.
func (d *Device) running(boot bootloader.State, envLost bool, t *Trial) (string, error) {
	if d.Bench {
		return d.benchRunning(boot, envLost, t), nil
	}
	s, err := d.Host.Running(d.Slots)
	if errors.Is(err, partition.ErrNotSlot) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrAttention, err)
	}
	return s.Name, nil
}

// benchRunning believes the environment and, where that is lost, the record:
// what the environment named before.
func (d *Device) benchRunning(boot bootloader.State, envLost bool, t *Trial) string {
	s, ok := d.Slots.ByPart(boot.Part)
	switch {
	case ok:
		return s.Name
	case !envLost || t == nil:
		return ""
	}
	switch t.Phase {
	case PhaseArmed, PhaseAlive, PhaseCommitting, PhaseCommitted:
		return t.Target
	}
	return t.Source
}

// slot returns a slot by its name.
func (d *Device) slot(name string) partition.Slot {
	if name == d.Slots.A.Name {
		return d.Slots.A
	}
	return d.Slots.B
}

// CheckState tells why the state directory cannot be used: ErrState. It only
// looks: whether a file can be written there is for others to try, without the
// lock, which a Resume may want at the same time.
func (d *Device) CheckState() error { return d.checkState() }

// checkState refuses a state directory in which the record would not outlive
// the update: on a slot, or not a writable mount of its own. It only looks.
func (d *Device) checkState() error {
	st, err := os.Stat(d.StateDir)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrState, err)
	}
	if !st.IsDir() {
		return fmt.Errorf("%w: %s is not a directory", ErrState, d.StateDir)
	}
	if d.Bench {
		return nil
	}
	return d.checkStateMount()
}

func (d *Device) checkStateMount() error {
	for _, s := range []partition.Slot{d.Slots.A, d.Slots.B} {
		on, err := d.Host.Holds(s, d.StateDir)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrState, err)
		}
		if on {
			return fmt.Errorf("%w: %s is on slot %s, which an update replaces", ErrState, d.StateDir, s.Name)
		}
	}
	m, err := d.Host.MountOf(d.StateDir)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrState, err)
	case m.Point == "/":
		return fmt.Errorf("%w: %s is on the root file system and not on a mount of its own (is its partition mounted?)", ErrState, d.StateDir)
	case m.ReadOnly:
		return fmt.Errorf("%w: %s is mounted read-only at %s", ErrState, m.Source, m.Point)
	}
	return nil
}

// probe proves that dir takes a file and keeps it.
func probe(dir string) error {
	name := filepath.Join(dir, "probe")
	if err := replaceFile(name, make([]byte, 4096)); err != nil {
		return fmt.Errorf("%w: %w", ErrState, err)
	}
	if err := os.Remove(name); err != nil {
		return fmt.Errorf("%w: %w", ErrState, err)
	}
	return nil
}

// lock keeps a second plimsoll out until the returned file is closed.
func (d *Device) lock() (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(d.StateDir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrState, err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return f, nil
	}
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = ErrLocked
	}
	return nil, errors.Join(fmt.Errorf("lock %s: %w", f.Name(), err), f.Close())
}

// backup keeps a raw copy of the boot environment in the state directory: the
// only way to repair it when both copies are lost.
func (d *Device) backup(s *State) error {
	raw, err := d.Boot.Raw()
	if err != nil {
		return err
	}
	path := filepath.Join(d.StateDir, "env.backup")
	if have, err := os.ReadFile(path); err != nil || string(have) != string(raw) {
		if err := replaceFile(path, raw); err != nil {
			return fmt.Errorf("%w: %w", ErrState, err)
		}
	}
	s.Backup = d.geometry()
	return nil
}

// geometry describes where the environment is kept now.
func (d *Device) geometry() *Backup {
	var b Backup
	var places []string
	for _, l := range d.Boot.Locations() {
		places = append(places, fmt.Sprintf("%s+%#x:%#x", l.Path, l.Offset, l.Size))
		b.Disk = d.Host.DiskID(l.Path)
	}
	b.Geometry = strings.Join(places, " ")
	return &b
}

// CheckEnvironment tells why the boot environment could not be armed again: it
// cannot be read, or it is not where it was when the update was recorded. A disk
// may have another name in another system. One that was lost and has a backup
// holds: a healthy trial is what restores it (row A7).
func (d *Device) CheckEnvironment() error {
	s, err := loadState(d.StateDir)
	if _, lost := d.Boot.State(); lost != nil {
		if err == nil && errors.Is(lost, bootloader.ErrNoCopy) {
			_, err = d.backupFits(s)
			return err
		}
		return lost
	}
	if err != nil || s.Backup == nil {
		return err
	}
	now := d.geometry()
	if have, was := now.places(), s.Backup.places(); have != was || now.Disk != s.Backup.Disk {
		return fmt.Errorf("%w: the boot environment is at %s, and was at %s when the update was installed", ErrAttention, now.Geometry, s.Backup.Geometry)
	}
	return nil
}

// places are those of the copies, without the names of what they are on.
func (b *Backup) places() string {
	var all []string
	for _, copy := range strings.Fields(b.Geometry) {
		all = append(all, copy[strings.LastIndexByte(copy, '+')+1:])
	}
	return strings.Join(all, " ")
}

// CheckStateDir proves that the state directory can be used, and takes a file.
func (d *Device) CheckStateDir() error {
	if err := d.checkState(); err != nil {
		return err
	}
	return probe(d.StateDir)
}

// backupFits returns the backup, if it belongs to this environment, and else
// the reason.
func (d *Device) backupFits(s *State) ([]byte, error) {
	now := d.geometry()
	switch {
	case s.Backup == nil:
		return nil, errors.New("there is no backup")
	case s.Backup.Geometry != now.Geometry:
		return nil, fmt.Errorf("the backup is of an environment at %s, and this one is at %s", s.Backup.Geometry, now.Geometry)
	case s.Backup.Disk != now.Disk:
		return nil, fmt.Errorf("the backup is of another disk (%s), and this one is %s", orNone(s.Backup.Disk), orNone(now.Disk))
	}
	path := filepath.Join(d.StateDir, "env.backup")
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("the backup: %w", err)
	}
	if want := d.Boot.Locations()[0].Size; int64(len(raw)) != want {
		return nil, fmt.Errorf("the backup: %s has %d bytes, want %d", path, len(raw), want)
	}
	return raw, nil
}
