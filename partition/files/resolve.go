package files

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// maxLinks is how many links a path may lead over, as in the kernel.
const maxLinks = 40

// resolve finds what is at name. Where the last name is missing, its Path is
// where it would be.
func (s *System) resolve(ctx context.Context, op, name string, last bool) (Info, error) {
	fail := func(err error) error { return &fs.PathError{Op: op, Path: name, Err: err} }
	if strings.Contains(name, "\x00") {
		return Info{}, fail(ErrName)
	}
	at, err := s.stat(ctx, "/")
	if err != nil {
		return Info{}, fail(err)
	}
	todo := strings.Split(name, "/")
	for links := 0; len(todo) > 0; {
		next := todo[0]
		todo = todo[1:]
		if next == "" || next == "." {
			continue
		}
		if !at.Mode.IsDir() {
			return Info{}, fail(unix.ENOTDIR)
		}
		if next == ".." {
			if at, err = s.stat(ctx, path.Dir(at.Path)); err != nil {
				return Info{}, fail(err)
			}
			continue
		}
		i, err := s.stat(ctx, path.Join(at.Path, next))
		if errors.Is(err, fs.ErrNotExist) && strings.Join(todo, "") == "" {
			return Info{Path: path.Join(at.Path, next)}, fail(err)
		}
		if err != nil {
			return Info{}, fail(err)
		}
		if i.Mode&fs.ModeSymlink == 0 || !last && strings.Join(todo, "") == "" {
			at = i
			continue
		}
		if links++; links > maxLinks {
			return Info{}, fail(unix.ELOOP)
		}
		if strings.HasPrefix(i.Target, "/") {
			if at, err = s.stat(ctx, "/"); err != nil {
				return Info{}, fail(err)
			}
		}
		todo = append(strings.Split(i.Target, "/"), todo...)
	}
	return at, nil
}

func (s *System) stat(ctx context.Context, name string) (Info, error) {
	if i, ok := s.seen[name]; ok {
		return i, nil
	}
	i, err := s.d.stat(ctx, name)
	if err == nil {
		s.seen[name] = i
	}
	return i, err
}

// place returns where name leads, and what is there, if anything is.
func (s *System) place(ctx context.Context, op, name string) (string, *Info, error) {
	i, err := s.resolve(ctx, op, name, true)
	if err == nil {
		return i.Path, &i, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", nil, err
	}
	if i.Path == "" {
		return "", nil, fmt.Errorf("%w: the folder that it is in is missing", err)
	}
	return i.Path, nil, nil
}
