package prepare

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plimsoll-ota/plimsoll/artifact"
	"github.com/plimsoll-ota/plimsoll/signing"
)

const keyDir = "../../testdata/keys"

func ring(t testing.TB, key string) *signing.Keyring {
	t.Helper()
	r, err := signing.LoadKeyring(filepath.Join(keyDir, key+".pub.pem"))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func private(t testing.TB, key string) *signing.PrivateKey {
	t.Helper()
	k, err := signing.LoadPrivateKey(filepath.Join(keyDir, key+".pem"))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func noise(n int, seed byte) []byte {
	r := rand.NewChaCha8([32]byte{seed})
	b := make([]byte, n)
	r.Read(b) // never fails
	return b
}

// build makes an artifact of version 1.seed, signed by the P-256 key, with an image of n bytes.
func build(t testing.TB, name string, n int, seed byte) []byte {
	t.Helper()
	h := artifact.Header{Name: name, DeviceTypes: []string{"crane"}, Type: artifact.RootFS, Provides: map[string]string{"plimsoll.version": "1." + string('0'+rune(seed))}}
	var b bytes.Buffer
	w := artifact.Create(&b, h, artifact.Options{Signer: private(t, "p256")})
	if err := errors.Join(w.Add("rootfs.img", int64(n), bytes.NewReader(noise(n, seed))), w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// put writes a file and returns its path.
func put(t testing.TB, dir, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, b, 0o644)); err != nil {
		t.Fatal(err)
	}
	return path
}

// listing returns all that is in a folder: the contents of files, and what else there is.
func listing(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		if !d.Type().IsRegular() {
			all[name] = d.Type().String()
			return nil
		}
		b, err := os.ReadFile(path)
		all[name] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// mounted gives the test mounts of its own, and mounts one. They are gone with its thread. Nothing but this goroutine sees them.
func mounted(t testing.TB, source, kind, options string) string {
	t.Helper()
	runtime.LockOSThread() // and never unlocked: the thread ends with the test
	if err := errors.Join(unix.Unshare(unix.CLONE_FS|unix.CLONE_NEWNS), unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")); err != nil {
		t.Fatalf("mounts of its own: %v", err)
	}
	dir := t.TempDir()
	if err := unix.Mount(source, dir, kind, 0, options); err != nil {
		t.Fatalf("mount %s: %v", kind, err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}
