package main

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/plimsoll-ota/plimsoll/signing"
	"github.com/plimsoll-ota/plimsoll/signing/external"
	"github.com/plimsoll-ota/plimsoll/udev/report"
)

func (a *app) keyCommand() *cobra.Command {
	return group("key", "Make keys: to sign artifacts with, and to read logs with", a.keyGenerateCommand(), a.keyPublicCommand())
}

type keyOptions struct {
	algorithm string
	output    string
	office    bool
}

func (a *app) keyGenerateCommand() *cobra.Command {
	var o keyOptions
	cmd := &cobra.Command{
		Use:   "generate",
		Short: "Make a private key",
		Long: `Generate makes a private key, readable by its owner only. Keep it where
artifacts are signed; devices get the public key (plimsoll key public). A file
that is there already is not overwritten.

p256 and rsa3072 are understood by Mender's clients too; ed25519 only by plimsoll.

With --office it is no key to sign with: devices that have its public half
([report] log_key) seal their logs with it before these go onto a stick, and
whoever has the private one reads them (plimsoll stick reports --open-key).`,
		Args: cobra.NoArgs,
		RunE: a.verb(func(context.Context, []string) error {
			if o.office {
				return a.runKeyOffice(o.output)
			}
			return a.runKeyGenerate(o)
		}),
	}
	cmd.Flags().StringVar(&o.algorithm, "algorithm", "p256", "p256, rsa2048, rsa3072, rsa4096 or ed25519")
	cmd.Flags().StringVarP(&o.output, "output-path", "o", "private.pem", "where the key goes")
	cmd.Flags().BoolVar(&o.office, "office", false, "make a key that logs on sticks are sealed for")
	cmd.MarkFlagsMutuallyExclusive("office", "algorithm")
	return cmd
}

func (a *app) runKeyGenerate(o keyOptions) error {
	key, err := signing.Generate(o.algorithm)
	if err != nil {
		return err
	}
	pem, err := key.MarshalPEM()
	if err != nil {
		return err
	}
	if err := writeSecret(o.output, pem); err != nil {
		return err
	}
	a.out.result("key", fields{"file": o.output, "algorithm": key.Algorithm()}, "%s holds a new private key (%s)", o.output, key.Algorithm())
	return nil
}

func (a *app) runKeyOffice(output string) error {
	key, err := report.GenerateOfficeKey()
	if err != nil {
		return err
	}
	pem, err := key.MarshalPEM()
	if err != nil {
		return err
	}
	if err := writeSecret(output, pem); err != nil {
		return err
	}
	public := key.Public().Fingerprint()
	a.out.result("key", fields{"file": output, "algorithm": "x25519", "fingerprint": public}, "%s holds a new private key to read logs with (%s)", output, public)
	return nil
}

// writeSecret writes a file that only its owner reads and that was not there
// before. When it cannot be written whole it is removed.
func writeSecret(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return &fs.PathError{Op: "write key", Path: path, Err: errors.New("the file is there already, and is not overwritten")}
	}
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

func (a *app) keyPublicCommand() *cobra.Command {
	var output, passphrase string
	cmd := &cobra.Command{
		Use:   "public PRIVATE-KEY",
		Short: "Print the public key of a private one",
		Long: `Public prints the public key that belongs to a private one: in a file, which may
be encrypted (see plimsoll artifact sign), or in a token that a PKCS#11 URI names.`,
		Example: `  plimsoll key public private.pem -o public.pem
  plimsoll key public 'pkcs11:token=office;object=release' -o public.pem`,
		Args: cobra.ExactArgs(1),
		RunE: a.verb(func(ctx context.Context, args []string) error {
			return a.runKeyPublic(ctx, args[0], passphrase, output)
		}),
	}
	cmd.Flags().StringVarP(&output, "output-path", "o", "-", "where the public key goes; - is standard output")
	cmd.Flags().StringVar(&passphrase, "passphrase-file", "", "file with the passphrase of an encrypted private key (default: of PLIMSOLL_PASSPHRASE)")
	return cmd
}

func (a *app) runKeyPublic(ctx context.Context, path, passphrase, output string) error {
	if external.IsURI(path) {
		key, err := a.publicKey(ctx, path)
		if err != nil {
			return err
		}
		return a.createPublic(output, key)
	}
	if office, err := report.LoadOfficeKey(path); err == nil {
		pem, err := office.Public().MarshalPEM()
		if err != nil {
			return err
		}
		return a.createBytes(output, pem)
	}
	key, err := a.privateKey(ctx, path, passphrase)
	if err != nil {
		return err
	}
	return a.createPublic(output, key.Public())
}

func (a *app) createPublic(output string, key signing.PublicKey) error {
	pem, err := key.MarshalPEM()
	if err != nil {
		return err
	}
	return a.createBytes(output, pem)
}
