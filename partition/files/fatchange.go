package files

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plimsoll-ota/plimsoll/partition/internal/program"
)

// run runs one of mtools on the file system.
func (d *fat) run(ctx context.Context, t time.Time, src *os.File, name string, args ...string) error {
	c := program.Call{Name: name, Time: t, Files: []*os.File{d.f}}
	if src != nil {
		c.Files = append(c.Files, src)
	}
	c.Args = append([]string{"-i", "/proc/self/fd/3@@" + strconv.FormatInt(d.off, 10)}, args...)
	_, stderr, err := c.Run(ctx)
	if (program.Said(err, "Disk full") || strings.Contains(stderr, "Disk full")) && !errors.Is(err, unix.ENOSPC) {
		return ErrSpace
	}
	if err == nil && strings.TrimSpace(stderr) != "" {
		return &program.Error{Name: name, Said: strings.TrimSpace(stderr)}
	}
	return err
}

// dosPath is a path as mtools reads it, which takes some names for patterns and
// changes others.
func dosPath(path string) (string, error) {
	for _, name := range strings.Split(path[1:], "/") {
		switch {
		case strings.Trim(name, ". ") != name && !strings.HasPrefix(name, "."), strings.HasSuffix(name, "."), len(name) > 255:
		case strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r > '~' || strings.ContainsRune(`"*:<>?\|[]`, r) }):
		default:
			continue
		}
		return "", fmt.Errorf("%w: %q on FAT", ErrName, name)
	}
	return "::" + path, nil
}

func (d *fat) put(ctx context.Context, t time.Time, path string, src *os.File, _ Attr, _ *Info) error {
	dst, err := dosPath(path)
	if err != nil {
		return err
	}
	return d.run(ctx, t, src, "mcopy", "-Q", "-D", "o", "/proc/self/fd/4", dst)
}

func (d *fat) mkdir(ctx context.Context, t time.Time, path string, _ Attr) error {
	dst, err := dosPath(path)
	if err != nil {
		return err
	}
	return d.run(ctx, t, nil, "mmd", dst)
}

func (d *fat) chmod(context.Context, time.Time, Info, Attr) error { return nil }

func (d *fat) remove(ctx context.Context, t time.Time, all []Info) error {
	top := all[len(all)-1]
	dst, err := dosPath(top.Path)
	if err != nil {
		return err
	}
	if top.Mode.IsDir() {
		return d.run(ctx, t, nil, "mdeltree", dst)
	}
	return d.run(ctx, t, nil, "mdel", dst)
}
