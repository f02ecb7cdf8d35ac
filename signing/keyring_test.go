package signing

import (
	"errors"
	"path/filepath"
	"testing"
)

const keyDir = "../testdata/keys"

func load(t *testing.T, name string) *PrivateKey {
	t.Helper()
	key, err := LoadPrivateKey(filepath.Join(keyDir, name+".pem"))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestSignVerify(t *testing.T) {
	manifest := []byte("0123  version\n")
	all, err := LoadKeyring(keyDir + "/*.pub.pem")
	if err != nil {
		t.Fatal(err)
	}
	if len(all.Keys) != 4 {
		t.Fatalf("got %d keys, want 4", len(all.Keys))
	}
	for _, name := range []string{"rsa2048", "rsa3072", "p256", "ed25519"} {
		t.Run(name, func(t *testing.T) {
			sig, err := load(t, name).Sign(manifest)
			if err != nil {
				t.Fatal(err)
			}
			if err := all.Verify(manifest, sig); err != nil {
				t.Error(err)
			}
			if err := all.Verify(manifest[1:], sig); !errors.Is(err, ErrMismatch) {
				t.Errorf("another manifest: got %v, want %v", err, ErrMismatch)
			}
		})
	}
}
