package volume

// exfat reads the main boot sector ("exFAT file system specification", 3.1).
func (im image) exfat() (content, bool) {
	sector, cluster, fats := im.u8(108), im.u8(109), im.u8(110)
	switch {
	case !im.is(3, "EXFAT   "), !im.is(510, "\x55\xaa"), !zero(im.at(11, 53)), // where a FAT has its numbers
		sector < 9 || sector > 12, int(sector)+int(cluster) > 25, fats != 1 && fats != 2:
		return content{}, false
	}
	c := content{kind: ExFAT, uuid: serial(im.u32(100))}
	const dirty, failed = 2, 4
	switch flags := im.u16(106); {
	case flags&dirty != 0:
		c.unclean = "its boot sector says that it is in use"
	case flags&failed != 0:
		c.unclean = "its boot sector says that the medium has failed"
	case im.u64(72) > uint64(im.size)>>sector:
		c.unclean = "it is larger than the partition"
	}
	if im.u32(92) > 8*maxKept {
		c.refused = "its bitmap is too large"
	}
	root := int64(im.u32(88)) + (int64(im.u32(96))-2)<<cluster
	c.label = im.exfatLabel(root << sector)
	return c, true
}

// exfatLabel looks for the label among the first entries of the root folder.
func (im image) exfatLabel(root int64) string {
	b, err := im.far(root, 4096)
	if err != nil {
		return ""
	}
	for ; len(b) >= 32 && b[0] != 0; b = b[32:] {
		if b[0] == 0x83 {
			return printable16(b[2 : 2+2*min(b[1], 11)])
		}
	}
	return ""
}
