package module

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// debian returns where Debian's package of Mender's client is unpacked: the
// modules of the 3.x client, none of them modified, and what makes artifacts for
// them. It is downloaded once, and kept.
func debian(t *testing.T) string {
	t.Helper()
	dir, err := unpacked()
	if err != nil {
		t.Fatalf("Debian's package mender-client: %v", err)
	}
	return dir
}

func debianModule(t *testing.T, name string) string {
	return filepath.Join(debian(t), "usr/share/mender/modules/v3", name)
}

func debianTool(t *testing.T, name string) string {
	return filepath.Join(debian(t), "usr/share/doc/mender-client/examples", name)
}

var unpacked = sync.OnceValues(func() (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	base = filepath.Join(base, "plimsoll")
	dir := filepath.Join(base, "mender-client")
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(base, 0o755); err != nil {
		return "", err
	}
	tmp, err := os.MkdirTemp(base, "mender-client-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	if err := fetch(tmp); err != nil {
		return "", err
	}
	if err := os.Rename(filepath.Join(tmp, "root"), dir); err != nil && !errors.Is(err, os.ErrExist) {
		return "", err
	}
	return dir, nil
})

// fetch downloads and unpacks the package, with the lists that apt has, or else
// with lists of its own.
func fetch(dir string) error {
	run := func(name string, args ...string) error {
		cmd := exec.Command(name, args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", cmd, err, out)
		}
		return nil
	}
	if err := run("apt-get", "-q", "download", "mender-client"); err != nil {
		for _, d := range []string{"state/lists/partial", "cache/archives/partial"} {
			if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
				return err
			}
		}
		own := []string{"-q", "-o", "Dir::State::lists=" + dir + "/state/lists", "-o", "Dir::Cache=" + dir + "/cache", "-o", "APT::Sandbox::User=root"}
		if err := errors.Join(run("apt-get", append(own, "update")...), run("apt-get", append(own, "download", "mender-client")...)); err != nil {
			return err
		}
	}
	debs, err := filepath.Glob(filepath.Join(dir, "mender-client_*.deb"))
	if err != nil || len(debs) != 1 {
		return fmt.Errorf("downloaded %q, %v", debs, err)
	}
	return run("dpkg-deb", "-x", debs[0], filepath.Join(dir, "root"))
}
