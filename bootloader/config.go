package bootloader

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// ErrUnsupported is storage that an environment may be read from, perhaps, and
// that plimsoll does not write: raw flash has erase blocks and bad blocks.
var ErrUnsupported = errors.New("not supported for the boot environment")

// maxSize bounds what an fw_env.config may ask a reader to hold.
const maxSize = 16 << 20

// A Location is where one copy of the environment is.
type Location struct {
	Path       string
	Offset     int64 // in bytes; negative: from the end of the device
	Size       int64 // in bytes
	SectorSize int64 // of flash; 0: not given
	Sectors    int64 // of flash; 0: not given
	NoLock     bool  // the device is not locked (flash)
}

func (l Location) String() string { return fmt.Sprintf("%s at %#x", l.Path, l.Offset) }

// flash reports whether l is on raw flash.
func (l Location) flash() bool {
	base := filepath.Base(l.Path)
	return strings.HasPrefix(base, "mtd") || strings.HasPrefix(base, "ubi")
}

// ReadConfig reads an fw_env.config as libubootenv does: a line for each copy,
// one or two of them,
//
//	DEVICE OFFSET SIZE [SECTOR-SIZE [SECTORS [DISABLE-LOCK]]]
//
// with comments after "#". The offset is in C's notation and may be negative,
// which counts from the end of the device; all other numbers are hexadecimal,
// with or without "0x". A UBI volume may leave out the numbers in libubootenv;
// such an environment is ErrUnsupported here.
func ReadConfig(path string) ([]Location, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	copies, err := parseConfig(string(b))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return copies, nil
}

func parseConfig(text string) ([]Location, error) {
	var copies []Location
	n := 0
	for line := range strings.Lines(text) {
		n++
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		l, err := parseLocation(fields)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		copies = append(copies, l)
	}
	switch {
	case len(copies) == 0:
		return nil, errors.New("no environment is configured")
	case len(copies) > 2:
		return nil, fmt.Errorf("%d environments are configured, at most 2 are copies of one", len(copies))
	case len(copies) == 2 && copies[0].Size != copies[1].Size:
		return nil, fmt.Errorf("the copies have %#x and %#x bytes, and must have the same", copies[0].Size, copies[1].Size)
	}
	return copies, nil
}

func parseLocation(fields []string) (Location, error) {
	l := Location{Path: fields[0]}
	if len(fields) < 3 {
		if l.flash() {
			return l, fmt.Errorf("%w: %s is raw flash", ErrUnsupported, l.Path)
		}
		return l, fmt.Errorf("%s: offset and size are needed", l.Path)
	}
	if len(fields) > 6 {
		return l, fmt.Errorf("%s: %d fields, at most 6", l.Path, len(fields))
	}
	var lock int64
	for i, to := range []*int64{&l.Offset, &l.Size, &l.SectorSize, &l.Sectors, &lock} {
		if i+1 >= len(fields) {
			break
		}
		parse := hexadecimal
		if i == 0 {
			parse = anyBase
		}
		v, err := parse(fields[i+1])
		if err != nil {
			return l, fmt.Errorf("%s: %w", l.Path, err)
		}
		*to = v
	}
	l.NoLock = lock != 0
	if l.Size < minSize || l.Size > maxSize {
		return l, fmt.Errorf("%s: size %#x, want %#x to %#x", l.Path, l.Size, minSize, maxSize)
	}
	return l, nil
}

// anyBase reads an offset as C's %lli does: Go's prefixes and underscores are
// not among its bases.
func anyBase(s string) (int64, error) {
	digits := strings.ToLower(s)
	if strings.ContainsAny(digits, "_o") || strings.Contains(digits, "0b") && !strings.Contains(digits, "0x") {
		return 0, fmt.Errorf("%q is not a number", s)
	}
	return strconv.ParseInt(s, 0, 64)
}

// hexadecimal reads a number as C's %zx does, which is how libubootenv and
// U-Boot's own tools read a size: 4000 is 0x4000.
func hexadecimal(s string) (int64, error) {
	v, err := strconv.ParseUint(strings.TrimPrefix(strings.ToLower(s), "0x"), 16, 63)
	return int64(v), err
}
