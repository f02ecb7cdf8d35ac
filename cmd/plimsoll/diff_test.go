package main

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// dpkg has the same opinion of what is older.
func TestOlderPackage(t *testing.T) {
	versions := []string{"1", "1.0", "1.0-1", "1.0-1~deb12u1", "1.0-1+deb12u1", "1.0-1+deb12u10", "1.0-1+deb12u9", "1:0.1", "0:1.0-1", "1.0~rc1", "1.0~", "1.0a", "1.0A", "1.0+", "1.01", "1.1", "10", "2-1-1", "2-1", "1.36.1-r2", "1.36.1-r10", "0", "00"}
	for _, a := range versions {
		for _, b := range versions {
			err := exec.Command("dpkg", "--compare-versions", a, "lt", b).Run()
			if no := (*exec.ExitError)(nil); err != nil && !errors.As(err, &no) {
				t.Fatal(err)
			}
			if got, want := olderPackage(a, b), err == nil; got != want {
				t.Errorf("%s older than %s: %v, dpkg says %v", a, b, got, want)
			}
		}
	}
}

// FuzzPackages: a list of packages is read to its end, and what came of it, written as one, is read the same.
func FuzzPackages(f *testing.F) {
	f.Add([]byte("Package: a\nStatus: install ok installed\nVersion: 1\nMulti-Arch: same\nArchitecture: arm64\n\nPackage: b\nStatus: deinstall ok config-files\n"))
	f.Add([]byte(" \n:\nPackage:\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		versions, err := parsePackages(bytes.NewReader(b))
		if err != nil {
			return
		}
		var again strings.Builder
		for name, version := range versions {
			again.WriteString("Package: " + name + "\nVersion: " + version + "\nStatus: install ok installed\n\n")
		}
		if second, err := parsePackages(strings.NewReader(again.String())); err != nil || !maps.Equal(versions, second) {
			t.Errorf("%q became %q, %v", versions, second, err)
		}
	})
}

// An image is kept as it is, in whatever portions it comes, and its zeros take no room; what is no image is not kept.
func TestImageWriter(t *testing.T) {
	image := make([]byte, 8<<20+77)
	copy(image[1024+0x38:], "\x53\xef")
	noise := rand.NewChaCha8([32]byte{1})
	if _, err := noise.Read(image[3<<20 : 3<<20+100_000]); err != nil {
		t.Fatal(err)
	}
	for _, portion := range []int{2048, 4096, 1<<20 - 1, 1 << 20, len(image)} {
		w := &imageWriter{path: filepath.Join(t.TempDir(), "image")}
		for b := image; len(b) > 0; b = b[min(portion, len(b)):] {
			if n, err := w.Write(b[:min(portion, len(b))]); err != nil || n != min(portion, len(b)) {
				t.Fatal(n, err)
			}
		}
		must(t, w.close(int64(len(image))))
		if readFile(t, w.path) != string(image) {
			t.Errorf("in portions of %d: another image", portion)
		}
		var st syscall.Stat_t
		must(t, syscall.Stat(w.path, &st))
		if st.Blocks*512 > 1<<20 {
			t.Errorf("in portions of %d: %d bytes on the medium", portion, st.Blocks*512)
		}
	}
	w := &imageWriter{path: filepath.Join(t.TempDir(), "image")}
	if _, err := w.Write(make([]byte, 4096)); err != nil || w.close(4096) != nil || !w.drop {
		t.Errorf("zeros are kept: %v", err)
	}
	w = &imageWriter{path: filepath.Join(t.TempDir(), "missing", "image")}
	if _, err := w.Write(image[:4096]); err == nil {
		t.Error("kept where nothing can be")
	}
}

// Interrupted, diff says so, and leaves nothing behind.
func TestDiffInterrupted(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	path := order{name: "rel-1", image: picture(6000, 4)}.write(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errTest)
	var out bytes.Buffer
	a := &app{env: &env{stdout: &out, stderr: &out}}
	a.out = &output{env: a.env}
	if err := a.runDiff(ctx, diffOptions{path, path}); !errors.Is(err, errTest) {
		t.Errorf("got %v", err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 || out.Len() > 0 {
		t.Errorf("left %v, said %q, %v", left, &out, err)
	}
}

var errTest = errors.New("enough")
