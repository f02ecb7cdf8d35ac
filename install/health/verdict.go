package health

import (
	"fmt"
	"strings"
	"time"
	"unicode"
)

// How much a verdict says at most: it goes into the record of the trial.
const (
	maxSaw      = 240 // bytes of what a check saw
	maxName     = 120 // bytes of a check's name
	maxProblems = 16
	maxRemarks  = 16
	maxReason   = 1024
)

// A Verdict is what the checks say of the system.
type Verdict struct {
	Healthy  bool          `json:"healthy"`
	At       time.Duration `json:"at"`                 // since the boot
	Problems []Problem     `json:"problems,omitempty"` // at most 16; none if it is healthy
	More     int           `json:"more,omitempty"`     // problems beyond those
	Remarks  []string      `json:"remarks,omitempty"`  // what a person should know, though it is no problem
}

// A Problem is why a system is not healthy.
type Problem struct {
	Check string        `json:"check"`
	Saw   string        `json:"saw"`   // what it saw last
	Since time.Duration `json:"since"` // since the boot
}

// String is one sentence.
func (p Problem) String() string {
	return fmt.Sprintf("%s: %s, since %v after the boot", p.Check, p.Saw, seconds(p.Since))
}

// Reason is why the system is not healthy, in at most 1 KiB, or "" if it is.
func (v Verdict) Reason() string {
	var b strings.Builder
	more := v.More
	for i, p := range v.Problems {
		s := p.String()
		if i > 0 && b.Len()+len(s) > maxReason-len("; and 99999 more") {
			more += len(v.Problems) - i
			break
		}
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(s)
	}
	if more > 0 {
		fmt.Fprintf(&b, "; and %d more", more)
	}
	return b.String()
}

// add notes a problem, while there is room for it.
func (v *Verdict) add(check, saw string, since time.Duration) {
	if len(v.Problems) == maxProblems {
		v.More++
		return
	}
	v.Problems = append(v.Problems, Problem{check, line(saw, maxSaw), since})
}

// seconds rounds a duration to what people want to read.
func seconds(d time.Duration) time.Duration {
	if d < 10*time.Second {
		return d.Round(100 * time.Millisecond)
	}
	return d.Round(time.Second)
}

// line makes one printable line, of at most limit bytes, of what a program or a
// server said.
func line(s string, limit int) string {
	const ellipsis = "…"
	s = s[:min(len(s), 8*limit)] // enough, even if most of it is white space
	s = strings.Map(func(r rune) rune {
		switch {
		case r == unicode.ReplacementChar:
			return '?'
		case unicode.IsPrint(r):
			return r
		}
		return ' '
	}, strings.ToValidUTF8(s, "?"))
	s = strings.Join(strings.Fields(s), " ")
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit-len(ellipsis)], "") + ellipsis
}
