package partition_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"

	"github.com/plimsoll-ota/plimsoll/partition"
)

// Write an image to the slot that is not running; here both are plain files.
func Example() {
	dir, err := os.MkdirTemp("", "slots")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	for _, name := range []string{"slot2.img", "slot3.img"} {
		if err := os.WriteFile(filepath.Join(dir, name), make([]byte, 64<<10), 0o600); err != nil {
			log.Fatal(err)
		}
	}

	var host partition.Host // the running system
	pair, err := host.Find(partition.Spec{A: filepath.Join(dir, "slot2.img"), B: filepath.Join(dir, "slot3.img")})
	if err != nil {
		log.Fatal(err)
	}
	image := bytes.Repeat([]byte("root file system "), 1000)
	for range 2 {
		n, err := write(pair.B, image)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("slot %s, number %d: wrote %d bytes\n", pair.B.Name, pair.B.Part, n)
	}
	// Output:
	// slot B, number 3: wrote 17000 bytes
	// slot B, number 3: wrote 0 bytes
}

func write(s partition.Slot, image []byte) (int64, error) {
	w, err := s.Create(int64(len(image))) // ErrInUse, ErrSize: before a byte is written
	if err != nil {
		return 0, err
	}
	defer w.Abort() // does nothing after Close
	if _, err := io.Copy(w, bytes.NewReader(image)); err != nil {
		return 0, err
	}
	if err := w.Verify(context.Background(), sha256.Sum256(image), nil); err != nil {
		return 0, err
	}
	return w.Written(), w.Close() // nil only if the whole image is on the medium
}
