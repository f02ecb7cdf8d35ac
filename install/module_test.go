package install_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/plimsoll-ota/plimsoll/artifact"
	"github.com/plimsoll-ota/plimsoll/install"
	"github.com/plimsoll-ota/plimsoll/install/module"
)

// withModule gives the device a module that logs its calls. In it, $rollback and
// $reboot are its answers; the state in $fails fails.
func (r *rig) withModule(rollback, reboot, fails string) {
	r.Helper()
	r.write("modules/test", `#!/bin/sh
echo "$1" >> `+r.path("log")+`
case "$1" in
SupportsRollback) echo `+rollback+` ;;
NeedsArtifactReboot) echo `+reboot+` ;;
Download) while read -r f < stream-next && [ -n "$f" ]; do cat "$f" > tmp/"${f##*/}"; done ;;
ArtifactInstall) cp tmp/payload `+r.path("installed")+` ;;
ArtifactRollback) rm -f `+r.path("installed")+` ;;
esac
[ "$1" != "`+fails+`" ] || { echo "cannot $1" >&2; exit 1; }
`)
	r.must(os.Chmod(r.path("modules/test"), 0o755))
	r.modules = install.Modules{Dirs: []string{r.path("modules")}}
	r.dev.Modules = r.modules
}

// payload returns an artifact for the module, with scripts for some moments.
func (r *rig) payload(name string, moments ...string) []byte {
	r.Helper()
	var b bytes.Buffer
	w := artifact.Create(&b, artifact.Header{Name: name, Type: "test", DeviceTypes: []string{"rig"},
		Provides: map[string]string{"rootfs-image.test.version": name}, HasClears: true, Clears: []string{"rootfs-image.test.*"}},
		artifact.Options{Compression: artifact.Gzip, TempDir: r.dir})
	for _, m := range moments {
		text := r.script(m, false)
		r.must(w.AddScript(m+"_10_test", int64(len(text)), strings.NewReader(text)))
	}
	r.must(w.Add("payload", 5, strings.NewReader("hello")))
	r.must(w.Close())
	return b.Bytes()
}

func (r *rig) installedFile(want bool) {
	r.Helper()
	_, err := os.Stat(r.path("installed"))
	if (err == nil) != want {
		r.Errorf("what the module installs: %v, want it to be there: %v", err, want)
	}
}

func TestModuleCommitsByWord(t *testing.T) {
	r := newRig(t)
	r.withModule("Yes", "No", "")
	env := r.envBytes()
	r.install(r.payload("mod-1", "ArtifactInstall_Enter", "ArtifactInstall_Leave", "ArtifactCommit_Enter", "ArtifactCommit_Leave"), plain, nil)
	r.expectRan("ProvidePayloadFileSizes", "Download", "ArtifactInstall_Enter", "ArtifactInstall", "ArtifactInstall_Leave", "NeedsArtifactReboot", "SupportsRollback")
	r.installedFile(true)
	if rep := r.status("M4"); rep.Artifact != "" {
		t.Errorf("the name is %q before the commit", rep.Artifact)
	}
	r.install(r.payload("mod-2"), plain, install.ErrPending)
	r.install(r.build("rel-2", 'B', nil), plain, install.ErrPending)
	r.commit(nil)
	r.expectRan("ArtifactCommit_Enter", "ArtifactCommit", "ArtifactCommit_Leave", "Cleanup")
	if rep := r.status("A1"); rep.Artifact != "mod-1" || rep.Provides["rootfs-image.test.version"] != "mod-1" {
		t.Errorf("installed %q, %v", rep.Artifact, rep.Provides)
	}
	r.clean()
	r.commit(install.ErrNothing)
	r.rollback(install.ErrNothing)
	if r.envBytes() != env {
		t.Error("the boot environment was written")
	}
}

func TestModuleIsKeptAtBoot(t *testing.T) {
	r := newRig(t)
	r.withModule("Yes", "Automatic", "")
	r.install(r.payload("mod-1"), plain, nil)
	r.ran()
	r.resume(install.ErrPending)
	r.expectRan()
	r.boot()
	if o := r.resume(nil); o.Event != "committed" {
		t.Errorf("outcome %+v", o)
	}
	r.expectRan("ArtifactCommit", "Cleanup")
	r.clean()
}

func TestModuleThatCannotGoBack(t *testing.T) {
	r := newRig(t)
	r.withModule("No", "No", "")
	r.install(r.payload("mod-1"), plain, nil)
	r.expectRan("ProvidePayloadFileSizes", "Download", "ArtifactInstall", "NeedsArtifactReboot", "SupportsRollback", "ArtifactCommit", "Cleanup")
	if rep := r.status("A1"); rep.Artifact != "mod-1" {
		t.Errorf("installed %q", rep.Artifact)
	}
	r.clean()
}

func TestModuleFails(t *testing.T) {
	back := []string{"SupportsRollback", "ArtifactRollback", "ArtifactFailure", "Cleanup"}
	for _, c := range []struct {
		state, rollback string
		ran             []string
		name            string // of what is installed, afterwards
	}{
		{"Download", "Yes", []string{"ProvidePayloadFileSizes", "Download", "Cleanup"}, ""},
		{"ArtifactInstall", "Yes", append([]string{"ProvidePayloadFileSizes", "Download", "ArtifactInstall"}, back...), ""},
		{"ArtifactInstall", "No", []string{"ProvidePayloadFileSizes", "Download", "ArtifactInstall", "SupportsRollback", "ArtifactFailure", "Cleanup"}, "mod-1_INCONSISTENT"},
		{"ArtifactRollback", "Yes", append([]string{"ProvidePayloadFileSizes", "Download", "ArtifactInstall"}, back...), "mod-1_INCONSISTENT"},
		{"ArtifactCommit", "No", []string{"ProvidePayloadFileSizes", "Download", "ArtifactInstall", "NeedsArtifactReboot", "SupportsRollback", "ArtifactCommit",
			"SupportsRollback", "ArtifactFailure", "Cleanup"}, "mod-1_INCONSISTENT"},
		{"Cleanup", "No", []string{"ProvidePayloadFileSizes", "Download", "ArtifactInstall", "NeedsArtifactReboot", "SupportsRollback", "ArtifactCommit", "Cleanup"}, "mod-1"},
	} {
		t.Run(c.state+" "+c.rollback, func(t *testing.T) {
			r := newRig(t)
			r.withModule(c.rollback, "No", c.state)
			if c.state == "ArtifactRollback" {
				b := strings.ReplaceAll(string(r.read("modules/test")), `[ "$1" != "ArtifactRollback" ]`, `[ "$1" != "ArtifactRollback" -a "$1" != "ArtifactInstall" ]`)
				r.must(os.WriteFile(r.path("modules/test"), []byte(b), 0o755))
			}
			_, err := r.dev.Install(context.Background(), bytes.NewReader(r.payload("mod-1")), plain)
			r.expectRan(c.ran...)
			if (err == nil) != (c.state == "Cleanup") {
				t.Errorf("error %v", err)
			}
			if inconsistent := strings.HasSuffix(c.name, "_INCONSISTENT"); errors.Is(err, install.ErrInconsistent) != inconsistent {
				t.Errorf("error %v, want ErrInconsistent: %v", err, inconsistent)
			}
			rep, err := r.dev.Status()
			r.must(err)
			if rep.Artifact != c.name {
				t.Errorf("installed %q, want %q", rep.Artifact, c.name)
			}
			r.clean()
		})
	}
}

func TestModuleTakenBack(t *testing.T) {
	r := newRig(t)
	r.withModule("Yes", "No", "")
	r.install(r.payload("mod-1", "ArtifactRollback_Enter", "ArtifactFailure_Leave"), plain, nil)
	r.ran()
	if o := r.rollback(nil); o.Event != "rolled back" {
		t.Errorf("outcome %+v", o)
	}
	r.expectRan("ArtifactRollback_Enter", "SupportsRollback", "ArtifactRollback", "ArtifactFailure", "ArtifactFailure_Leave", "Cleanup")
	r.installedFile(false)
	if rep := r.status("H1"); rep.Artifact != "" || len(rep.Failed) != 0 {
		t.Errorf("installed %q, failed %v", rep.Artifact, rep.Failed)
	}
	r.clean()

	r.install(r.payload("mod-2"), plain, nil)
	r.dev.Health = func(context.Context, json.RawMessage) error { return errors.New("sick") }
	r.resume(install.ErrFellBack)
	r.installedFile(false)
	r.clean()

	r.dev.Health, r.dev.StopBefore = nil, []install.Stop{install.StopInstall}
	r.install(r.payload("mod-3"), plain, nil)
	r.ran()
	r.status("M2")
	r.rollback(nil)
	r.expectRan("Cleanup")
	r.clean()
}

// A Cleanup that takes the device down each time is given up, and leaves nothing.
func TestModuleCleanedUpTooOften(t *testing.T) {
	r := newRig(t)
	r.withModule("No", "No", "")
	r.dev.StopBefore = []install.Stop{install.StopCleanup}
	r.install(r.payload("mod-1"), plain, nil)
	r.status("L4")
	r.ran()
	r.editState(func(s map[string]any) { s["trial"].(map[string]any)["tries"] = 3 })
	r.dev.StopBefore = nil
	r.resume(nil)
	r.expectRan()
	r.clean()
}

func TestModuleUnknown(t *testing.T) {
	r := newRig(t)
	r.install(r.payload("mod-1"), plain, module.ErrUnsupported)
	if len(r.history()) != 0 {
		t.Error("something was recorded")
	}
}

// An artifact without payload is committed at once.
func TestNullPayload(t *testing.T) {
	r := newRig(t)
	var b bytes.Buffer
	w := artifact.Create(&b, artifact.Header{Name: "base", DeviceTypes: []string{"rig"}, Provides: map[string]string{"a": "1"}}, artifact.Options{TempDir: r.dir})
	r.must(w.Close())
	r.install(b.Bytes(), plain, nil)
	if rep := r.status("A1"); rep.Artifact != "base" || rep.Provides["a"] != "1" {
		t.Errorf("installed %q, %v", rep.Artifact, rep.Provides)
	}
}
