package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/plimsoll-ota/plimsoll/artifact"
	"github.com/plimsoll-ota/plimsoll/signing"
)

type readOptions struct {
	keys  []string
	check bool
}

func (a *app) readCommand() *cobra.Command {
	var o readOptions
	cmd := &cobra.Command{
		Use:   "read ARTIFACT",
		Short: "Say what is in an artifact; all of it is read and its checksums are verified",
		Long: `Read says what is in an artifact (- is standard input), as YAML, in the words and
on the lines of mender-artifact 4.x. All of it is read and its checksums are
verified.

A signature that does not verify is reported and does not change the exit code,
which scripts rely on; with --check-signature anything but a signature by one of
the keys is exit 3. With --json there is more: where the members are and how they
are compressed, and which key signed.`,
		Example: `  plimsoll artifact read release-8.mender
  plimsoll artifact read --check-signature -k public.pem release-8.mender
  plimsoll --json artifact read release-8.mender | jq .provides`,
		Args: cobra.ExactArgs(1),
		RunE: a.verb(func(ctx context.Context, args []string) error { return a.runRead(ctx, o, args[0]) }),
	}
	f := cmd.Flags()
	f.StringArrayVarP(&o.keys, "key", "k", nil, "public key, or a PKCS#11 URI, to verify the signature with; may be given several times")
	f.BoolVar(&o.check, "check-signature", false, "exit 3 unless one of the keys signed it")
	noProgress(cmd)
	return cmd
}

func (a *app) runRead(ctx context.Context, o readOptions, path string) error {
	ring, err := a.keyring(ctx, o.keys)
	if err != nil {
		return err
	}
	info, err := a.inspect(ctx, path)
	if err != nil {
		return err
	}
	f := infoFields(info)
	if f["members"], err = memberFields(info.Members, path); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	var signer signing.PublicKey
	untrusted := info.Verify(verifier(func(manifest, sig []byte) (err error) {
		if err = ring.Verify(manifest, sig); err == nil {
			signer, err = ring.Signer(manifest, sig)
		}
		return err
	}))
	signature := describeSignature(info, len(ring.Keys), untrusted)
	f["signature"], f["verified"] = signature, untrusted == nil
	if untrusted == nil {
		f["signer"] = fields{"key": signer.Path(), "fingerprint": signer.Fingerprint(), "algorithm": signer.Algorithm()}
	}
	a.out.result("artifact", f, "%s", describe(info, signature))
	if o.check && untrusted != nil {
		return fmt.Errorf("%s: %w", path, untrusted)
	}
	return nil
}

// A verifier is a function that is asked as an artifact.Verifier is.
type verifier func(manifest, sig []byte) error

func (v verifier) Verify(manifest, sig []byte) error { return v(manifest, sig) }

// describeSignature says it in the words that scripts know from Mender's tool.
func describeSignature(info *artifact.Info, keys int, untrusted error) string {
	switch {
	case info.Signature == nil:
		return signedNot
	case keys == 0:
		return signedUnknown
	case untrusted != nil:
		return signedWrong
	}
	return signedRight
}

const (
	signedNot     = "no signature"
	signedUnknown = "signed but no key for verification provided; please use `-k` option for providing verification key"
	signedRight   = "signed and verified correctly"
	signedWrong   = "signed; verification using provided key failed"
)

// memberFields says where the members are and, of a file, what they are made of.
func memberFields(members []artifact.Member, path string) (all []fields, err error) {
	var src *os.File
	if path != "-" {
		if src, err = os.Open(path); err != nil {
			return nil, err
		}
		defer src.Close() // only read
	}
	for _, m := range members {
		f := fields{"name": m.Name, "size": m.Size, "offset": m.Offset}
		if c := m.Compression(); c != "" {
			f["compression"] = c
		}
		if n, err := pieces(m, src); err != nil {
			return nil, err
		} else if n > 0 {
			f["pieces"] = n
		}
		all = append(all, f)
	}
	return all, nil
}

// pieces counts what can be decompressed on its own, where that can be looked up.
func pieces(m artifact.Member, src *os.File) (int, error) {
	if src == nil || !mode(src).IsRegular() {
		return 0, nil
	}
	return m.Pieces(src)
}
