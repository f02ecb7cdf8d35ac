// Package signing makes and verifies the signatures of artifacts, and reads
// and writes the keys for it.
//
// What is signed is exactly the content of an artifact's manifest, which has
// the checksums of everything else. The signature is returned and taken raw;
// whoever stores it encodes it in base64.
//
//	key                  signature                               bytes    Mender's clients
//	RSA, 2048 to 4096    PKCS#1 v1.5 over SHA-256                modulus  accept it
//	ECDSA, P-256         over SHA-256, r and s of 32 bytes each  64       accept it
//	Ed25519              over the manifest itself                64       do not know it
//
// All three are deterministic: the same key and manifest give the same bytes,
// ECDSA by RFC 6979. On reading, an ECDSA signature may also be an ASN.1
// SEQUENCE of r and s, which security modules and OpenSSL write. Nothing else
// is signed or verified with: not RSA-PSS, not shorter RSA keys, not other
// curves.
//
// Keys are PEM files. A private key is PKCS#1, SEC1 or PKCS#8, and not
// encrypted; a public key is a SubjectPublicKeyInfo ("PUBLIC KEY"). What is in
// the block decides, not its label. Anything else is an error that says what
// the file holds instead and how to convert it. Private keys are written as
// PKCS#1 and SEC1, which every release of mender-artifact reads, and Ed25519 as
// PKCS#8, the only form it has.
//
// A [Keyring] is what a device trusts: several keys, so that they can be
// replaced one after the other in the field, any of which is enough. One
// without keys refuses everything, and a key file that cannot be read is an
// error, never "no key": a typing error in the configuration must not turn
// verification off.
package signing
