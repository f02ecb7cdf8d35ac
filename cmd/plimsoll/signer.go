package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/plimsoll-ota/plimsoll/signing"
	"github.com/plimsoll-ota/plimsoll/signing/external"
)

// signerFlags are the flags by which a command is told who signs. They are the
// same wherever something is signed.
type signerFlags struct {
	key        string // a file, or a PKCS#11 URI
	passphrase string // a file
	pkcs11     string
	command    string
	name       string // of the command's key
	public     string // what verifies, a file or a PKCS#11 URI
	timeout    time.Duration

	keyFlag string // what --key is called; "" is key
}

// signerHelp is said where somebody signs.
const signerHelp = `A private key in a file (--key) is not the only way to sign. --key-pkcs11 has a
security module or a smart card do it, and --signer-command any program: it gets
the manifest on its standard input, and the digest as PLIMSOLL_SHA256, and gives
the signature on its standard output. --public-key names the public key, and only
a signature that this verifies is written. docs/signing.md has examples.`

func (s *signerFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&s.key, "key", "k", "", "private key to sign with (PEM), or a PKCS#11 URI")
	s.addRest(cmd)
}

// addAs is add where --key is something else.
func (s *signerFlags) addAs(cmd *cobra.Command, key, what string) {
	s.keyFlag = key
	cmd.Flags().StringVar(&s.key, key, "", "private key that signs "+what+" (PEM), or a PKCS#11 URI")
	s.addRest(cmd)
}

func (s *signerFlags) addRest(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&s.passphrase, "passphrase-file", "", "file with the passphrase of an encrypted private key (default: of PLIMSOLL_PASSPHRASE)")
	f.StringVar(&s.pkcs11, "key-pkcs11", "", "sign with the key in a token that a PKCS#11 URI names; the PIN is of the URI or of PLIMSOLL_PIN")
	f.StringVar(&s.command, "signer-command", "", "sign by a program: words as in a shell, but no shell")
	f.StringVar(&s.name, "signer-key", "", "name of the key, for --signer-command")
	f.StringVar(&s.public, "public-key", "", "public key that must verify the signature; --signer-command needs it")
	f.DurationVar(&s.timeout, "signer-timeout", external.DefaultTimeout, "how long a program may take to sign")
}

// given reports whether anybody is to sign.
func (s *signerFlags) given() bool {
	return s.key != "" || s.pkcs11 != "" || s.command != "" || s.name != "" || s.public != "" || s.passphrase != ""
}

// check says what is wrong with the flags together.
func (s *signerFlags) check() error {
	key := s.keyFlag
	if key == "" {
		key = "key"
	}
	var ways []string
	for _, way := range []struct{ name, value string }{{key, s.key}, {"key-pkcs11", s.pkcs11}, {"signer-command", s.command}} {
		if way.value != "" {
			ways = append(ways, "--"+way.name)
		}
	}
	switch {
	case len(ways) == 0:
		return fmt.Errorf("missing signing key: --%s, --key-pkcs11 or --signer-command says who signs", key)
	case len(ways) > 1:
		return fmt.Errorf("too many signing keys given: %s", strings.Join(ways, ", "))
	case s.name != "" && s.command == "":
		return errors.New("--signer-key is a name for --signer-command")
	case s.command != "" && s.public == "":
		return errors.New("--signer-command needs --public-key: a signature that nobody verified is not written")
	case s.passphrase != "" && (s.key == "" || external.IsURI(s.key)):
		return errors.New("--passphrase-file is for a private key in a file")
	}
	return nil
}

// A signer is who signs: an artifact.Signer that may take its time, and what
// there is to say of it.
type signer struct {
	public signing.PublicKey
	sign   func(manifest []byte) ([]byte, error)
}

// errBadSignature is a signature that the public key does not verify.
var errBadSignature = errors.New("the signature is not accepted")

// Sign returns the signature of manifest, which the public key verified.
func (s *signer) Sign(manifest []byte) ([]byte, error) {
	sig, err := s.sign(manifest)
	if err == nil {
		err = s.public.Verify(manifest, sig)
	}
	if errors.Is(err, signing.ErrMismatch) {
		return nil, fmt.Errorf("%w: %v", errBadSignature, err) // no artifact is refused
	}
	return sig, err
}

// Algorithm returns the kind of key.
func (s *signer) Algorithm() string { return s.public.Algorithm() }

// signer returns who signs, and says what others will make of it. ctx ends
// whatever signs later, too.
func (a *app) signer(ctx context.Context, flags signerFlags) (*signer, error) {
	if err := flags.check(); err != nil {
		return nil, usage{err}
	}
	s, err := a.whoSigns(ctx, flags)
	if err != nil {
		return nil, err
	}
	return a.warned(s), nil
}

// warned says what others will make of what s signs.
func (a *app) warned(s *signer) *signer {
	if !s.public.Interoperable() {
		a.out.say("warning: Mender's clients and tools do not accept %s signatures; plimsoll does", s.Algorithm())
	}
	return s
}

func (a *app) whoSigns(ctx context.Context, flags signerFlags) (*signer, error) {
	var public *signing.PublicKey
	if flags.public != "" {
		k, err := a.publicKey(ctx, flags.public)
		if err != nil {
			return nil, fmt.Errorf("--public-key: %w", err)
		}
		public = &k
	}
	uri := flags.pkcs11
	if external.IsURI(flags.key) {
		uri = flags.key
	}
	switch {
	case flags.command != "":
		return a.commandSigner(ctx, flags, *public)
	case uri != "":
		return a.tokenSigner(ctx, uri, flags.timeout, public)
	}
	key, err := a.privateKey(ctx, flags.key, flags.passphrase)
	if err != nil {
		return nil, err
	}
	if public != nil && public.Fingerprint() != key.Public().Fingerprint() {
		return nil, fmt.Errorf("%s: it is not the private half of %s", flags.key, flags.public)
	}
	return &signer{key.Public(), key.Sign}, nil
}

func (a *app) commandSigner(ctx context.Context, flags signerFlags, public signing.PublicKey) (*signer, error) {
	words, err := external.Words(flags.command)
	if err != nil {
		return nil, usage{fmt.Errorf("--signer-command: %w", err)}
	}
	c := &external.Command{Args: words, Key: flags.name, Public: public, Timeout: flags.timeout, Stderr: a.said()}
	return &signer{public, func(manifest []byte) ([]byte, error) { return c.Sign(ctx, manifest) }}, nil
}

// said is where a program may speak while it signs.
func (a *app) said() io.Writer {
	a.out.bar.end(a.stderr)
	return a.stderr
}

func (a *app) tokenSigner(ctx context.Context, uri string, timeout time.Duration, public *signing.PublicKey) (*signer, error) {
	t, err := a.token(uri, timeout)
	if err != nil {
		return nil, err
	}
	if public == nil {
		k, err := t.PublicKey(ctx)
		if err != nil {
			return nil, err
		}
		public = &k
	}
	return &signer{*public, func(manifest []byte) ([]byte, error) { return t.Sign(ctx, *public, manifest) }}, nil
}

// token returns the key that a PKCS#11 URI names.
func (a *app) token(uri string, timeout time.Duration) (*external.Token, error) {
	t, err := external.ParseToken(uri)
	if err != nil {
		return nil, usage{err}
	}
	if t.HasPIN() {
		a.out.say("warning: a PIN in the URI is seen by everybody on this machine, and kept by shells: pin-source=file:/PATH, or PLIMSOLL_PIN, is not")
	}
	t.PIN, t.Timeout = os.Getenv("PLIMSOLL_PIN"), timeout
	return t, nil
}
