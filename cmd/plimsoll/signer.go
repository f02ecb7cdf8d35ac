package main

import (
	"github.com/spf13/cobra"

	"github.com/plimsoll-ota/plimsoll/signing"
)

// signerFlags are the flags by which a command is told who signs. They are the
// same wherever something is signed.
type signerFlags struct {
	key string
}

// signerNames are the flags of which one says who signs.
var signerNames = []string{"key"}

func (s *signerFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&s.key, "key", "k", "", "private key to sign with (PEM)")
}

// given reports whether anybody is to sign.
func (s *signerFlags) given() bool { return s.key != "" }

// signer returns who signs, and says what others will make of it.
func (a *app) signer(s signerFlags) (*signing.PrivateKey, error) {
	key, err := signing.LoadPrivateKey(s.key)
	if err != nil {
		return nil, err
	}
	if !key.Interoperable() {
		a.out.say("warning: Mender's clients and tools do not accept %s signatures; plimsoll does", key.Algorithm())
	}
	return key, nil
}
