package install

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"

	"golang.org/x/time/rate"

	"github.com/plimsoll-ota/plimsoll/artifact"
	"github.com/plimsoll-ota/plimsoll/partition"
)

// Options are what a person may ask of one installation. The zero value is
// the careful one.
type Options struct {
	AllowDowngrade bool // an older version, or one below the floor
	Retry          bool // an artifact that failed on this device before
	Unattended     bool // nobody is there to ask: only forward, and only what has not failed
	Unversioned    bool // Unattended, even where the versions cannot be compared

	// IOLimit is how many bytes of the image are written in a second, and how
	// many read back, at most. 0: as fast as the medium.
	IOLimit int64

	drill bool // it will not be kept
}

// Install does steps 1 to 5: it reads the artifact in src, once, writes its
// image to the inactive slot, verifies it there, and arms the slot for the
// next boot: Outcome.Event is "armed", and a reboot is owed. A payload of a
// module is installed at once: "installed", or "committed" where the module
// cannot go back. An artifact without a payload is "committed".
//
// An error is an *Error, which knows the step. In StepRead the device is
// untouched; before StepArm the running system is what boots, and what was
// lost at most is the content of the inactive slot. Cancelling ctx is an error
// and, from StepArm on, comes too late.
func (d *Device) Install(ctx context.Context, src io.Reader, o Options) (Outcome, error) {
	s, err := d.begin()
	if err != nil {
		return Outcome{}, &Error{StepRead, "", err}
	}
	t, err := s.install(ctx, src, o)
	if closed := s.end(); closed != nil && err == nil {
		s.report(Progress{Step: StepReboot, Note: closed.Error()})
	}
	return s.installedOutcome(t), err
}

// installedOutcome says how far an installation has come.
func (s *session) installedOutcome(t *Trial) Outcome {
	out := Outcome{Trial: t, Event: "armed", Reboot: true}
	switch {
	case t == nil:
		return Outcome{}
	case s.stopped:
		out.Event, out.Reboot = "stopped", false
	case t.Phase == PhaseCommitted:
		out.Event, out.Reboot = "committed", t.NeedsBoot
	case t.Payload != "":
		out.Event, out.Reboot = "installed", t.NeedsBoot
	}
	return out
}

// install returns the record of the update as soon as there is one.
func (s *session) install(ctx context.Context, src io.Reader, o Options) (*Trial, error) {
	s.report(Progress{Step: StepRead})
	if err := s.mayInstall(); err != nil {
		return nil, &Error{StepRead, "", err}
	}
	r, err := artifact.Open(withContext(ctx, src), s.Trust)
	if err != nil {
		return nil, &Error{StepRead, "", err}
	}
	h := r.Header()
	if err := s.tidy(ctx); err != nil {
		return nil, &Error{StepRead, h.Name, err}
	}
	if err := s.accept(h, r.ManifestSum(), o); err != nil {
		return nil, &Error{StepRead, h.Name, err}
	}
	switch h.Type {
	case typeRootfs:
		err = s.installImage(ctx, r, o)
	case "":
		return s.installNothing(r)
	default:
		err = s.installModule(ctx, r, o)
	}
	return s.state.Trial, err
}

// installNothing takes over what an artifact without payload says: it is
// committed at once. (Mender Artifact format v3, bootstrap artifact.)
func (s *session) installNothing(r *artifact.Reader) (*Trial, error) {
	h := r.Header()
	if _, err := r.Next(); err != io.EOF {
		return nil, &Error{StepRead, h.Name, cmp.Or(err, fmt.Errorf("%w: a payload without a type", artifact.ErrFormat))}
	}
	t := newTrial(r)
	s.state.provide(t)
	if err := s.save(); err != nil {
		return nil, &Error{StepRecord, h.Name, err}
	}
	s.note(Event{Event: "committed", Artifact: t.Artifact, Manifest: t.Manifest})
	t.Phase = PhaseCommitted
	return t, nil
}

// installImage installs the image of a root file system.
func (s *session) installImage(ctx context.Context, r *artifact.Reader, o Options) error {
	h := r.Header()
	p, w, err := s.prepare(r)
	if err != nil {
		return &Error{StepRead, h.Name, err}
	}
	defer w.Abort()
	if err := s.downloadScripts(ctx, "Enter"); err != nil {
		_ = s.downloadScripts(ctx, "Error") // noted
		return &Error{StepRead, h.Name, err}
	}
	before := s.state.Slots[other(s.run)]
	t, err := s.intend(r, p, o)
	if err != nil {
		return &Error{StepWrite, h.Name, err}
	}
	if err := s.takeIn(ctx, r, p, w, o); err != nil {
		return s.giveUp(ctx, err, w, before)
	}
	s.mark(t.Target, StatusWritten)
	if stopped, err := s.beforeArm(ctx); stopped || err != nil {
		return err
	}
	if err := s.arm(t); err != nil {
		return s.tookBack(ctx, err)
	}
	if err := w.Close(); err != nil { // durable since Verify; this only lets go of the slot
		s.report(Progress{Step: StepArm, Note: err.Error()})
	}
	return nil
}

// beforeArm is the state ArtifactInstall of an image, or the stop before it.
func (s *session) beforeArm(ctx context.Context) (stopped bool, err error) {
	t := s.state.Trial
	stopped = s.stops(Decision{Do: Arm})
	s.stopped = stopped // for the outcome
	if stopped || t.Scripts {
		if err := s.enter(PhaseVerified); err != nil {
			return false, &Error{StepRecord, t.Artifact, err}
		}
	}
	if stopped {
		return true, nil
	}
	ok, err := s.runInstall(ctx)
	if err != nil {
		return false, &Error{StepRecord, t.Artifact, err}
	}
	if !ok {
		return false, s.tookBack(ctx, &Error{StepRecord, t.Artifact, s.failure})
	}
	return false, nil
}

// takeIn are the steps 2 and 3. Its error is an *Error.
func (s *session) takeIn(ctx context.Context, r *artifact.Reader, p *artifact.Payload, w *partition.Writer, o Options) *Error {
	name := r.Header().Name
	if err := s.stageData(ctx); err != nil {
		return &Error{StepWrite, name, err}
	}
	if err := s.storeScripts(r); err != nil {
		return &Error{StepWrite, name, err}
	}
	limit := o.limiter()
	if err := s.write(r, p, &limited{ctx, w, limit}); err != nil {
		return &Error{StepWrite, name, err}
	}
	debug.FreeOSMemory() // the decoder's: others may need it while the slot is read back
	last := int64(0)
	progress := func(n int64) {
		s.report(Progress{Step: StepVerify, Done: n, Total: p.Size})
		_ = limit.WaitN(ctx, int(n-last)) // Verify has ctx, and looks at it next
		last = n
	}
	if err := w.Verify(ctx, p.Sum, progress); err != nil {
		return &Error{StepVerify, name, err}
	}
	if err := s.downloadScripts(ctx, "Leave"); err != nil {
		return &Error{StepVerify, name, err}
	}
	return nil
}

// mayInstall refuses where the table says that something else comes first.
func (s *session) mayInstall() error {
	if d := Decide(s.situation()); !bookkeeping(d) && d.Do != Nothing && d.Do != Arm {
		return s.atRest(d)
	}
	if s.foreign != "" {
		return fmt.Errorf("%w: %s", ErrForeign, s.foreign)
	}
	return nil
}

// bookkeeping reports whether a decision only brings the record of an update
// that is over up to date: no verdict, no reboot.
func bookkeeping(d Decision) bool {
	switch d.Do {
	case Forget, Abandon, Fail, Finish, Disarm:
		return true
	}
	return owed(d)
}

// tidy brings the record of an update that is over up to date.
func (s *session) tidy(ctx context.Context) error {
	d, err := s.settle(ctx, func(d Decision) bool { return !bookkeeping(d) })
	if err != nil {
		return err
	}
	if d.Do != Nothing && d.Do != Arm {
		return s.atRest(d)
	}
	return nil
}

// prepare is the rest of step 1: it asks everything that can be asked without
// touching a slot, and returns the image and the inactive slot, held.
func (s *session) prepare(r *artifact.Reader) (*artifact.Payload, *partition.Writer, error) {
	if err := s.checkBoot(); err != nil {
		return nil, nil, err
	}
	p, err := r.Next()
	if err == io.EOF {
		return nil, nil, fmt.Errorf("%w: a rootfs-image without an image", artifact.ErrFormat)
	}
	if err != nil {
		return nil, nil, err
	}
	w, err := s.slot(other(s.run)).Create(p.Size)
	if err != nil {
		return nil, nil, err
	}
	return p, w, nil
}

// checkBoot asks the bootloader whether it can be armed, and whether the
// environment is on the medium that it decides about.
func (s *session) checkBoot() error {
	if err := s.Boot.Check(); err != nil {
		return err
	}
	for _, l := range s.Boot.Locations() {
		same, err := s.Host.SameDisk(s.slot(other(s.run)), l.Path)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrAttention, err)
		}
		if same {
			continue
		}
		if !s.Bench {
			return fmt.Errorf("%w: the boot environment (%s) is not on the disk of the slots", ErrAttention, l.Path)
		}
		s.report(Progress{Step: StepRead, Note: fmt.Sprintf("the boot environment (%s) is not on the disk of the slots", l.Path)})
		break
	}
	return nil
}

// intend records that the inactive slot is about to be written, before its
// first byte, and keeps the backup of the boot environment.
func (s *session) intend(r *artifact.Reader, p *artifact.Payload, o Options) (*Trial, error) {
	if err := s.backup(s.state); err != nil {
		return nil, err
	}
	t := newTrial(r)
	t.Source, t.Target, t.SHA256, t.Size = s.run, other(s.run), p.Sum.String(), p.Size
	if o.drill {
		t.Drill, t.Scripts = StatusWritten, false // it is not kept, and nothing is to happen around it
	}
	s.declare(t)
	s.state.Trial = t
	s.mark(t.Source, StatusGood) // it runs
	s.state.Slots[t.Target] = SlotState{Status: StatusWriting, Artifact: t.Artifact, SHA256: t.SHA256, Size: t.Size}
	return t, s.enter(PhaseWriting)
}

// newTrial returns the record of an artifact.
func newTrial(r *artifact.Reader) *Trial {
	h := r.Header()
	t := &Trial{
		Artifact: h.Name, Manifest: r.ManifestSum().String(), Group: h.Group, Provides: h.Provides, Scripts: len(h.Scripts) > 0,
	}
	if h.HasClears {
		t.Clears = &h.Clears
	}
	return t
}

// write is step 2. The artifact is read to its end, so that nothing is armed
// whose last byte was not checked.
func (s *session) write(r *artifact.Reader, p *artifact.Payload, w io.Writer) error {
	s.report(Progress{Step: StepWrite, Total: p.Size})
	counted := &counter{w: w, report: func(n int64) { s.report(Progress{Step: StepWrite, Done: n, Total: p.Size}) }}
	if _, err := p.WriteTo(counted); err != nil {
		return err
	}
	switch extra, err := r.Next(); {
	case err == io.EOF:
		return nil
	case err != nil:
		return err
	default:
		return fmt.Errorf("%w: a second image, %s", artifact.ErrFormat, extra.Name)
	}
}

// giveUp closes the record of an installation that ended before the arm. A
// slot that was not written yet keeps what was known of it.
func (s *session) giveUp(ctx context.Context, e *Error, w *partition.Writer, before SlotState) error {
	t := s.state.Trial
	_ = s.downloadScripts(context.WithoutCancel(ctx), "Error") // noted
	if w.Written() == 0 {
		s.state.Slots[t.Target] = before
	} else {
		s.mark(t.Target, StatusBad)
	}
	w.Abort()
	if ctx.Err() == nil {
		t.Class, t.Reason = ClassDisturbed, e.Step.String()
		s.remember(t)
	}
	if err := s.owe(PhaseFailed, t.around(OwesCleanup)); err != nil {
		e.Err = errors.Join(e.Err, err)
		return e
	}
	s.noteTrial("failed", Decision{Is: e.Err.Error()})
	return s.tookBack(ctx, e)
}

// counter reports how many bytes have gone to the slot.
type counter struct {
	w      io.Writer
	n      int64
	report func(int64)
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	c.report(c.n)
	return n, err
}

// burst is what IOLimit lets through at once: all that a Payload writes, and a
// Writer reads, at once.
const burst = 1 << 20

func (o Options) limiter() *rate.Limiter {
	if o.IOLimit <= 0 {
		return rate.NewLimiter(rate.Inf, 0)
	}
	return rate.NewLimiter(rate.Limit(o.IOLimit), burst)
}

// limited writes no faster than a limit.
type limited struct {
	ctx   context.Context // of the one installation that it is for
	w     io.Writer
	limit *rate.Limiter
}

func (l *limited) Write(b []byte) (int, error) {
	if l.limit.WaitN(l.ctx, len(b)) != nil {
		return 0, context.Cause(l.ctx)
	}
	return l.w.Write(b)
}

// withContext returns a reader that fails with the context's cause once the
// context is done.
func withContext(ctx context.Context, r io.Reader) io.Reader { return &contextReader{ctx, r} }

type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *contextReader) Read(b []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.r.Read(b)
}
