package bootloader

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// disk is a block device of 64 KiB, filled with what nobody may change.
func disk(t *testing.T, flags ...string) (device, file string, content []byte) {
	t.Helper()
	content = make([]byte, 0x10000)
	rand.Read(content)
	file = filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return loop(t, file, flags...), file, content
}

// A write changes its copy and not a byte beside it, wherever it lies.
func TestBlockDeviceNeighbours(t *testing.T) {
	for _, at := range [][2]int64{{0x1000, 0x2000}, {0x200, 0x600}, {0x210, 0x810}, {0, 0x10000 - testSize}, {0x3e00, 0x4200}} {
		device, file, want := disk(t)
		copies := pair(t, board())
		locations := []Location{{Path: device, Offset: at[0], Size: testSize}, {Path: device, Offset: at[1] - 0x10000, Size: testSize}}
		f, err := os.OpenFile(device, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		for i := range copies {
			if _, err := f.WriteAt(copies[i], at[i]); err != nil {
				t.Fatal(err)
			}
			copy(want[at[i]:], copies[i])
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			t.Fatal(err)
		}
		u, err := OpenUBoot(Options{LockPath: filepath.Join(t.TempDir(), "lock")}, locations...)
		if err != nil {
			t.Fatal(err)
		}
		cfg := config(t, u.Locations()...)
		for i := range 3 {
			if err := errors.Join(u.Check(), u.Update(set("n", fmt.Sprint(i)))); err != nil {
				t.Fatal(err)
			}
			if e := printenv(t, cfg); e["n"] != fmt.Sprint(i) {
				t.Errorf("fw_printenv reads %v", e)
			}
			raw, err := u.Raw()
			if err != nil {
				t.Fatal(err)
			}
			copy(want[at[i%2]:], raw)
			if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%#x: the disk is not what it was beside the copy: %v", at, err)
			}
		}
	}
}

// mknod gives a block device another name.
func mknod(t *testing.T, device, node string) {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(device, &st); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mknod(node, unix.S_IFBLK|0o600, int(st.Rdev)); err != nil {
		t.Fatal(err)
	}
}

// What is read is what the medium has, and not what the cache believes.
func TestReadsPastTheCache(t *testing.T) {
	for _, offset := range []int64{0x1000, 0x1200, 0x210} {
		device, file, _ := disk(t)
		keepCache(t, device)
		u, err := OpenUBoot(Options{SingleCopy: true, LockPath: filepath.Join(t.TempDir(), "lock")}, Location{Path: device, Offset: offset, Size: testSize})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			f, err := os.OpenFile(file, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			_, err = f.WriteAt(encode(t, Env{"n": fmt.Sprint(i)}, false, 0), offset)
			if err := errors.Join(err, f.Close()); err != nil {
				t.Fatal(err)
			}
			if e, err := u.Env(); err != nil || e["n"] != fmt.Sprint(i) {
				t.Errorf("%#x: read %v, %v; the medium has %d", offset, e, err, i)
			}
		}
	}
}

func TestBlockDeviceOverlaps(t *testing.T) {
	a, file, _ := disk(t)
	b := loop(t, file)
	shifted := loop(t, file, "--offset", "4096")
	other, _, _ := disk(t)
	upon := loop(t, a, "--offset", "8192") // a loop device upon a loop device
	node := filepath.Join(t.TempDir(), "node")
	mknod(t, a, node)
	for _, v := range []struct {
		name     string
		p        string
		pAt      int64
		q        string
		qAt      int64
		overlaps bool
	}{
		{"two places", a, 0, a, 0x400, false},
		{"one place", a, 0, a, 0, true},
		{"a sector shared", a, 0x10, a, 0x410, true},
		{"a sector shared from below", a, 0x410, a, 0x10, true},
		{"another node", a, 0, node, 0, true},
		{"another node, another place", a, 0, node, 0x400, false},
		{"the file and its device", file, 0, a, 0, true},
		{"the file and its device, another place", file, 0, a, 0x400, false},
		{"two devices of one file", a, 0x1000, b, 0x1000, true},
		{"two devices of one file, another place", a, 0x1000, b, 0x1400, false},
		{"a shifted device", a, 0x1000, shifted, 0, true},
		{"a shifted device, another place", a, 0, shifted, 0, false},
		{"a device upon a device", file, 0x2400, upon, 0x400, true},
		{"a device upon a device, another place", file, 0x400, upon, 0x400, false},
		{"another disk", a, 0, other, 0, false},
	} {
		_, err := OpenUBoot(Options{}, Location{Path: v.p, Offset: v.pAt, Size: testSize}, Location{Path: v.q, Offset: v.qAt, Size: testSize})
		if v.overlaps != (err != nil) {
			t.Errorf("%s: %v, want overlap %v", v.name, err, v.overlaps)
		}
	}
	if _, err := OpenUBoot(Options{}, Location{Path: a, Offset: 0x10000 - testSize + 1, Size: testSize}); err == nil {
		t.Error("past the end of the device")
	}
}

// A partition is a part of its disk; sysfs says which.
func TestPartitionOverlapsItsDisk(t *testing.T) {
	whole, _, _ := disk(t)
	part, _, _ := disk(t)
	sys := t.TempDir()
	number := func(path string) string {
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
	}
	at := func(name string) string { return filepath.Join(sys, name) }
	if err := errors.Join(
		os.MkdirAll(at("devices/mmcblk0/mmcblk0p1"), 0o755), os.MkdirAll(at("dev/block"), 0o755),
		os.WriteFile(at("devices/mmcblk0/dev"), []byte(number(whole)+"\n"), 0o600),
		os.WriteFile(at("devices/mmcblk0/mmcblk0p1/partition"), []byte("1\n"), 0o600),
		os.WriteFile(at("devices/mmcblk0/mmcblk0p1/start"), []byte("8\n"), 0o600),
		os.Symlink("../../devices/mmcblk0", at("dev/block/"+number(whole))),
		os.Symlink("../../devices/mmcblk0/mmcblk0p1", at("dev/block/"+number(part))),
	); err != nil {
		t.Fatal(err)
	}
	for offset, overlaps := range map[int64]bool{0: false, 0xc00: false, 0xe00: true, 0x1000: true, 0x1200: true, 0x1400: false} {
		_, err := OpenUBoot(Options{Sys: sys}, Location{Path: whole, Offset: offset, Size: testSize}, Location{Path: part, Size: testSize})
		if overlaps != (err != nil) {
			t.Errorf("%#x: %v, want overlap %v", offset, err, overlaps)
		}
	}
}

func TestReadOnlyDevice(t *testing.T) {
	device, file, _ := disk(t, "--read-only")
	f, err := os.OpenFile(file, os.O_RDWR, 0)
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
	u, err := OpenUBoot(Options{LockPath: filepath.Join(t.TempDir(), "lock")},
		Location{Path: device, Size: testSize}, Location{Path: device, Offset: testSize, Size: testSize})
	if err != nil {
		t.Fatal(err)
	}
	if err := u.Check(); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("Check: %v, want %v", err, fs.ErrPermission)
	}
	if err := u.Try(Trial{3, "x", 3}); err == nil {
		t.Error("armed on a device that is read-only")
	}
	if st, err := u.State(); err != nil || st.Trial || st.Part != 2 {
		t.Errorf("%+v, %v", st, err)
	}
}
