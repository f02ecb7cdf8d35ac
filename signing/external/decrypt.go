package external

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"

	"github.com/plimsoll-ota/plimsoll/signing"
)

// ErrNoOpenSSL is an encrypted key where nothing can decrypt it.
var ErrNoOpenSSL = errors.New("openssl is not installed")

// Decrypt reads an encrypted private key. OpenSSL decrypts it, so that whatever
// it encrypts can be read; neither the passphrase nor the key is an argument, or
// in a file.
func Decrypt(ctx context.Context, path, passphrase string) (*signing.PrivateKey, error) {
	if strings.Contains(passphrase, "\x00") {
		return nil, fmt.Errorf("%s: a passphrase with a zero byte", path)
	}
	const name = "PLIMSOLL_PASSPHRASE"
	return decrypt(ctx, path, program{
		args: []string{"openssl", "pkey", "-in", path, "-passin", "env:" + name},
		env:  []string{name + "=" + passphrase},
	})
}

// AskAndDecrypt has OpenSSL ask for the passphrase on the terminal; what else it
// says goes to stderr.
func AskAndDecrypt(ctx context.Context, path string, stderr io.Writer) (*signing.PrivateKey, error) {
	return decrypt(ctx, path, program{args: []string{"openssl", "pkey", "-in", path}, stderr: stderr})
}

func decrypt(ctx context.Context, path string, p program) (*signing.PrivateKey, error) {
	p.limit = maxPlain
	text, err := p.run(ctx)
	if errors.Is(err, exec.ErrNotFound) {
		return nil, fmt.Errorf("decrypt %s: %w", path, ErrNoOpenSSL)
	}
	if err != nil {
		return nil, fmt.Errorf("decrypt %s: %w", path, err)
	}
	k, err := signing.ParsePrivateKey(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return k, nil
}

// maxPlain is far above a key of 4096 bits.
const maxPlain = 64 << 10
