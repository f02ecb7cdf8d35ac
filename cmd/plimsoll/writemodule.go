package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
)

func (a *app) writeModuleCommand() *cobra.Command {
	o := newWriteOptions(moduleImage)
	var augment []string
	cmd := &cobra.Command{
		Use:   string(moduleImage),
		Short: "Build an artifact for an update module",
		Long: `Build an artifact that an update module installs: the program of that name on
the device.

It has any number of files, and none of them twice; what the module wants to
know beside them is the meta-data, a JSON object. Each name may have letters,
digits and ".,_-", and 90 of them. A file may come from a pipe, or from standard
input (-f -): name it with --file-name then.

It provides rootfs-image.TYPE.version, which is the artifact's name unless
--software-version says what, and clears rootfs-image.TYPE.*.`,
		Example: `  plimsoll artifact write module-image -T single-file -n config-3 -c raspberrypi3 \
      -f filename -f dest_dir -f app.conf -k private.pem -o config-3.mender
  tar c site | plimsoll artifact write module-image -T site -n site-4 -c raspberrypi3 \
      -f - --file-name site.tar -m site.json`,
		Args: cobra.NoArgs,
		RunE: a.verb(func(ctx context.Context, _ []string) error {
			if len(augment) > 0 {
				return errAugment
			}
			return a.runWrite(ctx, o)
		}),
	}
	o.flags(cmd)
	o.payloadFlags(cmd)
	o.moduleFlags(cmd)
	f := cmd.Flags()
	for _, name := range []string{"type", "file", "provides", "depends", "meta-data"} {
		f.StringArrayVar(&augment, "augment-"+name, nil, "refused")
		if err := f.MarkHidden("augment-" + name); err != nil {
			panic("plimsoll: " + err.Error())
		}
	}
	require(cmd, "type")
	return cmd
}

func (o *writeOptions) moduleFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVarP(&o.header.Type, "type", "T", "", "the update module, which is the type of the payload")
	f.StringArrayVarP(&o.files, "file", "f", nil, "file of the payload, - is standard input; may be given several times")
	f.StringVarP(&o.metaData, "meta-data", "m", "", "file with a JSON object for the module")
}

// errAugment refuses what Mender's tool can write and none of its clients since
// 4.0 installs.
var errAugment = errors.New("augmented artifacts are not written: no signature covers what is added, and no device installs them; put it into the artifact itself")

// maxMetaData is more than the header of an artifact may hold.
const maxMetaData = 16 << 20

// readMetaData returns the object in the file at path without the blanks, nil
// if there is none or nothing in it.
func readMetaData(path string) (json.RawMessage, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() // only read
	text, err := io.ReadAll(io.LimitReader(f, maxMetaData+1))
	if err == nil && len(text) > maxMetaData {
		err = errors.New("larger than the header of an artifact may be")
	}
	var b bytes.Buffer
	if err == nil {
		err = json.Compact(&b, text)
	}
	if err == nil && b.Bytes()[0] != '{' {
		err = errors.New("want a JSON object")
	}
	if err != nil {
		return nil, fmt.Errorf("meta-data %s: %w", path, err)
	}
	if b.String() == "{}" {
		return nil, nil
	}
	return b.Bytes(), nil
}

func (a *app) writeBootstrapCommand() *cobra.Command {
	o := newWriteOptions(bootstrapArtifact)
	cmd := &cobra.Command{
		Use:   string(bootstrapArtifact),
		Short: "Build an artifact that says what a device has, and installs nothing",
		Long: `Build an artifact without a payload. It tells a new device what it was made with:
the name of its artifact, and what it provides.`,
		Example: `  plimsoll artifact write bootstrap-artifact -n release-8 -c raspberrypi3 \
      -p rootfs-image.version:8.0.0 -k private.pem -o bootstrap.mender`,
		Args: cobra.NoArgs,
		RunE: a.verb(func(ctx context.Context, _ []string) error { return a.runWrite(ctx, o) }),
	}
	o.flags(cmd)
	return cmd
}
