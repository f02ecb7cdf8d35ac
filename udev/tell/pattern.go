package tell

import (
	"fmt"
	"strings"
	"time"
)

// A Pattern is what one light can say. There are four: most devices have one
// light, and not everybody sees colours.
type Pattern string

const (
	Steady Pattern = "steady" // it went well, and you may take the stick
	Slow   Pattern = "slow"   // the device waits, and works as before
	Fast   Pattern = "fast"   // leave the stick in, and the device on
	Blinks Pattern = "code"   // it is over, and did not go well: count
)

// patterns is chosen by what a technician must do, and so that no failure looks
// like a success.
var patterns = map[State]Pattern{
	Looking:    Fast,
	Waiting:    Slow,
	Working:    Fast,
	Remove:     Steady,
	Restarting: Fast,
	Testing:    Fast,
	Updated:    Steady,
	UpToDate:   Steady,
	Nothing:    Blinks,
	WentBack:   Blinks,
	Failed:     Blinks,
}

// pattern of what is not in the vocabulary is Blinks: nobody takes that for a
// success.
func (s State) pattern() Pattern {
	if p, ok := patterns[s]; ok {
		return p
	}
	return Blinks
}

// The times of the light. They are slow enough to count by, and far from what
// harms people who are sensitive to flicker.
const (
	slowHalf  = 1000 * time.Millisecond // on, and as long off
	fastHalf  = 125 * time.Millisecond
	codeOn    = 300 * time.Millisecond // one blink
	codeOff   = 300 * time.Millisecond // between two
	codePause = 1500 * time.Millisecond
	codeGap   = 3000 * time.Millisecond // before the first digit
)

// A signal is a pattern as the light shows it.
type signal struct {
	pattern Pattern
	code    Code // of Blinks
}

func (m Message) signal() signal {
	m = m.clean()
	return signal{m.State.pattern(), m.Code}
}

// A step is a light on or off for a time.
type step struct {
	on    bool
	lasts time.Duration
}

// steps are one round of the signal. A code begins dark, so that its first
// blink stands apart from whatever was shown before.
func (s signal) steps() []step {
	switch s.pattern {
	case Slow:
		return []step{{true, slowHalf}, {false, slowHalf}}
	case Fast:
		return []step{{true, fastHalf}, {false, fastHalf}}
	case Blinks:
		all := append([]step{{false, codeGap}}, blinks(int(s.code)/10)...)
		all = append(all, step{false, codePause})
		return append(all, blinks(int(s.code)%10)...)
	}
	return nil
}

func blinks(n int) (all []step) {
	for i := range n {
		if i > 0 {
			all = append(all, step{false, codeOff})
		}
		all = append(all, step{true, codeOn})
	}
	return all
}

// kernelPattern is what the kernel's trigger "pattern" takes: brightness and
// milliseconds, each twice, the second time for no time, since it would
// otherwise fade from one to the next (sysfs-class-led-trigger-pattern, 2).
func kernelPattern(steps []step, brightness int) string {
	var all []string
	for _, s := range steps {
		b := 0
		if s.on {
			b = brightness
		}
		all = append(all, fmt.Sprintf("%d %d %d 0", b, s.lasts.Milliseconds(), b))
	}
	return strings.Join(all, " ")
}
