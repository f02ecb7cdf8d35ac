package signing

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
)

// maxKeyFile is far above any file of keys: it keeps a mistyped device from
// filling the memory.
const maxKeyFile = 1 << 20

func readKeyFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxKeyFile {
		return nil, fmt.Errorf("%s: more than %d bytes, too large for a key file", path, maxKeyFile)
	}
	return b, nil
}

// blocks returns all PEM blocks of text. encoding/pem skips a block that it
// cannot decode; here that is an error, because it may be the key that counts.
func blocks(text []byte) ([]*pem.Block, error) {
	var all []*pem.Block
	for rest := text; ; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			break
		}
		all = append(all, b)
	}
	// Either line may be the damaged one.
	marks := max(bytes.Count(text, []byte("-----BEGIN ")), bytes.Count(text, []byte("-----END ")))
	switch {
	case marks != len(all):
		return nil, fmt.Errorf("damaged PEM file: %d of %d blocks can be decoded", len(all), marks)
	case marks == 0 && holds(&pem.Block{Bytes: text}) != "":
		return nil, errors.New("DER, not PEM; convert it with: openssl pkey -inform DER -in FILE, and -pubin for a public key")
	case marks == 0:
		return nil, errors.New("not a PEM file")
	}
	return all, nil
}

// What a block holds that is not the key that was asked for.
const (
	isEncrypted   = "an encrypted private key"
	isPrivate     = "a private key, and a public one is needed; extract it with: openssl pkey -in FILE -pubout"
	isPublic      = "a public key, and the private one is needed"
	isPKCS1       = "a PKCS#1 public key; convert it with: openssl rsa -RSAPublicKey_in -in FILE -pubout"
	isCertificate = "a certificate; extract its public key with: openssl x509 -in FILE -pubkey -noout"
	isOpenSSH     = "an OpenSSH private key; convert it with: ssh-keygen -p -m PEM -f FILE"
	isParameters  = "curve parameters without a key"
)

// holds says what b is, for the reader of an error; "" if it is anybody's
// guess. Encryption of the old kind is visible in the headers only.
func holds(b *pem.Block) string {
	if b.Headers["DEK-Info"] != "" || isEncryptedPKCS8(b.Bytes) {
		return isEncrypted
	}
	if bytes.HasPrefix(b.Bytes, []byte("openssh-key-v1\x00")) {
		return isOpenSSH
	}
	if _, err := parsePrivateDER(b.Bytes); err == nil {
		return isPrivate
	}
	if _, err := x509.ParsePKIXPublicKey(b.Bytes); err == nil {
		return isPublic
	}
	if _, err := x509.ParsePKCS1PublicKey(b.Bytes); err == nil {
		return isPKCS1
	}
	if _, err := x509.ParseCertificate(b.Bytes); err == nil {
		return isCertificate
	}
	if isCurve(b.Bytes) {
		return isParameters
	}
	return ""
}

// isEncryptedPKCS8 recognises an EncryptedPrivateKeyInfo (RFC 5958): how it is
// encrypted, and an octet string. What is not encrypted begins with a version.
func isEncryptedPKCS8(der []byte) bool {
	var info struct {
		Algorithm pkix.AlgorithmIdentifier
		Data      []byte
	}
	rest, err := asn1.Unmarshal(der, &info)
	return err == nil && len(rest) == 0
}

// isCurve recognises the "EC PARAMETERS" that openssl ecparam writes before the
// key unless told not to: the name of a curve, and nothing else.
func isCurve(der []byte) bool {
	var name asn1.ObjectIdentifier
	rest, err := asn1.Unmarshal(der, &name)
	return err == nil && len(rest) == 0
}
