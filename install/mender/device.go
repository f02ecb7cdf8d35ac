package mender

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Folders are where a client has its files.
type Folders struct {
	Conf string // artifact_info
	Data string // the store, device_type, bootstrap.mender
}

// Under returns the folders of a client whose root file system is root: "" and
// "/" are the running one.
func Under(root string) Folders {
	return Folders{Conf: filepath.Join("/", root, "etc/mender"), Data: filepath.Join("/", root, "var/lib/mender")}
}

// Store returns the path of the store.
func (f Folders) Store() string { return filepath.Join(f.Data, "mender-store") }

// Bootstrap returns the path of the artifact that a client installs at its
// first start, and then deletes.
func (f Folders) Bootstrap() string { return filepath.Join(f.Data, "bootstrap.mender") }

// A Device is what a client says of the device that it runs on. The zero value
// is a device that no client ever ran on.
type Device struct {
	Artifact string            // artifact_name, "" for unknown
	Group    string            // artifact_group, "" for none
	Provides map[string]string // without the two

	Standalone *Standalone // update that somebody began by hand; nil for none
	Managed    *Managed    // update that a server began; nil for none
}

// A Standalone is an update in progress as mender install records it, until it
// is committed or rolled back. (Versions 1 and 2 of standalone-state.)
type Standalone struct {
	Version    int
	Artifact   string            `json:"ArtifactName"`
	Group      string            `json:"ArtifactGroup"`
	Provides   map[string]string `json:"ArtifactTypeInfoProvides"`
	Clears     []string          `json:"ArtifactClearsProvides"` // nil: the artifact had none
	Types      []string          `json:"PayloadTypes"`
	InState    string            // version 2: the state that it is in
	Failed     bool              // version 2
	RolledBack bool              // version 2
}

// A Managed is an update in progress as the daemon records it.
type Managed struct {
	Version int
	State   string `json:"Name"` // that it is in
}

// Read reads the store, and artifact_info where the store has no name. A
// client that was never there is no error. With an error, what could be read
// all the same is in Device, and an update in progress is not overlooked: of
// one that cannot be understood at least the record is there.
func (f Folders) Read() (d Device, err error) {
	all, err := ReadStore(f.Store())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Device{}, fmt.Errorf("read Mender's store: %w", err)
	}
	var errs []error
	note := func(key string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("read Mender's store: %s: %s: %w", f.Store(), key, err))
		}
	}
	if d.Artifact, err = line(all["artifact-name"]); err != nil {
		note("artifact-name", err)
	} else if d.Artifact == "" {
		if err := d.fromInfo(filepath.Join(f.Conf, "artifact_info")); err != nil {
			errs = append(errs, err)
		}
	} else {
		d.Group, err = line(all["artifact-group"])
		note("artifact-group", err)
	}
	if b, ok := all["artifact-provides"]; ok {
		note("artifact-provides", decode(b, &d.Provides))
	}
	if b, ok := all["standalone-state"]; ok {
		d.Standalone = &Standalone{}
		note("standalone-state", d.Standalone.decode(b))
	}
	if b, ok := all["state"]; ok {
		d.Managed = &Managed{}
		note("state", decode(b, d.Managed))
	}
	return d, errors.Join(errs...)
}

// decode fills v, or leaves it as it was.
func decode[T any](b []byte, v *T) error {
	var read T
	if err := json.Unmarshal(b, &read); err != nil {
		return err
	}
	*v = read
	return nil
}

func (s *Standalone) decode(b []byte) error {
	if err := decode(b, s); err != nil {
		return err
	}
	switch {
	case s.Version != 1 && s.Version != 2:
		return fmt.Errorf("version %d, and 1 and 2 are known", s.Version)
	case s.Artifact == "" || len(s.Types) != 1:
		return fmt.Errorf("an update to %q with %d payloads", s.Artifact, len(s.Types))
	}
	return nil
}

// fromInfo takes name and group from the file that a root file system brings.
func (d *Device) fromInfo(path string) error {
	info, err := readPairs(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	d.Artifact, d.Group = info["artifact_name"], info["artifact_group"]
	return err
}

// DeviceType reads a device_type file: the value of its line device_type=TYPE.
// As the clients since 4.0 have it that line comes first and is the only one;
// the older ones let through comments and other lines NAME=VALUE, and so does
// this. A name that is there twice is an error in both.
func DeviceType(path string) (string, error) {
	pairs, err := readPairs(path)
	if err != nil {
		return "", err
	}
	if pairs["device_type"] == "" {
		return "", fmt.Errorf("%s: no device_type", path)
	}
	return pairs["device_type"], nil
}

// maxPairs bounds a file of lines NAME=VALUE.
const maxPairs = 64 << 10

// readPairs reads lines NAME=VALUE; empty ones and those that begin with # are
// passed over.
func readPairs(path string) (map[string]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() // only read
	b, err := io.ReadAll(io.LimitReader(f, maxPairs+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxPairs {
		return nil, fmt.Errorf("%s: more than %d bytes", path, maxPairs)
	}
	pairs := map[string]string{}
	for text := range strings.Lines(string(b)) {
		text, err := line([]byte(strings.TrimSpace(text)))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if text == "" || text[0] == '#' {
			continue
		}
		name, value, ok := strings.Cut(text, "=")
		name = strings.TrimSpace(name)
		if !ok || name == "" {
			return nil, fmt.Errorf("%s: %q is not NAME=VALUE", path, text)
		}
		if _, twice := pairs[name]; twice {
			return nil, fmt.Errorf("%s: %s is there twice", path, name)
		}
		pairs[name] = strings.TrimSpace(value)
	}
	return pairs, nil
}

// line refuses what cannot be a name: it would be printed, and compared.
func line(b []byte) (string, error) {
	if s := string(b); utf8.Valid(b) && !strings.ContainsFunc(s, unicode.IsControl) {
		return s, nil
	}
	return "", fmt.Errorf("%.64q is not a line of text", b)
}
