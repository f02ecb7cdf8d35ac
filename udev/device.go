package udev

import (
	"context"
	"io"

	"github.com/plimsoll-ota/plimsoll/udev/report"
	"github.com/plimsoll-ota/plimsoll/udev/scan"
	"github.com/plimsoll-ota/plimsoll/udev/tell"
)

// A Device is what a stick is plugged into, as far as that concerns a stick.
// What it decides, it decides by its own record and by signed headers.
type Device interface {
	Judge

	// Owns reports whether the system, or what it remembers, lives on a disk.
	Owns(disk string) (bool, error)

	// Standing says what the last update has come to.
	Standing() (Standing, error)

	// Outcome says what came of the artifact with this manifest, which was tried
	// by an earlier visit.
	Outcome(manifest string) Outcome

	// Install installs an artifact, of which the header is trusted and was
	// accepted: it asks both once more. step is told how far it is, 0 if that is not
	// known, as soon as anything of the device is changed.
	Install(ctx context.Context, src io.Reader, step func(percent int)) (Installed, error)

	// Arm goes on with what Install left Held.
	Arm(ctx context.Context) error

	// MayInstall and MayReboot ask the device's own policy. Asked to wait, later is
	// true, and the error says why.
	MayInstall(ctx context.Context, c *scan.Candidate) (later bool, err error)
	MayReboot(ctx context.Context, artifact string) (later bool, err error)

	// Reboot returns if the reboot did not come about.
	Reboot() error

	// Code is why, of the errors of this interface; 0 of one that says that the
	// artifact is installed already.
	Code(err error) tell.Code
}

// A Standing is how a device stands while nobody works on it.
type Standing struct {
	Artifact report.Artifact // what is installed
	Moving   bool            // an update is being judged, or brought to its end
	OnTrial  bool            // and it is the running system that is judged
	Armed    string          // manifest of what a reboot would try; "" for nothing
	Held     string          // manifest of what is written, verified and not armed
}

// owes reports whether the update with this manifest waits for a reboot.
func (s Standing) owes(manifest string) bool {
	return manifest != "" && (s.Armed == manifest || s.Held == manifest)
}

// An Outcome is what came of an update.
type Outcome struct {
	State  tell.State // Updated or WentBack; "" as long as it is not known
	Code   tell.Code
	Detail string
}

// Installed is how Install left the device.
type Installed int

// What Install leaves.
const (
	Committed Installed = iota // there is nothing more to do
	Armed                      // a reboot tries it
	Held                       // written and verified; Arm goes on
)
