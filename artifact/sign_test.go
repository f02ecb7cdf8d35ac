package artifact

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"testing/iotest"
)

// TestSign: the members before and after the signature are the bytes that were there, padding behind the end included.
func TestSign(t *testing.T) {
	for _, c := range []Compression{None, Gzip, Zstd} {
		for _, tail := range []int{0, 8 * block} {
			unsigned, img := written(t, c, nil, 5000)
			want, _ := written(t, c, testKey("p256"), 5000)
			unsigned, want = append(unsigned, make([]byte, tail)...), append(want, make([]byte, tail)...)
			other, _ := written(t, c, testKey("rsa3072"), 5000)
			other = append(other, make([]byte, tail)...)
			for name, src := range map[string][]byte{"unsigned": unsigned, "signed by another": other, "signed by the same": want} {
				var have bytes.Buffer
				if err := Sign(&have, iotest.OneByteReader(bytes.NewReader(src)), testKey("p256"), true); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if !bytes.Equal(have.Bytes(), want) {
					t.Errorf("%s, %s, tail %d: not what the writer signs itself", c, name, tail)
				}
				if got, err := readAll(&have, testKey("p256")); err != nil || !bytes.Equal(got, img) {
					t.Errorf("%s, %s: %v", c, name, err)
				}
			}
			if err := Sign(new(bytes.Buffer), bytes.NewReader(other), testKey("p256"), false); !errors.Is(err, ErrSigned) {
				t.Errorf("%s: signing what is signed: %v, want ErrSigned", c, err)
			}
		}
	}
}

// TestSignVerifies: what is not a good artifact does not become one by a signature.
func TestSignVerifies(t *testing.T) {
	for _, v := range vectors() {
		want := outcomes[or(v.inspect, v.expect)]
		if strings.HasPrefix(v.name, "s-") {
			continue // force replaces bad signatures; that is TestSignBadSignature
		}
		var b bytes.Buffer
		if err := Sign(&b, bytes.NewReader(v.data), testKey("p256"), true); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", v.name, err, want)
		}
		if want != nil {
			continue
		}
		if err := inspect(t, b.Bytes()).Verify(testKey("p256")); err != nil {
			t.Errorf("%s: %v", v.name, err)
		}
	}
}

// TestSignBadSignature: a signature that nobody can read can be replaced.
func TestSignBadSignature(t *testing.T) {
	bad := parts{sign: func(string) string { return "no base64" }}.build()
	var b bytes.Buffer
	if err := Sign(&b, bytes.NewReader(bad), testKey("p256"), true); err != nil {
		t.Fatal(err)
	}
	if err := inspect(t, b.Bytes()).Verify(testKey("p256")); err != nil {
		t.Error(err)
	}
}

type badSigner struct {
	sig []byte
	err error
}

func (s badSigner) Sign([]byte) ([]byte, error) { return s.sig, s.err }

// TestSignerFails: neither an error nor an empty or endless signature gets into an artifact.
func TestSignerFails(t *testing.T) {
	broken := errors.New("the token is locked")
	a, _ := written(t, None, nil, 10)
	for _, tt := range []struct {
		s    badSigner
		want error
	}{{badSigner{nil, broken}, broken}, {badSigner{nil, nil}, ErrLimit}, {badSigner{make([]byte, 7<<10), nil}, ErrLimit}} {
		if err := Sign(new(bytes.Buffer), bytes.NewReader(a), tt.s, false); !errors.Is(err, tt.want) {
			t.Errorf("Sign: %v, want %v", err, tt.want)
		}
		if err := write(new(bytes.Buffer), Options{Signer: tt.s, TempDir: t.TempDir()}, nil, strings.NewReader("x"), 1); !errors.Is(err, tt.want) {
			t.Errorf("Close: %v, want %v", err, tt.want)
		}
	}
}
