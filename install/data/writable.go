package data

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// readOnlyTypes are file systems that nobody writes to (statfs(2)).
var readOnlyTypes = map[uint32]string{
	0x73717368: "squashfs",
	0xe0f5e1e2: "erofs",
	0x28cd3d45: "cramfs",
	0x00007275: "romfs",
	0x00009660: "iso9660",
}

// Writable returns nil if files may be put into a root file system: it is
// mounted for writing, of a kind that can be written, and not on dm-verity, whose
// sums a change would not fit. Otherwise the error is ErrReadOnly.
func Writable(root string) error {
	if root == "" {
		root = "/"
	}
	const instead = "keep what is to survive an update on an overlay or on the data partition"
	var st unix.Statfs_t
	if err := again(func() error { return unix.Statfs(root, &st) }); err != nil {
		return &os.PathError{Op: "statfs", Path: root, Err: err}
	}
	if name, ok := readOnlyTypes[uint32(st.Type)]; ok {
		return fmt.Errorf("%s: %w: it is of type %s; %s", root, ErrReadOnly, name, instead)
	}
	if int64(st.Flags)&unix.ST_RDONLY != 0 {
		return fmt.Errorf("%s: %w: it is mounted so; %s", root, ErrReadOnly, instead)
	}
	var sx unix.Statx_t
	if err := again(func() error { return unix.Statx(unix.AT_FDCWD, root, 0, unix.STATX_BASIC_STATS, &sx) }); err != nil {
		return &os.PathError{Op: "stat", Path: root, Err: err}
	}
	return verity("/sys", root, sx.Dev_major, sx.Dev_minor)
}

// verity refuses a mapped device that checks what it reads.
func verity(sys, root string, major, minor uint32) error {
	b, err := os.ReadFile(filepath.Join(sys, "dev/block", fmt.Sprintf("%d:%d", major, minor), "dm/uuid"))
	if err == nil && strings.HasPrefix(string(b), "CRYPT-VERITY-") {
		return fmt.Errorf("%s: %w: it is checked by dm-verity", root, ErrReadOnly)
	}
	return nil // no mapped device
}
