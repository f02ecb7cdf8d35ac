package install

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/plimsoll-ota/plimsoll/artifact"
)

// An Origin is what the client before plimsoll knows of a device.
type Origin struct {
	Artifact string            // artifact_name of what is installed, "" for unknown
	Group    string            // artifact_group, "" for none
	Provides map[string]string // without the two
	Update   string            // an update of its own that is in progress, for people; "" for none

	// Bootstrap is the path of an artifact without payload that says what a new
	// device runs. It is read where nothing else has a name, and may be absent.
	Bootstrap string
}

// takeOver lets a device without a record begin with what the client before
// plimsoll knew of it. Nothing is written: the first update records it, and
// until then it is asked anew. What cannot be read is told, and not known.
//
// Where the environment shows that plimsoll was here, its record was lost, and
// what another client remembers is of long ago.
func (s *session) takeOver() {
	if !s.state.fresh || s.env.ID != "" || s.env.Floor != "" {
		return
	}
	var o Origin
	if s.Origin != nil {
		var err error
		if o, err = s.Origin(); err != nil {
			s.report(Progress{Step: StepRead, Note: err.Error()})
		}
	}
	s.foreign = o.Update
	s.state.Artifact, s.state.Group, s.state.Provides = o.Artifact, o.Group, o.Provides
	for _, path := range []string{filepath.Join(s.StateDir, "bootstrap.mender"), o.Bootstrap} {
		if s.state.Artifact != "" || path == "" {
			continue
		}
		if err := s.bootstrap(path); err != nil {
			s.report(Progress{Step: StepRead, Note: err.Error()})
		}
	}
}

// bootstrap takes over what an artifact without payload says, if it is there.
// It must be trusted, and made for this device, like any other.
func (s *session) bootstrap(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close() // only read
	r, err := artifact.Open(f, s.Trust)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	h := r.Header()
	_, err = r.Next()
	switch {
	case err != io.EOF && err != nil:
		return fmt.Errorf("%s: %w", path, err)
	case err == nil || h.Type != "":
		return fmt.Errorf("%s: %w: it has a payload, or is for one", path, artifact.ErrUnsupported)
	}
	if err := s.facts().depends(h); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	s.state.Artifact, s.state.Group, s.state.Provides = h.Name, h.Group, h.Provides
	return nil
}
