package signing

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"unicode/utf8"
)

// Accept returns the signature that a program, a security module or a person
// with OpenSSL gave as the answer to manifest, in the form that artifacts have:
// as the package comment has it, and an ECDSA signature always as r and s of
// fixed width.
//
// The answer may be the signature itself, raw or in DER, or base64 of either:
// of both alphabets, padded or not, in one line or in many. Which of these it
// is needs no guess, since only one that k verifies is accepted. Anything else
// is an ErrMismatch that says what the answer looks like.
func (k PublicKey) Accept(manifest, answer []byte) ([]byte, error) {
	candidates := [][]byte{answer}
	if sig, ok := decodeText(answer); ok {
		candidates = append(candidates, sig)
	}
	for _, sig := range candidates {
		if k.Verify(manifest, sig) == nil {
			return k.canonical(sig)
		}
	}
	sig := candidates[len(candidates)-1]
	return nil, fmt.Errorf("%w the key: %s", ErrMismatch, k.looksLike(manifest, answer, sig))
}

// canonical returns a signature that k verified in the form that artifacts
// have.
func (k PublicKey) canonical(sig []byte) ([]byte, error) {
	if _, ok := k.key.(*ecdsa.PublicKey); ok && len(sig) != sizeP256 {
		return fixedWidth(sig)
	}
	return bytes.Clone(sig), nil
}

// decodeText decodes base64 as any tool writes it.
func decodeText(text []byte) ([]byte, bool) {
	if !utf8.Valid(text) {
		return nil, false
	}
	text = bytes.Map(func(r rune) rune {
		switch r {
		case '-':
			return '+'
		case '_':
			return '/'
		case '\r', '\n':
			return -1
		}
		return r
	}, text)
	sig, err := base64.RawStdEncoding.Strict().DecodeString(string(bytes.TrimRight(text, "=")))
	return sig, err == nil && len(sig) > 0
}

// looksLike says what is wrong with an answer that k does not verify, to whoever
// has to find the mistake. sig is the answer without its base64, if it was any.
func (k PublicKey) looksLike(manifest, answer, sig []byte) string {
	if len(answer) == 0 {
		return "nothing was given"
	}
	sum := sha256.Sum256(manifest)
	switch key := k.key.(type) {
	case *rsa.PublicKey:
		if rsa.VerifyPSS(key, crypto.SHA256, sum[:], sig, nil) == nil {
			return "it is an RSA-PSS signature, and PKCS#1 v1.5 is needed"
		}
		if len(sig) != key.Size() {
			return fmt.Sprintf("it has %d bytes, and a signature of this key has %d", len(sig), key.Size())
		}
	case nil:
		return "there is no key"
	}
	if k.Verify(sum[:], sig) == nil {
		return "the digest was hashed once more; sign it as the digest that it is, or sign the manifest"
	}
	return fmt.Sprintf("%d bytes that were made with another key, or of another manifest", len(sig))
}
