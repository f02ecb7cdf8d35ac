package main

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/plimsoll-ota/plimsoll/artifact"
	"github.com/plimsoll-ota/plimsoll/signing"
)

func (a *app) artifactCommand() *cobra.Command {
	return group("artifact", "Build, inspect, verify and sign artifacts",
		group("write", "Build an artifact", a.writeRootfsCommand()),
		a.readCommand(), a.verifyCommand(), a.signCommand())
}

func (a *app) readCommand() *cobra.Command {
	var keys []string
	cmd := &cobra.Command{
		Use:   "read ARTIFACT",
		Short: "Say what is in an artifact; all of it is read and its checksums are verified",
		Long: `Read says what is in an artifact (- is standard input). All of it is read and
its checksums are verified. A signature that does not verify is reported, and
does not change the exit code: use verify for that.`,
		Args: cobra.ExactArgs(1),
		RunE: a.verb(func(ctx context.Context, args []string) error { return a.runRead(ctx, keys, args[0]) }),
	}
	cmd.Flags().StringArrayVarP(&keys, "key", "k", nil, "public key to verify the signature with; may be given several times")
	noProgress(cmd)
	return cmd
}

// noProgress accepts the flag of Mender's tool; ours shows none there.
func noProgress(cmd *cobra.Command) {
	cmd.Flags().Bool("no-progress", false, "accepted for scripts; see --quiet")
}

func (a *app) runRead(ctx context.Context, keys []string, path string) error {
	info, err := a.inspect(ctx, path)
	if err != nil {
		return err
	}
	signature, err := describeSignature(info, keys)
	if err != nil {
		return err
	}
	a.out.result("artifact", infoFields(info, signature), "%s", describe(info, signature))
	return nil
}

// inspect reads the artifact at path to its end.
func (a *app) inspect(ctx context.Context, path string) (*artifact.Info, error) {
	src, name, err := a.open(ctx, path)
	if err != nil {
		return nil, err
	}
	defer src.Close() // only read
	info, err := artifact.Inspect(src)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return info, nil
}

// The words of the signature line are those that scripts know from Mender's
// tool.
const (
	signedNot     = "no signature"
	signedUnknown = "signed but no key for verification provided; please use `-k` option for providing verification key"
	signedRight   = "signed and verified correctly"
	signedWrong   = "signed; verification using provided key failed"
)

func describeSignature(info *artifact.Info, keys []string) (string, error) {
	switch {
	case info.Signature == nil:
		return signedNot, nil
	case len(keys) == 0:
		return signedUnknown, nil
	}
	ring, err := signing.LoadKeyring(keys...)
	if err != nil {
		return "", err
	}
	if info.Verify(ring) != nil {
		return signedWrong, nil
	}
	return signedRight, nil
}

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
	cmd.Flags().StringArrayVarP(&keys, "key", "k", nil, "public key; may be given several times")
	noProgress(cmd)
	return cmd
}

func (a *app) runVerify(ctx context.Context, keys []string, path string) error {
	ring, err := signing.LoadKeyring(keys...)
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

type signOptions struct {
	key    string
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
	f := cmd.Flags()
	f.StringVarP(&o.key, "key", "k", "", "private key (PEM)")
	f.StringVarP(&o.output, "output-path", "o", "", "where the signed artifact goes (default: in place; - is standard output)")
	f.BoolVarP(&o.force, "force", "f", false, "replace a signature that is there")
	require(cmd, "key")
	return cmd
}

func (a *app) runSign(ctx context.Context, o signOptions, path string) error {
	key, err := a.signer(o.key)
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

// signer loads a private key, and says what others will make of it.
func (a *app) signer(path string) (*signing.PrivateKey, error) {
	key, err := signing.LoadPrivateKey(path)
	if err != nil {
		return nil, err
	}
	if !key.Interoperable() {
		a.out.say("warning: Mender's clients and tools do not accept %s signatures; plimsoll does", key.Algorithm())
	}
	return key, nil
}

// require marks flags without which a command makes no sense.
func require(cmd *cobra.Command, names ...string) {
	for _, name := range names {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic("plimsoll: " + err.Error())
		}
	}
}
