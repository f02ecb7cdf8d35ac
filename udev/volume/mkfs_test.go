package volume

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// made are file systems as their own tools make them. FILE stands for the image.
var made = []struct {
	name string
	kind Kind
	mib  int64
	tool string
}{
	{"FAT12", VFAT, 2, "mkfs.vfat -F 12 -n TWELVE FILE"},
	{"FAT16", VFAT, 32, "mkfs.vfat -F 16 -n SIX-TEEN FILE"},
	{"FAT32", VFAT, 64, "mkfs.vfat -F 32 -n THIRTY-TWO FILE"},
	{"FAT32 without label", VFAT, 64, "mkfs.vfat -F 32 FILE"},
	{"FAT of large sectors", VFAT, 64, "mkfs.vfat -S 4096 -n LARGE FILE"},
	{"FAT of large clusters and one FAT", VFAT, 256, "mkfs.vfat -s 128 -f 1 FILE"},
	{"exFAT", ExFAT, 32, "mkfs.exfat -L Stick FILE"},
	{"exFAT of large clusters", ExFAT, 64, "mkfs.exfat -c 128K FILE"},
	{"ext2", Ext4, 8, "mke2fs -q -t ext2 -L two FILE"},
	{"ext3", Ext4, 16, "mke2fs -q -t ext3 FILE"},
	{"ext4", Ext4, 16, "mke2fs -q -t ext4 -L four FILE"},
	{"ext4 of blocks of 4 KiB", Ext4, 16, "mke2fs -q -t ext4 -b 4096 FILE"},
	{"ext4 of 64 bits", Ext4, 16, "mke2fs -q -t ext4 -O 64bit,metadata_csum,orphan_file FILE"},
	{"NTFS", NTFS, 16, "mkfs.ntfs -q -Q -F -p 0 -H 0 -S 0 -L windows FILE"},
	{"LUKS1", LUKS, 16, "cryptsetup -q luksFormat --type luks1 --pbkdf-force-iterations 1000 FILE KEY"},
	{"LUKS2", LUKS, 32, "cryptsetup -q luksFormat --type luks2 --label vault --pbkdf pbkdf2 --pbkdf-force-iterations 1000 FILE KEY"},
	{"ISO 9660", ISO9660, 0, "xorriso -as mkisofs -quiet -V DISC -o FILE ."},
	{"btrfs", Btrfs, 128, "mkfs.btrfs -q -L tree FILE"},
	{"xfs", XFS, 320, "mkfs.xfs -q -L x FILE"},
	{"squashfs", SquashFS, 0, "mksquashfs KEY FILE -quiet -no-progress"},
	{"f2fs", F2FS, 64, "mkfs.f2fs -q -l flash FILE"},
	{"swap", Swap, 2, "mkswap -L swap FILE"},
}

// make makes one of them.
func mkfs(t *testing.T, tool string, mib int64) string {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "volume.img")
	if mib > 0 {
		write(t, file, "")
		must(t, os.Truncate(file, mib<<20))
	}
	args := strings.Fields(tool)
	for i, a := range args {
		switch a {
		case "FILE":
			args[i] = file
		case "KEY":
			args[i] = write(t, filepath.Join(dir, "key"), "secret")
		case ".":
			args[i] = t.TempDir()
		}
	}
	run(t, args[0], args[1:]...)
	return file
}

// blkid knows them too. What it says must be what we say.
var blkidTypes = map[string]Kind{"vfat": VFAT, "exfat": ExFAT, "ext2": Ext4, "ext3": Ext4, "ext4": Ext4, "ntfs": NTFS, "crypto_LUKS": LUKS,
	"iso9660": ISO9660, "btrfs": Btrfs, "xfs": XFS, "squashfs": SquashFS, "f2fs": F2FS, "swap": Swap}

func blkid(t *testing.T, file string) content {
	t.Helper()
	c := content{}
	for line := range strings.Lines(run(t, "blkid", "-p", "-o", "export", file)) {
		k, v, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch k {
		case "TYPE":
			c.kind = blkidTypes[v]
		case "UUID":
			c.uuid = v
		case "LABEL":
			c.label = strings.ReplaceAll(v, `\`, "")
		}
	}
	return c
}

func TestMade(t *testing.T) {
	for _, c := range made {
		t.Run(c.name, func(t *testing.T) {
			file := mkfs(t, c.tool, c.mib)
			f, err := os.Open(file)
			must(t, err)
			defer f.Close()
			st, err := f.Stat()
			must(t, err)
			got, err := inspect(f, st.Size())
			must(t, err)
			want := blkid(t, file)
			if want.kind != c.kind {
				t.Fatalf("blkid: got %+v, want %s", want, c.kind)
			}
			switch c.kind {
			case ISO9660:
				want.uuid = "" // is its date
			case NTFS:
				want.label = "" // is a file, too far for what is never mounted as a rule
			}
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(content{})); diff != "" {
				t.Errorf("blkid and we differ:\n%s", diff)
			}
		})
	}
}

// A table that a tool writes over what was there makes a disk, not a FAT.
func TestMadeTables(t *testing.T) {
	for _, label := range []string{"dos", "gpt"} {
		file := mkfs(t, "mkfs.vfat -F 16 FILE", 32)
		script := write(t, filepath.Join(t.TempDir(), "table"), "label: "+label+"\n2048,,")
		run(t, "sh", "-c", "sfdisk -q --wipe always "+file+" < "+script)
		f, err := os.Open(file)
		must(t, err)
		defer f.Close()
		if kind, err := Identify(f, 32*mib); err != nil || kind != Unknown {
			t.Errorf("%s: got %s, %v, want unknown", label, kind, err)
		}
	}
}
