package board

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
)

// A Size is a number of bytes, or a place counted in them. In a profile and on
// the command line it is a number with or without a unit: "64MiB", "0x4000".
type Size int64

var units = []string{"KiB", "MiB", "GiB", "TiB"}

// Set reads a size: it is what a flag calls.
func (s *Size) Set(text string) error {
	digits, shift := strings.TrimSpace(text), 0
	for i, u := range units {
		if d, ok := strings.CutSuffix(digits, u); ok {
			digits, shift = strings.TrimSpace(d), 10*(i+1)
			break
		}
	}
	n, err := strconv.ParseUint(digits, 0, 63)
	if err != nil || bits.Len64(n)+shift > 63 {
		return fmt.Errorf("%q is not a size: bytes, or a number with KiB, MiB, GiB or TiB", text)
	}
	*s = Size(n << shift)
	return nil
}

// Type names the flag's value in the help.
func (Size) Type() string { return "size" }

// String writes the size with the largest unit that leaves a whole number.
func (s Size) String() string {
	unit := ""
	for _, u := range units {
		if s == 0 || s%1024 != 0 {
			break
		}
		s, unit = s/1024, u
	}
	return strconv.FormatInt(int64(s), 10) + unit
}

// UnmarshalTOML takes an integer or a string.
func (s *Size) UnmarshalTOML(v any) error {
	switch v := v.(type) {
	case int64:
		*s = Size(v)
		return nil
	case string:
		return s.Set(v)
	}
	return fmt.Errorf("a size is a number or a string, not %v", v)
}
