package partition

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// A Mount is one mounted file system, as the kernel lists it.
type Mount struct {
	Point    string // where it is mounted
	Source   string // what is mounted, in its own file system's words
	Type     string // ext4, overlay, nfs4, …
	ReadOnly bool   // the mount or the whole file system

	id, parent int
	dev        devnum
	super      []string // options of the file system
}

// MountOf returns the mount that holds path, mounts over mounts considered. Of
// a path that does not exist, what exists of it counts.
func (h Host) MountOf(path string) (Mount, error) {
	ms, err := h.mounts()
	if err != nil {
		return Mount{}, err
	}
	m, ok := ms.holding(resolve(path))
	if !ok {
		return Mount{}, fmt.Errorf("find mount of %s: no root mount in %s", path, h.proc("self/mountinfo"))
	}
	return m, nil
}

// resolve makes path absolute and follows its symlinks as far as it exists.
func resolve(path string) string {
	abs, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	rest := ""
	for dir := abs; ; dir = filepath.Dir(dir) {
		if real, err := filepath.EvalSymlinks(dir); err == nil {
			return filepath.Join(real, rest)
		}
		if dir == "/" {
			return abs
		}
		rest = filepath.Join(filepath.Base(dir), rest)
	}
}

// mountTable is the mounts of one namespace in the kernel's order.
type mountTable []Mount

func (h Host) mounts() (mountTable, error) {
	b, err := os.ReadFile(h.proc("self/mountinfo"))
	if err != nil {
		return nil, fmt.Errorf("read mounts: %w", err)
	}
	var ms mountTable
	for line := range strings.Lines(string(b)) {
		m, err := parseMount(line)
		if err != nil {
			return nil, fmt.Errorf("read mounts: %w", err)
		}
		ms = append(ms, m)
	}
	return ms, nil
}

// parseMount reads one line of mountinfo (proc_pid_mountinfo(5)):
//
//	36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
//	id parent dev root point options optional… - type source super
func parseMount(line string) (Mount, error) {
	left, right, ok := strings.Cut(strings.TrimRight(line, "\n"), " - ")
	l, r := strings.Split(left, " "), strings.Split(right, " ")
	if !ok || len(l) < 6 || len(r) < 3 {
		return Mount{}, fmt.Errorf("mount %q: not a line of mountinfo", line)
	}
	id, err1 := strconv.Atoi(l[0])
	parent, err2 := strconv.Atoi(l[1])
	dev, err3 := parseDevnum(l[2])
	for _, err := range []error{err1, err2, err3} {
		if err != nil {
			return Mount{}, fmt.Errorf("mount %q: %w", line, err)
		}
	}
	m := Mount{
		Point: unescape(l[4]), Type: r[0], Source: unescape(r[1]),
		id: id, parent: parent, dev: dev,
		super: splitOptions(r[2]),
	}
	m.ReadOnly = has(strings.Split(l[5], ","), "ro") || has(m.super, "ro")
	return m, nil
}

func has(list []string, s string) bool {
	for _, e := range list {
		if e == s {
			return true
		}
	}
	return false
}

// unescape undoes the kernel's octal escapes of space, tab, newline, backslash
// and what a file system adds to them.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// splitOptions splits at commas that no backslash protects and undoes the
// octal escapes of each option.
func splitOptions(s string) []string {
	var out []string
	for _, o := range splitEscaped(s, ',') {
		out = append(out, unescape(o))
	}
	return out
}

func splitEscaped(s string, sep byte) []string {
	var out []string
	start := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case sep:
			out = append(out, s[start:i])
			start = i + 1
		}
	}
	return append(out, s[start:])
}

// root returns the mount that "/" means: the one whose parent is not in this
// namespace, and then whatever is mounted over it.
func (ms mountTable) root() (Mount, bool) {
	ids := map[int]bool{}
	for _, m := range ms {
		ids[m.id] = true
	}
	for _, m := range ms {
		if m.Point == "/" && (!ids[m.parent] || m.parent == m.id) {
			return ms.over(m, "/"), true
		}
	}
	return Mount{}, false
}

// holding returns the mount that path is in.
func (ms mountTable) holding(path string) (Mount, bool) {
	m, ok := ms.root()
	if !ok {
		return Mount{}, false
	}
	return ms.over(m, path), true
}

// over descends from m through the mounts upon it that path passes. Of two on
// the same parent the one nearer to the root hides the other.
func (ms mountTable) over(m Mount, path string) Mount {
	for range ms {
		var next *Mount
		for i, c := range ms {
			if c.parent != m.id || c.id == m.id || !within(path, c.Point) {
				continue
			}
			if next == nil || len(c.Point) < len(next.Point) {
				next = &ms[i]
			}
		}
		if next == nil {
			return m
		}
		m = *next
	}
	return m
}

// within reports whether path is dir or lies in it.
func within(path, dir string) bool {
	return dir == "/" || path == dir || strings.HasPrefix(path, dir+"/")
}

// layers returns the folders an overlay is made of, in the paths of whoever
// mounted it: what it shows, and where it keeps its changes.
func (m Mount) layers() (lower []string, upper string) {
	for _, o := range m.super {
		key, v, _ := strings.Cut(o, "=")
		switch key {
		case "lowerdir", "lowerdir+", "datadir+":
			for _, d := range splitEscaped(v, ':') {
				if d != "" { // "::" precedes data-only layers
					lower = append(lower, strings.ReplaceAll(d, `\`, ""))
				}
			}
		case "upperdir":
			upper = strings.ReplaceAll(v, `\`, "")
		}
	}
	return lower, upper
}
