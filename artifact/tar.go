package artifact

import (
	"archive/tar"
	"fmt"
	"io"
	"strings"
)

const (
	block = 512
	// No sum covers what stands between the members of an archive, and behind the last. A compressed stream makes terabytes of it from
	// nothing, and a sparse file or a stick that lies about its size does, too; archive/tar reads all of it before it returns.
	//
	// maxGap bounds the padding, the extension records and the header that stand between the contents of two members. Mender's tool and
	// this package write 2 KiB for a member of 8 GiB. The largest that a record of GNU tar or bsdtar may hold for a good reason is an extended
	// attribute of Linux, of 64 KiB at most.
	maxGap = 128 << 10
	// maxTail bounds the zeros behind the end of an archive. GNU tar writes less than 10 KiB.
	maxTail = 1 << 20
)

// A tally stands beneath archive/tar and sees what that does not tell: bytes in the padding, an end without its two zero blocks,
// and whether it was the source that failed. It ends what would not end.
type tally struct {
	r           io.Reader
	n           int64 // bytes read
	limit       int64 // of n
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
	if err == nil && t.n > t.limit {
		err = fmt.Errorf("%w: no end of what belongs to no member, up to byte %d", ErrLimit, t.n)
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
	src *tally
	tar *tar.Reader
}

func newMembers(r io.Reader) *members {
	src := &tally{r: r, limit: maxGap}
	return &members{src: src, tar: tar.NewReader(src)}
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
	m.src.limit = m.src.padEnd + maxGap
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
	m.src.limit = m.src.n + maxTail
	for buf := make([]byte, 8<<10); ; {
		n, err := m.src.Read(buf)
		for i, c := range buf[:n] {
			if c != 0 {
				return malformed("byte %d, after the end of the archive, is not zero", m.src.n-int64(n-i))
			}
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
