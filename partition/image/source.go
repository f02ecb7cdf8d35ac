package image

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/mikelolasagasti/xz"
)

// What a root file system may come as.
const (
	kindFolder = iota
	kindTar
	kindImage
)

// A source is an opened root file system.
type source struct {
	*os.File
	kind   int
	unpack func(io.Reader) (io.Reader, error)

	// Of a tar, while and after its content is read.
	pipe         *io.PipeReader
	done         chan struct{}
	err          error
	files, bytes int64
	attributes   []attribute
	listed       map[string]bool // false: a folder above a member, and no member itself
}

// openSource tells by its first bytes what a file is.
func openSource(path string) (*source, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	s := &source{File: f}
	if err := s.recognize(); err != nil {
		f.Close()
		return nil, err
	}
	return s, nil
}

func (s *source) recognize() error {
	st, err := s.Stat()
	if err != nil {
		return err
	}
	if st.IsDir() {
		s.kind = kindFolder
		return nil
	}
	if !st.Mode().IsRegular() {
		return fmt.Errorf("%w: neither a folder nor a plain file", ErrSource)
	}
	b := make([]byte, 2048)
	n, err := io.ReadFull(io.NewSectionReader(s, 0, int64(len(b))), b)
	if err != nil && err != io.ErrUnexpectedEOF && err != io.EOF {
		return err
	}
	s.kind = kindTar
	switch b = b[:n]; {
	case bytes.HasPrefix(b, []byte{0x1f, 0x8b}):
		s.unpack = func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) }
	case bytes.HasPrefix(b, []byte("\xfd7zXZ\x00")):
		s.unpack = func(r io.Reader) (io.Reader, error) { return xz.NewReader(r, xz.DefaultDictMax) }
	case bytes.HasPrefix(b, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		s.unpack = func(r io.Reader) (io.Reader, error) { return zstd.NewReader(r, zstd.WithDecoderMaxWindow(1<<27)) }
	case n > 262 && string(b[257:262]) == "ustar":
	case n == 2048 && b[0x438] == 0x53 && b[0x439] == 0xef:
		s.kind = kindImage
	default:
		return fmt.Errorf("%w: neither a folder, nor a tar (plain, gzip, xz, zstd), nor an ext4 image", ErrSource)
	}
	return nil
}

// content reads the tar, and notes on its way what tar cannot keep for us:
// fakeroot (1.31) forgets the type of a file whose first change is an extended
// attribute.
func (s *source) content() io.Reader {
	pr, pw := io.Pipe()
	s.pipe = pr
	s.done, s.listed = make(chan struct{}), map[string]bool{}
	go func() {
		defer close(s.done)
		s.err = s.pass(pw)
		pw.CloseWithError(s.err)
	}()
	return pr
}

// finish waits for the end of content, of which no more is read, and returns
// what was wrong with it.
func (s *source) finish() error {
	if s.done == nil {
		return nil
	}
	s.pipe.Close()
	<-s.done
	if errors.Is(s.err, io.ErrClosedPipe) {
		return nil // tar stopped reading, and knows why
	}
	if s.err != nil {
		return fmt.Errorf("%w: %w", ErrSource, s.err)
	}
	return nil
}

func (s *source) pass(w io.Writer) error {
	var r io.Reader = s.File
	if s.unpack != nil {
		var err error
		if r, err = s.unpack(r); err != nil {
			return err
		}
	}
	r = io.TeeReader(r, w)
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		if err == io.EOF {
			_, err = io.Copy(io.Discard, r)
		}
		if h == nil || err != nil {
			return err
		}
		s.files++
		s.bytes += (h.Size + block - 1) / block * block
		name := path.Join("/", h.Name)
		s.listed[name] = true
		for dir := path.Dir(name); dir != "/"; dir = path.Dir(dir) {
			if _, known := s.listed[dir]; !known {
				s.listed[dir] = false
			}
		}
		for key, value := range h.PAXRecords {
			if attr, ok := strings.CutPrefix(key, "SCHILY.xattr."); ok {
				s.attributes = append(s.attributes, attribute{name, attr, value})
			}
		}
	}
}

// An attribute is an extended one of a file.
type attribute struct{ file, name, value string }

// setAttributes gives the files of a file system their extended attributes.
func setAttributes(ctx context.Context, img, work string, t time.Time, attributes []attribute) error {
	slices.SortFunc(attributes, func(a, b attribute) int {
		return cmp.Or(strings.Compare(a.file, b.file), strings.Compare(a.name, b.name))
	})
	var b strings.Builder
	for i, a := range attributes {
		value := filepath.Join(work, fmt.Sprintf("attribute-%d", i))
		if err := os.WriteFile(value, []byte(a.value), 0o600); err != nil {
			return err
		}
		var quoted [3]string
		for j, s := range []string{value, a.file, a.name} {
			q, err := quote(s)
			if err != nil {
				return err
			}
			quoted[j] = q
		}
		fmt.Fprintf(&b, "ea_set -f %s %s %s\n", quoted[0], quoted[1], quoted[2])
	}
	return edit(ctx, img, t, b.String())
}
