package install_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plimsoll-ota/plimsoll/artifact"
	"github.com/plimsoll-ota/plimsoll/install"
)

// allMoments are those of the artifact, in no order.
var allMoments = []string{
	"ArtifactInstall_Enter", "ArtifactInstall_Leave", "ArtifactInstall_Error",
	"ArtifactCommit_Enter", "ArtifactCommit_Leave", "ArtifactCommit_Error",
	"ArtifactRollback_Enter", "ArtifactRollback_Leave", "ArtifactRollback_Error",
	"ArtifactFailure_Enter", "ArtifactFailure_Leave", "ArtifactFailure_Error",
	"ArtifactReboot_Enter", "ArtifactReboot_Leave",
}

// scripted returns an artifact whose scripts, one for each moment, log that they
// ran; those named in failing exit with 1.
func (r *rig) scripted(name string, seed byte, failing ...string) []byte {
	r.Helper()
	var b bytes.Buffer
	w := artifact.Create(&b, artifact.Header{Name: name, Type: artifact.RootFS, DeviceTypes: []string{"rig"}},
		artifact.Options{Compression: artifact.Gzip, TempDir: r.dir, Rootfs: &artifact.Software{}})
	for _, m := range allMoments {
		text := r.script(m, strings.Contains(strings.Join(failing, " "), m))
		r.must(w.AddScript(m+"_10_test", int64(len(text)), strings.NewReader(text)))
	}
	img := image(seed)
	r.must(w.Add("rootfs.img", int64(len(img)), bytes.NewReader(img)))
	r.must(w.Close())
	return b.Bytes()
}

func (r *rig) script(moment string, fails bool) string {
	code := "exit 0"
	if fails {
		code = "echo no >&2; exit 1"
	}
	return "#!/bin/sh\necho " + moment + " >> " + r.path("log") + "\n" + code + "\n"
}

// ran returns what ran since the last call.
func (r *rig) ran() []string {
	r.Helper()
	b, err := os.ReadFile(r.path("log"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	r.must(err)
	r.must(os.Remove(r.path("log")))
	return strings.Fields(string(b))
}

func (r *rig) expectRan(want ...string) {
	r.Helper()
	if diff := cmp.Diff(want, r.ran()); diff != "" {
		r.Fatalf("scripts that ran (-want +got):\n%s", diff)
	}
}

// deviceScripts makes the scripts of the device.
func (r *rig) deviceScripts(failing ...string) {
	r.Helper()
	for _, m := range []string{"Download_Enter", "Download_Leave", "Download_Error", "Idle_Enter", "Sync_Enter"} {
		r.write("scripts/"+m+"_00", r.script(m, strings.Contains(strings.Join(failing, " "), m)))
		r.must(os.Chmod(r.path("scripts/"+m+"_00"), 0o755))
	}
	r.scriptDirs = []string{r.path("scripts")}
	r.dev.Scripts.Dirs = r.scriptDirs
}

// clean checks that nothing of the update is left in the state directory.
func (r *rig) clean() {
	r.Helper()
	for _, name := range []string{"scripts", "modules/v3/payloads/0000"} {
		if left, _ := filepath.Glob(r.path("state/" + name + "/*")); len(left) > 0 {
			r.Errorf("left behind: %v", left)
		}
	}
	if b, err := os.ReadFile(r.path("state/state.json")); err == nil && bytes.Contains(b, []byte(`"owed"`)) {
		r.Errorf("something is owed:\n%s", b)
	}
}

func TestScriptsOfAGoodUpdate(t *testing.T) {
	r := newRig(t)
	r.deviceScripts()
	r.install(r.scripted("rel-2", 'B'), plain, nil)
	r.expectRan("Download_Enter", "Download_Leave", "ArtifactInstall_Enter", "ArtifactInstall_Leave")
	r.boot()
	if o := r.resume(nil); o.Event != "committed" {
		t.Errorf("outcome %+v", o)
	}
	r.expectRan("ArtifactCommit_Enter", "ArtifactCommit_Leave")
	r.clean()
	r.status("A1")
	r.resume(install.ErrNothing)
	r.expectRan()
}

func TestScriptsThatFail(t *testing.T) {
	back := []string{"ArtifactRollback_Enter", "ArtifactRollback_Leave", "ArtifactFailure_Enter", "ArtifactFailure_Leave"}
	for _, c := range []struct {
		fails   string
		install []string // what runs at the installation
		resume  []string // and on trial
		after   []string // and back on the old slot
	}{
		{fails: "Download_Enter", install: []string{"Download_Enter", "Download_Error"}},
		{fails: "Download_Leave", install: []string{"Download_Enter", "Download_Leave", "Download_Error"}},
		{fails: "ArtifactInstall_Enter", install: append([]string{"ArtifactInstall_Enter", "ArtifactInstall_Error"}, back...)},
		{fails: "ArtifactInstall_Leave", install: append([]string{"ArtifactInstall_Enter", "ArtifactInstall_Leave", "ArtifactInstall_Error"}, back...)},
		{fails: "ArtifactCommit_Enter", install: []string{"ArtifactInstall_Enter", "ArtifactInstall_Leave"},
			resume: []string{"ArtifactCommit_Enter", "ArtifactCommit_Error"}, after: back},
	} {
		t.Run(c.fails, func(t *testing.T) {
			r := newRig(t)
			if strings.HasPrefix(c.fails, "Download") {
				r.deviceScripts(c.fails)
			}
			_, err := r.dev.Install(context.Background(), bytes.NewReader(r.scripted("rel-2", 'B', c.fails)), plain)
			r.expectRan(c.install...)
			if c.resume == nil {
				if err == nil || !strings.Contains(err.Error(), c.fails) {
					t.Fatalf("error %v, want it to name %s", err, c.fails)
				}
				r.environment(2, false)
				r.clean()
				return
			}
			r.must(err)
			r.boot()
			r.resume(install.ErrFellBack)
			r.expectRan(c.resume...)
			r.environment(2, false)
			r.boot()
			r.resume(install.ErrFellBack)
			r.expectRan(c.after...)
			r.clean()
			rep := r.status("H1")
			if rep.Trial == nil || !strings.Contains(rep.Trial.Why, c.fails) || rep.Trial.Class != install.ClassBad {
				t.Errorf("why: %+v", rep.Trial)
			}
		})
	}
}

// Scripts whose failures are too late to matter.
func TestScriptsThatMayFail(t *testing.T) {
	r := newRig(t)
	r.install(r.scripted("rel-2", 'B', "ArtifactCommit_Leave"), plain, nil)
	r.ran()
	r.boot()
	r.resume(nil)
	r.expectRan("ArtifactCommit_Enter", "ArtifactCommit_Leave")
	r.environment(3, false)
	r.clean()

	r.install(r.scripted("rel-3", 'C', "ArtifactRollback_Enter", "ArtifactRollback_Leave", "ArtifactFailure_Enter"), plain, nil)
	r.ran()
	r.boot()
	r.rollback(nil)
	r.expectRan()
	r.boot()
	r.resume(install.ErrFellBack)
	r.expectRan("ArtifactRollback_Enter", "ArtifactRollback_Leave", "ArtifactFailure_Enter", "ArtifactFailure_Leave")
	r.clean()
}

func TestScriptsOfWaysBack(t *testing.T) {
	back := []string{"ArtifactRollback_Enter", "ArtifactRollback_Leave", "ArtifactFailure_Enter", "ArtifactFailure_Leave"}
	t.Run("before the reboot", func(t *testing.T) {
		r := newRig(t)
		r.install(r.scripted("rel-2", 'B'), plain, nil)
		r.ran()
		r.rollback(nil)
		r.expectRan(back...)
		r.environment(2, false)
		r.clean()
	})
	t.Run("by the bootloader", func(t *testing.T) {
		r := newRig(t)
		r.install(r.scripted("rel-2", 'B'), plain, nil)
		r.ran()
		for range 4 {
			r.boot()
		}
		r.resume(install.ErrFellBack)
		r.expectRan(back...)
		r.clean()
	})
	t.Run("unhealthy", func(t *testing.T) {
		r := newRig(t)
		r.install(r.scripted("rel-2", 'B'), plain, nil)
		r.ran()
		r.boot()
		sick := errors.New("app.service is not running")
		r.dev.Health = func(context.Context, json.RawMessage) error { return sick }
		r.resume(install.ErrFellBack)
		r.expectRan()
		r.boot()
		r.resume(install.ErrFellBack)
		r.expectRan(back...)
		if rep := r.status("H1"); !strings.Contains(rep.Trial.Why, sick.Error()) {
			t.Errorf("why: %q", rep.Trial.Why)
		}
		r.clean()
	})
}

func TestStopBefore(t *testing.T) {
	r := newRig(t)
	stop := func(at ...install.Stop) { r.dev.StopBefore = at }
	art := r.scripted("rel-2", 'B')

	stop(install.StopInstall)
	if o, err := r.dev.Install(t.Context(), bytes.NewReader(art), plain); err != nil || o.Event != "stopped" || o.Reboot {
		t.Errorf("outcome %+v, %v", o, err)
	}
	r.expectRan()
	r.environment(2, false)
	r.status("C1")
	stop()
	if o := r.resume(nil); o.Event != "armed" {
		t.Errorf("outcome %+v", o)
	}
	r.expectRan("ArtifactInstall_Enter", "ArtifactInstall_Leave")
	r.environment(3, true)

	r.boot()
	stop(install.StopCommit)
	if o := r.resume(nil); o.Event != "stopped" {
		t.Errorf("outcome %+v", o)
	}
	r.expectRan()
	r.environment(3, true)
	stop(install.StopCommitLeave)
	r.resume(nil)
	r.expectRan("ArtifactCommit_Enter")
	r.environment(3, false)
	stop(install.StopCleanup)
	r.resume(nil)
	r.expectRan("ArtifactCommit_Leave")
	r.status("L4")
	stop()
	r.resume(nil)
	r.status("A1")
	r.clean()

	r.install(r.scripted("rel-3", 'C'), plain, nil)
	r.ran()
	for range 4 {
		r.boot()
	}
	stop(install.StopRollback)
	r.resume(nil)
	r.expectRan()
	stop(install.StopFailure)
	r.resume(nil)
	r.expectRan("ArtifactRollback_Enter", "ArtifactRollback_Leave")
	stop(install.StopCleanup)
	r.resume(nil)
	r.expectRan("ArtifactFailure_Enter", "ArtifactFailure_Leave")
	stop()
	r.resume(install.ErrFellBack)
	r.status("H1")
	r.clean()
}

// A script that takes the device down each time is not run for ever.
func TestOwedTooOften(t *testing.T) {
	r := newRig(t)
	r.install(r.scripted("rel-2", 'B'), plain, nil)
	for range 4 {
		r.boot()
	}
	r.ran()
	for n := range 3 {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if _, err := r.dev.Resume(ctx); err == nil {
			t.Fatalf("try %d: no error", n)
		}
		r.boot()
		r.status("L2")
	}
	r.ran()
	r.resume(install.ErrFellBack)
	r.expectRan("ArtifactFailure_Enter", "ArtifactFailure_Leave")
	if h := r.history(); !strings.Contains(strings.Join(h, " "), "given up") {
		t.Errorf("history %v", h)
	}
	r.clean()
}
