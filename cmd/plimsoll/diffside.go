package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/plimsoll-ota/plimsoll/artifact"
	"github.com/plimsoll-ota/plimsoll/partition/files"
)

// A side is one of two artifacts that are compared.
type side struct {
	name    string
	src     io.ReadCloser
	r       *artifact.Reader
	scripts map[string]scriptText
	files   map[string]payloadFile
}

// A scriptText is a state script, with what it says if that is short and text.
type scriptText struct {
	artifact.Script
	text []byte
}

func (s scriptText) fields() fields { return fields{"size": s.Size, "sha256": s.Sum} }

// maxDiffText is how long a text may be whose lines are compared.
const maxDiffText = 64 << 10

// A payloadFile is one of the payload. Its image is where it was unpacked to, ""
// if it was not.
type payloadFile struct {
	size  int64
	sum   artifact.Sum
	image string
}

func (p payloadFile) fields() fields { return fields{"size": p.size, "sha256": p.sum} }

// openSide reads an artifact up to its payload. Close src.
func (a *app) openSide(ctx context.Context, path string) (*side, error) {
	src, name, err := a.open(ctx, path)
	if err != nil {
		return nil, err
	}
	s := &side{name: name, src: src, scripts: map[string]scriptText{}, files: map[string]payloadFile{}}
	if s.r, err = artifact.Open(src, anybody{}); err == nil {
		err = s.r.Scripts(s.script)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", name, err), src.Close())
	}
	return s, nil
}

func (s *side) script(script artifact.Script, text io.Reader) error {
	t := scriptText{Script: script}
	if script.Size <= maxDiffText {
		b, err := io.ReadAll(text)
		if err != nil {
			return err
		}
		if isText(b) {
			t.text = b
			if b == nil {
				t.text = []byte{}
			}
		}
	}
	s.scripts[script.Name] = t
	return nil
}

func isText(b []byte) bool { return utf8.Valid(b) && !bytes.ContainsRune(b, 0) }

// next returns the next file of the payload, nil after the last.
func (s *side) next() (*artifact.Payload, error) {
	p, err := s.r.Next()
	if err == io.EOF {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.name, err)
	}
	return p, nil
}

// take reads a file of the payload to its end, and so verifies it. An image that
// is to be kept goes to a file whose name begins with path.
func (s *side) take(path string, p *artifact.Payload, keep bool) error {
	if p == nil {
		return nil
	}
	f := payloadFile{size: p.Size, sum: p.Sum}
	w := &imageWriter{path: fmt.Sprintf("%s%d", path, len(s.files)), drop: !keep}
	_, err := p.WriteTo(w)
	if err = errors.Join(err, w.close(p.Size)); err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	if !w.drop {
		f.image = w.path
	}
	s.files[p.Name] = f
	return nil
}

// An imageWriter keeps what it is given if that is an image of ext2, ext3 or ext4.
// Where there are zeros it leaves holes.
type imageWriter struct {
	path string
	drop bool
	f    *os.File
	at   int64
}

func (w *imageWriter) Write(b []byte) (int, error) {
	if w.at == 0 && !w.drop {
		w.drop = !files.IsExt(b)
	}
	if w.drop {
		w.at += int64(len(b))
		return len(b), nil
	}
	if w.f == nil {
		f, err := os.OpenFile(w.path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return 0, err
		}
		w.f = f
	}
	const grain = 32 << 10
	for off := 0; off < len(b); off += grain {
		piece := b[off:min(off+grain, len(b))]
		if !allZero(piece) {
			if _, err := w.f.WriteAt(piece, w.at+int64(off)); err != nil {
				return off, err
			}
		}
	}
	w.at += int64(len(b))
	return len(b), nil
}

var zeroPiece [32 << 10]byte

func allZero(b []byte) bool { return bytes.Equal(b, zeroPiece[:len(b)]) }

// close ends the file, which may end in a hole.
func (w *imageWriter) close(size int64) error {
	if w.f == nil {
		w.drop = true
		return nil
	}
	return errors.Join(w.f.Truncate(size), w.f.Close())
}

// A headerField is one of the header: a text, or values by key. A list is keys
// without values.
type headerField struct {
	name, text string
	values     map[string]string
}

// fields are those of the header, and what can be seen of the container.
func (s *side) fields() []headerField {
	h := s.r.Header()
	list := func(l []string) map[string]string {
		m := map[string]string{}
		for _, v := range l {
			m[v] = ""
		}
		return m
	}
	depends := map[string]string{}
	for k, v := range h.Depends {
		depends[k] = strings.Join(v, ", ")
	}
	clears := list(h.Clears)
	if !h.HasClears {
		clears["(everything)"] = ""
	}
	signed, compression := "no", ""
	for _, m := range s.r.Members() {
		if m.Name == "manifest.sig" {
			signed = "yes"
		}
		if strings.HasPrefix(m.Name, "data/") {
			compression = strings.TrimPrefix(filepath.Ext(m.Name), ".")
		}
	}
	if compression == "tar" {
		compression = "none"
	}
	return []headerField{
		{name: "artifact_name", text: h.Name}, {name: "artifact_group", text: h.Group}, {name: "device_types", values: list(h.DeviceTypes)},
		{name: "depends_artifacts", values: list(h.DependsNames)}, {name: "depends_groups", values: list(h.DependsGroups)},
		{name: "type", text: h.Type}, {name: "provides", values: h.Provides}, {name: "depends", values: depends},
		{name: "clears_provides", values: clears}, {name: "meta_data", text: string(h.MetaData)},
		{name: "signed", text: signed}, {name: "compression", text: compression},
	}
}

// legible is a name or value that may be anybody's, as it is if it can be printed.
func legible(s string) string {
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return fmt.Sprintf("%q", s)
	}
	return s
}

// printed is legible for a line of text, which may have tabs.
func printed(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) && r != '\t' }) {
		return fmt.Sprintf("%q", s)
	}
	return s
}

func orNone(s string) string {
	if s == "" {
		return "(none)"
	}
	return legible(s)
}
