package artifact

import (
	"bufio"
	"io"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	xzread "github.com/mikelolasagasti/xz"
)

const (
	zstdWindow = 8 << 20  // most that a frame may ask a reader to hold
	xzDict     = 64 << 20 // most that a stream may ask a reader to hold; what Mender's writer uses
)

// A decoder reads what a member holds compressed. Its io.EOF comes only after the end of the member: every check of the stream was
// made and nothing follows it.
type decoder struct {
	r       io.Reader
	explain func(error) error // whose fault it is
}

// newDecoder returns the decoder that the suffix of name asks for.
func newDecoder(name string, r io.Reader, explain func(error) error) (*decoder, error) {
	d := &decoder{explain: explain}
	if !strings.HasSuffix(name, ".tar") {
		r = bufio.NewReaderSize(r, 64<<10) // decoders read block by block, or a page at once
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
	if err != nil && err != io.EOF {
		err = d.explain(err)
	}
	return n, err
}
