package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/plimsoll-ota/plimsoll/partition/files"
)

func (a *app) rmCommand() *cobra.Command {
	o := newEditOptions()
	var all bool
	cmd := &cobra.Command{
		Use:   "rm IMAGE:/PATH",
		Short: "Remove a file of an image, or a folder with all that is in it",
		Long: `Rm removes a file of an image; with -r a folder and all that is in it. A link is
removed, not what it leads to. In a disk image one of the slots must have it.

` + editHelp + insideHelp,
		Example: "  plimsoll artifact rm -r -k private.pem release-8.mender:/usr/share/doc",
		Args:    cobra.ExactArgs(1),
		RunE:    a.verb(func(ctx context.Context, args []string) error { return a.runRm(ctx, o, args[0], all) }),
	}
	cmd.Flags().BoolVarP(&all, "recursive", "r", false, "remove a folder and all that is in it")
	o.add(cmd)
	return cmd
}

func (a *app) runRm(ctx context.Context, o editOptions, arg string, all bool) error {
	p, err := mustBeInside(arg)
	if err != nil {
		return err
	}
	err = a.edit(ctx, p.image, o, imageEdit{files: func(ctx context.Context, v *vessel) error {
		var missing error
		removed := false
		err := v.each(p.path, func(at fileAt) error {
			err := at.Remove(ctx, at.path, all)
			if errors.Is(err, fs.ErrNotExist) {
				missing = err
				return nil
			}
			removed = removed || err == nil
			return err
		})
		if err == nil && !removed {
			err = missing
		}
		return err
	}})
	if err != nil {
		return err
	}
	a.out.result("removed", fields{"file": p.String()}, "%s is removed", p)
	return nil
}

type insertOptions struct {
	edit   editOptions
	mode   string
	folder bool
}

func (a *app) insertCommand() *cobra.Command {
	o := insertOptions{edit: newEditOptions()}
	cmd := &cobra.Command{
		Use:   "install -m MODE FILE IMAGE:/PATH | -d IMAGE:/PATH",
		Short: "Put a file into an image with permissions, or make a folder",
		Long: `Install puts a file into an image, owned by root and with the permissions MODE,
also where one is there already; FILE - is standard input. With -d it makes a
folder, and those above it that are missing. MODE is octal, with or without a
leading zero: 755 is rwxr-xr-x. (Mender's tool takes 755 for a decimal number.)

` + editHelp + insideHelp,
		Example: `  plimsoll artifact install -d -m 750 disk.img:/data/app
  plimsoll artifact install -m 0600 -k private.pem wifi.conf release-8.mender:/etc/wifi.conf`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			want := 2
			if o.folder {
				want = 1
			}
			if len(args) != want {
				return fmt.Errorf("want %s, have %d arguments", cmd.Use, len(args))
			}
			if o.mode == "" && !o.folder {
				return errors.New("which permissions? want -m MODE, such as -m 644")
			}
			return a.verb(func(ctx context.Context, args []string) error { return a.runInsert(ctx, o, args) })(cmd, args)
		},
	}
	cmd.Flags().StringVarP(&o.mode, "mode", "m", "", "permissions, octal (of a folder by default 755)")
	cmd.Flags().BoolVarP(&o.folder, "directory", "d", false, "make a folder")
	o.edit.add(cmd)
	return cmd
}

func (a *app) runInsert(ctx context.Context, o insertOptions, args []string) error {
	mode, err := parseMode(o.mode)
	if err != nil {
		return err
	}
	p, err := mustBeInside(args[len(args)-1])
	if err != nil {
		return err
	}
	attr := files.Attr{Mode: mode}
	e := imageEdit{files: func(ctx context.Context, v *vessel) error {
		return v.each(p.path, func(at fileAt) error { return makeFolders(ctx, at, attr, o.mode != "") })
	}}
	if !o.folder {
		src, _, err := a.contentOf(ctx, args[0])
		if err != nil {
			return err
		}
		defer src.Close() // only read
		p = p.onto(args[0])
		e.files = func(ctx context.Context, v *vessel) error {
			return v.each(p.path, func(at fileAt) error {
				if i, err := at.Stat(ctx, at.path); err == nil && i.Mode.IsDir() && args[0] != "-" {
					at.path = path.Join(at.path, filepath.Base(args[0]))
				}
				if err := at.Put(ctx, at.path, src, attr); err != nil {
					return err
				}
				return at.Chmod(ctx, at.path, attr)
			})
		}
	}
	if err := a.edit(ctx, p.image, o.edit, e); err != nil {
		return err
	}
	a.out.result("installed", fields{"file": p.String(), "mode": fmt.Sprintf("%04o", unixMode(mode))}, "%s is there", p)
	return nil
}

// makeFolders makes a folder and those above it; one that is there gets the
// permissions if they were asked for.
func makeFolders(ctx context.Context, at fileAt, attr files.Attr, asked bool) error {
	i, err := at.Stat(ctx, at.path)
	switch {
	case err == nil && !i.Mode.IsDir():
		return fmt.Errorf("%s: %w: a file is there", at.path, files.ErrKind)
	case err == nil && !asked:
		return nil
	case err == nil:
		return at.Chmod(ctx, at.path, attr)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	above := fileAt{at.System, path.Dir(at.path)}
	if i, err := above.Stat(ctx, above.path); err != nil || !i.Mode.IsDir() {
		if err := makeFolders(ctx, above, files.Attr{Mode: 0o755}, false); err != nil {
			return err
		}
	}
	return at.Mkdir(ctx, at.path, attr)
}

// parseMode reads permissions, which are octal with a leading zero or without;
// none are those of a folder.
func parseMode(s string) (fs.FileMode, error) {
	if s == "" {
		return 0o755, nil
	}
	n, err := strconv.ParseUint(s, 8, 12)
	if err != nil {
		return 0, fmt.Errorf("-m %s: want permissions as octal digits, such as 644 or 4755", s)
	}
	m := fs.FileMode(n & 0o777)
	for bit, flag := range map[uint64]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if n&bit != 0 {
			m |= flag
		}
	}
	return m, nil
}
