package scan

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/plimsoll-ota/plimsoll/artifact"
)

// What is said of a file beside the errors of the package artifact, which stay in the chain. The hint to a person is another one.
var (
	// ErrUnfinished: the copy to the stick was not finished, or the stick was pulled out before it was ejected.
	ErrUnfinished = errors.New("the copy was not finished")
	// ErrRenamed: another kind of file was given the name of an artifact.
	ErrRenamed = errors.New("not an artifact but another kind of file")
)

const (
	block = 512
	// maxMembers bounds the walk over an archive; an artifact has seven members at most.
	maxMembers = 16
	// maxWalk bounds what is read of it: records of any number may stand before a header, and belong to it.
	maxWalk = 1 << 20
	// record is what tools fill up the end of an archive to, with zeros.
	record = 20 * block
	// How much of a payload must be zero at its end to show that it was never written. No compressed stream ends so. One that is not
	// compressed does: with the end of its archive, and perhaps with zeros of the image.
	zeroTail, zeroTailPlain = block, 64 << 10
)

// Explain finds out what an error of reading the artifact in file, of size bytes, means to who made the stick: it is ErrUnfinished or
// ErrRenamed, and err, if the file shows that; else it is err alone. It reads parts of the file again: nothing may come of the file any
// more but a message.
//
// A copy is unfinished if the members of the archive do not end where the file does, or if zeros stand where a member must, or at the
// end of the payload: Windows and cameras reserve the whole file before they write it. A payload that is not compressed can end in many zeros
// of its own; if it is damaged in another place, that is taken for an unfinished copy too, and the remedy is the same.
func Explain(file io.ReaderAt, size int64, err error) error {
	if !explained(err) {
		return err
	}
	first := make([]byte, block)
	n, readErr := file.ReadAt(first, 0)
	if readErr != nil && readErr != io.EOF {
		return err // the stick cannot be read; err says more
	}
	first = first[:min(int64(n), size)]
	if kind := otherKind(first); kind != "" && !errors.Is(err, artifact.ErrUnsigned) {
		return fmt.Errorf("%w: %s: %w", ErrRenamed, kind, err)
	}
	if why := unfinished(file, size, first, err); why != "" {
		return fmt.Errorf("%w: %s: %w", ErrUnfinished, why, err)
	}
	return err
}

// explained reports whether err may mean more. An artifact whose second half is zeros has no signature, as far as a reader sees.
func explained(err error) bool {
	if errors.Is(err, ErrUnfinished) || errors.Is(err, ErrRenamed) {
		return false
	}
	return slices.ContainsFunc(
		[]error{artifact.ErrFormat, artifact.ErrTruncated, artifact.ErrChecksum, artifact.ErrLimit, artifact.ErrUnsigned},
		func(e error) bool { return errors.Is(err, e) })
}

// unfinished says how the file shows that it was not written to its end; "" if it does not.
func unfinished(file io.ReaderAt, size int64, first []byte, err error) string {
	if size == 0 {
		return "the file is empty"
	}
	if zeros(first) {
		return "zeros where the artifact begins"
	}
	m := walkMembers(file, size)
	switch {
	case !m.ours:
		return ""
	case m.cut && m.end > size:
		return fmt.Sprintf("the file has %d bytes, and the artifact %d or more", size, m.end)
	case m.cut:
		return fmt.Sprintf("the file ends after %d bytes, and the artifact does not", size)
	case m.zeros && (!m.header || !m.payload && size-m.end > record):
		return fmt.Sprintf("zeros from byte %d on", m.end)
	case errors.Is(err, artifact.ErrUnsigned) || !m.payload:
		return ""
	case zerosBefore(file, m.contentEnd, min(m.contentSize, m.zeroTail)):
		return "zeros where the payload ends"
	}
	return ""
}

// members is what a walk over the outer archive saw, without reading what is in it.
type members struct {
	ours    bool  // it begins as an artifact does
	header  bool  // there is a header
	payload bool  // and a payload
	cut     bool  // the file ends before the archive does
	zeros   bool  // the archive ends, as archives do, with zeros
	end     int64 // of the last member that was seen, and its padding; with cut, what the file had to have at least

	contentEnd, contentSize int64 // of the payload
	zeroTail                int64 // of it
}

// walkMembers goes from header to header.
func walkMembers(file io.ReaderAt, size int64) (m members) {
	s := &strides{SectionReader: io.NewSectionReader(file, 0, size), left: maxWalk}
	t := tar.NewReader(s)
	for n := 0; n < maxMembers; n++ {
		h, err := t.Next()
		switch {
		case err == io.EOF:
			// archive/tar takes the end of the file for the end of the archive.
			m.cut = size < m.end+2*block
			m.zeros = !m.cut
			return m
		case errors.Is(err, io.ErrUnexpectedEOF):
			m.cut = true
			return m
		case err != nil:
			return m
		}
		at, err := s.Seek(0, io.SeekCurrent)
		if err != nil || n == 0 && h.Name != "version" {
			return m
		}
		m.ours = true
		m.see(h, at)
		if m.end > size {
			m.cut = true
			return m
		}
	}
	return m
}

// strides reads so much of a file, and passes over the rest.
type strides struct {
	*io.SectionReader
	left int64
}

func (s *strides) Read(b []byte) (int, error) {
	if s.left <= 0 {
		return 0, artifact.ErrLimit
	}
	n, err := s.SectionReader.Read(b[:min(int64(len(b)), s.left)])
	s.left -= int64(n)
	return n, err
}

// see notes a member whose content begins at at.
func (m *members) see(h *tar.Header, at int64) {
	m.end = padded(at, h.Size)
	m.header = m.header || strings.HasPrefix(h.Name, "header.tar")
	if isPayload(h.Name) {
		m.payload, m.contentEnd, m.contentSize, m.zeroTail = true, at+h.Size, h.Size, zeroTail
		if strings.HasSuffix(h.Name, ".tar") {
			m.zeroTail = zeroTailPlain
		}
	}
}

// endOf returns where the artifact ends whose beginning r has, if the header of its payload is part of that.
func endOf(r io.ReadSeeker) (end int64, ok bool) {
	t := tar.NewReader(r)
	for range maxMembers {
		h, err := t.Next()
		if err != nil {
			return 0, false
		}
		at, err := r.Seek(0, io.SeekCurrent)
		if err != nil {
			return 0, false
		}
		if isPayload(h.Name) {
			return padded(at, h.Size) + 2*block, true
		}
	}
	return 0, false
}

func isPayload(name string) bool { return strings.HasPrefix(name, "data/") }

// padded returns where a member of size bytes that begins at at ends, and its padding. No file is so large that this overflows.
func padded(at, size int64) int64 {
	const most = 1 << 60
	return at + (min(size, most)+block-1)&^(block-1)
}

// zerosBefore reports whether the last n bytes before end are all zero.
func zerosBefore(file io.ReaderAt, end, n int64) bool {
	b := make([]byte, n)
	_, err := io.ReadFull(io.NewSectionReader(file, end-n, n), b)
	return err == nil && zeros(b)
}

func zeros(b []byte) bool { return len(b) > 0 && len(bytes.Trim(b, "\x00")) == 0 }

// Files that browsers, mail programs and people make of an artifact, by their first bytes.
var kinds = []struct{ magic, kind string }{
	{"PK\x03\x04", "a zip file"},
	{"PK\x05\x06", "an empty zip file"},
	{"\x1f\x8b", "a gzip file"},
	{"7z\xbc\xaf\x27\x1c", "a 7-Zip file"},
	{"Rar!\x1a\x07", "a RAR file"},
	{"BZh", "a bzip2 file"},
	{"\xfd7zXZ\x00", "an xz file"},
	{"\x28\xb5\x2f\xfd", "a zstd file"},
	{"%PDF-", "a PDF file"},
	{"\x7fELF", "a program"},
	{"MZ", "a program for Windows"},
	{"-----BEGIN ", "a key or a certificate"},
}

// otherKind names what the file is that begins so; "" if it may be an artifact, or is something that nobody knows.
func otherKind(first []byte) string {
	for _, k := range kinds {
		if bytes.HasPrefix(first, []byte(k.magic)) {
			return k.kind
		}
	}
	text := lower(strings.TrimLeft(strings.TrimPrefix(string(first), "\xef\xbb\xbf"), " \t\r\n"))
	if strings.HasPrefix(text, "<!doctype") || strings.HasPrefix(text, "<html") || strings.HasPrefix(text, "<?xml") {
		return "a web page"
	}
	return ""
}
