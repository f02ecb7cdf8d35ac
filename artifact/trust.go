package artifact

import (
	"bytes"
	"encoding/base64"
	"fmt"
)

// A Verifier decides whether sig is a trusted signature of manifest.
//
// Open calls it exactly once, before anything is parsed. sig is the raw signature, the base64 already removed, and nil if the artifact
// has none: a Verifier that returns nil then trusts unsigned artifacts.
type Verifier interface {
	Verify(manifest, sig []byte) error
}

// A Signer returns the raw signature of manifest; the base64 is done here.
type Signer interface {
	Sign(manifest []byte) (sig []byte, err error)
}

// trust asks v, and says which of two things its no means.
func trust(v Verifier, manifest, sig []byte) error {
	err := v.Verify(manifest, sig)
	switch {
	case err == nil:
		return nil
	case sig == nil:
		return fmt.Errorf("verify manifest: %w: %w", ErrUnsigned, err)
	default:
		return fmt.Errorf("verify manifest: %w: %w", ErrUntrusted, err)
	}
}

// decodeSignature decodes manifest.sig. Not even a final newline is let through: devices with the C++ client refuse it, and an
// artifact that only some devices accept is found at the workbench, not in the field. The result is never nil.
func decodeSignature(b []byte) ([]byte, error) {
	// The standard decoder skips line breaks.
	if bytes.ContainsAny(b, "\r\n") {
		return nil, malformed("a line break in the base64")
	}
	sig, err := base64.StdEncoding.Strict().DecodeString(string(b))
	if err != nil {
		return nil, malformed("base64: %w", err)
	}
	if len(sig) == 0 {
		return nil, malformed("the signature is empty")
	}
	return sig, nil
}

// sign asks s and returns the content of manifest.sig.
func sign(s Signer, manifest []byte) ([]byte, error) {
	sig, err := s.Sign(manifest)
	if err != nil {
		return nil, fmt.Errorf("sign manifest: %w", err)
	}
	text := base64.StdEncoding.AppendEncode(nil, sig)
	if len(sig) == 0 || len(text) > maxSignature {
		return nil, fmt.Errorf("sign manifest: %w: a signature of %d bytes", ErrLimit, len(sig))
	}
	return text, nil
}
