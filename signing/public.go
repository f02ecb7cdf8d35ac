package signing

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
)

// ErrMismatch is a signature that was made with another key or of another
// manifest, or that is none at all.
var ErrMismatch = errors.New("signature does not match")

// RSA keys below the minimum can be broken, and ones above the maximum make
// small devices wait.
const (
	minRSA = 2048
	maxRSA = 4096
)

// sizeP256 is the size of an ECDSA signature with r and s of fixed width.
const sizeP256 = 64

// A PublicKey verifies signatures. Its zero value verifies none.
type PublicKey struct {
	key  crypto.PublicKey // *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey
	path string
}

func newPublicKey(key crypto.PublicKey) (PublicKey, error) {
	switch k := key.(type) {
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n < minRSA || n > maxRSA {
			return PublicKey{}, fmt.Errorf("an RSA key of %d bits, want %d to %d", n, minRSA, maxRSA)
		}
		// crypto/rsa would say so only when it verifies.
		if k.E < 3 || k.E&1 == 0 {
			return PublicKey{}, fmt.Errorf("an RSA key with the exponent %d, want an odd one from 3", k.E)
		}
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() {
			return PublicKey{}, fmt.Errorf("an ECDSA key on %s, want P-256", k.Curve.Params().Name)
		}
	case ed25519.PublicKey:
	default:
		return PublicKey{}, fmt.Errorf("a key of type %T, want RSA, ECDSA P-256 or Ed25519", key)
	}
	return PublicKey{key: key}, nil
}

// ParsePublicKeys reads the public keys of a PEM file: one or more blocks, all
// of them SubjectPublicKeyInfo. A block that is not makes the whole file an
// error.
func ParsePublicKeys(text []byte) ([]PublicKey, error) {
	all, err := blocks(text)
	if err != nil {
		return nil, fmt.Errorf("read public key: %w", err)
	}
	var keys []PublicKey
	for _, b := range all {
		k, err := parsePublic(b)
		if err != nil {
			return nil, fmt.Errorf("read public key: %w", err)
		}
		keys = append(keys, k)
	}
	return keys, nil
}

func parsePublic(b *pem.Block) (PublicKey, error) {
	key, err := x509.ParsePKIXPublicKey(b.Bytes)
	if err == nil {
		return newPublicKey(key)
	}
	if what := holds(b); what != "" {
		return PublicKey{}, fmt.Errorf("it is %s", what)
	}
	return PublicKey{}, err
}

// CertificateKey returns the public key of an X.509 certificate in DER, of which
// nothing else is looked at. It is for security modules, which may keep a public
// key in no other form.
func CertificateKey(der []byte) (PublicKey, error) {
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return PublicKey{}, fmt.Errorf("read certificate: %w", err)
	}
	return newPublicKey(c.PublicKey)
}

// Verify returns nil if sig is the signature of manifest by k, and ErrMismatch
// otherwise.
func (k PublicKey) Verify(manifest, sig []byte) error {
	sum := sha256.Sum256(manifest)
	var ok bool
	switch key := k.key.(type) {
	case *rsa.PublicKey:
		ok = rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], sig) == nil
	case *ecdsa.PublicKey:
		ok = verifyP256(key, sum[:], sig)
	case ed25519.PublicKey:
		ok = ed25519.Verify(key, manifest, sig)
	}
	if !ok {
		return ErrMismatch
	}
	return nil
}

// verifyP256 takes 64 bytes for r and s, and any other length for ASN.1 in
// strict DER, which has 8 to 72. DER of exactly 64 bytes occurs once in some
// 2^50 signatures.
func verifyP256(key *ecdsa.PublicKey, sum, sig []byte) bool {
	if len(sig) != sizeP256 {
		return ecdsa.VerifyASN1(key, sum, sig)
	}
	r := new(big.Int).SetBytes(sig[:sizeP256/2])
	s := new(big.Int).SetBytes(sig[sizeP256/2:])
	return ecdsa.Verify(key, sum, r, s)
}

// Path returns the file that LoadKeyring read k from, "" for a key of elsewhere.
func (k PublicKey) Path() string { return k.path }

// Algorithm returns what Generate calls such a key; an RSA key of another size
// is "rsa" and its bits.
func (k PublicKey) Algorithm() string {
	switch key := k.key.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("rsa%d", key.N.BitLen())
	case *ecdsa.PublicKey:
		return "p256"
	case ed25519.PublicKey:
		return "ed25519"
	}
	return "none"
}

// Interoperable reports whether Mender's clients and tools accept signatures
// that k verifies. They do not know Ed25519.
func (k PublicKey) Interoperable() bool {
	_, ours := k.key.(ed25519.PublicKey)
	return !ours
}

// Fingerprint names k for people: the SHA-256 of its SubjectPublicKeyInfo, in
// hexadecimal. openssl pkey -pubin -outform DER | sha256sum gives the same.
func (k PublicKey) Fingerprint() string {
	der, err := x509.MarshalPKIXPublicKey(k.key)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}

// MarshalPEM returns k as a SubjectPublicKeyInfo: what devices and Mender's
// tools read.
func (k PublicKey) MarshalPEM() ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(k.key)
	if err != nil {
		return nil, fmt.Errorf("encode public key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}
