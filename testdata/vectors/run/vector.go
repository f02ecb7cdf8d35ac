package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// A vector is NAME.mender with what NAME.txt says of it.
type vector struct {
	name, file, key          string // key is a file, or ""
	about, rule, expect, may string
}

// readVectors reads what is in dir. Names in the fields that are not known here are for other readers of them.
func readVectors(dir, keys, only string) (all []vector, err error) {
	paths, err := filepath.Glob(filepath.Join(dir, only+"*.txt"))
	if err != nil {
		return nil, err
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		fields := make(map[string]string)
		for line := range strings.Lines(string(text)) {
			k, v, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
			if !ok {
				return nil, fmt.Errorf("%s: want \"field: value\", have %q", path, line)
			}
			fields[k] = v
		}
		v := vector{name: strings.TrimSuffix(filepath.Base(path), ".txt"), file: strings.TrimSuffix(path, ".txt") + ".mender",
			about: fields["about"], rule: fields["rule"], expect: fields["expect"], may: fields["may"]}
		if v.expect == "" {
			return nil, fmt.Errorf("%s: no expect", path)
		}
		if fields["key"] != "" {
			v.key = filepath.Join(keys, fields["key"]+".pub.pem")
		}
		for _, needed := range []string{v.file, v.key} {
			if _, err := os.Stat(needed); needed != "" && err != nil {
				return nil, err
			}
		}
		all = append(all, v)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s: no vectors", dir)
	}
	return all, nil
}

// args puts the vector into a command's arguments.
func (v vector) args(template []string) (args []string) {
	for _, a := range template {
		if strings.Contains(a, "{key}") && v.key == "" {
			if n := len(args); a == "{key}" && n > 1 && strings.HasPrefix(args[n-1], "-") {
				args = args[:n-1]
			}
			continue
		}
		args = append(args, strings.NewReplacer("{key}", v.key, "{file}", v.file).Replace(a))
	}
	return args
}
