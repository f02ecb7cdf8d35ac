package main

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/plimsoll-ota/plimsoll/partition/files"
)

// payload compares the files of the payload by name. Where each side has only
// one they are compared whatever they are called.
func (d *differ) payload(ctx context.Context) error {
	a, b := d.a.files, d.b.files
	if len(a) == 1 && len(b) == 1 {
		x, y := slices.Collect(maps.Keys(a))[0], slices.Collect(maps.Keys(b))[0]
		if x != y {
			d.tell("payload", "payload", fields{"change": "renamed", "name": y, "was": x}, "~ %s is called %s", x, y)
		}
		return d.file(ctx, y, a[x], b[y])
	}
	for _, name := range keysOf(a, b) {
		old, had := a[name]
		new, has := b[name]
		switch {
		case !had:
			d.tell("payload", "payload", fields{"name": name, "change": "added", "b": new.fields()}, "+ %s, %d bytes, sha256 %v", name, new.size, new.sum)
		case !has:
			d.tell("payload", "payload", fields{"name": name, "change": "removed", "a": old.fields()}, "- %s, %d bytes, sha256 %v", name, old.size, old.sum)
		default:
			if err := d.file(ctx, name, old, new); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *differ) file(ctx context.Context, name string, a, b payloadFile) error {
	if a.sum == b.sum {
		return nil
	}
	d.tell("payload", "payload", fields{"name": name, "change": "changed", "a": a.fields(), "b": b.fields()},
		"~ %s, %d -> %d bytes, sha256 %v -> %v", name, a.size, b.size, a.sum, b.sum)
	if a.image == "" || b.image == "" {
		return nil
	}
	return d.images(ctx, name, a.image, b.image)
}

// images compares what is in two file systems.
func (d *differ) images(ctx context.Context, name, a, b string) error {
	var trees [2]*tree
	for i, path := range []string{a, b} {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close() // only read
		if trees[i], err = readTree(ctx, f); err != nil {
			return fmt.Errorf("%s of %s: %w", name, []string{d.a.name, d.b.name}[i], err)
		}
	}
	if err := d.packages(name, trees[0], trees[1]); err != nil {
		return err
	}
	for _, path := range keysOf(trees[0].nodes, trees[1].nodes) {
		if err := d.node(ctx, name, path, trees[0], trees[1]); err != nil {
			return err
		}
	}
	return nil
}

// A tree is a file system with the names that are in it.
type tree struct {
	*files.Tree
	nodes map[string]files.Node
}

func readTree(ctx context.Context, f *os.File) (*tree, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	t := &tree{nodes: map[string]files.Node{}}
	if t.Tree, err = files.OpenTree(f, st.Size()); err != nil {
		return nil, err
	}
	return t, t.Walk(ctx, func(n files.Node) error { t.nodes[n.Path] = n; return nil })
}

// node compares what two trees have at a path.
func (d *differ) node(ctx context.Context, image, path string, a, b *tree) error {
	x, had := a.nodes[path]
	y, has := b.nodes[path]
	f := fields{"image": image, "path": path}
	switch {
	case !had:
		f["change"], f["b"] = "added", nodeFields(y)
		d.tell("files of "+image, "file", f, "+ %s  %s", legible(path), nodeText(y))
		return nil
	case !has:
		f["change"], f["a"] = "removed", nodeFields(x)
		d.tell("files of "+image, "file", f, "- %s  %s", legible(path), nodeText(x))
		return nil
	}
	what, text, err := changes(ctx, a, x, b, y)
	if err != nil || len(what) == 0 {
		return err
	}
	f["change"], f["what"], f["a"], f["b"] = "changed", what, nodeFields(x), nodeFields(y)
	d.tell("files of "+image, "file", f, "~ %s  %s", legible(path), strings.Join(text, ", "))
	return nil
}

// changes says in what two nodes differ, in words for programs and for people.
func changes(ctx context.Context, a *tree, x files.Node, b *tree, y files.Node) (what, text []string, err error) {
	say := func(word, format string, args ...any) {
		what, text = append(what, word), append(text, fmt.Sprintf(format, args...))
	}
	if x.Mode.Type() != y.Mode.Type() {
		say("type", "%s -> %s", nodeText(x), nodeText(y))
		return what, text, nil
	}
	if x.Mode != y.Mode {
		say("mode", "%v -> %v", x.Mode, y.Mode)
	}
	if x.UID != y.UID || x.GID != y.GID {
		say("owner", "%d:%d -> %d:%d", x.UID, x.GID, y.UID, y.GID)
	}
	if x.Target != y.Target {
		say("target", "-> %s, was %s", legible(y.Target), legible(x.Target))
	}
	if x.Device != y.Device {
		say("device", "%s -> %s", deviceText(x), deviceText(y))
	}
	if !x.Mode.IsRegular() {
		return what, text, nil
	}
	if x.Size != y.Size {
		say("content", "%d -> %d bytes", x.Size, y.Size)
		return what, text, nil
	}
	same, err := files.Same(ctx, a.Tree, x, b.Tree, y)
	if err == nil && !same {
		say("content", "other content, %d bytes", y.Size)
	}
	return what, text, err
}

func nodeFields(n files.Node) fields {
	f := fields{"mode": n.Mode.String(), "uid": n.UID, "gid": n.GID}
	switch {
	case n.Mode.IsRegular():
		f["size"] = n.Size
	case n.Mode&fs.ModeSymlink != 0:
		f["target"] = n.Target
	case n.Mode&fs.ModeDevice != 0:
		f["device"] = deviceText(n)
	}
	return f
}

func nodeText(n files.Node) string {
	s := fmt.Sprintf("%v %d:%d", n.Mode, n.UID, n.GID)
	switch {
	case n.Mode.IsRegular():
		s += fmt.Sprintf(" %d bytes", n.Size)
	case n.Mode&fs.ModeSymlink != 0:
		s += " -> " + legible(n.Target)
	case n.Mode&fs.ModeDevice != 0:
		s += " " + deviceText(n)
	}
	return s
}

func deviceText(n files.Node) string { return fmt.Sprintf("%d:%d", n.Device>>32, n.Device&(1<<32-1)) }
