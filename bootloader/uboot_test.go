package bootloader

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// A bench is an environment of files.
type bench struct {
	*UBoot
	t     testing.TB
	paths []string
}

// newBench keeps each copy in a file of its own.
func newBench(t testing.TB, o Options, copies ...[]byte) *bench {
	t.Helper()
	dir := t.TempDir()
	b := &bench{t: t}
	var locations []Location
	for i, raw := range copies {
		path := filepath.Join(dir, fmt.Sprintf("copy%d", i))
		b.paths = append(b.paths, path)
		b.put(i, raw)
		locations = append(locations, Location{Path: path, Size: int64(len(raw))})
	}
	if o.LockPath == "" {
		o.LockPath = filepath.Join(dir, "lock")
	}
	u, err := OpenUBoot(o, locations...)
	if err != nil {
		t.Fatal(err)
	}
	b.UBoot = u
	return b
}

func (b *bench) put(i int, raw []byte) {
	b.t.Helper()
	if err := os.WriteFile(b.paths[i], raw, 0o600); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) get(i int) []byte {
	b.t.Helper()
	raw, err := os.ReadFile(b.paths[i])
	if err != nil {
		b.t.Fatal(err)
	}
	return raw
}

func (b *bench) both() string {
	all := ""
	for i := range b.paths {
		all += string(b.get(i))
	}
	return all
}

// pair is two copies, the second of which is current.
func pair(t testing.TB, e Env) [][]byte {
	return [][]byte{encode(t, Env{"old": "yes"}, true, 4), encode(t, e, true, 5)}
}

func set(pairs ...string) func(Env) error {
	return func(e Env) error { with(e, pairs...); return nil }
}

// damaged returns b with a wrong checksum.
func damaged(b []byte) []byte {
	b = bytes.Clone(b)
	b[len(b)/2] ^= 1
	return b
}

func TestUpdateWritesTheOtherCopy(t *testing.T) {
	for _, v := range []struct {
		a, b      byte
		bad       int // copy that is damaged, or -1
		current   int
		flagsThen byte
	}{
		{5, 6, -1, 1, 7}, {6, 5, -1, 0, 7}, {255, 0, -1, 1, 1}, {0, 255, -1, 0, 1}, {7, 7, -1, 0, 8}, {254, 255, -1, 1, 0}, {255, 254, -1, 0, 0},
		{5, 6, 1, 0, 6}, {6, 5, 0, 1, 6}, {5, 6, 0, 1, 7}, {255, 0, 1, 0, 0}, {0, 255, 0, 1, 0},
	} {
		t.Run(fmt.Sprintf("%d,%d bad %d", v.a, v.b, v.bad), func(t *testing.T) {
			copies := [][]byte{encode(t, Env{"is": "0"}, true, v.a), encode(t, Env{"is": "1"}, true, v.b)}
			if v.bad >= 0 {
				copies[v.bad] = damaged(copies[v.bad])
			}
			u := newBench(t, Options{}, copies...)
			if e, err := u.Env(); err != nil || e["is"] != fmt.Sprint(v.current) {
				t.Fatalf("current is %v, %v; want %d", e, err, v.current)
			}
			if raw, err := u.Raw(); err != nil || !bytes.Equal(raw, copies[v.current]) {
				t.Errorf("Raw is not the current copy: %v", err)
			}
			if err := u.Update(set("new", "1")); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(u.get(v.current), copies[v.current]) {
				t.Error("the current copy was touched")
			}
			e, flags, err := ParseEnv(u.get(1-v.current), true)
			if err != nil || flags != v.flagsThen || e["new"] != "1" || e["is"] != fmt.Sprint(v.current) {
				t.Errorf("%v flags %d, %v; want flags %d", e, flags, err, v.flagsThen)
			}
			if e, err := u.Env(); err != nil || e["new"] != "1" {
				t.Errorf("not in force: %v, %v", e, err)
			}
		})
	}
}

func TestUpdateWithoutAChangeWritesNothing(t *testing.T) {
	broken := errors.New("broken")
	for _, v := range []struct {
		name string
		f    func(Env) error
		want error
	}{
		{"nothing", func(Env) error { return nil }, nil},
		{"the same value", set("bootcount", "0"), nil},
		{"an absent variable made empty", func(e Env) error { e["no"] = ""; return nil }, nil},
		{"an error", func(e Env) error { e["a"] = "b"; return broken }, broken},
		{"too large", set("a", strings.Repeat("x", testSize)), ErrTooLarge},
		{"a name that cannot be", func(e Env) error { e["a=b"] = "c"; return nil }, errAny},
	} {
		u := newBench(t, Options{}, pair(t, board())...)
		before := u.both()
		if err := u.Update(v.f); !is(err, v.want) {
			t.Errorf("%s: %v, want %v", v.name, err, v.want)
		}
		if u.both() != before {
			t.Errorf("%s: something was written", v.name)
		}
	}
}

// errAny stands for an error that has no name.
var errAny = errors.New("any error")

func is(err, want error) bool {
	if want == errAny {
		return err != nil
	}
	return errors.Is(err, want)
}

func TestNoCopy(t *testing.T) {
	zero := make([]byte, testSize)
	u := newBench(t, Options{}, zero, damaged(encode(t, board(), true, 1)))
	st, err := u.State()
	if !errors.Is(err, ErrNoCopy) || !errors.Is(err, ErrChecksum) || st.Copies != 2 || st.Valid != 0 {
		t.Errorf("%+v, %v", st, err)
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("more than a line: %q", err)
	}
	before := u.both()
	for name, f := range map[string]func() error{
		"Update":   func() error { return u.Update(set("a", "b")) },
		"Try":      func() error { return u.Try(Trial{Part: 3, ID: "x", Limit: 3}) },
		"Check":    u.Check,
		"Commit":   func() error { return u.Commit(3, "") },
		"Rollback": func() error { return u.Rollback(2) },
		"Forget":   u.Forget,
		"Raw":      func() error { _, err := u.Raw(); return err },
	} {
		if err := f(); !errors.Is(err, ErrNoCopy) {
			t.Errorf("%s: %v, want %v", name, err, ErrNoCopy)
		}
	}
	if u.both() != before {
		t.Error("something was written")
	}
}

// A copy that cannot be read is one that is not valid, and no more.
func TestUnreadableCopy(t *testing.T) {
	u := newBench(t, Options{}, pair(t, board())...)
	if err := os.Truncate(u.paths[0], 100); err != nil {
		t.Fatal(err)
	}
	st, err := u.State()
	if err != nil || st.Valid != 1 || st.Copies != 2 {
		t.Errorf("%+v, %v", st, err)
	}
	if err := os.Truncate(u.paths[1], 100); err != nil {
		t.Fatal(err)
	}
	if _, err := u.State(); !errors.Is(err, ErrNoCopy) {
		t.Errorf("%v, want %v", err, ErrNoCopy)
	}
}

func TestWrongGeometryHints(t *testing.T) {
	one := newBench(t, Options{SingleCopy: true}, encode(t, board(), true, 1))
	two := newBench(t, Options{}, encode(t, board(), false, 0), make([]byte, testSize))
	for u, want := range map[*bench]string{one: "two copies, and one is configured", two: "a single copy, and two are configured"} {
		_, err := u.State()
		if !errors.Is(err, ErrNoCopy) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
		before := u.both()
		backup := encode(t, board(), u.redundant(), 1)
		if err := u.Restore(backup, 2); !errors.Is(err, errGeometry) || u.both() != before {
			t.Errorf("restore: %v, want %v", err, errGeometry)
		}
	}
}

func TestSingleCopy(t *testing.T) {
	raw := encode(t, board(), false, 0)
	u := newBench(t, Options{}, raw)
	if st, err := u.State(); err != nil || st.Copies != 1 || st.Valid != 1 || st.Part != 2 {
		t.Errorf("%+v, %v", st, err)
	}
	for name, err := range map[string]error{
		"Check": u.Check(), "Try": u.Try(Trial{Part: 3, Limit: 3}), "Update": u.Update(set("a", "b")), "Commit": u.Commit(3, ""),
	} {
		if !errors.Is(err, ErrSingleCopy) {
			t.Errorf("%s: %v, want %v", name, err, ErrSingleCopy)
		}
	}
	if !bytes.Equal(u.get(0), raw) {
		t.Error("something was written")
	}

	u = newBench(t, Options{SingleCopy: true}, raw)
	if err := errors.Join(u.Check(), u.Try(Trial{Part: 3, ID: "x", Limit: 3})); err != nil {
		t.Fatal(err)
	}
	if e, _, err := ParseEnv(u.get(0), false); err != nil || e[varPart] != "3" || e[varTrial] != "1" {
		t.Errorf("%v, %v", e, err)
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	file, second := filepath.Join(dir, "env"), filepath.Join(dir, "second")
	for _, path := range []string{file, second} {
		if err := os.WriteFile(path, make([]byte, 0x1000), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	link, hard, mtd := filepath.Join(dir, "link"), filepath.Join(dir, "hard"), filepath.Join(dir, "mtd0")
	fifo := filepath.Join(dir, "fifo")
	if err := errors.Join(os.Symlink(file, link), os.Link(file, hard), os.Symlink("/dev/null", filepath.Join(dir, "null")),
		syscall.Mkfifo(fifo, 0o600)); err != nil {
		t.Fatal(err)
	}
	at := func(path string, offset int64) Location { return Location{Path: path, Offset: offset, Size: 0x400} }
	for _, v := range []struct {
		name   string
		o      Options
		copies []Location
		want   error // errAny: any; nil: accepted
	}{
		{"no copy", Options{}, nil, errAny},
		{"three", Options{}, []Location{at(file, 0), at(file, 0x400), at(file, 0x800)}, errAny},
		{"an unknown counter", Options{Counter: "nativ"}, []Location{at(file, 0)}, errAny},
		{"no such file", Options{}, []Location{at(file+"-no", 0)}, fs.ErrNotExist},
		{"next to each other", Options{}, []Location{at(file, 0), at(file, 0x400)}, nil},
		{"the same", Options{}, []Location{at(file, 0), at(file, 0)}, errAny},
		{"overlap by a byte", Options{}, []Location{at(file, 0x3ff), at(file, 0)}, errAny},
		{"the same by symbolic link", Options{}, []Location{at(file, 0), at(link, 0)}, errAny},
		{"the same by hard link", Options{}, []Location{at(hard, 0), at(file, 0)}, errAny},
		{"next to each other by link", Options{}, []Location{at(hard, 0x400), at(link, 0)}, nil},
		{"the same from the end", Options{}, []Location{at(file, -0x400), at(file, 0xc00)}, errAny},
		{"two files", Options{}, []Location{at(file, 0), at(second, 0)}, nil},
		{"to the last byte", Options{}, []Location{at(file, 0xc00)}, nil},
		{"past the end", Options{}, []Location{at(file, 0xc01)}, errAny},
		{"before the beginning", Options{}, []Location{at(file, -0x1001)}, errAny},
		{"from the end, past it", Options{}, []Location{at(file, -0x3ff)}, errAny},
		{"no room", Options{}, []Location{{Path: file, Size: minSize - 1}}, errAny},
		{"huge", Options{}, []Location{{Path: file, Size: maxSize + 1}}, errAny},
		{"two sizes", Options{}, []Location{{Path: file, Size: 0x400}, {Path: second, Size: 0x800}}, errAny},
		{"a directory", Options{}, []Location{at(dir, 0)}, ErrUnsupported},
		{"a character device", Options{}, []Location{at("/dev/null", 0)}, ErrUnsupported},
		{"a link to one", Options{}, []Location{at(filepath.Join(dir, "null"), 0)}, ErrUnsupported},
		{"a FIFO", Options{}, []Location{at(fifo, 0)}, ErrUnsupported},
		{"flash that is not there", Options{}, []Location{at(mtd, 0)}, ErrUnsupported},
		{"a UBI volume by name", Options{}, []Location{at("/dev/ubi0:env", 0)}, ErrUnsupported},
	} {
		_, err := OpenUBoot(v.o, v.copies...)
		if !is(err, v.want) {
			t.Errorf("%s: %v, want %v", v.name, err, v.want)
		}
	}
	_, err := OpenUBoot(Options{}, at(file, 0xe00))
	if err == nil || !strings.Contains(err.Error(), "0x400 bytes at 0xe00") || !strings.Contains(err.Error(), "ends at 0x1000") {
		t.Errorf("the numbers are missing: %v", err)
	}
}

func TestLocationsAreResolved(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	file, link := filepath.Join(dir, "env"), filepath.Join(dir, "link")
	if err := errors.Join(os.WriteFile(file, make([]byte, 0x1000), 0o600), os.Symlink("env", link)); err != nil {
		t.Fatal(err)
	}
	u, err := OpenUBoot(Options{}, Location{Path: link, Offset: -0x800, Size: 0x400}, Location{Path: file, Offset: -0x400, Size: 0x400})
	if err != nil {
		t.Fatal(err)
	}
	want := []Location{{Path: file, Offset: 0x800, Size: 0x400}, {Path: file, Offset: 0xc00, Size: 0x400}}
	if d := cmp.Diff(want, u.Locations()); d != "" {
		t.Error(d)
	}
}

// NOR flash has no counter: the larger of two flags is current, 255 and 0 too.
func TestBooleanFlags(t *testing.T) {
	u := newBench(t, Options{}, encode(t, Env{"is": "0"}, true, 255), encode(t, Env{"is": "1"}, true, 0))
	if e, err := u.Env(); err != nil || e["is"] != "1" {
		t.Errorf("counter: %v, %v", e, err)
	}
	u.copies[0].larger = true
	if e, err := u.Env(); err != nil || e["is"] != "0" {
		t.Errorf("boolean: %v, %v", e, err)
	}
}

func TestLockTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newBench(t, Options{}, pair(t, board())...)
		held, err := lock(u.options.LockPath)
		if err != nil {
			t.Fatal(err)
		}
		before, start := u.both(), time.Now()
		err = u.Update(set("a", "b"))
		if waited := time.Since(start); !errors.Is(err, unix.EWOULDBLOCK) || waited < lockWait || waited > lockWait+time.Second {
			t.Errorf("%v after %v", err, waited)
		}
		if err := u.Restore(nil, 2); !errors.Is(err, unix.EWOULDBLOCK) {
			t.Errorf("restore: %v", err)
		}
		if u.both() != before {
			t.Error("written without the lock")
		}
		time.AfterFunc(3*time.Second, func() { held.Close() })
		start = time.Now()
		if err := u.Update(set("a", "b")); err != nil || time.Since(start) < 3*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

// A reader that meets two torn copies asks again when the writer is done.
func TestReaderWaitsForTheWriter(t *testing.T) {
	good := pair(t, board())
	synctest.Test(t, func(t *testing.T) {
		u := newBench(t, Options{}, damaged(good[0]), damaged(good[1]))
		held, err := lock(u.options.LockPath)
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Second, func() { u.put(1, good[1]); held.Close() })
		if st, err := u.State(); err != nil || st.Part != 2 || st.Valid != 1 {
			t.Errorf("%+v, %v", st, err)
		}
	})
}

func TestNoLockNoWrite(t *testing.T) {
	u := newBench(t, Options{LockPath: filepath.Join(t.TempDir(), "no", "lock")}, pair(t, board())...)
	before := u.both()
	if err := u.Update(set("a", "b")); !errors.Is(err, fs.ErrNotExist) || u.both() != before {
		t.Errorf("%v", err)
	}
	if _, err := u.State(); err != nil {
		t.Errorf("reading needs no lock: %v", err)
	}
}

// Renew makes both copies valid, with the same variables, and writes nothing
// else.
func TestRenew(t *testing.T) {
	for _, v := range []struct {
		name   string
		spoil  int // copy to damage; -1: none
		writes bool
	}{{"both valid", -1, false}, {"stale one damaged", 0, true}, {"current one damaged", 1, true}} {
		u := newBench(t, Options{}, pair(t, board())...)
		if v.spoil >= 0 {
			u.put(v.spoil, damaged(u.get(v.spoil)))
		}
		env, err := u.Env()
		if err != nil {
			t.Fatal(err)
		}
		before := u.both()
		if err := u.Renew(); err != nil {
			t.Errorf("%s: %v", v.name, err)
		}
		st, err := u.State()
		now, _ := u.Env()
		if d := cmp.Diff(env, now); d != "" || err != nil || st.Valid != 2 {
			t.Errorf("%s: %d copies valid, %v\n%s", v.name, st.Valid, err, d)
		}
		if (u.both() != before) != v.writes {
			t.Errorf("%s: written: %v", v.name, !v.writes)
		}
	}
	u := newBench(t, Options{}, encode(t, board(), false, 0))
	if err := u.Renew(); err != nil {
		t.Errorf("single copy: %v", err)
	}
	u = newBench(t, Options{}, damaged(encode(t, board(), true, 1)), damaged(encode(t, board(), true, 2)))
	before := u.both()
	if err := u.Renew(); !errors.Is(err, ErrNoCopy) || u.both() != before {
		t.Errorf("both lost: %v", err)
	}
}
