package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/plimsoll-ota/plimsoll/artifact"
	"github.com/plimsoll-ota/plimsoll/udev/scan"
)

func (a *app) stickVerifyCommand() *cobra.Command {
	var keys []string
	cmd := &cobra.Command{
		Use:   "verify DIR",
		Short: "Check every artifact on a stick as a device would",
		Long: `Verify finds the artifacts on the stick that is mounted at DIR as a device does,
in its root and in the folder plimsoll, and reads each to its end: structure,
every checksum, and who signed it. The keys are those that -k names, else those
that the configuration of this device trusts.

The exit code is 0 if all are good, 2 if there are none, and 3 if one is refused.`,
		Args: cobra.ExactArgs(1),
		RunE: a.verb(func(ctx context.Context, args []string) error { return a.runStickVerify(ctx, keys, args[0]) }),
	}
	cmd.Flags().StringArrayVarP(&keys, "key", "k", nil, "public key that the devices trust; may be given several times")
	return cmd
}

func (a *app) runStickVerify(ctx context.Context, keys []string, dir string) error {
	ring, err := a.stickKeyring(keys)
	if err != nil {
		return err
	}
	s, tree, err := a.lookAt(dir)
	if err != nil {
		return err
	}
	defer s.Close() // only read
	refused := 0
	for _, f := range tree.Files {
		good, err := a.verifyFile(ctx, s, f, ring)
		if err != nil {
			return err
		}
		if !good {
			refused++
		}
	}
	a.out.result("verified", fields{"stick": dir, "artifacts": len(tree.Files), "refused": refused, "truncated": tree.Truncated},
		"%s: %s, %d refused", dir, artifacts(len(tree.Files)), refused)
	switch {
	case refused > 0 || tree.Truncated:
		return exitCode(exitRefused)
	case len(tree.Files) == 0:
		return exitCode(exitNothing)
	}
	return nil
}

// verifyFile tells what becomes of one file. The error is one that ends the verb.
func (a *app) verifyFile(ctx context.Context, s *scan.Stick, f scan.File, v artifact.Verifier) (good bool, err error) {
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	c, err := s.Look(f, v)
	all := fields{"file": f.Name, "size": f.Size, "good": false}
	if err == nil {
		defer c.Close() // only read
		all["artifact"], all["version"], all["manifest"], all["device_types"] = c.Header.Name, c.Version(), c.Manifest, c.Header.DeviceTypes
		err = c.Verify(func(r io.Reader) io.Reader {
			return &counted{r: untilDone{ctx, r}, report: func(n int64) { a.out.count("verify", n, f.Size) }}
		})
	}
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	if err != nil {
		all["error"], all["hint"] = err.Error(), hintFor(err)
		a.out.result("file", all, "%s: refused: %v\n  hint: %s", f.Name, err, hintFor(err))
		return false, nil
	}
	all["good"] = true
	a.out.result("file", all, "%s: %s: good", f.Name, named(c.Header.Name, c.Version()))
	return true, nil
}

func artifacts(n int) string {
	if n == 1 {
		return "1 artifact"
	}
	return fmt.Sprintf("%d artifacts", n)
}
