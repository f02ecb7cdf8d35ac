package main

import (
	"context"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/plimsoll-ota/plimsoll/udev/prepare"
	"github.com/plimsoll-ota/plimsoll/udev/report"
)

type stickPrepareOptions struct {
	keys    []string
	signer  signerFlags
	serials []string
	reports int
}

func (a *app) stickPrepareCommand() *cobra.Command {
	var o stickPrepareOptions
	cmd := &cobra.Command{
		Use:   "prepare DIR FILE...",
		Short: "Copy artifacts to a stick, and verify that it holds them",
		Long: `Prepare copies artifacts to the stick that is mounted at DIR, into its folder
plimsoll. Nothing is written before all of them were read and verified, with -k
also who signed them, and it is known that they fit: FAT32 takes no file of
4 GiB. Each is verified again on the way, and read back from the stick itself.
An artifact that is there already, the same to the last byte, is kept.

plimsoll/index.json lists what is there; --sign-key signs it, with a key that
need not be one that devices trust. --serial limits the stick to the devices
that are named. It is a convenience and no protection: anybody can change it.`,
		Example: `  plimsoll stick prepare /media/usb release-8.mender -k public.pem`,
		Args:    cobra.MinimumNArgs(2),
		RunE: a.verb(func(ctx context.Context, args []string) error {
			return a.runStickPrepare(ctx, o, args[0], args[1:])
		}),
	}
	f := cmd.Flags()
	f.StringArrayVarP(&o.keys, "key", "k", nil, "public key that the devices trust; may be given several times")
	o.signer.addAs(cmd, "sign-key", "the index")
	f.StringArrayVar(&o.serials, "serial", nil, "serial number of a device that the stick is for; may be given several times")
	f.IntVar(&o.reports, "reports", 20, "reports that room is made for, 0 to 99: a device that finds room needs none of the stick's")
	return cmd
}

func (a *app) runStickPrepare(ctx context.Context, o stickPrepareOptions, dir string, files []string) error {
	opts := prepare.Options{Serials: o.serials, Progress: a.out.count}
	if o.reports < 0 || o.reports > report.MaxAllocated {
		return fmt.Errorf("--reports is 0 to %d, not %d", report.MaxAllocated, o.reports)
	}
	if o.reports != 0 {
		opts.Reserve = report.Allocated(o.reports)
		opts.After = func(dir string) error { return report.Allocate(dir, o.reports) }
	}
	if len(o.keys) > 0 {
		ring, err := a.keyring(ctx, o.keys)
		if err != nil {
			return err
		}
		opts.Verifier = ring
	}
	if o.signer.given() {
		key, err := a.signer(ctx, o.signer)
		if err != nil {
			return err
		}
		opts.Signer = key
	}
	if err := a.doubts(o, dir); err != nil {
		return err
	}
	placed, err := prepare.Prepare(ctx, dir, files, opts)
	if err != nil {
		return err
	}
	for _, p := range placed {
		a.placed(p)
	}
	a.out.result("prepared", fields{"stick": dir, "artifacts": len(placed), "checked": len(o.keys) > 0},
		"%s is ready: eject it before pulling it out", dir)
	return nil
}

// doubts tells what is allowed, and probably not meant.
func (a *app) doubts(o stickPrepareOptions, dir string) error {
	if len(o.keys) == 0 {
		a.out.say("who signed is not looked at: -k names a key that the devices trust")
	}
	mounted, err := isMountPoint(dir)
	if err == nil && !mounted {
		a.out.say("nothing is mounted at %s: it is a folder of this computer", dir)
	}
	return err
}

// isMountPoint reports whether a file system begins at dir.
func isMountPoint(dir string) (bool, error) {
	var own, above unix.Stat_t
	if err := unix.Stat(dir, &own); err != nil {
		return false, &fs.PathError{Op: "prepare", Path: dir, Err: err}
	}
	if err := unix.Stat(filepath.Join(dir, ".."), &above); err != nil {
		return false, &fs.PathError{Op: "prepare", Path: dir, Err: err}
	}
	return own.Dev != above.Dev || own.Ino == above.Ino, nil
}

func (a *app) placed(p prepare.Placed) {
	how := "copied and verified"
	if p.Kept {
		how = "was there"
	}
	a.out.result("artifact", fields{
		"file": p.File, "artifact": p.Artifact, "version": p.Version, "device_types": p.DeviceTypes,
		"size": p.Size, "sha256": p.SHA256, "kept": p.Kept,
	}, "%s: %s", filepath.Join("plimsoll", p.File), fmt.Sprintf("%s, for %s, %s: %s", named(p.Artifact, p.Version), strings.Join(p.DeviceTypes, " and "), size(p.Size), how))
	if !isVersion(p.Version) {
		a.out.say("%s has no version number to compare: devices refuse it (E23), unless their configuration says unversioned = \"allow\"; --update-version gives it one", p.Artifact)
	}
}
