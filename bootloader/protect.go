package bootloader

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// sysfs returns the path of an attribute of the copy's block device.
func (s *storage) sysfs(attribute string) string {
	return filepath.Join(s.sys, "class/block", filepath.Base(s.Path), attribute)
}

// bootPartition reports whether the copy is on one of an eMMC's boot
// partitions, mmcblk0boot0 and mmcblk0boot1.
func (s *storage) bootPartition() bool {
	name := filepath.Base(s.Path)
	return strings.HasPrefix(name, "mmcblk") && strings.Contains(name, "boot")
}

// unprotect clears force_ro of an eMMC boot partition, where the kernel
// refuses writes by default, and returns what sets it back.
func (s *storage) unprotect() (protect func() error, err error) {
	nothing := func() error { return nil }
	if !s.bootPartition() {
		return nothing, nil
	}
	before, err := os.ReadFile(s.sysfs("force_ro"))
	if errors.Is(err, fs.ErrNotExist) {
		return nothing, nil
	}
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(s.sysfs("force_ro"), []byte("0"), 0); err != nil {
		return nil, err
	}
	return func() error { return os.WriteFile(s.sysfs("force_ro"), bytes.TrimSpace(before), 0) }, nil
}

// writable tells why the copy cannot be written, as far as the kernel knows
// without a try. A force_ro is no reason: it is cleared for the write.
func (s *storage) writable() error {
	if s.raw {
		return fmt.Errorf("%s: %w: raw flash is read and not written", s.Path, ErrUnsupported)
	}
	if err := unix.Access(s.Path, unix.W_OK); err != nil {
		return fmt.Errorf("%s cannot be written: %w", s.Path, err)
	}
	if s.bootPartition() {
		lock, err := os.ReadFile(s.sysfs("ro_lock_until_next_power_on"))
		if err == nil && strings.TrimSpace(string(lock)) != "0" {
			return fmt.Errorf("%s cannot be written: the eMMC is write-protected: %w", s.Path, fs.ErrPermission)
		}
		if _, err := os.Stat(s.sysfs("force_ro")); err == nil {
			return nil
		}
	}
	ro, err := os.ReadFile(s.sysfs("ro"))
	if s.info.Mode()&fs.ModeDevice != 0 && err == nil && strings.TrimSpace(string(ro)) == "1" {
		return fmt.Errorf("%s cannot be written: the device is read-only: %w", s.Path, fs.ErrPermission)
	}
	return nil
}
