package install_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/plimsoll-ota/plimsoll/artifact"
	"github.com/plimsoll-ota/plimsoll/bootloader"
	"github.com/plimsoll-ota/plimsoll/install"
	"github.com/plimsoll-ota/plimsoll/partition"
)

var plain install.Options

func TestInstallBootCommit(t *testing.T) {
	r := newRig(t)
	r.status("A1")
	art := r.build("rel-2", 'B', version("2.0"))
	r.install(art, plain, nil)
	r.holds("slot3.img", 'B')
	r.holds("slot2.img", 'A')
	armed := r.environment(3, true)
	if armed.Count != 0 || armed.Limit != 3 || len(armed.ID) != 16 {
		t.Errorf("armed: %+v", armed)
	}
	r.status("D2")
	r.install(art, plain, install.ErrPending)
	r.commit(install.ErrNotOnTrial)
	r.resume(install.ErrPending)

	r.boot()
	r.status("D4")
	r.install(art, plain, install.ErrPending)
	o := r.resume(nil)
	if o.Event != "committed" || r.reboots != 0 {
		t.Errorf("outcome %q, %d reboots", o.Event, r.reboots)
	}
	if s := r.environment(3, false); s.ID != "" {
		t.Errorf("the id %q is still there", s.ID)
	}
	rep := r.status("A1")
	want := map[string]string{"rootfs-image.version": "2.0", "rootfs-image.checksum": rep.Slots["B"].SHA256}
	if diff := cmp.Diff(want, rep.Provides); diff != "" || rep.Artifact != "rel-2" {
		t.Errorf("installed %q, provides (-want +got):\n%s", rep.Artifact, diff)
	}
	if rep.Slots["A"].Status != install.StatusGood || rep.Slots["B"].Status != install.StatusGood {
		t.Errorf("slots %+v", rep.Slots)
	}
	r.resume(install.ErrNothing)
	r.commit(install.ErrNothing)
	r.boot()
	r.status("A1")
	if diff := cmp.Diff([]string{"armed", "committed"}, r.history()); diff != "" {
		t.Errorf("history (-want +got):\n%s", diff)
	}
}

func TestRollbackBeforeTheReboot(t *testing.T) {
	r := newRig(t)
	art := r.build("rel-2", 'B', nil)
	r.install(art, plain, nil)
	if o := r.rollback(nil); o.Event != "disarmed" || o.Reboot {
		t.Errorf("outcome %+v", o)
	}
	if s := r.environment(2, false); s.ID != "" {
		t.Errorf("the id %q is still there", s.ID)
	}
	rep := r.status("H1")
	if got := rep.Slots["B"].Status; got != install.StatusWritten || len(rep.Failed) != 0 {
		t.Errorf("slot B is %s, failed %v", got, rep.Failed)
	}
	r.rollback(install.ErrNothing)

	// The same image again: nothing is written to the slot.
	before := slotTimes(r)
	r.install(art, plain, nil)
	if after := slotTimes(r); before != after {
		t.Errorf("slot B was written: %v, then %v", before, after)
	}
	r.environment(3, true)
}

// slotTimes is when slot B was last written to.
func slotTimes(r *rig) string {
	st, err := os.Stat(r.path("slot3.img"))
	r.must(err)
	return st.ModTime().String()
}

func TestRollbackOnTrial(t *testing.T) {
	r := newRig(t)
	r.install(r.build("rel-2", 'B', nil), plain, nil)
	r.boot()
	o := r.rollback(nil)
	if o.Event != "rolled back" || !o.Reboot || r.reboots != 0 {
		t.Errorf("outcome %+v, %d reboots", o, r.reboots)
	}
	r.environment(2, false)
	r.status("D8")
	r.boot()
	r.status("G2")
	r.resume(install.ErrFellBack)
	rep := r.status("H1")
	if len(rep.Failed) != 0 {
		t.Errorf("a rollback by hand is remembered as a failure: %+v", rep.Failed)
	}
}

func TestFallsBackWithoutAVerdict(t *testing.T) {
	r := newRig(t)
	art := r.build("rel-2", 'B', nil)
	r.install(art, plain, nil)
	for range 3 {
		r.boot()
		r.environment(3, true)
	}
	r.boot()
	r.environment(2, false)
	r.status("D5")
	r.commit(install.ErrFellBack)
	rep := r.status("H1")
	if rep.Slots["B"].Status != install.StatusBad || len(rep.Failed) != 1 || rep.Failed[0].Class != install.ClassBad {
		t.Errorf("slots %v, failed %+v", rep.Slots, rep.Failed)
	}
	if s := r.environment(2, false); s.ID != "" {
		t.Errorf("the id %q is still there", s.ID)
	}
	r.rollback(install.ErrNotGood)
	r.install(art, plain, install.ErrFailedBefore)
	r.install(art, install.Options{Retry: true}, nil)
	r.environment(3, true)
}

// TestCutBetweenRecordAndArm is the case that without a trial id cannot be
// told from the one above: the environment has a stale count of an earlier
// rollback, and the record says that it was about to arm.
func TestCutBetweenRecordAndArm(t *testing.T) {
	r := newRig(t)
	r.install(r.build("rel-2", 'B', nil), plain, nil)
	r.rollback(nil)
	r.editState(func(s map[string]any) { s["trial"].(map[string]any)["phase"] = "arming" })
	r.boot()
	r.status("D1")
	r.commit(install.ErrNotOnTrial)
	if o := r.resume(nil); o.Event != "armed" || !o.Reboot {
		t.Errorf("outcome %+v", o)
	}
	r.boot()
	r.resume(nil)
	r.environment(3, false)
	if rep := r.status("A1"); len(rep.Failed) != 0 {
		t.Errorf("failed %+v", rep.Failed)
	}
}

func TestArmAgainReadsTheSlotBack(t *testing.T) {
	r := newRig(t)
	r.install(r.build("rel-2", 'B', nil), plain, nil)
	r.rollback(nil)
	r.editState(func(s map[string]any) { s["trial"].(map[string]any)["phase"] = "verified" })
	slot := r.read("slot3.img")
	slot[2<<20] ^= 1
	r.write("slot3.img", string(slot))
	r.open()
	r.status("C1")
	r.resume(partition.ErrReadBack)
	r.environment(2, false)
	if rep := r.status("H1"); rep.Slots["B"].Status != install.StatusBad {
		t.Errorf("slot B is %s", rep.Slots["B"].Status)
	}
}

func TestBootloaderIgnoresTheArm(t *testing.T) {
	r := newRig(t)
	art := r.build("rel-2", 'B', nil)
	r.install(art, plain, nil)
	r.stuck = true
	r.boot()
	r.status("D3a")
	r.resume(install.ErrFellBack)
	r.environment(2, false)
	r.install(art, plain, install.ErrFailedBefore)
}

func TestKernelOfOneSlotRootOfTheOther(t *testing.T) {
	r := newRig(t)
	r.install(r.build("rel-2", 'B', nil), plain, nil)
	r.boot()
	r.running("slot2.img")
	r.status("D3b")
	r.commit(install.ErrFellBack)
	r.environment(2, false)
}

func TestBootloaderIgnoresTheRollback(t *testing.T) {
	r := newRig(t)
	r.install(r.build("rel-2", 'B', nil), plain, nil)
	r.boot()
	r.rollback(nil)
	r.stuck = true
	r.boot()
	r.status("G3")
	for range 3 {
		r.resume(install.ErrAttention)
	}
	if r.reboots != 0 {
		t.Errorf("%d reboots", r.reboots)
	}
}

func TestCountsThatAreNotSaved(t *testing.T) {
	r := newRig(t)
	r.install(r.build("rel-2", 'B', nil), plain, nil)
	r.editState(func(s map[string]any) {
		s["trial"].(map[string]any)["phase"], s["trial"].(map[string]any)["boots"] = "alive", 4
	})
	r.running("slot3.img") // and the environment as it was armed
	r.status("D4''")
	r.resume(install.ErrFellBack)
	if r.reboots != 1 {
		t.Errorf("%d reboots, want 1", r.reboots)
	}
	r.environment(2, false)
	r.boot()
	r.resume(install.ErrFellBack)
	if rep := r.status("H1"); rep.Failed[0].Class != install.ClassBad || r.reboots != 1 {
		t.Errorf("failed %+v, %d reboots", rep.Failed, r.reboots)
	}
}

func TestStateLostDuringTheTrial(t *testing.T) {
	r := newRig(t)
	r.install(r.build("rel-2", 'B', nil), plain, nil)
	r.boot()
	r.must(os.Remove(r.path("state/state.json")))
	r.status("A4")
	r.resume(nil)
	r.environment(3, false)
	r.status("A1")
}

func TestStateLostAfterTheFallback(t *testing.T) {
	r := newRig(t)
	r.install(r.build("rel-2", 'B', nil), plain, nil)
	for range 4 {
		r.boot()
	}
	r.must(os.Remove(r.path("state/state.json")))
	r.status("A6")
	r.resume(install.ErrNothing)
	if s := r.environment(2, false); s.ID != "" {
		t.Errorf("the id %q is still there", s.ID)
	}
}

func TestTrialWithoutStateDirectory(t *testing.T) {
	r := newRig(t)
	r.install(r.build("rel-2", 'B', nil), plain, nil)
	r.boot()
	r.must(os.Rename(r.path("state"), r.path("elsewhere")))
	r.status("I2")
	r.commit(install.ErrAttention) // by hand: said, and nothing done
	r.environment(3, true)
	r.resume(install.ErrFellBack)
	r.environment(2, false)
	if r.reboots != 1 {
		t.Errorf("%d reboots, want 1", r.reboots)
	}
	r.boot()
	r.status("I3")
	r.resume(install.ErrState)
	if r.reboots != 1 {
		t.Errorf("%d reboots, want 1", r.reboots)
	}
}

func TestRollbackWithoutStateDirectory(t *testing.T) {
	r := newRig(t)
	r.install(r.build("rel-2", 'B', nil), plain, nil)
	r.boot()
	r.must(os.Rename(r.path("state"), r.path("elsewhere")))
	if o := r.rollback(nil); o.Event != "rolled back" || !o.Reboot || r.reboots != 0 {
		t.Errorf("outcome %+v, %d reboots", o, r.reboots)
	}
	r.environment(2, false)
}

func TestRollbackWithoutEnvironment(t *testing.T) {
	r := newRig(t)
	r.install(r.build("rel-2", 'B', nil), plain, nil)
	r.boot()
	r.write("env0", strings.Repeat("\xff", 0x2000))
	r.write("env1", strings.Repeat("\x00", 0x2000))
	if o := r.rollback(nil); o.Event != "rolled back" || !o.Reboot || r.reboots != 0 {
		t.Errorf("outcome %+v, %d reboots", o, r.reboots)
	}
	r.environment(2, false)
}

func TestRollbackToWhatIsNotGood(t *testing.T) {
	r := newRig(t)
	r.install(r.build("rel-2", 'B', nil), plain, nil)
	r.boot()
	r.editState(func(s map[string]any) { s["slots"].(map[string]any)["A"].(map[string]any)["status"] = "bad" })
	before := r.envBytes()
	r.rollback(install.ErrNotGood)
	if r.envBytes() != before {
		t.Error("the environment was written")
	}
}

func TestRecordOfANewerRelease(t *testing.T) {
	const newer = `{"schema": 2, "trial": "in another form", "secret": 42}`
	r := newRig(t)
	r.install(r.build("rel-2", 'B', nil), plain, nil)
	r.boot()
	r.write("state/state.json", newer)
	r.status("I1")
	if got := string(r.read("state/state.json")); got != newer {
		t.Errorf("status changed the record to %s", got)
	}
	r.resume(nil)
	r.environment(3, false)
	kept := 0
	entries, err := os.ReadDir(r.path("state"))
	r.must(err)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "state.json.kept-") && string(r.read("state/"+e.Name())) == newer {
			kept++
		}
	}
	if kept != 1 {
		t.Errorf("the newer record was kept %d times", kept)
	}
}

func TestDamagedRecord(t *testing.T) {
	for name, record := range map[string]string{
		"no JSON":       "{",
		"cut":           `{"schema": 1, "slots": {`,
		"empty":         "",
		"unknown phase": `{"schema": 1, "trial": {"phase": "dancing", "source": "A", "target": "B"}}`,
		"same slots":    `{"schema": 1, "trial": {"phase": "armed", "source": "A", "target": "A"}}`,
		"no schema":     `{}`,
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.write("state/state.json", record)
			before := r.envBytes()
			rep := r.status("I1")
			if rep.Problem == nil {
				t.Error("the report has no problem")
			}
			r.resume(install.ErrNothing)
			if string(r.read("state/state.json")) != record || r.envBytes() != before {
				t.Error("resume wrote something")
			}
		})
	}
}

func TestUnknownFieldsAreKept(t *testing.T) {
	r := newRig(t)
	r.install(r.build("rel-2", 'B', nil), plain, nil)
	r.editState(func(s map[string]any) {
		s["future"] = map[string]any{"x": 1.0}
		s["trial"].(map[string]any)["health"] = "pending"
	})
	r.must(r.env.Update(func(e bootloader.Env) error { e["plimsoll_future"] = "kept"; return nil }))
	r.boot()
	r.resume(nil)
	r.editState(func(s map[string]any) {
		if !reflect.DeepEqual(s["future"], map[string]any{"x": 1.0}) || s["trial"].(map[string]any)["health"] != "pending" {
			t.Errorf("state %v", s)
		}
	})
	if e, err := r.env.Env(); err != nil || e["plimsoll_future"] != "kept" {
		t.Errorf("environment %v, %v", e, err)
	}
}

// editState changes state.json as another program would.
func (r *rig) editState(change func(map[string]any)) {
	r.Helper()
	var s map[string]any
	r.must(json.Unmarshal(r.read("state/state.json"), &s))
	change(s)
	b, err := json.Marshal(s)
	r.must(err)
	r.write("state/state.json", string(b))
}

func TestEnvironmentResetDuringTheTrial(t *testing.T) {
	for _, c := range []struct {
		part, row string
		want      error
	}{{"3", "D7", nil}, {"2", "D5", install.ErrFellBack}} {
		r := newRig(t)
		r.install(r.build("rel-2", 'B', nil), plain, nil)
		r.boot()
		r.must(r.env.Update(func(e bootloader.Env) error {
			clear(e)
			e["mender_boot_part"], e["upgrade_available"], e["bootlimit"] = c.part, "0", "1"
			return nil
		}))
		r.running("slot" + c.part + ".img")
		r.status(c.row)
		r.resume(c.want)
		r.environment(int(c.part[0]-'0'), false)
	}
}

func TestEnvironmentLost(t *testing.T) {
	lose := func(r *rig) {
		r.write("env0", strings.Repeat("\xff", 0x2000))
		r.write("env1", strings.Repeat("\x00", 0x2000))
	}
	t.Run("no backup", func(t *testing.T) {
		r := newRig(t)
		lose(r)
		r.status("A7")
		r.resume(install.ErrAttention)
		r.install(r.build("rel-2", 'B', nil), plain, install.ErrAttention)
	})
	t.Run("idle", func(t *testing.T) {
		r := newRig(t)
		r.install(r.build("rel-2", 'B', nil), plain, nil)
		r.boot()
		r.resume(nil)
		lose(r)
		r.status("A7")
		r.resume(nil)
		r.environment(3, false)
		if e, err := r.env.Env(); err != nil || e["bootcmd"] == "" {
			t.Errorf("environment %v, %v", e, err)
		}
		r.status("A1")
	})
	t.Run("in a trial", func(t *testing.T) {
		r := newRig(t)
		r.install(r.build("rel-2", 'B', nil), plain, nil)
		r.boot()
		lose(r)
		r.resume(nil)
		r.environment(3, false)
		r.status("A1")
	})
	t.Run("another geometry", func(t *testing.T) {
		r := newRig(t)
		r.install(r.build("rel-2", 'B', nil), plain, nil)
		r.editState(func(s map[string]any) { s["backup"].(map[string]any)["geometry"] = "elsewhere" })
		lose(r)
		r.resume(install.ErrAttention)
	})
}

func TestInstallCutWhileWriting(t *testing.T) {
	r := newRig(t)
	art := r.build("rel-2", 'B', nil)
	r.install(art, plain, nil)
	r.rollback(nil)
	// What a cut in step 2 leaves: the mark, and a slot without its first MiB.
	r.editState(func(s map[string]any) {
		s["trial"].(map[string]any)["phase"] = "writing"
		s["slots"].(map[string]any)["B"].(map[string]any)["status"] = "writing"
	})
	slot := r.read("slot3.img")
	clear(slot[:1<<20])
	r.write("slot3.img", string(slot))
	r.open()
	r.status("B1")
	r.rollback(install.ErrNotGood)
	r.resume(install.ErrCut)
	r.status("H1")
	r.rollback(install.ErrNotGood)
	r.environment(2, false)
	r.install(art, plain, nil)
	r.holds("slot3.img", 'B')
}

func TestRunningTheSlotThatWasBeingWritten(t *testing.T) {
	r := newRig(t)
	r.install(r.build("rel-2", 'B', nil), plain, nil)
	r.editState(func(s map[string]any) { s["trial"].(map[string]any)["phase"] = "writing" })
	r.running("slot3.img")
	r.status("B2")
	r.resume(install.ErrFellBack)
	r.environment(2, false)
	if r.reboots != 1 {
		t.Errorf("%d reboots, want 1", r.reboots)
	}
}

func TestAnotherClientsUpdate(t *testing.T) {
	for row, running := range map[string]string{"A2": "slot3.img", "A3": "slot2.img"} {
		r := newRig(t)
		r.must(r.env.Update(func(e bootloader.Env) error {
			e["mender_boot_part"], e["upgrade_available"], e["bootcount"] = "3", "1", "1"
			return nil
		}))
		r.running(running)
		before := r.envBytes()
		r.status(row)
		art := r.build("rel-2", 'B', nil)
		r.install(art, plain, install.ErrForeign)
		r.resume(install.ErrForeign)
		r.commit(install.ErrForeign)
		r.rollback(install.ErrForeign)
		if r.envBytes() != before {
			t.Errorf("%s: the environment was written", row)
		}
	}
}

func TestCommittedByAnotherHand(t *testing.T) {
	r := newRig(t)
	r.install(r.build("rel-2", 'B', nil), plain, nil)
	r.boot()
	r.must(r.env.Update(func(e bootloader.Env) error { e["upgrade_available"] = "0"; return nil }))
	r.status("D6")
	r.resume(nil)
	if s := r.environment(3, false); s.ID != "" {
		t.Errorf("the id %q is still there", s.ID)
	}
	if rep := r.status("A1"); rep.Artifact != "rel-2" {
		t.Errorf("installed %q", rep.Artifact)
	}
}

func TestLateFallback(t *testing.T) {
	r := newRig(t)
	r.install(r.build("rel-2", 'B', nil), plain, nil)
	r.boot()
	r.resume(nil)
	r.running("slot2.img")
	before := r.envBytes()
	r.status("H2")
	r.resume(install.ErrAttention)
	r.install(r.build("rel-3", 'C', nil), plain, install.ErrAttention)
	if r.envBytes() != before {
		t.Error("the environment was written")
	}
}

// TestRefusals are artifacts that are not installed: nothing was touched.
func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*artifact.Header)
		o      install.Options
		want   error
	}{
		{"another device", func(h *artifact.Header) { h.DeviceTypes = []string{"other"} }, plain, install.ErrDeviceType},
		{"depends on an artifact", func(h *artifact.Header) { h.DependsNames = []string{"rel-0"} }, plain, install.ErrDepends},
		{"depends on a group", func(h *artifact.Header) { h.DependsGroups = []string{"g"} }, plain, install.ErrDepends},
		{"depends on a key", func(h *artifact.Header) { h.Depends = map[string][]string{"k": {"v"}} }, plain, install.ErrDepends},
		{"older", version("1.9"), plain, install.ErrDowngrade},
		{"older, by our key", func(h *artifact.Header) {
			h.Provides = map[string]string{"plimsoll.version": "1.0", "rootfs-image.version": "9.0"}
		}, plain, install.ErrDowngrade},
		{"not comparable, unattended", version("release-9"), install.Options{Unattended: true}, install.ErrUnversioned},
		{"the same, unattended", version("2.0"), install.Options{Unattended: true}, install.ErrCurrent},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			r.install(r.build("rel-2", 'B', version("2.0")), plain, nil)
			r.boot()
			r.resume(nil)
			env, slots, state := r.envBytes(), string(r.read("slot2.img")), string(r.read("state/state.json"))
			r.install(r.build("rel-3", 'C', c.change), c.o, c.want)
			if r.envBytes() != env || string(r.read("slot2.img")) != slots || string(r.read("state/state.json")) != state {
				t.Error("something was written")
			}
		})
	}
}

func TestDependsThatAreMet(t *testing.T) {
	r := newRig(t)
	r.install(r.build("rel-2", 'B', func(h *artifact.Header) { h.Group = "g" }), plain, nil)
	r.boot()
	r.resume(nil)
	r.install(r.build("rel-3", 'C', func(h *artifact.Header) {
		h.DependsNames, h.DependsGroups = []string{"rel-1", "rel-2"}, []string{"g"}
		h.Depends = map[string][]string{"rootfs-image.version": {"rel-1", "rel-2"}}
	}), plain, nil)
}

func TestFloor(t *testing.T) {
	r := newRig(t)
	r.install(r.build("rel-2", 'B', func(h *artifact.Header) {
		h.Provides = map[string]string{"plimsoll.version": "2.0", "plimsoll.floor": "1.5"}
	}), plain, nil)
	if rep := r.status("D2"); rep.Floor != "" {
		t.Errorf("the floor is %q before the commit", rep.Floor)
	}
	r.boot()
	r.resume(nil)
	if s := r.environment(3, false); s.Floor != "1.5" {
		t.Errorf("the environment's floor is %q", s.Floor)
	}
	// Wiping the state directory does not lower it.
	r.must(os.Remove(r.path("state/state.json")))
	older := r.build("rel-1", 'C', version("1.4"))
	r.install(older, plain, install.ErrFloor)
	r.install(older, install.Options{AllowDowngrade: true}, nil)
	r.rollback(nil)
	r.install(r.build("rel-1.6", 'D', version("1.6")), plain, nil)
}

func TestDamagedPayload(t *testing.T) {
	r := newRig(t)
	art := r.build("rel-2", 'B', nil)
	before := r.envBytes()
	damaged := bytes.Clone(art)
	damaged[len(damaged)*3/4] ^= 1
	_, err := r.dev.Install(context.Background(), bytes.NewReader(damaged), plain)
	var e *install.Error
	if !errors.As(err, &e) || e.Step != install.StepWrite || !errors.Is(err, artifact.ErrChecksum) {
		t.Errorf("error %v", err)
	}
	r.status("H1")
	if r.envBytes() != before {
		t.Error("the environment was written")
	}
	r.rollback(install.ErrNotGood)
	r.install(art, plain, nil) // the good copy is not blamed for the damaged one
}

func TestCancelled(t *testing.T) {
	r := newRig(t)
	art := r.build("rel-2", 'B', nil)
	stop := errors.New("enough")
	for _, after := range []int{0, len(art) / 2, len(art) - 1} {
		ctx, cancel := context.WithCancelCause(context.Background())
		src := io.MultiReader(bytes.NewReader(art[:after]), readerFunc(func([]byte) (int, error) { cancel(stop); return 0, nil }), bytes.NewReader(art[after:]))
		before := r.envBytes()
		_, err := r.dev.Install(ctx, src, plain)
		if !errors.Is(err, stop) {
			t.Errorf("cancelled after %d bytes: %v", after, err)
		}
		if r.envBytes() != before {
			t.Error("the environment was written")
		}
		if rep := r.status(r.row()); len(rep.Failed) != 0 {
			t.Errorf("cancelled, and remembered as a failure: %+v", rep.Failed)
		}
	}
	r.install(art, plain, nil)
}

func (r *rig) row() string {
	rep, err := r.dev.Status()
	r.must(err)
	return rep.Row
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

func TestHostileReaders(t *testing.T) {
	for name, wrap := range map[string]func(io.Reader) io.Reader{
		"one byte": iotest.OneByteReader, "half": iotest.HalfReader, "data with the error": iotest.DataErrReader,
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			_, err := r.dev.Install(context.Background(), wrap(bytes.NewReader(r.build("rel-2", 'B', nil))), plain)
			r.must(err)
			r.holds("slot3.img", 'B')
		})
	}
}

func TestTwoAtOnce(t *testing.T) {
	r := newRig(t)
	art := r.build("rel-2", 'B', nil)
	var inner error
	src := io.MultiReader(bytes.NewReader(art[:len(art)/2]), readerFunc(func([]byte) (int, error) {
		if inner == nil {
			_, inner = r.dev.Install(context.Background(), bytes.NewReader(art), plain)
		}
		return 0, io.EOF
	}), bytes.NewReader(art[len(art)/2:]))
	_, err := r.dev.Install(context.Background(), src, plain)
	r.must(err)
	r.expect(inner, install.ErrLocked)
}

func TestStateDirectory(t *testing.T) {
	for name, spoil := range map[string]func(*rig){
		"missing":              func(r *rig) { r.must(os.Remove(r.path("state"))) },
		"a file":               func(r *rig) { r.must(os.Remove(r.path("state"))); r.write("state", "") },
		"on a slot":            func(r *rig) { r.mounts("7:0 / / ", "7:0 / "+r.path("state")+" ", "8:4 / "+r.dir+" ") },
		"on the root, no slot": func(r *rig) { r.mounts("8:4 / / ") },
		"read-only":            func(r *rig) { r.mountsAs("ro", "7:0 / / ", "8:4 / "+r.dir+" ") },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			art := r.build("rel-2", 'B', nil)
			spoil(r)
			env, slot := r.envBytes(), string(r.read("slot3.img"))
			_, err := r.dev.Install(context.Background(), bytes.NewReader(art), plain)
			if !errors.Is(err, install.ErrState) && !errors.Is(err, install.ErrAttention) {
				t.Errorf("error %v", err)
			}
			if r.envBytes() != env || string(r.read("slot3.img")) != slot {
				t.Error("something was written")
			}
		})
	}
}

func (r *rig) mounts(lines ...string) { r.mountsAs("rw", lines...) }

func (r *rig) mountsAs(mode string, lines ...string) {
	var b strings.Builder
	for i, l := range lines {
		b.WriteString(strings.Join([]string{string(rune('1' + i)), string(rune('0' + i)), l + mode, "- ext4 /dev/x", mode}, " ") + "\n")
	}
	r.write("proc/self/mountinfo", b.String())
}

func TestNeitherSlot(t *testing.T) {
	r := newRig(t)
	r.mounts("8:4 / / ", "8:4 / "+r.dir+" ")
	r.status("D10")
	r.resume(install.ErrAttention)
	r.install(r.build("rel-2", 'B', nil), plain, install.ErrAttention)
}
