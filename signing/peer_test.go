package signing

import (
	"archive/tar"
	"bytes"
	"encoding/base64"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// run runs a peer and returns what it says.
func run(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

func writeFile(t *testing.T, dir, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestOpenSSLVerifies what plimsoll signs.
func TestOpenSSLVerifies(t *testing.T) {
	for _, name := range keyNames {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			sig := sign(t, load(t, name), manifest)
			if name == "p256" {
				sig = der(t, sig) // OpenSSL knows no other form
			}
			m, s := writeFile(t, dir, "manifest", manifest), writeFile(t, dir, "sig", sig)
			args := []string{"pkeyutl", "-verify", "-pubin", "-inkey", filepath.Join(keyDir, name+".pub.pem"), "-rawin", "-in", m, "-sigfile", s}
			if name != "ed25519" {
				args = append(args, "-digest", "sha256")
			}
			run(t, "openssl", args...)
			writeFile(t, dir, "manifest", manifest[1:])
			if out, err := exec.Command("openssl", args...).CombinedOutput(); err == nil {
				t.Errorf("another manifest: openssl says %s", out)
			}
		})
	}
}

// TestOpenSSLSigns what plimsoll verifies, and so does its own signature.
func TestOpenSSLSigns(t *testing.T) {
	for _, name := range keyNames {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			m, s := writeFile(t, dir, "manifest", manifest), filepath.Join(dir, "sig")
			args := []string{"pkeyutl", "-sign", "-inkey", filepath.Join(keyDir, name+".pem"), "-rawin", "-in", m, "-out", s}
			if name != "ed25519" {
				args = append(args, "-digest", "sha256")
			}
			run(t, "openssl", args...)
			sig := must(os.ReadFile(s))
			ring := must(LoadKeyring(filepath.Join(keyDir, name+".pub.pem")))
			if err := ring.Verify(manifest, sig); err != nil {
				t.Error(err)
			}
			// RSA-PSS is another scheme with the same key.
			if strings.HasPrefix(name, "rsa") {
				run(t, "openssl", append(args, "-pkeyopt", "rsa_padding_mode:pss")...)
				if ring.Verify(manifest, must(os.ReadFile(s))) == nil {
					t.Error("a signature by RSA-PSS is accepted")
				}
			}
		})
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
			run(t, "openssl", append(tt.args, path)...)
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

// TestOpenSSLReads the keys that plimsoll writes, and names them alike.
func TestOpenSSLReads(t *testing.T) {
	for _, name := range []string{"rsa2048", "p256", "ed25519"} {
		dir := t.TempDir()
		k := must(Generate(name))
		path := writeFile(t, dir, "key", must(k.MarshalPEM()))
		if got, want := run(t, "openssl", "pkey", "-in", path, "-pubout"), must(k.Public().MarshalPEM()); !bytes.Equal(got, want) {
			t.Errorf("%s: got public key\n%s, want\n%s", name, got, want)
		}
		spki := filepath.Join(dir, "spki")
		run(t, "openssl", "pkey", "-in", path, "-pubout", "-outform", "DER", "-out", spki)
		sum := strings.Fields(string(run(t, "sha256sum", spki)))[0]
		if got := k.Public().Fingerprint(); got != sum {
			t.Errorf("%s: got fingerprint %s, want %s", name, got, sum)
		}
	}
}

// member returns the content of one member of an artifact.
func member(t *testing.T, artifact, name string) []byte {
	t.Helper()
	f, err := os.Open(artifact)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if h.Name == name {
			return must(io.ReadAll(r))
		}
	}
}

// TestMenderArtifact: the signatures of mender-artifact are verified, and keys
// that plimsoll generated are good enough for it to sign and verify with.
func TestMenderArtifact(t *testing.T) {
	for _, name := range []string{"rsa2048", "rsa3072", "p256"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			k := must(Generate(name))
			key := writeFile(t, dir, "key.pem", must(k.MarshalPEM()))
			public := writeFile(t, dir, "key.pub.pem", must(k.Public().MarshalPEM()))
			image := writeFile(t, dir, "image", bytes.Repeat([]byte("image"), 1000))
			out := filepath.Join(dir, "a.mender")
			run(t, "mender-artifact", "write", "rootfs-image", "-t", "board", "-n", "one", "-f", image, "-k", key, "-o", out)
			run(t, "mender-artifact", "validate", "-k", public, out)
			signed := member(t, out, "manifest")
			theirs := must(base64.StdEncoding.DecodeString(string(member(t, out, "manifest.sig"))))
			ring := must(LoadKeyring(public))
			if err := ring.Verify(signed, theirs); err != nil {
				t.Error(err)
			}
			replaceSignature(t, out, base64.StdEncoding.EncodeToString(sign(t, k, signed)))
			run(t, "mender-artifact", "validate", "-k", public, out)
			replaceSignature(t, out, base64.StdEncoding.EncodeToString(sign(t, k, signed[1:])))
			if said, err := exec.Command("mender-artifact", "validate", "-k", public, out).CombinedOutput(); err == nil {
				t.Errorf("a signature of another manifest: mender-artifact says %s", said)
			}
		})
	}
}

// replaceSignature puts text in the place of an artifact's signature, which has
// the same length.
func replaceSignature(t *testing.T, artifact, text string) {
	t.Helper()
	old := member(t, artifact, "manifest.sig")
	b := must(os.ReadFile(artifact))
	if len(old) != len(text) || bytes.Count(b, old) != 1 {
		t.Fatalf("signatures of %d and %d characters", len(old), len(text))
	}
	if err := os.WriteFile(artifact, bytes.Replace(b, old, []byte(text), 1), 0o600); err != nil {
		t.Fatal(err)
	}
}
