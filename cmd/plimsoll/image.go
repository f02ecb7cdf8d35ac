package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/plimsoll-ota/plimsoll/bootloader/board"
)

func (a *app) imageCommand() *cobra.Command {
	return group("image", "Make disk images for boards, and grow a device's data partition",
		a.imageBuildCommand(), a.imageBoardsCommand(), a.imageGrowCommand())
}

// imageOptions are the flags of image build.
type imageOptions struct {
	board           string
	boardDirs       []string
	rootfs, output  string
	slotImage       string
	deviceType      string
	size, slot      board.Size
	data            board.Size
	firmware        []string
	allowMissing    bool
	keys            []string
	fillB, noBmap   bool
	initialEnv      string
	sourceDateEpoch string // of the environment
}

func (a *app) imageBuildCommand() *cobra.Command {
	o := imageOptions{sourceDateEpoch: os.Getenv("SOURCE_DATE_EPOCH")}
	cmd := &cobra.Command{
		Use:   "build",
		Short: "Build a disk image for a board from a root file system",
		Long: `Build the image of a whole disk: partition table, boot partition, slot A with
the root file system, slot B empty, a data partition that grows on the device
(plimsoll image grow), and the boot environment.

The root file system is a folder, a tar (plain, gzip, xz or zstd) or an ext4
image. /etc/fw_env.config, /etc/plimsoll/plimsoll.toml and the public keys are
written into it. A plimsoll.toml that is there is kept.

No root is needed, and no loop device. The same input gives the same bytes, on
any machine and as any user; SOURCE_DATE_EPOCH sets the times inside. Beside the
image a block map is written, for bmaptool. When anything fails nothing is left
that was not there before.

It runs mke2fs and debugfs (Debian package e2fsprogs), mkfs.fat (dosfstools),
mcopy (mtools) and fakeroot.`,
		Example: `  plimsoll image build --board raspberrypi3 --rootfs rootfs.tar --firmware firmware/ \
      --key public.pem --slot-image slot.ext4 -o disk.img`,
		Args: cobra.NoArgs,
		RunE: a.verb(func(ctx context.Context, _ []string) error { return a.runImageBuild(ctx, o) }),
	}
	f := cmd.Flags()
	f.StringVar(&o.board, "board", "", "the board; see: plimsoll image boards")
	f.StringArrayVar(&o.boardDirs, "board-dir", nil, "folder with board profiles, looked at before the built-in ones; may be given several times")
	f.StringVar(&o.rootfs, "rootfs", "", "the root file system: a folder, a tar or an ext4 image")
	f.StringVarP(&o.output, "output-path", "o", "disk.img", "where the image goes")
	f.StringVar(&o.slotImage, "slot-image", "", "also write slot A as a file, to make artifacts from")
	f.StringVar(&o.deviceType, "device-type", "", "what artifacts are made for (default: the board's)")
	f.Var(&o.size, "size", "of the disk, such as 2GiB; the data partition gets what is left")
	f.Var(&o.slot, "slot-size", "of each slot (default: the board's)")
	f.Var(&o.data, "data-size", "of the data partition (default: the board's)")
	f.StringArrayVar(&o.firmware, "firmware", nil, "folder with the board's firmware files; may be given several times")
	f.BoolVar(&o.allowMissing, "allow-missing-firmware", false, "build an image that lacks firmware files")
	f.StringArrayVar(&o.keys, "key", nil, "public key that artifacts must be signed with; may be given several times")
	f.BoolVar(&o.fillB, "fill-b", false, "fill slot B as well")
	f.StringVar(&o.initialEnv, "initial-env", "", "first boot environment, name=value a line, for a board whose U-Boot follows the convention by itself")
	f.BoolVar(&o.noBmap, "no-bmap", false, "write no block map")
	require(cmd, "board", "rootfs")
	return cmd
}

func (a *app) imageBoardsCommand() *cobra.Command {
	var dirs []string
	cmd := &cobra.Command{
		Use:   "boards [BOARD]",
		Short: "List the boards that images can be built for, or show one",
		Long: `Boards lists the profiles that are built in, and those in the folders named
with --board-dir. Of one board it shows what an integrator must know, and where
its firmware comes from. docs/boards.md shows how to add one.`,
		Args: cobra.MaximumNArgs(1),
		RunE: a.verb(func(_ context.Context, args []string) error { return a.runImageBoards(dirs, args) }),
	}
	cmd.Flags().StringArrayVar(&dirs, "board-dir", nil, "folder with board profiles; may be given several times")
	return cmd
}

func (a *app) runImageBoards(dirs, names []string) error {
	one := len(names) > 0
	if !one {
		var err error
		if names, err = boardNames(dirs); err != nil {
			return err
		}
	}
	var boards []*board.Profile
	for _, name := range names {
		p, err := board.Load(name, dirs...)
		if err != nil {
			return err
		}
		boards = append(boards, p)
		a.out.event("board", fields{
			"board": p.Name, "description": p.Description, "device_type": p.DeviceType, "arch": p.Arch,
			"method": p.Boot.Method, "experimental": p.Experimental, "notes": strings.TrimSpace(p.Notes), "disk": p.Disk.Linux,
		})
	}
	switch {
	case a.out.json:
		return nil
	case one:
		return showBoard(a.stdout, boards[0])
	}
	return listBoards(a.stdout, boards)
}

// boardNames returns those that are built in and those in folders.
func boardNames(dirs []string) ([]string, error) {
	names := board.Names()
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if name, ok := strings.CutSuffix(e.Name(), ".toml"); ok {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

func listBoards(out io.Writer, boards []*board.Profile) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "BOARD\tDEVICE TYPE\tBOOTS BY\tDISK\tDESCRIPTION")
	for _, p := range boards {
		description := p.Description
		if p.Experimental {
			description += " (experimental)"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", p.Name, p.DeviceType, p.Boot.Method, p.Disk.Linux, description)
	}
	return w.Flush()
}

func showBoard(out io.Writer, p *board.Profile) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%s\n\ndevice type\t%s\nboots by\t%s\ndisk\t%s, %s\n", p.Description, p.DeviceType, p.Boot.Method, p.Disk.Linux, p.Disk.Table)
	for i, q := range p.Partitions {
		fmt.Fprintf(w, "partition %d\t%s, %v\n", i+1, q.Name, q.Size)
	}
	for _, f := range p.Firmware {
		from := strings.Join(f.From, "; ")
		if f.Content != "" {
			from = "written by plimsoll, unless --firmware has one"
		}
		if f.Optional {
			from += " (optional)"
		}
		fmt.Fprintf(w, "%s\t%s\n", f.File, from)
	}
	if notes := strings.TrimSpace(p.Notes); notes != "" {
		fmt.Fprintf(w, "\n%s\n", notes)
	}
	return w.Flush()
}
