package external

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/plimsoll-ota/plimsoll/signing"
)

// What a caller decides by.
var (
	// ErrNoTool: OpenSC's pkcs11-tool is not installed.
	ErrNoTool = errors.New("pkcs11-tool is not installed")
	// ErrNoPIN: the token wants a PIN, and nobody gave one.
	ErrNoPIN = errors.New("the token wants a PIN")
)

const (
	tool = "pkcs11-tool"

	// proxy is p11-kit's module, which has the keys of all others that the machine
	// knows of. The loader of libraries finds it.
	proxy = "p11-kit-proxy.so"

	// pinVariable is where the tool finds the PIN: its arguments can be seen by
	// everybody.
	pinVariable = "PLIMSOLL_PIN"

	maxListing = 1 << 20
)

// A Token is a key pair in a security module or a smart card, which PKCS#11
// speaks with. OpenSC's pkcs11-tool is run for it: to find the token, to find
// the key, to read its public half, and to sign.
//
// RSA and P-256 keys are supported.
type Token struct {
	PIN     string        // of the token, where the URI has none
	Timeout time.Duration // of each run of the tool; 0 is DefaultTimeout

	uri *uri
}

// ParseToken reads a PKCS#11 URI, as RFC 7512 has it:
//
//	pkcs11:token=office;object=release?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/etc/plimsoll/pin
//
// It must name the key, by object (its label) or id. Without module-path the
// modules are those of p11-kit. An attribute that is not known is an error.
func ParseToken(s string) (*Token, error) {
	u, err := parseURI(s)
	if err != nil {
		return nil, fmt.Errorf("PKCS#11 URI: %w", err)
	}
	return &Token{uri: u}, nil
}

// HasPIN reports whether the PIN itself stands in the URI.
func (t *Token) HasPIN() bool { return t.uri.pin != "" }

// PublicKey reads the public half of the key, or that of a certificate where
// the token has no public key of its own.
func (t *Token) PublicKey(ctx context.Context) (signing.PublicKey, error) {
	k, err := t.find(ctx, false)
	if err != nil {
		return signing.PublicKey{}, err
	}
	return k.public(ctx)
}

// Sign returns the signature of manifest, verified by public and in the form
// that artifacts have. A token is logged in to once, so that a wrong PIN costs
// one of its tries.
func (t *Token) Sign(ctx context.Context, public signing.PublicKey, manifest []byte) ([]byte, error) {
	k, err := t.find(ctx, true)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(manifest)
	var mechanism string
	var input []byte
	switch algorithm := public.Algorithm(); {
	case algorithm == "p256":
		mechanism, input = "ECDSA", sum[:]
	case strings.HasPrefix(algorithm, "rsa"):
		mechanism, input = "RSA-PKCS", append([]byte(digestInfo), sum[:]...)
	default:
		return nil, fmt.Errorf("a key of kind %s is not supported with PKCS#11: RSA and P-256 are", algorithm)
	}
	answer, err := k.run(ctx, true, input, "--sign", "--mechanism", mechanism, "--id", k.id)
	if err != nil {
		return nil, err
	}
	sig, err := public.Accept(manifest, answer)
	if err != nil {
		return nil, fmt.Errorf("what the token gave: %w", err)
	}
	return sig, nil
}

// digestInfo is what PKCS#1 v1.5 puts before a SHA-256 (RFC 8017, 9.2): tokens
// that sign with RSA all take the digest so, and few hash by themselves.
const digestInfo = "\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20"

// A found is the one key that a URI names.
type found struct {
	*Token
	slot slot
	id   string // of the key, in hexadecimal
	cert bool   // the public half is only in a certificate
}

// find finds the token and the key. Tokens may hide private keys, and all they
// have, until somebody has logged in: only if need be is that done for looking.
func (t *Token) find(ctx context.Context, private bool) (*found, error) {
	listing, err := t.run(ctx, nil, nil, "--list-token-slots")
	if err != nil {
		return nil, err
	}
	s, err := t.uri.choose(parseSlots(listing))
	if err != nil {
		return nil, err
	}
	k := &found{Token: t, slot: s}
	kinds := []string{"pubkey", "cert"}
	if private {
		kinds = append(kinds, "privkey")
	}
	for _, kind := range kinds {
		login := kind == "privkey"
		listing, err := k.run(ctx, login, nil, "--list-objects", "--type", kind)
		if err != nil {
			return nil, err
		}
		ids := t.uri.match(parseObjects(listing))
		if len(ids) > 1 {
			return nil, fmt.Errorf("token %q has %d keys that the URI means (id %s): name one by id=", s.label, len(ids), strings.Join(ids, ", "))
		}
		if len(ids) == 1 {
			k.id, k.cert = ids[0], kind == "cert"
			return k, nil
		}
	}
	return nil, fmt.Errorf("token %q has no key that the URI means: pkcs11-tool --list-objects shows what it has", s.label)
}

func (k *found) public(ctx context.Context) (signing.PublicKey, error) {
	kind, label := "pubkey", "PUBLIC KEY"
	if k.cert {
		kind, label = "cert", "CERTIFICATE"
	}
	der, err := k.run(ctx, false, nil, "--read-object", "--type", kind, "--id", k.id)
	if err != nil {
		return signing.PublicKey{}, err
	}
	if k.cert {
		return signing.CertificateKey(der)
	}
	keys, err := signing.ParsePublicKeys(pem.EncodeToMemory(&pem.Block{Type: label, Bytes: der}))
	if err != nil {
		return signing.PublicKey{}, fmt.Errorf("the key of the token: %w", err)
	}
	return keys[0], nil
}

// run runs the tool on the token that was found, logged in or not.
func (k *found) run(ctx context.Context, login bool, input []byte, args ...string) ([]byte, error) {
	args = append([]string{"--slot", k.slot.id}, args...)
	var env []string
	if login && k.slot.login && !k.slot.pad {
		pin, err := k.uri.readPIN()
		if err != nil {
			return nil, err
		}
		if pin == "" {
			pin = k.PIN
		}
		if pin == "" {
			return nil, fmt.Errorf("%w: %q", ErrNoPIN, k.slot.label)
		}
		env = append(env, pinVariable+"="+pin)
		args = append(args, "--pin", "env:"+pinVariable)
	}
	if login && k.slot.login {
		args = append(args, "--login")
	}
	return k.Token.run(ctx, env, input, args...)
}

func (t *Token) run(ctx context.Context, env []string, input []byte, args ...string) ([]byte, error) {
	module := t.uri.module
	if module == "" {
		module = proxy
	}
	out, err := program{
		args: append([]string{tool, "--module", module}, args...), env: env,
		input: input, limit: maxListing, timeout: t.Timeout,
	}.run(ctx)
	if errors.Is(err, exec.ErrNotFound) {
		return nil, ErrNoTool
	}
	return out, err
}

// hexID writes the ID of a key as the tool does.
func hexID(id string) string { return hex.EncodeToString([]byte(id)) }
