package image

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/plimsoll-ota/plimsoll/partition/internal/program"
)

// A File is a file to be put into a file system, or a folder.
type File struct {
	Name string      // with slashes, from the top
	Data []byte      // what is in it, unless
	From string      // a file is named that it is copied from
	Mode fs.FileMode // permissions, and fs.ModeDir; FAT has none
}

// open is the file as one on this machine, made in dir if it is not yet one.
func (f File) open(dir string, i int) (string, error) {
	if f.From != "" {
		return filepath.Abs(f.From)
	}
	name := filepath.Join(dir, fmt.Sprintf("file-%d", i))
	return name, os.WriteFile(name, f.Data, 0o644)
}

// quote writes a path for debugfs.
func quote(name string) (string, error) {
	if strings.ContainsAny(name, "\"\n\r\\") {
		return "", fmt.Errorf("%q: a character that is not supported", name)
	}
	return `"` + name + `"`, nil
}

// edit runs debugfs's commands on a file system. It says on standard error what
// it could not do, and goes on: then the file system is not to be used.
func edit(ctx context.Context, img string, t time.Time, commands string) error {
	if commands == "" {
		return nil
	}
	script, err := os.CreateTemp(filepath.Dir(img), ".debugfs-*")
	if err != nil {
		return err
	}
	defer os.Remove(script.Name())
	_, err = script.WriteString(commands)
	if err := errors.Join(err, script.Close()); err != nil {
		return err
	}
	_, err = debugfs(ctx, t, "-w", "-f", script.Name(), img)
	return err
}

// debugfs returns what it prints. Its exit code means nothing.
func debugfs(ctx context.Context, t time.Time, args ...string) (string, error) {
	p := program.Call{Name: "debugfs", Args: args, Time: t}
	out, stderr, err := p.Run(ctx)
	if err != nil {
		return out, err
	}
	for _, line := range strings.Split(stderr, "\n") {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "debugfs 1.") {
			return out, &program.Error{Name: "debugfs", Said: line}
		}
	}
	return out, nil
}

// ReadFile returns the content of a file in an ext4 image. fs.ErrNotExist is
// wrapped where there is none; a symbolic link is one that is not followed,
// and there is nothing in it.
func ReadFile(ctx context.Context, img, name string) ([]byte, error) {
	found, err := exists(ctx, img, name)
	if err != nil {
		return nil, fmt.Errorf("read %s in %s: %w", name, img, err)
	}
	if found == "" {
		return nil, fmt.Errorf("read %s in %s: %w", name, img, fs.ErrNotExist)
	}
	if found != "regular" {
		return nil, nil
	}
	q, err := quote(name)
	if err != nil {
		return nil, err
	}
	out, err := debugfs(ctx, time.Unix(1, 0), "-R", "cat "+q, img)
	if err != nil {
		return nil, fmt.Errorf("read %s in %s: %w", name, img, err)
	}
	return []byte(out), nil
}

// exists returns the type of a file in debugfs's words, "" if it is not there.
func exists(ctx context.Context, img, name string) (string, error) {
	q, err := quote(name)
	if err != nil {
		return "", err
	}
	out, err := debugfs(ctx, time.Unix(1, 0), "-R", "stat "+q, img)
	if program.Said(err, "File not found") {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	_, rest, ok := strings.Cut(out, "Type:")
	if fields := strings.Fields(rest); ok && len(fields) > 0 {
		return fields[0], nil
	}
	return "", errors.New("debugfs says nothing that is understood")
}

// AddFiles puts files into an ext4 image, in place of what has the same name,
// owned by root and with the time t. Folders that are missing are made. The
// file system is checked afterwards; after an error it is not to be used.
func AddFiles(ctx context.Context, img string, t time.Time, files ...File) error {
	if err := addFiles(ctx, img, t, files); err != nil {
		return fmt.Errorf("add files to %s: %w", img, err)
	}
	return nil
}

func addFiles(ctx context.Context, img string, t time.Time, files []File) error {
	work, err := os.MkdirTemp(filepath.Dir(img), ".files-*")
	if err != nil {
		return err
	}
	defer removeAll(work)
	made := map[string]bool{"/": true}
	for i, f := range files {
		name := path.Join("/", f.Name)
		if err := makeFolders(ctx, img, t, path.Dir(name), made); err != nil {
			return err
		}
		if err := addFile(ctx, img, t, work, i, f); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return checked(ctx, img)
}

// checked returns an error unless a file system is without fault.
func checked(ctx context.Context, img string) error {
	out, _, err := program.Call{Name: "e2fsck", Args: []string{"-fn", img}, Time: time.Unix(1, 0)}.Run(ctx)
	var failed *exec.ExitError
	if !errors.As(err, &failed) {
		return err
	}
	for line := range strings.Lines(out) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "Pass ") {
			return fmt.Errorf("%w: e2fsck finds errors in it: %s", ErrSource, line)
		}
	}
	return err
}

func makeFolders(ctx context.Context, img string, t time.Time, dir string, made map[string]bool) error {
	if made[dir] {
		return nil
	}
	if err := makeFolders(ctx, img, t, path.Dir(dir), made); err != nil {
		return err
	}
	made[dir] = true
	if found, err := exists(ctx, img, dir); err != nil || found != "" {
		return err
	}
	q, err := quote(dir)
	if err != nil {
		return err
	}
	return edit(ctx, img, t, "mkdir "+q+"\n")
}

func addFile(ctx context.Context, img string, t time.Time, work string, i int, f File) error {
	q, err := quote(path.Join("/", f.Name))
	if err != nil {
		return err
	}
	found, err := exists(ctx, img, f.Name)
	if err != nil {
		return err
	}
	kind, commands := "0100", ""
	switch {
	case f.Mode.IsDir():
		kind = "040"
		switch found {
		case "":
			commands = "mkdir " + q + "\n"
		case "symlink": // it leads to one, or it is meant to
			return nil
		case "directory":
		default:
			return fmt.Errorf("a %s is there already", found)
		}
	case found == "directory":
		return errors.New("a directory is there already")
	default:
		from, err := f.open(work, i)
		if err != nil {
			return err
		}
		src, err := quote(from)
		if err != nil {
			return err
		}
		if found != "" {
			commands = "rm " + q + "\n"
		}
		commands += "write " + src + " " + q + "\n"
	}
	commands += fmt.Sprintf("sif %s mode %s%03o\nsif %s uid 0\nsif %s gid 0\n", q, kind, f.Mode.Perm(), q, q)
	for _, field := range []string{"ctime", "atime", "mtime"} {
		commands += fmt.Sprintf("sif %s %s @%d\n", q, field, t.Unix())
	}
	return edit(ctx, img, t, commands)
}

// ReadDir returns the names in a folder of an ext4 image; none if there is no
// such folder.
func ReadDir(ctx context.Context, img, dir string) ([]string, error) {
	if found, err := exists(ctx, img, dir); err != nil || found != "directory" {
		return nil, err
	}
	q, err := quote(dir)
	if err != nil {
		return nil, err
	}
	out, err := debugfs(ctx, time.Unix(1, 0), "-R", "ls -p "+q, img)
	if err != nil {
		return nil, fmt.Errorf("read %s in %s: %w", dir, img, err)
	}
	var names []string
	for line := range strings.Lines(out) { // /inode/mode/uid/gid/name/size/
		if f := strings.Split(line, "/"); len(f) == 8 && f[1] != "0" && f[5] != "." && f[5] != ".." {
			names = append(names, f[5])
		}
	}
	return names, nil
}
