package artifact

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	xzread "github.com/mikelolasagasti/xz"
)

const (
	zstdWindow = 8 << 20  // most that a frame may ask a reader to hold
	xzDict     = 64 << 20 // most that a stream may ask a reader to hold; what Mender's writer uses
	// maxIdle is how much of a compressed stream may be of no use: streams, blocks and frames with nothing in them, and padding, of which
	// there may be any amount. What a decoder reads ahead is part of it: 64 KiB, and one block.
	maxIdle = 1 << 20
)

// A decoder reads what a member holds compressed. Its io.EOF comes only after the end of the member: every check of the stream was
// made and nothing follows it.
type decoder struct {
	r       io.Reader
	in      *allowance        // nil if nothing is compressed
	explain func(error) error // whose fault it is
}

// An allowance is what a decoder may read of a stream: as much as came of it, once more for what does not compress and was flushed in
// small pieces, and maxIdle.
type allowance struct {
	r    io.Reader
	left int64
	err  error // it was not enough
}

func (a *allowance) Read(b []byte) (int, error) {
	if a.left < 0 {
		a.err = fmt.Errorf("%w: too little comes of what is compressed", ErrLimit)
		return 0, a.err
	}
	n, err := a.r.Read(b)
	a.left -= int64(n)
	return n, err
}

// newDecoder returns the decoder that the suffix of name asks for.
func newDecoder(name string, r io.Reader, explain func(error) error) (*decoder, error) {
	d := &decoder{explain: explain}
	if !strings.HasSuffix(name, ".tar") {
		d.in = &allowance{r: r, left: maxIdle}
		r = bufio.NewReaderSize(d.in, 64<<10) // decoders read block by block, or a page at once
	}
	var err error
	switch {
	case strings.HasSuffix(name, ".tar"):
		d.r = r
	case strings.HasSuffix(name, ".tar.gz"):
		d.r, err = gzip.NewReader(r)
	case strings.HasSuffix(name, ".tar.xz"):
		d.r, err = xzread.NewReader(r, xzDict)
	case strings.HasSuffix(name, ".tar.zst"):
		d.r, err = zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(zstdWindow))
	default:
		return nil, malformed("unknown suffix")
	}
	if err != nil {
		return nil, explain(err)
	}
	return d, nil
}

func (d *decoder) Read(b []byte) (int, error) {
	n, err := d.r.Read(b)
	if d.in != nil {
		d.in.left += 2 * int64(n)
	}
	switch {
	case err == nil, err == io.EOF:
	case d.in != nil && d.in.err != nil:
		err = d.in.err // whatever the decoder made of it
	default:
		err = d.explain(err)
	}
	return n, err
}
