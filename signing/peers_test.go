package signing

import (
	"archive/tar"
	"bytes"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"io"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The peers are openssl and mender-artifact, from Debian's packages of the
// same names.

// peer runs a program in dir, which must succeed, and returns its output.
func peer(t *testing.T, dir string, args ...string) []byte {
	t.Helper()
	out, err := run(dir, args...)
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func run(dir string, args ...string) ([]byte, error) {
	c := exec.Command(args[0], args[1:]...)
	c.Dir = dir
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	if err := c.Run(); err != nil {
		return append(stderr.Bytes(), stdout.Bytes()...), err
	}
	return stdout.Bytes(), nil
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// keep writes both halves of key into dir, as the command does.
func keep(t *testing.T, dir string, key *PrivateKey) {
	t.Helper()
	private, err := key.MarshalPEM()
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "key.pem"), private)
	write(t, filepath.Join(dir, "pub.pem"), public(t, key))
}

func public(t *testing.T, key *PrivateKey) []byte {
	t.Helper()
	b, err := key.Public().MarshalPEM()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

type signature struct{ R, S *big.Int }

// toDER turns r‖s into what openssl reads.
func toDER(t testing.TB, raw []byte) []byte {
	t.Helper()
	der, err := asn1.Marshal(signature{new(big.Int).SetBytes(raw[:32]), new(big.Int).SetBytes(raw[32:])})
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// TestOpenSSL signs with each and verifies with the other, with keys that we
// generated.
func TestOpenSSL(t *testing.T) {
	for _, algorithm := range []string{"rsa2048", "rsa3072", "rsa4096", "p256", "ed25519"} {
		t.Run(algorithm, func(t *testing.T) {
			key, err := Generate(algorithm)
			if err != nil {
				t.Fatal(err)
			}
			if got := key.Algorithm(); got != algorithm {
				t.Errorf("algorithm: got %s, want %s", got, algorithm)
			}
			dir := t.TempDir()
			keep(t, dir, key)
			write(t, filepath.Join(dir, "manifest"), manifest)
			if got, want := public(t, key), peer(t, dir, "openssl", "pkey", "-in", "key.pem", "-pubout"); !bytes.Equal(got, want) {
				t.Errorf("public key: got\n%s, openssl has\n%s", got, want)
			}
			der := peer(t, dir, "openssl", "pkey", "-pubin", "-in", "pub.pem", "-outform", "DER")
			write(t, filepath.Join(dir, "pub.der"), der)
			sum, _, _ := strings.Cut(string(peer(t, dir, "sha256sum", "pub.der")), " ")
			if got := key.Public().Fingerprint(); got != sum {
				t.Errorf("fingerprint: got %s, want %s", got, sum)
			}

			ours, verify, theirs := sign(t, key, manifest), "openssl dgst -sha256 -verify pub.pem -signature sig manifest", "openssl dgst -sha256 -sign key.pem manifest"
			switch algorithm {
			case "p256":
				ours = toDER(t, ours)
			case "ed25519":
				verify = "openssl pkeyutl -verify -pubin -inkey pub.pem -rawin -in manifest -sigfile sig"
				theirs = "openssl pkeyutl -sign -inkey key.pem -rawin -in manifest"
			}
			write(t, filepath.Join(dir, "sig"), ours)
			peer(t, dir, strings.Fields(verify)...)
			sig := peer(t, dir, strings.Fields(theirs)...)
			if algorithm != "p256" && !bytes.Equal(ours, sig) {
				t.Errorf("signature: got %x, openssl has %x", ours, sig)
			}
			ring := Keyring{Keys: []PublicKey{key.Public()}}
			if err := ring.Verify(manifest, sig); err != nil {
				t.Errorf("openssl's signature: %v", err)
			}
			if err := ring.Verify(manifest[1:], sig); !errors.Is(err, ErrMismatch) {
				t.Errorf("openssl's signature of something else: got %v, want %v", err, ErrMismatch)
			}
		})
	}
}

// TestShortDER: r and s with leading zeros make DER of fewer than 70 bytes,
// which one signature in a hundred is, and which has tripped other readers. The
// fixed form of such a signature keeps the zeros.
func TestShortDER(t *testing.T) {
	key := load(t, "p256")
	ring := Keyring{Keys: []PublicKey{key.Public()}}
	dir := t.TempDir()
	keep(t, dir, key)
	lengths := map[int]bool{}
	for n := range 4000 {
		message := []byte{byte(n), byte(n >> 8)}
		raw := sign(t, key, message)
		der := toDER(t, raw)
		if len(raw) != 64 {
			t.Fatalf("a signature of %d bytes, want 64", len(raw))
		}
		if err := ring.Verify(message, raw); err != nil {
			t.Fatalf("message %d: %v", n, err)
		}
		if lengths[len(der)] {
			continue
		}
		lengths[len(der)] = true
		if err := ring.Verify(message, der); err != nil {
			t.Errorf("DER of %d bytes: %v", len(der), err)
		}
		write(t, filepath.Join(dir, "message"), message)
		write(t, filepath.Join(dir, "sig"), der)
		peer(t, dir, "openssl", "dgst", "-sha256", "-verify", "pub.pem", "-signature", "sig", "message")
	}
	for _, n := range []int{69, 70, 71, 72} {
		if !lengths[n] {
			t.Errorf("no signature of %d bytes was met", n)
		}
	}
}

// members reads an artifact as a plain archive: this package knows nothing of
// artifacts.
func members(t *testing.T, path string) (all []*tar.Header, content map[string][]byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	content = map[string][]byte{}
	for r := tar.NewReader(bytes.NewReader(b)); ; {
		h, err := r.Next()
		if err == io.EOF {
			return all, content
		}
		if err != nil {
			t.Fatal(err)
		}
		if content[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
		all = append(all, h)
	}
}

// resign writes the artifact again with another signature.
func resign(t *testing.T, path string, all []*tar.Header, content map[string][]byte, sig []byte) {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range all {
		body := content[h.Name]
		if h.Name == "manifest.sig" {
			body = sig
		}
		header := *h
		header.Size = int64(len(body))
		if err := w.WriteHeader(&header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	write(t, path, b.Bytes())
}

// TestMenderArtifact has Mender's tool sign with our keys, and verify what we
// signed with them.
func TestMenderArtifact(t *testing.T) {
	for _, algorithm := range []string{"rsa2048", "rsa3072", "rsa4096", "p256"} {
		t.Run(algorithm, func(t *testing.T) {
			key, err := Generate(algorithm)
			if err != nil {
				t.Fatal(err)
			}
			if !key.Interoperable() {
				t.Error("the key claims that Mender's clients do not accept it")
			}
			dir := t.TempDir()
			keep(t, dir, key)
			write(t, filepath.Join(dir, "image"), []byte("a root file system"))
			peer(t, dir, "mender-artifact", "write", "rootfs-image", "-n", "release-1", "-t", "board", "-f", "image", "-o", "a.mender", "-k", "key.pem")
			path := filepath.Join(dir, "a.mender")
			all, content := members(t, path)
			theirs, err := base64.StdEncoding.DecodeString(string(content["manifest.sig"]))
			if err != nil {
				t.Fatal(err)
			}
			ring := Keyring{Keys: []PublicKey{load(t, "rsa2048").Public(), key.Public()}}
			if err := ring.Verify(content["manifest"], theirs); err != nil {
				t.Errorf("mender-artifact's signature: %v", err)
			}

			ours := sign(t, key, content["manifest"])
			if bytes.Equal(ours, theirs) != (algorithm != "p256") { // theirs is random for ECDSA
				t.Errorf("got signature %x, mender-artifact has %x", ours, theirs)
			}
			resign(t, path, all, content, []byte(base64.StdEncoding.EncodeToString(ours)))
			peer(t, dir, "mender-artifact", "validate", "-k", "pub.pem", "a.mender")
			ours[len(ours)-1] ^= 1
			resign(t, path, all, content, []byte(base64.StdEncoding.EncodeToString(ours)))
			if out, err := run(dir, "mender-artifact", "validate", "-k", "pub.pem", "a.mender"); err == nil {
				t.Errorf("a wrong signature passes mender-artifact: %s", out)
			}
			if err := ring.Verify(content["manifest"], ours); !errors.Is(err, ErrMismatch) {
				t.Errorf("a wrong signature: got %v, want %v", err, ErrMismatch)
			}
		})
	}
}

// TestInteroperable: what Interoperable says of Ed25519 is what Mender's tool
// says.
func TestInteroperable(t *testing.T) {
	key, dir := load(t, "ed25519"), t.TempDir()
	if key.Interoperable() {
		t.Error("an Ed25519 key claims that Mender's clients accept it")
	}
	keep(t, dir, key)
	write(t, filepath.Join(dir, "image"), []byte("a root file system"))
	if out, err := run(dir, "mender-artifact", "write", "rootfs-image", "-n", "release-1", "-t", "board", "-f", "image", "-o", "a.mender", "-k", "key.pem"); err == nil {
		t.Errorf("mender-artifact signs with Ed25519: %s", out)
	}
}
