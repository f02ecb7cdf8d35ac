package main

import (
	"context"

	"github.com/spf13/cobra"
)

func (a *app) writeRootfsCommand() *cobra.Command {
	o := newWriteOptions(rootfsImage)
	cmd := &cobra.Command{
		Use:   string(rootfsImage),
		Short: "Build an artifact from a root file system image",
		Long: `Build an artifact from the image of a root file system.

The image is read once. The same input gives the same bytes, on any machine and
as any user; SOURCE_DATE_EPOCH sets the times inside. When anything fails
nothing is left at the output path that was not there before.

The image may come from a pipe, or from standard input (-f -). Its size must be
known before the artifact begins: it waits in a temporary file without a name
beside the artifact, or in --tmp. In the artifact it is called rootfs.img, or as
--file-name says.

With -f ssh://USER@HOST[:PORT] the image is that of the running root file system
of a device, by plimsoll snapshot there, or else by Mender's tool. What the
device provides as rootfs-image.* is taken over, unless it is given here.

zstd is the default. Clients and tools before 2023 know only none, gzip and
lzma: use --compression gzip for them. Where size is what counts, zstd_best is
smaller than lzma, and takes much less time to write and to read.

What 1 GiB of Debian takes on two processors:

  compression     size     processor time   memory
  none          1074 MB              2 s    15 MiB
  gzip           161 MB              5 s    35 MiB
  zstd_fastest   151 MB              3 s    35 MiB
  zstd           141 MB              3 s    35 MiB
  zstd_better    134 MB              5 s    40 MiB
  zstd_best      127 MB             30 s   500 MiB
  lzma           128 MB            135 s   300 MiB

gzip, zstd_best and lzma use up to eight processors; each beyond the second
costs the last two up to 100 MiB more. The others use two.`,
		Example: `  plimsoll artifact write rootfs-image -f rootfs.ext4 -n release-8 -c raspberrypi3 \
      --software-version 8.0.0 -k private.pem -o release-8.mender
  zcat rootfs.ext4.gz | plimsoll artifact write rootfs-image -f - -n release-8 -c raspberrypi3
  plimsoll artifact write rootfs-image -f ssh://root@device -n golden -c raspberrypi3`,
		Args: cobra.NoArgs,
		RunE: a.verb(func(ctx context.Context, _ []string) error { return a.runWrite(ctx, o) }),
	}
	o.flags(cmd)
	o.payloadFlags(cmd)
	f := cmd.Flags()
	f.StringArrayVarP(&o.files, "file", "f", nil, "the image; - is standard input, ssh://USER@HOST[:PORT] a running device")
	f.BoolVar(&o.software.NoChecksum, "no-checksum-provide", false, "provide no checksum of the image")
	f.BoolVar(&o.software.LegacyChecksum, "legacy-rootfs-image-checksum", false, "provide the checksum by its older key")
	o.ssh.flags(cmd)
	require(cmd, "file")
	return cmd
}
