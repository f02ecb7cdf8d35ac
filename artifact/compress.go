package artifact

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"runtime"
	"strings"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zstd"
	xzwrite "github.com/ulikunitz/xz"
	"github.com/ulikunitz/xz/lzma"
)

// A Compression is how header and payload are compressed, by the name that command lines use.
type Compression string

// Zstd is ZstdFast by a shorter name. LZMA is xz, by its historical one: slow to write and to read, and no smaller than ZstdBest. Clients
// and tools before 2023 know only None, Gzip and LZMA.
//
// A Writer takes some 40 MiB of memory; on two processors LZMA takes 300 and ZstdBest 500, and each of them less than 100 more for a further
// processor, of eight at most.
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

// compressionOf is the Compression of a member by its name; of the several that make the same suffix, the default.
func compressionOf(name string) Compression {
	for _, c := range []Compression{Gzip, LZMA, Zstd} {
		if suffix, _ := c.suffix(); strings.HasSuffix(name, suffix) {
			return c
		}
	}
	return None
}

const (
	gzipLevel  = 5
	gzipPiece  = 1 << 20
	gzipWindow = 32 << 10 // as far as a match reaches back

	xzPiece  = 16 << 20 // a stream each: larger ones are hardly smaller and hold up more
	xzWindow = 8 << 20  // what a device holds to read it
)

// A compressor's output depends on nothing but what is written in total: neither on how it arrives, nor on the number of processors.
// Close does not close what it writes to, and must be called, once: it ends the goroutines. After abort, which any goroutine may
// call, Write and Close come back soon and what was written is worth nothing.
type compressor interface {
	io.WriteCloser
	abort()
}

// writer returns a compressor that writes to w.
func (c Compression) writer(w io.Writer) (compressor, error) {
	switch c {
	case None:
		return verbatim{w}, nil
	case Gzip:
		return newGzip(w, gzipPiece)
	case LZMA:
		return newParallel(w, xzPiece, 0, newStream), nil
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
	window := zstdWindow
	if l <= zstd.SpeedDefault {
		window /= 2 // what a device holds to read it: one part in 200 larger, and read a fifth faster
	}
	o := []zstd.EOption{zstd.WithEncoderLevel(l), zstd.WithWindowSize(window), zstd.WithEncoderCRC(true)}
	if c == ZstdBest {
		// Parts of 32 MiB side by side, in one frame. With one packer the library would make other bytes.
		o = append(o, zstd.WithConcurrentBlocks(true), zstd.WithEncoderConcurrency(max(2, packers())))
	} else {
		// In one goroutine. With two, for matches and for entropy, each block is handed over three times, which costs more than it gains
		// while a third reads and hashes. Not WithLowerEncoderMem either: it saves 8 MiB and moves the whole window for each block.
		o = append(o, zstd.WithEncoderConcurrency(1))
	}
	z, err := zstd.NewWriter(w, o...)
	return zstdFrame{z}, err
}

// A zstdFrame is one frame.
type zstdFrame struct{ *zstd.Encoder }

func (zstdFrame) abort() {} // a part takes a second or two; the library knows no sooner end

type verbatim struct{ io.Writer }

func (verbatim) Close() error { return nil }
func (verbatim) abort()       {}

// A gzipStream is one stream of one member, whose blocks are compressed side by side: each begins with the window that the one before
// leaves behind and ends at a whole byte.
type gzipStream struct {
	*parallel
	w    io.Writer
	sum  uint32
	size uint32 // modulo 1<<32, as the format has it
}

func newGzip(w io.Writer, piece int) (*gzipStream, error) {
	// No name, no time, no system: nothing tells of the machine.
	if _, err := w.Write([]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255}); err != nil {
		return nil, err
	}
	return &gzipStream{parallel: newParallel(w, piece, gzipWindow, newDeflate), w: w}, nil
}

func (g *gzipStream) Write(b []byte) (int, error) {
	n, err := g.parallel.Write(b)
	g.sum = crc32.Update(g.sum, crc32.IEEETable, b[:n])
	g.size += uint32(n)
	return n, err
}

func (g *gzipStream) Close() error {
	if err := g.parallel.Close(); err != nil {
		return err
	}
	end := []byte{3, 0} // the last block, which is empty
	end = binary.LittleEndian.AppendUint32(end, g.sum)
	_, err := g.w.Write(binary.LittleEndian.AppendUint32(end, g.size))
	return err
}

// newDeflate returns a packer of deflate blocks.
func newDeflate() packer {
	z, err := flate.NewWriter(nil, gzipLevel)
	return func(dst *sink, before, data []byte, _ func() error) error {
		if err != nil {
			return err
		}
		z.ResetDict(dst, before)
		if _, err := z.Write(data); err != nil {
			return err
		}
		return z.Flush()
	}
}

// newStream returns a packer of xz streams. A reader takes several, one behind the other, for one.
func newStream() packer {
	return func(dst *sink, _, data []byte, stopped func() error) error {
		window := lzma.MinDictCap
		for window < min(len(data), xzWindow) {
			window *= 2
		}
		z, err := xzwrite.WriterConfig{DictCap: window, CheckSum: xzwrite.CRC64}.NewWriter(dst)
		for len(data) > 0 && err == nil {
			n := min(len(data), 64<<10) // a hundredth of a second
			if _, err = z.Write(data[:n]); err == nil {
				err = stopped()
			}
			data = data[n:]
		}
		if err != nil {
			return err
		}
		err = z.Close()
		if window == xzWindow {
			runtime.GC() // of 72 MiB, every few seconds: the heap would double before anybody missed them
		}
		return err
	}
}
