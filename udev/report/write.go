package report

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Options are what Write takes beside the reports.
type Options struct {
	Signer Signer                // the device's key; nil: reports are not signed
	Office *LogKey               // for whom logs are sealed; nil: no log leaves the device
	Log    func(r Report) []byte // the log of an attempt, see Seal; nil: there is none
}

// Write writes reports onto the stick whose root is stick, mounted so that it
// can be written; the first ones first, since there may not be room for all.
// It returns those that are on it, read back. Flushing and unmounting is left to
// the caller.
//
// The error says what is not on it and why (unix.ENOSPC, unix.EROFS, unix.EIO
// and what else a stick may answer), and never concerns an update. What could
// not be written whole is either not there or not taken for a report. A stick
// that does not take one is not asked again for the others, lest a dead one
// holds everybody up.
func Write(stick *os.Root, reports []Report, o Options) (written []Report, err error) {
	for _, r := range reports {
		r.clean()
		done, problem := write(stick, r, o)
		if done {
			written = append(written, r)
		}
		if problem != nil {
			err = errors.Join(err, fmt.Errorf("write report %d: %w", r.Sequence, problem))
			if !errors.Is(problem, errInTheWay) {
				break
			}
		}
	}
	return written, err
}

// write writes one report, its text and its log. What counts is the report:
// done may be true beside an error.
func write(stick *os.Root, r Report, o Options) (done bool, err error) {
	var sealed []byte
	r.LogSHA256 = ""
	if o.Office != nil && o.Log != nil {
		if log := o.Log(r); len(log) > 0 {
			if sealed, err = o.Office.Seal(r, log); err != nil {
				return false, err
			}
			sum := sha256.Sum256(sealed)
			r.LogSHA256 = hex.EncodeToString(sum[:])
		}
	}
	b, err := Encode(r, o.Signer)
	if err != nil {
		return false, err
	}
	p, err := findPlace(stick, &r)
	if err != nil {
		return false, err
	}
	defer p.dir.Close()
	if err := p.put(".json", padded(b), false); err != nil { // whatever is cut says whose it is
		return false, err
	}
	err = p.put(".txt", padded([]byte(r.Text())), true)
	if err == nil && sealed != nil {
		err = writeLog(stick, &r, sealed)
	}
	return true, err
}

// A place is where a report goes.
type place struct {
	dir  folder
	name string // without .json
}

// put writes one of the files of a place, in place if it is there.
func (p place) put(ext string, b []byte, clear bool) error {
	err := p.dir.make(p.name+ext, b)
	if errors.Is(err, fs.ErrExist) {
		err = p.dir.overwrite(p.name+ext, b, clear)
	}
	return err
}

// findPlace finds where r is already, else a file that is allocated and not
// used, else a name in the folder of its serial number, which is made.
func findPlace(stick *os.Root, r *Report) (place, error) {
	d, err := reportsFolder(stick, false)
	if err == nil {
		name, ours := d.slot(r)
		if ours {
			return place{d, name}, nil
		}
		if p, ok := d.existing(r); ok {
			return p, d.Close()
		}
		if name != "" {
			return place{d, name}, nil
		}
		if err := d.Close(); err != nil {
			return place{}, err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return place{}, err
	}
	return newPlace(stick, r)
}

// slot returns the allocated file that holds r, or else the first that is not
// used.
func (d folder) slot(r *Report) (name string, ours bool) {
	for i := 1; i <= MaxAllocated; i++ {
		b, err := d.read(slotName(i)+".json", fileSize)
		if err != nil || len(b) != fileSize {
			continue // not allocated, or not by us
		}
		text, err := d.read(slotName(i)+".txt", fileSize)
		if err != nil || len(text) != fileSize {
			continue
		}
		if holds(b, r) {
			return slotName(i), true
		}
		if name == "" && isBlank(b) && isBlank(text) {
			name = slotName(i)
		}
	}
	return name, false
}

// existing looks for r among the files of its serial number.
func (d folder) existing(r *Report) (place, bool) {
	sub, err := d.sub(folderName(r.Serial), false)
	if err != nil {
		return place{}, false // newPlace says why, if it is of interest
	}
	for _, name := range fileNames(r) {
		if b, err := sub.read(name+".json", fileSize); err == nil && holds(b, r) {
			return place{sub, name}, true
		}
	}
	sub.Close()
	return place{}, false
}

// newPlace makes the folder, and finds a name that is free. What a cut left of
// ours has one of our names and is nobody's report: it is written over.
func newPlace(stick *os.Root, r *Report) (place, error) {
	sub, err := serialFolder(stick, r)
	if err != nil {
		return place{}, err
	}
	for i, name := range fileNames(r) {
		b, err := sub.read(name+".json", fileSize)
		switch {
		case errors.Is(err, fs.ErrNotExist) || err == nil && isRest(b, i > 0):
			return place{sub, name}, nil
		case err != nil && !isOther(err):
			return place{}, errors.Join(err, sub.Close())
		}
	}
	return place{}, errors.Join(sub.problem("write", fileNames(r)[0]+".json", errInTheWay), sub.Close())
}

func serialFolder(stick *os.Root, r *Report) (folder, error) {
	d, err := reportsFolder(stick, true)
	if err != nil {
		return folder{}, err
	}
	defer d.Close()
	return d.sub(folderName(r.Serial), true)
}

// fileNames are the names that a report may have. The second is for a device
// that was wiped and begins anew, when the first belongs to its former life.
func fileNames(r *Report) []string {
	n := strconv.FormatInt(r.Sequence, 10)
	return []string{n, n + "-" + or(r.Store, "0")}
}

// holds reports whether b is r, or as much of it as a cut left: it begins with
// who it is, or ends before that. Written over an older revision, it has the
// same beginning wherever it was cut.
func holds(b []byte, r *Report) bool {
	if s, err := Parse(b); err == nil {
		return s.same(r)
	}
	who, err := marshal(struct {
		Schema   int    `json:"schema"`
		Serial   string `json:"serial"`
		Store    string `json:"store,omitempty"`
		Sequence int64  `json:"sequence"`
	}{Schema, r.Serial, r.Store, r.Sequence})
	if err != nil {
		return false
	}
	start := fmt.Appendf(nil, `{"report":%s,`, bytes.TrimSuffix(who, []byte("}")))
	there := bytes.TrimRight(b, " \n")
	return bytes.HasPrefix(there, start) || len(there) > 0 && bytes.HasPrefix(start, there)
}

// isRest reports whether b is what a cut leaves of a file that was just made:
// nothing, or blocks that were never written. Under a name that no other store
// has, it may be anything that is no report.
func isRest(b []byte, own bool) bool {
	if own {
		_, err := Parse(b)
		return err != nil
	}
	return len(bytes.Trim(b, " \x00")) == 0
}

// writeLog writes a sealed log beside the report: a file of its own, since it
// may be larger than any that is allocated.
func writeLog(stick *os.Root, r *Report, sealed []byte) error {
	sub, err := serialFolder(stick, r)
	if err != nil {
		return err
	}
	defer sub.Close()
	for _, name := range fileNames(r) {
		name += logSuffix
		old, err := sub.read(name, maxSealed)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return sub.make(name, sealed)
		case isOther(err) || err == nil && !sealedFor(old, r):
			continue
		case err != nil:
			return err
		}
		if err := unix.Unlinkat(int(sub.Fd()), name, 0); err != nil {
			return sub.problem("remove", name, err)
		}
		return sub.make(name, sealed)
	}
	return sub.problem("write", fileNames(r)[0]+logSuffix, errInTheWay)
}
