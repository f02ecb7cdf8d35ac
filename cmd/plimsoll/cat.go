package main

import (
	"context"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/plimsoll-ota/plimsoll/partition/files"
)

// insideHelp is what every verb says that reaches into an image.
const insideHelp = `IMAGE is an artifact with a root file system image, a disk image, or the image of
one file system (ext2, ext3, ext4, FAT), by any name. Neither root nor a mount is
needed; ext takes debugfs and e2fsck (Debian package e2fsprogs), FAT mtools.

In a disk image /data is the data partition, /uboot, /boot/efi and /boot/grub are
the boot partition, and any other path is in the root file system: in both slots
for what changes, in the first that has it for what reads. Links are followed as
the device would, and never out of the image.`

func (a *app) catCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "cat IMAGE:/PATH",
		Short:   "Print a file of an image",
		Long:    "Cat prints a file of an image on standard output.\n\n" + insideHelp,
		Example: "  plimsoll artifact cat release-8.mender:/etc/os-release",
		Args:    cobra.ExactArgs(1),
		RunE:    a.verb(func(ctx context.Context, args []string) error { return a.runCat(ctx, args[0]) }),
	}
}

func (a *app) runCat(ctx context.Context, arg string) error {
	p, err := mustBeInside(arg)
	if err != nil {
		return err
	}
	return a.withVessel(ctx, p.image, func(v *vessel) error {
		at, err := v.read(ctx, p.path)
		if err != nil {
			return err
		}
		return at.Read(ctx, at.path, a.stdout)
	})
}

func (a *app) lsCommand() *cobra.Command {
	var long bool
	cmd := &cobra.Command{
		Use:   "ls IMAGE:/PATH",
		Short: "List a folder of an image",
		Long: `Ls lists a folder of an image, or one file. With -l it shows permissions, owner,
group, size, time and where a link leads; with --json all of it in any case. A
name with characters that are not printable is shown in quotes.

` + insideHelp,
		Example: "  plimsoll artifact ls -l release-8.mender:/etc",
		Args:    cobra.ExactArgs(1),
		RunE:    a.verb(func(ctx context.Context, args []string) error { return a.runLs(ctx, args[0], long) }),
	}
	cmd.Flags().BoolVarP(&long, "long", "l", false, "show all that is known of each file")
	return cmd
}

func (a *app) runLs(ctx context.Context, arg string, long bool) error {
	p, err := mustBeInside(arg)
	if err != nil {
		return err
	}
	return a.withVessel(ctx, p.image, func(v *vessel) error {
		at, err := v.read(ctx, p.path)
		if err != nil {
			return err
		}
		all, err := at.List(ctx, at.path)
		if err != nil {
			return err
		}
		for _, i := range all {
			a.showFile(i, long)
		}
		return nil
	})
}

func (a *app) showFile(i files.Info, long bool) {
	name := printableName(i.Name())
	if long {
		name = fmt.Sprintf("%s %5d %5d %12d %s %s", modeText(i.Mode), i.UID, i.GID, i.Size, i.ModTime.Format("2006-01-02 15:04:05"), name)
		if i.Target != "" {
			name += " -> " + printableName(i.Target)
		}
	}
	f := fields{"path": i.Path, "name": i.Name(), "type": typeName(i.Mode), "mode": fmt.Sprintf("%04o", unixMode(i.Mode)),
		"uid": i.UID, "gid": i.GID, "size": i.Size, "modified": i.ModTime}
	if i.Target != "" {
		f["target"] = i.Target
	}
	a.out.result("file", f, "%s", name)
}

// printableName keeps a terminal from being told what to do.
func printableName(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return !strconv.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}

// unixMode are the twelve bits that chmod takes.
func unixMode(m fs.FileMode) uint32 {
	bits := uint32(m.Perm())
	for flag, bit := range map[fs.FileMode]uint32{fs.ModeSetuid: 0o4000, fs.ModeSetgid: 0o2000, fs.ModeSticky: 0o1000} {
		if m&flag != 0 {
			bits |= bit
		}
	}
	return bits
}

func typeName(m fs.FileMode) string {
	switch {
	case m.IsRegular():
		return "file"
	case m.IsDir():
		return "directory"
	case m&fs.ModeSymlink != 0:
		return "link"
	case m&fs.ModeCharDevice != 0:
		return "character device"
	case m&fs.ModeDevice != 0:
		return "block device"
	case m&fs.ModeNamedPipe != 0:
		return "pipe"
	case m&fs.ModeSocket != 0:
		return "socket"
	}
	return "unknown"
}

// modeText is what ls -l shows.
func modeText(m fs.FileMode) string {
	letters := map[string]byte{"file": '-', "directory": 'd', "link": 'l', "character device": 'c', "block device": 'b', "pipe": 'p', "socket": 's', "unknown": '?'}
	b := append([]byte{letters[typeName(m)]}, m.Perm().String()[1:]...)
	for _, s := range []struct {
		flag    fs.FileMode
		at      int
		on, off byte
	}{{fs.ModeSetuid, 3, 's', 'S'}, {fs.ModeSetgid, 6, 's', 'S'}, {fs.ModeSticky, 9, 't', 'T'}} {
		if m&s.flag == 0 {
			continue
		}
		if b[s.at] == 'x' {
			b[s.at] = s.on
		} else {
			b[s.at] = s.off
		}
	}
	return string(b)
}
