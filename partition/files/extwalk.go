package files

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
)

const rootInode = 2

// Walk calls f with every name in the tree, a folder before what is in it, and
// in the order of the folder. The first is "/". An error of f ends it.
func (t *Tree) Walk(ctx context.Context, f func(Node) error) error {
	w := walker{t: t, ctx: ctx, f: f, met: map[uint32]bool{}, left: t.blocks * t.block, room: maxPaths}
	root, err := t.node("/", rootInode)
	if err == nil && !root.Mode.IsDir() {
		err = bad("the top is no folder")
	}
	if err != nil {
		return err
	}
	return w.visit(root)
}

// A walker is on its way through a tree. Each folder is met once, and what all of
// them hold is no more than the image: a damaged one cannot make it endless.
type walker struct {
	t    *Tree
	ctx  context.Context
	f    func(Node) error
	met  map[uint32]bool
	left int64 // bytes that folders may still have
	room int   // bytes that all files may still take
}

// maxPaths is what all files may take, for whoever keeps them: two million are
// enough.
const maxPaths = 512 << 20

func (w *walker) visit(n Node) error {
	if w.ctx.Err() != nil {
		return context.Cause(w.ctx)
	}
	if w.room -= 256 + len(n.Path); w.room < 0 {
		return bad("names without end")
	}
	if err := w.f(n); err != nil || !n.Mode.IsDir() {
		return err
	}
	if w.met[n.inode] {
		return bad("the folder %q stands twice in it", n.Path)
	}
	w.met[n.inode] = true
	entries, err := w.folder(n)
	if err != nil {
		return fmt.Errorf("%q: %w", n.Path, err)
	}
	for _, e := range entries {
		child, err := w.t.node(path.Join(n.Path, e.name), e.inode)
		if err != nil {
			return fmt.Errorf("%q: %w", path.Join(n.Path, e.name), err)
		}
		if err := w.visit(child); err != nil {
			return err
		}
	}
	return nil
}

type entry struct {
	name  string
	inode uint32
}

// folder reads the entries of a folder. The nodes of its index, if it has one,
// look like blocks of which no entry is used.
func (w *walker) folder(n Node) (all []entry, err error) {
	if w.left -= n.Size; w.left < 0 {
		return nil, bad("folders of more bytes than there are")
	}
	if n.flag(flagInline) {
		b, err := w.t.inline(n)
		if err != nil {
			return nil, err
		}
		if len(b) < 4 {
			return nil, bad("a folder of %d bytes", len(b))
		}
		// The parent stands first, by its number alone.
		all, err = used(all, b[4:min(len(b), inlineRoom)])
		if err == nil && len(b) > inlineRoom {
			all, err = used(all, b[inlineRoom:])
		}
		return all, err
	}
	block := make([]byte, w.t.block)
	for r := w.t.Content(n); err == nil; {
		if _, err = io.ReadFull(r, block); err == nil {
			all, err = used(all, block)
		}
	}
	if err == io.EOF {
		err = nil
	}
	return all, err
}

// used appends those of one block that are used.
func used(to []entry, b []byte) ([]entry, error) {
	for len(b) >= 8 {
		size, name := u16(b, 4), int64(b[6])
		if size < 8 || size > int64(len(b)) && size != 0xffff && size != 0 {
			if blank(b) {
				return to, nil // a hole
			}
			return nil, bad("an entry of %d bytes in %d", size, len(b))
		}
		if size > int64(len(b)) {
			size = int64(len(b)) // a block of 64 KiB, which does not fit sixteen bits
		}
		inode := uint32(u32(b, 0))
		if 8+name > size {
			return nil, bad("a name of %d bytes in an entry of %d", name, size)
		}
		s := string(b[8 : 8+name])
		if inode != 0 && s != "." && s != ".." {
			if s == "" || strings.ContainsAny(s, "/\x00") {
				return nil, bad("the name %q", s)
			}
			to = append(to, entry{s, inode})
		}
		b = b[size:]
	}
	return to, nil
}

func blank(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// Same reports whether two regular files hold the same. Where both have a hole
// nothing is read, however large it is.
func Same(ctx context.Context, a *Tree, x Node, b *Tree, y Node) (bool, error) {
	if x.Size != y.Size {
		return false, nil
	}
	ra, rb := a.Content(x), b.Content(y)
	ca, okA := ra.(*pieces)
	cb, okB := rb.(*pieces)
	bufA, bufB := make([]byte, 128<<10), make([]byte, 128<<10)
	for left := x.Size; left > 0; {
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		if okA && okB {
			m, pa := ca.piece()
			n, pb := cb.piece()
			if hole := min(m, n); pa < 0 && pb < 0 && hole > 0 {
				ca.at, cb.at, left = ca.at+hole, cb.at+hole, left-hole
				continue
			}
		}
		n := min(left, int64(len(bufA)))
		if err := fill(ra, bufA[:n], x); err != nil {
			return false, err
		}
		if err := fill(rb, bufB[:n], y); err != nil {
			return false, err
		}
		if string(bufA[:n]) != string(bufB[:n]) {
			return false, nil
		}
		left -= n
	}
	return true, nil
}

func fill(r io.Reader, b []byte, n Node) error {
	if _, err := io.ReadFull(r, b); err != nil {
		return &fs.PathError{Op: "read", Path: n.Path, Err: err}
	}
	return nil
}
