package health

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// A Config is what an integrator asks of a healthy system, as docs/health.md
// describes it.
type Config struct {
	Units    []string         // active, according to systemd
	Commands [][]string       // exit with 0
	TCP      []string         // host:port that accepts a connection
	HTTP     []string         // URLs that answer with 2xx
	Files    []string         // are there
	Free     map[string]int64 // bytes that are free where a path is
}

// maxChecks is how many checks a configuration may have: each is asked in every
// round.
const maxChecks = 64

// Validate refuses what could never hold, or means something else than it says.
func (c Config) Validate() error {
	if n := len(c.Units) + len(c.Commands) + len(c.TCP) + len(c.HTTP) + len(c.Files) + len(c.Free); n > maxChecks {
		return fmt.Errorf("%d checks, and at most %d are possible", n, maxChecks)
	}
	return errors.Join(
		each("units", c.Units, validUnit), each("commands", c.Commands, validCommand), each("tcp", c.TCP, validAddress),
		each("http", c.HTTP, validURL), each("files", c.Files, validPath), c.validFree())
}

// each returns what is wrong with the first bad entry of a list.
func each[T any](key string, list []T, valid func(T) error) error {
	for _, entry := range list {
		if err := valid(entry); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	return nil
}

var unitName = regexp.MustCompile(`^[A-Za-z0-9:_.\\][A-Za-z0-9:_.\\@-]*\.(service|socket|target|mount|automount|path|timer|swap|slice|device)$`)

func validUnit(s string) error {
	if len(s) > 255 || !unitName.MatchString(s) {
		return fmt.Errorf("%q is not the full name of one unit, such as app.service", s)
	}
	return nil
}

func validCommand(argv []string) error {
	if len(argv) == 0 || argv[0] == "" {
		return errors.New("one is empty")
	}
	if strings.Contains(argv[0], "/") && !filepath.IsAbs(argv[0]) {
		return fmt.Errorf("%q is neither an absolute path nor a name to look for in PATH", argv[0])
	}
	for _, arg := range argv {
		if strings.ContainsRune(arg, 0) {
			return fmt.Errorf("%s: an argument with a NUL byte", argv[0])
		}
	}
	return nil
}

func validAddress(s string) error {
	host, port, err := net.SplitHostPort(s)
	if err != nil || host == "" || port == "" || port == "0" {
		return fmt.Errorf("%q is not host:port, such as 127.0.0.1:80", s)
	}
	if _, err := net.LookupPort("tcp", port); err != nil {
		return fmt.Errorf("%q: no such port", s)
	}
	return nil
}

func validURL(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return fmt.Errorf("%q is not a URL such as http://127.0.0.1/health", s)
	case u.User != nil:
		return fmt.Errorf("%s has a user or a password in it, which would end up in records and reports", u.Redacted())
	}
	return nil
}

func validPath(s string) error {
	if !filepath.IsAbs(s) {
		return fmt.Errorf("%q is not an absolute path", s)
	}
	return nil
}

func (c Config) validFree() error {
	for _, path := range slices.Sorted(maps.Keys(c.Free)) {
		if err := validPath(path); err != nil {
			return fmt.Errorf("free: %w", err)
		}
		if c.Free[path] <= 0 {
			return fmt.Errorf("free: %s: %d bytes are always free", path, c.Free[path])
		}
	}
	return nil
}

// Checks returns the checks that c asks for, always in the same order. Two
// calls share nothing.
func (c Config) Checks(h Host) []Check {
	var all []Check
	for _, name := range c.Units {
		all = append(all, h.unit(name))
	}
	for _, argv := range c.Commands {
		all = append(all, command(argv))
	}
	for _, addr := range c.TCP {
		all = append(all, tcp(addr))
	}
	for _, page := range c.HTTP {
		all = append(all, http(page))
	}
	for _, path := range c.Files {
		all = append(all, file(path))
	}
	for _, path := range slices.Sorted(maps.Keys(c.Free)) {
		all = append(all, free(path, c.Free[path]))
	}
	return all
}
