package report

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// newStore is a store whose notes must be taken before the test ends.
func newStore(t *testing.T) (*Store, func() string) {
	t.Helper()
	var notes []string
	s := &Store{Dir: filepath.Join(t.TempDir(), "reports"), Note: func(n string) { notes = append(notes, n) }}
	take := func() string {
		all := strings.Join(notes, "\n")
		notes = nil
		return all
	}
	t.Cleanup(func() {
		if n := take(); n != "" {
			t.Errorf("not expected: %s", n)
		}
	})
	return s, take
}

func begin(t *testing.T, s *Store, r Report) Report {
	t.Helper()
	r, err := s.Begin(r)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func numbersOf(t *testing.T, list func() ([]Report, error)) (all []int64) {
	t.Helper()
	reports, err := list()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range reports {
		all = append(all, r.Sequence)
	}
	return all
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestStore(t *testing.T) {
	s, _ := newStore(t)
	open := Report{Serial: "SN-1", Result: "restarting"}
	a, b := begin(t, s, open), begin(t, s, open)
	if a.Sequence != 1 || b.Sequence != 2 || a.Store == "" || a.Store != b.Store || a.Revision != 1 {
		t.Errorf("got %+v and %+v", a, b)
	}
	all, err := s.Undelivered()
	if d := cmp.Diff([]Report{a, b}, all); d != "" || err != nil {
		t.Errorf("want -, got +, %v\n%s", err, d)
	}

	// One that is not final stays, and is delivered again when more is known.
	must(t, s.Delivered(a))
	if got := numbersOf(t, s.Undelivered); !slices.Equal(got, []int64{2}) {
		t.Errorf("after a was delivered: %v", got)
	}
	if got := numbersOf(t, s.Open); !slices.Equal(got, []int64{1, 2}) {
		t.Errorf("open: %v", got)
	}
	sent := a
	a.Result, a.Final = "updated and confirmed", true
	must(t, s.Save(&a))
	if a.Revision != 2 {
		t.Errorf("revision %d", a.Revision)
	}
	if got := numbersOf(t, s.Undelivered); !slices.Equal(got, []int64{1, 2}) {
		t.Errorf("after a became known: %v", got)
	}

	// What was sent before that does not make the last word delivered.
	must(t, s.Delivered(sent))
	if got := numbersOf(t, s.Undelivered); !slices.Equal(got, []int64{1, 2}) {
		t.Errorf("an older revision was taken for the newest: %v", got)
	}
	must(t, s.Delivered(a))
	if got := numbersOf(t, s.Open); !slices.Equal(got, []int64{2}) {
		t.Errorf("open: %v", got)
	}
	must(t, s.Delivered(a)) // again: it is gone, and that is no error
	if _, err := os.Stat(s.path(1)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a final report that was delivered is still there: %v", err)
	}

	// Everything gone, the number is not given twice.
	must(t, s.Delivered(Report{Sequence: 2, Revision: 1}))
	must(t, os.Remove(s.path(2)))
	if c := begin(t, s, open); c.Sequence != 3 || c.Store != a.Store {
		t.Errorf("got %d of %s", c.Sequence, c.Store)
	}
}

// TestStoreNumbers: whatever happens to the counter, no number is given twice.
func TestStoreNumbers(t *testing.T) {
	for _, tt := range []struct {
		name   string
		break_ func(dir string) error
		note   string
	}{
		{"lost", func(dir string) error { return os.Remove(filepath.Join(dir, counter)) }, "begin anew"},
		{"empty", func(dir string) error { return os.Truncate(filepath.Join(dir, counter), 0) }, "begin anew"},
		{"garbage", func(dir string) error { return os.WriteFile(filepath.Join(dir, counter), []byte("\x00\xff"), 0o600) }, "begin anew"},
		{"behind", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, counter), []byte(`{"store":"ab","last":0}`), 0o600)
		}, ""},
		{"a file too large", func(dir string) error { return os.Truncate(filepath.Join(dir, counter), maxRecord+1) }, "begin anew"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, notes := newStore(t)
			used := map[string]bool{}
			for range 3 {
				r := begin(t, s, Report{Result: "failed", Final: true})
				used[fmt.Sprint(r.Store, r.Sequence)] = true
			}
			must(t, tt.break_(s.Dir))
			for range 3 {
				r := begin(t, s, Report{Result: "failed", Final: true})
				if k := fmt.Sprint(r.Store, r.Sequence); used[k] || r.Sequence <= 3 {
					t.Errorf("number %d of store %s was given before", r.Sequence, r.Store)
				}
			}
			if got := notes(); (got != "") != (tt.note != "") || !strings.Contains(got, tt.note) {
				t.Errorf("said %q, want %q", got, tt.note)
			}
			if got := numbersOf(t, s.Undelivered); len(got) != 6 {
				t.Errorf("kept %v", got)
			}
		})
	}
}

// TestStoreCut: what a cut leaves of a file that is being replaced harms
// nothing, at whatever byte.
func TestStoreCut(t *testing.T) {
	s, _ := newStore(t)
	r := begin(t, s, sample())
	whole, err := os.ReadFile(s.path(1))
	must(t, err)
	for n := range whole {
		must(t, os.WriteFile(s.path(1)+".tmp", whole[:n], 0o600))
		must(t, os.WriteFile(filepath.Join(s.Dir, counter+".tmp"), whole[:n], 0o600))
		if got := numbersOf(t, s.Undelivered); !slices.Equal(got, []int64{1}) {
			t.Fatalf("cut at %d: %v", n, got)
		}
	}
	if next := begin(t, s, r); next.Sequence != 2 || next.Store != r.Store {
		t.Errorf("got %d of %s, after %s", next.Sequence, next.Store, r.Store)
	}
	if left, _ := filepath.Glob(filepath.Join(s.Dir, "*.tmp")); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

func TestStoreDamaged(t *testing.T) {
	for name, b := range map[string]string{
		"empty": "", "zeros": "\x00\x00", "torn": `{"report":{"schema":1`, "another's number": `{"report":{"schema":1,"sequence":7,"result":"failed"}}`,
		"nothing in it": "{}", "too large": strings.Repeat(" ", maxRecord+1),
	} {
		t.Run(name, func(t *testing.T) {
			s, notes := newStore(t)
			begin(t, s, sample())
			r := begin(t, s, sample())
			begin(t, s, sample())
			must(t, os.WriteFile(s.path(2), []byte(b), 0o600))
			if got := numbersOf(t, s.Undelivered); !slices.Equal(got, []int64{1, 3}) {
				t.Errorf("got %v", got)
			}
			if n := notes(); !strings.Contains(n, "report 2 is passed over") {
				t.Errorf("said %q", n)
			}
			must(t, s.Save(&r))
			if n := notes(); !strings.Contains(n, "report 2") {
				t.Errorf("said %q", n)
			}
			if got := numbersOf(t, s.Undelivered); len(got) != 3 || r.Revision != 2 {
				t.Errorf("got %v, revision %d", got, r.Revision)
			}
		})
	}
}

// TestStoreBound: what goes when there are too many.
func TestStoreBound(t *testing.T) {
	s, notes := newStore(t)
	for i := range maxStored {
		begin(t, s, Report{Result: "failed", Final: i != 0 && i != 3})
	}
	must(t, os.WriteFile(s.path(20), []byte("garbage"), 0o600))
	for _, lost := range []int{20, 2, 3, 5} { // damaged; then final ones, oldest first; 1 and 4 are open
		begin(t, s, Report{Result: "failed"})
		if n := notes(); !strings.Contains(n, fmt.Sprintf("report %d is lost", lost)) {
			t.Errorf("want %d to go, said %q", lost, n)
		}
	}
	if got := numbersOf(t, s.Undelivered); len(got) != maxStored || !slices.Contains(got, 1) || !slices.Contains(got, 4) {
		t.Errorf("kept %v", got)
	}
	for range 3 * maxStored { // only open ones: the oldest go
		begin(t, s, Report{Result: "failed"})
	}
	notes()
	if got := numbersOf(t, s.Undelivered); len(got) != maxStored || got[0] != maxStored+4+2*maxStored+1 {
		t.Errorf("kept %v", got)
	}
}

// TestStoreTogether: several processes use one store.
func TestStoreTogether(t *testing.T) {
	dir := t.TempDir()
	var all sync.Map
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			s := &Store{Dir: filepath.Join(dir, "reports")}
			for range 8 {
				r, err := s.Begin(Report{Result: "restarting"})
				if err != nil {
					t.Error(err)
				}
				if _, twice := all.LoadOrStore(r.Sequence, true); twice {
					t.Errorf("number %d twice", r.Sequence)
				}
				r.Final = true
				if err := errors.Join(s.Save(&r), s.Delivered(r)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
	s := &Store{Dir: filepath.Join(dir, "reports")}
	if got := numbersOf(t, s.Undelivered); len(got) != 0 {
		t.Errorf("kept %v", got)
	}
}

func TestStoreCannot(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	must(t, os.WriteFile(file, nil, 0o600))
	for _, path := range []string{file, filepath.Join(dir, "not", "there"), filepath.Join(file, "reports")} {
		if _, err := (&Store{Dir: path}).Begin(sample()); !errors.Is(err, ErrStore) {
			t.Errorf("%s: got %v", path, err)
		}
	}
	s, _ := newStore(t)
	if _, err := s.Begin(Report{}); !errors.Is(err, ErrReport) {
		t.Errorf("a report without a result: got %v", err)
	}
	if r := begin(t, s, sample()); r.Sequence != 2 {
		t.Errorf("got number %d", r.Sequence)
	}
}

// TestStoreFull: nothing that is kept is lost because the medium is full.
func TestStoreFull(t *testing.T) {
	asRoot(t)
	dir := t.TempDir()
	mount(t, "tmpfs", dir, "tmpfs", 0, "size=64k")
	s := &Store{Dir: filepath.Join(dir, "reports")}
	r := begin(t, s, sample())
	fill(t, dir)
	changed := r
	changed.Result = "up to date"
	if err := s.Save(&changed); !errors.Is(err, ErrStore) || !errors.Is(err, unix.ENOSPC) {
		t.Errorf("got %v", err)
	}
	if _, err := s.Begin(sample()); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("got %v", err)
	}
	kept, err := s.Undelivered()
	if d := cmp.Diff([]Report{r}, kept); d != "" || err != nil {
		t.Errorf("want -, got +, %v\n%s", err, d)
	}
	must(t, os.Remove(filepath.Join(dir, "fill")))
	if next := begin(t, s, sample()); next.Sequence != 2 || next.Store != r.Store {
		t.Errorf("got number %d of %s", next.Sequence, next.Store)
	}
}
