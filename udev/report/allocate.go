package report

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// MaxAllocated is the most that Allocate makes: their names have two digits.
const MaxAllocated = 99

// Allocated is how many bytes room for n reports takes.
func Allocated(n int) int64 { return int64(n) * 2 * fileSize }

// Allocate makes room for n reports on the stick that is mounted at dir, 1 to
// 99: files of 8 KiB of blanks, written and on the medium, so that a device
// needs no more from the stick's file system. Files that are there stay as they
// are, used or not. After an error, those that are whole stay.
func Allocate(dir string, n int) error {
	if n < 1 || n > MaxAllocated {
		return fmt.Errorf("allocate %d reports: want 1 to %d", n, MaxAllocated)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("allocate reports: %w", err)
	}
	defer root.Close()
	d, err := reportsFolder(root, true)
	if err != nil {
		return fmt.Errorf("allocate reports: %w", err)
	}
	defer d.Close()
	for i := 1; i <= n; i++ {
		for _, ext := range []string{".json", ".txt"} {
			if err := d.allocate(slotName(i) + ext); err != nil {
				return fmt.Errorf("allocate report %d of %d: %w", i, n, err)
			}
		}
	}
	return nil
}

// allocate makes one file, unless it is there.
func (d folder) allocate(name string) error {
	err := d.make(name, blank(fileSize))
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	b, err := d.read(name, fileSize)
	if err == nil && len(b) != fileSize {
		err = d.problem("allocate", name, fmt.Errorf("%w: it has %d bytes, want %d; remove it", errInTheWay, len(b), fileSize))
	}
	return err
}

func slotName(i int) string { return fmt.Sprintf("%02d", i) }

// reportsFolder opens plimsoll/reports. Where it may not be made and is not
// there, the error is fs.ErrNotExist.
func reportsFolder(root *os.Root, create bool) (folder, error) {
	top, err := openFolder(root)
	if err != nil {
		return folder{}, err
	}
	defer top.Close()
	ours, err := top.sub("plimsoll", create)
	if err != nil {
		return folder{}, err
	}
	defer ours.Close()
	return ours.sub("reports", create)
}
