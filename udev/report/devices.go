package report

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/plimsoll-ota/plimsoll/udev/tell"
)

// decided reports whether the new version was on trial on the device.
func (r *Report) decided() bool {
	return r.is(tell.Updated) || r.is(tell.WentBack)
}

func (r *Report) is(s tell.State) bool { return r.Result == string(s) }

// Good reports whether the attempt ended with the device having what the stick
// brought, or something newer.
func (r Report) Good() bool {
	return r.Final && r.Code == "" && (r.is(tell.Updated) || r.is(tell.UpToDate))
}

// A Device is one that reports are from.
type Device struct {
	Serial  string
	Latest  Found   // its latest outcome
	Reports []Found // all, oldest first, each once
}

// Devices sorts reports by device, in the order of their serial numbers. A
// report that is on several sticks counts once: the one that knows most.
//
// What is verified outranks what is not, however new that says it is: an
// unsigned file cannot hide what a device has signed.
func Devices(all []Found) []Device {
	type id struct {
		serial, store string
		sequence      int64
	}
	best := map[id]Found{}
	for _, f := range all {
		k := id{f.Serial, f.Store, f.Sequence}
		if old, ok := best[k]; !ok || better(&f, &old) {
			best[k] = f
		}
	}
	by := map[string][]Found{}
	for _, f := range best {
		by[f.Serial] = append(by[f.Serial], f)
	}
	var devices []Device
	for serial, reports := range by {
		inOrder(reports)
		devices = append(devices, Device{serial, latest(reports), reports})
	}
	slices.SortFunc(devices, func(a, b Device) int { return strings.Compare(a.Serial, b.Serial) })
	return devices
}

// better reports whether f knows more than old of the same attempt.
func better(f, old *Found) bool {
	if a, b := f.Trust.rank(), old.Trust.rank(); a != b {
		return a > b
	}
	if f.Revision != old.Revision {
		return f.Revision > old.Revision
	}
	return f.Path < old.Path
}

func (t Trust) rank() int {
	switch t {
	case Verified:
		return 2
	case Forged:
		return 0
	}
	return 1
}

// inOrder sorts the reports of one device. Numbers are compared within a
// store; which store came later, only clocks that were set can say.
func inOrder(reports []Found) {
	last := map[string]string{}
	for _, f := range reports {
		if f.ClockSet {
			last[f.Store] = max(last[f.Store], f.Time) // RFC 3339 in UTC sorts as it is
		}
	}
	slices.SortFunc(reports, func(a, b Found) int {
		return cmp.Or(
			strings.Compare(last[a.Store], last[b.Store]),
			strings.Compare(a.Store, b.Store),
			cmp.Compare(a.Sequence, b.Sequence))
	})
}

// latest returns the last of the reports that are trusted most.
func latest(reports []Found) Found {
	found := reports[0]
	for _, f := range reports[1:] {
		if f.Trust.rank() >= found.Trust.rank() {
			found = f
		}
	}
	return found
}

// Missing returns which of the serial numbers none of the devices has, in their
// order.
func Missing(serials []string, devices []Device) (missing []string) {
	there := map[string]bool{}
	for _, d := range devices {
		there[d.Serial] = true
	}
	for _, s := range serials {
		if !there[line(s, maxID)] {
			missing = append(missing, s)
		}
	}
	return missing
}

// maxSerials bounds a list of serial numbers, in bytes.
const maxSerials = 8 << 20

// Serials reads a list of serial numbers, one a line. Blank lines and what
// follows a # at the beginning of a line are passed over, and each counts once.
func Serials(r io.Reader) (serials []string, err error) {
	b, err := io.ReadAll(io.LimitReader(r, maxSerials+1))
	if err != nil {
		return nil, fmt.Errorf("read serial numbers: %w", err)
	}
	if len(b) > maxSerials {
		return nil, fmt.Errorf("read serial numbers: more than %d MiB", maxSerials>>20)
	}
	seen := map[string]bool{}
	lines := bufio.NewScanner(bytes.NewReader(bytes.TrimPrefix(b, []byte("\ufeff")))) // Windows
	for lines.Scan() {
		s := line(lines.Text(), maxID)
		if s == "" || strings.HasPrefix(s, "#") || seen[s] {
			continue
		}
		seen[s] = true
		serials = append(serials, s)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read serial numbers: %w", err)
	}
	return serials, nil
}
