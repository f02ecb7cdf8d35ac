package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What docs/artifacts.md shows is what there is: its commands run, in their order.
func TestManualOfArtifacts(t *testing.T) {
	t.Parallel()
	var script strings.Builder
	script.WriteString("set -euo pipefail\n")
	blocks := 0
	for i, part := range strings.Split(readFile(t, "../../docs/artifacts.md"), "```") {
		if code, ok := strings.CutPrefix(part, "sh\n"); ok && i%2 == 1 {
			script.WriteString(code)
			blocks++
		}
	}
	if blocks < 7 {
		t.Errorf("only %d blocks to run", blocks)
	}
	dir, bin := t.TempDir(), t.TempDir()
	self, err := os.Executable()
	must(t, err)
	must(t, os.Symlink(self, filepath.Join(bin, "plimsoll")))
	must(t, os.Mkdir(filepath.Join(dir, "scripts"), 0o755))
	writeFile(t, filepath.Join(dir, "scripts/ArtifactInstall_Enter_01_check"), "#!/bin/sh\n")
	c := exec.Command("bash", "-c", script.String())
	c.Dir = dir
	c.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH")+":/usr/sbin:/sbin")
	var out strings.Builder
	c.Stdout, c.Stderr = &out, &out
	if err := runProcess(c); err != nil {
		t.Fatalf("%v\n%s\n%s", err, &script, &out)
	}
	if said := "Artifact file 'release-8.mender' validated successfully"; strings.Count(out.String(), said) != 2 {
		t.Errorf("does not say %q twice:\n%s", said, &out)
	}
}
