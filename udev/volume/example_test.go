package volume_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/plimsoll-ota/plimsoll/udev/volume"
)

// What a stick is looked at for, and one report written onto it.
func Example() {
	volumes, err := volume.Disk("", "", "sda")
	if err != nil {
		fmt.Println(err) // volume.ErrGone: pulled out already
		return
	}
	for _, v := range volumes {
		if v.PassedOver() {
			continue
		}
		if err := report(v); err != nil {
			fmt.Println(err)
		}
	}
}

func report(v volume.Volume) (err error) {
	m, err := v.Mount("/run/plimsoll/stick")
	if err != nil {
		return err // a *volume.KindError says what it is, and that it cannot be read
	}
	// Only when this is nil may anybody be told to take the stick.
	defer func() { err = errors.Join(err, m.Close()) }()
	if err := m.Writable(); err != nil {
		return err // volume.ErrDirty, volume.ErrWriteProtected: there is no report then
	}
	return os.WriteFile(filepath.Join(m.Dir, "report.txt"), []byte("updated"), 0o644)
}
