package files

import (
	"bytes"
	"fmt"
	"io"
)

const (
	flagExtents = 0x80000
	flagInline  = 0x10000000
	inlineRoom  = 60 // bytes in the inode; what does not fit is an extended attribute
)

func (n Node) flag(f int64) bool { return u32(n.raw, 0x20)&f != 0 }

// A run is a piece of a file: blocks one behind the other, or a hole.
type run struct {
	at, n    int64 // blocks of the file
	physical int64 // block of the image; 0 is a hole
}

// runs are the pieces of a file that are no holes, in order. None overlaps
// another one, and together they are no more than the image.
func (t *Tree) runs(n Node) ([]run, error) {
	w := walk{t: t, end: (n.Size + t.block - 1) / t.block, left: t.blocks}
	var err error
	if n.flag(flagExtents) {
		err = w.extents(n.raw[0x28:0x28+60], 5)
	} else {
		err = w.indirect(n.raw[0x28 : 0x28+60])
	}
	if err != nil {
		return nil, fmt.Errorf("inode %d: %w", n.inode, err)
	}
	return w.all, nil
}

// A walk collects the runs of a file.
type walk struct {
	t    *Tree
	all  []run
	next int64 // block of the file that the next run may begin at
	end  int64 // blocks of the file
	left int64 // blocks that may still be met: the image has no more
}

func (w *walk) add(r run) error {
	if r.at < w.next || r.n < 0 || r.physical < 0 || r.physical > w.t.blocks || r.n > w.t.blocks-r.physical {
		return bad("blocks %d and %d more, from %d of the file on", r.physical, r.n, r.at)
	}
	w.next = r.at + r.n
	if r.at >= w.end || r.physical == 0 || r.n == 0 {
		return nil // room that was set aside behind the end
	}
	if w.left -= r.n; w.left < 0 {
		return bad("a file of more blocks than there are")
	}
	if k := len(w.all); k > 0 && w.all[k-1].at+w.all[k-1].n == r.at && w.all[k-1].physical+w.all[k-1].n == r.physical {
		w.all[k-1].n += r.n
		return nil
	}
	w.all = append(w.all, r)
	return nil
}

// visit counts a block that is read on the way.
func (w *walk) visit(block int64) ([]byte, error) {
	if w.left--; w.left < 0 {
		return nil, bad("a file of more blocks than there are")
	}
	return w.t.read(block, 0, w.t.block)
}

// extents walks over a node of the tree of extents.
func (w *walk) extents(b []byte, most int64) error {
	entries, depth := u16(b, 2), u16(b, 6)
	if u16(b, 0) != 0xf30a || depth > most || 12+12*entries > int64(len(b)) {
		return bad("a node of extents that is none")
	}
	for e := b[12 : 12+12*entries]; len(e) > 0; e = e[12:] {
		if depth == 0 {
			r := run{at: u32(e, 0), n: u16(e, 4), physical: u32(e, 8) | u16(e, 6)<<32}
			if r.n > 32768 { // nothing was ever written there
				r.n, r.physical = r.n-32768, 0
			}
			if err := w.add(r); err != nil {
				return err
			}
			continue
		}
		child, err := w.visit(u32(e, 4) | u16(e, 8)<<32)
		if err == nil {
			err = w.extents(child, depth-1)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// indirect walks over twelve blocks, and the roots of three trees of blocks.
func (w *walk) indirect(b []byte) error {
	for i := range int64(15) {
		depth := max(0, i-11)
		if err := w.pointer(u32(b, int(4*i)), depth); err != nil {
			return err
		}
	}
	return nil
}

// pointer adds the blocks below one; depth 0 is a block of the file itself.
func (w *walk) pointer(block, depth int64) error {
	if w.next >= w.end {
		return nil
	}
	if block == 0 {
		n := int64(1)
		for range depth {
			n *= w.t.block / 4
		}
		w.next += n
		return nil
	}
	if depth == 0 {
		return w.add(run{at: w.next, n: 1, physical: block})
	}
	b, err := w.visit(block)
	for ; err == nil && len(b) > 0; b = b[4:] {
		err = w.pointer(u32(b, 0), depth-1)
	}
	return err
}

// inline is the content that stands in the inode, and in an extended attribute
// of it called system.data if it is longer than that.
func (t *Tree) inline(n Node) ([]byte, error) {
	all := bytes.Clone(n.raw[0x28 : 0x28+inlineRoom])
	if n.Size > inlineRoom {
		value, err := t.systemData(n.raw)
		if err != nil {
			return nil, fmt.Errorf("inode %d: %w", n.inode, err)
		}
		all = append(all, value...)
	}
	if n.Size > int64(len(all)) {
		return nil, bad("inode %d, %d bytes in itself", n.inode, n.Size)
	}
	return all[:n.Size], nil
}

// systemData looks for the attribute behind the fixed part of an inode.
func (t *Tree) systemData(inode []byte) ([]byte, error) {
	from := int64(len(inode))
	if len(inode) >= 0x84 {
		from = 128 + u16(inode, 0x80)
	}
	if from+4 > int64(len(inode)) || u32(inode, int(from)) != 0xea020000 {
		return nil, nil
	}
	entries := inode[from+4:]
	for e := entries; len(e) >= 16 && u32(e, 0) != 0; {
		name, off, size := int64(e[0]), u16(e, 2), u32(e, 8)
		if 16+name > int64(len(e)) || off+size > int64(len(entries)) {
			break
		}
		if e[1] == 7 && string(e[16:16+name]) == "data" {
			return entries[off : off+size], nil
		}
		e = e[min(int64(len(e)), (16+name+3)&^3):]
	}
	return nil, bad("its content is neither in it nor beside it")
}

// Content reads the content of a regular file or a link. Holes are zeros.
func (t *Tree) Content(n Node) io.Reader {
	if n.flag(flagInline) {
		b, err := t.inline(n)
		if err != nil {
			return failing{err}
		}
		return bytes.NewReader(b)
	}
	runs, err := t.runs(n)
	if err != nil {
		return failing{err}
	}
	return &pieces{t: t, runs: runs, size: n.Size}
}

// failing is a reader that only has an error.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// pieces reads a file by its runs.
type pieces struct {
	t        *Tree
	runs     []run
	at, size int64
}

func (c *pieces) Read(b []byte) (int, error) {
	if c.at >= c.size {
		return 0, io.EOF
	}
	n, physical := c.piece()
	b = b[:min(int64(len(b)), n)]
	if physical < 0 {
		clear(b)
	} else if k, err := c.t.r.ReadAt(b, physical); k < len(b) {
		return 0, err
	}
	c.at += int64(len(b))
	return len(b), nil
}

// piece returns how much lies in one piece from here on, and where in the image;
// -1 is a hole.
func (c *pieces) piece() (n, physical int64) {
	block := c.t.block
	for len(c.runs) > 0 && (c.runs[0].at+c.runs[0].n)*block <= c.at {
		c.runs = c.runs[1:]
	}
	if len(c.runs) == 0 {
		return c.size - c.at, -1
	}
	r := c.runs[0]
	if c.at < r.at*block {
		return min(c.size, r.at*block) - c.at, -1
	}
	return min(c.size, (r.at+r.n)*block) - c.at, r.physical*block + c.at - r.at*block
}
