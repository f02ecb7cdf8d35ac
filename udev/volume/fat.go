package volume

import "encoding/binary"

// A fat is the parameter block of a FAT that makes sense ("Microsoft FAT
// Specification", 2005: section 3).
type fat struct {
	im       image
	sector   int64 // bytes
	bits     int   // 12, 16 or 32
	media    byte
	reserved int64 // sectors before the first FAT
	data     int64 // first sector of cluster 2
	root     int64 // first sector of the root folder
	total    int64 // sectors
}

// fat reads the parameter block. Nothing in it is a mark, so every number must
// fit the others: what begins with a jump and ends in 55 AA is as well every
// boot record, and much that is none.
func (im image) fat() (fat, bool) {
	f := fat{
		im: im, sector: int64(im.u16(11)), media: im.u8(21), reserved: int64(im.u16(14)),
		total: int64(im.u16(19)),
	}
	cluster, fats, entries := int64(im.u8(13)), int64(im.u8(16)), int64(im.u16(17))
	length := int64(im.u16(22))
	if f.total == 0 {
		f.total = int64(im.u32(32))
	}
	wide := length == 0
	if wide {
		length = int64(im.u32(36))
	}
	f.root = f.reserved + fats*length
	if f.sector >= 512 {
		f.data = f.root + (entries*32+f.sector-1)/f.sector
	}
	switch {
	case !im.is(510, "\x55\xaa"), !(im.u8(0) == 0xeb && im.u8(2) == 0x90) && im.u8(0) != 0xe9,
		!power2(f.sector, 512, 4096), !power2(cluster, 1, 128),
		f.reserved == 0, fats != 1 && fats != 2, f.media != 0xf0 && f.media < 0xf8,
		length == 0, f.data >= f.total,
		wide && (entries != 0 || im.u16(42) != 0), // root is a chain; only version 0.0 exists
		!wide && entries == 0:
		return fat{}, false
	}
	clusters := (f.total - f.data) / cluster
	switch {
	case wide:
		f.bits = 32
		f.root = f.data + (int64(im.u32(44))-2)*cluster
	case clusters < 4085:
		f.bits = 12
	case clusters < 65525:
		f.bits = 16
	default:
		return fat{}, false
	}
	return f, clusters > 0
}

func power2(n, from, to int64) bool { return n >= from && n <= to && n&(n-1) == 0 }

// begins reports whether the FAT itself begins as every FAT does.
func (f fat) begins() bool {
	b, err := f.im.far(f.reserved*f.sector, 8)
	return err == nil && len(b) > 1 && b[0] == f.media && b[1] == 0xff
}

func (f fat) content() content {
	at := 39 // serial and label, behind a parameter block of the old length
	if f.bits == 32 {
		at = 67
	}
	c := content{kind: VFAT, unclean: f.unclean()}
	if sig := f.im.u8(at - 1); sig == 0x29 || sig == 0x28 {
		c.uuid = serial(f.im.u32(at))
		if c.label = ascii(f.im.at(at+4, 11)); c.label == "NO NAME" {
			c.label = ""
		}
	}
	// Windows keeps the label in the root folder only.
	if l, ok := f.rootLabel(); ok {
		c.label = l
	}
	return c
}

// unclean says why the FAT must not be written. Linux and Windows keep a bit in
// the boot sector, Windows and macOS two in the second entry of the FAT: one
// that is clear while the volume is in use, one that is clear after an error.
func (f fat) unclean() string {
	flags := f.im.u8(37)
	if f.bits == 32 {
		flags = f.im.u8(65)
	}
	if flags&3 != 0 {
		return "its boot sector says that it is in use or damaged"
	}
	if f.total > f.im.size/f.sector {
		return "it is larger than the partition"
	}
	b, err := f.im.far(f.reserved*f.sector, 8)
	if err != nil || len(b) < 8 {
		return "its allocation table cannot be read"
	}
	var entry, both uint32
	switch f.bits {
	case 16:
		entry, both = uint32(binary.LittleEndian.Uint16(b[2:])), 0xc000
	case 32:
		entry, both = binary.LittleEndian.Uint32(b[4:]), 0x0c000000
	}
	if entry&both != both {
		return "its allocation table says that it is in use or damaged"
	}
	return ""
}

// rootLabel looks for the label in the first 4 KiB of the root folder.
func (f fat) rootLabel() (string, bool) {
	b, err := f.im.far(f.root*f.sector, 4096)
	if err != nil {
		return "", false
	}
	const volumeID, kinds = 0x08, 0x3f
	for ; len(b) >= 32 && b[0] != 0; b = b[32:] {
		if b[0] != 0xe5 && b[11]&kinds&^0x20 == volumeID {
			return ascii(b[:11]), true
		}
	}
	return "", false
}
