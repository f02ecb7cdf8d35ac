package install

import (
	"fmt"

	"github.com/plimsoll-ota/plimsoll/artifact"
)

// typeRootfs is the payload type that this package writes to a slot.
const typeRootfs = "rootfs-image"

// maxDisturbed is how often an artifact that was disturbed (power, stick, I/O)
// is tried again with nobody there.
const maxDisturbed = 3

// accept decides whether a trusted artifact may be installed now.
func (s *session) accept(h *artifact.Header, manifest artifact.Sum, o Options) error {
	if err := s.state.depends(h, s.Type); err != nil {
		return err
	}
	if err := s.state.failedBefore(manifest, o); err != nil {
		return err
	}
	if err := s.forward(h, o); err != nil || !o.Unattended {
		return err
	}
	return s.drilled()
}

// failedBefore refuses an artifact that failed here and may not be repeated.
func (s *State) failedBefore(manifest artifact.Sum, o Options) error {
	for _, f := range s.Failed {
		if f.Manifest != manifest.String() || o.Retry {
			continue
		}
		if f.Class == ClassBad || o.Unattended && f.Count >= maxDisturbed {
			return fmt.Errorf("%w: %d times, last: %s", ErrFailedBefore, f.Count, f.Reason)
		}
	}
	return nil
}

// forward refuses what is older than what runs, and what is below the floor.
// Where versions cannot be compared a person may install, and nobody else.
func (s *session) forward(h *artifact.Header, o Options) error {
	text, v, ok := versionOf(h.Provides)
	have, current, known := versionOf(s.state.Provides)
	if floor, f := s.floor(); ok && f != nil && v.compare(*f) < 0 && !o.AllowDowngrade {
		return fmt.Errorf("%w: version %s, and the floor is %s", ErrDowngrade, text, floor)
	}
	switch {
	case o.AllowDowngrade:
		return nil
	case ok && known && v.compare(current) < 0:
		return fmt.Errorf("%w: version %s, and %s is installed", ErrDowngrade, text, have)
	case !o.Unattended:
		return nil
	case !ok || !known:
		return fmt.Errorf("%w: versions %s and %s cannot be compared", ErrDowngrade, orNone(text), orNone(have))
	case v.compare(current) == 0:
		return fmt.Errorf("%w: version %s is installed already", ErrNothing, text)
	}
	return nil
}

// floor returns the lowest version that may be installed: it is kept in the
// record and in the boot environment, and the higher one counts.
func (s *session) floor() (string, *version) {
	text := raiseFloor(s.state.Floor, s.env.Floor)
	v, ok := parseVersion(text)
	if !ok {
		return text, nil
	}
	return text, &v
}
