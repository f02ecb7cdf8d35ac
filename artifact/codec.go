package artifact

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/klauspost/pgzip"
	xzread "github.com/mikelolasagasti/xz"
	xzwrite "github.com/ulikunitz/xz"
)

// A Compression is how header and payload are compressed, by the name that command lines use.
type Compression string

// LZMA is an xz stream and slow to write; its name is historical. Zstd is ZstdFast by a shorter name. Clients and tools before 2023
// know only None, Gzip and LZMA.
const (
	None        Compression = "none"
	Gzip        Compression = "gzip"
	LZMA        Compression = "lzma"
	Zstd        Compression = "zstd"
	ZstdFastest Compression = "zstd_fastest"
	ZstdFast    Compression = "zstd_fast"
	ZstdBetter  Compression = "zstd_better"
	ZstdBest    Compression = "zstd_best"
)

// ParseCompression returns the Compression of that name.
func ParseCompression(s string) (Compression, error) {
	c := Compression(s)
	if _, err := c.suffix(); err != nil {
		return "", err
	}
	return c, nil
}

// suffix returns what the names of compressed members end in.
func (c Compression) suffix() (string, error) {
	switch c {
	case None:
		return "", nil
	case Gzip:
		return ".gz", nil
	case LZMA:
		return ".xz", nil
	case Zstd, ZstdFastest, ZstdFast, ZstdBetter, ZstdBest:
		return ".zst", nil
	}
	return "", fmt.Errorf("parse compression %q: want none, gzip, lzma, zstd, zstd_fastest, zstd_fast, zstd_better or zstd_best", string(c))
}

const (
	zstdWindow  = 8 << 20   // most that a frame may ask a reader to hold; what our writers use
	xzDict      = 64 << 20  // most that a stream may ask a reader to hold; what Mender's writer uses
	xzWriteDict = 8 << 20   // costs the writer about 90 MB and the device 8 MiB
	gzipBlock   = 512 << 10 // blocks are compressed apart: a fixed size makes the bytes the same on any number of cores
)

// writer returns a compressor, whose output depends on nothing but what is written in total. Close does not close w.
func (c Compression) writer(w io.Writer) (io.WriteCloser, error) {
	switch c {
	case None:
		return nopCloser{w}, nil
	case Gzip:
		z, err := pgzip.NewWriterLevel(w, pgzip.BestCompression)
		if err != nil {
			return nil, err
		}
		z.ModTime = time.Unix(0, 0) // the zero Time is not zero in the header of the stream
		return z, z.SetConcurrency(gzipBlock, min(runtime.GOMAXPROCS(0), 8))
	case LZMA:
		return xzwrite.WriterConfig{DictCap: xzWriteDict, CheckSum: xzwrite.CRC64}.NewWriter(w)
	}
	level := map[Compression]zstd.EncoderLevel{
		Zstd: zstd.SpeedDefault, ZstdFastest: zstd.SpeedFastest, ZstdFast: zstd.SpeedDefault,
		ZstdBetter: zstd.SpeedBetterCompression, ZstdBest: zstd.SpeedBestCompression,
	}
	l, ok := level[c]
	if !ok {
		_, err := c.suffix()
		return nil, err
	}
	return zstd.NewWriter(w, zstd.WithEncoderLevel(l), zstd.WithWindowSize(zstdWindow), zstd.WithEncoderCRC(true),
		zstd.WithEncoderConcurrency(2)) // not WithLowerEncoderMem: it saves 8 MiB and moves the whole window for each block
}

// A decoder reads what a member holds compressed. Its io.EOF comes only after the end of the member: every check of the stream was
// made and nothing follows it.
type decoder struct {
	r       io.Reader
	explain func(error) error // whose fault it is
}

// newDecoder returns the decoder that the suffix of name asks for.
func newDecoder(name string, r io.Reader, explain func(error) error) (*decoder, error) {
	d := &decoder{explain: explain}
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

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }
