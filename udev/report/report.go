package report

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Schema is the number that this release writes. Fields are added without
// changing it; a reader passes over those that it does not know.
const Schema = 1

// What a field may hold, in bytes. Together they keep a report without phases
// and problems below maxJSON, however it is escaped.
const (
	maxID       = 128  // serial, device type, the stick's id
	maxName     = 256  // artifact_name
	maxVersion  = 128  // of an artifact, and of plimsoll
	maxWord     = 80   // result, code, boot id, names of phases
	maxDetail   = 1024 // what an error may say
	maxProblem  = 200
	maxPhases   = 32
	maxProblems = 16
	maxUptime   = 1e9 // seconds: thirty years
)

// ErrReport is a report that could not have been made by a device.
var ErrReport = errors.New("not a report")

// An Artifact is what a person calls it, and what versions are compared by.
type Artifact struct {
	Name    string `json:"name,omitempty"`    // artifact_name
	Version string `json:"version,omitempty"` // plimsoll.version or rootfs-image.version; empty: none
}

// A Phase is when the attempt came to a state.
type Phase struct {
	Name   string  `json:"name"`              // as in Report.Result
	Time   string  `json:"time,omitempty"`    // RFC 3339, UTC, as the device's clock had it
	Uptime float64 `json:"uptime"`            // seconds since the boot BootID
	BootID string  `json:"boot_id,omitempty"` // kernel's boot_id
}

// Health is what the checks said of the new version on trial.
type Health struct {
	Healthy  bool     `json:"healthy"`
	Problems []string `json:"problems,omitempty"` // a line each; none if it is healthy
	More     int      `json:"more,omitempty"`     // problems beyond those
}

// A Report is what happened in one attempt to update one device. Serial, Store
// and Sequence say which attempt; of two reports about the same one that with
// the greater Revision knows more.
type Report struct {
	Schema   int    `json:"schema"`
	Serial   string `json:"serial"`          // the device's own; empty: it has none
	Store    string `json:"store,omitempty"` // hexadecimal digits, new when the device's numbers begin anew
	Sequence int64  `json:"sequence"`        // from 1
	Revision int    `json:"revision"`        // from 1
	Final    bool   `json:"final"`           // the outcome is known

	DeviceType string   `json:"device_type,omitempty"`
	Before     Artifact `json:"before"`             // what ran when the attempt began
	After      Artifact `json:"after"`              // what ran when the report was last written
	Tried      Artifact `json:"tried"`              // what the stick had for the device
	Manifest   string   `json:"manifest,omitempty"` // SHA-256 of Tried's manifest

	Result string  `json:"result"`           // the state that the technician was told
	Code   string  `json:"code,omitempty"`   // as in E51; empty: nothing went wrong
	Detail string  `json:"detail,omitempty"` // one line for people
	Health *Health `json:"health,omitempty"` // nil: nothing was judged
	Phases []Phase `json:"phases,omitempty"`

	Time     string  `json:"time,omitempty"` // RFC 3339, UTC, when it was last written
	ClockSet bool    `json:"clock_set"`      // whether Time may be believed
	Uptime   float64 `json:"uptime"`         // seconds since the boot BootID
	BootID   string  `json:"boot_id,omitempty"`

	Stick     string `json:"stick,omitempty"` // the stick that began it: its UUID or label
	Plimsoll  string `json:"plimsoll,omitempty"`
	LogSHA256 string `json:"log_sha256,omitempty"` // of the sealed log beside it, see Seal
	Shortened bool   `json:"shortened,omitempty"`  // phases or problems were left out
}

// same reports whether two reports are about one attempt.
func (r *Report) same(o *Report) bool {
	return r.Serial == o.Serial && r.Store == o.Store && r.Sequence == o.Sequence
}

// clean makes every text of r one printable line within its bound, and drops
// what is beyond the bounds of numbers. A clean report is not changed by it.
func (r *Report) clean() {
	for _, f := range []struct {
		s     *string
		limit int
	}{
		{&r.Serial, maxID}, {&r.DeviceType, maxID}, {&r.Stick, maxID},
		{&r.Before.Name, maxName}, {&r.After.Name, maxName}, {&r.Tried.Name, maxName},
		{&r.Before.Version, maxVersion}, {&r.After.Version, maxVersion}, {&r.Tried.Version, maxVersion}, {&r.Plimsoll, maxVersion},
		{&r.Result, maxWord}, {&r.Code, maxWord}, {&r.BootID, maxWord}, {&r.Manifest, maxWord}, {&r.LogSHA256, maxWord},
		{&r.Detail, maxDetail},
	} {
		*f.s = line(*f.s, f.limit)
	}
	r.Store = hexOnly(r.Store)
	r.Time, r.Uptime, r.Revision = instant(r.Time), within(r.Uptime), max(1, r.Revision)
	r.cleanHealth()
	r.cleanPhases()
}

func (r *Report) cleanHealth() {
	if r.Health == nil {
		return
	}
	h := Health{Healthy: r.Health.Healthy, More: min(max(0, r.Health.More), 1e6)}
	for _, p := range r.Health.Problems {
		if len(h.Problems) == maxProblems {
			h.More++
			continue
		}
		h.Problems = append(h.Problems, line(p, maxProblem))
	}
	r.Health = &h
}

func (r *Report) cleanPhases() {
	var phases []Phase
	if over := len(r.Phases) - maxPhases; over > 0 {
		r.Phases, r.Shortened = r.Phases[over:], true
	}
	for _, p := range r.Phases {
		phases = append(phases, Phase{line(p.Name, maxWord), instant(p.Time), within(p.Uptime), line(p.BootID, maxWord)})
	}
	r.Phases = phases
}

// check refuses what no device could have written. r is clean.
func (r *Report) check() error {
	switch {
	case r.Schema < 1:
		return fmt.Errorf("%w: schema %d", ErrReport, r.Schema)
	case r.Sequence < 1:
		return fmt.Errorf("%w: sequence %d", ErrReport, r.Sequence)
	case r.Result == "":
		return fmt.Errorf("%w: no result", ErrReport)
	}
	return nil
}

// line makes one printable line, of at most limit bytes, of what anybody may
// have written.
func line(s string, limit int) string {
	if len(s) > 4*limit { // before anything is copied
		s = s[:4*limit]
	}
	s = strings.Join(strings.Fields(strings.Map(printable, s)), " ")
	if len(s) > limit {
		s = strings.TrimSpace(strings.ToValidUTF8(s[:limit-len("…")], "")) + "…"
	}
	return s
}

// printable gives a blank for whatever moves a cursor, turns the direction of
// writing, or cannot be seen.
func printable(r rune) rune {
	if unicode.IsPrint(r) && r != utf8.RuneError {
		return r
	}
	return ' '
}

// hexOnly returns s if it is a store's id, and else nothing.
func hexOnly(s string) string {
	if len(s) > 16 || strings.Trim(s, "0123456789abcdef") != "" {
		return ""
	}
	return s
}

// instant returns a time as RFC 3339 in UTC, to the second, and nothing for
// what is none.
func instant(s string) string {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil || t.UTC().Year() < 1 || t.UTC().Year() > 9999 {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// within bounds a number of seconds, and rounds it to milliseconds.
func within(seconds float64) float64 {
	if !(seconds > 0) { // neither is NaN
		return 0
	}
	return float64(int64(min(seconds, maxUptime)*1000+0.5)) / 1000
}
