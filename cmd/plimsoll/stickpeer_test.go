package main

import (
	"os"
	"path/filepath"
	"testing"
)

// What Mender's tool writes goes onto a stick, is verified there, and is chosen by the version that it was given.
func TestPeerOnStick(t *testing.T) {
	t.Parallel()
	dir, image := t.TempDir(), picture(300000, 11)
	key := filepath.Join(keyDir, "p256.pub.pem")
	files := []string{
		peerArtifact(t, "rel-3", image, "none", "p256", "-p", "plimsoll.version:3.0"),
		peerArtifact(t, "rel-4", image, "gzip", "p256", "--software-version", "4.0"),
		peerArtifact(t, "rel-5", image, "lzma", "p256", "-p", "plimsoll.version:2.0", "--software-version", "5.0"),
	}
	call(nil, append([]string{"stick", "prepare", dir, "-k", key}, files...)...).want(t, 0)
	if got := call(nil, "stick", "verify", dir, "-k", key).want(t, 0).stdout; got != "plimsoll/rel-3.mender: rel-3, version 3.0: good\n"+
		"plimsoll/rel-4.mender: rel-4, version 4.0: good\nplimsoll/rel-5.mender: rel-5, version 2.0: good\n"+dir+": 3 artifacts, 0 refused\n" {
		t.Errorf("got %s", got)
	}
	r := call(nil, "--json", "stick", "simulate", dir, "-k", key, "--device-type", benchType, "--version", "1.0").want(t, 0)
	events, err := r.events()
	if err != nil || len(events) == 0 || events[len(events)-1]["artifact"] != "rel-4" {
		t.Errorf("got %v, %s", err, r.stdout)
	}
	for _, path := range files {
		if have := readFile(t, filepath.Join(dir, "plimsoll", filepath.Base(path))); have != readFile(t, path) {
			t.Errorf("%s is another on the stick", path)
		}
	}
	// And what was copied by hand, cut short, is told from a good one.
	if err := os.Truncate(filepath.Join(dir, "plimsoll/rel-4.mender"), 200000); err != nil {
		t.Fatal(err)
	}
	r = call(nil, "stick", "simulate", dir, "-k", key, "--device-type", benchType, "--version", "1.0").want(t, 0)
	if want := "such a device takes rel-3, version 3.0 (plimsoll/rel-3.mender)\n"; len(r.stdout) < len(want) || r.stdout[len(r.stdout)-len(want):] != want {
		t.Errorf("got %s", r.stdout)
	}
}
