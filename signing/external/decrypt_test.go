package external

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plimsoll-ota/plimsoll/signing"
)

// TestDecrypt: every form that OpenSSL writes, by the right passphrase only.
func TestDecrypt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key.pem")
	for _, args := range []string{
		"pkcs8 -topk8 -v2 aes-256-cbc -scrypt", "pkcs8 -topk8 -v2 aes-128-cbc -v2prf hmacWithSHA1", "pkcs8 -topk8 -v2 des3", "rsa -traditional -aes256",
	} {
		run(t, append(append([]string{"openssl"}, strings.Fields(args)...), "-passout", "pass:two words", "-in", keyPath(t, "rsa2048"), "-out", path)...)
		if _, err := signing.LoadPrivateKey(path); !errors.Is(err, signing.ErrEncrypted) {
			t.Errorf("%s: plainly: got %v", args, err)
		}
		k, err := Decrypt(t.Context(), path, "two words")
		if err != nil || k.Public().Fingerprint() != privateKey(t, "rsa2048").Public().Fingerprint() {
			t.Errorf("%s: got %v", args, err)
		}
		for _, wrong := range []string{"", "two", "a\x00b"} {
			if _, err := Decrypt(t.Context(), path, wrong); err == nil {
				t.Errorf("%s: decrypted by %q", args, wrong)
			}
		}
	}
	want := errors.New("interrupted by a test")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(want)
	if _, err := Decrypt(ctx, path, "two words"); !errors.Is(err, want) {
		t.Errorf("cancelled: got %v", err)
	}
	t.Setenv("PATH", t.TempDir())
	if _, err := Decrypt(t.Context(), path, "two words"); !errors.Is(err, ErrNoOpenSSL) {
		t.Errorf("no openssl: got %v", err)
	}
}
