package signing

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// openssl runs openssl, which must succeed.
func openssl(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("openssl", args...).CombinedOutput(); err != nil {
		t.Fatalf("openssl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// TestOpenSSLKeys: every form that OpenSSL writes of a key is read, or refused
// by its name.
func TestOpenSSLKeys(t *testing.T) {
	dir := t.TempDir()
	tests := []struct {
		name string
		args []string // of openssl, which writes to the path that follows
		want string   // the algorithm, or after "!" what the error says
	}{
		{"genrsa", []string{"genrsa", "-out"}, "rsa2048"},
		{"genrsa, traditional", []string{"genrsa", "-traditional", "-out"}, "rsa2048"},
		{"genpkey, P-256", []string{"genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out"}, "p256"},
		{"ecparam with its parameters", []string{"ecparam", "-name", "prime256v1", "-genkey", "-out"}, "p256"},
		{"genpkey, Ed25519", []string{"genpkey", "-algorithm", "ed25519", "-out"}, "ed25519"},
		{"genpkey, Ed448", []string{"genpkey", "-algorithm", "ed448", "-out"}, "!not supported"},
		{"secp256k1", []string{"ecparam", "-name", "secp256k1", "-genkey", "-noout", "-out"}, "!not supported"},
		{"encrypted", []string{"genpkey", "-algorithm", "ed25519", "-aes256", "-pass", "pass:x", "-out"}, "!encrypted"},
		{"encrypted, traditional", []string{"genrsa", "-traditional", "-aes256", "-passout", "pass:x", "-out"}, "!encrypted"},
		{"curve parameters", []string{"ecparam", "-name", "prime256v1", "-out"}, "!parameters"},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(dir, string(rune('a'+i)))
			openssl(t, append(tt.args, path)...)
			k, err := LoadPrivateKey(path)
			want, fails := strings.CutPrefix(tt.want, "!")
			switch {
			case fails && (err == nil || !strings.Contains(err.Error(), want)):
				t.Errorf("got %v, want an error that says %q", err, want)
			case !fails && (err != nil || k.Algorithm() != want):
				t.Errorf("got %v, want %s", err, want)
			}
		})
	}
}

// TestNoPSS: RSA-PSS is another scheme with the same key, and is not accepted.
func TestNoPSS(t *testing.T) {
	m, s := filepath.Join(t.TempDir(), "manifest"), filepath.Join(t.TempDir(), "sig")
	if err := os.WriteFile(m, manifest, 0o600); err != nil {
		t.Fatal(err)
	}
	key := load(t, "rsa2048").Public()
	for _, padding := range []string{"pkcs1", "pss"} {
		openssl(t, "pkeyutl", "-sign", "-inkey", filepath.Join(keyDir, "rsa2048.pem"), "-rawin", "-digest", "sha256",
			"-pkeyopt", "rsa_padding_mode:"+padding, "-in", m, "-out", s)
		if err := key.Verify(manifest, must(os.ReadFile(s))); (err == nil) != (padding == "pkcs1") {
			t.Errorf("%s: got %v", padding, err)
		}
	}
}
