package artifact

import (
	"archive/tar"
	"fmt"
	"io"
	"strings"
)

const (
	block = 512
	// maxTail bounds the zeros after the end of an inner archive: no sum covers them, and a compressed stream makes terabytes of
	// them from nothing. GNU tar writes less than 10 KiB. Those after the outer archive are real bytes of a real file.
	maxTail = 1 << 20
)

// A tally stands beneath archive/tar and sees what that does not tell: bytes in the padding, an end without its two zero blocks,
// and whether it was the source that failed.
type tally struct {
	r           io.Reader
	n           int64 // bytes read
	pad, padEnd int64 // offsets between which all must be zero
	dirty       bool  // it was not
	short       bool  // a read found nothing left
	err         error // the source failed
	tee         io.Writer
}

func (t *tally) Read(b []byte) (int, error) {
	if t.err != nil {
		return 0, t.err
	}
	n, err := t.r.Read(b)
	t.look(b[:n])
	if t.tee != nil && n > 0 {
		if _, werr := t.tee.Write(b[:n]); werr != nil {
			t.err = werr
			return n, werr
		}
	}
	if err == io.EOF && n > 0 {
		err = nil // The last bytes may come together with the end; only a read that finds nothing is short.
	}
	if err == io.EOF {
		t.short = true
	} else if err != nil {
		t.err = err
	}
	return n, err
}

// look checks the part of b that is padding.
func (t *tally) look(b []byte) {
	from, to := max(t.pad-t.n, 0), min(t.padEnd-t.n, int64(len(b)))
	for ; from < to; from++ {
		t.dirty = t.dirty || b[from] != 0
	}
	t.n += int64(len(b))
}

// members walks over a tar archive more strictly than archive/tar does.
type members struct {
	src  *tally
	tar  *tar.Reader
	tail int64 // how many zeros may follow the end; negative for any number
}

func newMembers(r io.Reader, tail int64) *members {
	src := &tally{r: r}
	return &members{src: src, tar: tar.NewReader(src), tail: tail}
}

// next returns the next member, which is a regular file, or io.EOF once the archive has ended as an archive must.
func (m *members) next() (*tar.Header, error) {
	h, err := m.tar.Next()
	if m.src.dirty {
		return nil, malformed("a byte of the padding before offset %d is not zero", m.src.padEnd)
	}
	if err == io.EOF {
		return nil, m.end()
	}
	if err != nil {
		return nil, m.fault(err)
	}
	if err := plain(h); err != nil {
		return nil, fmt.Errorf("%.120q: %w", h.Name, err)
	}
	m.src.pad = m.src.n + h.Size
	m.src.padEnd = m.src.n + (h.Size+block-1)&^(block-1)
	return h, nil
}

// Read reads the content of the current member. The end never comes together with bytes: the xz decoder would take what it has in hand
// then for all there is, and not look at what stands behind the first stream.
func (m *members) Read(b []byte) (int, error) {
	n, err := m.tar.Read(b)
	switch {
	case err == io.EOF && n > 0:
		err = nil
	case err != nil && err != io.EOF:
		err = m.fault(err)
	}
	return n, err
}

// all reads the current member, of size bytes, which may be at most limit.
func (m *members) all(h *tar.Header, limit int64) ([]byte, error) {
	if h.Size > limit {
		return nil, fmt.Errorf("%s: %w: %d bytes, at most %d", h.Name, ErrLimit, h.Size, limit)
	}
	b := make([]byte, h.Size)
	if _, err := io.ReadFull(m.tar, b); err != nil {
		return nil, fmt.Errorf("%s: %w", h.Name, m.fault(err))
	}
	return b, nil
}

// fault is err, or what the source said if it was the source.
func (m *members) fault(err error) error {
	if m.src.err != nil {
		return m.src.err
	}
	if m.src.short {
		return ErrTruncated // whatever a decompressor made of it
	}
	return classify(err)
}

// end checks what follows the last member. archive/tar does without the two blocks of zeros, and ignores what is behind them.
func (m *members) end() error {
	if m.src.short {
		return fmt.Errorf("%w: the end of the archive is missing", ErrTruncated)
	}
	buf := make([]byte, 8<<10)
	for tail := int64(0); ; {
		n, err := m.src.Read(buf)
		for i, c := range buf[:n] {
			if c != 0 {
				return malformed("byte %d, after the end of the archive, is not zero", m.src.n-int64(n-i))
			}
		}
		if tail += int64(n); m.tail >= 0 && tail > m.tail {
			return fmt.Errorf("%w: more than %d bytes after the end of the archive", ErrLimit, m.tail)
		}
		if err == io.EOF {
			return io.EOF
		}
		if err != nil {
			return m.fault(err)
		}
	}
}

// plain refuses everything but a regular file whose size is what the archive holds of it.
func plain(h *tar.Header) error {
	if h.Typeflag != tar.TypeReg {
		return malformed("not a regular file (type %q)", h.Typeflag)
	}
	for k := range h.PAXRecords {
		if strings.HasPrefix(k, "GNU.sparse.") {
			return malformed("a sparse file")
		}
	}
	// Two sizes are one too many: a PAX record is for what eleven octal digits do not hold.
	if _, ok := h.PAXRecords["size"]; ok && h.Size < 1<<33 {
		return malformed("its size is in a PAX record and would fit the header")
	}
	return nil
}
