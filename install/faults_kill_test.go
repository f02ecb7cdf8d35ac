//go:build linux && (amd64 || arm64)

package install_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/plimsoll-ota/plimsoll/install/internal/cuts"
)

// A scene is a verb and the device that it finds.
type scene struct {
	name  string
	verb  []string
	found func(t *testing.T, d *bench) // brings a new device there
	every bool                         // cut before every write also in a sample
}

var installNew = []string{"install", "new.mender"}

var scenes = []scene{
	{"install", installNew, nil, true},
	{"install over a cut one", installNew, cutWriting, false},
	{"install the same again", installNew, identical, false},
	{"commit", []string{"commit"}, installed, true},
	{"commit late", []string{"commit"}, cutCommitting, false},
	{"rollback", []string{"rollback"}, installed, false},
	{"resume a cut install", []string{"resume"}, cutWriting, false},
	{"resume before the arm", []string{"resume"}, cutArming, false},
	{"resume a trial", []string{"resume"}, installed, false},
	{"resume a commit", []string{"resume"}, cutCommitting, false},
	{"resume a rollback", []string{"resume"}, cutRollingBack, false},
	{"resume a fallback", []string{"resume"}, fellBack, false},
}

func installed(t *testing.T, d *bench) { d.done(t, "install", d.path("new.mender")) }

// identical has the new image on the inactive slot already.
func identical(t *testing.T, d *bench) {
	installed(t, d)
	d.done(t, "rollback")
}

// cutWriting was cut amid the second MiB of the slot.
func cutWriting(t *testing.T, d *bench) {
	d.cutAt(t, installNew, func(c cuts.Call) bool { return c.Path == d.path("slot3.img") && c.Off >= 1<<20 })
}

// cutArming has recorded the intent, and not armed.
func cutArming(t *testing.T, d *bench) {
	d.cutAt(t, installNew, func(c cuts.Call) bool { return c.Path == d.path("uboot.env") })
}

// cutCommitting has recorded the verdict, and not committed.
func cutCommitting(t *testing.T, d *bench) {
	installed(t, d)
	d.cutAt(t, []string{"commit"}, func(c cuts.Call) bool { return c.Path == d.path("uboot.env") })
}

// cutRollingBack has recorded the rollback, and not written it.
func cutRollingBack(t *testing.T, d *bench) {
	installed(t, d)
	d.cutAt(t, []string{"rollback"}, func(c cuts.Call) bool { return c.Path == d.path("uboot.env") })
}

// fellBack was booted until the bootloader gave up.
func fellBack(t *testing.T, d *bench) {
	installed(t, d)
	u := readUBoot(d.get(t, "uboot.env"))
	for u.onTrial() {
		u.boot(t)
	}
	d.put(t, "uboot.env", u.raw)
}

// cutAt runs a verb and kills it before the first call for which is is true.
func (d *bench) cutAt(t *testing.T, verb []string, is func(cuts.Call) bool) {
	t.Helper()
	r, msg := d.trace(t, verb, func(c cuts.Call) cuts.Fate {
		if is(c) {
			return cuts.Kill()
		}
		return cuts.Go
	})
	if !r.Killed {
		t.Fatalf("%v has no such call: %v\n%s", verb, r.Calls, msg)
	}
}

// trace runs a verb under the tracer. It returns what it said as well.
func (d *bench) trace(t *testing.T, verb []string, decide func(cuts.Call) cuts.Fate) (cuts.Result, string) {
	t.Helper()
	verb = slices.Clone(verb)
	if last := len(verb) - 1; strings.HasSuffix(verb[last], ".mender") {
		verb[last] = d.path(verb[last])
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := os.Create(d.path("said"))
	must(t, err)
	defer out.Close()
	cmd := d.command(ctx, verb...)
	cmd.Cancel = nil // Run ends it
	cmd.Stdout, cmd.Stderr = out, out
	r, err := cuts.Run(ctx, cmd, decide)
	said := string(d.get(t, "said"))
	if err != nil || crashed(said) || r.Code < 0 && !r.Killed {
		t.Fatalf("%v under the tracer: %v, %+v\n%s", verb, err, r, said)
	}
	return r, said
}

// TestKill kills every verb before each of its writes, and amid them. Whatever
// is left, U-Boot boots a complete system, and the device can be updated.
func TestKill(t *testing.T) {
	for _, s := range scenes {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			d, rnd := newBench(t), seeded(t)
			if s.found != nil {
				s.found(t, d)
			}
			d.cutEverywhere(t, rnd, s)
		})
	}
}

func (d *bench) cutEverywhere(t *testing.T, rnd *rand.Rand, s scene) {
	found := d.snapshot(t)
	whole, msg := d.trace(t, s.verb, func(cuts.Call) cuts.Fate { return cuts.Go })
	if whole.Killed || len(whole.Calls) == 0 {
		t.Fatalf("uncut: %+v\n%s", whole, msg)
	}
	kills, tears, seen := 0, 0, map[string]bool{}
	cut := func(decide func(cuts.Call) cuts.Fate) (killed bool) {
		d.restore(t, found)
		r, _ := d.trace(t, s.verb, decide)
		defer func() {
			if t.Failed() {
				t.Logf("cut at %d of %d: %v", len(r.Calls), len(whole.Calls), r.Calls[len(r.Calls)-1])
			}
		}()
		if d.loadable(t, partB, found["slot3.img"]) {
			t.Error("a half-written slot has a first block")
		}
		d.keepsWord(t, found)
		if left := d.fingerprint(t); soak || !seen[left] {
			d.settles(t)
			seen[left] = true
		}
		return r.Killed
	}
	// The count may differ from run to run: the end is a run that was not cut.
	for k := 1; ; k++ {
		if !soak && !s.every && k <= len(whole.Calls) && rnd.IntN(len(whole.Calls)) >= sample {
			continue
		}
		if !cut(cuts.At(k, cuts.Kill())) {
			break
		}
		kills++
	}
	for _, c := range whole.Calls {
		for _, n := range tornAt(rnd, c) {
			if soak || c.Path == d.path("uboot.env") || rnd.IntN(len(whole.Calls)) < sample/2 {
				if !cut(again(whole.Calls, c, cuts.Tear(n))) {
					t.Errorf("%v did not come again", c)
				}
				tears++
			}
		}
	}
	t.Logf("%d writing calls; killed before %d, within %d; %d different devices left", len(whole.Calls), kills, tears, len(seen))
}

// again returns a function for Run in which the call c of another run, however
// many others there are this time, meets f: the n-th of its kind on its file.
func again(calls []cuts.Call, c cuts.Call, f cuts.Fate) func(cuts.Call) cuts.Fate {
	like := func(o cuts.Call) bool { return o.Name == c.Name && o.Path == c.Path }
	n := 0
	for _, o := range calls[:c.N] {
		if like(o) {
			n++
		}
	}
	return func(o cuts.Call) cuts.Fate {
		if like(o) {
			n--
		}
		if like(o) && n == 0 {
			return f
		}
		return cuts.Go
	}
}

// keepsWord is what must hold at a cut beside the verdict of boots: the copy of
// the environment that was current is not lost before there is a newer one, the
// record can be read, and the trial that the environment names is in it.
func (d *bench) keepsWord(t *testing.T, before snapshot) {
	t.Helper()
	old, now := readUBoot(before["uboot.env"]), d.boots(t)
	if have, had := now.copy(now.current)[4], old.copy(old.current)[4]; int8(have-had) < 0 {
		t.Errorf("the environment with flags %d is lost, and %d is in force", had, have)
	}
	raw, err := os.ReadFile(d.path("state/state.json"))
	if errors.Is(err, fs.ErrNotExist) {
		raw, err = []byte("{}"), nil
	}
	var record struct{ Trial struct{ ID string } }
	if err := errors.Join(err, json.Unmarshal(raw, &record)); err != nil {
		t.Errorf("the record: %v", err)
	}
	if id := now.vars["plimsoll_trial"]; id != "" && id != record.Trial.ID {
		t.Errorf("the environment has the trial %s, and the record %q", id, record.Trial.ID)
	}
}

// TestFlushed: a kill leaves the page cache, and a power cut does not. What was
// written is flushed before what relies on it: the record before the slot, the
// slot and the record before the environment, a file before it is renamed and
// its folder after, and everything before success is reported.
func TestFlushed(t *testing.T) {
	d := newBench(t)
	for _, verb := range [][]string{installNew, {"commit"}, installNew, {"rollback"}} {
		r, said := d.trace(t, verb, func(cuts.Call) cuts.Fate { return cuts.Go })
		if r.Code != 0 {
			t.Fatalf("%v: exit %d\n%s", verb, r.Code, said)
		}
		loose := map[string]bool{}
		for _, c := range r.Calls {
			dir := filepath.Dir(c.Path)
			medium := c.Writes() && dir == d.dir && (strings.HasSuffix(c.Path, ".img") || strings.HasSuffix(c.Path, ".env"))
			switch {
			case medium && len(loose) > 0 && !(len(loose) == 1 && loose[c.Path]):
				t.Errorf("%v: %v, and not flushed is %v", verb, c, loose)
			case strings.HasPrefix(c.Name, "rename") && loose[c.Path+".tmp"]:
				t.Errorf("%v: %v, and it is not flushed", verb, c)
			}
			switch {
			case c.Writes():
				loose[c.Path] = true
			case c.Name == "fsync":
				delete(loose, c.Path)
			case strings.HasPrefix(c.Name, "rename") && filepath.Base(c.Path) != "probe":
				loose[dir] = true
			}
		}
		if len(loose) > 0 {
			t.Errorf("%v: at its end not flushed is %v", verb, loose)
		}
	}
}

// sample is how many of a verb's calls a plain run cuts, about.
const sample = 5

// tornAt returns how much of a write is left by the cuts within it: a byte, some
// sectors, all but a byte, and all of it.
func tornAt(rnd *rand.Rand, c cuts.Call) []int64 {
	if !c.Writes() {
		return nil
	}
	n := []int64{1, c.Len / 2, c.Len - 1, c.Len}
	if c.Len > 512 {
		n = append(n, 512, 512*(1+rnd.Int64N(c.Len/512)))
	}
	return n
}

// TestRollbackAfterCut: an installation that was cut while it wrote leaves
// nothing to roll back to, before resume has seen it and after.
func TestRollbackAfterCut(t *testing.T) {
	d := newBench(t)
	cutWriting(t, d)
	for _, when := range []string{"before resume", "after resume"} {
		before := d.snapshot(t)
		code, msg, _ := d.run(t, "rollback") // --json: the error is an event
		if code != 1 || !strings.Contains(msg, "does not hold a complete system") {
			t.Errorf("%s: exit %d, want 1 and why\n%s", when, code, msg)
		}
		for _, name := range media {
			if !bytes.Equal(d.get(t, name), before[name]) {
				t.Errorf("%s: the refused rollback changed %s", when, name)
			}
		}
		d.run(t, "resume")
	}
	d.settles(t)
}

// TestSameImage: what the slot holds already is not written.
func TestSameImage(t *testing.T) {
	d := newBench(t)
	identical(t, d)
	r, msg := d.trace(t, installNew, func(cuts.Call) cuts.Fate { return cuts.Go })
	if r.Code != 0 {
		t.Fatalf("exit %d\n%s", r.Code, msg)
	}
	for _, c := range r.Calls {
		if strings.HasSuffix(c.Path, ".img") && c.Name != "fsync" {
			t.Errorf("the same image again: %v", c)
		}
	}
	if u := d.boots(t); u.part(t) != partB || !u.onTrial() {
		t.Errorf("not armed: %v", u.vars)
	}
}

// TestBothCopiesLost: resume restores the environment from its backup, with the
// slot that runs, and a cut meanwhile is no other loss (row A7).
func TestBothCopiesLost(t *testing.T) {
	d, rnd := newBench(t), seeded(t)
	installed(t, d)
	d.done(t, "rollback")
	d.put(t, "uboot.env", make([]byte, 2*envSize))
	if code, out, _ := d.run(t, "status"); !strings.Contains(out, `"A7"`) {
		t.Errorf("status: exit %d\n%s", code, out)
	}
	lost := d.snapshot(t)
	for k := 1; ; k++ {
		d.restore(t, lost)
		fate := cuts.Kill()
		if rnd.IntN(3) == 0 {
			fate = cuts.Tear(1 + rnd.Int64N(envSize))
		}
		r, msg := d.trace(t, []string{"resume"}, cuts.At(k, fate))
		d.run(t, "resume")
		if u := d.boots(t); u.part(t) != partA {
			t.Fatalf("cut at %d: boots %d\n%s", k, u.part(t), msg)
		}
		if !r.Killed {
			break
		}
	}
	d.settles(t)
	if _, err := os.Stat(filepath.Join(d.dir, "state", "env.backup")); err != nil {
		t.Error(err)
	}
}
