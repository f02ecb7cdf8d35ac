package install

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plimsoll-ota/plimsoll/artifact"
)

func TestVersions(t *testing.T) {
	// Each is older than the next.
	sorted := []string{
		"0", "0.0.1", "0.9", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta.2", "1.0.0-beta.11",
		"1.0.0-rc.1", "1.0.0", "1.0.0.1", "1.0.1", "v1.2", "1.10", "2", "2024.10.1",
		"99999999999999999999999999.0",
	}
	for i, a := range sorted {
		for j, b := range sorted {
			v, okV := parseVersion(a)
			w, okW := parseVersion(b)
			if !okV || !okW {
				t.Fatalf("%q, %q: not versions", a, b)
			}
			if got, want := v.compare(w), cmpInt(i, j); got != want {
				t.Errorf("compare %q with %q: %d, want %d", a, b, got, want)
			}
		}
	}
	for _, pair := range [][2]string{{"1", "1.0"}, {"v1.2.0", "1.2"}, {"1.0+build.7", "1.0.0"}, {"01", "1"}} {
		v, _ := parseVersion(pair[0])
		if w, _ := parseVersion(pair[1]); v.compare(w) != 0 {
			t.Errorf("%q and %q differ", pair[0], pair[1])
		}
	}
	for _, s := range []string{
		"", "v", "release-8", "1.", ".1", "1..2", "1.0-", "1.0+", "1.0-a..b", "1.0 ", " 1", "1,0", "-1", "+1", "1.0-ä", "٣", "1_0", "0x1",
	} {
		if _, ok := parseVersion(s); ok {
			t.Errorf("%q is taken for a version", s)
		}
	}
}

func cmpInt(a, b int) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func FuzzVersions(f *testing.F) {
	for _, s := range []string{"1.0", "v1.2.3-rc.1+x", "1.0.0-alpha", "2024.10.1"} {
		f.Add(s, "1.2")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		v, okV := parseVersion(a)
		w, okW := parseVersion(b)
		if okV && okW && v.compare(w) != -w.compare(v) {
			t.Errorf("%q and %q are not ordered", a, b)
		}
	})
}

func TestGlobs(t *testing.T) {
	for _, c := range []struct {
		glob, key string
		want      bool
	}{
		{"*", "", true}, {"*", "anything", true}, {"", "", true}, {"", "a", false},
		{"a", "a", true}, {"a", "ab", false}, {"rootfs-image.*", "rootfs-image.version", true},
		{"rootfs-image.*", "rootfs-image", false}, {"rootfs-image.*", "rootfs-imageXversion", false},
		{"*.version", "a.version", true}, {"*.version", "a.versions", false}, {"a*b*c", "a-b-b-c", true},
		{"a*b*c", "acb", false}, {"a*a", "a", false}, {"a*a", "aa", true}, {"**", "x", true}, {"[a]", "a", false},
		{"a?", "ab", false}, {"a*bc", "abcbc", true},
	} {
		if got := match(c.glob, c.key); got != c.want {
			t.Errorf("match %q, %q: %v", c.glob, c.key, got)
		}
	}
}

func TestProvide(t *testing.T) {
	before := map[string]string{"rootfs-image.version": "1", "rootfs-image.app.version": "1", "data.version": "1", keyVersion: "1"}
	for _, c := range []struct {
		name      string
		clears    *[]string
		group     string
		want      map[string]string
		wantGroup string
	}{
		{"no list clears all", nil, "", map[string]string{"rootfs-image.version": "2"}, ""},
		{"an empty list clears nothing", &[]string{}, "", map[string]string{
			"rootfs-image.version": "2", "rootfs-image.app.version": "1", "data.version": "1"}, "old"},
		{"globs", &[]string{"artifact_group", "rootfs-image.*"}, "", map[string]string{
			"rootfs-image.version": "2", "data.version": "1"}, ""},
		{"a version of ours that it does not have", &[]string{"rootfs-image.*"}, "old", map[string]string{
			"rootfs-image.version": "2", "data.version": "1"}, "old"},
		{"a new group", &[]string{}, "new", map[string]string{
			"rootfs-image.version": "2", "rootfs-image.app.version": "1", "data.version": "1"}, "new"},
	} {
		s := &State{Artifact: "rel-1", Group: "old", Provides: before}
		s.provide(&Trial{Artifact: "rel-2", Group: c.group, Clears: c.clears, Provides: map[string]string{"rootfs-image.version": "2"}})
		if diff := cmp.Diff(c.want, s.Provides); diff != "" || s.Group != c.wantGroup || s.Artifact != "rel-2" {
			t.Errorf("%s: group %q, provides (-want +got):\n%s", c.name, s.Group, diff)
		}
	}
}

func TestFloorOnlyRises(t *testing.T) {
	for _, c := range [][3]string{
		{"", "", ""}, {"1.0", "", "1.0"}, {"", "1.0", "1.0"}, {"1.0", "2.0", "2.0"}, {"2.0", "1.0", "2.0"},
		{"1.0", "rubbish", "1.0"}, {"rubbish", "1.0", "1.0"},
	} {
		if got := raiseFloor(c[0], c[1]); got != c[2] {
			t.Errorf("floor %q and %q: %q, want %q", c[0], c[1], got, c[2])
		}
	}
}

func TestDisturbedThreeTimes(t *testing.T) {
	s := &session{state: newState()}
	tr := &Trial{Manifest: "00", Artifact: "rel-2", Class: ClassDisturbed, Reason: "write"}
	var sum [32]byte
	tr.Manifest = manifestOf(sum)
	for i := 1; i <= maxDisturbed; i++ {
		if err := (Facts{Failed: s.state.Failed}).failedBefore(sum, Options{Unattended: true}); err != nil {
			t.Fatalf("refused after %d: %v", i-1, err)
		}
		s.remember(tr)
	}
	if err := (Facts{Failed: s.state.Failed}).failedBefore(sum, Options{Unattended: true}); err == nil {
		t.Errorf("tried again unattended after %d", maxDisturbed)
	}
	if err := (Facts{Failed: s.state.Failed}).failedBefore(sum, Options{}); err != nil {
		t.Errorf("refused by hand: %v", err)
	}
	tr.Class = ClassBad
	s.remember(tr)
	if err := (Facts{Failed: s.state.Failed}).failedBefore(sum, Options{}); err == nil {
		t.Error("a bad one is taken by hand without --retry")
	}
	for i := range 2 * maxFailed {
		s.remember(&Trial{Manifest: string(rune(i)), Class: ClassBad})
	}
	if n := len(s.state.Failed); n != maxFailed {
		t.Errorf("%d failures are remembered, want %d", n, maxFailed)
	}
}

// TestAccept is what a device makes of an artifact when nobody is there to ask.
func TestAccept(t *testing.T) {
	f := Facts{
		Type: "board", Artifact: "rel-2", Provides: map[string]string{keyVersion: "2.0"}, Floor: "1.5",
		Failed: []Failure{{Manifest: manifestOf(artifact.Sum{}), Class: ClassBad, Count: 1, Reason: "D5"}},
	}
	unknown := Facts{Type: "board", Artifact: "rel-2"}
	again := Facts{Type: "board", Artifact: "rel-1", Provides: map[string]string{keyVersion: "1.0"}, Manifest: artifact.Sum{1}.String()}
	for _, c := range []struct {
		name     string
		device   Facts
		artifact string
		version  string
		o        Options
		want     error
	}{
		{"newer", f, "rel-3", "2.1", Options{}, nil},
		{"another build of the same", f, "rel-2b", "2.0", Options{}, ErrCurrent},
		{"older", f, "rel-1", "1.9", Options{}, ErrDowngrade},
		{"below the floor", f, "rel-0", "1.4", Options{}, ErrFloor},
		{"without a version", f, "rel-3", "", Options{}, ErrUnversioned},
		{"without a version, allowed", f, "rel-3", "", Options{Unversioned: true}, nil},
		{"without a version, installed", f, "rel-2", "", Options{Unversioned: true}, ErrCurrent},
		{"on a device without a version", unknown, "rel-3", "2.1", Options{}, ErrUnversioned},
		{"on a device without a version, allowed", unknown, "rel-3", "2.1", Options{Unversioned: true}, nil},
		{"on a device without a version, installed", unknown, "rel-2", "2.1", Options{Unversioned: true}, ErrCurrent},
		{"installed last, whatever it says", again, "rel-2", "9.0", Options{Unversioned: true}, ErrCurrent},
		{"older, though what has no version is allowed", f, "rel-1", "1.9", Options{Unversioned: true}, ErrDowngrade},
	} {
		h := &artifact.Header{Name: c.artifact, DeviceTypes: []string{"board"}, Provides: map[string]string{}}
		if c.version != "" {
			h.Provides[keyVersion] = c.version
		}
		c.o.Unattended = true
		if err := c.device.Accept(h, artifact.Sum{1}, c.o); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if err := f.Accept(h, artifact.Sum{}, c.o); !errors.Is(err, ErrFailedBefore) {
			t.Errorf("%s, after it failed: %v", c.name, err)
		}
	}
}

func TestCompareVersions(t *testing.T) {
	of := func(key, version string) *artifact.Header {
		return &artifact.Header{Provides: map[string]string{key: version}}
	}
	for _, c := range []struct {
		a, b  *artifact.Header
		order int
		ok    bool
	}{
		{of(keyVersion, "1.10"), of(keyVersion, "1.9"), 1, true},
		{of(keyVersion, "1.0"), of(keyRootfsVersion, "1.0.0"), 0, true},
		{of(keyVersion, "1.0"), of(keyRootfsVersion, "release-8"), 0, false},
		{&artifact.Header{}, of(keyVersion, "1.0"), 0, false},
	} {
		if order, ok := CompareVersions(c.a, c.b); order != c.order || ok != c.ok {
			t.Errorf("%v and %v: %d, %v", c.a.Provides, c.b.Provides, order, ok)
		}
		if order, ok := CompareVersions(c.b, c.a); order != -c.order || ok != c.ok {
			t.Errorf("%v and %v: %d, %v", c.b.Provides, c.a.Provides, order, ok)
		}
	}
}

func manifestOf(sum [32]byte) string {
	s := &Failure{Manifest: ""}
	for range sum {
		s.Manifest += "00"
	}
	return s.Manifest
}

func TestHistoryIsBoundedAndSurvivesATear(t *testing.T) {
	dir := t.TempDir()
	for range 40 {
		if err := appendEvent(dir, Event{Event: "install", Detail: string(slices.Repeat([]byte("x"), maxHistory/16))}, ""); err != nil {
			t.Fatal(err)
		}
	}
	events, err := History(dir)
	if err != nil || len(events) == 0 || len(events) > 18 {
		t.Fatalf("%d events, %v", len(events), err)
	}
	if last := events[len(events)-1].Seq; last != 40 {
		t.Errorf("the last event is number %d, want 40", last)
	}
	tear(t, dir)
	if err := appendEvent(dir, Event{Event: "after"}, ""); err != nil {
		t.Fatal(err)
	}
	events, err = History(dir)
	if err != nil || events[len(events)-1].Event != "after" {
		t.Errorf("after a torn line: %+v, %v", events[len(events)-1], err)
	}
}

// tear cuts the last line in its middle, as a power cut does.
func tear(t *testing.T, dir string) {
	t.Helper()
	path := filepath.Join(dir, "history.jsonl")
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, st.Size()-10); err != nil {
		t.Fatal(err)
	}
}
