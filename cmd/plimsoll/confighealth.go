package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/plimsoll-ota/plimsoll/bootloader/board"
	"github.com/plimsoll-ota/plimsoll/install/health"
)

// A healthConfig is the section [health], as docs/health.md describes it.
type healthConfig struct {
	Units    []string   `toml:"units"`
	Command  []string   `toml:"command"`
	Commands [][]string `toml:"commands"`
	TCP      []string   `toml:"tcp"`
	HTTP     []string   `toml:"http"`
	Files    []string   `toml:"files"`
	Free     space      `toml:"free"`
	Compare  bool       `toml:"compare"`
	Stable   duration   `toml:"stable"`
	Deadline duration   `toml:"deadline"`
	Interval duration   `toml:"interval"`
	Timeout  duration   `toml:"timeout"`
}

func defaultHealth() healthConfig {
	o := health.DefaultOptions()
	return healthConfig{
		Compare: true, Stable: duration(o.Stable), Deadline: duration(o.Deadline),
		Interval: duration(o.Interval), Timeout: duration(o.Timeout),
	}
}

func (h healthConfig) check() error {
	return errors.Join(h.checks().Validate(), h.options().Validate())
}

// checks are what a healthy system is asked.
func (h healthConfig) checks() health.Config {
	c := health.Config{Units: h.Units, Commands: h.Commands, TCP: h.TCP, HTTP: h.HTTP, Files: h.Files, Free: map[string]int64{}}
	if h.Command != nil {
		c.Commands = append([][]string{h.Command}, c.Commands...)
	}
	for path, n := range h.Free {
		c.Free[path] = int64(n)
	}
	return c
}

// options are how long it is asked.
func (h healthConfig) options() health.Options {
	return health.Options{
		Stable: time.Duration(h.Stable), Deadline: time.Duration(h.Deadline),
		Interval: time.Duration(h.Interval), Timeout: time.Duration(h.Timeout),
	}
}

// A space says how many bytes are to be free where.
type space map[string]board.Size

// UnmarshalTOML takes a table. By itself the library takes anything for one, and
// leaves it empty.
func (s *space) UnmarshalTOML(v any) error {
	table, ok := v.(map[string]any)
	if !ok {
		return fmt.Errorf(`free is a table of paths and sizes, such as {"/data" = "10MiB"}, not %v`, v)
	}
	*s = space{}
	for path, v := range table {
		var n board.Size
		if err := n.UnmarshalTOML(v); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		(*s)[path] = n
	}
	return nil
}

// A duration is written with its unit: "30s". A bare number could be anything.
type duration time.Duration

// UnmarshalTOML takes a string.
func (d *duration) UnmarshalTOML(v any) error {
	s, ok := v.(string)
	if !ok {
		return fmt.Errorf(`a duration is a string with a unit, such as "30s", not %v`, v)
	}
	n, err := time.ParseDuration(s)
	if err != nil {
		return fmt.Errorf(`a duration is a string with a unit, such as "30s", not %q`, s)
	}
	*d = duration(n)
	return nil
}
