package volume

// ext reads the superblock of ext2, ext3 and ext4 (Documentation/filesystems/ext4/super.rst).
func (im image) ext() (content, bool) {
	const super = 1024
	log, first := im.u32(super+24), im.u32(super+20)
	switch {
	case !im.is(super+56, "\x53\xef"), log > 6, im.u32(super+76) > 1, // revision
		im.u32(super) == 0, im.u32(super+4) == 0, im.u32(super+32) == 0, // inodes, blocks, blocks of a group
		log == 0 && first > 1, log > 0 && first != 0:
		return content{}, false
	}
	compat, incompat, roCompat := im.u32(super+92), im.u32(super+96), im.u32(super+100)
	const hasJournal, recover, journalDevice, orphans, wide, guard = 4, 4, 8, 0x10000, 0x80, 0x100
	if incompat&journalDevice != 0 {
		return content{}, false // a journal of another file system, nothing to mount
	}
	blocks := uint64(im.u32(super + 4))
	if incompat&wide != 0 {
		blocks |= uint64(im.u32(super+0x150)) << 32
	}
	c := content{kind: Ext4, uuid: uuid(im.at(super+104, 16)), label: printable(im.at(super+120, 16))}
	const valid, failed = 1, 2
	switch state := im.u16(super + 58); {
	case state&valid == 0 || incompat&recover != 0:
		c.unclean = "it was not unmounted"
	case state&failed != 0:
		c.unclean = "errors were found in it"
	case im.u32(super+0xe8) != 0 || roCompat&orphans != 0:
		c.unclean = "files that were deleted while in use are left in it"
	case compat&hasJournal != 0 && im.u32(super+0xe0) == 0:
		c.unclean = "its journal is on another disk"
	case incompat&guard != 0:
		// The kernel would wait for as long as the file system says: eighteen hours, at most.
		c.unclean = "it is guarded against being mounted twice"
	case blocks > uint64(im.size)>>(10+log):
		c.unclean = "it is larger than the partition"
	}
	if (blocks-1)/uint64(im.u32(super+32)) >= maxGroups {
		c.refused = "it has too many groups of blocks"
	}
	// The kernel adds these to the options it is told; one names a device.
	if im.u8(super+0x200) != 0 {
		c.refused = "its superblock carries mount options"
	}
	return c, true
}
