package bootloader

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// eMMC is an environment on the two boot partitions of an eMMC, which are files
// here, as is their sysfs.
func eMMC(t *testing.T, attributes map[string]string) (*UBoot, func(attribute string) string) {
	t.Helper()
	dir := t.TempDir()
	var copies []Location
	for i, name := range []string{"mmcblk1boot0", "mmcblk1boot1"} {
		path, sys := filepath.Join(dir, name), filepath.Join(dir, "sys/class/block", name)
		if err := errors.Join(os.MkdirAll(sys, 0o755), os.WriteFile(path, pair(t, board())[i], 0o600)); err != nil {
			t.Fatal(err)
		}
		for attribute, value := range attributes {
			if err := os.WriteFile(filepath.Join(sys, attribute), []byte(value), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		copies = append(copies, Location{Path: path, Size: testSize})
	}
	u, err := OpenUBoot(Options{Sys: filepath.Join(dir, "sys"), LockPath: filepath.Join(dir, "lock")}, copies...)
	if err != nil {
		t.Fatal(err)
	}
	return u, func(attribute string) string { // of the partition that is written first
		b, err := os.ReadFile(u.copies[0].sysfs(attribute))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
}

// force_ro is 0 during the write, and then what it was.
func TestForceRO(t *testing.T) {
	for _, was := range []string{"1\n", "0\n"} {
		u, attribute := eMMC(t, map[string]string{"force_ro": was, "ro": "1\n", "ro_lock_until_next_power_on": "0\n"})
		if err := errors.Join(u.Check(), u.Try(Trial{3, "x", 3})); err != nil {
			t.Fatal(err)
		}
		if got := attribute("force_ro"); got != was[:1] {
			t.Errorf("force_ro is %q after the write, was %q", got, was)
		}
		protect, err := u.copies[0].unprotect()
		if err != nil || attribute("force_ro") != "0" {
			t.Errorf("force_ro is %q for the write, %v", attribute("force_ro"), err)
		}
		if err := protect(); err != nil {
			t.Error(err)
		}
	}
}

// It is set back after a write that failed, too, and the other partition's is
// left alone.
func TestForceROAfterAnError(t *testing.T) {
	u, attribute := eMMC(t, map[string]string{"force_ro": "1\n"})
	if err := os.Remove(u.copies[0].Path); err != nil {
		t.Fatal(err)
	}
	if err := u.Try(Trial{3, "x", 3}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v, want %v", err, fs.ErrNotExist)
	}
	if got := attribute("force_ro"); got != "1" {
		t.Errorf("force_ro is %q", got)
	}
	other, err := os.ReadFile(u.copies[1].sysfs("force_ro"))
	if err != nil || string(other) != "1\n" {
		t.Errorf("the other partition's force_ro was written: %q, %v", other, err)
	}
}

func TestForceROAbsent(t *testing.T) {
	u, _ := eMMC(t, nil)
	if err := errors.Join(u.Check(), u.Try(Trial{3, "x", 3})); err != nil {
		t.Error(err)
	}
}

// Protection by the eMMC itself is known before a slot is written for nothing.
func TestWriteProtectedByTheCard(t *testing.T) {
	for _, lock := range []string{"1\n", "2\n"} {
		u, _ := eMMC(t, map[string]string{"force_ro": "1\n", "ro_lock_until_next_power_on": lock})
		if err := u.Check(); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%q: %v, want %v", lock, err, fs.ErrPermission)
		}
	}
}

// Raw flash is read and never written, and Check says so first. The names of
// files mean nothing.
func TestFlashIsNotWritten(t *testing.T) {
	for _, name := range []string{"mtdblock0", "mtd0", "ubi0_1"} {
		dir := t.TempDir()
		device, _, _ := disk(t)
		link := filepath.Join(dir, name)
		for _, path := range []string{device, link} {
			if path == link {
				if err := os.WriteFile(link, make([]byte, 0x1000), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			for i, raw := range pair(t, board()) {
				if _, err := f.WriteAt(raw, int64(i)*testSize); err != nil {
					t.Fatal(err)
				}
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
		}
		open := func(path string) *UBoot {
			t.Helper()
			u, err := OpenUBoot(Options{LockPath: filepath.Join(dir, "lock")},
				Location{Path: path, Size: testSize}, Location{Path: path, Offset: testSize, Size: testSize})
			if err != nil {
				t.Fatal(err)
			}
			return u
		}
		if u := open(link); u.copies[0].raw || u.Check() != nil || u.Try(Trial{3, "x", 3}) != nil {
			t.Errorf("a file called %s is taken for flash", name)
		}
		node := filepath.Join(t.TempDir(), name)
		mknod(t, device, node)
		u := open(node)
		if st, err := u.State(); err != nil || st.Part != 2 {
			t.Errorf("%s is not read: %+v, %v", name, st, err)
		}
		for verb, err := range map[string]error{"Check": u.Check(), "Try": u.Try(Trial{3, "x", 3}), "write": u.copies[0].write(nil)} {
			if !errors.Is(err, ErrUnsupported) {
				t.Errorf("%s of %s: %v, want %v", verb, name, err, ErrUnsupported)
			}
		}
		if st, err := u.State(); err != nil || st.Trial {
			t.Errorf("%s was written: %+v, %v", name, st, err)
		}
	}
}

func TestReadOnlyFileSystem(t *testing.T) {
	dir := full(t)
	path := filepath.Join(dir, "env")
	if err := os.WriteFile(path, bytes.Join(pair(t, board()), nil), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("none", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	u, err := OpenUBoot(Options{LockPath: filepath.Join(t.TempDir(), "lock")},
		Location{Path: path, Size: testSize}, Location{Path: path, Offset: testSize, Size: testSize})
	if err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{"Check": u.Check(), "Try": u.Try(Trial{3, "x", 3})} {
		if !errors.Is(err, unix.EROFS) {
			t.Errorf("%s: %v, want %v", name, err, unix.EROFS)
		}
	}
}

// A flash's character device is known by name, and NOR by sysfs.
func TestFlashCharacterDevice(t *testing.T) {
	for kind, nor := range map[string]bool{"nor\n": true, "nand\n": false} {
		dir := t.TempDir()
		node, sys := filepath.Join(dir, "mtd0"), filepath.Join(dir, "class/mtd/mtd0")
		if err := errors.Join(unix.Mknod(node, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 5))), // that of /dev/zero
			os.MkdirAll(sys, 0o755), os.WriteFile(filepath.Join(sys, "type"), []byte(kind), 0o600)); err != nil {
			t.Fatal(err)
		}
		o := Options{Sys: dir, LockPath: filepath.Join(dir, "lock")}
		a, b := Location{Path: node, Size: testSize}, Location{Path: node, Offset: testSize, Size: testSize}
		u, err := OpenUBoot(o, a, b)
		if err != nil {
			t.Fatal(err)
		}
		if s := u.copies[0]; !s.raw || s.larger != nor {
			t.Errorf("%q: flash %v, boolean flags %v", kind, s.raw, s.larger)
		}
		if _, err := u.State(); !errors.Is(err, ErrNoCopy) {
			t.Errorf("%v, want %v", err, ErrNoCopy)
		}
		if err := u.Restore(encode(t, board(), true, 1), 2); !errors.Is(err, ErrUnsupported) {
			t.Errorf("restore: %v, want %v", err, ErrUnsupported)
		}
		if _, err := OpenUBoot(o, a, a); err == nil {
			t.Error("one place for two copies")
		}
	}
}
