package tell

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A State is what the device does with a stick, or what came of it. Its text is
// the vocabulary: shown, documented, and compared by programs.
type State string

// The vocabulary. WentBack, Failed and Nothing have a Code.
const (
	Looking    State = "looking"
	Waiting    State = "waiting for permission"
	Working    State = "working, do not remove"
	Remove     State = "you may remove the stick"
	Restarting State = "restarting"
	Testing    State = "testing the new version, do not switch off"
	Updated    State = "updated and confirmed"
	WentBack   State = "went back to the old version"
	UpToDate   State = "up to date"
	Nothing    State = "nothing here for this device"
	Failed     State = "failed"
)

// A Message is one thing to be told.
type Message struct {
	State    State
	Code     Code   // why, for WentBack, Failed and Nothing; of others it is not shown
	Artifact string // its name, if one was chosen
	Detail   string // one line for people
	Percent  int    // how far Working is, 1 to 100; 0 is unknown
}

// A Teller is told what happens. Tell does not fail and does not wait.
type Teller interface {
	Tell(Message)
}

// How long texts from outside may be, in characters.
const (
	maxArtifact = 64
	maxDetail   = 160
)

// String is the message in one line:
//
//	failed: E21 (release-8): Update is for another type of device: made for beaglebone
func (m Message) String() string {
	m = m.clean()
	var s strings.Builder
	s.WriteString(string(m.State))
	if m.Code != 0 {
		fmt.Fprintf(&s, ": %v", m.Code)
	}
	if m.Artifact != "" {
		fmt.Fprintf(&s, " (%s)", m.Artifact)
	}
	if m.Percent != 0 {
		fmt.Fprintf(&s, ", %d %%", m.Percent)
	}
	if m.Code != 0 {
		fmt.Fprintf(&s, ": %s", m.Code.explanation().Title)
	}
	if m.Detail != "" {
		fmt.Fprintf(&s, ": %s", m.Detail)
	}
	return s.String()
}

// clean returns the message as it may be shown: with a code where there must be
// one and nowhere else, and with texts that are one bounded line.
func (m Message) clean() Message {
	m.State = State(line(string(m.State), maxDetail))
	m.Artifact, m.Detail = line(m.Artifact, maxArtifact), line(m.Detail, maxDetail)
	m.Percent = min(max(m.Percent, 0), 100)
	switch {
	case m.State.pattern() != Blinks:
		m.Code = 0
	case m.Code == 0 && m.State == Nothing:
		m.Code = NoArtifact
	case !m.Code.known():
		m.Code = Other
	}
	return m
}

// line makes one line of at most limit characters of a text from outside: no
// controls, no bytes that are not text, nothing invisible that turns or joins
// what stands beside it.
func line(s string, limit int) string {
	if most := limit * utf8.UTFMax * 4; len(s) > most {
		s = s[:most]
	}
	s = strings.Map(func(r rune) rune {
		switch {
		case r == utf8.RuneError:
			return '?'
		case unicode.IsPrint(r):
			return r
		}
		return ' '
	}, s)
	r := []rune(strings.Join(strings.Fields(s), " "))
	if len(r) > limit {
		r = append(r[:limit-1], '…')
	}
	return string(r)
}
