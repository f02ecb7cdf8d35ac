package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/plimsoll-ota/plimsoll/artifact"
)

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
	cmd.Flags().StringArrayVarP(&keys, "key", "k", nil, "public key, or a PKCS#11 URI, to verify the signature with; may be given several times")
	noProgress(cmd)
	return cmd
}

func (a *app) runRead(ctx context.Context, keys []string, path string) error {
	info, err := a.inspect(ctx, path)
	if err != nil {
		return err
	}
	signature, err := a.describeSignature(ctx, info, keys)
	if err != nil {
		return err
	}
	a.out.result("artifact", infoFields(info, signature), "%s", describe(info, signature))
	return nil
}

// The words of the signature line are those that scripts know from Mender's
// tool.
const (
	signedNot     = "no signature"
	signedUnknown = "signed but no key for verification provided; please use `-k` option for providing verification key"
	signedRight   = "signed and verified correctly"
	signedWrong   = "signed; verification using provided key failed"
)

func (a *app) describeSignature(ctx context.Context, info *artifact.Info, keys []string) (string, error) {
	switch {
	case info.Signature == nil:
		return signedNot, nil
	case len(keys) == 0:
		return signedUnknown, nil
	}
	ring, err := a.keyring(ctx, keys)
	if err != nil {
		return "", err
	}
	if info.Verify(ring) != nil {
		return signedWrong, nil
	}
	return signedRight, nil
}
