package mender

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// vector returns the content of a file in testdata, which testdata/make.sh made.
func vector(t testing.TB, name string) []byte {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name+".gz"))
	must(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	must(t, err)
	b, err := io.ReadAll(z)
	must(t, err)
	return b
}

// dumped are the keys and values that mdb_dump printed.
func dumped(t testing.TB, dump string) map[string]string {
	t.Helper()
	_, body, ok := strings.Cut(dump, "HEADER=END\n")
	body, end, whole := strings.Cut(body, "DATA=END\n")
	if !ok || !whole || end != "" {
		t.Fatalf("not a dump: %.200s", dump)
	}
	all := map[string]string{}
	var key []byte
	for line := range strings.Lines(body) {
		b, err := hex.DecodeString(strings.TrimSpace(line))
		must(t, err)
		if key == nil {
			key = b
			continue
		}
		all[string(key)], key = string(b), nil
	}
	return all
}

func texts(all map[string][]byte) map[string]string {
	s := map[string]string{}
	for k, v := range all {
		s[k] = string(v)
	}
	return s
}

// read reads a store that is in memory.
func read(b []byte) (map[string][]byte, error) {
	return readSnapshot(bytes.NewReader(b), int64(len(b)))
}

// Stores of the real LMDB, as the real mdb_dump reads them.
func TestVectors(t *testing.T) {
	for name, facts := range map[string]struct {
		word  int
		page  int64
		depth uint16
		keys  int
	}{
		"mender-empty": {8, 4096, 0, 0}, "mender-installed": {8, 4096, 1, 1}, "mender-committed": {8, 4096, 1, 3},
		"deep": {8, 4096, 3, 120}, "deleted": {8, 4096, 4, 80}, "updates": {8, 4096, 1, 2}, "overflow": {8, 4096, 2, 18}, "emptied": {8, 4096, 0, 0},
		"deep-16k": {8, 16384, 2, 120}, "overflow-16k": {8, 16384, 2, 18}, "arm32": {4, 4096, 3, 90},
	} {
		t.Run(name, func(t *testing.T) {
			b := vector(t, name+".mdb")
			m, err := newestMeta(bytes.NewReader(b))
			must(t, err)
			if m.word != facts.word || m.pageSize != facts.page || m.depth != facts.depth {
				t.Errorf("words of %d bytes, pages of %d, depth %d: want %+v", m.word, m.pageSize, m.depth, facts)
			}
			got, err := read(b)
			must(t, err)
			want := dumped(t, string(vector(t, name+".dump")))
			if diff := cmp.Diff(want, texts(got)); diff != "" || len(want) != facts.keys {
				t.Errorf("%d keys, want %d; they read (-) what we read (+):\n%s", len(want), facts.keys, diff)
			}
		})
	}
}

// Where the first meta page is damaged, the second one is found without it,
// and its tree is whole, even if it is the one before the newest.
func TestFirstMetaDamaged(t *testing.T) {
	for name, keys := range map[string]int{"mender-installed": 1, "deep": 119, "deep-16k": 119, "arm32": 90} {
		b := vector(t, name+".mdb")
		m, err := newestMeta(bytes.NewReader(b))
		must(t, err)
		clear(b[:m.pageSize])
		if got, err := read(b); err != nil || len(got) != keys {
			t.Errorf("%s: %d keys, want %d: %v", name, len(got), keys, err)
		}
	}
}

// damage changes a store at a place that it finds by itself.
type damage struct {
	b []byte
	m meta
}

func (d damage) page(n uint64) []byte { return d.b[int64(n)*d.m.pageSize:][:d.m.pageSize] }
func (d damage) root() []byte         { return d.page(d.m.root) }
func (d damage) put16(at []byte, v uint16) {
	binary.LittleEndian.PutUint16(at, v)
}

// node is where the i-th node of a page begins.
func (d damage) node(page []byte, i int) []byte {
	return page[binary.LittleEndian.Uint16(page[d.m.word+8+2*i:]):]
}

// below is the number of the page that the i-th node of a branch names.
func (d damage) below(page []byte, i int) uint64 {
	return uint64(binary.LittleEndian.Uint32(d.node(page, i)))
}

// leaf is the first page without others below it.
func (d damage) leaf() []byte {
	p := d.root()
	for range d.m.depth - 1 {
		p = d.page(d.below(p, 0))
	}
	return p
}

// field is where the newer meta page has its fields, so many bytes and words
// behind its magic.
func (d damage) field(plus, words int) []byte {
	return d.page(d.m.txn & 1)[d.m.word+8+plus+words*d.m.word:]
}

// Each damage is an error that says what, and nothing is read.
func TestDamaged(t *testing.T) {
	for _, tt := range []struct {
		name   string
		store  string
		damage func(d damage)
		says   string
	}{
		{"a branch below itself", "deep", func(d damage) { binary.LittleEndian.PutUint32(d.node(d.root(), 0), uint32(d.m.root)) }, "twice"},
		{"the same page twice", "deep", func(d damage) { copy(d.node(d.root(), 1)[:6], d.node(d.root(), 0)[:6]) }, "twice"},
		{"a meta page below", "deep", func(d damage) { binary.LittleEndian.PutUint32(d.node(d.root(), 0), 1) }, "page 1 (and"},
		{"a page far away", "deep", func(d damage) { d.put16(d.node(d.root(), 0)[4:], 0xffff) }, "there are"},
		{"a page behind the last one", "deep", func(d damage) { binary.LittleEndian.PutUint32(d.field(24, 12), uint32(d.m.root-1)) }, "there are"},
		{"a leaf that is a branch", "deep", func(d damage) { d.leaf()[d.m.word+2] = pageBranch }, "of kind"},
		{"a branch that is a leaf", "deep", func(d damage) { d.root()[d.m.word+2] = pageLeaf }, "of kind"},
		{"a leaf of fixed size", "deep", func(d damage) { d.leaf()[d.m.word+2] |= 0x20 }, "of kind"},
		{"another page's number", "deep", func(d damage) { d.leaf()[0]++ }, "says that it is"},
		{"a depth too small", "deep", func(d damage) { d.put16(d.field(22, 7), 2) }, "of kind"},
		{"a depth too large", "deep", func(d damage) { d.put16(d.field(22, 7), 33) }, "depth"},
		{"no depth", "deep", func(d damage) { d.put16(d.field(22, 7), 0) }, "depth"},
		{"too many keys announced", "deep", func(d damage) { d.field(24, 10)[0]++ }, "announced"},
		{"lower behind upper", "deep", func(d damage) { d.put16(d.leaf()[d.m.word+4:], 4000) }, "its nodes"},
		{"lower in the header", "deep", func(d damage) { d.put16(d.leaf()[d.m.word+4:], 2) }, "its nodes"},
		{"lower is odd", "deep", func(d damage) { d.leaf()[d.m.word+4] |= 1 }, "its nodes"},
		{"upper behind the page", "deep", func(d damage) { d.put16(d.leaf()[d.m.word+6:], 4097) }, "its nodes"},
		{"a node in the offsets", "deep", func(d damage) { d.put16(d.leaf()[d.m.word+8:], 10) }, "a node at"},
		{"a node at the end", "deep", func(d damage) { d.put16(d.leaf()[d.m.word+8:], 4090) }, "a node at"},
		{"a key behind the page", "deep", func(d damage) { d.put16(d.node(d.leaf(), 0)[6:], 4096) }, "a key of"},
		{"no key", "deep", func(d damage) { d.put16(d.node(d.leaf(), 0)[6:], 0) }, "no bytes"},
		{"a value behind the page", "deep", func(d damage) { d.put16(d.node(d.leaf(), 0), 4096) }, "page ends"},
		{"a huge value", "deep", func(d damage) { d.put16(d.node(d.leaf(), 0)[2:], 0xffff) }, "at most 1048576"},
		{"a key twice", "deep", func(d damage) { copy(d.leaf()[d.m.word+10:][:2], d.leaf()[d.m.word+8:][:2]) }, "twice"},
		{"a database in the database", "deep", func(d damage) { d.put16(d.node(d.leaf(), 0)[4:], 2) }, "flags"},
		{"several values for a key", "deep", func(d damage) { d.put16(d.field(20, 7), 4) }, "flags 0x4"},
		{"pages of no size", "mender-installed", func(d damage) { clear(d.page(0)[40:44]); clear(d.page(1)[40:44]) }, "pages of 0"},
		{"pages of an odd size", "mender-installed", func(d damage) { d.page(0)[40]++; d.page(1)[40]++ }, "pages of 4097"},
		{"another version", "mender-installed", func(d damage) { d.page(0)[20]++; d.page(1)[20]++ }, "version 1"},
		{"big endian", "mender-installed", func(d damage) { copy(d.page(0)[16:], "\xbe\xef\xc0\xde"); clear(d.page(1)) }, "big-endian"},
		{"no meta page", "mender-installed", func(d damage) { d.page(0)[10], d.page(1)[10] = 2, 2 }, "not an LMDB store"},

		{"an overflow page that is none", "updates", func(d damage) { d.value(0)[d.m.word+2] = pageLeaf }, "of kind 0x2"},
		{"too few overflow pages", "updates", func(d damage) { d.value(0)[12] = 0 }, "in 0 pages"},
		{"too many overflow pages", "updates", func(d damage) { d.value(0)[15] = 0x7f }, "there are"},
		{"the same overflow pages twice", "overflow", func(d damage) {
			leaf := d.leaf()
			first, second := d.big(leaf, 0), d.big(leaf, 1)
			copy(second[:d.m.word], first[:d.m.word])
		}, "twice"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := vector(t, tt.store+".mdb")
			m, err := newestMeta(bytes.NewReader(b))
			must(t, err)
			tt.damage(damage{b, m})
			got, err := read(b)
			if err == nil || got != nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %d keys and %v, want an error that says %q", len(got), err, tt.says)
			}
		})
	}
}

// big is where the i-th node with an overflow page, of a leaf, has its number.
func (d damage) big(leaf []byte, i int) []byte {
	for n := range int(binary.LittleEndian.Uint16(leaf[d.m.word+4:])-uint16(d.m.word)-8) / 2 {
		node := d.node(leaf, n)
		if binary.LittleEndian.Uint16(node[4:]) != nodeBig {
			continue
		}
		if i == 0 {
			return node[nodeHeader+binary.LittleEndian.Uint16(node[6:]):]
		}
		i--
	}
	panic("no such node")
}

// value is the i-th overflow page of the first leaf.
func (d damage) value(i int) []byte {
	return d.page(uint64(binary.LittleEndian.Uint32(d.big(d.leaf(), i))))
}

// A store that is cut short, anywhere, is an error or all that was in it.
func TestTruncated(t *testing.T) {
	for _, name := range []string{"mender-committed", "updates", "arm32"} {
		b := vector(t, name+".mdb")
		want, err := read(b)
		must(t, err)
		cut := 0
		for size := 100; size < len(b); size += 509 {
			got, err := read(b[:size])
			whole := size >= 2*4096 // in less than two pages the older meta page may be the only one
			if err == nil && !cmp.Equal(want, got) && whole {
				t.Errorf("%s: %d bytes: another store", name, size)
			}
			if err != nil {
				cut++
			}
		}
		if cut < 10 {
			t.Errorf("%s: %d errors", name, cut)
		}
	}
}

// One byte that is wrong, wherever, does not end in a panic or a hang.
func TestFlipped(t *testing.T) {
	for _, name := range []string{"mender-committed", "arm32"} {
		b := vector(t, name+".mdb")
		for i := 0; i < len(b); i++ {
			if i%4096 > 160 && i%101 != 0 || i > 8<<10 && i%4096 > 20 && name == "arm32" {
				continue
			}
			for _, x := range []byte{1, 0x80, 0xff} {
				b[i] ^= x
				_, _ = read(b) // what it says depends on the place
				b[i] ^= x
			}
		}
	}
}

// More than can be the case is refused.
func TestBounds(t *testing.T) {
	if _, err := readSnapshot(bytes.NewReader(nil), maxStore+1); err == nil {
		t.Error("a store without end was read")
	}
	if got, err := read(nil); got != nil || err != nil {
		t.Errorf("an empty file: %v, %v", got, err)
	}
	// Values that share the bytes of one page: a small file with a large content.
	b := vector(t, "overflow.mdb")
	m, err := newestMeta(bytes.NewReader(b))
	must(t, err)
	leaves := &tree{meta: m, r: bytes.NewReader(b), pages: int64(len(b)) / m.pageSize, seen: map[uint64]bool{}, all: map[string][]byte{}}
	for i := range 5 {
		err = leaves.entry(node{low: 0, high: 16, key: []byte{byte(i)}, rest: make([]byte, maxValue)})
	}
	if err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("got %v", err)
	}
}

// A store that a transaction changes meanwhile is read again.
func TestChanges(t *testing.T) {
	old, done := vector(t, "mender-installed.mdb"), vector(t, "mender-committed.mdb")
	r := &changing{before: old, after: done, reads: 3}
	if _, err := readSnapshot(r, int64(len(old))); !errors.Is(err, errChanges) {
		t.Errorf("got %v, want errChanges", err)
	}
	if got, err := readSnapshot(r, int64(len(done))); err != nil || string(got["artifact-name"]) != "rel-3" {
		t.Errorf("got %q, %v", got, err)
	}
}

// changing is one store for some reads, and then another.
type changing struct {
	before, after []byte
	reads         int
}

func (c *changing) ReadAt(b []byte, at int64) (int, error) {
	if c.reads--; c.reads >= 0 {
		return bytes.NewReader(c.before).ReadAt(b, at)
	}
	return bytes.NewReader(c.after).ReadAt(b, at)
}

// Only a regular file is read, and nothing appears beside it.
func TestReadStore(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "mender-store")
	must(t, os.WriteFile(path, vector(t, "mender-committed.mdb"), 0o400))
	before, err := os.Stat(path)
	must(t, err)
	all, err := ReadStore(path)
	if err != nil || string(all["artifact-name"]) != "rel-3" {
		t.Errorf("got %q, %v", all, err)
	}
	after, err := os.Stat(path)
	must(t, err)
	files, err := os.ReadDir(dir)
	must(t, err)
	if len(files) != 1 || !after.ModTime().Equal(before.ModTime()) {
		t.Errorf("the folder has %v, the file is of %v and was of %v", files, after.ModTime(), before.ModTime())
	}

	pipe := filepath.Join(dir, "pipe")
	must(t, unix.Mkfifo(pipe, 0o600))
	for _, path := range []string{pipe, dir} {
		if _, err := ReadStore(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got %v", path, err)
		}
	}
}

func FuzzStore(f *testing.F) {
	for _, name := range []string{"mender-empty", "mender-installed", "mender-committed", "updates", "deep", "arm32", "emptied"} {
		f.Add(vector(f, name+".mdb"))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var all map[string][]byte
		var err error
		bounded(t, 64<<20, func() { all, err = read(b) })
		n := 0
		for k, v := range all {
			if n += len(k) + len(v); k == "" || len(v) > maxValue {
				t.Errorf("key %q has %d bytes", k, len(v))
			}
		}
		if n > maxAll || err != nil && all != nil {
			t.Errorf("%d bytes, %v", n, err)
		}
	})
}
