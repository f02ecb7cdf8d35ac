package artifact

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

const testPiece = 64 << 10

// smallPieces are the compressors that work in pieces, with small ones.
var smallPieces = map[Compression]func(io.Writer) compressor{
	Gzip: func(w io.Writer) compressor { z, _ := newGzip(w, testPiece); return z }, // a bytes.Buffer does not fail
	LZMA: func(w io.Writer) compressor { return newParallel(w, testPiece, 0, newStream) },
}

// TestPieces compresses what ends beside the end of a piece, on one processor and on two, and has it read by our reader and by the tools.
func TestPieces(t *testing.T) {
	_, noise := written(t, None, nil, 3*testPiece)
	text := bytes.Repeat(image, 2)
	kinds := map[string][]byte{
		"zeros":          make([]byte, 3*testPiece),
		"noise":          noise,
		"text":           text,
		"zeros and text": slices.Concat(make([]byte, 2*testPiece-100), text),
	}
	sizes := []int{0, 1, testPiece - 1, testPiece, testPiece + 1, 2*testPiece - 1, 2 * testPiece, 2*testPiece + 1, 3 * testPiece}
	for c, compress := range smallPieces {
		for kind, all := range kinds {
			for _, size := range sizes {
				name, b := fmt.Sprintf("%s, %d of %s", c, size, kind), all[:size]
				var want []byte
				for _, cores := range []int{1, 2} {
					old := runtime.GOMAXPROCS(cores)
					have := compressed(t, compress, b)
					runtime.GOMAXPROCS(old)
					if want == nil {
						want = have
					}
					if !bytes.Equal(have, want) {
						t.Errorf("%s: other bytes on %d processors", name, cores)
					}
				}
				suffix, _ := c.suffix()
				if have, err := decode(suffix, want); err != nil || !bytes.Equal(have, b) {
					t.Errorf("%s: read %d bytes, %v", name, len(have), err)
				}
				tool := map[Compression]string{Gzip: "gzip", LZMA: "xz"}[c]
				if have, err := pipe(want, tool, "-dc"); err != nil || !bytes.Equal(have, b) {
					t.Errorf("%s: %s -dc: %d bytes, %v", name, tool, len(have), err)
				}
				if _, err := pipe(want, tool, "-t"); err != nil {
					t.Errorf("%s: %s -t: %v", name, tool, err)
				}
				if have, want := bytes.Count(want, []byte("\xfd7zXZ\x00")), max(1, (size+testPiece-1)/testPiece); c == LZMA && have != want {
					t.Errorf("%s: %d streams, want %d", name, have, want)
				}
			}
		}
	}
}

func compressed(t *testing.T, compress func(io.Writer) compressor, b []byte) []byte {
	t.Helper()
	var z bytes.Buffer
	w := compress(&z)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return z.Bytes()
}

func pipe(in []byte, name string, args ...string) ([]byte, error) {
	c := exec.Command(name, args...)
	c.Stdin = bytes.NewReader(in)
	return c.Output()
}

// TestZeros: pieces of nothing but zeros are packed once, and pieces after another one are not taken for them.
func TestZeros(t *testing.T) {
	zeros, other := make([]byte, 100), bytes.Repeat([]byte{1}, 100)
	for _, tt := range []struct {
		name    string
		overlap int
		input   []byte
		want    int32 // pieces packed
	}{
		{"all", 0, bytes.Repeat(zeros, 9), 1},
		{"all, with a window", 10, bytes.Repeat(zeros, 9), 2}, // nothing stands before the first
		{"a short one at the end", 0, make([]byte, 250), 2},
		{"between others", 10, slices.Concat(zeros, zeros, zeros, other, zeros, zeros, zeros), 4},
		{"none", 10, bytes.Repeat(other, 3), 3},
		{"but the last", 0, bytes.Repeat(append(make([]byte, 99), 1), 3), 3},
		{"but the first", 0, bytes.Repeat(append([]byte{1}, zeros[:99]...), 3), 3},
	} {
		var packed atomic.Int32
		var b bytes.Buffer
		p := newParallel(&b, 100, tt.overlap, func() packer {
			return func(dst *sink, before, data []byte, _ func() error) error {
				packed.Add(1)
				_, err := dst.Write(append(slices.Clone(before), data...))
				return err
			}
		})
		if _, err := p.Write(tt.input); err != nil {
			t.Fatal(err)
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		var want []byte
		for i := 0; i < len(tt.input); i += 100 {
			want = append(want, tt.input[max(0, i-tt.overlap):min(i+100, len(tt.input))]...)
		}
		if !bytes.Equal(b.Bytes(), want) {
			t.Errorf("%s: other bytes", tt.name)
		}
		if have := packed.Load(); have != tt.want {
			t.Errorf("%s: %d pieces packed, want %d", tt.name, have, tt.want)
		}
	}
}

// TestPiecesInOrder: what is packed first waits for what was written first, and no more than the ring is under way.
func TestPiecesInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		var at, most atomic.Int32
		p := newParallel(&b, 1, 0, func() packer {
			return func(dst *sink, _, data []byte, _ func() error) error {
				most.Store(max(most.Load(), at.Add(1)))
				time.Sleep(time.Duration('z'-data[0]) * time.Second) // the later the faster
				dst.Write(data)
				at.Add(-1)
				return nil
			}
		})
		const want = "abcdefghijklmnopqrstuvwxyz"
		p.Write([]byte(want))
		if err := p.Close(); err != nil || b.String() != want {
			t.Errorf("%q, %v, want %q", &b, err, want)
		}
		if have := int(most.Load()); have > packers() {
			t.Errorf("%d at a time", have)
		}
		if p.made > cap(p.free) {
			t.Errorf("%d pieces, want at most %d", p.made, cap(p.free))
		}
	})
}

// TestPieceFails: the first error is what Write and Close return, nothing is written after it, and no goroutine is left: synctest would
// not return.
func TestPieceFails(t *testing.T) {
	broken := errors.New("broken")
	for _, tt := range []struct {
		name string
		w    io.Writer
		pack func(data []byte) error
		stop bool // abort before Close
		want error
	}{
		{"first", io.Discard, func(b []byte) error { return map[byte]error{'a': broken}[b[0]] }, false, broken},
		{"middle", io.Discard, func(b []byte) error { return map[byte]error{'m': broken}[b[0]] }, false, broken},
		{"last", io.Discard, func(b []byte) error { return map[byte]error{'z': broken}[b[0]] }, false, broken},
		{"full", &tight{7}, func([]byte) error { return nil }, false, errFull},
		{"full at the end", &tight{99}, func([]byte) error { return nil }, false, errFull},
		{"aborted", io.Discard, func([]byte) error { return nil }, true, errAborted},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newParallel(tt.w, 10, 0, func() packer {
					return func(dst *sink, _, data []byte, _ func() error) error {
						time.Sleep(time.Second)
						dst.Write(data)
						return tt.pack(data)
					}
				})
				for c := byte('a'); c <= 'z'; c++ {
					if _, err := p.Write(bytes.Repeat([]byte{c}, 10)); err != nil && err != tt.want {
						t.Errorf("Write: %v, want %v", err, tt.want)
					}
				}
				if tt.stop {
					p.abort()
				}
				if err := p.Close(); err != tt.want {
					t.Errorf("Close: %v, want %v", err, tt.want)
				}
			})
		})
	}
}

// TestStreamIsGivenUp: a stream that takes seconds ends soon after abort.
func TestStreamIsGivenUp(t *testing.T) {
	asked := 0
	err := newStream()(new(sink), nil, make([]byte, xzPiece), func() error { asked++; return errAborted })
	if err != errAborted || asked != 1 {
		t.Errorf("%v after %d questions, want errAborted after one", err, asked)
	}
}

// TestStreams: real streams, most of them of zeros, and each asks a reader for no more than it needs.
func TestStreams(t *testing.T) {
	a := compressed(t, func(w io.Writer) compressor { z, _ := LZMA.writer(w); return z }, make([]byte, 4*xzPiece+1))
	list, err := pipe(nil, "xz", "--robot", "-lvv", tempFile(t, a))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(list), fmt.Sprintf("\ntotals\t5\t5\t%d\t%d\t", len(a), 4*xzPiece+1)) {
		t.Errorf("want five streams:\n%s", list)
	}
	if dict := "--lzma2=dict=8MiB"; strings.Count(string(list), dict) != 4 || strings.Count(string(list), "--lzma2=dict=4KiB") != 1 {
		t.Errorf("want %s four times, and 4KiB:\n%s", dict, list)
	}
}
