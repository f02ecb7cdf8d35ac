package artifact

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
)

// Compression returns how an archive within the artifact is compressed, "" for a member that is none. Which level it was does not show:
// Zstd stands for all of them.
func (m Member) Compression() Compression {
	for _, c := range []Compression{None, Gzip, LZMA, Zstd} {
		if suffix, _ := c.suffix(); strings.HasSuffix(m.Name, ".tar"+suffix) {
			return c
		}
	}
	return ""
}

// Pieces counts what can be decompressed on its own in a member of the artifact that src is the bytes of: frames of zstd, blocks of xz. It
// decompresses nothing. Other members have none: 0.
func (m Member) Pieces(src io.ReaderAt) (n int, err error) {
	s := io.NewSectionReader(src, m.Offset, m.Size)
	switch {
	case strings.HasSuffix(m.Name, ".tar.zst"):
		n, err = zstdFrames(s)
	case strings.HasSuffix(m.Name, ".tar.xz"):
		n, err = xzBlocks(s)
	}
	if err != nil {
		return 0, fmt.Errorf("%s: %w", m.Name, err)
	}
	return n, nil
}

// readAt reads exactly n bytes.
func readAt(r io.ReaderAt, at int64, n int) ([]byte, error) {
	b := make([]byte, n)
	if k, err := r.ReadAt(b, at); k < n {
		if err == io.EOF {
			err = ErrTruncated
		}
		return nil, err
	}
	return b, nil
}

// zstdFrames goes from block header to block header (RFC 8878).
func zstdFrames(r *io.SectionReader) (n int, err error) {
	for at := int64(0); at < r.Size(); {
		b, err := readAt(r, at, 8)
		if err != nil {
			return 0, err
		}
		magic := binary.LittleEndian.Uint32(b)
		if magic&^0xf == 0x184d2a50 { // a frame to be skipped
			at += 8 + int64(binary.LittleEndian.Uint32(b[4:]))
			continue
		}
		if magic != 0xfd2fb528 {
			return 0, malformed("no zstd frame at byte %d", at)
		}
		descriptor := b[4]
		if at, err = zstdBlocks(r, at+5+zstdHeader(descriptor)); err != nil {
			return 0, err
		}
		if descriptor&4 != 0 { // a checksum
			at += 4
		}
		n++
	}
	return n, nil
}

// zstdHeader returns how long a frame's header is behind its descriptor.
func zstdHeader(descriptor byte) int64 {
	single := descriptor>>5&1 == 1 // and then there is no window
	size := []int64{0, 2, 4, 8}[descriptor>>6]
	if single && size == 0 {
		size = 1
	}
	if !single {
		size++
	}
	return size + []int64{0, 1, 2, 4}[descriptor&3] // a dictionary
}

// zstdBlocks returns where the blocks end that begin at a place.
func zstdBlocks(r io.ReaderAt, at int64) (int64, error) {
	for {
		b, err := readAt(r, at, 3)
		if err != nil {
			return 0, err
		}
		h := uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16
		size := int64(h >> 3)
		if h>>1&3 == 1 { // one byte, repeated
			size = 1
		}
		at += 3 + size
		if h&1 == 1 {
			return at, nil
		}
	}
}

// xzBlocks goes from stream to stream, backwards: an index stands at the end of each.
func xzBlocks(r *io.SectionReader) (n int, err error) {
	for end := r.Size(); end > 0; {
		if end < 32 { // a header, an index and a footer at least
			return 0, malformed("no xz stream ends at byte %d", end)
		}
		b, err := readAt(r, end-12, 12)
		if err != nil {
			return 0, err
		}
		if binary.LittleEndian.Uint32(b[8:]) == 0 { // padding
			end -= 4
			continue
		}
		index := (int64(binary.LittleEndian.Uint32(b[4:])) + 1) * 4
		if string(b[10:]) != "YZ" || index > end-24 {
			return 0, malformed("no xz stream ends at byte %d", end)
		}
		blocks, size, err := xzIndex(io.NewSectionReader(r, end-12-index, index))
		if err != nil {
			return 0, err
		}
		n += blocks
		if end -= 24 + index + size; end < 0 {
			return 0, malformed("an xz index of more than there is")
		}
	}
	return n, nil
}

// xzIndex returns how many blocks an index lists, and how many bytes they take.
func xzIndex(r io.Reader) (blocks int, size int64, err error) {
	b := bufio.NewReader(r)
	if c, err := b.ReadByte(); err != nil || c != 0 {
		return 0, 0, malformed("want an xz index")
	}
	count, err := binary.ReadUvarint(b)
	for i := uint64(0); i < count && err == nil; i++ {
		var unpadded uint64
		if unpadded, err = binary.ReadUvarint(b); err == nil {
			_, err = binary.ReadUvarint(b)
		}
		if size += int64(unpadded+3) &^ 3; size < 0 || unpadded > 1<<62 {
			return 0, 0, malformed("an xz block of %d bytes", unpadded)
		}
	}
	if err != nil {
		return 0, 0, malformed("an xz index that ends too early")
	}
	return int(count), size, nil
}
