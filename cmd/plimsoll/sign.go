package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/plimsoll-ota/plimsoll/artifact"
	"github.com/plimsoll-ota/plimsoll/signing"
)

type signOptions struct {
	signer       signerFlags
	output       string
	force        bool
	export, give string // --export, --import
}

func (a *app) signCommand() *cobra.Command {
	var o signOptions
	cmd := &cobra.Command{
		Use:   "sign ARTIFACT",
		Short: "Sign an artifact",
		Long: `Sign adds a signature to an artifact, in its place or with -o beside it. All of
the artifact is verified on the way: a damaged one is not signed. Everything but
the signature stays as it was, byte for byte, and so do permissions and owner.

` + signerHelp + `

Where the key is on a machine without a network, --export writes what is to be
signed, and --import takes the signature: the bytes that a module or OpenSSL gave,
or base64 of them. It is written if --public-key verifies it for the artifact as
it is now.`,
		Example: `  plimsoll artifact sign -k private.pem release-8.mender
  plimsoll artifact sign --key-pkcs11 'pkcs11:token=office;object=release' release-8.mender
  plimsoll artifact sign --signer-command ./kms.sh --public-key public.pem release-8.mender

  plimsoll artifact sign --export release-8.manifest release-8.mender
  openssl dgst -sha256 -sign private.pem -out release-8.sig release-8.manifest
  plimsoll artifact sign --import release-8.sig --public-key public.pem release-8.mender`,
		Args: cobra.ExactArgs(1),
		RunE: a.verb(func(ctx context.Context, args []string) error { return a.runSign(ctx, o, args[0]) }),
	}
	o.signer.add(cmd)
	f := cmd.Flags()
	f.StringVarP(&o.output, "output-path", "o", "", "where the signed artifact goes (default: in place; - is standard output)")
	f.BoolVarP(&o.force, "force", "f", false, "replace a signature that is there")
	f.StringVar(&o.export, "export", "", "write what is to be signed to this file, and sign nothing")
	f.StringVar(&o.give, "import", "", "put in the signature of this file (- is standard input)")
	cmd.MarkFlagsMutuallyExclusive("export", "import")
	cmd.MarkFlagsMutuallyExclusive("export", "output-path")
	return cmd
}

func (a *app) runSign(ctx context.Context, o signOptions, path string) error {
	if o.export != "" {
		return a.runSignExport(ctx, o, path)
	}
	out := o.output
	if out == "" {
		out = path
	}
	if out == "-" && a.out.json {
		return usage{errors.New("--json and the artifact both want standard output: -o names a file")}
	}
	key, err := a.signerOrImport(ctx, o)
	if err != nil {
		return err
	}
	if path == "-" {
		err = a.create(out, 0o644, func(w io.Writer) error { return a.signStream(ctx, w, path, key, o.force) })
	} else {
		err = a.signFile(ctx, out, path, key, o.force)
	}
	if errors.Is(err, artifact.ErrSigned) && out == path && path != "-" && a.signedBy(ctx, path, key.public) {
		return fmt.Errorf("%s %w (%s)", path, errSignedBySame, key.public.Fingerprint())
	}
	if err != nil {
		return fmt.Errorf("sign %s: %w", path, err)
	}
	if out != "-" {
		a.out.result("signed", fields{"file": out, "algorithm": key.Algorithm(), "key": key.public.Fingerprint()}, "%s is signed (%s)", out, key.Algorithm())
	}
	return nil
}

// errSignedBySame is an artifact that needs no signature.
var errSignedBySame = errors.New("is whole, and signed by this key already")

// signedBy reports whether the artifact is whole, and signed by key.
func (a *app) signedBy(ctx context.Context, path string, key signing.PublicKey) bool {
	info, err := a.inspect(ctx, path)
	return err == nil && info.Signature != nil && key.Verify(info.Manifest, info.Signature) == nil
}

func (a *app) signStream(ctx context.Context, dst io.Writer, path string, key *signer, force bool) error {
	src, _, err := a.open(ctx, path)
	if err != nil {
		return err
	}
	defer src.Close() // only read
	return artifact.Sign(dst, src, key, force)
}

// signFile signs the file at path, into out.
func (a *app) signFile(ctx context.Context, out, path string, key *signer, force bool) error {
	src, err := openAlone(ctx, path)
	if err != nil {
		return err
	}
	defer src.Close() // only read; ends the lock
	st, err := src.Stat()
	if err != nil {
		return err
	}
	body := func(w io.Writer) error { return artifact.Sign(w, untilDone{ctx, src}, key, force) }
	there, err := os.Stat(out)
	if err != nil || !os.SameFile(st, there) { // beside it
		return a.create(out, st.Mode().Perm(), body)
	}
	return a.replaceLike(out, st, body)
}
