package udev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"

	"github.com/plimsoll-ota/plimsoll/artifact"
	"github.com/plimsoll-ota/plimsoll/install"
	"github.com/plimsoll-ota/plimsoll/udev/report"
	"github.com/plimsoll-ota/plimsoll/udev/scan"
	"github.com/plimsoll-ota/plimsoll/udev/tell"
)

// A coded is an error of a device.
type coded tell.Code

func (c coded) Error() string { return "device: " + tell.Code(c).String() }

// A fake is a device that does what a test wants, and remembers what it was
// asked. The zero value accepts everything, installs it, and is done with it.
type fake struct {
	owns     error // nil: it does not; errOwns: it does
	accept   func(h *artifact.Header) error
	standing func() (Standing, error) // nil: as state says
	install  func(ctx context.Context, src io.Reader, step func(int)) (Installed, error)
	mayBoot  func() (later bool, err error)
	may      func() (later bool, err error)
	arm      error
	reboot   func() error
	left     Installed // how a whole installation leaves it

	mu       sync.Mutex
	state    Standing
	outcomes map[string]Outcome
	asked    []string
}

var errOwns = errors.New("owns")

func (f *fake) note(what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, what)
}

func (f *fake) was(what string) bool { return f.times(what) > 0 }

func (f *fake) times(what string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range f.asked {
		if a == what {
			n++
		}
	}
	return n
}

func (f *fake) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *fake) Accept(h *artifact.Header, _ artifact.Sum) error {
	if f.accept == nil {
		return nil
	}
	return f.accept(h)
}

func (f *fake) Current(err error) bool { return f.Code(err) == 0 }

func (*fake) Compare(a, b *artifact.Header) (int, bool) { return install.CompareVersions(a, b) }

func (f *fake) Owns(string) (bool, error) {
	if errors.Is(f.owns, errOwns) {
		return true, nil
	}
	return false, f.owns
}

func (f *fake) Standing() (Standing, error) {
	if f.standing != nil {
		return f.standing()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.state
	if s.Artifact.Name == "" {
		s.Artifact = report.Artifact{Name: "old", Version: "1"}
	}
	return s, nil
}

func (f *fake) Outcome(manifest string) Outcome {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.outcomes[manifest]
}

func (f *fake) Install(ctx context.Context, src io.Reader, step func(int)) (Installed, error) {
	f.note("install")
	if f.install != nil {
		return f.install(ctx, src, step)
	}
	step(0)
	h, sum, err := scan.Read(src, keys)
	if err != nil {
		return 0, err
	}
	step(50)
	f.mu.Lock()
	defer f.mu.Unlock()
	switch f.left {
	case Armed:
		f.state.Armed = sum.String()
	case Held:
		f.state.Held = sum.String()
	case Committed:
		f.state.Artifact = report.Artifact{Name: h.Name, Version: scan.VersionOf(h)}
	}
	return f.left, nil
}

func (f *fake) Arm(context.Context) error {
	f.note("arm")
	if f.arm != nil {
		return f.arm
	}
	f.set(func() { f.state.Armed, f.state.Held = f.state.Held, "" })
	return nil
}

func (f *fake) MayInstall(context.Context, *scan.Candidate) (bool, error) {
	f.note("may install")
	if f.may == nil {
		return false, nil
	}
	return f.may()
}

func (f *fake) MayReboot(context.Context, string) (bool, error) {
	f.note("may reboot")
	if f.mayBoot == nil {
		return false, nil
	}
	return f.mayBoot()
}

func (f *fake) Reboot() error {
	f.note("reboot")
	if f.reboot == nil {
		return errors.New("the fake stays")
	}
	return f.reboot()
}

func (f *fake) Code(err error) tell.Code {
	var c coded
	if errors.As(err, &c) {
		return tell.Code(c)
	}
	return tell.Other
}

// A recorder remembers what was told, and calls on with it.
type recorder struct {
	on func(tell.Message)

	mu   sync.Mutex
	said []string
}

func (r *recorder) Tell(m tell.Message) {
	text := string(m.State)
	if m.Code != 0 {
		text += " " + m.Code.String()
	}
	if m.Percent != 0 {
		text += fmt.Sprintf(" %d %%", m.Percent)
	}
	r.mu.Lock()
	r.said = append(r.said, text)
	r.mu.Unlock()
	if r.on != nil {
		r.on(m)
	}
}

func (r *recorder) Reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.said = append(r.said, "reset")
}

func (r *recorder) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.said)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
