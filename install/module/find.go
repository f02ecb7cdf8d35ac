package module

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// ErrUnsupported is a payload type for which the device has no module.
var ErrUnsupported = errors.New("unsupported payload type")

// Dirs are where the modules of a device are. Of two of the same name the first
// is used.
func Dirs() []string {
	return []string{"/usr/share/plimsoll/modules/v3", "/usr/share/mender/modules/v3"}
}

// Find returns the path of the module for a payload type. The type comes from
// an artifact, and names nothing outside of the directories.
func Find(dirs []string, payload string) (string, error) {
	if payload == "" || payload == "." || payload == ".." || strings.ContainsAny(payload, "/\x00") {
		return "", fmt.Errorf("%w: %.80q cannot be the name of an update module", ErrUnsupported, payload)
	}
	for _, dir := range dirs {
		path := filepath.Join(dir, payload)
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		switch {
		case err != nil:
			return "", fmt.Errorf("%w: %w", ErrUnsupported, err)
		case !info.Mode().IsRegular():
			return "", fmt.Errorf("%w: %s is not a file", ErrUnsupported, path)
		case info.Mode()&0o111 == 0:
			return "", fmt.Errorf("%w: %s is not executable", ErrUnsupported, path)
		}
		return path, nil
	}
	return "", fmt.Errorf("%w: there is no update module %.80q in %s", ErrUnsupported, payload, strings.Join(dirs, ", "))
}
