package signing

import (
	"bytes"
	"crypto/elliptic"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"math/big"
	"testing"
)

func seedKeys(f *testing.F) {
	for _, name := range keyNames {
		f.Add(read(f, name+".pem"))
		f.Add(read(f, name+".pub.pem"))
	}
	f.Add(concat(read(f, "p256.pub.pem"), read(f, "rsa2048.pub.pem")))
}

// FuzzParsePrivateKey: what parses signs, and is the same key after encoding.
func FuzzParsePrivateKey(f *testing.F) {
	seedKeys(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		k, err := ParsePrivateKey(text)
		if err != nil {
			return
		}
		if err := k.Public().Verify(manifest, sign(t, k, manifest)); err != nil {
			t.Fatal(err)
		}
		encoded, err := k.MarshalPEM()
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParsePrivateKey(encoded)
		if err != nil || again.Public().Fingerprint() != k.Public().Fingerprint() {
			t.Fatalf("encoded and read again: %v, %v", again, err)
		}
	})
}

// FuzzParsePublicKeys: what parses is the same key after encoding, and none of
// the keys takes a signature of zeros.
func FuzzParsePublicKeys(f *testing.F) {
	seedKeys(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, err := ParsePublicKeys(text)
		if err == nil && len(keys) == 0 {
			t.Fatal("no error and no key")
		}
		for _, k := range keys {
			encoded, err := k.MarshalPEM()
			if err != nil {
				t.Fatal(err)
			}
			again, err := ParsePublicKeys(encoded)
			if err != nil || len(again) != 1 || again[0].Fingerprint() != k.Fingerprint() {
				t.Fatalf("encoded and read again: %v, %v", again, err)
			}
			if k.Algorithm() != "ed25519" && k.Verify(manifest, make([]byte, 64)) == nil {
				t.Fatal("a signature of zeros is accepted")
			}
		}
	})
}

// FuzzVerify: of all signatures only the two pairs (r, s) and (r, -s) that the
// mathematics allows are accepted, and each only in its two encodings.
func FuzzVerify(f *testing.F) {
	k := load(f, "p256")
	sig := sign(f, k, manifest)
	f.Add(sig)
	f.Add(der(f, sig))
	f.Add(make([]byte, 64))
	n := elliptic.P256().Params().N
	r, s := new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])
	f.Fuzz(func(t *testing.T, b []byte) {
		if k.Public().Verify(manifest, b) != nil {
			return
		}
		var got struct{ R, S *big.Int }
		if len(b) == 64 {
			got.R, got.S = new(big.Int).SetBytes(b[:32]), new(big.Int).SetBytes(b[32:])
		} else if rest, err := asn1.Unmarshal(b, &got); err != nil || len(rest) > 0 {
			t.Fatalf("%x is accepted and is no DER: %v", b, err)
		}
		if got.R.Cmp(r) != 0 || got.S.Cmp(s) != 0 && got.S.Cmp(new(big.Int).Sub(n, s)) != 0 {
			t.Fatalf("%x is accepted", b)
		}
	})
}

// FuzzAccept: what is accepted is one of the two signatures that the mathematics
// allows, in the form of artifacts, and is accepted again as it is.
func FuzzAccept(f *testing.F) {
	k := load(f, "p256")
	sig := sign(f, k, manifest)
	for _, raw := range [][]byte{sig, der(f, sig), make([]byte, 64)} {
		f.Add(raw)
		f.Add([]byte(base64.StdEncoding.EncodeToString(raw) + "\n"))
		f.Add([]byte(base64.RawURLEncoding.EncodeToString(raw)))
	}
	n := elliptic.P256().Params().N
	minus := new(big.Int).Sub(n, new(big.Int).SetBytes(sig[32:])).FillBytes(make([]byte, 32))
	other := append(bytes.Clone(sig[:32]), minus...)
	f.Fuzz(func(t *testing.T, answer []byte) {
		got, err := k.Public().Accept(manifest, answer)
		if err != nil {
			if got != nil || !errors.Is(err, ErrMismatch) {
				t.Fatalf("refused with %x, %v", got, err)
			}
			return
		}
		if !bytes.Equal(got, sig) && !bytes.Equal(got, other) {
			t.Fatalf("%x of %q is accepted", got, answer)
		}
		if again, err := k.Public().Accept(manifest, got); err != nil || !bytes.Equal(again, got) {
			t.Fatalf("%x: accepted, and then not: %x, %v", got, again, err)
		}
	})
}
