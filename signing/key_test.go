package signing

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"
)

func block(label string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: label, Bytes: der})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// derOf returns what is in the first block of a test key.
func derOf(t testing.TB, name string) []byte {
	b, _ := pem.Decode(read(t, name))
	return b.Bytes
}

func certificate(key crypto.Signer) []byte {
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Unix(1<<32, 0)}
	return must(x509.CreateCertificate(rand.Reader, c, c, key.Public(), key))
}

// TestParsePrivateKey: what is in the block decides, and what is no private key
// is called by its name.
func TestParsePrivateKey(t *testing.T) {
	p256, rsa2048 := read(t, "p256.pem"), read(t, "rsa2048.pem")
	pkcs8 := func(key any) []byte { return block("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(key))) }
	parameters := block("EC PARAMETERS", []byte{6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7})
	p384 := must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	cert := block("CERTIFICATE", certificate(load(t, "p256").key))
	old := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: []byte("0123456789abcdef"),
		Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-256-CBC,00"}})
	tests := []struct {
		name string
		text []byte
		want string // the algorithm, or after "!" what the error says
	}{
		{"PKCS#1", rsa2048, "rsa2048"},
		{"SEC1", p256, "p256"},
		{"PKCS#8, Ed25519", read(t, "ed25519.pem"), "ed25519"},
		{"PKCS#8, RSA", pkcs8(load(t, "rsa3072").key), "rsa3072"},
		{"PKCS#8, P-256", pkcs8(load(t, "p256").key), "p256"},
		{"another label", block("RSA PRIVATE KEY", derOf(t, "p256.pem")), "p256"},
		{"a label of nothing", block("KEY", derOf(t, "rsa2048.pem")), "rsa2048"},
		{"curve parameters first", concat(parameters, p256), "p256"},
		{"a certificate beside it", concat(cert, p256), "p256"},
		{"its public half beside it", concat(p256, read(t, "p256.pub.pem")), "p256"},
		{"curve parameters only", parameters, "!curve parameters without a key"},
		{"two private keys", concat(p256, rsa2048), "!2 of them"},
		{"a public key", read(t, "p256.pub.pem"), "!a public key"},
		{"a certificate", cert, "!a certificate"},
		{"curve parameters and a public key", concat(parameters, read(t, "p256.pub.pem")), "!a public key"},
		{"a public key and curve parameters", concat(read(t, "p256.pub.pem"), parameters), "!a public key"},
		{"encrypted, the old way", old, "!encrypted"},
		{"an encrypted one and a plain one", concat(old, p256), "!encrypted"},
		{"a plain one and an encrypted one", concat(p256, old), "!encrypted"},
		{"P-384", pkcs8(p384), "!P-384"},
		{"P-384, SEC1", block("EC PRIVATE KEY", must(x509.MarshalECPrivateKey(p384))), "!P-384"},
		{"X25519", pkcs8(must(ecdh.X25519().GenerateKey(rand.Reader))), "!cannot sign"},
		{"RSA of 1024 bits", pkcs8(must(rsa.GenerateKey(rand.Reader, 1024))), "!1024 bits"},
		{"RSA of 2047 bits", pkcs8(must(rsa.GenerateKey(rand.Reader, 2047))), "!2047 bits"},
		{"garbage in a block", block("PRIVATE KEY", []byte("hello")), "!neither"},
		{"an empty block", block("PRIVATE KEY", nil), "!neither"},
		{"DER", derOf(t, "p256.pem"), "!DER"},
		{"nothing", nil, "!not a PEM file"},
		{"cut short", p256[:len(p256)-5], "!damaged"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k, err := ParsePrivateKey(tt.text)
			want, fails := strings.CutPrefix(tt.want, "!")
			switch {
			case fails && (err == nil || k != nil || !strings.Contains(err.Error(), want)):
				t.Errorf("got %v, %v, want an error that says %q", k, err, want)
			case !fails && (err != nil || k.Algorithm() != want):
				t.Errorf("got %v, %v, want %s", k, err, want)
			}
		})
	}
}

// TestParsePublicKeys: SubjectPublicKeyInfo and nothing else.
func TestParsePublicKeys(t *testing.T) {
	spki := func(key any) []byte { return block("PUBLIC KEY", must(x509.MarshalPKIXPublicKey(key))) }
	rsaKey := load(t, "rsa2048").key.Public().(*rsa.PublicKey)
	p256 := read(t, "p256.pub.pem")
	tests := []struct {
		name string
		text []byte
		want string // the algorithms, or after "!" what the error says
	}{
		{"RSA", read(t, "rsa2048.pub.pem"), "rsa2048"},
		{"P-256", p256, "p256"},
		{"Ed25519", read(t, "ed25519.pub.pem"), "ed25519"},
		{"two", concat(p256, read(t, "rsa3072.pub.pem")), "p256 rsa3072"},
		{"RSA of 4096 bits", spki(&rsa.PublicKey{N: odd(4096), E: 65537}), "rsa4096"},
		{"RSA of 4097 bits", spki(&rsa.PublicKey{N: odd(4097), E: 65537}), "!4097 bits"},
		{"RSA of 1024 bits", spki(&rsa.PublicKey{N: odd(1024), E: 65537}), "!1024 bits"},
		{"RSA with the exponent 1", spki(&rsa.PublicKey{N: odd(2048), E: 1}), "!exponent 1"},
		{"RSA with an even exponent", spki(&rsa.PublicKey{N: odd(2048), E: 4}), "!exponent 4"},
		{"a label of something else", block("CERTIFICATE", derOf(t, "p256.pub.pem")), "p256"},
		{"PKCS#1", block("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(rsaKey)), "!-RSAPublicKey_in"},
		{"a certificate", block("CERTIFICATE", certificate(load(t, "rsa2048").key)), "!openssl x509"},
		{"a private key", read(t, "rsa2048.pem"), "!a private key"},
		{"a private key after a public one", concat(p256, read(t, "p256.pem")), "!a private key"},
		{"P-384", spki(must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)).Public()), "!P-384"},
		{"X25519", spki(must(ecdh.X25519().GenerateKey(rand.Reader)).Public()), "!want RSA"},
		{"a byte after the key", block("PUBLIC KEY", append(derOf(t, "p256.pub.pem"), 0)), "!trailing"},
		{"DER", derOf(t, "p256.pub.pem"), "!DER"},
		{"nothing", nil, "!not a PEM file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			keys, err := ParsePublicKeys(tt.text)
			want, fails := strings.CutPrefix(tt.want, "!")
			var got []string
			for _, k := range keys {
				got = append(got, k.Algorithm())
			}
			switch {
			case fails && (err == nil || keys != nil || !strings.Contains(err.Error(), want)):
				t.Errorf("got %v, %v, want an error that says %q", got, err, want)
			case !fails && (err != nil || strings.Join(got, " ") != want):
				t.Errorf("got %v, %v, want %s", got, err, want)
			}
		})
	}
}

// odd returns a number of that many bits, as a modulus has them.
func odd(bits uint) *big.Int {
	n := new(big.Int).Lsh(big.NewInt(1), bits-1)
	return n.Add(n, big.NewInt(1))
}

// TestGenerate: each kind is made, encoded, read, and the same key again.
func TestGenerate(t *testing.T) {
	labels := map[string]string{"rsa2048": "RSA PRIVATE KEY", "rsa3072": "RSA PRIVATE KEY", "rsa4096": "RSA PRIVATE KEY", "p256": "EC PRIVATE KEY", "ed25519": "PRIVATE KEY"}
	for name, label := range labels {
		t.Run(name, func(t *testing.T) {
			k, err := Generate(name)
			if err != nil {
				t.Fatal(err)
			}
			if got := must(k.MarshalPEM()); !bytes.HasPrefix(got, []byte("-----BEGIN "+label+"-----\n")) {
				t.Errorf("the label is not %s: %.40q", label, got)
			}
			if got := must(k.Public().MarshalPEM()); !bytes.HasPrefix(got, []byte("-----BEGIN PUBLIC KEY-----\n")) {
				t.Errorf("the label of the public key: %.40q", got)
			}
			if got := k.Algorithm(); got != name {
				t.Errorf("got %s, want %s", got, name)
			}
			again := must(ParsePrivateKey(must(k.MarshalPEM())))
			public := must(ParsePublicKeys(must(k.Public().MarshalPEM())))
			sig := sign(t, k, manifest)
			if !bytes.Equal(sig, sign(t, again, manifest)) {
				t.Error("the key that was read signs differently")
			}
			if err := public[0].Verify(manifest, sig); err != nil {
				t.Error(err)
			}
			if got, want := public[0].Fingerprint(), k.Public().Fingerprint(); got != want || len(got) != 64 {
				t.Errorf("fingerprint: got %s, want %s", got, want)
			}
			if other := must(Generate("p256")); other.Public().Fingerprint() == k.Public().Fingerprint() {
				t.Error("two keys have one fingerprint")
			}
		})
	}
	for _, name := range []string{"", "rsa", "rsa1024", "RSA2048", "p384"} {
		if k, err := Generate(name); err == nil || k != nil {
			t.Errorf("%q: got %v, %v, want an error", name, k, err)
		}
	}
}
