package boards

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/plimsoll-ota/plimsoll/cmd/internal/machine"
)

var (
	v1 = release{name: "1.0.0"}
	v2 = release{name: "2.0.0"}
)

// TestGoodUpdate: installed, booted, kept, and kept over another reboot.
func TestGoodUpdate(t *testing.T) {
	b := newBoard(t, virt, v1, v2)
	b.on()
	b.runs(v1, "A", "A1")
	b.install(v2)
	b.runs(v1, "A", "D2")
	b.restart()
	b.expect(`boot 1 of 3 of slot B, on trial`)
	if code := b.expect(machine.Resumed); code != "0" {
		t.Errorf("resume: exit %s", code)
	}
	b.up()
	b.runs(v2, "B", "A1")
	b.reboot()
	b.runs(v2, "B", "A1")
	if env, s := b.environment(); s.Valid != 2 || s.Trial || s.Part != 3 || env["plimsoll_trial"] != "" {
		t.Errorf("environment %v, %+v", env, s)
	}
}

// TestNeverCommitted: a trial that nobody judges is over after its third boot.
func TestNeverCommitted(t *testing.T) {
	silent := release{name: "2.1.0-silent", bare: true}
	b := newBoard(t, virt, v1, silent)
	b.on()
	b.install(silent)
	for n := 1; n <= 3; n++ {
		b.restart()
		b.expect(fmt.Sprintf(`boot %d of 3 of slot B, on trial`, n))
		b.expect(machine.Ready)
		if got := b.do("cat /etc/version"); got != silent.name+"\n" {
			t.Fatalf("boot %d runs %s", n, got)
		}
	}
	b.restart()
	b.expect(`3 boots of slot B without a verdict, going back`)
	b.up()
	s := b.runs(v1, "A", "H1")
	if s.Trial == nil || s.Trial.Reason != "D5" || len(s.Failed) != 1 || s.Failed[0].Class != "bad" {
		t.Errorf("status: %+v", s)
	}
	if text := b.do("plimsoll status"); !strings.Contains(text, "fell back: the new system never reached plimsoll") {
		t.Errorf("status does not say why:\n%s", text)
	}
	// A stick that was left in: what failed is not tried again, unless asked for.
	if out := b.exits(3, "plimsoll --quiet install /mnt/"+silent.name+".mender"); !strings.Contains(out, "failed on this device before") {
		t.Errorf("installed again: %s", out)
	}
	b.install(silent, "--retry")
}

// TestUnhealthy: an unhealthy verdict goes back at once, in its first boot. The
// data partition is missing there: what cannot be remembered cannot be kept.
func TestUnhealthy(t *testing.T) {
	b := newBoard(t, virt, v1, v2)
	b.on()
	b.install(v2)
	b.onTrial("umount -l /data")
	b.restart()
	b.expect(`boot 1 of 3 of slot B`)
	b.expect(machine.Banner)
	b.up()
	if s := b.runs(v1, "A", "H1"); len(s.Failed) != 1 {
		t.Errorf("status: %+v", s)
	}
	if strings.Contains(b.m.Log(), "boot 2 of 3") {
		t.Error("the trial was started twice")
	}
}

// TestMigrationFails: a script of the artifact has migrated data, and the
// installation fails. The data are what they were, and nothing is armed.
func TestMigrationFails(t *testing.T) {
	migrating := release{name: "2.2.0-migrates", scripts: map[string]string{
		"ArtifactInstall_Leave_01_migrate": "#!/bin/sh" + migrateApp + "echo the third table >&2\nexit 1\n",
	}}
	b := newBoard(t, virt, v1, migrating)
	b.on()
	app := b.hasData()
	out := b.exits(1, "plimsoll --quiet install /mnt/"+migrating.name+".mender")
	if !strings.Contains(out, "ArtifactInstall_Leave_01_migrate") || !strings.Contains(out, "nothing was armed") {
		t.Errorf("install says\n%s", out)
	}
	b.dataIs(app)
	for _, verb := range []string{"status", "history"} {
		if out := b.do("plimsoll " + verb); !strings.Contains(out, "ArtifactInstall_Leave_01_migrate") || !strings.Contains(out, "the third table") {
			t.Errorf("plimsoll %s does not say why:\n%s", verb, out)
		}
	}
	if _, s := b.environment(); s.Trial || s.Part != 2 || s.ID != "" {
		t.Errorf("environment: %+v", s)
	}
	b.reboot()
	b.runs(v1, "A", "H1")
	b.dataIs(app)
}

// TestBroken: what cannot start comes back by itself.
func TestBroken(t *testing.T) {
	cases := []struct {
		release
		says string // on the way
		row  string // why, in the record
	}{
		{release{name: "3.1.0-no-kernel", fault: machine.KernelMissing}, `slot B cannot be started, trying the other one`, "D3b"},
		{release{name: "3.2.0-bad-kernel", fault: machine.KernelCorrupt}, `Bad Linux ARM64 Image magic`, "D3b"},
		{release{name: "3.3.0-no-init", fault: machine.InitMissing}, machine.Panic, "D5"},
		{release{name: "3.4.0-init-exits", fault: machine.InitExits}, machine.Panic, "D5"},
		{release{name: "3.5.0-hangs", fault: machine.InitHangs}, `GUEST-INIT hangs`, "D5"},
	}
	chosen := sampled(rand.New(rand.NewPCG(seed(t), 3)), len(cases), 2)
	for i, c := range cases {
		if !chosen[i] {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			b := newBoard(t, virt, v1, c.release)
			b.on()
			b.install(c.release)
			b.restart()
			b.expect(c.says)
			b.patient(machine.Ready, 3*time.Minute)
			s := b.runs(v1, "A", "H1")
			if s.Trial == nil || s.Trial.Reason != c.row || s.Slots["B"].Status == "good" || len(s.Failed) != 1 {
				t.Errorf("status: %+v", s)
			}
			if _, e := b.environment(); e.Trial || e.Part != 2 || e.ID != "" || e.Valid != 2 {
				t.Errorf("environment: %+v", e)
			}
		})
	}
}
