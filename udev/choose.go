package udev

import (
	"cmp"
	"fmt"

	"github.com/plimsoll-ota/plimsoll/artifact"
	"github.com/plimsoll-ota/plimsoll/udev/scan"
)

// A Judge decides on artifacts by their signed headers. It is asked about trusted ones only. install.Facts is what a device has of one.
type Judge interface {
	// Accept says whether this artifact may be installed here and now; its error is why not.
	Accept(h *artifact.Header, manifest artifact.Sum) error
	// Current reports whether an error of Accept says that the artifact is installed already.
	Current(err error) bool
	// Compare orders two by their signed versions, below zero if a is older; false if they cannot be compared. One that has no version
	// cannot be compared with itself.
	Compare(a, b *artifact.Header) (int, bool)
}

// A Verdict is what became of one file when an artifact was chosen. All text is for people: printable, and of bounded length but for Err.
type Verdict struct {
	File     scan.File
	Artifact string       // its name; "" if the file is refused before it has one
	Version  string       // its signed version, for people; "" for none
	Manifest artifact.Sum // zero as long as Artifact is ""
	Err      error        // why it is refused; nil if the judge accepts it
	Chosen   bool
	Why      string // accepted, and not chosen: what it gives way to
}

// Choose returns the newest of files that judge accepts, nil if there is none, and what became of each. Close the candidate.
//
// By nothing else than signed headers: what the stick calls a file decides only between two files that hold the same. Where versions do not
// tell two artifacts apart the order is fixed all the same: one with a version goes before one without, then the first by artifact name,
// then by the sum of its manifest. One without a version is not taken where what is installed is on the stick, too: each would follow on the
// other, at every boot, for as long as the stick is in.
//
// look is asked for each file, in their order, and so is judge; of all that look returned only the best so far is kept open, with what it
// remembers of its header.
func Choose(files []scan.File, look func(scan.File) (*scan.Candidate, error), judge Judge) (*scan.Candidate, []Verdict) {
	c := choice{judge: judge, verdicts: make([]Verdict, 0, len(files))}
	for _, f := range files {
		c.consider(f, look)
	}
	c.yield()
	if c.best != nil {
		c.verdicts[c.at].Chosen = true
	}
	return c.best, c.verdicts
}

// yield lets what is installed go before a best one that nobody knows to be newer.
func (c *choice) yield() {
	if c.best == nil {
		return
	}
	if _, versioned := c.judge.Compare(c.best.Header, c.best.Header); versioned {
		return
	}
	for _, v := range c.verdicts {
		if v.Err != nil && c.judge.Current(v.Err) {
			c.verdicts[c.at].Why = fmt.Sprintf("it has no version, and %s is installed already", v.File.Name)
			c.best.Close() // only read
			c.best = nil
			return
		}
	}
}

// A choice is one that is being made.
type choice struct {
	judge    Judge
	best     *scan.Candidate
	at       int // the verdict on best
	verdicts []Verdict
}

func (c *choice) consider(f scan.File, look func(scan.File) (*scan.Candidate, error)) {
	v := Verdict{File: f}
	candidate, err := look(f)
	if err != nil {
		v.Err = brief(err)
		c.verdicts = append(c.verdicts, v)
		return
	}
	v.Artifact, v.Version, v.Manifest = candidate.Header.Name, candidate.Version(), candidate.Manifest
	if err := c.judge.Accept(candidate.Header, candidate.Manifest); err != nil {
		v.Err = brief(err)
	}
	c.verdicts = append(c.verdicts, v)
	if v.Err != nil {
		candidate.Close() // only read
		return
	}
	c.challenge(candidate)
}

// challenge puts the candidate of the last verdict in place of the best one, if it goes before that.
func (c *choice) challenge(next *scan.Candidate) {
	last := len(c.verdicts) - 1
	if c.best == nil {
		c.best, c.at = next, last
		return
	}
	order, why := c.order(next, c.best)
	if order <= 0 {
		c.verdicts[last].Why = fmt.Sprintf(why, c.verdicts[c.at].File.Name)
		next.Close() // only read
		return
	}
	c.verdicts[c.at].Why = fmt.Sprintf(why, c.verdicts[last].File.Name)
	c.best.Close() // only read
	c.best, c.at = next, last
}

// order is above zero if a goes before b, and 0 if they are the same. why says of the one that gives way to which other, and for what.
func (c *choice) order(a, b *scan.Candidate) (order int, why string) {
	if a.Manifest == b.Manifest {
		return 0, "the same artifact as %s"
	}
	byName := cmp.Or(cmp.Compare(b.Header.Name, a.Header.Name), cmp.Compare(b.Manifest.String(), a.Manifest.String()))
	if order, ok := c.judge.Compare(a.Header, b.Header); ok {
		if order != 0 {
			return order, "older than %s"
		}
		return byName, "of the same version as %s, which is first by artifact name"
	}
	_, versionA := c.judge.Compare(a.Header, a.Header)
	_, versionB := c.judge.Compare(b.Header, b.Header)
	if versionA != versionB {
		if versionA {
			return 1, "it has no version, and %s has"
		}
		return -1, "it has no version, and %s has"
	}
	return byName, "without a version to compare, as %s is, which is first by artifact name"
}

// maxError is how much is kept of what an error says. A header that somebody could write without a key may have megabytes of device types
// that it is for, there may be as many such files as are looked at, and errors quote.
const maxError = 1 << 10

// brief returns err, or if it says too much something short that is the same sentinels.
func brief(err error) error {
	if text := err.Error(); len(text) > maxError {
		return shortened{text: text[:maxError] + "…", is: leaves(nil, err)}
	}
	return err
}

// shortened is an error of which the text was cut off.
type shortened struct {
	text string
	is   []error
}

func (s shortened) Error() string   { return s.text }
func (s shortened) Unwrap() []error { return s.is }

// leaves appends the errors that err is made of, as far as they are short themselves.
func leaves(to []error, err error) []error {
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		if next := e.Unwrap(); next != nil {
			return leaves(to, next)
		}
	case interface{ Unwrap() []error }:
		for _, next := range e.Unwrap() {
			to = leaves(to, next)
		}
		return to
	}
	if len(err.Error()) <= maxError {
		to = append(to, err)
	}
	return to
}
