package install

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// maxHistory bounds history.jsonl. At the bound the older half is dropped.
const maxHistory = 256 << 10

// maxDetail bounds what an error may add to a line of the history.
const maxDetail = 1 << 10

// An Event is a line of history.jsonl. The clock of a device may be wrong, so
// that Seq, and not Time, is the order.
type Event struct {
	Seq      int64   `json:"seq"`
	Time     string  `json:"time"`   // RFC 3339, UTC, as the device's clock had it
	Uptime   float64 `json:"uptime"` // seconds since boot
	BootID   string  `json:"boot_id,omitempty"`
	Event    string  `json:"event"` // install, armed, committed, rolled-back, failed, …
	Row      string  `json:"row,omitempty"`
	Artifact string  `json:"artifact,omitempty"`
	Manifest string  `json:"manifest,omitempty"`
	From     string  `json:"from,omitempty"` // slot
	To       string  `json:"to,omitempty"`   // slot
	Class    Class   `json:"class,omitempty"`
	Detail   string  `json:"detail,omitempty"`
}

// History returns the events of the state directory dir, oldest first. A line
// that a cut tore is passed over.
func History(dir string) ([]Event, error) {
	b, err := os.ReadFile(filepath.Join(dir, "history.jsonl"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrState, err)
	}
	var events []Event
	for line := range bytes.Lines(b) {
		var e Event
		if json.Unmarshal(line, &e) == nil && e.Event != "" {
			events = append(events, e)
		}
	}
	return events, nil
}

// note appends an event. The history informs and never decides: where it
// cannot be written the update goes on, and the caller is told.
func (d *Device) note(e Event) {
	e.Detail = e.Detail[:min(len(e.Detail), maxDetail)]
	if err := appendEvent(d.StateDir, e, d.bootID()); err != nil {
		d.report(Progress{Note: fmt.Sprintf("history: %v", err)})
	}
}

func appendEvent(dir string, e Event, bootID string) error {
	path := filepath.Join(dir, "history.jsonl")
	past, err := History(dir)
	if err != nil {
		return err
	}
	if n := len(past); n > 0 {
		e.Seq = past[n-1].Seq
	}
	e.Seq++
	e.Time, e.Uptime, e.BootID = time.Now().UTC().Format(time.RFC3339), uptime(), bootID
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	if err := shorten(path, past); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(afterTornLine(f), append(line, '\n')...))
	return errors.Join(err, f.Sync(), f.Close())
}

// afterTornLine returns the newline that a cut kept from the last line.
func afterTornLine(f *os.File) []byte {
	var last [1]byte
	if st, err := f.Stat(); err == nil && st.Size() > 0 {
		if _, err := f.ReadAt(last[:], st.Size()-1); err == nil && last[0] != '\n' {
			return []byte{'\n'}
		}
	}
	return nil
}

// shorten drops the older half of a history that has reached its bound.
func shorten(path string, past []Event) error {
	if st, err := os.Stat(path); err != nil || st.Size() < maxHistory {
		return nil // not there yet, or small enough
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	for _, e := range past[len(past)/2:] {
		if err := enc.Encode(e); err != nil {
			return err
		}
	}
	return replaceFile(path, b.Bytes())
}

// uptime returns the seconds since boot, suspension included: unlike the wall
// clock it does not jump when NTP arrives.
func uptime() float64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0
	}
	return float64(ts.Nano()/int64(time.Millisecond)) / 1000
}
