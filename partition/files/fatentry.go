package files

import (
	"encoding/binary"
	"io/fs"
	"path"
	"strings"
	"time"
	"unicode/utf16"
)

// entries are the files of a folder.
func entries(dir string, b []byte) []Info {
	var all []Info
	var long longName
	for ; len(b) >= 32 && b[0] != 0; b = b[32:] {
		e := b[:32]
		switch {
		case e[0] == 0xe5: // removed
			long = longName{}
			continue
		case e[11]&0x3f == 0x0f:
			long.add(e)
			continue
		}
		name := long.name(e)
		long = longName{}
		if e[11]&0x08 != 0 || name == "." || name == ".." { // the label
			continue
		}
		i := Info{Path: path.Join(dir, name), Mode: 0o644, ModTime: dosTime(e[22:26])}
		i.node = int64(binary.LittleEndian.Uint16(e[26:])) | int64(binary.LittleEndian.Uint16(e[20:]))<<16
		if i.Size = int64(binary.LittleEndian.Uint32(e[28:])); e[11]&0x10 != 0 {
			i.Mode, i.Size = fs.ModeDir|0o755, 0
		}
		all = append(all, i)
	}
	return all
}

// A longName is collected from the entries in front of the one that it names.
type longName struct {
	parts [][]uint16 // the last one first
	want  int        // how many are still to come
	sum   byte
}

func (l *longName) add(e []byte) {
	n := int(e[0] & 0x1f)
	if e[0]&0x40 != 0 {
		*l = longName{want: n, sum: e[13]}
	}
	if n == 0 || n != l.want || n > 20 || e[13] != l.sum {
		*l = longName{}
		return
	}
	l.want--
	var part []uint16
	for _, at := range []int{1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30} {
		u := binary.LittleEndian.Uint16(e[at:])
		if u == 0 {
			break
		}
		part = append(part, u)
	}
	l.parts = append(l.parts, part)
}

// name is the long one if it belongs to e, else the short one.
func (l *longName) name(e []byte) string {
	var sum byte
	for _, c := range e[:11] {
		sum = sum>>1 | sum<<7
		sum += c
	}
	if len(l.parts) > 0 && l.want == 0 && l.sum == sum {
		var units []uint16
		for k := len(l.parts) - 1; k >= 0; k-- {
			units = append(units, l.parts[k]...)
		}
		if name := string(utf16.Decode(units)); !strings.Contains(name, "/") {
			return name
		}
	}
	return shortName(e)
}

// shortName is a name of eight and three. Two bits say which of them is shown in
// lower case.
func shortName(e []byte) string {
	text := func(b []byte, lower bool) string {
		var s strings.Builder
		for _, c := range b {
			if c < 0x20 || c >= 0x7f || c == '/' {
				c = '_'
			}
			s.WriteByte(c)
		}
		if lower {
			return strings.ToLower(strings.TrimRight(s.String(), " "))
		}
		return strings.TrimRight(s.String(), " ")
	}
	base := text(e[:8], e[12]&0x08 != 0)
	if ext := text(e[8:11], e[12]&0x10 != 0); ext != "" {
		return base + "." + ext
	}
	return base
}

// dosTime is a time in steps of two seconds, and a date.
func dosTime(b []byte) time.Time {
	t, d := int(binary.LittleEndian.Uint16(b)), int(binary.LittleEndian.Uint16(b[2:]))
	return time.Date(1980+d>>9, time.Month(d>>5&15), d&31, t>>11, t>>5&63, t&31*2, 0, time.UTC)
}
