package volume

import (
	"encoding/binary"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// labelLimit bounds what is kept of a label, in characters. No file system
// here has longer ones that people read.
const labelLimit = 64

// printable makes a line of at most labelLimit characters of bytes that anybody
// may have chosen: it ends at the first zero, what does not print becomes "?"
// (line ends, escapes, marks that turn the direction of writing), and spaces
// around it go.
func printable(b []byte) string {
	s := string(b)
	if i := strings.IndexByte(s, 0); i >= 0 {
		s = s[:i]
	}
	var out strings.Builder
	n := 0
	for _, r := range s {
		if n++; n > labelLimit {
			break
		}
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			r = '?'
		}
		out.WriteRune(r)
	}
	return strings.TrimSpace(out.String())
}

// printable16 is printable for UTF-16, little endian.
func printable16(b []byte) string {
	var units []uint16
	for ; len(b) >= 2; b = b[2:] {
		u := binary.LittleEndian.Uint16(b)
		if u == 0 {
			break
		}
		units = append(units, u)
	}
	return printable([]byte(string(utf16.Decode(units))))
}

// ascii is printable for a code page that nobody names: only what all share.
func ascii(b []byte) string {
	clean := make([]byte, len(b))
	for i, c := range b {
		if clean[i] = c; c >= 0x80 {
			clean[i] = '?'
		}
	}
	return printable(clean)
}

// uuid writes 16 bytes in the usual groups; no bytes, or all zero, have none.
func uuid(b []byte) string {
	if len(b) != 16 || zero(b) {
		return ""
	}
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// serial writes a FAT's number as other systems do.
func serial(n uint32) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%04X-%04X", n>>16, n&0xffff)
}

func zero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
