package report

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/crypto/nacl/box"
)

const (
	maxLog    = 64 << 10 // bytes of a log that are sealed: its end
	maxSealed = 96 << 10 // bytes of a sealed log as it is stored
	maxKey    = 4 << 10  // bytes of a file with a key
	logSuffix = ".log.sealed"

	typePrivate = "PLIMSOLL OFFICE PRIVATE KEY" // holds PKCS#8
	typePublic  = "PLIMSOLL OFFICE PUBLIC KEY"  // holds a SubjectPublicKeyInfo
	typeSealed  = "PLIMSOLL SEALED LOG"
)

var (
	// ErrOfficeKey is a file that does not hold the key that is needed.
	ErrOfficeKey = errors.New("not such a key of an office")

	// ErrSealed is a sealed log that this key does not open: it was sealed for
	// another, is not whole, or was changed.
	ErrSealed = errors.New("the seal does not open")
)

// A LogKey is the public half of an office's key: devices seal logs with it,
// and cannot open them again. It is an X25519 key.
type LogKey struct{ key [32]byte }

// An OfficeKey opens what was sealed with its public half.
type OfficeKey struct{ key *ecdh.PrivateKey }

// GenerateOfficeKey makes a new key.
func GenerateOfficeKey() (*OfficeKey, error) {
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate key of the office: %w", err)
	}
	return &OfficeKey{key}, nil
}

// LoadOfficeKey reads the private key of a file. See ParseOfficeKey.
func LoadOfficeKey(path string) (*OfficeKey, error) {
	b, err := readBounded(path, maxKey)
	if err != nil {
		return nil, fmt.Errorf("read key of the office: %w", err)
	}
	k, err := ParseOfficeKey(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return k, nil
}

// LoadLogKey reads the public key of a file. See ParseLogKey.
func LoadLogKey(path string) (*LogKey, error) {
	b, err := readBounded(path, maxKey)
	if err != nil {
		return nil, fmt.Errorf("read public key of the office: %w", err)
	}
	k, err := ParseLogKey(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return k, nil
}

// ParseOfficeKey reads what MarshalPEM of an OfficeKey wrote. Anything else is
// ErrOfficeKey.
func ParseOfficeKey(text []byte) (*OfficeKey, error) {
	der, err := keyBlock(text, typePrivate, typePublic)
	if err != nil {
		return nil, fmt.Errorf("read key of the office: %w", err)
	}
	k, err := x509.ParsePKCS8PrivateKey(der)
	key, ok := k.(*ecdh.PrivateKey)
	if err != nil || !ok || key.Curve() != ecdh.X25519() {
		return nil, fmt.Errorf("read key of the office: %w: damaged", ErrOfficeKey)
	}
	return &OfficeKey{key}, nil
}

// ParseLogKey reads what MarshalPEM of a LogKey wrote. Anything else is
// ErrOfficeKey, and so is a key with which everybody could open what is sealed.
func ParseLogKey(text []byte) (*LogKey, error) {
	der, err := keyBlock(text, typePublic, typePrivate)
	if err != nil {
		return nil, fmt.Errorf("read public key of the office: %w", err)
	}
	k, err := x509.ParsePKIXPublicKey(der)
	key, ok := k.(*ecdh.PublicKey)
	if err != nil || !ok || key.Curve() != ecdh.X25519() {
		return nil, fmt.Errorf("read public key of the office: %w: damaged", ErrOfficeKey)
	}
	trial, err := GenerateOfficeKey()
	if err != nil {
		return nil, err
	}
	if _, err := trial.key.ECDH(key); err != nil { // a point of low order
		return nil, fmt.Errorf("read public key of the office: %w: it hides nothing", ErrOfficeKey)
	}
	return &LogKey{[32]byte(key.Bytes())}, nil
}

// keyBlock returns what the one block of text holds, which must be of a type.
func keyBlock(text []byte, want, other string) ([]byte, error) {
	b, rest := pem.Decode(text)
	switch {
	case b == nil:
		return nil, fmt.Errorf("%w: make one with plimsoll key generate --office", ErrOfficeKey)
	case b.Type == other:
		return nil, fmt.Errorf("%w: it is a %q, and a %q is needed", ErrOfficeKey, other, want)
	case b.Type != want:
		return nil, fmt.Errorf("%w: it is a %q; make one with plimsoll key generate --office", ErrOfficeKey, line(b.Type, maxWord))
	case len(bytes.TrimSpace(rest)) > 0:
		return nil, fmt.Errorf("%w: the file holds more than one", ErrOfficeKey)
	}
	return b.Bytes, nil
}

// Public returns the half of k that devices get.
func (k *OfficeKey) Public() LogKey { return LogKey{[32]byte(k.key.PublicKey().Bytes())} }

// MarshalPEM returns k as a file. It is not encrypted: whoever stores it keeps
// others from reading it.
func (k *OfficeKey) MarshalPEM() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k.key)
	if err != nil {
		return nil, fmt.Errorf("encode key of the office: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: typePrivate, Bytes: der}), nil
}

// MarshalPEM returns k as a file: the one that [report] log_key names.
func (k LogKey) MarshalPEM() ([]byte, error) {
	public, err := ecdh.X25519().NewPublicKey(k.key[:])
	if err != nil {
		return nil, fmt.Errorf("encode public key of the office: %w", err)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("encode public key of the office: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: typePublic, Bytes: der}), nil
}

// Fingerprint names k for people: the beginning of its SHA-256, in hexadecimal.
func (k LogKey) Fingerprint() string {
	sum := sha256.Sum256(k.key[:])
	return hex.EncodeToString(sum[:8])
}

// An attempt says whose log is sealed, within the seal.
type attempt struct {
	Serial   string `json:"serial"`
	Store    string `json:"store,omitempty"`
	Sequence int64  `json:"sequence"`
}

// Seal returns the last 64 KiB of a log so that only the office can read it
// (NaCl's anonymous box: X25519, XSalsa20 and Poly1305), as a PEM block whose
// headers say in clear whose it is. The log is whatever bytes the caller has.
func (k LogKey) Seal(r Report, log []byte) ([]byte, error) {
	r.clean()
	if over := len(log) - maxLog; over > 0 {
		log = log[over:]
		if _, rest, ok := bytes.Cut(log, []byte("\n")); ok { // what it begins with is half a line
			log = rest
		}
	}
	who, err := json.Marshal(attempt{r.Serial, r.Store, r.Sequence})
	if err != nil {
		return nil, fmt.Errorf("seal log of report %d: %w", r.Sequence, err)
	}
	sealed, err := box.SealAnonymous(nil, append(append(who, '\n'), log...), &k.key, rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("seal log of report %d: %w", r.Sequence, err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: typeSealed, Bytes: sealed, Headers: map[string]string{
		"Serial": r.Serial, "Store": r.Store, "Sequence": strconv.FormatInt(r.Sequence, 10), "Key": k.Fingerprint(),
	}}), nil
}

// Open returns the log that is sealed for k and belongs to r. It is not made
// printable.
func (k *OfficeKey) Open(r Report, sealed []byte) ([]byte, error) {
	b, _ := pem.Decode(sealed)
	if b == nil || b.Type != typeSealed {
		return nil, fmt.Errorf("open log of report %d: %w: it is not whole", r.Sequence, ErrSealed)
	}
	public := k.Public()
	if key := b.Headers["Key"]; key != public.Fingerprint() {
		return nil, fmt.Errorf("open log of report %d: %w: it is sealed for the key %s, and this is %s", r.Sequence, ErrSealed, or(line(key, maxWord), "?"), public.Fingerprint())
	}
	private := [32]byte(k.key.Bytes())
	plain, ok := box.OpenAnonymous(nil, b.Bytes, &public.key, &private)
	if !ok {
		return nil, fmt.Errorf("open log of report %d: %w: it was changed", r.Sequence, ErrSealed)
	}
	who, log, _ := bytes.Cut(plain, []byte("\n"))
	var a attempt
	if err := json.Unmarshal(who, &a); err != nil || a != (attempt{r.Serial, r.Store, r.Sequence}) {
		return nil, fmt.Errorf("open log of report %d: %w: it is the log of another report", r.Sequence, ErrSealed)
	}
	return log, nil
}

// sealedFor reports whether b is the sealed log of r, by its headers, or what a
// cut left of any.
func sealedFor(b []byte, r *Report) bool {
	block, _ := pem.Decode(b)
	if block == nil || block.Type != typeSealed {
		return true
	}
	return block.Headers["Serial"] == r.Serial && block.Headers["Store"] == r.Store && block.Headers["Sequence"] == strconv.FormatInt(r.Sequence, 10)
}
