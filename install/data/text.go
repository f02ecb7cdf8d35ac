package data

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A text is a name, or what a symbolic link holds: any bytes, as the kernel has
// it. In JSON, whose strings are of characters, "%" and every byte that is part
// of none are written as %XX.
type text string

// MarshalText is what encoding/json calls.
func (t text) MarshalText() ([]byte, error) {
	var b strings.Builder
	for s := string(t); s != ""; {
		r, n := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && n == 1 || r == '%' {
			fmt.Fprintf(&b, "%%%02X", s[0])
		} else {
			b.WriteString(s[:n])
		}
		s = s[n:]
	}
	return []byte(b.String()), nil
}

// UnmarshalText is the reverse of MarshalText.
func (t *text) UnmarshalText(in []byte) error {
	var b strings.Builder
	for s := string(in); s != ""; {
		if s[0] != '%' {
			b.WriteByte(s[0])
			s = s[1:]
			continue
		}
		if len(s) < 3 {
			return fmt.Errorf("%q: %% without two digits", in)
		}
		c, err := strconv.ParseUint(s[1:3], 16, 8)
		if err != nil {
			return fmt.Errorf("%q: %% without two digits", in)
		}
		b.WriteByte(byte(c))
		s = s[3:]
	}
	*t = text(b.String())
	return nil
}
