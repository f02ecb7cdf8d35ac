package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
)

// packageLists are where dpkg and opkg say what is installed, in the same form.
var packageLists = []string{"/var/lib/dpkg/status", "/usr/lib/opkg/status", "/var/lib/opkg/status"}

// maxPackages bounds what a list may have, in bytes.
const maxPackages = 64 << 20

// packages compares the versions of what is installed.
func (d *differ) packages(image string, a, b *tree) error {
	for _, list := range packageLists {
		x, err := a.installed(list)
		if err != nil {
			return fmt.Errorf("%s of %s: %w", image, d.a.name, err)
		}
		y, err := b.installed(list)
		if err != nil {
			return fmt.Errorf("%s of %s: %w", image, d.b.name, err)
		}
		for _, name := range keysOf(x, y) {
			d.pack(image, list, name, x[name], y[name])
		}
	}
	return nil
}

// pack tells of a package that had version a and has b; "" is not installed.
func (d *differ) pack(image, list, name, a, b string) {
	f := fields{"image": image, "database": list, "name": name}
	if a != "" {
		f["a"] = a
	}
	if b != "" {
		f["b"] = b
	}
	section := "packages of " + image
	switch {
	case a == b:
	case a == "":
		f["change"] = "installed"
		d.tell(section, "package", f, "+ %s %s", legible(name), legible(b))
	case b == "":
		f["change"] = "removed"
		d.tell(section, "package", f, "- %s %s", legible(name), legible(a))
	default:
		f["change"] = "upgraded"
		if olderPackage(b, a) {
			f["change"] = "downgraded"
		}
		d.tell(section, "package", f, "~ %s %s -> %s%s", legible(name), legible(a), legible(b), map[bool]string{true: ", which is older"}[f["change"] == "downgraded"])
	}
}

// installed returns the versions of the packages in a list, by name; none if
// there is no list.
func (t *tree) installed(list string) (map[string]string, error) {
	n, ok := t.nodes[list]
	if !ok || !n.Mode.IsRegular() {
		return nil, nil
	}
	if n.Size > maxPackages {
		return nil, fmt.Errorf("%s has %d bytes", list, n.Size)
	}
	versions, err := parsePackages(t.Content(n))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", list, err)
	}
	return versions, nil
}

// parsePackages reads paragraphs of "Field: value". Lines that begin with a blank
// go on with the field before.
func parsePackages(r io.Reader) (map[string]string, error) {
	versions := map[string]string{}
	var p struct{ name, version, status, arch, multi string }
	end := func() {
		words := strings.Fields(p.status)
		if p.name != "" && len(words) == 3 && words[2] == "installed" {
			if p.multi == "same" { // may be there for several architectures
				p.name += ":" + p.arch
			}
			versions[p.name] = p.version
		}
		p.name, p.version, p.status, p.arch, p.multi = "", "", "", "", ""
	}
	s := bufio.NewScanner(r)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		if s.Text() == "" {
			end()
			continue
		}
		field, value, _ := strings.Cut(s.Text(), ":")
		value = strings.TrimSpace(value)
		switch field {
		case "Package":
			p.name = value
		case "Version":
			p.version = value
		case "Status":
			p.status = value
		case "Architecture":
			p.arch = value
		case "Multi-Arch":
			p.multi = value
		}
	}
	end()
	if errors.Is(s.Err(), bufio.ErrTooLong) {
		return nil, errors.New("a line of more than 1 MiB")
	}
	return versions, s.Err()
}

// olderPackage reports whether version a comes before b, as dpkg and opkg have
// it: epoch, version, revision.
func olderPackage(a, b string) bool {
	ea, va, ra := splitVersion(a)
	eb, vb, rb := splitVersion(b)
	for _, c := range []int{compareVersions(ea, eb), compareVersions(va, vb), compareVersions(ra, rb)} {
		if c != 0 {
			return c < 0
		}
	}
	return false
}

func splitVersion(s string) (epoch, version, revision string) {
	epoch, version, ok := strings.Cut(s, ":")
	if !ok {
		epoch, version = "0", s
	}
	if k := strings.LastIndex(version, "-"); k >= 0 {
		version, revision = version[:k], version[k+1:]
	}
	return epoch, version, revision
}

// compareVersions compares what is no digit letter by letter, and digits as
// numbers, by turns.
func compareVersions(a, b string) int {
	for a != "" || b != "" {
		var x, y string
		x, a = span(a, false)
		y, b = span(b, false)
		for i := range max(len(x), len(y)) {
			if d := weight(x, i) - weight(y, i); d != 0 {
				return d
			}
		}
		x, a = span(a, true)
		y, b = span(b, true)
		x, y = strings.TrimLeft(x, "0"), strings.TrimLeft(y, "0")
		if d := len(x) - len(y); d != 0 {
			return d
		}
		if d := strings.Compare(x, y); d != 0 {
			return d
		}
	}
	return 0
}

// span cuts off what is digits, or what is none.
func span(s string, digits bool) (head, rest string) {
	i := strings.IndexFunc(s, func(r rune) bool { return (r >= '0' && r <= '9') != digits })
	if i < 0 {
		i = len(s)
	}
	return s[:i], s[i:]
}

// weight: a tilde comes before the end, that before letters, those before the rest.
func weight(s string, i int) int {
	switch {
	case i >= len(s):
		return 0
	case s[i] == '~':
		return -1
	case s[i] >= 'a' && s[i] <= 'z', s[i] >= 'A' && s[i] <= 'Z':
		return int(s[i])
	}
	return int(s[i]) + 256
}
