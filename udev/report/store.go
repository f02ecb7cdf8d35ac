package report

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	maxStored = 32        // reports that a Store keeps
	maxRecord = 64 << 10  // bytes of a file of the store
	counter   = "counter" // name of the file with the last number
)

// ErrStore is a store that cannot be used.
var ErrStore = errors.New("the store of reports cannot be used")

// A Store keeps the reports of a device until they are on a stick, in a folder
// of its own on neither slot. Several processes may use it at once.
//
// It keeps 32. When one more begins, the oldest that has nothing to tell of the
// device goes (a stick that was not for it, say: somebody may plug in many), then
// the oldest whose outcome is known, and without one the oldest. A file that
// cannot be read does not hinder the others.
type Store struct {
	Dir  string
	Note func(text string) // is told of what was lost; nil: nobody is
}

// A record is a file of the store.
type record struct {
	Delivered int    `json:"delivered,omitempty"` // the revision that is on a stick
	Report    Report `json:"report"`
}

// count is the file counter.
type count struct {
	Store string `json:"store"`
	Last  int64  `json:"last"`
}

// Begin gives r the next number, keeps it, and returns it as it is kept. After
// an error the number may be lost; it is never given twice.
func (s *Store) Begin(r Report) (Report, error) {
	err := s.locked(func() error {
		c, err := s.next()
		if err != nil {
			return err
		}
		r.Store, r.Sequence, r.Revision = c.Store, c.Last, 1
		if err := s.makeRoom(); err != nil {
			return err
		}
		kept := record{Report: r}
		err = s.put(&kept)
		r = kept.Report
		return err
	})
	return r, err
}

// Save replaces what is kept of r, which is of this store, and sets its
// Revision. It will be delivered, again if it was before.
func (s *Store) Save(r *Report) error {
	return s.locked(func() error {
		old, err := s.get(r.Sequence)
		switch {
		case err == nil:
			r.Revision = max(old.Report.Revision, r.Revision)
		case !errors.Is(err, fs.ErrNotExist):
			s.note("report %d: %v; it is written anew", r.Sequence, err)
		}
		r.Revision++
		kept := record{Report: *r}
		err = s.put(&kept)
		*r = kept.Report
		return err
	})
}

// Undelivered returns the reports that are on no stick as they are now, oldest
// first.
func (s *Store) Undelivered() ([]Report, error) {
	return s.those(func(r *record) bool { return r.Delivered < r.Report.Revision })
}

// Open returns the reports whose outcome is not known yet, oldest first,
// delivered or not.
func (s *Store) Open() ([]Report, error) {
	return s.those(func(r *record) bool { return !r.Report.Final })
}

// Delivered remembers that sent is on a stick. A final one is then kept no
// longer; any other stays, and is delivered again when it changes. What was
// saved since sent was read stays too.
func (s *Store) Delivered(sent Report) error {
	return s.locked(func() error {
		r, err := s.get(sent.Sequence)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if r.Delivered = max(r.Delivered, sent.Revision); r.Report.Final && r.Delivered >= r.Report.Revision {
			return s.drop(sent.Sequence)
		}
		return s.put(r)
	})
}

func (s *Store) those(want func(*record) bool) (found []Report, err error) {
	err = s.locked(func() error {
		numbers, err := s.numbers()
		for _, n := range numbers {
			r, err := s.get(n)
			if err != nil {
				s.note("report %d is passed over: %v", n, err)
			} else if want(r) {
				found = append(found, r.Report)
			}
		}
		return err
	})
	return found, err
}

// next takes a number and has it on the medium before it is used.
func (s *Store) next() (count, error) {
	numbers, err := s.numbers()
	if err != nil {
		return count{}, err
	}
	c, err := s.counted()
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) || len(numbers) > 0 {
			s.note("the last number of a report is not known (%v): they begin anew", err)
		}
		id := make([]byte, 4)
		if _, err := rand.Read(id); err != nil {
			return count{}, err
		}
		c = count{Store: hex.EncodeToString(id)}
	}
	for _, n := range numbers {
		c.Last = max(c.Last, n)
	}
	if c.Last == math.MaxInt64 {
		return count{}, fmt.Errorf("number %d is the last there is", c.Last)
	}
	c.Last++
	b, err := json.Marshal(c)
	if err != nil {
		return count{}, err
	}
	return c, ReplaceFile(filepath.Join(s.Dir, counter), append(b, '\n'))
}

func (s *Store) counted() (c count, err error) {
	b, err := readBounded(filepath.Join(s.Dir, counter), maxRecord)
	if err != nil {
		return count{}, err
	}
	if err := json.Unmarshal(b, &c); err != nil {
		return count{}, err
	}
	if c.Last < 0 || c.Store == "" || hexOnly(c.Store) == "" {
		return count{}, fmt.Errorf("%s is damaged", counter)
	}
	return c, nil
}

// makeRoom leaves room for one more. What cannot be read goes first.
func (s *Store) makeRoom() error {
	if err := s.sweep(); err != nil {
		return err
	}
	numbers, err := s.numbers()
	if err != nil {
		return err
	}
	over := len(numbers) - maxStored + 1
	if over <= 0 {
		return nil
	}
	rank := map[int64]int{}
	for _, n := range numbers {
		switch r, err := s.get(n); {
		case err != nil:
			rank[n] = 0
		case r.Report.Final && !r.Report.decided():
			rank[n] = 1
		case r.Report.Final:
			rank[n] = 2
		default:
			rank[n] = 3
		}
	}
	slices.SortStableFunc(numbers, func(a, b int64) int { return rank[a] - rank[b] })
	for _, n := range numbers[:over] {
		s.note("report %d is lost: more than %d wait for a stick", n, maxStored-1)
		if err := s.drop(n); err != nil {
			return err
		}
	}
	return nil
}

// sweep removes what a cut left of files that were being replaced.
func (s *Store) sweep() error {
	left, err := fs.Glob(os.DirFS(s.Dir), "*.tmp")
	for _, path := range left {
		err = errors.Join(err, os.Remove(filepath.Join(s.Dir, path)))
	}
	return err
}

// numbers returns which reports there are, in their order.
func (s *Store) numbers() (all []int64, err error) {
	entries, err := os.ReadDir(s.Dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		name, isReport := strings.CutSuffix(e.Name(), ".json")
		n, err := strconv.ParseInt(name, 10, 64)
		if isReport && err == nil && n > 0 && s.path(n) == filepath.Join(s.Dir, e.Name()) {
			all = append(all, n)
		}
	}
	slices.Sort(all)
	return all, nil
}

func (s *Store) path(n int64) string {
	return filepath.Join(s.Dir, strconv.FormatInt(n, 10)+".json")
}

func (s *Store) get(n int64) (*record, error) {
	b, err := readBounded(s.path(n), maxRecord)
	if err != nil {
		return nil, err
	}
	r := &record{}
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("%s is damaged: %w", s.path(n), err)
	}
	r.Report.clean()
	if err := r.Report.check(); err != nil {
		return nil, fmt.Errorf("%s is damaged: %w", s.path(n), err)
	}
	if r.Report.Sequence != n {
		return nil, fmt.Errorf("%s is damaged: it is report %d", s.path(n), r.Report.Sequence)
	}
	return r, nil
}

func (s *Store) put(r *record) error {
	r.Report.Schema = Schema
	r.Report.clean()
	if err := r.Report.check(); err != nil {
		return err
	}
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return ReplaceFile(s.path(r.Report.Sequence), append(b, '\n'))
}

func (s *Store) drop(n int64) error {
	if err := os.Remove(s.path(n)); err != nil {
		return err
	}
	return syncDir(s.Dir)
}

// locked calls body while no other process uses the store.
func (s *Store) locked(body func() error) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w: %w", ErrStore, err)
		}
	}()
	switch err := os.Mkdir(s.Dir, 0o700); {
	case err == nil:
		if err := syncDir(filepath.Dir(s.Dir)); err != nil {
			return err
		}
	case !errors.Is(err, fs.ErrExist):
		return err
	}
	dir, err := os.Open(s.Dir)
	if err != nil {
		return err
	}
	defer dir.Close()
	for {
		err := unix.Flock(int(dir.Fd()), unix.LOCK_EX)
		if err == nil {
			return body()
		}
		if err != unix.EINTR {
			return fmt.Errorf("lock %s: %w", s.Dir, err)
		}
	}
}

func (s *Store) note(format string, args ...any) {
	if s.Note != nil {
		s.Note(line(fmt.Sprintf(format, args...), maxDetail))
	}
}

// ReplaceFile writes b beside path, syncs it, renames it over path, and syncs
// the folder: after a cut the old file or the new one is there. Two must not
// replace one file at the same time.
func ReplaceFile(path string, b []byte) error {
	f, err := os.OpenFile(path+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// readBounded reads a file of at most limit bytes.
func readBounded(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s: more than %d bytes", path, limit)
	}
	return b, err
}
