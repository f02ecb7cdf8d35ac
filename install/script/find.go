package script

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// DeviceDirs are where the scripts of a device are. Of two of the same name the
// first is run.
func DeviceDirs() []string { return []string{"/etc/plimsoll/scripts", "/etc/mender/scripts"} }

// A found script is one to run, or one to tell of.
type found struct {
	path    string
	skipped string // why it is not run
}

// find returns the scripts of one moment, in their order.
func find(dirs []string, state, action string) ([]found, error) {
	all := make(map[string]found)
	for _, dir := range dirs {
		here, err := findIn(dir, state, action)
		if err != nil {
			return nil, err
		}
		for name, f := range here {
			if _, ok := all[name]; !ok {
				all[name] = f
			}
		}
	}
	var scripts []found
	for _, name := range slices.Sorted(maps.Keys(all)) {
		scripts = append(scripts, all[name])
	}
	return scripts, nil
}

func findIn(dir, state, action string) (map[string]found, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	scripts := make(map[string]found)
	for _, e := range entries {
		n, ok := ParseName(e.Name())
		if !ok || n.State != state || n.Action != action {
			continue
		}
		f := found{path: filepath.Join(dir, e.Name())}
		f.skipped = whyNot(f.path)
		scripts[e.Name()] = f
	}
	if len(scripts) == 0 {
		return nil, nil // and whatever version they have not is of no interest
	}
	return scripts, checkVersion(filepath.Join(dir, "version"))
}

// whyNot says why a file cannot be run; "" if it can.
func whyNot(path string) string {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return err.Error()
	case !info.Mode().IsRegular():
		return "it is not a file"
	case info.Mode()&0o111 == 0:
		return "it is not executable"
	}
	return ""
}

// checkVersion accepts the versions of scripts that are run as this package
// does, and a directory that does not say.
func checkVersion(path string) error {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if v := strings.TrimSpace(string(b)); v != "2" && v != "3" {
		return fmt.Errorf("%s: unexpected version %.20q of the state scripts, want 2 or 3", path, v)
	}
	return nil
}
