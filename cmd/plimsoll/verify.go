package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
)

func (a *app) verifyCommand() *cobra.Command {
	var keys []string
	cmd := &cobra.Command{
		Use:     "verify ARTIFACT",
		Aliases: []string{"validate"},
		Short:   "Verify an artifact: structure, every checksum, and the signature",
		Long: `Verify reads all of an artifact (- is standard input) and verifies its
structure, every checksum and, with -k, the signature. With several keys one of
them must have signed it. A signed artifact needs a key; an unsigned one passes
only without.`,
		Args: cobra.ExactArgs(1),
		RunE: a.verb(func(ctx context.Context, args []string) error { return a.runVerify(ctx, keys, args[0]) }),
	}
	cmd.Flags().StringArrayVarP(&keys, "key", "k", nil, "public key, or a PKCS#11 URI; may be given several times")
	noProgress(cmd)
	return cmd
}

func (a *app) runVerify(ctx context.Context, keys []string, path string) error {
	ring, err := a.keyring(ctx, keys)
	if err != nil {
		return err
	}
	info, err := a.inspect(ctx, path)
	if err != nil {
		return err
	}
	ring.AllowUnsigned = len(keys) == 0 && info.Signature == nil
	if err := info.Verify(ring); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	a.out.result("verified", fields{"file": path, "artifact": info.Header.Name, "signed": info.Signature != nil, "manifest": info.ManifestSum},
		"Artifact file '%s' validated successfully", path)
	return nil
}
