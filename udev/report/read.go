package report

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// Bounds of what is read of one stick.
const (
	maxEntries  = 10_000   // of one folder, and reports in all
	maxFile     = 64 << 10 // bytes of a report: a later release may write larger ones
	maxLogs     = 32 << 20 // bytes of opened logs
	maxTroubles = 100      // problems that are told one by one
)

// A Trust says what is known of who wrote a report.
type Trust string

const (
	Verified  Trust = "verified"        // signed by a key that counts for the device
	Unchecked Trust = "signed"          // signed by somebody: no key was given for the device
	Unsigned  Trust = "unsigned"        // whoever had the stick may have written it
	Forged    Trust = "wrong signature" // it was signed by another, or changed since
)

// Keys returns who verifies the reports of a device, and nil for one whose key
// is not known.
type Keys func(serial string) Verifier

// A Found is a report that was read from a stick.
type Found struct {
	Report
	Trust Trust
	Path  string // where, for people
	Log   []byte // opened, as the device had it; nil: there is none, or it is not asked for
}

// ReadOptions are what Read takes beside the stick. All may be nil.
type ReadOptions struct {
	Keys   Keys
	Office *OfficeKey // opens the logs
}

// A Reading is what is on a stick.
type Reading struct {
	Reports  []Found
	Problems []error // what was passed over, a line for people each; at most 101
}

// Read reads the reports on the stick that is mounted at dir, or was copied
// there; dir may also be its folder plimsoll or plimsoll/reports. Nothing on it
// is followed. What is damaged or not a report is passed over and said; a stick
// that has no reports is fs.ErrNotExist.
func Read(dir string, o ReadOptions) (*Reading, error) {
	d, err := findReports(dir)
	if err != nil {
		return nil, fmt.Errorf("read reports: %w", err)
	}
	defer d.Close()
	r := &reader{ReadOptions: o}
	r.folder(d, true)
	return &r.Reading, nil
}

// A reader goes through the folders of one stick.
type reader struct {
	Reading
	ReadOptions
	logs int // bytes of logs so far
}

// problem notes what was passed over.
func (r *reader) problem(err error) {
	switch n := len(r.Problems); {
	case n < maxTroubles:
		r.Problems = append(r.Problems, errors.New(line(err.Error(), maxDetail)))
	case n == maxTroubles:
		r.Problems = append(r.Problems, errors.New("and more, which is not listed"))
	}
}

// folder reads what is in plimsoll/reports, and in the folders in it.
func (r *reader) folder(d folder, top bool) {
	entries, err := d.list()
	if err != nil {
		r.problem(err)
	}
	for _, e := range entries {
		name := e.Name()
		switch {
		case strings.HasPrefix(name, "."): // a Mac's, or somebody's own
		case strings.EqualFold(path.Ext(name), ".json"):
			if len(r.Reports) == maxEntries {
				r.problem(d.problem("read", name, fmt.Errorf("more than %d reports on one stick", maxEntries)))
				return
			}
			r.file(d, name)
		case top && e.IsDir():
			sub, err := d.sub(name, false)
			if err != nil {
				r.problem(err)
				continue
			}
			r.folder(sub, false)
			sub.Close()
		}
	}
}

// file reads one report. One that is allocated and not used is none.
func (r *reader) file(d folder, name string) {
	b, err := d.read(name, maxFile)
	if err != nil {
		r.problem(err)
		return
	}
	if len(b) > 0 && isBlank(b) {
		return
	}
	s, err := Parse(b)
	if err != nil {
		r.problem(d.problem("read", name, err))
		return
	}
	f := Found{Report: s.Report, Trust: r.trust(s), Path: line(path.Join(d.Name(), name), maxName)}
	if r.Office != nil && s.LogSHA256 != "" {
		if f.Log, err = r.log(d, &s.Report); err != nil {
			r.problem(d.problem("read", name, err))
		}
	}
	r.Reports = append(r.Reports, f)
}

func (r *reader) trust(s *Signed) Trust {
	if s.Signature == nil {
		return Unsigned
	}
	var v Verifier
	if r.Keys != nil {
		v = r.Keys(s.Serial)
	}
	switch {
	case v == nil:
		return Unchecked
	case v.Verify(s.Message, s.Signature) != nil:
		return Forged
	}
	return Verified
}

// log opens the log that belongs to a report: it is in the folder of the
// serial number, which is this one or one in it.
func (r *reader) log(d folder, rep *Report) ([]byte, error) {
	if r.logs > maxLogs {
		return nil, fmt.Errorf("%w: its log is left out: more than %d MiB of logs on one stick", ErrSealed, maxLogs>>20)
	}
	places := []folder{d}
	if sub, err := d.sub(folderName(rep.Serial), false); err == nil {
		defer sub.Close()
		places = append(places, sub)
	}
	for _, p := range places {
		for _, name := range fileNames(rep) {
			b, err := p.read(name+logSuffix, maxSealed)
			sum := sha256.Sum256(b)
			if err != nil || hex.EncodeToString(sum[:]) != rep.LogSHA256 {
				continue
			}
			r.logs += len(b)
			return r.Office.Open(*rep, b)
		}
	}
	return nil, fmt.Errorf("%w: the log that it speaks of is not there", ErrSealed)
}

// list returns the entries of a folder, at most so many.
func (d folder) list() (all []fs.DirEntry, err error) {
	for len(all) < maxEntries {
		some, err := d.ReadDir(256)
		all = append(all, some...)
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return all, d.problem("read", "", err)
		}
	}
	return all[:maxEntries], d.problem("read", "", fmt.Errorf("more than %d entries: the rest is passed over", maxEntries))
}

// findReports opens the folder of reports. A copy of a FAT may have lost how
// its names are written, so that case does not matter.
func findReports(dir string) (folder, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return folder{}, err
	}
	defer root.Close()
	d, err := openFolder(root)
	if err != nil {
		return folder{}, err
	}
	way := []string{"plimsoll", "reports"}
	if full, err := filepath.Abs(dir); err == nil {
		switch {
		case strings.EqualFold(filepath.Base(full), "plimsoll"):
			way = way[1:]
		case strings.EqualFold(filepath.Base(full), "reports"):
			way = nil
		}
	}
	for _, name := range way {
		next, err := d.child(name)
		if err := errors.Join(err, d.Close()); err != nil {
			return folder{}, err
		}
		d = next
	}
	return d, nil
}

// child opens a folder by its name, however that is written.
func (d folder) child(name string) (folder, error) {
	sub, err := d.sub(name, false)
	if !errors.Is(err, fs.ErrNotExist) {
		return sub, err
	}
	entries, listed := d.list()
	for _, e := range entries {
		if strings.EqualFold(e.Name(), name) {
			return d.sub(e.Name(), false)
		}
	}
	return folder{}, errors.Join(err, listed)
}
