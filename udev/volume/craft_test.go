package volume

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// A patch is bytes at an offset of a crafted image.
type patch struct {
	at    int
	bytes string
}

// craft makes an image of patches on zeros.
func craft(size int, patches ...patch) []byte {
	b := make([]byte, size)
	return apply(b, patches...)
}

func apply(b []byte, patches ...patch) []byte {
	for _, p := range patches {
		copy(b[p.at:], p.bytes)
	}
	return b
}

func le16(n uint16) string { return string(binary.LittleEndian.AppendUint16(nil, n)) }
func le32(n uint32) string { return string(binary.LittleEndian.AppendUint32(nil, n)) }
func le64(n uint64) string { return string(binary.LittleEndian.AppendUint64(nil, n)) }

const mib = 1 << 20

// sane is a FAT of each width, as the tables of the specification have it.
func sane(bits int, patches ...patch) []byte {
	common := []patch{
		{0, "\xeb\x3c\x90MSDOS5.0"}, {11, le16(512)}, {14, le16(4)}, {16, "\x02"}, {17, le16(512)}, {21, "\xf8"}, {510, "\x55\xaa"},
		{4 * 512, "\xf8\xff\xff\xff"},
	}
	var b []byte
	switch bits {
	case 12:
		b = craft(2*mib, append(common, patch{13, "\x04"}, patch{19, le16(4096)}, patch{22, le16(4)},
			patch{38, "\x29"}, patch{39, le32(0x1234abcd)}, patch{43, "TWELVE     FAT12   "})...)
	case 16:
		b = craft(16*mib, append(common, patch{13, "\x04"}, patch{19, le16(32768)}, patch{22, le16(32)},
			patch{38, "\x29"}, patch{39, le32(0x1234abcd)}, patch{43, "SIXTEEN    FAT16   "})...)
	case 32:
		b = craft(2*mib, append(common, patch{13, "\x01"}, patch{14, le16(32)}, patch{17, le16(0)},
			patch{32, le32(4096)}, patch{36, le32(32)}, patch{44, le32(2)}, patch{48, le16(1)}, patch{50, le16(6)},
			patch{66, "\x29"}, patch{67, le32(0x1234abcd)}, patch{71, "NO NAME    FAT32   "},
			patch{32 * 512, "\xf8\xff\xff\x0f\xff\xff\xff\x0f\xff\xff\xff\x0f"},
			patch{(32 + 2*32) * 512, "FROM ROOT  \x08"})...)
	default:
		panic(fmt.Sprint("no FAT has ", bits, " bits"))
	}
	return apply(b, patches...)
}

// saneExFAT has its root folder in cluster 4, with a label.
func saneExFAT(patches ...patch) []byte {
	b := craft(8*mib,
		patch{0, "\xeb\x76\x90EXFAT   "}, patch{72, le64(16384)}, patch{80, le32(128)}, patch{84, le32(128)},
		patch{88, le32(4096)}, patch{92, le32(1500)}, patch{96, le32(4)}, patch{100, le32(0xcafe0001)}, patch{104, le16(0x100)},
		patch{108, "\x09\x03\x01"}, patch{510, "\x55\xaa"},
		patch{(4096 + 2*8) * 512, "\x83\x03S\x00t\x00\x0a\x00"})
	return apply(b, patches...)
}

func saneExt(patches ...patch) []byte {
	b := craft(8*mib,
		patch{1024, le32(2048) + le32(8192)}, patch{1024 + 20, le32(1)}, patch{1024 + 32, le32(8192)},
		patch{1024 + 56, "\x53\xef\x01\x00"}, patch{1024 + 76, le32(1)}, patch{1024 + 92, le32(4)},
		patch{1024 + 104, "0123456789abcdef"}, patch{1024 + 120, "data\x1b[2J"}, patch{1024 + 0xe0, le32(8)})
	return apply(b, patches...)
}

// masterBootRecord is what is on a disk with one partition, after the boot code.
func masterBootRecord(code string, kind byte) []byte {
	return craft(4*mib, patch{0, code}, patch{440, "\x01\x02\x03\x04"},
		patch{446, "\x80\x20\x21\x00" + string([]byte{kind}) + "\xfe\xff\xff" + le32(2048) + le32(6144)}, patch{510, "\x55\xaa"})
}

// grub is how the boot code begins that sits in most of them: with a jump, as
// a FAT does, over the place where a FAT has its numbers.
var grub = "\xeb\x63\x90" + strings.Repeat("\x00", 87) + "\x00\x80\x01\x00\x00\x00\x00\x00\x00\x00\xff\xfa\x90\x90\xf6\xc2\x80\x74\x05\xf6\xc2\x70\x74\x02\xb2\x80\xea\x79\x7c"
