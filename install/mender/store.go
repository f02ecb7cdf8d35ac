package mender

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Bounds of a store. A client's has a map of 1 MiB, and values of some KiB.
const (
	maxStore = 64 << 20 // bytes of the file
	maxValue = 1 << 20  // bytes of one value
	maxAll   = 4 << 20  // bytes of all keys and values
	maxDepth = 32       // LMDB's own
)

// Flags of pages and nodes.
const (
	pageBranch   = 0x01
	pageLeaf     = 0x02
	pageOverflow = 0x04
	pageMeta     = 0x08
	pageKinds    = 0x6f // with leaves of fixed size, and pages in pages: not ours

	nodeBig = 0x01 // the value is the number of an overflow page
)

const (
	magic       = 0xbeefc0de
	dataVersion = 1
	nodeHeader  = 8
	metaSize    = 152 // of a page header and a meta, in words of 8 bytes
)

var (
	errMeta    = errors.New("not an LMDB store of version 1")
	errEndian  = errors.New("an LMDB store of a big-endian machine")
	errChanges = errors.New("it changes while it is read")
)

// ReadStore returns the keys and values of the store at path. It changes
// nothing, and may be called while a client is at work.
func ReadStore(path string) (map[string][]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close() // only read
	for range 10 {
		st, err := f.Stat()
		if err != nil {
			return nil, err
		}
		if !st.Mode().IsRegular() {
			return nil, fmt.Errorf("%s: not a regular file", path)
		}
		all, err := readSnapshot(f, st.Size())
		if err == nil {
			return all, nil
		}
		if !errors.Is(err, errChanges) {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil, fmt.Errorf("%s: %w", path, errChanges)
}

// readSnapshot reads the newest transaction of a store of size bytes. Where
// another one ended meanwhile the error is errChanges, whatever was read.
func readSnapshot(r io.ReaderAt, size int64) (map[string][]byte, error) {
	switch {
	case size == 0:
		return nil, nil // a client was cut before it wrote the first pages
	case size > maxStore:
		return nil, fmt.Errorf("%d bytes, at most %d", size, maxStore)
	}
	m, err := newestMeta(r)
	if err != nil {
		return nil, err
	}
	t := &tree{meta: m, r: r, pages: size / m.pageSize, seen: map[uint64]bool{}, all: map[string][]byte{}}
	err = t.read()
	if now, again := newestMeta(r); again != nil || now != m {
		return nil, errChanges
	}
	if err != nil {
		return nil, err
	}
	return t.all, nil
}

// A meta is what a meta page says.
type meta struct {
	word     int    // bytes of a word: 4 or 8
	pageSize int64  // bytes
	flags    uint16 // of the tree: none, or it is not one of a client
	depth    uint16
	entries  uint64
	root     uint64 // number of a page
	last     uint64 // page in use
	txn      uint64 // transaction id
}

// newestMeta returns the meta page that counts. Only the first one tells where
// the second one is; where it is damaged all page sizes are tried.
func newestMeta(r io.ReaderAt) (meta, error) {
	first, err := readMeta(r, 0)
	if err == nil {
		second, err := readMeta(r, first.pageSize)
		if err == nil && second.word == first.word && second.pageSize == first.pageSize && second.txn > first.txn {
			return second, nil
		}
		return first, nil
	}
	for size := int64(minPage); size <= maxPage; size *= 2 {
		if second, err := readMeta(r, size); err == nil && second.pageSize == size {
			return second, nil
		}
	}
	return meta{}, err
}

// LMDB's offsets in a page are 16 bits wide.
const (
	minPage = 512
	maxPage = 32 << 10
)

func readMeta(r io.ReaderAt, offset int64) (meta, error) {
	b := make([]byte, metaSize)
	if n, err := r.ReadAt(b, offset); n < len(b) {
		if err == io.EOF {
			err = errMeta
		}
		return meta{}, err
	}
	for _, word := range []int{8, 4} {
		header := b[8+word:]
		switch {
		case binary.BigEndian.Uint32(header) == magic:
			return meta{}, errEndian
		case binary.LittleEndian.Uint32(header) == magic && binary.LittleEndian.Uint32(header[4:]) == dataVersion:
			return parseMeta(b, word)
		}
	}
	return meta{}, errMeta
}

// parseMeta reads the page b of a machine whose words have so many bytes.
func parseMeta(b []byte, word int) (meta, error) {
	f := fields{b[word+2:], word}
	if flags := f.u16(); flags&pageKinds != pageMeta {
		return meta{}, errMeta
	}
	f.skip(4 + 8 + 2*word) // bounds of the page; magic and version; address and mapsize
	m := meta{word: word, pageSize: int64(f.u32())}
	f.skip(4 + 5*word) // the tree of the free pages
	f.skip(4)          // pad
	m.flags, m.depth = f.u16(), f.u16()
	f.skip(3 * word) // how many pages
	m.entries, m.root, m.last, m.txn = f.word(), f.word(), f.word(), f.word()
	if m.pageSize < minPage || m.pageSize > maxPage || m.pageSize&(m.pageSize-1) != 0 {
		return meta{}, fmt.Errorf("pages of %d bytes", m.pageSize)
	}
	return m, nil
}

// nowhere is the root of an empty tree.
func (m meta) nowhere() uint64 { return 1<<(8*m.word) - 1 }

// fields reads numbers one after the other. Its caller has seen that they are
// there.
type fields struct {
	b     []byte
	width int // of a word
}

func (f *fields) skip(n int)  { f.b = f.b[n:] }
func (f *fields) u16() uint16 { defer f.skip(2); return binary.LittleEndian.Uint16(f.b) }
func (f *fields) u32() uint32 { defer f.skip(4); return binary.LittleEndian.Uint32(f.b) }

func (f *fields) word() uint64 {
	defer f.skip(f.width)
	if f.width == 4 {
		return uint64(binary.LittleEndian.Uint32(f.b))
	}
	return binary.LittleEndian.Uint64(f.b)
}

// A tree is one reading of the keys. No page is read twice, so that it ends.
type tree struct {
	meta
	r     io.ReaderAt
	pages int64 // whole ones in the file
	seen  map[uint64]bool
	all   map[string][]byte
	bytes int // in all
}

func (t *tree) read() error {
	if t.flags != 0 {
		return fmt.Errorf("a database with flags %#x", t.flags)
	}
	if t.root != t.nowhere() {
		if t.depth < 1 || t.depth > maxDepth {
			return fmt.Errorf("a tree of depth %d, at most %d", t.depth, maxDepth)
		}
		if err := t.walk(t.root, int(t.depth)); err != nil {
			return err
		}
	}
	if n := uint64(len(t.all)); n != t.entries {
		return fmt.Errorf("%d keys, and %d are announced", n, t.entries)
	}
	return nil
}

// walk reads the page with that number and all below it, in so many levels.
func (t *tree) walk(number uint64, levels int) error {
	b := make([]byte, t.pageSize)
	kind, err := t.page(number, b)
	if err != nil {
		return err
	}
	want := uint16(pageBranch)
	if levels == 1 {
		want = pageLeaf
	}
	if kind != want {
		return fmt.Errorf("page %d is of kind %#x, want %#x", number, kind, want)
	}
	nodes, err := t.nodes(b)
	if err != nil {
		return fmt.Errorf("page %d: %w", number, err)
	}
	for _, n := range nodes {
		if levels == 1 {
			err = t.entry(n)
		} else {
			err = t.walk(n.below(t.word), levels-1)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// page reads a page, or its beginning, into b, and returns its kind.
func (t *tree) page(number uint64, b []byte) (kind uint16, err error) {
	if err := t.claim(number, 1); err != nil {
		return 0, err
	}
	if _, err := t.r.ReadAt(b, int64(number)*t.pageSize); err != nil {
		return 0, fmt.Errorf("page %d: %w", number, err)
	}
	f := fields{b, t.word}
	if has := f.word(); has != number {
		return 0, fmt.Errorf("page %d says that it is page %d", number, has)
	}
	f.skip(2)
	return f.u16() & pageKinds, nil
}

// claim marks n pages as read: they are in use, in the file, and new.
func (t *tree) claim(number, n uint64) error {
	end := uint64(t.pages)
	if t.last < end {
		end = t.last + 1
	}
	if number < 2 || number >= end || n > end-number {
		return fmt.Errorf("page %d (and %d after it): there are %d", number, n-1, end)
	}
	for i := range n {
		if t.seen[number+i] {
			return fmt.Errorf("page %d is there twice", number+i)
		}
		t.seen[number+i] = true
	}
	return nil
}

// A node is an entry of a page.
type node struct {
	low, high, flags uint16
	key, rest        []byte
}

// below is the number of the page that a branch's node points to.
func (n node) below(word int) uint64 {
	number := uint64(n.low) | uint64(n.high)<<16
	if word == 8 {
		number |= uint64(n.flags) << 32
	}
	return number
}

// nodes returns the nodes of a branch or leaf.
func (t *tree) nodes(b []byte) ([]node, error) {
	f := fields{b, t.word}
	f.skip(t.word + 4)
	lower, upper := int(f.u16()), int(f.u16())
	header := t.word + 8
	if lower < header || lower > upper || upper > len(b) || (lower-header)%2 != 0 {
		return nil, fmt.Errorf("its nodes are from %d to %d, and begin at %d", header, lower, upper)
	}
	all := make([]node, 0, (lower-header)/2)
	for range cap(all) {
		at := int(f.u16())
		if at < upper || at > len(b)-nodeHeader {
			return nil, fmt.Errorf("a node at %d of %d", at, len(b))
		}
		g := fields{b[at:], t.word}
		n := node{low: g.u16(), high: g.u16(), flags: g.u16()}
		size := int(g.u16())
		if size > len(g.b) {
			return nil, fmt.Errorf("a node at %d has a key of %d bytes", at, size)
		}
		n.key, n.rest = g.b[:size], g.b[size:]
		all = append(all, n)
	}
	return all, nil
}

// entry takes a node of a leaf.
func (t *tree) entry(n node) error {
	announced := uint32(n.low) | uint32(n.high)<<16
	size := int(min(announced, maxValue+1))
	value := n.rest
	switch _, twice := t.all[string(n.key)]; {
	case twice:
		return fmt.Errorf("key %q is there twice", n.key)
	case len(n.key) == 0:
		return errors.New("a key of no bytes")
	case size > maxValue:
		return fmt.Errorf("key %q has a value of %d bytes, at most %d", n.key, announced, maxValue)
	case n.flags == nodeBig:
		var err error
		if value, err = t.overflow(n.rest, size); err != nil {
			return fmt.Errorf("key %q: %w", n.key, err)
		}
	case n.flags != 0:
		return fmt.Errorf("key %q has flags %#x", n.key, n.flags)
	case size > len(value):
		return fmt.Errorf("key %q has a value of %d bytes, and the page ends after %d", n.key, size, len(value))
	}
	if t.bytes += len(n.key) + size; t.bytes > maxAll {
		return fmt.Errorf("more than %d bytes of keys and values", maxAll)
	}
	t.all[string(n.key)] = bytes.Clone(value[:size])
	return nil
}

// overflow returns the value whose pages the node names.
func (t *tree) overflow(rest []byte, size int) ([]byte, error) {
	if len(rest) < t.word {
		return nil, errors.New("no room for the number of a page")
	}
	f := fields{rest, t.word}
	number := f.word()
	header := make([]byte, t.word+8)
	kind, err := t.page(number, header)
	if err != nil {
		return nil, err
	}
	if kind != pageOverflow {
		return nil, fmt.Errorf("page %d is of kind %#x, want %#x", number, kind, pageOverflow)
	}
	f = fields{header[t.word+4:], t.word}
	n := uint64(f.u32())
	if room := int64(n)*t.pageSize - int64(len(header)); int64(size) > room {
		return nil, fmt.Errorf("page %d: %d bytes in %d pages", number, size, n)
	}
	if n > 1 {
		if err := t.claim(number+1, n-1); err != nil {
			return nil, err
		}
	}
	b := make([]byte, size)
	if _, err := t.r.ReadAt(b, int64(number)*t.pageSize+int64(len(header))); err != nil {
		return nil, fmt.Errorf("page %d: %w", number, err)
	}
	return b, nil
}
