package volume

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func look(t *testing.T, image []byte) content {
	t.Helper()
	c, err := inspect(bytes.NewReader(image), int64(len(image)))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestIdentify(t *testing.T) {
	const id = "30313233-3435-3637-3839-616263646566"
	const btg = "\x3b\xd6\x67\x49\x29\x2e\xd8\x4a\x83\x99\xf6\xa3\x39\xe3\xd0\x01"
	small := func(p ...patch) []byte { return craft(128<<10, p...) }
	for _, c := range []struct {
		name  string
		image []byte
		want  content
	}{
		{"FAT12", sane(12), content{kind: VFAT, label: "TWELVE", uuid: "1234-ABCD"}},
		{"FAT16", sane(16), content{kind: VFAT, label: "SIXTEEN", uuid: "1234-ABCD"}},
		{"FAT32, label in the root folder", sane(32), content{kind: VFAT, label: "FROM ROOT", uuid: "1234-ABCD"}},
		{"FAT32, no label", sane(32, patch{(32 + 2*32) * 512, "\xe5"}), content{kind: VFAT, uuid: "1234-ABCD"}},
		{"FAT32, root out of range", sane(32, patch{44, le32(0xfffffff0)}), content{kind: VFAT, uuid: "1234-ABCD"}},
		{"FAT32, root before the data", sane(32, patch{44, le32(0)}), content{kind: VFAT, uuid: "1234-ABCD"}},
		{"FAT with an escape in its label", sane(16, patch{43, "A\x1b[2J\n\xffÄ   "}), content{kind: VFAT, label: "A?[2J????", uuid: "1234-ABCD"}},
		{"FAT of the old kind without serial", sane(16, patch{38, "\x00"}), content{kind: VFAT}},
		{"FAT with the other jump", sane(16, patch{0, "\xe9\x00\x01"}), content{kind: VFAT, label: "SIXTEEN", uuid: "1234-ABCD"}},

		{"exFAT", saneExFAT(), content{kind: ExFAT, label: "St?", uuid: "CAFE-0001"}},
		{"exFAT, root out of range", saneExFAT(patch{96, le32(0xffffffff)}), content{kind: ExFAT, uuid: "CAFE-0001"}},
		{"exFAT, root before the data", saneExFAT(patch{96, le32(0)}), content{kind: ExFAT, uuid: "CAFE-0001"}},
		{"exFAT, long label", saneExFAT(patch{(4096 + 2*8) * 512, "\x83\xff" + strings.Repeat("x\x00", 15)}), content{kind: ExFAT, label: strings.Repeat("x", 11), uuid: "CAFE-0001"}},

		{"ext4", saneExt(), content{kind: Ext4, label: "data?[2J", uuid: id}},
		{"ext4 over a FAT that was", apply(saneExt(), patch{0, string(sane(16)[:512])}), content{kind: Ext4, label: "data?[2J", uuid: id}},
		{"FAT over an ext4 that was", sane(16, patch{1024, string(saneExt()[1024:2048])}), content{kind: VFAT, label: "SIXTEEN", uuid: "1234-ABCD"}},

		{"NTFS", small(patch{3, "NTFS    "}, patch{510, "\x55\xaa"}, patch{0x48, le64(0x0123456789abcdef)}), content{kind: NTFS, uuid: "0123456789ABCDEF"}},
		{"BitLocker", small(patch{3, "-FVE-FS-"}, patch{510, "\x55\xaa"}), content{kind: BitLocker}},
		{"BitLocker To Go", sane(32, patch{3, "MSWIN4.1"}, patch{424, btg}), content{kind: BitLocker}},
		{"FAT of Windows 98", sane(16, patch{3, "MSWIN4.1"}), content{kind: VFAT, label: "SIXTEEN", uuid: "1234-ABCD"}},
		{"LUKS1", small(patch{0, "LUKS\xba\xbe\x00\x01"}, patch{168, "abc-def\x00"}), content{kind: LUKS, uuid: "abc-def"}},
		{"LUKS2", small(patch{0, "LUKS\xba\xbe\x00\x02"}, patch{24, "vault"}, patch{168, "abc"}), content{kind: LUKS, uuid: "abc", label: "vault"}},
		{"APFS", small(patch{32, "NXSB"}, patch{72, "0123456789abcdef"}), content{kind: APFS, uuid: id}},
		{"HFS+", small(patch{1024, "H+\x00\x04"}), content{kind: HFSPlus}},
		{"HFSX", small(patch{1024, "HX\x00\x05"}), content{kind: HFSPlus}},
		{"HFS", small(patch{1024, "BD"}, patch{1024 + 20, "\x00\x00\x02\x00"}), content{kind: HFSPlus}},
		{"ISO 9660", small(patch{32769, "CD001"}, patch{32768 + 40, "DEBIAN 12   "}), content{kind: ISO9660, label: "DEBIAN 12"}},
		{"ISO 9660 with a boot record", apply(masterBootRecord("\x33\xed", 0x17), patch{32769, "CD001"}), content{kind: ISO9660}},
		{"UDF", small(patch{32769, "BEA01"}, patch{32769 + 2048, "NSR03"}), content{kind: UDF}},
		{"btrfs", small(patch{65536 + 64, "_BHRfS_M"}, patch{65536 + 32, "0123456789abcdef"}, patch{65536 + 0x12b, "b"}), content{kind: Btrfs, uuid: id, label: "b"}},
		{"xfs", small(patch{0, "XFSB"}, patch{32, "0123456789abcdef"}, patch{108, "x"}), content{kind: XFS, uuid: id, label: "x"}},
		{"squashfs", small(patch{0, "hsqs"}, patch{28, le16(4)}), content{kind: SquashFS}},
		{"f2fs", small(patch{1024, "\x10\x20\xf5\xf2"}, patch{1024 + 108, "0123456789abcdef"}, patch{1024 + 124, "f\x00"}), content{kind: F2FS, uuid: id, label: "f"}},
		{"swap", small(patch{4086, "SWAPSPACE2"}), content{kind: Swap}},
		{"swap of a machine with large pages", small(patch{65526, "SWAPSPACE2"}), content{kind: Swap}},

		{"empty", small(), content{kind: Empty}},
		{"one byte", []byte{1}, content{kind: Unknown}},
		{"something", small(patch{70, "\x01"}), content{kind: Unknown}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, look(t, c.image), cmp.AllowUnexported(content{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestNoFileSystem(t *testing.T) {
	random := make([]byte, 128<<10)
	r := rand.NewChaCha8([32]byte{1})
	r.Read(random)
	for name, image := range map[string][]byte{
		"boot record":                       masterBootRecord("", 0x0c),
		"boot record of GRUB":               masterBootRecord(grub, 0x83),
		"boot record with a jump":           masterBootRecord("\xeb\x58\x90SYSLINUX", 0x0c),
		"signature alone":                   craft(mib, patch{510, "\x55\xaa"}),
		"signature and jump":                craft(mib, patch{0, "\xeb\x3c\x90"}, patch{510, "\x55\xaa"}),
		"noise":                             random,
		"noise that ends like a FAT":        apply(bytes.Clone(random), patch{0, "\xeb\x3c\x90"}, patch{510, "\x55\xaa"}),
		"FAT without signature":             sane(16, patch{510, "\x55\xab"}),
		"FAT without jump":                  sane(16, patch{0, "\x00"}),
		"FAT, sectors of 0":                 sane(16, patch{11, le16(0)}),
		"FAT, sectors of 256":               sane(16, patch{11, le16(256)}),
		"FAT, sectors of 8192":              sane(16, patch{11, le16(8192)}),
		"FAT, sectors of 520":               sane(16, patch{11, le16(520)}),
		"FAT, clusters of 0":                sane(16, patch{13, "\x00"}),
		"FAT, clusters of 3":                sane(16, patch{13, "\x03"}),
		"FAT, nothing reserved":             sane(16, patch{14, le16(0)}),
		"FAT, no FAT":                       sane(16, patch{16, "\x00"}),
		"FAT, 77 FATs":                      sane(16, patch{16, "\x77"}),
		"FAT, no media":                     sane(16, patch{21, "\x00"}),
		"FAT, no sectors":                   sane(16, patch{19, le16(0)}),
		"FAT, FAT longer than the rest":     sane(16, patch{22, le16(0xffff)}),
		"FAT, no root folder":               sane(16, patch{17, le16(0)}),
		"FAT16 with FAT32's clusters":       sane(16, patch{19, le16(0)}, patch{32, le32(0x7fffffff)}),
		"FAT32 with a fixed root":           sane(32, patch{17, le16(512)}),
		"FAT32 of another version":          sane(32, patch{42, le16(1)}),
		"FAT32 of too many clusters":        sane(32, patch{32, le32(0xffffffff)}),
		"FAT, root folder of half a sector": sane(16, patch{17, le16(7)}),
		"FAT32, no FAT":                     sane(32, patch{36, le32(0)}),
		"FAT32, FAT without end":            sane(32, patch{36, le32(0xffffffff)}),
		"exFAT, sectors of 1":               saneExFAT(patch{108, "\x00"}),
		"exFAT, sectors of 2^255":           saneExFAT(patch{108, "\xff"}),
		"exFAT, clusters of 2^255":          saneExFAT(patch{109, "\xff"}),
		"exFAT, no FAT":                     saneExFAT(patch{110, "\x00"}),
		"exFAT with a FAT's numbers":        saneExFAT(patch{11, le16(512)}),
		"ext4's journal on its own":         saneExt(patch{1024 + 96, le32(8)}),
		"ext4, blocks of 2^32":              saneExt(patch{1024 + 24, le32(32)}),
		"ext4, no blocks":                   saneExt(patch{1024 + 4, le32(0)}),
		"ext4, of a later revision":         saneExt(patch{1024 + 76, le32(2)}),
		"ext4, first block elsewhere":       saneExt(patch{1024 + 20, le32(7)}),
		"LUKS3":                             craft(mib, patch{0, "LUKS\xba\xbe\x00\x03"}),
		"HFS+ of another version":           craft(mib, patch{1024, "H+\x77\x04"}),
		"BD, and no HFS":                    craft(mib, patch{1024, "BD"}),
	} {
		if got := look(t, image).kind; got != Unknown {
			t.Errorf("%s: got %s, want unknown", name, got)
		}
	}
}

// Each of these must keep a volume from being written; with none of them it is clean.
func TestUnclean(t *testing.T) {
	for name, image := range map[string][]byte{
		"FAT16, Linux has it in use":      sane(16, patch{37, "\x01"}),
		"FAT16, surface errors":           sane(16, patch{37, "\x02"}),
		"FAT12, Linux has it in use":      sane(12, patch{37, "\x01"}),
		"FAT16, Windows has it in use":    sane(16, patch{4*512 + 2, "\xff\x7f"}),
		"FAT16, Windows met errors":       sane(16, patch{4*512 + 2, "\xff\xbf"}),
		"FAT32, Linux has it in use":      sane(32, patch{65, "\x01"}),
		"FAT32, Windows has it in use":    sane(32, patch{32*512 + 4, "\xff\xff\xff\x07"}),
		"FAT32, Windows met errors":       sane(32, patch{32*512 + 4, "\xff\xff\xff\x0b"}),
		"FAT32, allocation table is gone": sane(32, patch{32 * 512, strings.Repeat("\x00", 512)}),
		"FAT32, cut short":                sane(32)[:mib],
		"FAT32, cut before its FAT":       sane(32)[:16<<10],
		"exFAT in use":                    saneExFAT(patch{106, "\x02"}),
		"exFAT, medium failed":            saneExFAT(patch{106, "\x04"}),
		"exFAT, cut short":                saneExFAT()[:4*mib],
		"ext4 not unmounted":              saneExt(patch{1024 + 58, "\x00"}),
		"ext4 with errors":                saneExt(patch{1024 + 58, "\x03"}),
		"ext4 with a journal to replay":   saneExt(patch{1024 + 96, le32(4)}),
		"ext4 with orphans":               saneExt(patch{1024 + 0xe8, le32(12)}),
		"ext4 with an orphan file":        saneExt(patch{1024 + 100, le32(0x10000)}),
		"ext4, journal elsewhere":         saneExt(patch{1024 + 0xe0, le32(0)}, patch{1024 + 0xe4, le32(0x803)}),
		"ext4, cut short":                 saneExt()[:4*mib],
		"ext4 of 2^60 blocks":             saneExt(patch{1024 + 96, le32(0x80)}, patch{1024 + 0x150, le32(1 << 28)}),
	} {
		c := look(t, image)
		if c.unclean == "" || !drivers[c.kind].writes {
			t.Errorf("%s: got %+v, want a reason", name, c)
		}
	}
	if c := look(t, saneExt(patch{1024 + 96, le32(0x100)})); c.unclean == "" {
		t.Error("ext4 with a guard against being mounted twice is clean")
	}
	for name, image := range map[string][]byte{
		"FAT12": sane(12), "FAT16": sane(16), "FAT32": sane(32), "exFAT": saneExFAT(), "ext4": saneExt(),
		"FAT12, which has no such bits":         sane(12, patch{4*512 + 1, "\x0f\x00"}),
		"FAT16, whose reserved byte is FAT32's": sane(16, patch{65, "\x01"}),
		"exFAT that uses its second FAT":        saneExFAT(patch{106, "\x01"}),
		"ext2":                                  saneExt(patch{1024 + 92, le32(0)}, patch{1024 + 0xe0, le32(0)}),
	} {
		if c := look(t, image); c.unclean != "" {
			t.Errorf("%s: got %q, want clean", name, c.unclean)
		}
	}
	if c := look(t, saneExt(patch{1024 + 0x200, "errors=panic"})); c.refused == "" {
		t.Error("ext4 with mount options in its superblock is not refused")
	}
}

// To mount a file system the kernel keeps something of each part that it says
// it has, and a stick may say that it is as large as it likes.
func TestTooMuchToKeep(t *testing.T) {
	const size = 1 << 50
	for name, c := range map[string]struct {
		image   []byte
		refused bool
	}{
		"ext4 of 65536 groups":        {saneExt(patch{1024 + 4, le32(32768 << 16)}, patch{1024 + 24, le32(2)}, patch{1024 + 20, le32(0)}, patch{1024 + 32, le32(32768 + 1)}), false},
		"ext4 of more":                {saneExt(patch{1024 + 4, le32(1<<32 - 1)}, patch{1024 + 24, le32(2)}, patch{1024 + 20, le32(0)}, patch{1024 + 32, le32(32768)}), true},
		"ext4 of groups of one block": {saneExt(patch{1024 + 4, le32(1 << 20)}, patch{1024 + 32, le32(1)}), true},
		"ext4 of 64 bits":             {saneExt(patch{1024 + 0x150, le32(1)}, patch{1024 + 96, le32(0x80)}), true},
		"exFAT of 16 MiB of bitmap":   {saneExFAT(patch{72, le64(1 << 40)}, patch{92, le32(16 << 23)}), false},
		"exFAT of more":               {saneExFAT(patch{72, le64(1 << 40)}, patch{92, le32(16<<23 + 1)}), true},
	} {
		got, err := inspect(bytes.NewReader(c.image), size)
		must(t, err)
		if (got.refused != "") != c.refused || got.kind == Unknown {
			t.Errorf("%s: got %+v, want refused: %v", name, got, c.refused)
		}
	}
}

// Wherever a volume ends, it is something, and nothing panics.
func TestTruncated(t *testing.T) {
	for _, image := range [][]byte{sane(12), sane(16), sane(32), saneExFAT(), saneExt()} {
		for n := 0; n < 70<<10; n += 1 + n/37 {
			look(t, image[:n])
		}
	}
}

// A meter counts what is read of an image, and fails at some offset.
type meter struct {
	io.ReaderAt
	calls, bytes int
	badFrom      int64
}

func (m *meter) ReadAt(b []byte, off int64) (int, error) {
	m.calls++
	m.bytes += len(b)
	if m.badFrom > 0 && off+int64(len(b)) > m.badFrom {
		n := 0
		if off < m.badFrom {
			n, _ = m.ReaderAt.ReadAt(b[:m.badFrom-off], off)
		}
		return n, unix.EIO
	}
	return m.ReaderAt.ReadAt(b, off)
}

func TestReadErrors(t *testing.T) {
	for _, c := range []struct {
		name    string
		image   []byte
		badFrom int64
		want    Kind
		err     error
	}{
		{"nothing can be read", sane(16), 1, Unknown, ErrMedium},
		{"zeros, then an error", craft(mib), 4096, Unknown, ErrMedium},
		{"behind the boot sector", sane(16), 1024, VFAT, nil},
		{"behind the superblock", saneExt(), 4096, Ext4, nil},
		{"before the superblock of btrfs", craft(mib, patch{65536 + 64, "_BHRfS_M"}), 65536, Unknown, ErrMedium},
	} {
		got, err := Identify(&meter{ReaderAt: bytes.NewReader(c.image), badFrom: c.badFrom}, int64(len(c.image)))
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s: got %s, %v, want %s, %v", c.name, got, err, c.want, c.err)
		}
	}
	// A FAT whose allocation table cannot be read is not written.
	c, err := inspect(&meter{ReaderAt: bytes.NewReader(sane(16)), badFrom: 1024}, 16*mib)
	if err != nil || c.unclean == "" {
		t.Errorf("allocation table cannot be read: got %+v, %v, want it to be unclean", c, err)
	}
}

func FuzzIdentify(f *testing.F) {
	for _, image := range [][]byte{sane(12), sane(16), sane(32), saneExFAT(), saneExt(), masterBootRecord(grub, 0x0c)} {
		f.Add(image[:96<<10], int64(len(image)))
	}
	f.Fuzz(func(t *testing.T, head []byte, size int64) {
		m := &meter{ReaderAt: sparse(head)}
		c, err := inspect(m, size)
		if err != nil {
			t.Fatalf("%v, of a reader that has none", err)
		}
		if m.calls > 4 || m.bytes > headSize+3*4096 {
			t.Errorf("read %d times, %d bytes", m.calls, m.bytes)
		}
		for _, s := range []string{c.label, c.uuid} {
			if n := len([]rune(s)); n > labelLimit || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("%q is not printable or too long", s)
			}
		}
		if c.kind == "" {
			t.Error("no kind")
		}
	})
}

// sparse is an image that repeats itself without end, so that wherever a hostile
// number leads there is something to be read.
type sparse []byte

func (s sparse) ReadAt(b []byte, off int64) (int, error) {
	if off < 0 {
		return 0, unix.EINVAL
	}
	for i := range b {
		if b[i] = 0; len(s) > 0 {
			b[i] = s[(off+int64(i))%int64(len(s))]
		}
	}
	return len(b), nil
}
