package udev

import (
	"context"
	"errors"
	"fmt"

	"github.com/plimsoll-ota/plimsoll/artifact"
	"github.com/plimsoll-ota/plimsoll/udev/report"
	"github.com/plimsoll-ota/plimsoll/udev/scan"
	"github.com/plimsoll-ota/plimsoll/udev/tell"
	"github.com/plimsoll-ota/plimsoll/udev/volume"
)

// update has the device install the best of what is on the stick, or says why
// it does not. The error is the context's cause: the next visit goes on.
func (v *Visit) update(ctx context.Context, m *media, earlier []report.Report) (Result, error) {
	best, verdicts := v.choose(m)
	if best == nil {
		return v.concluded(m, v.reason(m, verdicts), earlier), nil
	}
	r, err := v.attempt(ctx, m, best)
	return r, errors.Join(err, best.Close())
}

// choose looks at all that is on the stick for this device.
func (v *Visit) choose(m *media) (*scan.Candidate, []Verdict) {
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
	next := 0
	return Choose(files, func(f scan.File) (*scan.Candidate, error) {
		one := on[next]
		next++
		c, err := one.stick.Look(f, v.Trust)
		if err != nil {
			return nil, one.Explain(err)
		}
		return c, nil
	}, v.Device)
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
	if len(earlier) > 0 {
		r = resultOf(earlier[len(earlier)-1])
		v.remember(visited{m.label(), r})
		return r
	}
	if r.Code == tell.FailedBefore && r.Manifest == last.Manifest && last.State == tell.WentBack {
		r = last.Result
	}
	same := visited{m.label(), r}
	if same.key() == last.key() || r.State == tell.UpToDate && last.State == tell.Updated && last.Manifest == r.Manifest && last.Stick == same.Stick {
		return r
	}
	v.remember(same)
	rep := v.newReport(m)
	v.close(&rep, r)
	return r
}

// attempt has the device install an artifact.
func (v *Visit) attempt(ctx context.Context, m *media, c *scan.Candidate) (Result, error) {
	r := Result{Manifest: c.Manifest.String(), Message: tell.Message{State: tell.Working, Artifact: c.Header.Name}}
	rep := v.begin(m, c)
	err := v.permitted(ctx, r, func() (bool, error) {
		if m.stick.Gone() {
			return false, volume.ErrGone
		}
		return v.Device.MayInstall(ctx, c)
	})
	how := Committed
	if err == nil {
		v.tell(r)
		v.phase(&rep, tell.Working)
		how, err = v.Device.Install(ctx, c.Source(), func(percent int) {
			now := r
			now.Percent = percent
			v.tell(now)
		})
	}
	if err != nil {
		if ctx.Err() != nil {
			return r, context.Cause(ctx)
		}
		return v.gaveUp(m, c, rep, r, err), nil
	}
	switch how {
	case Committed:
		r.State = tell.Updated
		v.remember(visited{m.label(), r})
		v.close(&rep, r)
	case Held:
		r.State = tell.Remove
		v.save(&rep, r)
	case Armed:
		r.State = tell.Restarting
		v.save(&rep, r)
	}
	return r, nil
}

// gaveUp closes an attempt that did not come through.
func (v *Visit) gaveUp(m *media, c *scan.Candidate, rep report.Report, r Result, err error) Result {
	if m.stick.Gone() {
		err = fmt.Errorf("%w: %w", volume.ErrGone, err)
	} else {
		err = c.Explain(err)
	}
	r = v.ended(r, err)
	if r.Code == 0 { // installed by somebody else meanwhile
		r.State = tell.UpToDate
	}
	v.remember(visited{m.label(), r})
	v.close(&rep, r)
	return r
}
