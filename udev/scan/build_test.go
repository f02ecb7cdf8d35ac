package scan

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/plimsoll-ota/plimsoll/artifact"
	"github.com/plimsoll-ota/plimsoll/signing"
)

const keyDir = "../../testdata/keys"

// trusted is the keyring of a device that trusts the P-256 key.
func trusted(t testing.TB) *signing.Keyring { return keyring(t, "p256") }

func keyring(t testing.TB, key string) *signing.Keyring {
	t.Helper()
	ring, err := signing.LoadKeyring(filepath.Join(keyDir, key+".pub.pem"))
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

// noise returns n bytes that no compressor makes smaller.
func noise(n int) []byte {
	r := rand.NewChaCha8([32]byte{1})
	b := make([]byte, n)
	r.Read(b) // never fails
	return b
}

// A recipe is an artifact to be made, signed by the P-256 key.
type recipe struct {
	name        string
	version     string
	image       []byte
	compression artifact.Compression
	unsigned    bool
}

func (r recipe) make(t testing.TB) []byte {
	t.Helper()
	h := artifact.Header{Name: "rel-1", DeviceTypes: []string{"bench"}, Type: artifact.RootFS, Provides: map[string]string{}}
	if r.name != "" {
		h.Name = r.name
	}
	if r.version != "" {
		h.Provides["plimsoll.version"] = r.version
	}
	if r.image == nil {
		r.image = noise(200_000)
	}
	o := artifact.Options{Compression: r.compression}
	if !r.unsigned {
		key, err := signing.LoadPrivateKey(filepath.Join(keyDir, "p256.pem"))
		if err != nil {
			t.Fatal(err)
		}
		o.Signer = key
	}
	var b bytes.Buffer
	w := artifact.Create(&b, h, o)
	if err := errors.Join(w.Add("rootfs.img", int64(len(r.image)), bytes.NewReader(r.image)), w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// write makes files in a folder of its own, with the folders that they are in.
func write(t testing.TB, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, b := range files {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, b, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func openStick(t testing.TB, dir string) *Stick {
	t.Helper()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// payload reads the artifact in src to its end, and returns the sum of its payload.
func payload(src io.Reader, v artifact.Verifier) (string, error) {
	r, err := artifact.Open(src, v)
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	for {
		p, err := r.Next()
		if err == io.EOF {
			return fmt.Sprintf("%x", sum.Sum(nil)), nil
		}
		if err != nil {
			return "", err
		}
		if _, err := io.Copy(sum, p); err != nil {
			return "", err
		}
	}
}
