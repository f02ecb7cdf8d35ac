package install

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
)

// Schema is the version of state.json that this release writes. Fields are
// added without changing it; a record with a larger number is kept, never
// read, and the environment decides instead (row I1).
const Schema = 1

// maxState bounds state.json before it is parsed.
const maxState = 1 << 20

// ErrState is a state directory that cannot be used: not there, not writable,
// full, or on a slot.
var ErrState = errors.New("the state directory cannot be used")

// errUnreadable is a state.json that is there and cannot be understood.
var errUnreadable = errors.New("the record cannot be read")

// A Status says what is known of a slot's content.
type Status string

const (
	StatusGood     Status = "good"     // booted and kept, or running
	StatusWriting  Status = "writing"  // being written, or the writing was cut
	StatusWritten  Status = "written"  // whole, and verified; never booted
	StatusBad      Status = "bad"      // not whole, or it failed its trial
	StatusModified Status = "modified" // whole, and changed after it was verified
)

// A SlotState is what is recorded of one slot.
type SlotState struct {
	Status   Status `json:"status"`
	Artifact string `json:"artifact,omitempty"` // artifact_name of what was written
	SHA256   string `json:"sha256,omitempty"`   // of the image that was written
	Size     int64  `json:"size,omitempty"`     // of the image, in bytes

	Group    string            `json:"group,omitempty"`    // what the device provides
	Provides map[string]string `json:"provides,omitempty"` // while this slot runs, if it ever did
}

// A Trial is the record of one update, from its first write to its end. Its
// first seven fields are frozen: every release reads and writes them alike,
// because the release on the other slot may be an older one.
type Trial struct {
	ID       string `json:"id"`       // plimsoll_trial: 16 hex digits
	Phase    Phase  `json:"phase"`    // how far it has come
	Source   string `json:"source"`   // slot that it was installed from, "A" or "B"
	Target   string `json:"target"`   // slot that it was written to
	Artifact string `json:"artifact"` // artifact_name
	Manifest string `json:"manifest"` // SHA-256 of the artifact's manifest
	BootID   string `json:"boot_id"`  // kernel's boot_id when this record was last written

	Group        string            `json:"group,omitempty"`
	Provides     map[string]string `json:"provides,omitempty"`
	Clears       *[]string         `json:"clears,omitempty"` // nil: the artifact had none, which clears all
	SHA256       string            `json:"sha256,omitempty"` // of the image
	Size         int64             `json:"size,omitempty"`   // of the image, in bytes
	Boots        int               `json:"boots,omitempty"`  // boots into the target, counted by plimsoll
	Uptime       float64           `json:"uptime,omitempty"` // seconds since that boot (CLOCK_BOOTTIME)
	Class        Class             `json:"class,omitempty"`  // of the failure
	Reason       string            `json:"reason,omitempty"` // of the failure: the row's number
	Why          string            `json:"why,omitempty"`    // of the failure, for people
	Returned     bool              `json:"returned,omitempty"`
	Payload      string            `json:"payload,omitempty"`      // the module's type; empty: an image for a slot
	NeedsBoot    bool              `json:"needs_boot,omitempty"`   // what the module has installed needs a reboot
	OneWay       bool              `json:"one_way,omitempty"`      // the module cannot roll back
	Scripts      bool              `json:"scripts,omitempty"`      // the artifact brought state scripts
	Before       json.RawMessage   `json:"before,omitempty"`       // what worked in the source slot, before the arm
	Owed         Part              `json:"owed,omitempty"`         // by an update that is closed
	Tries        int               `json:"tries,omitempty"`        // how often the part that is owed was begun
	Inconsistent bool              `json:"inconsistent,omitempty"` // it failed, and what it did could not be taken back
	Carries      bool              `json:"carries,omitempty"`      // data was staged for the new root file system
	Snapshot     []string          `json:"snapshot,omitempty"`     // paths that are restored if it does not stay
	Drill        Status            `json:"drill,omitempty"`        // it is a drill: what was known of the target slot, and holds again afterwards

	unknown map[string]json.RawMessage
}

// A Failure remembers an artifact that did not stay.
type Failure struct {
	Manifest string `json:"manifest"` // SHA-256 of the artifact's manifest
	Artifact string `json:"artifact"`
	Class    Class  `json:"class"`
	Count    int    `json:"count"`
	Reason   string `json:"reason"`
}

// A Backup says what the file env.backup is: one raw copy of the boot
// environment, and where it belongs.
type Backup struct {
	Geometry string `json:"geometry"`       // the copies' places and sizes
	Disk     string `json:"disk,omitempty"` // identity of the disk, if it has one
}

// A State is the content of state.json.
type State struct {
	Schema   int                  `json:"schema"`
	Artifact string               `json:"artifact,omitempty"` // artifact_name of what runs
	Group    string               `json:"group,omitempty"`
	Provides map[string]string    `json:"provides,omitempty"`
	Slots    map[string]SlotState `json:"slots,omitempty"`
	Trial    *Trial               `json:"trial,omitempty"`
	Failed   []Failure            `json:"failed,omitempty"`
	Floor    string               `json:"floor,omitempty"`
	Backup   *Backup              `json:"backup,omitempty"`
	Drills   []Drill              `json:"drills,omitempty"` // the last one with each version of the bootloader

	fresh   bool // there is no state.json
	unknown map[string]json.RawMessage
}

type (
	plainState State // without methods, so that json uses the fields
	plainTrial Trial
)

// UnmarshalJSON keeps the fields that this release does not know.
func (s *State) UnmarshalJSON(b []byte) (err error) {
	s.unknown, err = unmarshalKeeping(b, (*plainState)(s))
	return err
}

// MarshalJSON writes the unknown fields back beside the known ones.
func (s State) MarshalJSON() ([]byte, error) { return marshalKeeping(plainState(s), s.unknown) }

// UnmarshalJSON keeps the fields that this release does not know.
func (t *Trial) UnmarshalJSON(b []byte) (err error) {
	t.unknown, err = unmarshalKeeping(b, (*plainTrial)(t))
	return err
}

// MarshalJSON writes the unknown fields back beside the known ones.
func (t Trial) MarshalJSON() ([]byte, error) { return marshalKeeping(plainTrial(t), t.unknown) }

// unmarshalKeeping fills v and returns the members that v has no field for.
func unmarshalKeeping(b []byte, v any) (map[string]json.RawMessage, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(b, &all); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return nil, err
	}
	for f := range reflect.TypeOf(v).Elem().Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		delete(all, name)
	}
	return all, nil
}

// marshalKeeping is the reverse of unmarshalKeeping. Members come out sorted.
func marshalKeeping(v any, unknown map[string]json.RawMessage) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil || len(unknown) == 0 {
		return b, err
	}
	all := map[string]json.RawMessage{}
	if err := json.Unmarshal(b, &all); err != nil {
		return nil, err
	}
	for k, m := range unknown {
		all[k] = m
	}
	return json.Marshal(all)
}

// loadState reads state.json in dir. A file that is not there is an empty
// State. One that cannot be understood is errUnreadable, and stays.
func loadState(dir string) (*State, error) {
	path := filepath.Join(dir, "state.json")
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		s := newState()
		s.fresh = true
		return s, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrState, err)
	}
	if len(b) > maxState {
		return nil, fmt.Errorf("%s: %w: %d bytes, at most %d", path, errUnreadable, len(b), maxState)
	}
	s := &State{}
	if err := json.Unmarshal(b, s); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", path, errUnreadable, err)
	}
	if s.Schema < 1 || s.Schema > Schema {
		return nil, fmt.Errorf("%s: %w: schema %d, this release knows %d", path, errUnreadable, s.Schema, Schema)
	}
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", path, errUnreadable, err)
	}
	return s, nil
}

func newState() *State {
	return &State{Schema: Schema, Slots: map[string]SlotState{}}
}

// check refuses a record that could not have been written by a release of
// this schema: deciding on it would be guessing.
func (s *State) check() error {
	if s.Slots == nil {
		s.Slots = map[string]SlotState{}
	}
	t := s.Trial
	if t == nil {
		return nil
	}
	switch t.Phase {
	case PhaseWriting, PhaseVerified, PhaseInstalling, PhaseInstalled, PhaseArming, PhaseArmed, PhaseAlive,
		PhaseConfirming, PhaseCommitting, PhaseRollingBack, PhaseFailed, PhaseCommitted:
	default:
		return fmt.Errorf("trial: unknown phase %q", t.Phase)
	}
	switch t.Owed {
	case OwesNothing, OwesLeave, OwesRollback, OwesFailure, OwesCleanup:
	default:
		return fmt.Errorf("trial: owes %q", t.Owed)
	}
	if t.Payload != "" {
		if t.Source != "" || t.Target != "" {
			return fmt.Errorf("trial: a %s from slot %q to slot %q", t.Payload, t.Source, t.Target)
		}
		return nil
	}
	if (t.Source != "A" && t.Source != "B") || t.Target != other(t.Source) {
		return fmt.Errorf("trial: from slot %q to slot %q", t.Source, t.Target)
	}
	return nil
}

// save replaces state.json atomically: after a cut the old one or the new one
// is there, and after nil the new one is on the medium.
func (s *State) save(dir string) error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("%w: %w", ErrState, err)
	}
	if err := replaceFile(filepath.Join(dir, "state.json"), append(b, '\n')); err != nil {
		return fmt.Errorf("%w: %w", ErrState, err)
	}
	return nil
}

// setAside keeps a state.json that this release cannot understand, under a
// name of its own, before another is written in its place.
func setAside(dir string) error {
	path := filepath.Join(dir, "state.json")
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrState, err)
	}
	sum := sha256.Sum256(b)
	kept := fmt.Sprintf("%s.kept-%x", path, sum[:4])
	if err := replaceFile(kept, b); err != nil {
		return fmt.Errorf("%w: %w", ErrState, err)
	}
	return nil
}

// replaceFile writes b beside path, syncs it, renames it over path, and syncs
// the directory. The caller holds the lock of the state directory.
func replaceFile(path string, b []byte) (err error) {
	f, err := os.OpenFile(path+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, removeIfThere(f.Name()))
	}
	return syncDir(filepath.Dir(path))
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// syncDir makes a rename in dir durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
