package install_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plimsoll-ota/plimsoll/artifact"
	"github.com/plimsoll-ota/plimsoll/install"
	"github.com/plimsoll-ota/plimsoll/install/data"
)

// declare sets what is taken across; root is what / means to the paths.
func (r *rig) declare(d install.Data) {
	r.data = d
	r.dev.Data = d
}

// inRoot makes paths be those of another root file system, as after a boot.
func (r *rig) inRoot(dir string) {
	r.data.Root = r.path(dir)
	r.dev.Data = r.data
}

func (r *rig) early(want error) install.Outcome {
	r.Helper()
	o, err := r.dev.Early(context.Background())
	r.expect(err, want)
	return o
}

func (r *rig) content(name, want string) {
	r.Helper()
	if diff := cmp.Diff(want, string(r.read(name))); diff != "" {
		r.Fatalf("%s (-want +got):\n%s", name, diff)
	}
}

// noCopies checks that keys and data are not kept longer than needed.
func (r *rig) noCopies() {
	r.Helper()
	for _, name := range []string{"carry", "snapshot"} {
		if _, err := os.Lstat(r.path("state/" + name)); !errors.Is(err, os.ErrNotExist) {
			r.Errorf("%s is left: %v", name, err)
		}
	}
}

func sick(context.Context, json.RawMessage) error { return errors.New("sick") }

// carrying is a rig with two root file systems, A installed from.
func carrying(t *testing.T) *rig {
	r := newRig(t)
	r.write("rootA/etc/ssh/key", "of this device")
	r.write("rootB/etc/ssh/key", "of the release")
	r.write("rootB/etc/ssh/config", "of the release")
	r.declare(install.Data{Root: r.path("rootA"), Carry: []string{"/etc/ssh"}})
	return r
}

func TestCarry(t *testing.T) {
	r := carrying(t)
	r.install(r.build("rel-2", 'B', nil), plain, nil)
	r.write("rootA/etc/ssh/key", "changed after the installation")
	r.early(install.ErrNothing) // armed, and not booted
	r.boot()
	r.inRoot("rootB")
	r.early(nil)
	r.content("rootB/etc/ssh/key", "of this device")
	r.content("rootB/etc/ssh/config", "of the release")
	if s := r.status("D4").Slots["B"].Status; s != install.StatusModified {
		t.Errorf("slot B is %s", s)
	}
	r.write("rootB/etc/ssh/key", "changed by the new system")
	r.boot() // a second time, on trial
	r.inRoot("rootB")
	r.early(nil)
	if o := r.resume(nil); o.Event != "committed" {
		t.Errorf("outcome %+v", o)
	}
	r.content("rootB/etc/ssh/key", "changed by the new system")
	r.noCopies()
	r.clean()
	r.status("A1")
	if !strings.Contains(strings.Join(r.notes, "\n"), "/etc/ssh/key: replaced") {
		t.Errorf("the conflict is not reported: %q", r.notes)
	}
}

// Where nothing runs early, the data are carried before there is a verdict.
func TestCarryLate(t *testing.T) {
	r := carrying(t)
	r.install(r.build("rel-2", 'B', nil), plain, nil)
	r.boot()
	r.inRoot("rootB")
	r.resume(nil)
	r.content("rootB/etc/ssh/key", "of this device")
	r.noCopies()
}

// What is not to be kept is not carried: neither after a rollback by hand before
// the boot, nor into the root file system that runs.
func TestCarryTakenBack(t *testing.T) {
	r := carrying(t)
	r.install(r.build("rel-2", 'B', nil), plain, nil)
	r.rollback(nil)
	r.noCopies()
	r.early(install.ErrNothing)
	r.content("rootA/etc/ssh/key", "of this device")
}

func TestCarryTooMuch(t *testing.T) {
	r := carrying(t)
	r.data.Limit = 3
	r.declare(r.data)
	before := r.read("slot3.img")
	r.install(r.build("rel-2", 'B', nil), plain, data.ErrLimit)
	if !bytes.Equal(before, r.read("slot3.img")) {
		t.Error("the slot was changed")
	}
	r.status("H1")
	r.environment(2, false)
	r.noCopies()
}

// A trial that cannot have its data goes back before a service has started.
func TestCarryDamaged(t *testing.T) {
	r := carrying(t)
	r.install(r.build("rel-2", 'B', nil), plain, nil)
	r.boot()
	r.inRoot("rootB")
	r.write("state/carry/manifest.jsonl", "{}\n")
	r.early(install.ErrFellBack)
	if r.reboots != 1 {
		t.Errorf("%d reboots", r.reboots)
	}
	r.content("rootB/etc/ssh/key", "of the release")
	r.boot()
	r.inRoot("rootA")
	r.early(nil)
	r.resume(install.ErrFellBack)
	r.status("H1")
	r.noCopies()
}

// migrating is a rig with data that both releases use.
func migrating(t *testing.T) *rig {
	r := newRig(t)
	r.write("shared/app/db", "format 1")
	r.declare(install.Data{Root: r.path("shared"), Snapshot: []string{"/app"}})
	return r
}

func TestSnapshot(t *testing.T) {
	r := migrating(t)
	r.install(r.build("rel-2", 'B', nil), plain, nil)
	r.write("shared/app/db", "format 1, written until the reboot")
	r.boot()
	r.early(nil)
	r.write("shared/app/db", "format 2")
	r.write("shared/app/new", "")
	r.boot() // a second time, on trial: the copy is of the first
	r.early(nil)
	r.dev.Health = sick
	r.resume(install.ErrFellBack)
	r.boot()
	r.early(nil)
	r.content("shared/app/db", "format 1, written until the reboot")
	if _, err := os.Stat(r.path("shared/app/new")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what the migration made is there: %v", err)
	}
	r.write("shared/app/db", "format 1, and the services run")
	r.resume(install.ErrFellBack)
	r.content("shared/app/db", "format 1, and the services run")
	r.noCopies()
	r.clean()
	if past := string(r.read("state/history.jsonl")); !strings.Contains(past, `"detail":"on trial and unhealthy: sick"`) {
		t.Errorf("the history does not say why it went back:\n%s", past)
	}
}

// Without an early start the data are restored all the same, by Resume.
func TestSnapshotLate(t *testing.T) {
	r := migrating(t)
	r.install(r.build("rel-2", 'B', nil), plain, nil)
	r.boot()
	r.early(nil)
	r.write("shared/app/db", "format 2")
	r.dev.Health = sick
	r.resume(install.ErrFellBack)
	r.boot()
	r.resume(install.ErrFellBack)
	r.content("shared/app/db", "format 1")
	r.noCopies()
}

// An update that was never booted has migrated nothing: what was written since
// stays.
func TestSnapshotNotNeeded(t *testing.T) {
	r := migrating(t)
	r.install(r.build("rel-2", 'B', nil), plain, nil)
	r.write("shared/app/db", "format 1, written until the reboot")
	r.rollback(nil)
	r.content("shared/app/db", "format 1, written until the reboot")
	r.noCopies()
}

func TestSnapshotKept(t *testing.T) {
	r := migrating(t)
	r.install(r.build("rel-2", 'B', nil), plain, nil)
	r.boot()
	r.early(nil)
	r.write("shared/app/db", "format 2")
	r.resume(nil)
	r.content("shared/app/db", "format 2")
	r.noCopies()
}

// A copy that cannot be made ends the trial before anything can migrate.
func TestSnapshotFails(t *testing.T) {
	r := migrating(t)
	r.install(r.build("rel-2", 'B', nil), plain, nil)
	r.boot()
	r.write("state/snapshot", "in the way")
	r.early(install.ErrFellBack)
	if r.reboots != 1 {
		t.Errorf("%d reboots", r.reboots)
	}
	r.boot()
	r.status("G2")
}

// A migration in a script of the artifact that fails halfway is undone at once.
func TestSnapshotOfScripts(t *testing.T) {
	r := migrating(t)
	var b bytes.Buffer
	w := artifact.Create(&b, artifact.Header{Name: "rel-2", Type: artifact.RootFS, DeviceTypes: []string{"rig"}},
		artifact.Options{Compression: artifact.Gzip, TempDir: r.dir, Rootfs: &artifact.Software{}})
	text := "#!/bin/sh\necho format 2 > " + r.path("shared/app/db") + "\nexit 1\n"
	r.must(w.AddScript("ArtifactInstall_Leave_10_migrate", int64(len(text)), strings.NewReader(text)))
	img := image('B')
	r.must(w.Add("rootfs.img", int64(len(img)), bytes.NewReader(img)))
	r.must(w.Close())
	_, err := r.dev.Install(context.Background(), &b, plain)
	if err == nil || !strings.Contains(err.Error(), "migrate") {
		t.Fatal(err)
	}
	r.content("shared/app/db", "format 1")
	r.environment(2, false)
	r.status("H1")
	r.noCopies()
}
