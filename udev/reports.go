package udev

import (
	"errors"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plimsoll-ota/plimsoll/udev/report"
	"github.com/plimsoll-ota/plimsoll/udev/scan"
	"github.com/plimsoll-ota/plimsoll/udev/tell"
)

// outcomes takes up what has become known of earlier attempts, and returns the
// reports that are final with that, oldest first.
func (v *Visit) outcomes() []report.Report {
	var known []report.Report
	for _, rep := range v.open() {
		o := v.Device.Outcome(rep.Manifest)
		if o.State == "" {
			continue
		}
		r := Result{Manifest: rep.Manifest, Message: tell.Message{State: o.State, Code: o.Code, Artifact: rep.Tried.Name, Detail: o.Detail}}
		rep.Health = &report.Health{Healthy: o.State == tell.Updated}
		if o.Code == tell.Unhealthy || o.Code == tell.Deadline {
			rep.Health.Problems = []string{o.Detail}
		}
		v.close(&rep, r)
		known = append(known, rep)
	}
	return known
}

// resultOf is what a report says.
func resultOf(rep report.Report) Result {
	r := Result{Manifest: rep.Manifest, Message: tell.Message{State: tell.State(rep.Result), Artifact: rep.Tried.Name, Detail: rep.Detail}}
	for _, e := range tell.Codes() {
		if e.Code.String() == rep.Code {
			r.Code = e.Code
		}
	}
	return r
}

// newReport is one that has no number yet.
func (v *Visit) newReport(m *media) report.Report {
	rep := report.Report{Serial: v.Serial, DeviceType: v.DeviceType, Stick: m.label(), Plimsoll: v.Plimsoll}
	if s, err := v.Device.Standing(); err == nil {
		rep.Before = s.Artifact
	}
	return rep
}

// prepare returns the report of an attempt, which is not kept before it begins.
// One that was cut is the same attempt.
func (v *Visit) prepare(m *media, c *scan.Candidate) report.Report {
	rep := v.newReport(m)
	rep.Tried = report.Artifact{Name: c.Header.Name, Version: c.Version()}
	rep.Manifest = c.Manifest.String()
	for _, open := range v.open() {
		if open.Manifest == rep.Manifest {
			rep = open
		}
	}
	v.phase(&rep, tell.Looking)
	return rep
}

// begin keeps the report of an attempt that begins. Those that were cut end with
// that: it is another artifact's turn.
func (v *Visit) begin(rep *report.Report, r Result) {
	s, err := v.Device.Standing()
	if err != nil {
		v.note("%v", err)
	}
	for _, other := range v.open() {
		if other.Manifest != rep.Manifest && !s.owes(other.Manifest) {
			v.close(&other, Result{Manifest: other.Manifest, Message: tell.Message{State: tell.Failed, Code: tell.Interrupted, Artifact: other.Tried.Name}})
		}
	}
	v.save(rep, r)
}

func (v *Visit) open() []report.Report {
	open, err := v.Store.Open()
	if err != nil {
		v.note("%v", err)
	}
	return open
}

// repeats reports whether the last visit ended with this stick and this result,
// and remembers it, if it did not. A stick may stay in through a hundred boots.
func (v *Visit) repeats(m *media, r Result) bool {
	now, last := visited{m.label(), r}, v.remembered()
	if now.key() == last.key() {
		return true
	}
	v.remember(now)
	return false
}

// withdraw takes back a report that says nothing new.
func (v *Visit) withdraw(rep *report.Report, r Result) {
	if rep.Sequence == 0 {
		return
	}
	v.close(rep, r)
	if err := v.Store.Delivered(*rep); err != nil { // on the stick is the one that it repeats, or that waits
		v.note("%v", err)
	}
}

// phase notes when the attempt came to a state.
func (v *Visit) phase(rep *report.Report, s tell.State) {
	now := moment()
	rep.Phases = append(rep.Phases, report.Phase{Name: string(s), Time: now.time, Uptime: now.uptime, BootID: now.bootID})
}

// close is save of an attempt that is over.
func (v *Visit) close(rep *report.Report, r Result) {
	rep.Final = true
	v.save(rep, r)
}

// save keeps a report with the result so far.
func (v *Visit) save(rep *report.Report, r Result) {
	rep.Result, rep.Code, rep.Detail = string(r.State), r.Code.String(), r.Detail
	if rep.Tried.Name == "" {
		rep.Tried.Name, rep.Manifest = r.Artifact, r.Manifest
	}
	if s, err := v.Device.Standing(); err == nil {
		rep.After = s.Artifact
	}
	if n := len(rep.Phases); n == 0 || rep.Phases[n-1].Name != string(r.State) {
		v.phase(rep, r.State)
	}
	now := moment()
	rep.Time, rep.Uptime, rep.BootID, rep.ClockSet = now.time, now.uptime, now.bootID, now.set
	var err error
	if rep.Sequence == 0 {
		*rep, err = v.Store.Begin(*rep)
	} else {
		err = v.Store.Save(rep)
	}
	if err != nil {
		v.note("%v", err)
	}
}

// deliver writes what waits for a stick onto this one. Whatever the stick makes
// of that, the update does not depend on it.
func (v *Visit) deliver(m *media) {
	waiting, err := v.Store.Undelivered()
	if err != nil {
		v.note("%v", err)
	}
	for _, one := range m.reportsTo() {
		if len(waiting) == 0 {
			return
		}
		if waiting, err = v.deliverTo(one, waiting); err != nil {
			v.note("no report on the stick: %v", err)
		}
	}
}

// deliverTo returns the reports that could not be written.
func (v *Visit) deliverTo(m *medium, waiting []report.Report) ([]report.Report, error) {
	if err := m.Writable(); err != nil {
		return waiting, err
	}
	root, err := os.OpenRoot(m.Dir)
	if err != nil {
		return waiting, errors.Join(err, m.ReadOnly())
	}
	written, err := report.Write(root, waiting, v.Write)
	err = errors.Join(m.Explain(err), root.Close())
	if flushed := m.ReadOnly(); flushed != nil { // none may have come to be on it
		return waiting, errors.Join(err, flushed)
	}
	for _, rep := range written {
		err = errors.Join(err, v.Store.Delivered(rep))
	}
	return without(waiting, written), err
}

// without returns the reports that are not among those that were written.
func without(all, written []report.Report) (rest []report.Report) {
	done := map[int64]bool{}
	for _, rep := range written {
		done[rep.Sequence] = true
	}
	for _, rep := range all {
		if !done[rep.Sequence] {
			rest = append(rest, rep)
		}
	}
	return rest
}

// An instant is when something happened, as far as a device knows.
type instant struct {
	time   string
	uptime float64
	bootID string
	set    bool // the clock may be believed
}

// oldest is a time that this program was not written before: a clock that shows
// an earlier one was never set.
var oldest = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func moment() instant {
	now := time.Now().UTC()
	i := instant{time: now.Format(time.RFC3339), set: now.After(oldest)}
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) == nil {
		i.uptime = time.Duration(ts.Nano()).Seconds()
	}
	if b, err := os.ReadFile("/proc/sys/kernel/random/boot_id"); err == nil {
		i.bootID = strings.TrimSpace(string(b))
	}
	return i
}
