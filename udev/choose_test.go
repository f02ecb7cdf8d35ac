package udev_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/plimsoll-ota/plimsoll/artifact"
	"github.com/plimsoll-ota/plimsoll/install"
	"github.com/plimsoll-ota/plimsoll/udev"
	"github.com/plimsoll-ota/plimsoll/udev/scan"
)

// A device is a judge: one that runs 2.0, and takes none below 1.5.
type device struct {
	unversioned bool
	failed      []install.Failure
}

func (d device) Accept(h *artifact.Header, manifest artifact.Sum) error {
	f := install.Facts{
		Type: "crane", Artifact: "rel-2.0", Provides: map[string]string{"plimsoll.version": "2.0"}, Floor: "1.5", Failed: d.failed,
	}
	return f.Accept(h, manifest, install.Options{Unattended: true, Unversioned: d.unversioned})
}

func (device) Current(err error) bool { return errors.Is(err, install.ErrCurrent) }

func (device) Compare(a, b *artifact.Header) (int, bool) { return install.CompareVersions(a, b) }

type anybody struct{}

func (anybody) Verify([]byte, []byte) error { return nil }

// An offer is an unsigned artifact on a stick.
type offer struct {
	file, artifact, version string
	deviceTypes             []string // nil is crane
	image                   string
	made                    []byte // it, if it was made before
}

func (o offer) make(t *testing.T) []byte {
	t.Helper()
	h := artifact.Header{Name: o.artifact, DeviceTypes: o.deviceTypes, Type: artifact.RootFS, Provides: map[string]string{"who": o.artifact}}
	if h.DeviceTypes == nil {
		h.DeviceTypes = []string{"crane"}
	}
	if o.version != "" {
		h.Provides["plimsoll.version"] = o.version
	}
	var b bytes.Buffer
	w := artifact.Create(&b, h, artifact.Options{})
	if err := errors.Join(w.Add("image", int64(len(o.image)), strings.NewReader(o.image)), w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func (o offer) write(t *testing.T, dir string) []byte {
	t.Helper()
	if o.made == nil {
		o.made = o.make(t)
	}
	if err := os.WriteFile(filepath.Join(dir, o.file), o.made, 0o644); err != nil {
		t.Fatal(err)
	}
	return o.made
}

// choose lets a device choose from a stick, and returns the file it takes, and what it says of each other one.
func choose(t *testing.T, judge udev.Judge, offers []offer) (string, map[string]string) {
	t.Helper()
	dir := t.TempDir()
	for _, o := range offers {
		o.write(t, dir)
	}
	s, err := scan.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	tree, err := s.Tree()
	if err != nil {
		t.Fatal(err)
	}
	most := descriptors(t) + 2
	look := func(f scan.File) (*scan.Candidate, error) {
		c, err := s.Look(f, anybody{})
		if n := descriptors(t); n > most {
			t.Errorf("%d files are open, at most %d should be", n, most)
		}
		return c, err
	}
	best, verdicts := udev.Choose(tree.Files, look, judge)
	says, taken := map[string]string{}, ""
	for _, v := range verdicts {
		switch {
		case v.Chosen:
			taken = v.File.Name
		case v.Err != nil:
			says[v.File.Name] = v.Err.Error()
		default:
			says[v.File.Name] = v.Why
		}
	}
	if (best == nil) != (taken == "") || best != nil && best.Name != taken {
		t.Errorf("took %v, and said %q", best, taken)
	}
	if best != nil {
		if err := best.Close(); err != nil {
			t.Error(err)
		}
	}
	return taken, says
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestChoose(t *testing.T) {
	for _, tt := range []struct {
		name   string
		device device
		offers []offer
		want   string
		says   map[string]string // contained in what is said of the rest
	}{
		{"nothing", device{}, nil, "", nil},
		{"the newest, not the last by name", device{}, []offer{
			{file: "a.mender", artifact: "rel-10", version: "10.0"}, {file: "b.mender", artifact: "rel-9", version: "9.0"}, {file: "c.mender", artifact: "rel-2.1", version: "2.1"},
		}, "a.mender", map[string]string{"b.mender": "older than a.mender", "c.mender": "older than a.mender"}},
		{"the newest comes last", device{}, []offer{
			{file: "a.mender", artifact: "rel-3", version: "3"}, {file: "b.mender", artifact: "rel-4", version: "4"}, {file: "c.mender", artifact: "rel-5", version: "5"},
		}, "c.mender", map[string]string{"a.mender": "older than b.mender", "b.mender": "older than c.mender"}},
		{"none that is not for it", device{}, []offer{
			{file: "a.mender", artifact: "x-9", version: "9", deviceTypes: []string{"pump"}}, {file: "b.mender", artifact: "rel-3", version: "3"},
			{file: "c.mender", artifact: "rel-1", version: "1"}, {file: "d.mender", artifact: "rel-1.9", version: "1.9"}, {file: "e.mender", artifact: "rel-x"},
			{file: "f.mender", artifact: "rel-2.0", version: "2"},
		}, "b.mender", map[string]string{
			"a.mender": "not for this device", "c.mender": "floor", "d.mender": "older than what is installed", "e.mender": "cannot be told", "f.mender": "installed already",
		}},
		{"of one version the first by artifact name", device{}, []offer{
			{file: "a.mender", artifact: "zebra", version: "3"}, {file: "b.mender", artifact: "adder", version: "3.0"},
		}, "b.mender", map[string]string{"a.mender": "of the same version as b.mender, which is first by artifact name"}},
		{"the same twice", device{}, []offer{{file: "b.mender", artifact: "rel-3", version: "3"}, {file: "a.mender", artifact: "rel-3", version: "3"}},
			"a.mender", map[string]string{"b.mender": "the same artifact as a.mender"}},
		{"without a version last", device{unversioned: true}, []offer{
			{file: "a.mender", artifact: "aaa"}, {file: "b.mender", artifact: "rel-3", version: "3"}, {file: "c.mender", artifact: "ccc"},
		}, "b.mender", map[string]string{"a.mender": "it has no version, and b.mender has", "c.mender": "it has no version, and b.mender has"}},
		{"without versions at all", device{unversioned: true}, []offer{
			{file: "a.mender", artifact: "zebra"}, {file: "b.mender", artifact: "adder"},
		}, "b.mender", map[string]string{"a.mender": "without a version to compare, as b.mender is, which is first by artifact name"}},
		{"without a version, beside what is installed", device{unversioned: true}, []offer{
			{file: "a.mender", artifact: "adder"}, {file: "b.mender", artifact: "rel-2.0", version: "2.0"},
		}, "", map[string]string{"a.mender": "it has no version, and b.mender is installed already", "b.mender": "installed already"}},
		{"with a version, beside what is installed", device{unversioned: true}, []offer{
			{file: "a.mender", artifact: "adder", version: "3"}, {file: "b.mender", artifact: "rel-2.0", version: "2.0"},
		}, "a.mender", map[string]string{"b.mender": "installed already"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, says := choose(t, tt.device, tt.offers)
			if got != tt.want {
				t.Errorf("took %q, want %q: %v", got, tt.want, says)
			}
			if len(says) != len(tt.says) {
				t.Errorf("said %v", says)
			}
			for file, want := range tt.says {
				if !strings.Contains(says[file], want) {
					t.Errorf("said of %s: %q, want %q", file, says[file], want)
				}
			}
		})
	}
}

// Whatever the files are called, the same artifact is taken.
func TestNamesDoNotChoose(t *testing.T) {
	offers := []offer{
		{artifact: "a", version: "3"}, {artifact: "b", version: "3.0"}, {artifact: "c", version: "2.9"}, {artifact: "d"}, {artifact: "a", version: "3", image: "x"},
	}
	for i, o := range offers {
		offers[i].made = o.make(t)
	}
	taken := map[string]int{}
	for n := range 120 {
		permuted := make([]offer, len(offers))
		rest, k := append([]offer{}, offers...), n
		for i := range permuted {
			j := k % len(rest)
			k /= len(rest)
			permuted[i] = rest[j]
			permuted[i].file = fmt.Sprintf("%d.mender", i)
			rest = append(rest[:j:j], rest[j+1:]...)
		}
		file, _ := choose(t, device{unversioned: true}, permuted)
		for _, o := range permuted {
			if o.file == file {
				taken[fmt.Sprintf("%s %s %q", o.artifact, o.version, o.image)]++
			}
		}
	}
	if len(taken) != 1 {
		t.Errorf("took %v", taken)
	}
}

// What failed here is passed over, by what is in it and not by its name.
func TestFailedBefore(t *testing.T) {
	o := offer{file: "a.mender", artifact: "rel-3", version: "3"}
	info, err := artifact.Inspect(bytes.NewReader(o.make(t)))
	if err != nil {
		t.Fatal(err)
	}
	d := device{failed: []install.Failure{{Manifest: info.ManifestSum.String(), Class: install.ClassBad, Count: 1, Reason: "it did not start"}}}
	got, says := choose(t, d, []offer{o, {file: "b.mender", artifact: "rel-2.5", version: "2.5"}})
	if got != "b.mender" || !strings.Contains(says["a.mender"], "did not start") {
		t.Errorf("took %q, said %v", got, says)
	}
}

// What cannot be looked at has a verdict too, with its error.
func TestCannotLook(t *testing.T) {
	gone := errors.New("gone")
	files := []scan.File{{Path: "a", Name: "a", Size: 1}, {Path: "b", Name: "b", Size: 2}}
	best, verdicts := udev.Choose(files, func(scan.File) (*scan.Candidate, error) { return nil, gone }, device{})
	want := []udev.Verdict{{File: files[0], Err: gone}, {File: files[1], Err: gone}}
	if diff := cmp.Diff(want, verdicts, cmpopts.EquateErrors()); best != nil || diff != "" {
		t.Error(diff)
	}
}

// 256 headers that are as large as anybody can write them cost no more memory than a few: errors quote them.
func TestVerdictsAreSmall(t *testing.T) {
	var types []string
	for i := range 5000 {
		types = append(types, fmt.Sprintf("%s-%d", strings.Repeat("x", 200), i))
	}
	dir := t.TempDir()
	offer{file: "a.mender", artifact: strings.Repeat("n", 256), version: strings.Repeat("v", 1<<20), deviceTypes: types}.write(t, dir)
	s, err := scan.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	tree, err := s.Tree()
	if err != nil || len(tree.Files) != 1 {
		t.Fatal(tree, err)
	}
	_, verdicts := udev.Choose(tree.Files, func(f scan.File) (*scan.Candidate, error) { return s.Look(f, anybody{}) }, device{})
	v := verdicts[0]
	if !errors.Is(v.Err, install.ErrDeviceType) {
		t.Errorf("got %.100v", v.Err)
	}
	if n := len(v.Err.Error()) + len(v.Version) + len(v.Artifact); n > 2<<10 {
		t.Errorf("%d bytes are kept", n)
	}
}
