package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/plimsoll-ota/plimsoll/partition"
	"github.com/plimsoll-ota/plimsoll/partition/image"
)

func (a *app) imageGrowCommand() *cobra.Command {
	var disk string
	cmd := &cobra.Command{
		Use:   "grow",
		Short: "Let a device's data partition fill its medium",
		Long: `Grow lets the last partition of the disk that backs / reach to the end of the
medium, and the ext4 on it fill it, while it is mounted. It runs on the device
at every boot; when there is nothing to gain it does nothing and exits with 2.

The partition must be the last one and its file system have the label "data";
anything else is refused. The power may fail at any moment. Beside a trial it
does nothing: the partition table belongs to both slots.`,
		Args: cobra.NoArgs,
		RunE: a.verb(func(context.Context, []string) error { return a.runImageGrow(disk) }),
	}
	cmd.Flags().StringVar(&disk, "disk", "", "another disk, or the file of one (default: the disk that backs /)")
	return cmd
}

func (a *app) runImageGrow(disk string) error {
	var host partition.Host
	if disk == "" {
		if line, err := os.ReadFile(filepath.Join("/", a.env.root, "proc/cmdline")); err == nil &&
			slices.Contains(strings.Fields(string(line)), "plimsoll.trial=1") {
			a.out.say("an update is on trial: the data partition grows after it")
			return exitCode(exitNothing)
		}
		var err error
		if disk, err = host.RootDisk(); err != nil {
			return err
		}
	}
	g, err := image.Grow(disk, host)
	if err != nil {
		return err
	}
	if !g.Changed {
		a.out.say("%s: partition %d fills the disk already", disk, g.Partition)
		return exitCode(exitNothing)
	}
	f := fields{"disk": disk, "partition": g.Partition, "was": g.Was, "is": g.Is}
	if g.FileSystem != 0 {
		f["file_system"] = g.FileSystem
	}
	a.out.result("grow", f, "%s: partition %d has grown from %s to %s", disk, g.Partition, size(g.Was), size(g.Is))
	return nil
}
