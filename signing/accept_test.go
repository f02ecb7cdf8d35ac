package signing

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
)

// lines breaks text as base64(1) and openssl do.
func lines(text string, width int, end string) string {
	var b strings.Builder
	for ; len(text) > width; text = text[width:] {
		b.WriteString(text[:width] + end)
	}
	return b.String() + text + end
}

// TestAccept: each form that a tool gives is accepted, and becomes the one that
// artifacts have.
func TestAccept(t *testing.T) {
	std, url := base64.StdEncoding.EncodeToString, base64.RawURLEncoding.EncodeToString
	for _, name := range keyNames {
		k := load(t, name)
		sig := sign(t, k, manifest)
		forms := map[string][]byte{"": sig}
		if name == "p256" {
			forms["DER, "] = der(t, sig)
		}
		for form, raw := range forms {
			tests := map[string]string{
				"raw":                         string(raw),
				"base64":                      std(raw),
				"base64 and a newline":        std(raw) + "\n",
				"base64 and CRLF":             std(raw) + "\r\n",
				"base64, as base64(1) has it": lines(std(raw), 76, "\n"),
				"base64, as openssl has it":   lines(std(raw), 64, "\n"),
				"base64 in lines of Windows":  lines(std(raw), 64, "\r\n"),
				"base64 of URLs":              url(raw) + "\n",
				"base64 of URLs, padded":      base64.URLEncoding.EncodeToString(raw),
			}
			for how, answer := range tests {
				got, err := k.Public().Accept(manifest, []byte(answer))
				if err != nil || !bytes.Equal(got, sig) {
					t.Errorf("%s, %s%s: got %x, %v, want %x", name, form, how, got, err, sig)
				}
			}
		}
	}
}

// TestAcceptRefuses what the key does not verify, and says what it looks like.
func TestAcceptRefuses(t *testing.T) {
	p256, rsa2048, ed := load(t, "p256"), load(t, "rsa2048"), load(t, "ed25519")
	sum := sha256.Sum256(manifest)
	pss := must(rsa.SignPSS(rand.Reader, rsa2048.key.(*rsa.PrivateKey), crypto.SHA256, sum[:], nil))
	text := base64.StdEncoding.EncodeToString
	good := sign(t, p256, manifest)
	tests := []struct {
		name   string
		key    *PrivateKey
		answer []byte
		says   string
	}{
		{"nothing", p256, nil, "nothing was given"},
		{"a newline", p256, []byte("\n"), "1 bytes"},
		{"nothing, RSA", rsa2048, nil, "nothing was given"},
		{"another key", p256, sign(t, ed, manifest), "another key"},
		{"a larger key", rsa2048, sign(t, load(t, "rsa3072"), manifest), "it has 384 bytes, and a signature of this key has 256"},
		{"another manifest", p256, sign(t, p256, manifest[1:]), "another manifest"},
		{"hashed twice", p256, sign(t, p256, sum[:]), "hashed once more"},
		{"hashed twice, RSA", rsa2048, sign(t, rsa2048, sum[:]), "hashed once more"},
		{"the digest for Ed25519", ed, sign(t, ed, sum[:]), "hashed once more"},
		{"PSS", rsa2048, pss, "RSA-PSS"},
		{"PSS in base64", rsa2048, []byte(text(pss) + "\n"), "RSA-PSS"},
		{"a blank before base64", p256, []byte(" " + text(good)), "bytes"},
		{"base64 twice", p256, []byte(text([]byte(text(good)))), "bytes"},
		{"hexadecimal", p256, []byte("0123456789abcdef"), "bytes"},
		{"a message of an error", p256, []byte("Error: not logged in\n"), "bytes"},
		{"the signature and a newline", p256, append(bytes.Clone(good), '\n'), "65 bytes"},
		{"two signatures", p256, append(bytes.Clone(good), good...), "128 bytes"},
		{"no key", &PrivateKey{}, good, "there is no key"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.key.Public().Accept(manifest, tt.answer)
			if got != nil || !errors.Is(err, ErrMismatch) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %x, %v, want %v and %q", got, err, ErrMismatch, tt.says)
			}
		})
	}
}
