package artifact_test

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/plimsoll-ota/plimsoll/artifact"
)

// A key signs and verifies. Package signing has real ones.
type key struct{ private ed25519.PrivateKey }

func (k key) Sign(manifest []byte) ([]byte, error) {
	return k.private.Sign(nil, manifest, crypto.Hash(0))
}

func (k key) Verify(manifest, sig []byte) error {
	if !ed25519.Verify(k.private.Public().(ed25519.PublicKey), manifest, sig) {
		return errors.New("not signed by the key")
	}
	return nil
}

var testKey = key{ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))}

// create writes a signed artifact.
func create(dst io.Writer) error {
	image := strings.NewReader("a root file system")
	h := artifact.Header{Name: "release-8", DeviceTypes: []string{"raspberrypi3"}, Type: artifact.RootFS}
	w := artifact.Create(dst, h, artifact.Options{Compression: artifact.Zstd, Signer: testKey, Rootfs: &artifact.Software{}})
	defer w.Abort() // does nothing after Close
	if err := w.Add("rootfs.ext4", image.Size(), image); err != nil {
		return err
	}
	return w.Close()
}

func ExampleCreate() {
	var dst bytes.Buffer
	if err := create(&dst); err != nil {
		fmt.Println(err)
		return
	}
	info, err := artifact.Inspect(&dst)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(info.Header.Name, "for", info.Header.DeviceTypes)
	fmt.Println(info.Files[0].Name, info.Files[0].Size, info.Header.Provides["rootfs-image.checksum"] == info.Files[0].Sum.String())
	// Output:
	// release-8 for [raspberrypi3]
	// rootfs.ext4 18 true
}

func ExampleOpen() {
	var src bytes.Buffer
	if err := create(&src); err != nil {
		fmt.Println(err)
		return
	}
	r, err := artifact.Open(&src, testKey)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(r.Header().Name)
	for {
		p, err := r.Next()
		if err == io.EOF {
			fmt.Println("\nwhole")
			return
		}
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Print(p.Name, ": ")
		if _, err := io.Copy(os.Stdout, p); err != nil {
			fmt.Println(err)
			return
		}
	}
	// Output:
	// release-8
	// rootfs.ext4: a root file system
	// whole
}

func ExampleSign() {
	var signed, again bytes.Buffer
	if err := create(&signed); err != nil {
		fmt.Println(err)
		return
	}
	err := artifact.Sign(&again, bytes.NewReader(signed.Bytes()), testKey, false)
	fmt.Println(errors.Is(err, artifact.ErrSigned))
	fmt.Println(artifact.Sign(&again, &signed, testKey, true))
	// Output:
	// true
	// <nil>
}

// Another name for the same payload: the signature would not hold, so that somebody signs again.
func ExampleRewrite() {
	var signed, renamed bytes.Buffer
	if err := create(&signed); err != nil {
		fmt.Println(err)
		return
	}
	r, err := artifact.Rewrite(&signed)
	if err != nil {
		fmt.Println(err)
		return
	}
	h := r.Header()
	h.Name = "release-8.1"
	if err := r.Write(&renamed, h, artifact.RewriteOptions{Signer: testKey}); err != nil {
		fmt.Println(err)
		return
	}
	info, err := artifact.Inspect(&renamed)
	fmt.Println(info.Header.Name, info.Verify(testKey), err)
	// Output:
	// release-8.1 <nil> <nil>
}
