package signing

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
)

// ErrEncrypted is a private key that only a passphrase opens.
var ErrEncrypted = errors.New(isEncrypted)

// A PrivateKey signs manifests. It is an artifact.Signer, and may be used by
// several goroutines.
type PrivateKey struct {
	key    crypto.Signer
	public PublicKey
}

// LoadPrivateKey reads a private key from a file. See ParsePrivateKey.
func LoadPrivateKey(path string) (*PrivateKey, error) {
	b, err := readKeyFile(path)
	if err != nil {
		return nil, fmt.Errorf("read private key: %w", err)
	}
	k, err := ParsePrivateKey(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return k, nil
}

// ParsePrivateKey reads the one private key of a PEM file: PKCS#1, SEC1 or
// PKCS#8, not encrypted. Curve parameters and certificates beside it are
// skipped. Two private keys are refused, since nothing says which is meant.
func ParsePrivateKey(text []byte) (*PrivateKey, error) {
	all, err := blocks(text)
	if err != nil {
		return nil, fmt.Errorf("read private key: %w", err)
	}
	var found []crypto.Signer
	var problem error
	for _, b := range all {
		key, err := parsePrivateDER(b.Bytes)
		switch what := holds(b); {
		case what == isEncrypted:
			return nil, fmt.Errorf("read private key: it is %w", ErrEncrypted)
		case err == nil:
			found = append(found, key)
		case what == isParameters && problem != nil:
		case what != "":
			problem = fmt.Errorf("it is %s", what)
		default:
			problem = err
		}
	}
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("read private key: %w", problem)
	case 1:
		return newPrivateKey(found[0])
	}
	return nil, fmt.Errorf("read private key: the file holds %d of them, want one", len(found))
}

// parsePrivateDER tries the three encodings. No key is valid in two of them.
func parsePrivateDER(der []byte) (crypto.Signer, error) {
	if k, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return k, nil
	}
	if k, err := x509.ParseECPrivateKey(der); err == nil {
		return k, nil
	}
	k, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, errors.New("neither PKCS#1 nor SEC1 nor PKCS#8, or a key of a kind that is not supported")
	}
	if s, ok := k.(crypto.Signer); ok {
		return s, nil
	}
	return nil, errors.New("a key that cannot sign: supported are RSA, ECDSA P-256 and Ed25519")
}

func newPrivateKey(key crypto.Signer) (*PrivateKey, error) {
	public, err := newPublicKey(key.Public())
	if err != nil {
		return nil, fmt.Errorf("read private key: %w", err)
	}
	return &PrivateKey{key, public}, nil
}

// Generate makes a new key: "rsa2048", "rsa3072", "rsa4096", "p256" or
// "ed25519", the names that Algorithm returns.
func Generate(algorithm string) (*PrivateKey, error) {
	var key crypto.Signer
	var err error
	switch algorithm {
	case "rsa2048":
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	case "rsa3072":
		key, err = rsa.GenerateKey(rand.Reader, 3072)
	case "rsa4096":
		key, err = rsa.GenerateKey(rand.Reader, 4096)
	case "p256":
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ed25519":
		_, key, err = ed25519.GenerateKey(rand.Reader)
	default:
		err = errors.New("want rsa2048, rsa3072, rsa4096, p256 or ed25519")
	}
	if err != nil {
		return nil, fmt.Errorf("generate key %q: %w", algorithm, err)
	}
	return newPrivateKey(key)
}

// Sign returns the raw signature of manifest, as the package comment has it.
// The same key and manifest give the same signature.
func (k *PrivateKey) Sign(manifest []byte) ([]byte, error) {
	sum := sha256.Sum256(manifest)
	switch key := k.key.(type) {
	case *rsa.PrivateKey:
		return rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum[:])
	case *ecdsa.PrivateKey:
		der, err := key.Sign(nil, sum[:], crypto.SHA256) // no source of randomness: RFC 6979
		if err != nil {
			return nil, fmt.Errorf("sign manifest: %w", err)
		}
		return fixedWidth(der)
	case ed25519.PrivateKey:
		return ed25519.Sign(key, manifest), nil
	}
	panic("signing: a PrivateKey that was not made by this package")
}

// fixedWidth turns the DER form of an ECDSA signature into r and s of 32 bytes
// each: the only form that mender-artifact 3.9 reads.
func fixedWidth(der []byte) ([]byte, error) {
	var sig struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &sig); err != nil {
		return nil, fmt.Errorf("sign manifest: %w", err)
	}
	b := make([]byte, sizeP256)
	sig.R.FillBytes(b[:sizeP256/2])
	sig.S.FillBytes(b[sizeP256/2:])
	return b, nil
}

// Public returns the half of k that devices get.
func (k *PrivateKey) Public() PublicKey { return k.public }

// Algorithm returns what Generate calls such a key.
func (k *PrivateKey) Algorithm() string { return k.public.Algorithm() }

// Interoperable reports whether Mender's clients and tools accept signatures
// by k. They do not know Ed25519.
func (k *PrivateKey) Interoperable() bool { return k.public.Interoperable() }

// MarshalPEM returns k in the form that most tools read. It is not encrypted:
// whoever stores it keeps others from reading it.
func (k *PrivateKey) MarshalPEM() ([]byte, error) {
	var b pem.Block
	var err error
	switch key := k.key.(type) {
	case *rsa.PrivateKey:
		b.Type, b.Bytes = "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key)
	case *ecdsa.PrivateKey:
		b.Type = "EC PRIVATE KEY"
		b.Bytes, err = x509.MarshalECPrivateKey(key)
	default:
		b.Type = "PRIVATE KEY"
		b.Bytes, err = x509.MarshalPKCS8PrivateKey(key)
	}
	if err != nil {
		return nil, fmt.Errorf("encode private key: %w", err)
	}
	return pem.EncodeToMemory(&b), nil
}
