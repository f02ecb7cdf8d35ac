package tell

import "time"

// paceTime is how long progress may be silent.
const paceTime = 10 * time.Second

// A pace leaves out what was said already, and of progress all but one for each
// tenth and one after ten seconds.
type pace struct {
	last Message
	at   time.Time
}

// due tells whether a message is worth telling now, and takes it as told.
func (p *pace) due(m Message, now time.Time) bool {
	same := m
	same.Percent = p.last.Percent
	switch {
	case p.at.IsZero() || same != p.last:
	case m.Percent == p.last.Percent:
		return false
	case m.Percent/10 == p.last.Percent/10 && now.Sub(p.at) < paceTime:
		return false
	}
	p.last, p.at = m, now
	return true
}
