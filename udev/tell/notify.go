package tell

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// notifyTime is how long systemd may take a message.
const notifyTime = time.Second

// A Status is what systemctl shows of a unit, by the protocol of sd_notify(3).
type Status struct {
	socket string
	faults faults

	mu   sync.Mutex // what is told first arrives first
	last string
}

// Notify returns a Teller for the value of $NOTIFY_SOCKET: a path, or a name
// that begins with @. With "", which is without systemd, it does nothing.
func Notify(socket string) *Status { return &Status{socket: socket} }

// Tell sets the unit's status.
func (s *Status) Tell(m Message) {
	text := m.String()
	s.mu.Lock()
	defer s.mu.Unlock()
	if text == s.last {
		return
	}
	if err := s.send("STATUS=" + text); err != nil {
		s.faults.add(err)
		return
	}
	s.last = text
}

// Ready says that the unit has started.
func (s *Status) Ready() error { return s.send("READY=1") }

// Close returns what went wrong since the beginning.
func (s *Status) Close() error { return s.faults.err() }

func (s *Status) send(text string) error {
	if s.socket == "" {
		return nil
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: s.socket, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("tell systemd: %w", err)
	}
	err = c.SetWriteDeadline(time.Now().Add(notifyTime))
	if err == nil {
		_, err = c.Write([]byte(text))
	}
	if err = errors.Join(err, c.Close()); err != nil {
		return fmt.Errorf("tell systemd: %w", err)
	}
	return nil
}
