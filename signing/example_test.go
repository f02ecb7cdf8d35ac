package signing_test

import (
	"errors"
	"fmt"
	"log"

	"github.com/plimsoll-ota/plimsoll/signing"
)

// A device trusts any of its keys, and nothing else.
func ExampleKeyring_Verify() {
	ring, err := signing.LoadKeyring("../testdata/keys/*.pub.pem")
	if err != nil {
		log.Fatal(err)
	}
	key, err := signing.LoadPrivateKey("../testdata/keys/p256.pem")
	if err != nil {
		log.Fatal(err)
	}
	manifest := []byte("what is signed\n")
	sig, err := key.Sign(manifest)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(sig), "bytes:", ring.Verify(manifest, sig))
	fmt.Println("unsigned:", ring.Verify(manifest, nil))
	fmt.Println("changed:", errors.Is(ring.Verify(manifest[1:], sig), signing.ErrMismatch))
	// Output:
	// 64 bytes: <nil>
	// unsigned: it has no signature
	// changed: true
}

// The private key stays at the workbench, and devices get the public one.
func ExampleGenerate() {
	key, err := signing.Generate("ed25519")
	if err != nil {
		log.Fatal(err)
	}
	public, err := key.Public().MarshalPEM()
	if err != nil {
		log.Fatal(err)
	}
	keys, err := signing.ParsePublicKeys(public)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(keys[0].Algorithm(), keys[0].Fingerprint() == key.Public().Fingerprint())
	fmt.Println("Mender's clients accept it:", key.Interoperable())
	// Output:
	// ed25519 true
	// Mender's clients accept it: false
}
