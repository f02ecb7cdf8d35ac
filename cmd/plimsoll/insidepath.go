package main

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
)

// An insidePath names a file in an image: IMAGE:/path.
type insidePath struct {
	image string // a file of this machine
	path  string // begins with a slash
}

func (p insidePath) String() string { return p.image + ":" + p.path }

// errInside is an argument that could be two things, or is not what it must be.
var errInside = errors.New("want IMAGE:/PATH")

// parseInside takes IMAGE:/path apart; ok is false for what names a file of this
// machine. An image may have any name. Where there are several ways to read an
// argument, what is there decides, and if that does not, nobody guesses.
func parseInside(arg string) (p insidePath, ok bool, err error) {
	var found []insidePath
	first := -1
	for k := range arg {
		if k == 0 || !strings.HasPrefix(arg[k:], ":/") {
			continue
		}
		if first < 0 {
			first = k
		}
		if st, err := os.Stat(arg[:k]); err == nil && !st.IsDir() {
			found = append(found, insidePath{arg[:k], arg[k+1:]})
		}
	}
	_, statErr := os.Lstat(arg)
	switch {
	case len(found) > 1:
		return p, false, fmt.Errorf("%s is %s in %s, or %s in %s: %w: rename one of the images", arg, found[0].path, found[0].image, found[1].path, found[1].image, errInside)
	case len(found) == 1 && statErr == nil:
		return p, false, fmt.Errorf("%s is a file, and also %s in %s: %w: rename one of the two", arg, found[0].path, found[0].image, errInside)
	case len(found) == 1:
		return found[0], true, nil
	case statErr == nil || first < 0:
		return p, false, nil
	}
	return insidePath{arg[:first], arg[first+1:]}, true, nil // and whoever opens it says that it is not there
}

// mustBeInside is parseInside for an argument that names nothing else.
func mustBeInside(arg string) (insidePath, error) {
	p, ok, err := parseInside(arg)
	if err == nil && !ok {
		err = fmt.Errorf("%s: %w, with a path that begins with a slash", arg, errInside)
	}
	return p, err
}

// onto is p, or where p ends in a slash the file of that name in it.
func (p insidePath) onto(name string) insidePath {
	if strings.HasSuffix(p.path, "/") {
		p.path = path.Join(p.path, path.Base(name))
	}
	return p
}
