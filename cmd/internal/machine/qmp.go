package machine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
)

// A monitor is a connection to QEMU's machine protocol.
type monitor struct {
	conn net.Conn

	mu      sync.Mutex
	next    int
	answers map[int]chan answer
	events  []event
	changed chan struct{} // closed when there is another event, or the end
	end     error
}

type answer struct {
	ID     int             `json:"id"`
	Return json.RawMessage `json:"return"`
	Error  *struct {
		Desc string `json:"desc"`
	} `json:"error"`
}

type event struct {
	Event string `json:"event"`
	Data  struct {
		Device string `json:"device"`
	} `json:"data"`
}

func newMonitor(conn net.Conn) *monitor {
	m := &monitor{conn: conn, answers: map[int]chan answer{}, changed: make(chan struct{})}
	go m.read()
	return m
}

func (m *monitor) read() {
	dec := json.NewDecoder(m.conn)
	for {
		var msg struct {
			answer
			event
		}
		err := dec.Decode(&msg)
		m.mu.Lock()
		switch {
		case err != nil:
			m.end = errors.New("QEMU has closed its monitor")
			for _, c := range m.answers {
				close(c)
			}
			m.answers = nil
			close(m.changed)
			m.mu.Unlock()
			m.conn.Close()
			return
		case msg.Event != "":
			m.events = append(m.events, msg.event)
			close(m.changed)
			m.changed = make(chan struct{})
		case m.answers[msg.ID] != nil:
			m.answers[msg.ID] <- msg.answer
			delete(m.answers, msg.ID)
		}
		m.mu.Unlock()
	}
}

// execute runs a command and decodes its result, unless that is nil.
func (m *monitor) execute(ctx context.Context, command string, args, result any) error {
	got := make(chan answer, 1)
	m.mu.Lock()
	if m.end != nil {
		m.mu.Unlock()
		return fmt.Errorf("%s: %w", command, m.end)
	}
	m.next++
	id := m.next
	m.answers[id] = got
	m.mu.Unlock()
	request := map[string]any{"execute": command, "id": id}
	if args != nil {
		request["arguments"] = args
	}
	if err := json.NewEncoder(m.conn).Encode(request); err != nil {
		return fmt.Errorf("%s: %w", command, err)
	}
	select {
	case a, ok := <-got:
		switch {
		case !ok:
			return fmt.Errorf("%s: %w", command, m.end)
		case a.Error != nil:
			return fmt.Errorf("%s: %s", command, a.Error.Desc)
		case result != nil:
			return json.Unmarshal(a.Return, result)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", command, context.Cause(ctx))
	}
}

// seen returns how many events there were, to wait for one after them.
func (m *monitor) seen() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.events)
}

// wait waits for an event about a device, after the first n.
func (m *monitor) wait(ctx context.Context, n int, name, device string) error {
	for {
		m.mu.Lock()
		for ; n < len(m.events); n++ {
			if e := m.events[n]; e.Event == name && e.Data.Device == device {
				m.mu.Unlock()
				return nil
			}
		}
		changed, end := m.changed, m.end
		m.mu.Unlock()
		if end != nil {
			return fmt.Errorf("wait for %s: %w", name, end)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("wait for %s of %s: %w", name, device, context.Cause(ctx))
		}
	}
}
