package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Sizes are 64 bits wide: a sparse image of 4 GiB and one byte goes through write, verify and install, and its last byte arrives.
func TestLargerThan4GiB(t *testing.T) {
	const size = 4<<30 + 1
	b := newBench(t)
	image, path := b.path("large.img"), b.path("large.mender")
	sparse(t, image, size, 0xa5)
	sparse(t, b.path("slot3.img"), size+1<<20, 0)
	began := time.Now()
	call(nil, "artifact", "write", "rootfs-image", "-f", image, "-n", "large", "-c", benchType, "-k", filepath.Join(keyDir, "p256.pem"), "-o", path).want(t, 0)
	call(nil, "artifact", "verify", "-k", filepath.Join(keyDir, "p256.pub.pem"), path).want(t, 0)
	b.run("install", path).want(t, 0, "verify 100 %  4.0 GiB of 4.0 GiB")
	t.Logf("written, verified and installed in %v", time.Since(began).Round(time.Second))

	slot, err := os.Open(b.path("slot3.img"))
	must(t, err)
	defer slot.Close()
	var last [2]byte
	if _, err := slot.ReadAt(last[:], size-1); err != nil || last != [2]byte{0xa5, 0} {
		t.Errorf("the image ends in %x (%v)", last, err)
	}
	if st, err := slot.Stat(); err != nil || st.Size() != size+1<<20 {
		t.Errorf("the slot's file has %d bytes (%v)", st.Size(), err)
	}
	if r := b.run("--json", "status"); r.code != 0 {
		r.want(t, 0)
	}
	b.run("commit").want(t, 0)
}

// sparse makes a file of zeros with one byte at its end.
func sparse(t *testing.T, path string, size int64, last byte) {
	t.Helper()
	f, err := os.Create(path)
	must(t, err)
	must(t, f.Truncate(size))
	if last != 0 {
		_, err = f.WriteAt([]byte{last}, size-1)
		must(t, err)
	}
	must(t, f.Close())
}
