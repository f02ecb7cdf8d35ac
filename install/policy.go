package install

import (
	"errors"
	"fmt"

	"github.com/plimsoll-ota/plimsoll/artifact"
)

// typeRootfs is the payload type that this package writes to a slot.
const typeRootfs = "rootfs-image"

// maxDisturbed is how often an artifact that was disturbed (power, stick, I/O)
// is tried again with nobody there.
const maxDisturbed = 3

// Facts are what decides whether an artifact may be installed on a device.
type Facts struct {
	Type     string            // device_type
	Artifact string            // artifact_name of what is installed
	Group    string            // its artifact_group
	Provides map[string]string // what it provides
	Floor    string            // the lowest version that may be installed; "" for none
	Failed   []Failure         // artifacts that did not stay
	Manifest string            // SHA-256 of the manifest of what was installed last; "" if it is not known
}

// Facts are those of the device as it is now. It takes no lock and changes
// nothing: Install asks them anew, and its answer is the one that counts.
func (d *Device) Facts() (Facts, error) {
	s, err := d.peek()
	if err != nil {
		return Facts{}, err
	}
	if err := errors.Join(s.missing, s.unreadable); err != nil {
		return Facts{}, err
	}
	return s.facts(), nil
}

// facts takes the floor that is higher: it is kept in the record and in the
// boot environment, so that the loss of either does not lower it.
func (s *session) facts() Facts {
	return Facts{
		Type: s.Type, Artifact: s.state.Artifact, Group: s.state.Group, Provides: s.state.Provides,
		Floor: raiseFloor(s.state.Floor, s.env.Floor), Failed: s.state.Failed, Manifest: s.state.installed(),
	}
}

// accept decides whether a trusted artifact may be installed now.
func (s *session) accept(h *artifact.Header, manifest artifact.Sum, o Options) error {
	if err := s.facts().Accept(h, manifest, o); err != nil || !o.Unattended {
		return err
	}
	return s.drilled()
}

// Accept decides whether an artifact, whose header is trusted and whose manifest
// has this sum, may be installed on such a device. Its errors: ErrDeviceType,
// ErrDepends, ErrFailedBefore, ErrDowngrade, ErrFloor, ErrUnversioned; ErrCurrent
// where there is nothing to do.
func (f Facts) Accept(h *artifact.Header, manifest artifact.Sum, o Options) error {
	if err := f.depends(h); err != nil {
		return err
	}
	if err := f.failedBefore(manifest, o); err != nil {
		return err
	}
	if o.Unattended && manifest.String() == f.Manifest {
		return fmt.Errorf("%w: %s", ErrCurrent, h.Name) // whatever it says of its version
	}
	return f.forward(h, o)
}

// installed returns the manifest of what was installed last.
func (s *State) installed() string {
	if t := s.Trial; t != nil && t.Phase == PhaseCommitted && t.Drill == "" {
		return t.Manifest
	}
	return ""
}

// failedBefore refuses an artifact that failed here and may not be repeated.
func (f Facts) failedBefore(manifest artifact.Sum, o Options) error {
	for _, failure := range f.Failed {
		if failure.Manifest != manifest.String() || o.Retry {
			continue
		}
		if failure.Class == ClassBad || o.Unattended && failure.Count >= maxDisturbed {
			return fmt.Errorf("%w: %d times, last: %s", ErrFailedBefore, failure.Count, failure.Reason)
		}
	}
	return nil
}

// forward refuses what is older than what runs, and what is below the floor.
// Where versions cannot be compared a person may install, and nobody else.
func (f Facts) forward(h *artifact.Header, o Options) error {
	text, v, ok := versionOf(h.Provides)
	have, current, known := versionOf(f.Provides)
	if floor, is := parseVersion(f.Floor); ok && is && v.compare(floor) < 0 && !o.AllowDowngrade {
		return fmt.Errorf("%w: version %s, and the floor is %s", ErrFloor, text, f.Floor)
	}
	switch {
	case o.AllowDowngrade:
		return nil
	case ok && known && v.compare(current) < 0:
		return fmt.Errorf("%w: version %s, and %s is installed", ErrDowngrade, text, have)
	case !o.Unattended:
		return nil
	case ok && known && v.compare(current) == 0:
		return fmt.Errorf("%w: version %s", ErrCurrent, text)
	case ok && known:
		return nil
	case h.Name == f.Artifact:
		return fmt.Errorf("%w: %s", ErrCurrent, h.Name)
	case o.Unversioned:
		return nil
	}
	return fmt.Errorf("%w: versions %s and %s cannot be compared", ErrUnversioned, orNone(text), orNone(have))
}

// CompareVersions orders two artifacts by their signed versions, or reports that
// they cannot be compared.
func CompareVersions(a, b *artifact.Header) (order int, ok bool) {
	_, v, okV := versionOf(a.Provides)
	_, w, okW := versionOf(b.Provides)
	if !okV || !okW {
		return 0, false
	}
	return v.compare(w), true
}
