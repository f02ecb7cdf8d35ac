package artifact

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"runtime"
	"testing"

	"github.com/ulikunitz/xz/lzma"
)

// costly is what reading a MiB of anything may allocate, all told: a dictionary of xz and what decoders need beside it.
const costly = xzDict + 48<<20

// inBounds fails if f allocates more than a reader may.
func inBounds(t *testing.T, f func()) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > costly {
		t.Errorf("%d bytes were allocated, at most %d may be", n, costly)
	}
}

// FuzzMembers: what is a tar archive to us is one to us again, put together anew from what came of it; and none asks for more than it is.
func FuzzMembers(f *testing.F) {
	f.Add([]byte(ustar(file{name: "version", body: versionMember}, file{name: "manifest", body: sumOf("x") + "  version\n"}) + end))
	f.Add([]byte(ustar(paxHeader("path=data/0000.tar", "mtime=1.5"), file{name: "x", body: "y"}) + end + end))
	f.Add([]byte(ustar(file{name: "././@LongLink", kind: 'L', body: "long\x00", spoil: gnu}, file{name: "x", spoil: gnu}) + end))
	f.Fuzz(func(t *testing.T, b []byte) {
		inBounds(t, func() {
			files, err := walk(b)
			if err != nil {
				if !isOurs(err) {
					t.Errorf("%v is none of the sentinels", err)
				}
				return
			}
			var again string
			for _, f := range files {
				if len(f.name) > 100 {
					return // beyond what build_test.go writes
				}
				again += ustar(f)
			}
			have, err := walk([]byte(again + end))
			if fmt.Sprint(have) != fmt.Sprint(files) || err != nil {
				t.Errorf("%+v became %+v, %v", files, have, err)
			}
		})
	})
}

func walk(b []byte) (files []file, err error) {
	m := newMembers(bytes.NewReader(b))
	for {
		h, err := m.next()
		if err == io.EOF {
			return files, nil
		}
		if err != nil {
			return nil, err
		}
		body, err := m.all(h, maxHeader)
		if err != nil {
			return nil, err
		}
		files = append(files, file{name: h.Name, body: string(body)})
	}
}

// FuzzGzip fuzzes beneath the CRC and the length: what the standard library makes of a deflate stream is what we make of it as gzip.
func FuzzGzip(f *testing.F) {
	for _, s := range []string{"", "a small root file system", string(image[:500])} {
		var z bytes.Buffer
		w, err := flate.NewWriter(&z, 9)
		if err != nil {
			f.Fatal(err)
		}
		if _, err := io.WriteString(w, s); err != nil {
			f.Fatal(err)
		}
		if err := w.Close(); err != nil {
			f.Fatal(err)
		}
		f.Add(z.Bytes(), byte(0))
	}
	f.Add([]byte(gzipZeros("x", 1000)[10:]), byte(8))
	f.Fuzz(func(t *testing.T, deflated []byte, flags byte) {
		in := bytes.NewReader(deflated)
		want, failed := io.ReadAll(io.LimitReader(flate.NewReader(in), maxHeader))
		b := []byte{0x1f, 0x8b, 8, flags & 8, 0, 0, 0, 0, 0, 0xff}
		if flags&8 != 0 {
			b = append(b, "a name\x00"...)
		}
		b = append(b, deflated[:len(deflated)-in.Len()]...)
		b = binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(want))
		b = binary.LittleEndian.AppendUint32(b, uint32(len(want)))
		inBounds(t, func() { sameAs(t, ".gz", b, want, failed) })
	})
}

// FuzzXZ fuzzes the LZMA2 stream beneath the sums of xz: what ours accepts another decoder accepts, and reads the same. That one also
// takes what was cut, and chunks that hold less than they say, which xz itself refuses as ours does.
func FuzzXZ(f *testing.F) {
	f.Add([]byte{1, 0, 4, 'h', 'e', 'l', 'l', 'o', 0})
	f.Add([]byte{0})
	for _, s := range []string{"a small root file system", string(image[:700])} {
		var z bytes.Buffer
		w, err := lzma.Writer2Config{DictCap: 1 << 20}.NewWriter2(&z)
		if err != nil {
			f.Fatal(err)
		}
		if _, err := io.WriteString(w, s); err != nil {
			f.Fatal(err)
		}
		if err := w.Close(); err != nil {
			f.Fatal(err)
		}
		f.Add(z.Bytes())
	}
	f.Fuzz(func(t *testing.T, chunks []byte) {
		in := bytes.NewReader(chunks)
		r, err := lzma.Reader2Config{DictCap: 1 << 20}.NewReader2(in)
		if err != nil {
			t.Fatal(err)
		}
		want, failed := io.ReadAll(io.LimitReader(r, maxHeader))
		stream := xzHolding(string(chunks[:len(chunks)-in.Len()]), want, 16)
		inBounds(t, func() {
			have, err := decode(".xz", []byte(stream))
			if err != nil && !isOurs(err) {
				t.Errorf("%v is none of the sentinels", err)
			}
			if err == nil && (failed != nil || !bytes.Equal(have, want)) {
				t.Errorf("%d bytes and no error; another decoder says %d, %v", len(have), len(want), failed)
			}
		})
	})
}

// FuzzZstd: frames have no sum that is asked for. Whatever they are, reading them ends within bounds, and what comes of them comes again.
func FuzzZstd(f *testing.F) {
	f.Add([]byte(frame(rawBlock("hello"), runBlock('x', 1000), lastBlock)))
	f.Add([]byte(rawZstd("x", 0x20, 1)))
	f.Add([]byte("\x50\x2a\x4d\x18\x04\x00\x00\x00abcd" + frame(lastBlock)))
	for _, level := range []Compression{Zstd, ZstdBest} {
		var z bytes.Buffer
		w, err := level.writer(&z)
		if err != nil {
			f.Fatal(err)
		}
		if _, err := w.Write(image[:3000]); err != nil {
			f.Fatal(err)
		}
		if err := w.Close(); err != nil {
			f.Fatal(err)
		}
		f.Add(z.Bytes())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		inBounds(t, func() {
			have, err := decode(".zst", b)
			if err != nil && !isOurs(err) {
				t.Errorf("%v is none of the sentinels", err)
			}
			if err == nil && len(b) > 0 {
				sameAs(t, ".zst", append([]byte("\x5f\x2a\x4d\x18\x00\x00\x00\x00"), b...), have, nil)
			}
		})
	})
}

// sameAs compares what our decoder says with what another one said, which read no more than maxHeader.
func sameAs(t *testing.T, suffix string, b, want []byte, failed error) {
	t.Helper()
	have, err := decode(suffix, b)
	switch {
	case err != nil && !isOurs(err):
		t.Errorf("%v is none of the sentinels", err)
	case failed == nil && len(want) < maxHeader && (err != nil || !bytes.Equal(have, want)):
		t.Errorf("%s: %d bytes, %v; want %d", suffix, len(have), err, len(want))
	case failed != nil && err == nil:
		t.Errorf("%s: %d bytes and no error, another decoder says %v", suffix, len(have), failed)
	}
}
