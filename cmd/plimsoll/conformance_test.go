package main

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// verdicts runs the runner of the vectors with a reader.
func verdicts(t *testing.T, name string, reader ...string) (all []map[string]any, sum map[string]any) {
	t.Helper()
	runner := filepath.Join(t.TempDir(), "run")
	if out, err := exec.Command("go", "build", "-o", runner, "../../testdata/vectors/run").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	args := append([]string{"-dir", vectorDir, "-keys", keyDir, "-timeout", "2m", "-json", "-name", name, "--"}, reader...)
	out, err := exec.Command(runner, args...).Output() // exit 1 says that something was wrong
	for line := range strings.Lines(string(out)) {
		var v map[string]any
		must(t, json.Unmarshal([]byte(line), &v))
		all = append(all, v)
	}
	if len(all) < 300 {
		t.Fatalf("%d results, %v", len(all), err)
	}
	return all[:len(all)-1], all[len(all)-1]
}

// plimsoll is right about every vector: it does what is expected, except that it looks at augmented artifacts, which it never installs.
func TestConformance(t *testing.T) {
	t.Parallel()
	all, sum := verdicts(t, "plimsoll", "plimsoll", "artifact", "verify", "-k", "{key}", "{file}")
	for _, v := range all {
		if v["verdict"] != "agrees" && !(v["permitted"] == true && v["expect"] == "unsupported" && strings.Contains(v["about"].(string), "augmented")) {
			t.Errorf("%s: %s: %s", v["vector"], v["verdict"], v["says"])
		}
		if want := map[bool]float64{true: 0, false: 3}[v["expect"] == "ok" || v["verdict"] == "laxer"]; v["exit"] != want {
			t.Errorf("%s: exit %v, want %v", v["vector"], v["exit"], want)
		}
	}
	onPage(t, all, sum)
}

// The page says of Debian's mender-artifact what it does.
func TestConformanceOfPeer(t *testing.T) {
	t.Parallel()
	all, sum := verdicts(t, "mender-artifact 3.9", "mender-artifact", "validate", "-k", "{key}", "{file}")
	onPage(t, all, sum)
}

// onPage looks for what a reader did in docs/conformance.md.
func onPage(t *testing.T, all []map[string]any, sum map[string]any) {
	t.Helper()
	page := readFile(t, "../../docs/conformance.md")
	count := fmt.Sprintf("\n| %v | %v | %v | %v | %v | %v | %v | %v | %v |\n", sum["reader"], sum["vectors"], sum["agrees"], sum["stricter"], sum["laxer"], sum["crashes"], sum["hangs"], sum["permitted"], sum["wrong"])
	if !strings.Contains(page, count) {
		t.Errorf("docs/conformance.md has other counts than %s: make conformance", count)
	}
	for _, v := range all {
		word := fmt.Sprintf("**%s**", v["verdict"])
		if v["permitted"] == true {
			word = fmt.Sprintf("%s, permitted", v["verdict"])
		}
		_, row, found := strings.Cut(page, fmt.Sprintf("\n| %s |", v["vector"]))
		row, _, _ = strings.Cut(row, "\n")
		if v["verdict"] != "agrees" && (!found || !strings.Contains(row, word)) {
			t.Errorf("docs/conformance.md does not say of %s that %s is %s: make conformance", v["vector"], sum["reader"], v["verdict"])
		}
	}
}
