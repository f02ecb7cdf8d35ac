package artifact

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"strings"
)

// openHeader returns the members of the header, of which b is all bytes, compressed as name says.
func openHeader(name string, b []byte) (*members, error) {
	d, err := newDecoder(name, bytes.NewReader(b), classify)
	if err != nil {
		return nil, err
	}
	// One more byte than allowed, so that too long and just long enough are two things.
	return newMembers(&limitReader{r: d, left: maxHeader}), nil
}

// parseHeader parses the header member, whose sum was compared before.
func parseHeader(name string, b []byte, augment bool) (*Header, error) {
	m, err := openHeader(name, b)
	if err != nil {
		return nil, err
	}
	h := new(Header)
	at, err := h.parseMembers(m, augment)
	if err != nil && at != "" {
		err = fmt.Errorf("%.120s: %w", at, err)
	}
	return h, err
}

// parseMembers parses header-info, scripts, type-info and meta-data, in this order. It returns the member it failed at.
func (h *Header) parseMembers(m *members, augment bool) (at string, err error) {
	t, err := expect(m, "header-info")
	if err != nil {
		return "", err
	}
	if at, err = t.Name, h.read(m, t, func(b []byte) error { return h.parseInfo(b, augment) }); err != nil {
		return at, err
	}
	t, err = m.next()
	for ; err == nil && strings.HasPrefix(t.Name, "scripts/"); t, err = m.next() {
		if augment {
			return t.Name, malformed("an augmented header has no scripts")
		}
		if err := h.readScript(m, t); err != nil {
			return t.Name, err
		}
	}
	const typeInfo, metaData = "headers/0000/type-info", "headers/0000/meta-data"
	if err == io.EOF || err == nil && t.Name != typeInfo {
		return "", malformed("want %s, have %.120q", typeInfo, nameOf(t))
	}
	if err != nil {
		return "", err
	}
	if err := h.read(m, t, h.parseTypeInfo); err != nil {
		return typeInfo, err
	}
	t, err = m.next()
	if err == nil && t.Name == metaData {
		if err := h.read(m, t, h.parseMetaData); err != nil {
			return metaData, err
		}
		t, err = m.next()
	}
	if err == io.EOF {
		return "", nil
	}
	if err == nil {
		err = malformed("%.120q where the header ends", t.Name)
	}
	return "", err
}

// read reads the current member and parses it.
func (h *Header) read(m *members, t *tar.Header, parse func([]byte) error) error {
	b, err := m.all(t, maxHeader)
	if err != nil {
		return err
	}
	return parse(b)
}

// readScript adds a script to h, by its sum: what it says is for the device that runs it.
func (h *Header) readScript(m *members, t *tar.Header) error {
	name := strings.TrimPrefix(t.Name, "scripts/")
	if !scriptName().MatchString(name) {
		return malformed("not the name of a state script")
	}
	for _, s := range h.Scripts {
		if s.Name == name {
			return malformed("stands twice")
		}
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, m); err != nil {
		return err
	}
	h.Scripts = append(h.Scripts, Script{Name: name, Size: t.Size, Sum: Sum(sum.Sum(nil))})
	return nil
}

// scripts hands out the scripts of a header that was parsed before.
func scripts(name string, b []byte, f func(s Script, r io.Reader) error, listed []Script) error {
	m, err := openHeader(name, b)
	if err != nil {
		return err
	}
	for _, s := range listed {
		t, err := m.next()
		for ; err == nil && t.Name != "scripts/"+s.Name; t, err = m.next() {
		}
		if err != nil {
			return fmt.Errorf("scripts/%s: %w", s.Name, err)
		}
		if err := f(s, m); err != nil {
			return err
		}
	}
	return nil
}

// expect returns the next member, which must be name.
func expect(m *members, name string) (*tar.Header, error) {
	t, err := m.next()
	if err != nil && err != io.EOF {
		return nil, err
	}
	if err == io.EOF || t.Name != name {
		return nil, malformed("want %s, have %.120q", name, nameOf(t))
	}
	return t, nil
}

func nameOf(t *tar.Header) string {
	if t == nil {
		return "the end"
	}
	return t.Name
}

// A limitReader is an io.LimitedReader that says so.
type limitReader struct {
	r    io.Reader
	left int64
}

func (l *limitReader) Read(b []byte) (int, error) {
	if int64(len(b)) > l.left+1 {
		b = b[:l.left+1]
	}
	n, err := l.r.Read(b)
	if l.left -= int64(n); l.left < 0 {
		return 0, fmt.Errorf("%w: more than %d bytes decompressed", ErrLimit, maxHeader)
	}
	return n, err
}
