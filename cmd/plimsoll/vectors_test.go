package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const vectorDir = "../../testdata/vectors"

// Every vector meets a device. What the format refuses is exit 3, names the member and the rule, and leaves the device booting as
// before; what it accepts is installed if it is an image for this device, and otherwise refused as politely.
func TestVectorsInstall(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob(filepath.Join(vectorDir, "*.txt"))
	if err != nil || len(paths) < 200 {
		t.Fatalf("%d vectors (%v)", len(paths), err)
	}
	installed := 0
	b, err := makeBench(t.TempDir(), 256<<10)
	must(t, err)
	for _, path := range paths {
		v := map[string]string{}
		for line := range strings.Lines(readFile(t, path)) {
			field, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
			v[field] = value
		}
		trust := "allow_unsigned = true"
		if v["key"] != "" {
			trust = fmt.Sprintf("keys = [%q]", absolute(t, filepath.Join(keyDir, v["key"]+".pub.pem")))
		}
		writeFile(t, b.path("plimsoll.toml"), strings.NewReplacer(`keys = ["*.pub.pem"]`, trust, `"bench"`, `"rpi3"`).Replace(benchConfig))
		unchanged := b.harmless(t)
		name := strings.TrimSuffix(path, ".txt") + ".mender"
		r := b.run("install", name)
		if r.code == 0 && v["expect"] == "ok" {
			installed++
			if !strings.Contains(r.stdout, "installed and committed") { // without a payload it is at once
				b.run("commit").want(t, 0)
			}
		} else {
			says := v["says"]
			if v["expect"] == "ok" || politely(r) {
				says = ""
			}
			code := exitRefused
			if strings.Contains(r.stderr, "image does not fit") { // looked at before the image is
				code, says = exitFailed, ""
			}
			r.want(t, code, says, "("+name+")")
			unchanged()
		}
		if v["expect"] == "ok" && r.code != 0 && !politely(r) {
			t.Errorf("%s is refused: %s", name, r.stderr)
		}
		if t.Failed() {
			t.Fatalf("at %s: %s", name, v["about"])
		}
	}
	if installed < 30 {
		t.Errorf("only %d vectors are installed", installed)
	}
}

// harmless returns a function that complains if what boots changed in between: environment or active slot; or if the inactive slot could
// be booted by mistake. It is as it was, or zero where the image would have come: the first MiB is written after everything was verified,
// and these images are smaller.
func (b bench) harmless(t *testing.T) func() {
	t.Helper()
	e, err := b.readEnv()
	must(t, err)
	active, inactive := "slot2.img", "slot3.img"
	if e["mender_boot_part"] == "3" {
		active, inactive = inactive, active
	}
	var before [3]string
	for i, name := range []string{"uboot.env", active, inactive} {
		before[i] = readFile(t, b.path(name))
	}
	return func() {
		t.Helper()
		if readFile(t, b.path("uboot.env")) != before[0] {
			t.Error("the environment changed")
		}
		if readFile(t, b.path(active)) != before[1] {
			t.Error("the active slot changed")
		}
		have := readFile(t, b.path(inactive))
		for have != "" && have[len(have)-1] == before[2][len(have)-1] {
			have = have[:len(have)-1]
		}
		if strings.Trim(have, "\x00") != "" {
			t.Error("the inactive slot changed, and begins with something")
		}
	}
}

// politely reports whether an artifact was refused for what it is, before its payload was looked at.
func politely(r result) bool {
	for _, s := range []string{"no update module", "cannot be the name of an update module", "depends on something", "without an image", "a second image"} {
		if strings.Contains(r.stderr, s) {
			return true
		}
	}
	return false
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	abs, err := filepath.Abs(path)
	must(t, err)
	return abs
}

// A signed artifact that ends too early, at every block of the archive and a byte to either side, is refused, and the next whole one
// installs.
func TestTruncations(t *testing.T) {
	t.Parallel()
	b, err := makeBench(t.TempDir(), 256<<10)
	must(t, err)
	whole := order{name: "rel-1", image: picture(6000, 4), key: "p256"}.write(t)
	data := readFile(t, whole)
	path := filepath.Join(t.TempDir(), "cut.mender")
	writeFile(t, path, data)
	unchanged := b.harmless(t)
	for block := len(data); block >= 0; block -= 512 {
		for _, n := range []int{block + 1, block, block - 1} {
			if n < 0 || n >= len(data) {
				continue
			}
			must(t, os.Truncate(path, int64(n)))
			b.run("install", path).want(t, 3, "("+path+")")
			if t.Failed() {
				t.Fatalf("cut at byte %d of %d", n, len(data))
			}
		}
		writeFile(t, path, data)
	}
	unchanged()
	b.run("install", whole).want(t, 0)
}
