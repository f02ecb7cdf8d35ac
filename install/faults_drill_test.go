//go:build linux && (amd64 || arm64)

package install_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"testing"

	"github.com/plimsoll-ota/plimsoll/install/internal/cuts"
)

var (
	drillRecorded = []string{"doctor", "--drill"}
	drillArtifact = []string{"doctor", "--drill", "--artifact", "new.mender"}
)

// drillScenes are a drill's verbs, in the order in which a device meets them.
var drillScenes = []scene{
	{"drill of what is there", drillRecorded, identical, true},
	{"drill of an artifact", drillArtifact, nil, false},
	{"drill of an artifact that is there", drillArtifact, identical, false},
	{"resume in the drill", []string{"resume"}, inDrill, true},
	{"resume after the drill", []string{"resume"}, afterDrill, true},
	{"resume a drill that is not counted", []string{"resume"}, notCounted, true},
	{"rollback of a drill", []string{"rollback"}, inDrill, false},
}

// inDrill started the drill's target once.
func inDrill(t *testing.T, d *bench) {
	identical(t, d)
	d.done(t, drillRecorded...)
	d.start(t)
}

// afterDrill was in the target, and back.
func afterDrill(t *testing.T, d *bench) {
	inDrill(t, d)
	d.run(t, "resume")
	d.start(t)
}

// notCounted was in the target twice, by its record.
func notCounted(t *testing.T, d *bench) {
	inDrill(t, d)
	var s map[string]any
	must(t, json.Unmarshal(d.get(t, "state/state.json"), &s))
	s["trial"].(map[string]any)["boots"], s["trial"].(map[string]any)["phase"] = 2, "alive"
	b, err := json.Marshal(s)
	must(t, err)
	d.put(t, "state/state.json", b)
}

// start is one start by U-Boot's rules.
func (d *bench) start(t *testing.T) {
	t.Helper()
	u := readUBoot(d.get(t, "uboot.env"))
	u.boot(t)
	d.put(t, "uboot.env", u.raw)
}

// TestKillDrill kills a drill before each of its writes. Whatever is left, the
// device comes back to the slot that it ran from, and can be updated.
func TestKillDrill(t *testing.T) {
	for _, s := range drillScenes {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			d, rnd := newBench(t), seeded(t)
			if s.found != nil {
				s.found(t, d)
			}
			found := d.snapshot(t)
			kills, seen := 0, map[string]bool{}
			for k := 1; ; k++ {
				if !soak && !s.every && rnd.IntN(3) > 0 && k > 2 && k < 30 {
					continue
				}
				d.restore(t, found)
				r, msg := d.trace(t, s.verb, cuts.At(k, cuts.Kill()))
				if d.loadable(t, partB, found["slot3.img"]) {
					t.Error("a half-written slot has a first block")
				}
				d.keepsWord(t, found)
				if left := d.fingerprint(t); soak || !seen[left] {
					d.comesBack(t)
					seen[left] = true
				}
				if t.Failed() {
					t.Fatalf("killed before call %d: %v\n%s", k, r.Calls, msg)
				}
				if !r.Killed {
					break
				}
				kills++
			}
			t.Logf("killed before %d calls; %d different devices left", kills, len(seen))
		})
	}
}

// comesBack starts the device until nothing is owed, as it would start itself.
func (d *bench) comesBack(t *testing.T) {
	t.Helper()
	said := ""
	for n := 0; ; n++ {
		code, out, msg := d.run(t, "resume")
		said += fmt.Sprintf("exit %d\n%s%s", code, out, msg)
		u := d.boots(t)
		if code == 2 && !u.onTrial() {
			break
		}
		if n > 6 || code > 2 {
			t.Fatalf("does not come to rest: %s", said)
		}
		if u.onTrial() {
			d.start(t)
		}
	}
	if u := d.boots(t); u.part(t) != partA || d.holds(t, partA) != "a" || u.vars["plimsoll_trial"] != "" {
		t.Fatalf("after a drill: %v\n%s", u.vars, said)
	}
	var s struct {
		Artifact string
		Failed   []any
		Slots    map[string]struct{ Status string }
	}
	raw, err := os.ReadFile(d.path("state/state.json"))
	if errors.Is(err, fs.ErrNotExist) { // cut before anything
		raw, err = []byte("{}"), nil
	}
	must(t, errors.Join(err, json.Unmarshal(raw, &s)))
	complete := s.Slots["B"].Status == "good" || s.Slots["B"].Status == "written"
	if s.Artifact != "" || len(s.Failed) > 0 || complete && (d.holds(t, partB) == "" || s.Slots["A"].Status != "good") {
		t.Fatalf("after a drill the record is %+v", s)
	}
	d.done(t, "install", d.path("new.mender"))
	d.done(t, "commit")
	if u := d.boots(t); u.onTrial() || d.holds(t, u.part(t)) != "new" {
		t.Fatalf("committed, and the environment has %v", u.vars)
	}
}

// TestDrillByTheRules: U-Boot's rules, and the command, from end to end.
func TestDrillByTheRules(t *testing.T) {
	d := newBench(t)
	d.done(t, "doctor", "--drill", "--artifact", d.path("new.mender"))
	for range 2 {
		d.start(t)
		d.run(t, "resume")
	}
	var s struct {
		Drills []struct {
			Passed bool
			Reason string
		}
	}
	must(t, json.Unmarshal(d.get(t, "state/state.json"), &s))
	if len(s.Drills) != 1 || !s.Drills[0].Passed {
		t.Errorf("drills %+v", s.Drills)
	}
	if u := d.boots(t); u.part(t) != partA || u.onTrial() {
		t.Errorf("environment %v", u.vars)
	}
}
