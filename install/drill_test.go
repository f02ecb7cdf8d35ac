package install_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plimsoll-ota/plimsoll/artifact"
	"github.com/plimsoll-ota/plimsoll/bootloader"
	"github.com/plimsoll-ota/plimsoll/install"
)

// drill begins a drill, and expects want.
func (r *rig) drill(src io.Reader, want error) {
	r.Helper()
	o, err := r.dev.Drill(context.Background(), src)
	r.expect(err, want)
	if want == nil && (!o.Reboot || o.Event != "drill armed") {
		r.Errorf("outcome %+v", o)
	}
}

// drilled expects the result that is kept, and that the running system is what
// it was.
func (r *rig) drilled(passed bool, reason string) {
	r.Helper()
	r.environment(2, false)
	rep := r.status("H1")
	if rep.Drill == nil || rep.Drill.Passed != passed || !strings.Contains(rep.Drill.Reason, reason) || rep.Drill.Version != "U-Boot 2026.01" {
		r.Errorf("drill %+v, want passed %v: %q", rep.Drill, passed, reason)
	}
	if rep.Slots["A"].Status != install.StatusGood || rep.Slots["B"].Status != install.StatusWritten {
		r.Errorf("slots %+v", rep.Slots)
	}
	if len(rep.Failed) != 0 || rep.Artifact != "" {
		r.Errorf("failed %+v, installed %q", rep.Failed, rep.Artifact)
	}
	if s := r.environment(2, false); s.ID != "" {
		r.Errorf("the id %q is still there", s.ID)
	}
	r.resume(install.ErrNothing)
}

// readyToDrill has an image on slot B that was never booted.
func readyToDrill(t *testing.T) *rig {
	t.Helper()
	r := newRig(t)
	r.write("proc/device-tree/chosen/u-boot,version", "U-Boot 2026.01\x00")
	r.install(r.build("rel-2", 'B', version("2.0")), plain, nil)
	r.rollback(nil)
	return r
}

func TestDrillPasses(t *testing.T) {
	r := readyToDrill(t)
	r.drill(nil, nil)
	armed := r.environment(3, true)
	if armed.Limit != 1 || armed.Count != 0 || !strings.HasPrefix(armed.ID, "drill") || len(armed.ID) != 16 {
		t.Errorf("armed: %+v", armed)
	}
	r.status("D2")
	r.install(r.build("rel-3", 'C', nil), plain, install.ErrPending)
	r.drill(nil, install.ErrPending)
	r.resume(install.ErrDrill)

	r.boot()
	r.status("E1")
	r.commit(install.ErrDrill)
	r.install(r.build("rel-3", 'C', nil), plain, install.ErrDrill)
	o := r.resume(install.ErrDrill)
	if o.Event != "drill" || !o.Reboot || r.reboots != 1 {
		t.Errorf("outcome %+v, %d reboots", o, r.reboots)
	}
	r.environment(3, true)
	r.status("E2")
	r.commit(install.ErrDrill)

	r.boot()
	r.status("D5")
	if o := r.resume(nil); o.Event != "drill passed" || r.reboots != 1 {
		t.Errorf("outcome %+v, %d reboots", o, r.reboots)
	}
	r.drilled(true, "came back by itself")
	want := []string{"armed", "rolled back", "drill armed", "drill alive", "drill passed"}
	if diff := cmp.Diff(want, r.history()); diff != "" {
		t.Errorf("history (-want +got):\n%s", diff)
	}
	r.drill(nil, nil) // and again
	r.rollback(nil)
	r.drilled(true, "came back by itself")
	r.install(r.build("rel-2", 'B', version("2.0")), plain, nil)
	r.boot()
	r.resume(nil)
	r.environment(3, false)
}

// TestDrillOfAnArtifact: any version is installed for it, and nothing stays of
// it but the image on the inactive slot.
func TestDrillOfAnArtifact(t *testing.T) {
	r := readyToDrill(t)
	r.install(r.build("rel-2", 'B', version("2.0")), plain, nil)
	r.boot()
	r.resume(nil)
	before := r.status("A1")
	r.drill(nil, install.ErrDrillImage) // what slot A holds was never recorded
	r.drill(bytes.NewReader(r.build("rel-1", 'A', version("1.0"))), nil)
	r.boot()
	r.resume(install.ErrDrill)
	r.boot()
	r.resume(nil)
	after := r.status("H1")
	if after.Artifact != "rel-2" || cmp.Diff(before.Provides, after.Provides) != "" || len(after.Failed) != 0 {
		t.Errorf("installed %q, provides %v, failed %v", after.Artifact, after.Provides, after.Failed)
	}
	if got := after.Slots["A"]; got.Status != install.StatusWritten || got.Artifact != "rel-1" || !after.Drill.Passed {
		t.Errorf("slot A %+v, drill %+v", got, after.Drill)
	}
	r.environment(3, false)
	r.drill(nil, nil) // slot A is known now
	r.rollback(nil)
}

func TestDrillRefusals(t *testing.T) {
	r := newRig(t)
	before := r.envBytes()
	r.drill(nil, install.ErrDrillImage) // nothing is recorded of slot B
	other := r.build("rel-1", 'A', func(h *artifact.Header) { h.DeviceTypes = []string{"other"} })
	r.drill(bytes.NewReader(other), install.ErrDeviceType)
	if r.envBytes() != before {
		t.Error("the environment was written")
	}

	r = readyToDrill(t)
	before = r.envBytes()
	slot := r.read("slot3.img")
	slot[2<<20] ^= 1 // as mounting it writable would
	r.write("slot3.img", string(slot))
	r.open()
	r.drill(nil, install.ErrDrillImage)
	if r.envBytes() != before {
		t.Error("the environment was written")
	}
	if rep := r.status("H1"); rep.Slots["B"].Status != install.StatusWritten {
		t.Errorf("slot B is %s", rep.Slots["B"].Status)
	}

	r = newRig(t)
	r.install(r.build("rel-2", 'B', nil), plain, nil)
	r.drill(nil, install.ErrPending)
	r.boot()
	r.drill(nil, install.ErrPending)
}

func TestDrillFails(t *testing.T) {
	// Each begins where the drill is armed.
	for _, c := range []struct {
		name   string
		happen func(*rig)
		reason string
	}{
		{"ignored", func(r *rig) {
			r.stuck = true
			r.boot()
			r.resume(install.ErrDrillFailed)
		}, "ignored the update"},
		{"wrong root", func(r *rig) {
			r.boot()
			r.running("slot2.img")
			r.status("D3b")
			r.resume(install.ErrDrillFailed)
		}, "root file system is the old one"},
		{"never alive", func(r *rig) {
			r.boot()
			r.boot()
			r.status("D5")
			r.resume(install.ErrDrillFailed)
		}, "never reached plimsoll"},
		{"not counted", func(r *rig) {
			r.boot()
			r.resume(install.ErrDrill)
			r.running("slot3.img") // and the environment as it was
			r.status("E1")
			r.resume(install.ErrFellBack)
			if r.reboots != 2 {
				r.Errorf("%d reboots, want 2", r.reboots)
			}
			r.environment(2, false)
			r.boot()
			r.status("G2")
			r.resume(install.ErrDrillFailed)
		}, "does not count"},
		{"committed by another hand", func(r *rig) {
			r.boot()
			r.must(r.env.Update(func(e bootloader.Env) error { e["upgrade_available"] = "0"; return nil }))
			r.status("D6")
			r.resume(install.ErrFellBack)
			r.boot()
			r.resume(install.ErrDrillFailed)
		}, "committed by another hand"},
		{"environment reset to the target", func(r *rig) {
			r.boot()
			r.must(r.env.Update(func(e bootloader.Env) error { delete(e, "plimsoll_trial"); e["upgrade_available"] = "0"; return nil }))
			r.status("D7")
			r.resume(install.ErrFellBack)
			r.boot()
			r.resume(install.ErrDrillFailed)
		}, "was reset"},
		{"environment lost", func(r *rig) {
			r.boot()
			r.spoil("env0", "env1")
			r.status("A7")
			r.resume(install.ErrFellBack)
			r.boot()
			r.resume(install.ErrDrillFailed)
		}, "was reset"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := readyToDrill(t)
			r.drill(nil, nil)
			c.happen(r)
			r.drilled(false, c.reason)
			if h := r.history(); !slices.Contains(h, "drill failed") {
				t.Errorf("history %v", h)
			}
		})
	}
}

// TestDrillCalledOff: a drill that somebody takes back shows nothing.
func TestDrillCalledOff(t *testing.T) {
	for name, happen := range map[string]func(*rig){
		"before the reboot": func(r *rig) { r.rollback(nil) },
		"cut before the arm": func(r *rig) {
			r.rollback(nil)
			r.editState(func(s map[string]any) { s["trial"].(map[string]any)["phase"] = "arming" })
			r.boot()
			r.status("D1")
			r.resume(install.ErrFellBack)
		},
		"on trial": func(r *rig) {
			r.boot()
			r.rollback(nil)
			r.boot()
			r.status("G2")
			r.resume(install.ErrFellBack)
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := readyToDrill(t)
			r.drill(nil, nil)
			happen(r)
			r.environment(2, false)
			rep := r.status("H1")
			if rep.Drill != nil || len(rep.Failed) != 0 || rep.Slots["B"].Status != install.StatusWritten {
				t.Errorf("drill %+v, failed %+v, slots %+v", rep.Drill, rep.Failed, rep.Slots)
			}
		})
	}
}

// TestDrillWithoutRecord: the id says what it is, so that a drill whose record
// is lost is not kept either.
func TestDrillWithoutRecord(t *testing.T) {
	r := readyToDrill(t)
	r.drill(nil, nil)
	r.boot()
	r.must(os.Remove(r.path("state/state.json")))
	r.status("A4")
	r.resume(install.ErrDrill)
	r.environment(3, true)
	r.boot()
	r.environment(2, false)
	r.resume(nil)
	r.status("H1")

	r = readyToDrill(t)
	r.drill(nil, nil)
	r.boot()
	r.must(os.Rename(r.path("state"), r.path("elsewhere")))
	r.resume(install.ErrFellBack)
	r.environment(2, false)
}

// TestDrillAtItsDeadline: the deadline does for it what resume did not.
func TestDrillAtItsDeadline(t *testing.T) {
	r := readyToDrill(t)
	r.drill(nil, nil)
	r.boot()
	if _, err := r.dev.Expire(context.Background()); !errors.Is(err, install.ErrDrill) || r.reboots != 1 {
		t.Errorf("error %v, %d reboots", err, r.reboots)
	}
	r.boot()
	r.resume(nil)
	r.drilled(true, "came back by itself")
}

// TestUnattendedWantsADrill: without one that passed with this bootloader,
// nobody who watches is told so, and where a register counts it is refused.
func TestUnattendedWantsADrill(t *testing.T) {
	unattended := install.Options{Unattended: true}
	next := version("3.0")
	passed := func(t *testing.T, counter string) *rig {
		r := newRig(t)
		r.counter = counter
		r.open()
		r.write("proc/device-tree/chosen/u-boot,version", "U-Boot 2026.01\x00")
		r.install(r.build("rel-2", 'B', version("2.0")), plain, nil)
		r.boot()
		r.resume(nil)
		r.drill(bytes.NewReader(r.build("rel-1", 'A', version("1.0"))), nil)
		r.boot()
		r.resume(install.ErrDrill)
		r.boot()
		r.resume(nil)
		return r
	}
	told := func(r *rig) bool {
		return slices.ContainsFunc(r.notes, func(n string) bool { return strings.Contains(n, "no drill has passed") })
	}
	for _, counter := range []string{bootloader.CounterNative, bootloader.CounterRegister} {
		r := passed(t, counter)
		r.notes = nil
		r.install(r.build("rel-3", 'C', next), unattended, nil)
		if told(r) {
			t.Errorf("%s, after a drill: %v", counter, r.notes)
		}
		// Another bootloader came, and was not drilled with.
		r = passed(t, counter)
		r.write("proc/device-tree/chosen/u-boot,version", "U-Boot 2027.01\x00")
		before := r.envBytes()
		if counter == bootloader.CounterRegister {
			r.install(r.build("rel-3", 'C', next), unattended, install.ErrNoDrill)
			if r.envBytes() != before {
				t.Error("the environment was written")
			}
			r.install(r.build("rel-3", 'C', next), plain, nil)
			continue
		}
		r.install(r.build("rel-3", 'C', next), unattended, nil)
		if !told(r) {
			t.Errorf("%s, without a drill: %v", counter, r.notes)
		}
	}
}
