package artifact

import (
	"bytes"
	"io"
	"math/rand/v2"
	"testing"
	"time"
)

// Pieces counts what the decompressors go through, in streams of ours and in those that tools make of several.
func TestMemberPieces(t *testing.T) {
	noise := make([]byte, 40<<20)
	rand.NewChaCha8([32]byte{}).Read(noise)
	pack := func(c Compression, content ...[]byte) []byte {
		var b bytes.Buffer
		for _, part := range content {
			z, err := c.writer(&b)
			if err == nil {
				_, err = z.Write(part)
			}
			if err == nil {
				err = z.Close()
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		return b.Bytes()
	}
	small := []byte("a small one")
	skipped := []byte{0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3}
	for _, tt := range []struct {
		name, member string
		b            []byte
		want         int
	}{
		{"zstd", "data/0000.tar.zst", pack(Zstd, noise[:10<<20]), 1},
		{"zstd small", "header.tar.zst", pack(ZstdBest, small), 1},
		{"zstd zeros", "header.tar.zst", pack(ZstdFastest, make([]byte, 1<<20)), 1},
		{"zstd frames", "data/0000.tar.zst", bytes.Join([][]byte{pack(Zstd, small, noise[:1000], nil), skipped, pack(Zstd, make([]byte, 300<<10))}, nil), 4},
		{"xz", "data/0000.tar.xz", pack(LZMA, make([]byte, 40<<20)), 3},
		{"xz small", "header.tar.xz", pack(LZMA, small), 1},
		{"xz streams and padding", "header.tar.xz", append(pack(LZMA, small, small), make([]byte, 8)...), 2},
		{"gzip", "data/0000.tar.gz", pack(Gzip, small), 0},
		{"none", "data/0000.tar", small, 0},
	} {
		m := Member{Name: tt.member, Offset: 7, Size: int64(len(tt.b))}
		src := append(append(make([]byte, 7), tt.b...), "what follows"...)
		if n, err := m.Pieces(bytes.NewReader(src)); n != tt.want || err != nil {
			t.Errorf("%s: %d, %v, want %d", tt.name, n, err, tt.want)
		}
	}
}

// Whatever the bytes are, counting ends, and soon.
func TestMemberPiecesOfGarbage(t *testing.T) {
	var z bytes.Buffer
	c, _ := LZMA.writer(&z)
	c.Write([]byte("a small one"))
	c.Close()
	var s bytes.Buffer
	c, _ = Zstd.writer(&s)
	c.Write(bytes.Repeat([]byte("a small one"), 100))
	c.Close()
	begun := time.Now()
	r := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		for name, good := range map[string][]byte{"a.tar.xz": z.Bytes(), "a.tar.zst": s.Bytes()} {
			b := bytes.Clone(good[:1+r.IntN(len(good))])
			for range 1 + r.IntN(3) {
				b[r.IntN(len(b))] = byte(r.Uint32())
			}
			m := Member{Name: name, Size: int64(len(b)) + r.Int64N(2)}
			if n, err := m.Pieces(bytes.NewReader(b)); n < 0 || err == io.EOF {
				t.Fatalf("%x: %d, %v", b, n, err)
			}
		}
	}
	if d := time.Since(begun); d > time.Minute {
		t.Errorf("took %v", d)
	}
}
