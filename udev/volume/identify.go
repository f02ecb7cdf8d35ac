package volume

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// headSize reaches over the superblocks of all kinds: the last is that of
// btrfs, at 64 KiB.
const headSize = 68 << 10

// What the kernel keeps in memory of a file system for as long as it is mounted:
// the bitmap of an exFAT, and some hundred bytes for each group of an ext4. A stick
// may say that it is as large as it likes, and the kernel believes that. These
// are enough for disks of 16 and 8 TiB.
const (
	maxKept   = 16 << 20 // bytes
	maxGroups = 1 << 16
)

// content is what the superblocks say.
type content struct {
	kind        Kind
	label, uuid string
	unclean     string // why it must not be written; only of kinds that can be
	refused     string // why it must not even be mounted
}

// Identify says what kind of file system a volume of size bytes holds. It reads
// the first 68 KiB and at most three times 4 KiB behind them. The error is
// [ErrMedium] if what had to be read could not be; bytes that make no sense are
// [Unknown] and no error.
func Identify(r io.ReaderAt, size int64) (Kind, error) {
	c, err := inspect(r, size)
	return c.kind, err
}

func inspect(r io.ReaderAt, size int64) (content, error) {
	im := image{r: r, size: max(size, 0), head: make([]byte, min(max(size, 0), headSize))}
	n, err := r.ReadAt(im.head, 0)
	im.head = im.head[:n]
	if errors.Is(err, io.EOF) {
		err = nil
	}
	c := im.identify()
	// A bad sector behind the superblock that was found is no reason to stop.
	if err != nil && (c.kind == Unknown || c.kind == Empty) {
		return content{kind: Unknown}, fmt.Errorf("%w: read at %d: %w", ErrMedium, n, err)
	}
	return c, nil
}

// An image is a volume of which the head was read.
type image struct {
	r    io.ReaderAt
	size int64
	head []byte
}

// at returns n bytes of the head, zeros where it is shorter.
func (im image) at(off, n int) []byte {
	b := make([]byte, n)
	if off < len(im.head) {
		copy(b, im.head[off:])
	}
	return b
}

func (im image) is(off int, magic string) bool {
	return off+len(magic) <= len(im.head) && string(im.head[off:off+len(magic)]) == magic
}

func (im image) u8(off int) uint8   { return im.at(off, 1)[0] }
func (im image) u16(off int) uint16 { return binary.LittleEndian.Uint16(im.at(off, 2)) }
func (im image) u32(off int) uint32 { return binary.LittleEndian.Uint32(im.at(off, 4)) }
func (im image) u64(off int) uint64 { return binary.LittleEndian.Uint64(im.at(off, 8)) }

// far reads up to n bytes at an offset that the volume itself names: less at
// its end, none outside of it. n is a constant of the caller's.
func (im image) far(off int64, n int) ([]byte, error) {
	if off < 0 || off >= im.size {
		return nil, io.ErrUnexpectedEOF
	}
	b := make([]byte, min(int64(n), im.size-off))
	got, err := im.r.ReadAt(b, off)
	if got == len(b) || errors.Is(err, io.EOF) {
		return b[:got], nil
	}
	return nil, err
}

// identify goes through the kinds. Those that lock or wrap a volume come
// first, then the ones whose mark is long; a FAT has no mark, and is believed
// for its numbers.
func (im image) identify() content {
	for _, look := range []func() (content, bool){
		im.bitlocker, im.ntfs, im.exfat, im.luks, im.apfs, im.xfs, im.squashfs,
		im.fatOrExt, im.btrfs, im.f2fs, im.hfs, im.iso, im.swap,
	} {
		if c, ok := look(); ok {
			return c
		}
	}
	if zero(im.head) {
		return content{kind: Empty}
	}
	return content{kind: Unknown}
}

// fatOrExt tells the two apart where both may be there: mke2fs keeps the first
// sector, and with it the FAT that was there before. A FAT that lives begins
// with its media byte.
func (im image) fatOrExt() (content, bool) {
	f, isFAT := im.fat()
	e, isExt := im.ext()
	if isExt && !(isFAT && f.begins()) {
		return e, true
	}
	if isFAT {
		return f.content(), true
	}
	return content{}, false
}

var (
	toGo   = []byte("\x3b\xd6\x67\x49\x29\x2e\xd8\x4a\x83\x99\xf6\xa3\x39\xe3\xd0\x01") // 4967d63b-2e29-4ad8-8399-f6a339e3d001
	eowOld = []byte("\x3b\x4d\xa8\x92\x80\xdd\x0e\x4d\x9e\x4e\xb1\xe3\x28\x4e\xae\xd8") // 92a84d3b-dd80-4d0e-9e4e-b1e3284eaed8
)

// bitlocker knows a locked volume by its mark. To Go shows itself as a FAT32
// ("MSWIN4.1") with a reader for old Windows on it; its GUID gives it away
// ([MS-FVE] has no public text; offsets as in libbde's description).
func (im image) bitlocker() (content, bool) {
	marked := im.is(3, "-FVE-FS-")
	if im.is(3, "MSWIN4.1") {
		guid := im.at(424, 16)
		marked = bytes.Equal(guid, toGo) || bytes.Equal(guid, eowOld)
	}
	return content{kind: BitLocker}, marked
}

func (im image) ntfs() (content, bool) {
	ok := im.is(3, "NTFS    ") && im.is(510, "\x55\xaa")
	return content{kind: NTFS, uuid: fmt.Sprintf("%016X", im.u64(0x48))}, ok
}

func (im image) luks() (content, bool) {
	if !im.is(0, "LUKS\xba\xbe") {
		return content{}, false
	}
	version := binary.BigEndian.Uint16(im.at(6, 2))
	c := content{kind: LUKS, uuid: ascii(im.at(168, 40))}
	if version == 2 {
		c.label = printable(im.at(24, 48))
	}
	return c, version == 1 || version == 2
}

func (im image) apfs() (content, bool) {
	return content{kind: APFS, uuid: uuid(im.at(72, 16))}, im.is(32, "NXSB")
}

func (im image) xfs() (content, bool) {
	return content{kind: XFS, uuid: uuid(im.at(32, 16)), label: printable(im.at(108, 12))}, im.is(0, "XFSB")
}

func (im image) squashfs() (content, bool) {
	return content{kind: SquashFS}, im.is(0, "hsqs") && im.u16(28) == 4 // major version
}

func (im image) btrfs() (content, bool) {
	const super = 64 << 10
	c := content{kind: Btrfs, uuid: uuid(im.at(super+32, 16)), label: printable(im.at(super+0x12b, 256))}
	return c, im.is(super+64, "_BHRfS_M")
}

func (im image) f2fs() (content, bool) {
	return content{kind: F2FS, uuid: uuid(im.at(1024+108, 16)), label: printable16(im.at(1024+124, 128))}, im.is(1024, "\x10\x20\xf5\xf2")
}

// hfs knows HFS+ and HFSX by mark and version, and an HFS by its mark and a
// sensible size of its blocks.
func (im image) hfs() (content, bool) {
	plus := im.is(1024, "H+\x00\x04") || im.is(1024, "HX\x00\x05")
	block := binary.BigEndian.Uint32(im.at(1024+20, 4))
	old := im.is(1024, "BD") && block > 0 && block%512 == 0
	return content{kind: HFSPlus}, plus || old
}

// iso knows an ISO 9660 by its first descriptor, and a UDF by the one that says
// so in the same place or the next ones (ECMA-167 2/8).
func (im image) iso() (content, bool) {
	const descriptors = 32 << 10
	for i := range 8 {
		if mark := string(im.at(descriptors+i*2048+1, 5)); mark == "NSR02" || mark == "NSR03" {
			return content{kind: UDF}, true
		}
	}
	return content{kind: ISO9660, label: ascii(im.at(descriptors+40, 32))}, im.is(descriptors+1, "CD001")
}

// swap has its mark at the end of a page, whatever that is on the machine that made it.
func (im image) swap() (content, bool) {
	for page := 4 << 10; page <= 64<<10; page *= 2 {
		if im.is(page-10, "SWAPSPACE2") || im.is(page-10, "SWAP-SPACE") {
			return content{kind: Swap, uuid: uuid(im.at(1024+12, 16)), label: printable(im.at(1024+28, 16))}, true
		}
	}
	return content{}, false
}
