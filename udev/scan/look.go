package scan

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/plimsoll-ota/plimsoll/artifact"
)

const (
	// maxHead is what is remembered of an artifact: the largest header that the format allows, and what stands before it. What does not
	// fit could only be padding that nobody needs, without end.
	maxHead = 17 << 20
	// maxBehind is what may follow the end of an artifact. Tools fill up the last record of a tar archive, of 10 KiB; a file system
	// fills up any file, at no cost to who made the stick, and each zero would have to be read.
	maxBehind = 1 << 20
)

// errClosed is a bug of the caller that is not worth a panic.
var errClosed = errors.New("read of an artifact after Close")

// A Candidate is an artifact whose header is trusted. Of its payload nothing was read yet. It holds the bytes of its header in memory,
// and its file open, until Close.
type Candidate struct {
	Name     string // printable
	Size     int64  // of the file
	Header   *artifact.Header
	Manifest artifact.Sum // names the content of the artifact

	file   io.ReaderAt
	trust  artifact.Verifier
	source io.Reader
	close  func() error
}

// Look reads the header of the artifact in file, which has size bytes, and returns it if v trusts it. file is read front to back, and no
// byte twice, unless there is an error: what it says of a refused file comes from Explain, and its errors are those. file must stay open
// for as long as the Candidate is used.
func Look(file io.ReaderAt, size int64, v artifact.Verifier) (*Candidate, error) {
	head := &memory{r: io.NewSectionReader(file, 0, size)}
	r, err := artifact.Open(head, v)
	if err == nil {
		err = endsRight(head.b.Bytes(), r.Header(), size)
	}
	if err != nil {
		return nil, Explain(file, size, err)
	}
	read := int64(head.b.Len())
	return &Candidate{
		Size: size, Header: r.Header(), Manifest: r.ManifestSum(), file: file, trust: v,
		source: io.MultiReader(&head.b, io.NewSectionReader(file, read, size-read)),
		close:  func() error { return nil },
	}, nil
}

// Source returns the artifact from its first byte on: what Look read, from memory, and then the rest of the file. It is one reader, however
// often it is asked for, so that no byte of the file is read twice. After an error of it see [Candidate.Explain].
func (c *Candidate) Source() io.Reader { return c.source }

// Version returns the signed version for people to read: printable, and of bounded length; "" if there is none. It is that of
// plimsoll.version, else that of rootfs-image.version. What is newer is for install to say.
func (c *Candidate) Version() string { return VersionOf(c.Header) }

// VersionOf is [Candidate.Version] of any header.
func VersionOf(h *artifact.Header) string {
	v, ok := h.Provides["plimsoll.version"]
	if !ok {
		v = h.Provides["rootfs-image.version"]
	}
	return Printable(v)
}

// Close forgets the header's bytes, and closes the file if Look opened it.
func (c *Candidate) Close() error {
	c.source = closed{}
	return c.close()
}

// Explain is the function of that name, for an error that came while the Source was read.
func (c *Candidate) Explain(err error) error { return Explain(c.file, c.Size, err) }

// Verify reads the Source to its end and verifies all of the artifact, as an installation would: nil says that it is whole. Its errors are
// those of Explain. through, unless it is nil, stands between the file and the verifying, to count, or to end it early.
func (c *Candidate) Verify(through func(io.Reader) io.Reader) error {
	src := c.source
	if through != nil {
		src = through(src)
	}
	if _, _, err := Read(src, c.trust); err != nil {
		return c.Explain(err)
	}
	return nil
}

// Read reads an artifact to its end and verifies all of it, as a device does that installs it. nil says that it is whole, and that v trusts
// it; nothing that is returned may be used after an error.
func Read(src io.Reader, v artifact.Verifier) (*artifact.Header, artifact.Sum, error) {
	r, err := artifact.Open(src, v)
	for err == nil {
		var p *artifact.Payload
		if p, err = r.Next(); err == nil {
			_, err = io.Copy(io.Discard, p)
		}
	}
	if err != io.EOF {
		return nil, artifact.Sum{}, err
	}
	return r.Header(), r.ManifestSum(), nil
}

// endsRight compares the size of a file with where the artifact in it ends, as its header b says.
func endsRight(b []byte, h *artifact.Header, size int64) error {
	if h.Type == "" {
		return nil // Without a payload all of it was read, and checked.
	}
	end, ok := endOf(bytes.NewReader(b))
	switch {
	case !ok: // after the header there were zeros only, where a payload belongs
		return fmt.Errorf("%w: %w: the payload is missing", ErrUnfinished, artifact.ErrFormat)
	case size < end:
		return fmt.Errorf("%w: %w: the file has %d bytes, and the artifact %d", ErrUnfinished, artifact.ErrTruncated, size, end)
	case size-end > maxBehind:
		return fmt.Errorf("%w: %d bytes after the end of the artifact, at most %d", artifact.ErrLimit, size-end, maxBehind)
	}
	return nil
}

// A memory is a reader that remembers what it read.
type memory struct {
	r io.Reader
	b bytes.Buffer
}

func (m *memory) Read(b []byte) (int, error) {
	room := maxHead - m.b.Len()
	if room == 0 {
		return 0, fmt.Errorf("%w: more than %d bytes before the payload", artifact.ErrLimit, maxHead)
	}
	n, err := m.r.Read(b[:min(len(b), room)])
	m.b.Write(b[:n]) // never fails
	return n, err
}

// closed is the Source after Close.
type closed struct{}

func (closed) Read([]byte) (int, error) { return 0, errClosed }
