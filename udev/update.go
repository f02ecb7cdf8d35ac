package udev

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/plimsoll-ota/plimsoll/artifact"
	"github.com/plimsoll-ota/plimsoll/udev/report"
	"github.com/plimsoll-ota/plimsoll/udev/scan"
	"github.com/plimsoll-ota/plimsoll/udev/tell"
	"github.com/plimsoll-ota/plimsoll/udev/volume"
)

// update has the device install the best of what is on the stick, or says why
// it does not. The error is the context's cause: the next visit goes on.
func (v *Visit) update(ctx context.Context, m *media, earlier []report.Report) (Result, error) {
	best, on, verdicts := v.choose(ctx, m)
	if best != nil {
		defer best.Close() // only read
	}
	switch {
	case ctx.Err() != nil:
		return Result{}, context.Cause(ctx)
	case best == nil:
		return v.concluded(m, v.reason(m, verdicts), earlier), nil
	}
	return v.attempt(ctx, m, on, best)
}

// lookLimit bounds how long files are looked at. A file system may be made so that
// reading it takes for ever: 16 MiB of a hostile FAT take minutes.
const lookLimit = 5 * time.Minute

// errNotLookedAt is what the time did not suffice for.
var errNotLookedAt = errors.New("not looked at: the stick takes too long")

// choose looks at all that is on the stick for this device, and returns the best
// and where it is.
func (v *Visit) choose(ctx context.Context, m *media) (*scan.Candidate, *medium, []Verdict) {
	var files []scan.File
	var on []*medium
	for _, one := range m.mounted {
		if !one.found.Listed(v.Serial) {
			continue
		}
		for _, f := range one.found.Files {
			files, on = append(files, f), append(on, one)
		}
	}
	next, until := 0, time.Now().Add(cmp.Or(v.lookFor, lookLimit))
	best, verdicts := Choose(files, func(f scan.File) (*scan.Candidate, error) {
		one := on[next]
		next++
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case m.stick.Gone():
			return nil, volume.ErrGone
		case time.Now().After(until):
			return nil, errNotLookedAt
		}
		c, err := one.stick.Look(f, v.Trust)
		if err != nil {
			return nil, one.Explain(err)
		}
		return c, nil
	}, v.Device)
	chosen := slices.IndexFunc(verdicts, func(v Verdict) bool { return v.Chosen })
	if chosen < 0 {
		return nil, nil, verdicts
	}
	return best, on[chosen], verdicts
}

// reason says why nothing is installed: the heaviest of all that is in the way.
func (v *Visit) reason(m *media, verdicts []Verdict) Result {
	var best Result
	most := 0
	consider := func(r Result, heavy int) {
		if heavy > most {
			best, most = r, heavy
		}
	}
	because := func(code tell.Code, artifact, manifest, detail string) {
		r := Result{Manifest: manifest}
		r.Message = tell.Message{State: ending(code), Code: code, Artifact: artifact, Detail: detail}
		consider(r, weight(code))
	}
	for _, verdict := range verdicts {
		if verdict.Err == nil { // it gave way to what is installed
			continue
		}
		manifest := ""
		if verdict.Manifest != (artifact.Sum{}) {
			manifest = verdict.Manifest.String()
		}
		code := codeOf(v.Device, verdict.Err)
		if code == 0 {
			consider(Result{Manifest: manifest, Message: tell.Message{State: tell.UpToDate, Artifact: verdict.Artifact}}, weightUpToDate)
			continue
		}
		because(code, verdict.Artifact, manifest, fmt.Sprintf("%s: %v", verdict.File.Name, verdict.Err))
	}
	for _, one := range m.mounted {
		if !one.found.Listed(v.Serial) {
			because(tell.NotListed, "", "", "the stick is for other devices: only-serials does not list "+v.Serial)
		}
		for _, odd := range one.found.Odd {
			if code, ok := oddCodes[odd.Why]; ok {
				because(code, "", "", fmt.Sprintf("%s: %s", odd.Name, odd.Why))
			}
		}
		if one.found.Truncated {
			because(tell.TooMuch, "", "", "there are more files than are looked at")
		}
		if one.err != nil {
			because(codeOf(v.Device, one.err), "", "", one.err.Error())
		}
	}
	if !m.ours() {
		for _, err := range m.unread {
			because(codeOf(v.Device, err), "", "", err.Error())
		}
	}
	because(tell.NoArtifact, "", "", "")
	return best
}

// concluded is the result of a visit that installs nothing. One that only
// repeats what this stick was told before is not reported again: a stick may
// stay in through a hundred boots.
func (v *Visit) concluded(m *media, r Result, earlier []report.Report) Result {
	last := v.remembered()
	if n := len(earlier); n > 0 && m.told(r, earlier[n-1]) {
		r = resultOf(earlier[n-1])
		v.remember(visited{m.label(), r})
		return r
	}
	if r.Code == tell.FailedBefore && r.Manifest == last.Manifest && last.State == tell.WentBack {
		r = last.Result
	}
	if r.State == tell.UpToDate && last.State == tell.Updated && last.Manifest == r.Manifest && last.Stick == m.label() {
		return r
	}
	if !v.repeats(m, r) {
		rep := v.newReport(m)
		v.close(&rep, r)
	}
	return r
}

// told reports whether the outcome of an earlier attempt is told, and not what is
// to be said of the stick. Of one that did not bring it, what is wrong with it goes
// first: there is somebody who waits for what he brought.
func (m *media) told(r Result, earlier report.Report) bool {
	return r.State != tell.Failed || r.Manifest == earlier.Manifest || m.label() == earlier.Stick
}

// attempt has the device install an artifact.
func (v *Visit) attempt(ctx context.Context, m *media, on *medium, c *scan.Candidate) (Result, error) {
	r := Result{Manifest: c.Manifest.String(), Message: tell.Message{State: tell.Working, Artifact: c.Header.Name}}
	if s, err := v.Device.Standing(); err == nil && s.owes(r.Manifest) {
		return s.waiting(r), nil // an earlier visit has done that
	}
	rep := v.prepare(m, c)
	err := v.permitted(ctx, &m.stick, r, func() (bool, error) {
		if m.stick.Gone() {
			return false, volume.ErrGone
		}
		return v.Device.MayInstall(ctx, c)
	})
	switch {
	case ctx.Err() != nil:
		return r, context.Cause(ctx)
	case err != nil:
		return v.gaveUp(m, &rep, r, err, false), nil
	}
	anew := rep.Sequence == 0
	v.tell(r)
	v.begin(&rep, r)
	src := &source{Reader: c.Source()}
	changed := false
	how, err := v.Device.Install(ctx, src, func(percent int) {
		changed = true
		if now := r; percent > 0 {
			now.Percent = percent
			v.tell(now)
		}
	})
	switch {
	case err == nil:
		return v.installed(m, &rep, r, how), nil
	case ctx.Err() != nil:
		return r, context.Cause(ctx)
	}
	return v.gaveUp(m, &rep, r, src.explain(on, c, err), changed || !anew), nil
}

// installed keeps how far an attempt has come.
func (v *Visit) installed(m *media, rep *report.Report, r Result, how Installed) Result {
	switch how {
	case Committed:
		r.State = tell.Updated
		v.remember(visited{m.label(), r})
		v.close(rep, r)
	case Held:
		r.State = tell.Remove
		v.save(rep, r)
	case Armed:
		r.State = tell.Restarting
		v.save(rep, r)
	}
	return r
}

// waiting is the result of an update that a reboot is owed to.
func (s Standing) waiting(r Result) Result {
	r.State = tell.Restarting
	if s.Held == r.Manifest {
		r.State = tell.Remove
	}
	return r
}

// gaveUp closes an attempt that did not come through. One in which nothing was
// tried is not reported again, if all is as at the last visit.
func (v *Visit) gaveUp(m *media, rep *report.Report, r Result, err error, tried bool) Result {
	r = v.ended(r, err)
	if r.Code == 0 { // installed by somebody else meanwhile
		r.State = tell.UpToDate
	}
	if v.repeats(m, r) && !tried {
		v.withdraw(rep, r)
	} else {
		v.close(rep, r)
	}
	return r
}

// A source is an artifact on a stick that is being installed. It knows whether
// the stick is at fault if that fails: a device's own medium has the same errors.
type source struct {
	io.Reader
	err error
}

func (s *source) Read(b []byte) (int, error) {
	n, err := s.Reader.Read(b)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// explain says what it means that an installation failed with err.
func (s *source) explain(on *medium, c *scan.Candidate, err error) error {
	if s.err == nil {
		return c.Explain(err)
	}
	err = on.Explain(s.err)
	for _, known := range []error{volume.ErrGone, volume.ErrCorrupt, volume.ErrMedium} {
		if errors.Is(err, known) {
			return err
		}
	}
	return fmt.Errorf("%w: %w", volume.ErrMedium, err)
}
