package artifact

import (
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/klauspost/pgzip"
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

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }
