package install_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plimsoll-ota/plimsoll/artifact"
	"github.com/plimsoll-ota/plimsoll/install"
	"github.com/plimsoll-ota/plimsoll/signing"
)

// origin makes another client answer, and counts how often it is asked.
func (r *rig) origin(o install.Origin, err error) *int {
	n := new(int)
	r.dev.Origin = func() (install.Origin, error) { *n++; return o, err }
	return n
}

var fleet = install.Origin{Artifact: "rel-1", Group: "fleet", Provides: map[string]string{"rootfs-image.version": "1.5", "site": "harbour"}}

// installed complains unless the device says that of itself.
func (r *rig) installed(o install.Origin) {
	r.Helper()
	rep, err := r.dev.Status()
	r.must(err)
	if diff := cmp.Diff(o, install.Origin{Artifact: rep.Artifact, Group: rep.Group, Provides: rep.Provides}); diff != "" {
		r.Errorf("installed (-want +got):\n%s", diff)
	}
}

// What another client knew is true until the first update, is part of what an
// artifact may depend on, and is what a way back leads to.
func TestTakeOver(t *testing.T) {
	r := newRig(t)
	asked := r.origin(fleet, nil)
	r.installed(fleet)
	if _, err := os.Stat(r.path("state/state.json")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a look wrote a record: %v", err)
	}
	r.install(r.build("rel-2", 'B', func(h *artifact.Header) { h.DependsNames = []string{"rel-0"} }), plain, install.ErrDepends)
	r.install(r.build("rel-2", 'B', version("1.4")), plain, install.ErrDowngrade)
	r.installed(fleet)

	r.install(r.build("rel-2", 'B', func(h *artifact.Header) {
		h.DependsNames, h.DependsGroups, h.Depends = []string{"rel-1"}, []string{"fleet"}, map[string][]string{"site": {"harbour"}}
		h.Provides, h.Clears, h.HasClears = map[string]string{"rootfs-image.version": "2.0"}, []string{"rootfs-image.*"}, true
	}), plain, nil)
	before := *asked
	r.installed(fleet)
	if *asked != before {
		t.Error("there is a record, and the other client was asked")
	}
	r.rollback(nil)
	r.installed(fleet)

	r.install(r.build("rel-3", 'C', func(h *artifact.Header) {
		h.Provides, h.Clears, h.HasClears = map[string]string{"rootfs-image.version": "2.0"}, []string{"rootfs-image.*"}, true
	}), plain, nil)
	r.boot()
	r.origin(install.Origin{Artifact: "rel-9"}, nil)
	r.commit(nil)
	rep := r.status("A1")
	if rep.Artifact != "rel-3" || rep.Group != "" || rep.Provides["site"] != "harbour" || rep.Provides["rootfs-image.version"] != "2.0" {
		t.Errorf("installed %q in %q, provides %v", rep.Artifact, rep.Group, rep.Provides)
	}
	a := rep.Slots["A"]
	if diff := cmp.Diff(fleet, install.Origin{Artifact: a.Artifact, Group: a.Group, Provides: a.Provides}); diff != "" {
		t.Errorf("of slot A is known (-want +got):\n%s", diff)
	}
}

// What cannot be read is told; what could be is taken, and the device works.
func TestTakeOverFails(t *testing.T) {
	r := newRig(t)
	r.origin(install.Origin{Group: "yard"}, errors.New("the store is torn"))
	r.installed(install.Origin{Group: "yard"})
	if !slices.Contains(r.notes, "the store is torn") {
		t.Errorf("told %q", r.notes)
	}
	r.install(r.build("rel-2", 'B', nil), plain, nil)
}

// An update of another client's is left alone.
func TestTakeOverWhileUpdating(t *testing.T) {
	r := newRig(t)
	busy := fleet
	busy.Update = "an update to rel-2"
	r.origin(busy, nil)
	before := r.envBytes()
	r.install(r.build("rel-3", 'C', nil), plain, install.ErrForeign)
	if r.envBytes() != before || !bytes.Equal(r.read("slot3.img"), bytes.Repeat([]byte{0xff}, imageSize+1<<20)) {
		t.Error("something was written")
	}
	r.resume(install.ErrNothing)
	r.installed(fleet)
	r.origin(fleet, nil)
	r.install(r.build("rel-3", 'C', nil), plain, nil)
}

// A device on which plimsoll was before, and whose record is lost, does not
// believe what another client remembers from before that.
func TestTakeOverAfterALoss(t *testing.T) {
	for name, change := range map[string]func(*artifact.Header){
		"on trial": nil,
		"a floor":  func(h *artifact.Header) { h.Provides = map[string]string{"plimsoll.floor": "1.0"} },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.install(r.build("rel-2", 'B', change), plain, nil)
			r.boot()
			if change != nil {
				r.commit(nil)
			}
			r.must(os.Remove(r.path("state/state.json")))
			asked := r.origin(fleet, nil)
			r.installed(install.Origin{})
			if *asked != 0 {
				t.Error("the other client was asked")
			}
		})
	}
}

// bootstrap returns an artifact without payload.
func (r *rig) bootstrap(change func(*artifact.Header)) string {
	r.Helper()
	h := artifact.Header{
		Name: "factory", Group: "yard", DeviceTypes: []string{"rig"},
		Provides: map[string]string{"rootfs-image.version": "1.0"},
	}
	if change != nil {
		change(&h)
	}
	var b bytes.Buffer
	r.must(artifact.Create(&b, h, artifact.Options{TempDir: r.dir}).Close())
	return b.String()
}

// A new device is told by an artifact what it runs, unless it knows.
func TestBootstrap(t *testing.T) {
	factory := install.Origin{Artifact: "factory", Group: "yard", Provides: map[string]string{"rootfs-image.version": "1.0"}}
	const ours, theirs = "state/bootstrap.mender", "theirs/bootstrap.mender"
	for _, tt := range []struct {
		name   string
		origin install.Origin
		files  map[string]string
		trust  artifact.Verifier
		want   install.Origin
		says   string // a note
	}{
		{"none", install.Origin{}, nil, nil, install.Origin{}, ""},
		{"ours", install.Origin{}, map[string]string{ours: newRig(t).bootstrap(nil)}, nil, factory, ""},
		{"theirs", install.Origin{}, map[string]string{theirs: newRig(t).bootstrap(nil)}, nil, factory, ""},
		{"ours first", install.Origin{}, map[string]string{ours: newRig(t).bootstrap(nil), theirs: "?"}, nil, factory, ""},
		{"there is a name", fleet, map[string]string{ours: newRig(t).bootstrap(nil), theirs: "?"}, nil, fleet, ""},
		{"unsigned", install.Origin{}, map[string]string{ours: newRig(t).bootstrap(nil)}, &signing.Keyring{}, install.Origin{}, "state/bootstrap.mender: "},
		{"damaged", install.Origin{}, map[string]string{ours: "?"}, nil, install.Origin{}, "state/bootstrap.mender: "},
		{"with a payload", install.Origin{}, map[string]string{ours: string(newRig(t).build("rel-2", 'B', nil))}, nil, install.Origin{}, "it has a payload, or is for one"},
		{"of a module", install.Origin{}, map[string]string{ours: newRig(t).bootstrap(func(h *artifact.Header) { h.Type = "nothing" })}, nil, install.Origin{}, "it has a payload, or is for one"},
		{"for another device", install.Origin{}, map[string]string{ours: newRig(t).bootstrap(func(h *artifact.Header) { h.DeviceTypes = []string{"other"} })},
			nil, install.Origin{}, "not for this device"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			for name, text := range tt.files {
				r.write(name, text)
			}
			if tt.trust != nil {
				r.dev.Trust = tt.trust
			}
			o := tt.origin
			o.Bootstrap = r.path(theirs)
			r.origin(o, nil)
			r.installed(tt.want)
			if told := strings.Join(r.notes, "\n"); !strings.Contains(told, tt.says) || tt.says == "" && told != "" {
				t.Errorf("told %q, want %q", told, tt.says)
			}
			for name := range tt.files {
				r.read(name) // it stays
			}
		})
	}
}
