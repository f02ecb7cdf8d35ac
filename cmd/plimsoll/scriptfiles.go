package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/plimsoll-ota/plimsoll/artifact"
)

// scriptFiles are state scripts: files, and the files of folders.
func scriptFiles(paths []string) ([]string, error) {
	var all []string
	for _, path := range paths {
		st, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		if !st.IsDir() {
			all = append(all, path)
			continue
		}
		entries, err := os.ReadDir(path)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			all = append(all, filepath.Join(path, e.Name()))
		}
	}
	return all, nil
}

// putScripts adds state scripts. What is wrong with one is no artifact's fault.
func putScripts(to interface {
	AddScript(name string, size int64, text io.Reader) error
}, paths []string) error {
	all, err := scriptFiles(paths)
	if err != nil {
		return err
	}
	for _, path := range all {
		f, size, err := openRegular(path)
		if err != nil {
			return err
		}
		err = to.AddScript(filepath.Base(path), size, f)
		f.Close() // only read
		if err != nil {
			return fmt.Errorf("%s: %v", path, err)
		}
	}
	return nil
}

// copyScripts copies the scripts that are there, but for those that are replaced,
// and adds the new ones.
func copyScripts(w *artifact.Writer, r *artifact.Reader, more []string) error {
	all, err := scriptFiles(more)
	if err != nil {
		return err
	}
	replaced := map[string]bool{}
	for _, path := range all {
		replaced[filepath.Base(path)] = true
	}
	err = r.Scripts(func(s artifact.Script, text io.Reader) error {
		if replaced[s.Name] {
			return nil
		}
		return w.AddScript(s.Name, s.Size, text)
	})
	if err != nil {
		return err
	}
	return putScripts(w, more)
}
