package tell

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// writeTime is how long a console may take one line. One that is held
	// off, by its far end or by somebody who pressed Ctrl-S, takes for ever.
	writeTime = 2 * time.Second
	// maxLines is how many lines wait for a console that is slow.
	maxLines = 16
)

// A Screen is where lines are shown to people: terminals, serial ones too.
type Screen struct {
	lines []*terminal

	mu   sync.Mutex // what is told first stands first
	pace pace
}

// A terminal is one of them. It is opened for each line: whoever else it
// belongs to may hang it up at any time.
type terminal struct {
	path   string
	lines  *queue[string]
	done   chan struct{}
	faults faults
}

// Console returns a Teller that writes each message as a line to each of the
// terminals: /dev/console, /dev/tty1. What was said already is not repeated, and
// of progress there is a line for each tenth and one after ten seconds. A line
// that a terminal does not take in two seconds is given up.
func Console(paths ...string) *Screen {
	s := &Screen{}
	for _, path := range paths {
		t := &terminal{path: path, lines: newQueue[string](maxLines), done: make(chan struct{})}
		s.lines = append(s.lines, t)
		go t.run()
	}
	return s
}

// Tell writes a message as a line.
func (s *Screen) Tell(m Message) {
	m = m.clean()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.pace.due(m, time.Now()) {
		return
	}
	text := "plimsoll: " + ascii(m.String()) + "\r\n"
	for _, t := range s.lines {
		t.lines.put(text)
	}
}

// Close returns when all lines are written, after three seconds at most, and
// what went wrong since the beginning.
func (s *Screen) Close() error {
	for _, t := range s.lines {
		t.lines.close()
	}
	until := time.Now().Add(closeTime)
	var errs []error
	for _, t := range s.lines {
		errs = append(errs, finish(t.done, time.Until(until), t.path), t.faults.err())
	}
	return errors.Join(errs...)
}

func (t *terminal) run() {
	defer close(t.done)
	for {
		text, ok := t.lines.next()
		if !ok {
			return
		}
		if err := t.print(text); err != nil {
			t.faults.add(fmt.Errorf("tell %s: %w", t.path, err))
		}
	}
}

// print opens the terminal without waiting for a carrier, and without making it
// the one that could interrupt this process.
func (t *terminal) print(text string) error {
	f, err := os.OpenFile(t.path, os.O_WRONLY|os.O_APPEND|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	err = f.SetWriteDeadline(time.Now().Add(writeTime))
	if errors.Is(err, os.ErrNoDeadline) {
		err = nil // a plain file does not hold anybody off
	}
	if err == nil {
		_, err = f.WriteString(text)
	}
	return errors.Join(err, f.Close())
}

// ascii leaves nothing that a terminal could take for something else: one that
// does not know UTF-8 finds control characters (0x80 to 0x9f) within letters.
func ascii(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}
