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
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	seq, torn, err := lastOf(f)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	e.Seq = seq + 1
	e.Time, e.Uptime, e.BootID = time.Now().UTC().Format(time.RFC3339), uptime(), bootID
	line, err := json.Marshal(e)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	_, err = f.Write(append(torn, append(line, '\n')...))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return shorten(dir)
}

// lastOf returns the number of the last event that is whole, 0 if there is none,
// and the newline that a cut kept from the last line. It reads no more than it
// has to: a call of a module is an event.
func lastOf(f *os.File) (seq int64, torn []byte, err error) {
	st, err := f.Stat()
	if err != nil {
		return 0, nil, err
	}
	for from := st.Size(); from > 0; {
		from = max(0, from-16*maxDetail)
		b := make([]byte, st.Size()-from)
		if _, err := f.ReadAt(b, from); err != nil {
			return 0, nil, err
		}
		if b[len(b)-1] != '\n' {
			torn = []byte{'\n'}
		}
		for line := range bytes.SplitSeq(b, []byte{'\n'}) { // the first may be the end of one, which is no event
			var e Event
			if json.Unmarshal(line, &e) == nil && e.Event != "" {
				seq = e.Seq
			}
		}
		if seq > 0 {
			break
		}
	}
	return seq, torn, nil
}

// shorten drops the older half of a history that has reached its bound.
func shorten(dir string) error {
	path := filepath.Join(dir, "history.jsonl")
	if st, err := os.Stat(path); err != nil || st.Size() < maxHistory {
		return err
	}
	past, err := History(dir)
	if err != nil {
		return err
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
