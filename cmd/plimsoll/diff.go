package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"
)

// diffOptions are what artifact diff is called with.
type diffOptions struct {
	a, b string // artifacts; one of them may be "-"
}

func (a *app) diffCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "diff A B",
		Short: "Say what differs between two artifacts, down to packages and files",
		Long: `Diff says what changes for a device that goes from artifact A to artifact B:
the header, the state scripts, the files of the payload; and of images of ext2,
ext3 and ext4 the packages (dpkg, opkg) and the files in them. A time at which a
file was written is no difference.

All of both is read, and checksums are verified; signatures are not. Images are
unpacked into sparse files in $TMPDIR. No root is needed.

Exit code: 0 if they are the same, 6 if they differ, 3 if one is no artifact, 1 if
something failed.`,
		Example: `  plimsoll artifact diff release-7.mender release-8.mender
  plimsoll artifact diff --json old.mender new.mender | jq 'select(.event == "package")'`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 2 && args[0] == "-" && args[1] == "-" {
				return errors.New("only one of the two can be standard input")
			}
			return cobra.ExactArgs(2)(cmd, args)
		},
		RunE: a.verb(func(ctx context.Context, args []string) error {
			return a.runDiff(ctx, diffOptions{a: args[0], b: args[1]})
		}),
	}
}

func (a *app) runDiff(ctx context.Context, o diffOptions) (err error) {
	dir, err := os.MkdirTemp("", "plimsoll-diff-*")
	if err != nil {
		return err
	}
	defer func() {
		if rest := os.RemoveAll(dir); rest != nil {
			err = rest // the verdict is of no use beside what it left behind
		}
	}()
	var sides [2]*side
	for i, path := range []string{o.a, o.b} {
		if sides[i], err = a.openSide(ctx, path); err != nil {
			return err
		}
		defer sides[i].src.Close() // only read
	}
	if err := readSides(dir, sides[0], sides[1]); err != nil {
		return err
	}
	d := &differ{out: a.out, a: sides[0], b: sides[1]}
	if err := d.compare(ctx); err != nil {
		return err
	}
	a.out.event("diff", fields{"same": d.n == 0, "differences": d.n})
	if d.n > 0 {
		return exitCode(exitDiffers)
	}
	return nil
}

// A differ tells what differs, section by section.
type differ struct {
	out     *output
	a, b    *side
	section string
	n       int
}

// tell is one difference. In a section the lines are indented beneath its name.
func (d *differ) tell(section, event string, f fields, format string, args ...any) {
	d.n++
	if section != d.section && !d.out.json {
		fmt.Fprintf(d.out.stdout, "%s\n", section)
		d.section = section
	}
	d.out.result(event, f, "  "+format, args...)
}

func (d *differ) compare(ctx context.Context) error {
	d.header()
	d.scripts()
	return d.payload(ctx)
}

// header compares field by field.
func (d *differ) header() {
	a, b := d.a.fields(), d.b.fields()
	for i := range a {
		x, y := a[i], b[i]
		if x.values == nil && y.values == nil && x.text != y.text {
			d.tell("header", "header", fields{"field": x.name, "a": x.text, "b": y.text}, "%s: %s -> %s", x.name, orNone(x.text), orNone(y.text))
			continue
		}
		for _, key := range keysOf(x.values, y.values) {
			old, had := x.values[key]
			new, has := y.values[key]
			f := fields{"field": x.name, "key": key}
			if had {
				f["a"] = old
			}
			if has {
				f["b"] = new
			}
			colon := ""
			if old+new != "" {
				colon = ": "
			}
			switch {
			case !had:
				d.tell("header", "header", f, "%s: + %s%s%s", x.name, legible(key), colon, legible(new))
			case !has:
				d.tell("header", "header", f, "%s: - %s%s%s", x.name, legible(key), colon, legible(old))
			case old != new:
				d.tell("header", "header", f, "%s: ~ %s: %s -> %s", x.name, legible(key), legible(old), legible(new))
			}
		}
	}
}

func (d *differ) scripts() {
	a, b := d.a.scripts, d.b.scripts
	for _, name := range keysOf(a, b) {
		old, had := a[name]
		new, has := b[name]
		f := fields{"name": name}
		switch {
		case !had:
			f["change"], f["b"] = "added", new.fields()
			d.tell("scripts", "script", f, "+ %s, %d bytes", name, new.Size)
		case !has:
			f["change"], f["a"] = "removed", old.fields()
			d.tell("scripts", "script", f, "- %s, %d bytes", name, old.Size)
		case old.Sum != new.Sum:
			f["change"], f["a"], f["b"] = "changed", old.fields(), new.fields()
			text := unified(name, old, new)
			if text != "" {
				f["diff"] = text
			}
			d.tell("scripts", "script", f, "~ %s, %d -> %d bytes%s", name, old.Size, new.Size, indented(text))
		}
	}
}

// unified is the difference of two scripts that are short and text.
func unified(name string, a, b scriptText) string {
	if a.text == nil || b.text == nil {
		return ""
	}
	text := string(diff.Diff("a/"+name, a.text, "b/"+name, b.text))
	_, text, _ = strings.Cut(text, "\n") // the line that repeats the command
	return text
}

// indented puts text beneath a line of a section. What could move a terminal's
// cursor is shown as what it is.
func indented(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString("\n    " + printed(strings.TrimSuffix(line, "\n")))
	}
	return b.String()
}

// readSides reads the payloads of both, side by side: what both have is verified
// and dropped, an image that only one has is unpacked into dir.
func readSides(dir string, a, b *side) error {
	for {
		x, errA := a.next()
		y, errB := b.next()
		if errA != nil || errB != nil {
			return errors.Join(errA, errB)
		}
		if x == nil && y == nil {
			return nil
		}
		keep := x == nil || y == nil || x.Sum != y.Sum
		done := make(chan error)
		go func() { done <- a.take(dir+"/a", x, keep) }()
		err := b.take(dir+"/b", y, keep)
		if err = errors.Join(<-done, err); err != nil {
			return err
		}
	}
}

// keysOf returns the keys of both, sorted.
func keysOf[V any](a, b map[string]V) []string {
	var keys []string
	for k := range a {
		keys = append(keys, k)
	}
	for k := range b {
		if _, ok := a[k]; !ok {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return keys
}

// anybody trusts everything: what is read is only looked at.
type anybody struct{}

func (anybody) Verify(manifest, sig []byte) error { return nil }
