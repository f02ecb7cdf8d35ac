package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/plimsoll-ota/plimsoll/signing"
	"github.com/plimsoll-ota/plimsoll/signing/external"
)

// keyring reads the public keys that a command is to trust: of files, and of
// the tokens that PKCS#11 URIs name.
func (a *app) keyring(ctx context.Context, names []string) (*signing.Keyring, error) {
	var files []string
	var inTokens []signing.PublicKey
	for _, name := range names {
		if !external.IsURI(name) {
			files = append(files, name)
			continue
		}
		k, err := a.publicKey(ctx, name)
		if err != nil {
			return nil, err
		}
		inTokens = append(inTokens, k)
	}
	ring, err := signing.LoadKeyring(files...)
	if err != nil {
		return nil, err
	}
	ring.Keys = append(ring.Keys, inTokens...)
	return ring, nil
}

// publicKey reads the one public key of a file or a token.
func (a *app) publicKey(ctx context.Context, name string) (signing.PublicKey, error) {
	if external.IsURI(name) {
		t, err := a.token(name, 0)
		if err != nil {
			return signing.PublicKey{}, err
		}
		return t.PublicKey(ctx)
	}
	ring, err := signing.LoadKeyring(name)
	if err != nil {
		return signing.PublicKey{}, err
	}
	if len(ring.Keys) != 1 {
		return signing.PublicKey{}, fmt.Errorf("%s: %d public keys, want the one of who signs", name, len(ring.Keys))
	}
	return ring.Keys[0], nil
}

// maxPassphrase is more than anybody types.
const maxPassphrase = 4 << 10

// privateKey reads a private key, and has OpenSSL decrypt it if it is encrypted.
func (a *app) privateKey(ctx context.Context, path, passphraseFile string) (*signing.PrivateKey, error) {
	key, encrypted := signing.LoadPrivateKey(path)
	if !errors.Is(encrypted, signing.ErrEncrypted) {
		return key, encrypted
	}
	passphrase, ok, err := readPassphrase(passphraseFile)
	switch {
	case err != nil:
		return nil, fmt.Errorf("read passphrase: %w", err)
	case ok:
		return external.Decrypt(ctx, path, passphrase)
	case a.terminal:
		return external.AskAndDecrypt(ctx, path, a.said())
	}
	return nil, encrypted
}

// readPassphrase returns the passphrase of the file, or of the environment.
func readPassphrase(path string) (passphrase string, ok bool, err error) {
	if path == "" {
		passphrase, ok = os.LookupEnv("PLIMSOLL_PASSPHRASE")
		return passphrase, ok, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return "", false, err
	}
	defer f.Close() // only read
	b, err := io.ReadAll(io.LimitReader(f, maxPassphrase+1))
	if err != nil {
		return "", false, err
	}
	line, rest, _ := strings.Cut(string(b), "\n")
	if len(b) > maxPassphrase || rest != "" {
		return "", false, fmt.Errorf("%s holds more than one line", path)
	}
	return strings.TrimSuffix(line, "\r"), true, nil
}
