package script

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// version is what is written of the scripts that Store stores.
const version = "3"

// Store replaces what is in a directory by the scripts that next returns, until
// that returns io.EOF. On nil they are on the medium; after an error there may
// be some of them.
//
// The names come from an artifact. One that is not that of a script of an
// artifact's, or that was there before, is refused.
func Store(dir string, next func() (name string, content io.Reader, err error)) error {
	if err := store(dir, next); err != nil {
		return fmt.Errorf("store state scripts: %w", err)
	}
	return nil
}

func store(dir string, next func() (string, io.Reader, error)) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := empty(root); err != nil {
		return err
	}
	stored := 0
	for ; ; stored++ {
		name, content, err := next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if n, ok := ParseName(name); !ok || !strings.HasPrefix(n.State, "Artifact") {
			return fmt.Errorf("%.300q is not the name of an artifact's state script", name)
		}
		if err := write(root, name, content); err != nil {
			return err
		}
	}
	if err := errors.Join(syncDir(dir), syncDir(filepath.Dir(dir))); err != nil || stored == 0 {
		return err
	}
	if err := write(root, "version", strings.NewReader(version)); err != nil {
		return err
	}
	return syncDir(dir)
}

func empty(root *os.Root) error {
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := root.RemoveAll(e.Name()); err != nil {
			return err
		}
	}
	return nil
}

// write writes a new file that can be run, whatever the umask.
func write(root *os.Root, name string, content io.Reader) error {
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.Copy(f, content); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return errors.Join(f.Chmod(0o755), f.Sync(), f.Close())
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
