package module

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Info is what a tree tells a module. JSON that is not there is null.
type Info struct {
	CurrentName  string // of the artifact that is installed
	CurrentGroup string
	DeviceType   string

	Name       string // of the artifact that is to be installed
	Group      string
	Type       string // of its payload
	HeaderInfo json.RawMessage
	TypeInfo   json.RawMessage
	MetaData   json.RawMessage
}

// files are the files of a tree, as Mender's 5.x client writes them. That of
// 3.x has no line feeds in those at the top; a shell does not see the difference.
func (i Info) files() (map[string][]byte, error) {
	files := map[string][]byte{
		"version":                line("3"),
		"current_artifact_name":  line(i.CurrentName),
		"current_artifact_group": line(i.CurrentGroup),
		"current_device_type":    line(i.DeviceType),
		"header/artifact_name":   []byte(i.Name),
		"header/artifact_group":  []byte(i.Group),
		"header/payload_type":    []byte(i.Type),
	}
	for name, raw := range map[string]json.RawMessage{"header-info": i.HeaderInfo, "type-info": i.TypeInfo, "meta-data": i.MetaData} {
		b, err := dump(raw)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		files["header/"+name] = b
	}
	return files, nil
}

func line(s string) []byte {
	if s == "" {
		return nil
	}
	return []byte(s + "\n")
}

// dump returns JSON as the 5.x client does: without white space, sorted, and
// with its numbers as they are.
func dump(raw json.RawMessage) ([]byte, error) {
	if len(bytes.TrimSpace(raw)) == 0 {
		return []byte("null"), nil
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), err
}

// Beside a tree there are, for a moment, the one that is being made and the one
// that is being removed, so that a tree is there as a whole or not at all.
const (
	making   = ".new"
	removing = ".old"
)

// CreateTree makes a tree, in place of one that may be there. On nil it is on
// the medium.
func CreateTree(dir string, i Info) error {
	err := RemoveTree(dir)
	if err == nil {
		err = createTree(dir, i)
	}
	if err != nil {
		return fmt.Errorf("create %s: %w", dir, err)
	}
	return nil
}

func createTree(dir string, i Info) error {
	files, err := i.files()
	if err != nil {
		return err
	}
	if err := mkdirAll(filepath.Dir(dir)); err != nil {
		return err
	}
	fresh := dir + making
	for _, d := range []string{"", "header", "tmp"} {
		if err := os.Mkdir(filepath.Join(fresh, d), 0o700); err != nil {
			return err
		}
	}
	for name, b := range files {
		if err := writeFile(filepath.Join(fresh, name), b); err != nil {
			return err
		}
	}
	if err := errors.Join(syncDir(filepath.Join(fresh, "header")), syncDir(fresh)); err != nil {
		return err
	}
	return rename(fresh, dir)
}

// rename is done when the medium knows it.
func rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return syncDir(filepath.Dir(to))
}

// mkdirAll makes a folder and those it is in, each to stay.
func mkdirAll(dir string) error {
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrNotExist) {
		if err := mkdirAll(filepath.Dir(dir)); err != nil {
			return err
		}
		err = os.Mkdir(dir, 0o700)
	}
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

func writeFile(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Sync(), f.Close())
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
