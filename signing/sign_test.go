package signing

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"math/big"
	"testing"
)

var keyNames = []string{"rsa2048", "rsa3072", "p256", "ed25519"}

// TestRFC6979 is the vector of RFC 6979, appendix A.2.5, for P-256, SHA-256 and
// the message "sample".
func TestRFC6979(t *testing.T) {
	d, _ := hex.DecodeString("C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721")
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), d)
	if err != nil {
		t.Fatal(err)
	}
	k, err := newPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	want := "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716" +
		"f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8"
	if got := hex.EncodeToString(sign(t, k, []byte("sample"))); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestSign: what a key signs, the same key verifies, and nobody else does; it
// is the same each time, and of the length that Mender's tools expect.
func TestSign(t *testing.T) {
	lengths := map[string]int{"rsa2048": 256, "rsa3072": 384, "p256": 64, "ed25519": 64}
	for _, name := range keyNames {
		t.Run(name, func(t *testing.T) {
			key := load(t, name)
			sig := sign(t, key, manifest)
			if got, want := len(sig), lengths[name]; got != want {
				t.Errorf("got %d bytes, want %d", got, want)
			}
			if !bytes.Equal(sig, sign(t, load(t, name), manifest)) {
				t.Error("a second signature differs")
			}
			if got, want := key.Algorithm(), name; got != want {
				t.Errorf("algorithm: got %s, want %s", got, want)
			}
			if got, want := key.Interoperable(), name != "ed25519"; got != want {
				t.Errorf("interoperable: got %v, want %v", got, want)
			}
			for _, other := range keyNames {
				err := load(t, other).Public().Verify(manifest, sig)
				if other == name && err != nil || other != name && !errors.Is(err, ErrMismatch) {
					t.Errorf("verified with %s: got %v", other, err)
				}
			}
		})
	}
}

// TestDamagedSignature flips each bit, and takes each length.
func TestDamagedSignature(t *testing.T) {
	for _, name := range []string{"rsa2048", "p256", "ed25519"} {
		key := load(t, name).Public()
		sig := sign(t, load(t, name), manifest)
		for i := range len(sig) * 8 {
			bad := bytes.Clone(sig)
			bad[i/8] ^= 1 << (i % 8)
			if err := key.Verify(manifest, bad); !errors.Is(err, ErrMismatch) {
				t.Fatalf("%s: bit %d flipped: got %v, want %v", name, i, err, ErrMismatch)
			}
		}
		for n := range len(sig) + 2 {
			bad := append(bytes.Clone(sig), 0)
			if n == len(sig) {
				continue
			}
			if err := key.Verify(manifest, bad[:min(n, len(bad))]); !errors.Is(err, ErrMismatch) {
				t.Fatalf("%s: %d bytes: got %v, want %v", name, n, err, ErrMismatch)
			}
		}
		if err := key.Verify(manifest[:len(manifest)-1], sig); !errors.Is(err, ErrMismatch) {
			t.Errorf("%s: a shorter manifest: got %v, want %v", name, err, ErrMismatch)
		}
	}
}

// der encodes r and s of a signature of fixed width.
func der(t testing.TB, sig []byte) []byte {
	t.Helper()
	r, s := new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])
	b, err := asn1.Marshal(struct{ R, S *big.Int }{r, s})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestECDSAForms: r and s of fixed width, or strict DER of any length.
func TestECDSAForms(t *testing.T) {
	k := load(t, "p256")
	key := k.Public()
	sig := sign(t, k, manifest)
	good := der(t, sig)
	n := elliptic.P256().Params().N
	r, s := new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])
	fixed := func(r, s *big.Int) []byte {
		return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	}
	tests := []struct {
		name string
		sig  []byte
		ok   bool
	}{
		{"fixed width", sig, true},
		{"DER", good, true},
		{"DER and a byte", append(bytes.Clone(good), 0), false},
		{"DER without the last byte", good[:len(good)-1], false},
		{"a length in the long form", append([]byte{0x30, 0x81, good[1]}, good[2:]...), false},
		{"an indefinite length", append(append([]byte{0x30, 0x80}, good[2:]...), 0, 0), false},
		{"s and r", append(bytes.Clone(sig[32:]), sig[:32]...), false},
		{"zeros", make([]byte, 64), false},
		{"r is 0", fixed(new(big.Int), s), false},
		{"s is 0", fixed(r, new(big.Int)), false},
		{"s is the order", fixed(r, n), false},
		{"all ones", bytes.Repeat([]byte{0xff}, 64), false},
		{"fixed width and a zero in front", append([]byte{0}, sig...), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := key.Verify(manifest, tt.sig); (err == nil) != tt.ok {
				t.Errorf("got %v, want accepted: %v", err, tt.ok)
			}
		})
	}
}

// TestSigner names the key.
func TestSigner(t *testing.T) {
	ring := Keyring{}
	for _, name := range keyNames {
		ring.Keys = append(ring.Keys, load(t, name).Public())
	}
	for _, name := range keyNames {
		k := load(t, name)
		got, err := ring.Signer(manifest, sign(t, k, manifest))
		if err != nil || got.Fingerprint() != k.Public().Fingerprint() {
			t.Errorf("%s: got %s, %v", name, got.Algorithm(), err)
		}
	}
	if got, err := ring.Signer(manifest, nil); !errors.Is(err, ErrMismatch) || got.Fingerprint() != "" {
		t.Errorf("no signature: got %v, %v, want no key and %v", got, err, ErrMismatch)
	}
}

// TestEd25519SignsTheManifest itself: a signature of its SHA-256 is another.
func TestEd25519SignsTheManifest(t *testing.T) {
	k := load(t, "ed25519")
	sum := sha256.Sum256(manifest)
	if err := k.Public().Verify(manifest, sign(t, k, sum[:])); !errors.Is(err, ErrMismatch) {
		t.Errorf("got %v, want %v", err, ErrMismatch)
	}
}
