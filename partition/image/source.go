package image

import (
	"bytes"
	"fmt"
	"io"
	"os"

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

// A source is an opened root file system. Reading its content, a tar, notes an
// error in err: the program that reads it sees no more than an end.
type source struct {
	*os.File
	kind   int
	unpack func(io.Reader) (io.Reader, error)
	pipe   *io.PipeReader
	err    error
}

// Close also ends unpacking that nobody reads.
func (s *source) Close() error {
	if s.pipe != nil {
		s.pipe.Close()
	}
	return s.File.Close()
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

// content reads the tar.
func (s *source) content() io.Reader {
	if s.unpack == nil {
		return s.File
	}
	pr, pw := io.Pipe()
	go func() {
		r, err := s.unpack(s.File)
		if err == nil {
			_, err = io.Copy(pw, r)
		}
		pw.CloseWithError(err)
	}()
	s.pipe = pr
	return &noting{pr, s}
}

// noting keeps the error of what it reads.
type noting struct {
	io.Reader
	s *source
}

func (n *noting) Read(b []byte) (int, error) {
	k, err := n.Reader.Read(b)
	if err != nil && err != io.EOF {
		n.s.err = err
	}
	return k, err
}
