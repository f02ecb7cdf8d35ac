package external

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"time"

	"github.com/plimsoll-ota/plimsoll/signing"
)

// maxAnswer is far above base64, in lines, of the largest signature.
const maxAnswer = 4 << 10

// A Command is a program that signs. It gets the manifest on its standard input
// and gives the signature on its standard output, in any form that
// signing.PublicKey.Accept knows. In its environment it finds
//
//	PLIMSOLL_SHA256         the SHA-256 of the manifest, in hexadecimal
//	PLIMSOLL_SHA256_BASE64  the same in base64
//	PLIMSOLL_ALGORITHM      the kind of key: p256, rsa2048, rsa3072, rsa4096, ed25519
//	PLIMSOLL_KEY            Key, empty if there is none
//
// RSA and P-256 sign that digest, Ed25519 the manifest itself.
type Command struct {
	Args    []string          // the program, looked up as a shell does, and its arguments
	Key     string            // the name of the key, whatever that means to the program
	Public  signing.PublicKey // verifies what comes back
	Timeout time.Duration     // 0 is DefaultTimeout
	Stderr  io.Writer         // gets what the program says on standard error; nil is nobody
}

// Sign returns the signature of manifest, verified and in the form that
// artifacts have. ctx ends the program, and all of its process group.
func (c *Command) Sign(ctx context.Context, manifest []byte) ([]byte, error) {
	sum := sha256.Sum256(manifest)
	p := program{
		args: c.Args,
		env: []string{
			"PLIMSOLL_SHA256=" + hex.EncodeToString(sum[:]),
			"PLIMSOLL_SHA256_BASE64=" + base64.StdEncoding.EncodeToString(sum[:]),
			"PLIMSOLL_ALGORITHM=" + c.Public.Algorithm(),
			"PLIMSOLL_KEY=" + c.Key,
		},
		input: manifest, limit: maxAnswer, timeout: c.Timeout, stderr: c.Stderr,
	}
	answer, err := p.run(ctx)
	if err != nil {
		return nil, err
	}
	sig, err := c.Public.Accept(manifest, answer)
	if err != nil {
		return nil, fmt.Errorf("what %s gave: %w", c.Args[0], err)
	}
	return sig, nil
}
