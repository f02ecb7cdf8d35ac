//go:build machine

package machine

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func init() {
	for name, pkg := range map[string]string{
		"fakeroot": "fakeroot", "mcopy": "mtools", "mke2fs": "e2fsprogs",
		"mkfs.vfat": "dosfstools", "mkimage": "u-boot-tools", "sfdisk": "fdisk",
	} {
		packageOf[name] = pkg
	}
}

// host runs a command of the host.
func host(t *testing.T, name string, args ...string) {
	t.Helper()
	if _, err := run(t.Context(), "", name, args...); err != nil {
		t.Fatal(err)
	}
}

// A part is a partition of a test's disk, in MiB.
type part struct {
	start, size int
	image       string
}

// bootScript starts one slot, always the same. The console's name is left open.
const bootScript = `part uuid ${devtype} ${devnum}:2 uuid
setenv bootargs console=%s root=PARTUUID=${uuid} panic=1
load ${devtype} ${devnum}:2 ${kernel_addr_r} /boot/Image
setenv fdt ${fdt_addr}
if test "${board}" = rpi; then if load ${devtype} ${devnum}:2 ${fdt_addr_r} /boot/bcm2837-rpi-3-b.dtb; then setenv fdt ${fdt_addr_r}; fi; fi
load ${devtype} ${devnum}:2 ${ramdisk_addr_r} /boot/initrd
booti ${kernel_addr_r} ${ramdisk_addr_r}:${filesize} ${fdt}
sleep 1
reset
`

// makeDisk makes an image with a boot partition, one slot and data; 256 MiB,
// of which little is there.
func makeDisk(t *testing.T, d *Debian, table string, g Guest, script string) string {
	t.Helper()
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	tree := in("tree")
	if err := d.WriteGuest(tree, g); err != nil {
		t.Fatal(err)
	}
	if size := treeSize(t, tree); size > 60e6 {
		t.Errorf("the guest takes %d bytes, want less than 60 MB", size)
	}
	if err := os.WriteFile(in("boot.cmd"), []byte(script), 0o644); err != nil {
		t.Fatal(err)
	}
	host(t, "mkimage", "-A", "arm64", "-T", "script", "-C", "none", "-d", in("boot.cmd"), in("boot.scr"))
	host(t, "mkfs.vfat", "-C", "-F", "32", in("1"), fmt.Sprint(40<<10))
	host(t, "mcopy", "-i", in("1"), in("boot.scr"), "::")
	host(t, "fakeroot", "mke2fs", "-q", "-t", "ext4", "-d", tree, in("2"), "96M")
	host(t, "mke2fs", "-q", "-t", "ext4", in("4"), "15M")
	parts := []part{{4, 40, in("1")}, {48, 96, in("2")}, {144, 96, ""}, {240, 15, in("4")}}
	return assemble(t, in("disk"), table, 256, parts)
}

func treeSize(t *testing.T, dir string) (size int64) {
	t.Helper()
	err := filepath.Walk(dir, func(_ string, info fs.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() {
			size += info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the guest takes %.1f MB", float64(size)/1e6)
	return size
}

func assemble(t *testing.T, path, table string, size int, parts []part) string {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(int64(size) << 20); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "label: %s\n", table)
	for i, p := range parts {
		fmt.Fprintf(&b, "start=%dMiB size=%dMiB", p.start, p.size)
		if i == 0 {
			b.WriteString(map[string]string{"gpt": " attrs=LegacyBIOSBootable", "dos": " type=c bootable"}[table]) // U-Boot looks here
		}
		b.WriteString("\n")
	}
	sfdiskInput(t, path, b.String())
	for _, p := range parts {
		if p.image == "" {
			continue
		}
		b, err := os.ReadFile(p.image)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt(b, int64(p.start)<<20); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

func sfdiskInput(t *testing.T, path, input string) {
	t.Helper()
	script := path + ".sfdisk"
	if err := os.WriteFile(script, []byte(input), 0o644); err != nil {
		t.Fatal(err)
	}
	stdin, err := os.Open(script)
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	cmd := hostCommand(t, "sfdisk", "-q", path)
	cmd.Stdin = stdin
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("sfdisk: %v: %s", err, out)
	}
}
