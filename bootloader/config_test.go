package bootloader

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var goodConfigs = []struct {
	name, text string
	want       []Location
}{
	{"Mender's", "/dev/mmcblk0 0x800000 0x20000\n/dev/mmcblk0 0x1000000 0x20000\n", []Location{
		{Path: "/dev/mmcblk0", Offset: 0x800000, Size: 0x20000}, {Path: "/dev/mmcblk0", Offset: 0x1000000, Size: 0x20000}}},
	{"no newline at the end", "/boot/uboot.env 0 0x4000", []Location{{Path: "/boot/uboot.env", Size: 0x4000}}},
	{"a size without 0x is hexadecimal", "/f 0 4000", []Location{{Path: "/f", Size: 0x4000}}},
	{"an offset is not", "/f 4096 0X4000", []Location{{Path: "/f", Offset: 4096, Size: 0x4000}}},
	{"octal offset", "/f 0100 4000", []Location{{Path: "/f", Offset: 64, Size: 0x4000}}},
	{"offset with the digits of another prefix", "/f 0x0b1 4000", []Location{{Path: "/f", Offset: 0xb1, Size: 0x4000}}},
	{"from the end", "/f -0x8000 0x4000\n/f -16384 0x4000", []Location{
		{Path: "/f", Offset: -0x8000, Size: 0x4000}, {Path: "/f", Offset: -0x4000, Size: 0x4000}}},
	{"comments, tabs, empty lines", "# head\n\n\t/f\t0x0\t0x400 # one\n  # tail", []Location{{Path: "/f", Size: 0x400}}},
	{"CRLF", "/f 0x0 0x400\r\n/f 0x400 0x400\r\n", []Location{{Path: "/f", Size: 0x400}, {Path: "/f", Offset: 0x400, Size: 0x400}}},
	{"all fields", "/dev/mtd1 0x0 0x4000 0x10000 10 1", []Location{
		{Path: "/dev/mtd1", Size: 0x4000, SectorSize: 0x10000, Sectors: 0x10, NoLock: true}}},
	{"lock kept", "/dev/mtd1 0x0 0x4000 0x10000 1 0", []Location{{Path: "/dev/mtd1", Size: 0x4000, SectorSize: 0x10000, Sectors: 1}}},
	{"UBI volumes", "/dev/ubi0_0 0 0x1f000 0x1f000\n/dev/ubi0:env2 0 0x1f000 0x1f000", []Location{
		{Path: "/dev/ubi0_0", Size: 0x1f000, SectorSize: 0x1f000}, {Path: "/dev/ubi0:env2", Size: 0x1f000, SectorSize: 0x1f000}}},
	{"beyond 32 bits", "/f 0x200000000 0x4000", []Location{{Path: "/f", Offset: 1 << 33, Size: 0x4000}}},
}

func TestReadConfig(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fw_env.config")
	for _, v := range goodConfigs {
		if err := os.WriteFile(path, []byte(v.text), 0o644); err != nil {
			t.Fatal(err)
		}
		got, err := ReadConfig(path)
		if d := cmp.Diff(v.want, got); d != "" || err != nil {
			t.Errorf("%s: %v\n%s", v.name, err, d)
		}
	}
	if _, err := ReadConfig(path + "-no"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

func TestBadConfig(t *testing.T) {
	for _, v := range []struct {
		name, text string
		want       error
	}{
		{"empty", "", nil},
		{"comments only", "# /f 0 0x4000\n", nil},
		{"three copies", "/f 0 400\n/f 400 400\n/f 800 400", nil},
		{"different sizes", "/f 0x0 400\n/f 0x400 800", nil},
		{"no size", "/f 0", nil},
		{"too many fields", "/f 0 400 0 0 0 0", nil},
		{"offset is a word", "/f here 400", nil},
		{"offset is hexadecimal without 0x", "/f 8f 400", nil},
		{"Go's underscores", "/f 0x8_00 400", nil},
		{"Go's octal", "/f 0o10 400", nil},
		{"Go's binary", "/f 0b10 400", nil},
		{"size is a word", "/f 0 many", nil},
		{"negative size", "/f 0 -400", nil},
		{"no room", "/f 0 6", nil},
		{"huge", "/f 0 1000001", nil},
		{"beyond 63 bits", "/f 0 ffffffffffffffff", nil},
		{"negative sectors", "/f 0 400 -1", nil},
		{"UBI without numbers", "/dev/ubi0:env", ErrUnsupported},
	} {
		got, err := parseConfig(v.text)
		if err == nil || got != nil || v.want != nil && !errors.Is(err, v.want) {
			t.Errorf("%s: %v, %v", v.name, got, err)
		}
	}
}
