package boards

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plimsoll-ota/plimsoll/cmd/internal/machine"
)

// TestTorn tears every save of the environment that one update makes (the arm
// and the commit by plimsoll, the count by U-Boot) and U-Boot's further counts
// and its rollback, at each of their sectors. By U-Boot's rules, which a judge
// knows, and by U-Boot itself the old variables are in force or, all of them,
// the new ones.
func TestTorn(t *testing.T) {
	random := rand.New(rand.NewPCG(seed(t), 2))
	// The arm is at the wrap of the flags: it has 0, after 255.
	r := recordUpdate(t, withHistory(t, random, 254, 255))
	saves := r.named(t, "arm", "count", "commit")
	if flags := [...]byte{saves[0].flags(), saves[1].flags(), saves[2].flags()}; flags != [...]byte{0, 1, 2} {
		t.Errorf("flags of the saves: %d, want 0, 1 and 2", flags)
	}
	lab := newLab(t, r)
	for _, c := range lab.rounds(random) {
		saves = append(saves, lab.save(t, c))
	}

	count := &tally{}
	defer func() { t.Logf("\n%v", count) }()
	var all []torn
	for _, s := range saves {
		for step, w := range s.steps {
			for n := 0; n <= len(w.data); n += 512 {
				all = append(all, torn{s, step, n})
			}
			s.holes(t, step, random, count)
		}
	}
	for _, x := range all {
		x.judge(t, x.pair(), count, "a prefix of ")
	}
	n := few(5, 60)
	for i := range n + 1 { // of n each has a part of the list to itself, and the last is a save that is whole
		x := all[len(all)-1]
		if i < n {
			x = all[(i*len(all)+random.IntN(len(all)))/n]
		}
		is := x.judge(t, x.pair(), nil, "")
		lab.compare(t, x)
		count.add(1, "prefixes, by U-Boot: %s", is)
	}
}

// A save is one change of the environment: what was on the medium before, and
// what was written to it.
type save struct {
	name   string
	before pair
	steps  []step // one, unless it was written in pieces
}

type step struct {
	copy, at int // which copy, and where in it
	data     []byte
}

// after is the environment after a save, or with a part of it: some steps, and
// so many bytes of the next.
func (s save) after(steps, n int) pair {
	p := pair{bytes.Clone(s.before[0]), bytes.Clone(s.before[1])}
	for i, w := range s.steps {
		if i == steps {
			copy(p[w.copy][w.at:], w.data[:n])
			break
		}
		copy(p[w.copy][w.at:], w.data)
	}
	return p
}

func (s save) done() pair { return s.after(len(s.steps), 0) }

func (s save) flags() byte { return judge(s.done()).flags }

// saved returns the saves of a recording: writes of one copy that follow each
// other are pieces of one save.
func (r *recording) saved(t *testing.T) (all []save) {
	t.Helper()
	last := -2
	for _, i := range r.saves() {
		w := step{data: r.data(t, i)}
		if r.place(r.writes[i]) == env1 {
			w.copy = 1
		}
		w.at = int(r.writes[i].Offset - copies[w.copy])
		if n := len(all) - 1; i == last+1 && all[n].steps[0].copy == w.copy {
			all[n].steps = append(all[n].steps, w)
		} else {
			all = append(all, save{before: r.pair(t, i), steps: []step{w}})
		}
		last = i
	}
	return all
}

// named is saved for those who know which there are.
func (r *recording) named(t *testing.T, names ...string) []save {
	t.Helper()
	all := r.saved(t)
	if len(all) != len(names) {
		t.Fatalf("%d saves of the environment, want %v", len(all), names)
	}
	for i := range all {
		all[i].name = names[i]
	}
	return all
}

// A torn is a save of which a prefix came to the medium.
type torn struct {
	save
	step, n int
}

func (x torn) pair() pair { return x.after(x.step, x.n) }

// judge says by the rules what is in force: "old" or "new". Nothing else may be.
func (x torn) judge(t *testing.T, p pair, count *tally, what string) string {
	t.Helper()
	have, old, now := judge(p), judge(x.before), judge(x.done())
	is := "neither"
	switch {
	case have.copy < 0:
		is = "lost"
	case maps.Equal(have.vars, old.vars) && have.copy == old.copy:
		is = "old"
	case maps.Equal(have.vars, now.vars) && have.copy == now.copy:
		is = "new"
	}
	if whole := x.step == len(x.steps)-1 && x.n == len(x.steps[x.step].data); is != "old" && is != "new" || what != "" && whole && is != "new" {
		t.Errorf("%s, %s%d bytes of step %d: %s", x.name, what, x.n, x.step, is)
	}
	if count != nil {
		count.add(1, "%s%s: %s", what, x.name, is)
		count.add(1, "%sany save: %s", what, is)
	}
	return is
}

// holes judges what a medium may leave that does not write in order: all but a
// sector, a sector alone, and a prefix that ends in a sector of noise.
func (s save) holes(t *testing.T, at int, random *rand.Rand, count *tally) {
	t.Helper()
	w := s.steps[at]
	noise := make([]byte, 512)
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}
	for n := 0; n < len(w.data); n += 512 {
		x := torn{s, at, n}
		hole, alone, garbled := s.after(at+1, 0), s.after(at, 0), x.pair()
		from, to := w.at+n, w.at+n+512
		copy(hole[w.copy][from:to], s.before[w.copy][from:to])
		copy(alone[w.copy][from:to], w.data[n:])
		copy(garbled[w.copy][from:to], noise)
		for _, p := range []pair{hole, alone, garbled} {
			x.judge(t, p, count, "out of order, ")
		}
	}
}

// A lab has a disk with the boot script and without slots: its U-Boot says
// which one it would start, and cannot.
type lab struct {
	*recording
	bench string
}

func newLab(t *testing.T, r *recording) lab {
	t.Helper()
	path, full := filepath.Join(t.TempDir(), "bench.img"), size(t, r.base)
	copySparse(t, r.base, path)
	if err := os.Truncate(path, r.parts[1].from); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, full); err != nil {
		t.Fatal(err)
	}
	return lab{r, path}
}

// An outcome is what U-Boot did with an environment.
type outcome struct {
	copy, slot string
	after      pair
	saves      []save
}

// boot starts U-Boot with an environment and cuts the power when it has chosen
// a slot.
func (l lab) boot(t *testing.T, p pair) (o outcome) {
	t.Helper()
	b := &board{T: t, workshop: l.workshop, disk: filepath.Join(t.TempDir(), "disk.img")}
	copySparse(t, l.bench, b.disk)
	b.config = machine.Config{Disks: []machine.Disk{{Path: b.disk}}}
	r := b.record(func(disk *os.File) { p.put(t, disk) })
	b.power()
	o.copy = b.expect(`^plimsoll: environment from copy (.*)$`)
	o.slot = b.expect(`^plimsoll: slot (.) cannot be started, trying the other one$`)
	b.cut()
	if strings.Contains(b.m.Log(), "CANNOT BE SAVED") {
		t.Error("U-Boot cannot save")
	}
	r.end(t, b.disk)
	o.after, o.saves = pairIn(t, b.disk), r.saved(t)
	return o
}

// compare lets U-Boot judge, and compares.
func (l lab) compare(t *testing.T, x torn) {
	t.Helper()
	l.agree(t, fmt.Sprintf("%s, %d bytes of step %d", x.name, x.n, x.step), x.pair())
}

// agree fails unless U-Boot takes the copy, starts the slot and saves the
// variables that the judge expects.
func (l lab) agree(t *testing.T, what string, p pair) outcome {
	t.Helper()
	f, o := judge(p), l.boot(t, p)
	slot, vars := f.boots()
	if o.copy != string("ab"[f.copy]) || o.slot != slot {
		t.Errorf("%s: U-Boot takes copy %q and starts slot %s; the judge copy %d, slot %s", what, o.copy, o.slot, f.copy, slot)
	}
	after := judge(o.after)
	if !maps.Equal(after.vars, vars) {
		t.Errorf("%s: U-Boot leaves %.300q, want %.300q", what, after.vars, vars)
	}
	if saved := !maps.Equal(f.vars, vars); saved && (after.valid != 2 || after.copy == f.copy || len(o.saves) != 1) || !saved && len(o.saves) > 0 {
		t.Errorf("%s: %d saves by U-Boot; copy %d with flags %d is current, of %d; before it was copy %d with flags %d",
			what, len(o.saves), after.copy, after.flags, after.valid, f.copy, f.flags)
	}
	return o
}

// A round is an environment on trial, in which U-Boot saves.
type round struct {
	name   string
	count  string // boots so far
	flags  [2]byte
	padded bool // the environment fills its copies
}

// rounds returns the saves of U-Boot's that are recorded one by one: its counts
// and its rollback, also where the flags wrap.
func (l lab) rounds(random *rand.Rand) (all []round) {
	names, counts := []string{"first count", "last count", "rollback by U-Boot"}, []string{"0", "2", "3"}
	add := func(i int, flags [2]byte) { all = append(all, round{names[i], counts[i], flags, random.IntN(4) > 0}) }
	flags := [][2]byte{{1, 2}, {2, 1}, {253, 254}, {254, 255}, {255, 254}, {255, 0}, {0, 255}, {0, 1}}
	if !soak() { // one where the second copy is the newer by the wrap, one that wraps, and one more
		add(random.IntN(3), [2]byte{255, 0})
		add(2, [2]byte{255, 254})
		add(2, flags[random.IntN(len(flags))])
		return all
	}
	for _, f := range flags {
		for i := range names {
			add(i, f)
		}
	}
	return all
}

// save has U-Boot save, and returns what it wrote.
func (l lab) save(t *testing.T, c round) save {
	t.Helper()
	vars := map[string]string{
		"mender_boot_part": "3", "mender_boot_part_hex": "3", "upgrade_available": "1",
		"bootcount": c.count, "bootlimit": "3", "plimsoll_trial": "0123456789abcdef",
	}
	random := rand.New(rand.NewPCG(uint64(c.flags[0]), uint64(c.flags[1])))
	if c.padded {
		grow(vars, random)
	}
	p := pair{encode(vars, c.flags[0], random), encode(vars, c.flags[1], random)}
	current := judge(p).copy
	vars["bootcount"] = "older"
	p[1-current] = encode(vars, c.flags[1-current], random)
	o := l.agree(t, fmt.Sprintf("%s with flags %d", c.name, c.flags), p)
	if len(o.saves) != 1 {
		t.Fatalf("%s with flags %d: U-Boot saved %d times", c.name, c.flags, len(o.saves))
	}
	o.saves[0].name = c.name
	return o.saves[0]
}
