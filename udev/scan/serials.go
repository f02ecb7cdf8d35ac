package scan

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

const (
	serialsName    = "only-serials"
	maxSerialsFile = 1 << 20
	maxSerials     = 10_000
	maxSerial      = 128 // bytes of one
)

// ErrSerials is a list of serial numbers that is none.
var ErrSerials = errors.New("not a list of serial numbers")

// isSerials lets through what an editor for Windows makes of a name without an ending.
func isSerials(name string) bool {
	name = lower(name)
	return name == serialsName || name == serialsName+".txt"
}

// Listed reports whether the stick is for the device of that serial number: it is, if there is no list. Upper and lower case are one.
func (r Result) Listed(serial string) bool {
	return r.OnlySerials == nil || slices.ContainsFunc(r.OnlySerials, func(s string) bool { return lower(s) == lower(serial) })
}

// readSerials reads a list from the stick.
func readSerials(dir *os.File, name string) ([]string, error) {
	f, size, err := openFile(dir, name)
	if err != nil {
		return nil, err
	}
	defer f.Close() // only read
	if size > maxSerialsFile {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrSerials, size, maxSerialsFile)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxSerialsFile))
	if err != nil {
		return nil, err
	}
	return ParseSerials(b)
}

// ParseSerials parses a list of serial numbers: one a line, of printable ASCII; spaces around it do not count, and neither do empty lines
// and what follows a number sign. Line ends and the byte order mark are those of any editor. The result is not nil unless there is an
// error, which is ErrSerials.
func ParseSerials(b []byte) ([]string, error) {
	list := []string{}
	if len(b) > maxSerialsFile {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrSerials, len(b), maxSerialsFile)
	}
	b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
	n := 0
	for line := range strings.Lines(strings.ReplaceAll(string(b), "\r", "\n")) {
		n++
		serial, _, _ := strings.Cut(line, "#")
		if serial = strings.TrimSpace(serial); serial == "" {
			continue
		}
		if err := CheckSerial(serial); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if len(list) == maxSerials {
			return nil, fmt.Errorf("%w: more than %d", ErrSerials, maxSerials)
		}
		list = append(list, serial)
	}
	return list, nil
}

// CheckSerial returns ErrSerials unless s can stand in a list.
func CheckSerial(s string) error {
	if s == "" || len(s) > maxSerial || strings.TrimSpace(s) != s || strings.Contains(s, "#") {
		return fmt.Errorf("%w: %.40q: want 1 to %d characters without # or spaces around them", ErrSerials, s, maxSerial)
	}
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' {
			return fmt.Errorf("%w: %.40q: want printable ASCII", ErrSerials, s)
		}
	}
	return nil
}
