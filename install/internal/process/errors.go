package process

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"
	"unicode"
)

// ErrTimeout is the cause of the end of a program that took too long.
var ErrTimeout = errors.New("timed out")

// An Error is a program that could not be started, or did not end with exit
// code 0.
type Error struct {
	Name   string
	Code   int            // of its exit; -1 if it did not exit by itself
	Signal syscall.Signal // that ended it, if nothing else did
	Cause  error          // why it was ended, or not started; nil if it ended by itself
	After  time.Duration  // how long it was given, if Cause is ErrTimeout
	Said   string         // the end of what it said on standard error, in one line
	Left   error          // what could not be removed after it
}

func (e *Error) Error() string {
	s := e.Name + ": " + e.how()
	if e.Said != "" {
		s += ": " + e.Said
	}
	if e.Left != nil {
		s += "; " + e.Left.Error()
	}
	return s
}

func (e *Error) how() string {
	switch {
	case e.Cause == ErrTimeout:
		return fmt.Sprintf("timed out after %v", e.After)
	case e.Cause != nil:
		return e.Cause.Error()
	case e.Signal != 0:
		return fmt.Sprintf("ended by signal %d (%v)", int(e.Signal), e.Signal)
	}
	return fmt.Sprintf("exit code %d", e.Code)
}

func (e *Error) Unwrap() []error {
	var all []error
	for _, err := range []error{e.Cause, e.Left} {
		if err != nil {
			all = append(all, err)
		}
	}
	return all
}

// verdict returns nil for a program that exited with code 0 and left nothing.
func (p *Process) verdict(cause error, status syscall.WaitStatus, left error) error {
	if cause == nil && left == nil && status.Exited() && status.ExitStatus() == 0 {
		return nil
	}
	e := &Error{Name: p.command.Name, Code: p.result.Code, Cause: cause, Left: left, Said: lastLines(p.result.Stderr)}
	if cause == ErrTimeout {
		e.After = p.command.Timeout
	}
	if status.Signaled() {
		e.Signal = status.Signal()
	}
	return e
}

const (
	saidLines = 2
	saidBytes = 300
)

// lastLines returns the last lines that have something in them, as one line
// that can be shown on a terminal.
func lastLines(o Output) string {
	var lines []string
	for line := range strings.Lines(o.String()) {
		if line = strings.TrimSpace(strings.Map(printable, line)); line != "" {
			lines = append(lines, line)
		}
	}
	said := strings.Join(lines[max(0, len(lines)-saidLines):], " / ")
	if over := len(said) - saidBytes; over > 0 {
		said = "…" + strings.ToValidUTF8(said[over:], "")
	}
	return said
}

func printable(r rune) rune {
	if unicode.IsPrint(r) {
		return r
	}
	return ' '
}
