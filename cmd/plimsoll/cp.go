package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/plimsoll-ota/plimsoll/partition/files"
)

// editHelp is what every verb says that changes an image.
const editHelp = `The image stays as it is until the new one is complete and on the disk; whatever
fails, nothing is left behind. e2fsck must find no fault in it afterwards. Times
are SOURCE_DATE_EPOCH or the last that the file system knows of, so that the same
change gives the same bytes. The artifact's checksums are made anew.

A signed artifact is signed again with -k, or not changed: without -k only
--drop-signature leaves an unsigned one.

`

func (a *app) cpCommand() *cobra.Command {
	o := newEditOptions()
	cmd := &cobra.Command{
		Use:   "cp FILE IMAGE:/PATH | IMAGE:/PATH FILE",
		Short: "Copy a file into an image, or out of it",
		Long: `Cp copies a file into an image or out of one; FILE - is standard input or output.
A PATH that is a folder, or ends in a slash, gets the file by its own name. A
file that is there keeps its owner, permissions and extended attributes; a new
one belongs to root and has the permissions of FILE. Folders are not made: see
artifact install -d.

` + editHelp + insideHelp,
		Example: `  plimsoll artifact cp -k private.pem interfaces release-8.mender:/etc/network/
  plimsoll artifact cp release-8.mender:/etc/fstab -`,
		Args: cobra.ExactArgs(2),
		RunE: a.verb(func(ctx context.Context, args []string) error { return a.runCp(ctx, o, args[0], args[1]) }),
	}
	o.add(cmd)
	return cmd
}

func (a *app) runCp(ctx context.Context, o editOptions, from, to string) error {
	src, out, err := parseInside(from)
	if err != nil {
		return err
	}
	dst, in, err := parseInside(to)
	switch {
	case err != nil:
		return err
	case in && out:
		return errors.New("cp copies into an image or out of one; from one to another in two steps")
	case in:
		return a.copyIn(ctx, o, from, dst)
	case out:
		return a.copyOut(ctx, src, to)
	}
	return fmt.Errorf("cp %s %s: neither is in an image: %w", from, to, errInside)
}

func (a *app) copyOut(ctx context.Context, p insidePath, to string) error {
	if st, err := os.Stat(to); to != "-" && (strings.HasSuffix(to, "/") || err == nil && st.IsDir()) {
		to = filepath.Join(to, path.Base(path.Clean("/"+p.path)))
	}
	err := a.withVessel(ctx, p.image, func(v *vessel) error {
		at, err := v.read(ctx, p.path)
		if err != nil {
			return err
		}
		i, err := at.Stat(ctx, at.path)
		if err != nil {
			return err
		}
		return a.create(to, i.Mode.Perm(), func(w io.Writer) error { return at.Read(ctx, at.path, w) })
	})
	if err != nil {
		return err
	}
	if to != "-" {
		a.out.result("copied", fields{"from": p.String(), "to": to}, "%s is copied to %s", p, to)
	}
	return nil
}

func (a *app) copyIn(ctx context.Context, o editOptions, from string, p insidePath) error {
	src, mode, err := a.contentOf(ctx, from)
	if err != nil {
		return err
	}
	defer src.Close() // only read
	if from == "-" && strings.HasSuffix(p.path, "/") {
		return fmt.Errorf("%s: standard input has no name: say how the file is to be called", p)
	}
	p = p.onto(from)
	err = a.edit(ctx, p.image, o, imageEdit{files: func(ctx context.Context, v *vessel) error {
		return v.each(p.path, func(at fileAt) error {
			if i, err := at.Stat(ctx, at.path); err == nil && i.Mode.IsDir() && from != "-" {
				at.path = path.Join(at.path, filepath.Base(from))
			}
			return at.Put(ctx, at.path, src, files.Attr{Mode: mode})
		})
	}})
	if err != nil {
		return err
	}
	a.out.result("copied", fields{"from": from, "to": p.String()}, "%s is copied to %s", nameOfInput(from), p)
	return nil
}

func nameOfInput(from string) string {
	if from == "-" {
		return "standard input"
	}
	return from
}

// contentOf opens what is to be copied. What has no size yet, a pipe, is spooled.
func (a *app) contentOf(ctx context.Context, from string) (*os.File, fs.FileMode, error) {
	var src io.Reader
	if from == "-" {
		r := interruptible(ctx, a.stdin)
		defer r.Close() // only read
		src = r
	} else {
		f, err := os.Open(from)
		if err != nil {
			return nil, 0, err
		}
		st, err := f.Stat()
		if err == nil && st.IsDir() {
			err = fmt.Errorf("%s is a folder: files are copied one by one", from)
		}
		if err != nil {
			return nil, 0, errors.Join(err, f.Close())
		}
		if st.Mode().IsRegular() {
			return f, st.Mode().Perm(), nil
		}
		r := interruptible(ctx, f)
		defer f.Close() // only read
		defer r.Close()
		src = r
	}
	f, err := spoolFile(os.TempDir())
	if err != nil {
		return nil, 0, err
	}
	if _, err := io.Copy(f, src); err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, 0o644, nil
}
