//go:build linux && (amd64 || arm64)

package data

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plimsoll-ota/plimsoll/install/internal/cuts"
)

// child has the test binary do one thing, so that it can be killed.
const child = "PLIMSOLL_DATA_CHILD"

func TestMain(m *testing.M) {
	if words := os.Getenv(child); words != "" {
		if err := act(strings.Split(words, "\n")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// act runs one of the functions: its name, the root, the folder of copies, and
// paths.
func act(words []string) (err error) {
	ctx, root, dir := context.Background(), words[1], words[2]
	r := Request{Root: root, Dir: dir, Paths: words[3:]}
	switch words[0] {
	case "stage":
		_, err = Stage(ctx, r)
	case "apply":
		_, err = Apply(ctx, dir, root)
	case "snapshot":
		_, err = Snapshot(ctx, r)
	case "restore":
		_, err = Restore(ctx, dir, root)
	case "discard":
		err = Discard(dir)
	}
	return err
}

// seeded returns the source of a sample, and says how to have it again.
func seeded(t *testing.T) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("PLIMSOLL_SEED"); s != "" {
		if _, err := fmt.Sscan(s, &seed); err != nil {
			t.Fatalf("PLIMSOLL_SEED: %v", err)
		}
	}
	t.Logf("PLIMSOLL_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 1))
}

// trace runs one of the functions in a process of its own, under the tracer. It
// returns what it said as well.
func trace(t *testing.T, words []string, decide func(cuts.Call) cuts.Fate) (cuts.Result, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	said, err := os.CreateTemp(t.TempDir(), "said")
	must(t, err)
	defer said.Close()
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Cancel = nil // Run ends it
	cmd.Env = append(os.Environ(), child+"="+strings.Join(words, "\n"))
	cmd.Stdout, cmd.Stderr = said, said
	r, err := cuts.Run(ctx, cmd, decide)
	_, seek := said.Seek(0, io.SeekStart)
	out, read := io.ReadAll(said)
	if err := errors.Join(err, seek, read); err != nil || strings.Contains(string(out), "\ngoroutine ") {
		t.Fatalf("%q under the tracer: %v\n%s", words, err, out)
	}
	return r, string(out)
}

// A scene is a function, what it finds, and what must hold when it was cut and
// when it was run again.
type scene struct {
	name  string
	words func(p place) []string
	found func(t *testing.T, p place)
	cut   func(t *testing.T, p place) string // what is wrong, "" for nothing
	again func(t *testing.T, p place) string // the same, after it was run once more
	fate  func(cuts.Call) cuts.Fate          // of every call, beside the cut
}

var oldThings = forest{"/etc/x": file("old x"), "/etc/d/y": {kind: kindFile, content: "old y", mode: 0o600, uid: 7, attrs: map[string]string{"user.a": "b"}}, "/etc/d/l": link("y")}
var newThings = forest{"/etc/x": file("new x"), "/etc/d/y": file("new y"), "/etc/d/z": file("new z")}
var carried = forest{"/etc/x": oldThings["/etc/x"], "/etc/d/y": oldThings["/etc/d/y"], "/etc/d/l": oldThings["/etc/d/l"], "/etc/d/z": file("new z")}

func stagedOld(t *testing.T, p place) {
	grow(t, p.old, oldThings)
	stage(t, p, "/etc/x", "/etc/d")
}

func scenes() []scene {
	// What is staged is what was or what is: applied to an empty root it shows.
	stagedIs := func(wants ...forest) func(t *testing.T, p place) string {
		return func(t *testing.T, p place) string {
			to := t.TempDir()
			must(t, os.Chmod(to, 0o755))
			_, err := Apply(t.Context(), p.dir, to)
			if errors.Is(err, ErrNone) {
				err = nil
			}
			must(t, err)
			if err := os.Remove(filepath.Join(p.dir, journalName)); err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
			var all string
			for _, w := range wants {
				d := difference(t, to, w)
				if d == "" {
					return ""
				}
				all += d
			}
			return all
		}
	}
	second := maps.Clone(oldThings)
	second["/etc/x"] = file("old x, later")
	second["/etc/more"] = file("more")
	changed := func(t *testing.T, p place) {
		stagedOld(t, p)
		grow(t, p.old, forest{"/etc/x": second["/etc/x"], "/etc/more": second["/etc/more"]})
	}
	stageWords := func(p place) []string { return []string{"stage", p.old, p.dir, "/etc/x", "/etc/d", "/etc/more"} }
	tidy := func(f func(t *testing.T, p place) string) func(t *testing.T, p place) string {
		return func(t *testing.T, p place) string {
			onlyCopies(t, p.dir)
			return f(t, p)
		}
	}
	// Every file of the new root is one or the other, whole.
	oneOfBoth := func(t *testing.T, p place) string {
		for path, th := range survey(t, p.new) {
			if filepath.Base(path) == temporary || th.kind == kindFolder {
				continue
			}
			th.sec = 0
			if !sameThings(th, newThings[path]) && !sameThings(th, carried[path]) {
				return fmt.Sprintf("%s is neither: %+v", path, th)
			}
		}
		if _, err := os.Lstat(filepath.Join(p.new, "etc/x")); err != nil {
			return err.Error()
		}
		return ""
	}
	snapped := func(t *testing.T, p place) {
		grow(t, p.old, before())
		_, err := Snapshot(t.Context(), p.request(snapPaths...))
		must(t, err)
		upgrade(t, p.old)
	}
	// Each declared path is what it was, or what the new release made of it;
	// where two renames are needed it may be neither for a moment, and both are
	// there.
	wholePaths := func(t *testing.T, p place) string {
		have := survey(t, p.old)
		for _, declared := range snapPaths {
			is := below(have, declared)
			if len(is) == 0 { // moved aside, or was and is not there
				_, old := beside(declared)
				is = below(have, filepath.Join(filepath.Dir(declared), old))
			}
			if !sameForest(is, below(before(), declared)) && !sameForest(is, below(after(), declared)) {
				return fmt.Sprintf("%s is neither: %+v", declared, is)
			}
		}
		return ""
	}
	isRestored := func(t *testing.T, p place) string { return difference(t, p.old, restored()) }
	// A snapshot is what it was made of.
	comesBack := func(t *testing.T, p place) string {
		upgrade(t, p.old)
		_, err := Restore(t.Context(), p.dir, p.old)
		must(t, err)
		must(t, os.Remove(filepath.Join(p.dir, journalName)))
		wrong := difference(t, p.old, restored())
		must(t, os.RemoveAll(filepath.Join(p.old, "data")))
		grow(t, p.old, before())
		return wrong
	}
	snapshotWords := func(p place) []string { return append([]string{"snapshot", p.old, p.dir}, snapPaths...) }
	restoreWords := func(p place) []string { return []string{"restore", p.old, p.dir} }
	return []scene{
		{"stage", stageWords, func(t *testing.T, p place) { grow(t, p.old, second) }, stagedIs(forest{}, second), tidy(stagedIs(second)), nil},
		{"stage again", stageWords, changed, stagedIs(oldThings, second), tidy(stagedIs(second)), nil},
		{"apply", func(p place) []string { return []string{"apply", p.new, p.dir} }, func(t *testing.T, p place) {
			stagedOld(t, p)
			grow(t, p.new, newThings)
		}, oneOfBoth, func(t *testing.T, p place) string { return difference(t, p.new, carried) }, nil},
		{"apply to nothing", func(p place) []string { return []string{"apply", p.new, p.dir} }, stagedOld, nil,
			func(t *testing.T, p place) string { return difference(t, p.new, oldThings) }, nil},
		{"snapshot", snapshotWords, func(t *testing.T, p place) { grow(t, p.old, before()) }, nil, tidy(comesBack), nil},
		{"snapshot again", snapshotWords, func(t *testing.T, p place) {
			grow(t, p.old, before())
			_, err := Snapshot(t.Context(), p.request(snapPaths...))
			must(t, err)
		}, comesBack, tidy(comesBack), nil},
		{"restore", restoreWords, snapped, wholePaths, isRestored, nil},
		{"restore without exchange", restoreWords, snapped, wholePaths, isRestored, func(c cuts.Call) cuts.Fate {
			if c.Name == "renameat2" {
				return cuts.Fail(unix.EINVAL)
			}
			return cuts.Go
		}},
		{"discard", func(p place) []string { return []string{"discard", p.new, p.dir} }, stagedOld, stagedIs(forest{}, oldThings),
			func(t *testing.T, p place) string {
				if _, err := os.Lstat(p.dir); !errors.Is(err, os.ErrNotExist) {
					return fmt.Sprintf("%s: %v", p.dir, err)
				}
				return ""
			}, nil},
	}
}

// below returns what of a forest is at path and beneath it, by the rest of its
// name.
func below(f forest, path string) forest {
	of := forest{}
	for p, th := range f {
		if within(p, path) {
			of[strings.TrimPrefix(p, path)] = th
			for up := filepath.Dir(p); within(up, path); up = filepath.Dir(up) { // folders on the way
				if _, ok := f[up]; !ok {
					of[strings.TrimPrefix(up, path)] = folder()
				}
			}
		}
	}
	return of
}

func sameThings(a, b thing) bool {
	a.sec, b.sec = 0, 0
	return a.kind == b.kind && a.content == b.content && a.mode == b.mode && a.uid == b.uid && a.gid == b.gid && maps.Equal(a.attrs, b.attrs)
}

func sameForest(a, b forest) bool { return maps.EqualFunc(a, b, sameThings) }

// TestKill kills every function before each of its writes, and within them.
// What is left is old or new, and the next run makes it new.
func TestKill(t *testing.T) {
	for _, s := range scenes() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			cutEverywhere(t, s, seeded(t))
		})
	}
}

func cutEverywhere(t *testing.T, s scene, rnd *rand.Rand) {
	fresh := func() place {
		p := newPlace(t)
		s.found(t, p)
		return p
	}
	beside := func(f func(cuts.Call) cuts.Fate) func(cuts.Call) cuts.Fate {
		return func(c cuts.Call) cuts.Fate {
			if fate := f(c); fate != cuts.Go || s.fate == nil {
				return fate
			}
			return s.fate(c)
		}
	}
	whole, said := trace(t, s.words(fresh()), beside(func(cuts.Call) cuts.Fate { return cuts.Go }))
	if whole.Code != 0 || len(whole.Calls) < 4 {
		t.Fatalf("uncut: exit %d, %d calls\n%s", whole.Code, len(whole.Calls), said)
	}
	n := 0
	cut := func(k int, fate cuts.Fate) bool {
		p := fresh()
		r, _ := trace(t, s.words(p), beside(cuts.At(k, fate)))
		if s.cut != nil {
			if wrong := s.cut(t, p); wrong != "" {
				t.Errorf("after the cut: %s", wrong)
			}
		}
		if r, said := trace(t, s.words(p), beside(func(cuts.Call) cuts.Fate { return cuts.Go })); r.Code != 0 {
			t.Errorf("run again: exit %d\n%s", r.Code, said)
		}
		if wrong := s.again(t, p); wrong != "" {
			t.Errorf("run again: %s", wrong)
		}
		if t.Failed() {
			t.Fatalf("cut at %d of %d: %v", k, len(whole.Calls), r.Calls[len(r.Calls)-1])
		}
		n++
		return r.Killed
	}
	for k := 1; ; k++ {
		if !soak && k <= len(whole.Calls) && rnd.IntN(len(whole.Calls)) >= sample && !decisive(whole.Calls[k-1]) {
			continue
		}
		if !cut(k, cuts.Kill()) {
			break
		}
	}
	for _, c := range whole.Calls {
		if c.Writes() && (soak || rnd.IntN(len(whole.Calls)) < sample/2) {
			cut(c.N, cuts.Tear(1+rnd.Int64N(c.Len)))
		}
	}
	t.Logf("%d writing calls, cut at %d places", len(whole.Calls), n)
}

// sample is how many of a function's calls a plain run cuts, about, beside the
// decisive ones.
const sample = 8

// decisive are the calls that put something in its place.
func decisive(c cuts.Call) bool { return strings.HasPrefix(c.Name, "rename") }

// TestCutAndDamaged: cut between the two renames that stand for an exchange, and
// then the snapshot cannot be read any more. What the new release had is there.
func TestCutAndDamaged(t *testing.T) {
	p := newPlace(t)
	grow(t, p.old, before())
	_, err := Snapshot(t.Context(), p.request(snapPaths...))
	must(t, err)
	upgrade(t, p.old)
	r, said := trace(t, []string{"restore", p.old, p.dir}, func(c cuts.Call) cuts.Fate {
		switch {
		case c.Name == "renameat2":
			return cuts.Fail(unix.EINVAL)
		case c.Path == filepath.Join(p.old, "data/app"):
			return cuts.Kill()
		}
		return cuts.Go
	})
	if _, err := os.Lstat(filepath.Join(p.old, "data/app")); !r.Killed || !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("not between the renames: %v, %+v\n%s", err, r, said)
	}
	flip(t, glob(t, p.dir, filesPrefix+"*/0/000"), 0)
	if _, err := Restore(t.Context(), p.dir, p.old); !errors.Is(err, ErrDamaged) {
		t.Errorf("got %v, want ErrDamaged", err)
	}
	want := after()
	want["/data/gone"] = folder() // on the way to what would have been restored
	same(t, "after it", p.old, want)
}

// TestCallFails lets one call of a function fail, each in its turn. Then it
// fails, or what it did is right; what is left is old or new, and the next run
// makes it new.
func TestCallFails(t *testing.T) {
	for _, s := range scenes() {
		if s.fate != nil {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			rnd, refused, n := seeded(t), 0, 0
			p := newPlace(t)
			s.found(t, p)
			whole, _ := trace(t, s.words(p), func(cuts.Call) cuts.Fate { return cuts.Go })
			for k := 1; k <= len(whole.Calls); k++ {
				if !soak && rnd.IntN(len(whole.Calls)) >= 2*sample && !decisive(whole.Calls[k-1]) {
					continue
				}
				p := newPlace(t)
				s.found(t, p)
				errno := []unix.Errno{unix.EIO, unix.ENOSPC}[rnd.IntN(2)]
				r, said := trace(t, s.words(p), cuts.At(k, cuts.Fail(errno)))
				if n++; len(r.Calls) < k {
					break
				}
				failed := r.Calls[k-1]
				if r.Code != 0 {
					refused++
					if !strings.Contains(said, errno.Error()) {
						t.Errorf("%v failed, and it says %s", failed, said)
					}
				}
				if s.cut != nil {
					if wrong := s.cut(t, p); wrong != "" {
						t.Errorf("%v failed: %s", failed, wrong)
					}
				}
				if r.Code == 0 && strings.HasPrefix(s.name, "apply") { // the others tell of what they could not remove
					if wrong := s.again(t, p); wrong != "" {
						t.Errorf("%v failed, and success: %s", failed, wrong)
					}
				}
				if r, said := trace(t, s.words(p), func(cuts.Call) cuts.Fate { return cuts.Go }); r.Code != 0 {
					t.Errorf("run again: exit %d\n%s", r.Code, said)
				}
				if wrong := s.again(t, p); wrong != "" {
					t.Errorf("%v failed, run again: %s", failed, wrong)
				}
				if t.Failed() {
					t.FailNow()
				}
			}
			t.Logf("%d of %d calls failed, %d were told of", n, len(whole.Calls), refused)
		})
	}
}

// TestFlushed: a kill leaves the page cache, and a power cut does not. Whatever
// is written is flushed before what relies on it is renamed, and everything
// before success is reported.
func TestFlushed(t *testing.T) {
	for _, s := range scenes() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t)
			s.found(t, p)
			r, said := trace(t, s.words(p), func(c cuts.Call) cuts.Fate {
				if s.fate != nil {
					return s.fate(c)
				}
				return cuts.Go
			})
			if r.Code != 0 {
				t.Fatalf("exit %d\n%s", r.Code, said)
			}
			loose := map[string]bool{}
			for _, c := range r.Calls {
				dir, name := filepath.Dir(c.Path), filepath.Base(c.Path)
				switch {
				case name == manifestName, strings.HasPrefix(c.Name, "renameat") && dir == filepath.Join(p.old, "data") && name != "gone":
					// Everything that was made so far relies on being there.
					for path := range loose {
						if !strings.HasPrefix(c.Name, "rename") || path == dir && !strings.HasPrefix(path, p.dir) {
							continue
						}
						t.Errorf("%v, and not flushed is %s", c, path)
					}
				case strings.HasPrefix(c.Name, "rename") && slices.Contains([]string{"x", "y"}, name):
					if loose[filepath.Join(dir, temporary)] {
						t.Errorf("%v, and it is not flushed", c)
					}
				}
				switch {
				case c.Writes(), strings.HasPrefix(c.Name, "fsetxattr"), c.Name == "fchmod", c.Name == "fchown", c.Name == "ftruncate":
					loose[c.Path] = true
				case c.Name == "fsync":
					delete(loose, c.Path)
				case c.Name == "syncfs":
					clear(loose)
				case strings.HasPrefix(c.Name, "rename"), c.Name == "mkdirat", c.Name == "symlinkat":
					if dir != p.dir || name == manifestName || name == journalName {
						loose[dir] = true
					}
				}
				if strings.HasPrefix(c.Name, "unlink") {
					delete(loose, c.Path)
				}
			}
			for path := range loose {
				if strings.HasPrefix(path, filepath.Dir(p.old)) {
					t.Errorf("at its end not flushed is %s", path)
				}
			}
		})
	}
}
