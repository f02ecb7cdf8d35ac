package bootloader

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"strings"
)

// What a caller may want to know of an environment.
var (
	// ErrNoCopy: no copy of the environment has a right checksum.
	ErrNoCopy = errors.New("no valid copy of the boot environment")
	// ErrTooLarge: the variables do not fit the environment.
	ErrTooLarge = errors.New("the variables do not fit the boot environment")
	// ErrChecksum: a copy's checksum is wrong.
	ErrChecksum = errors.New("checksum does not match")
)

// Header sizes: the checksum, and with two copies the flags.
const (
	headerSingle    = 4
	headerRedundant = 5
)

// minSize is the least that an environment may have: a header and two NULs.
const minSize = headerRedundant + 2

// An Env is the variables of an environment. A variable that is absent and one
// that is empty are the same thing, as in U-Boot.
type Env map[string]string

// ParseEnv reads one copy of an environment, b being all of it. The checksum
// covers b to its end, padding included. flags is 0 for an environment that is
// not redundant. A wrong checksum is ErrChecksum: a torn write, or another
// geometry than the bootloader's.
func ParseEnv(b []byte, redundant bool) (e Env, flags byte, err error) {
	if len(b) < minSize {
		return nil, 0, fmt.Errorf("environment of %d bytes: at least %d", len(b), minSize)
	}
	data := b[headerSingle:]
	if redundant {
		flags, data = b[headerSingle], b[headerRedundant:]
	}
	if have, want := crc32.ChecksumIEEE(data), binary.LittleEndian.Uint32(b); have != want {
		return nil, 0, fmt.Errorf("environment: %w: have crc32 %08x, want %08x", ErrChecksum, have, want)
	}
	e = Env{}
	for len(data) > 0 && data[0] != 0 {
		entry, rest, ended := bytes.Cut(data, []byte{0})
		if !ended {
			return nil, 0, errors.New("environment: the last variable has no end")
		}
		name, value, _ := strings.Cut(string(entry), "=")
		switch {
		case value == "":
			delete(e, name) // as U-Boot: of a variable stored twice the last one counts
		case name != "":
			e[name] = value
		}
		data = rest
	}
	return e, flags, nil
}

// Encode returns a copy of the environment of exactly size bytes: variables
// sorted by name, the padding zero. An empty variable is left out. ErrTooLarge
// if they do not fit.
func (e Env) Encode(size int, redundant bool, flags byte) ([]byte, error) {
	if size < minSize {
		return nil, fmt.Errorf("environment of %d bytes: at least %d", size, minSize)
	}
	header := headerSingle
	if redundant {
		header = headerRedundant
	}
	b := make([]byte, header, size)
	for _, name := range slices.Sorted(maps.Keys(e)) {
		value := e[name]
		if value == "" {
			continue
		}
		if name == "" || strings.ContainsAny(name, "=\x00") || strings.Contains(value, "\x00") {
			return nil, fmt.Errorf("environment: variable %q cannot be stored", name)
		}
		b = append(b, name+"="+value+"\x00"...)
	}
	if len(b)+1 > size {
		return nil, fmt.Errorf("%w: %d bytes, and there are %d", ErrTooLarge, len(b)+1, size)
	}
	b = b[:size] // zero to its end: it was made so
	if redundant {
		b[headerSingle] = flags
	}
	binary.LittleEndian.PutUint32(b, crc32.ChecksumIEEE(b[header:]))
	return b, nil
}

// newer reports whether, of two valid copies, the second with flags b is
// current instead of the first with flags a: the larger counter, 0 after 255,
// and the first if they are equal.
func newer(a, b byte) bool {
	switch {
	case a == 0xff && b == 0:
		return true
	case a == 0 && b == 0xff:
		return false
	}
	return b > a
}
