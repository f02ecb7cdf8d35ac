package main

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/plimsoll-ota/plimsoll/artifact"
)

type signOptions struct {
	signer signerFlags
	output string
	force  bool
}

func (a *app) signCommand() *cobra.Command {
	var o signOptions
	cmd := &cobra.Command{
		Use:   "sign ARTIFACT",
		Short: "Sign an artifact",
		Long: `Sign adds a signature to an artifact, in its place or with -o beside it. All of
the artifact is verified on the way: a damaged one is not signed. Everything but
the signature stays as it was, byte for byte.`,
		Args: cobra.ExactArgs(1),
		RunE: a.verb(func(ctx context.Context, args []string) error { return a.runSign(ctx, o, args[0]) }),
	}
	o.signer.add(cmd)
	cmd.MarkFlagsOneRequired(signerNames...)
	f := cmd.Flags()
	f.StringVarP(&o.output, "output-path", "o", "", "where the signed artifact goes (default: in place; - is standard output)")
	f.BoolVarP(&o.force, "force", "f", false, "replace a signature that is there")
	return cmd
}

func (a *app) runSign(ctx context.Context, o signOptions, path string) error {
	key, err := a.signer(o.signer)
	if err != nil {
		return err
	}
	src, name, err := a.open(ctx, path)
	if err != nil {
		return err
	}
	defer src.Close() // only read
	out := o.output
	if out == "" {
		out = path
	}
	mode := fs.FileMode(0o644)
	if st, err := os.Stat(path); err == nil && path != "-" {
		mode = st.Mode().Perm()
	}
	err = a.create(out, mode, func(w io.Writer) error { return artifact.Sign(w, src, key, o.force) })
	if err != nil {
		return fmt.Errorf("sign %s: %w", name, err)
	}
	if out != "-" {
		a.out.result("signed", fields{"file": out, "algorithm": key.Algorithm()}, "%s is signed (%s)", out, key.Algorithm())
	}
	return nil
}
