package files

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"
)

// ErrTree: a tree that cannot be read: damaged, or of a kind that is not known.
var ErrTree = errors.New("file system cannot be read")

// A Tree is an ext2, ext3 or ext4 that is only read, all of it at once: debugfs
// would take minutes for the files of an operating system. It runs no program,
// and asks for no more memory than the image has files, whatever the image says.
type Tree struct {
	r          io.ReaderAt
	block      int64 // bytes
	blocks     int64
	inodes     uint32
	perGroup   uint32 // inodes in a group
	groupSize  int64  // blocks in a group
	inodeSize  int64
	descriptor int64 // bytes of a group's
	first      int64 // block of the first group
	metaFirst  int64 // the first block of descriptors that lies in the groups it is of
	wide       bool  // 64bit
	sparse     bool  // not every group has a superblock
}

// A Node is a name in a tree, with what lies behind it.
type Node struct {
	Path     string
	Mode     fs.FileMode
	UID, GID int
	Size     int64
	ModTime  time.Time
	Target   string // of a symbolic link
	Device   uint64 // of a device: major<<32 | minor

	inode uint32
	raw   []byte // of a file: flags and the room where its content or the way to it stands
}

// What Tree knows of the features that change how a file system is read.
const (
	incompatFileType = 0x2
	incompatRecover  = 0x4
	incompatMetaBG   = 0x10
	incompatExtents  = 0x40
	incompat64       = 0x80
	incompatFlexBG   = 0x200
	incompatEAInode  = 0x400
	incompatCsumSeed = 0x2000
	incompatLargeDir = 0x4000
	incompatInline   = 0x8000
	incompatCasefold = 0x20000
	incompatKnown    = incompatFileType | incompatMetaBG | incompatExtents | incompat64 | incompatFlexBG | incompatEAInode | incompatCsumSeed | incompatLargeDir | incompatInline | incompatCasefold
)

// bad is an ErrTree.
func bad(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrTree, fmt.Sprintf(format, args...))
}

func u16(b []byte, off int) int64 { return int64(binary.LittleEndian.Uint16(b[off:])) }
func u32(b []byte, off int) int64 { return int64(binary.LittleEndian.Uint32(b[off:])) }

// OpenTree reads the superblock of the file system that r is, in size bytes.
func OpenTree(r io.ReaderAt, size int64) (*Tree, error) {
	s := make([]byte, 1024)
	if _, err := r.ReadAt(s, 1024); err != nil && err != io.EOF {
		return nil, err
	}
	if u16(s, 0x38) != 0xef53 {
		return nil, bad("no ext2, ext3 or ext4")
	}
	incompat := u32(s, 0x60)
	if incompat&incompatRecover != 0 {
		return nil, bad("it was not unmounted, its journal has changes")
	}
	if unknown := incompat &^ incompatKnown; unknown != 0 {
		return nil, bad("features %#x are not known", unknown)
	}
	if u32(s, 0x18) > 6 {
		return nil, bad("blocks of 2^%d KiB", u32(s, 0x18))
	}
	t := &Tree{r: r, block: 1024 << u32(s, 0x18), blocks: u32(s, 4), inodes: uint32(u32(s, 0)), perGroup: uint32(u32(s, 0x28)), groupSize: u32(s, 0x20),
		inodeSize: 128, descriptor: 32, first: u32(s, 0x14), metaFirst: 1 << 40, sparse: u32(s, 0x64)&1 != 0}
	if u32(s, 0x4c) > 0 {
		t.inodeSize = u16(s, 0x58)
	}
	if incompat&incompat64 != 0 {
		t.wide, t.descriptor = true, u16(s, 0xfe)
		t.blocks |= u32(s, 0x150) << 32
	}
	if incompat&incompatMetaBG != 0 {
		t.metaFirst = u32(s, 0x104)
	}
	return t, t.check(size)
}

// check refuses numbers that would lead out of the image.
func (t *Tree) check(size int64) error {
	switch {
	case t.blocks > size/t.block:
		return bad("%d blocks of %d bytes in %d bytes: it was cut short", t.blocks, t.block, size)
	case t.perGroup == 0 || t.groupSize == 0:
		return bad("groups of %d inodes, and %d blocks", t.perGroup, t.groupSize)
	case t.inodeSize < 128 || t.inodeSize > t.block || t.inodeSize&(t.inodeSize-1) != 0:
		return bad("inodes of %d bytes", t.inodeSize)
	case t.descriptor < 32 || t.wide && t.descriptor < 64 || t.descriptor > t.block:
		return bad("group descriptors of %d bytes", t.descriptor)
	case int64(t.inodes) > t.blocks*(t.block/t.inodeSize):
		return bad("%d inodes in %d blocks", t.inodes, t.blocks)
	}
	return nil
}

// read reads n bytes of a block, from off on.
func (t *Tree) read(block, off, n int64) ([]byte, error) {
	if block <= 0 || block >= t.blocks {
		return nil, bad("block %d of %d", block, t.blocks)
	}
	b := make([]byte, n)
	if k, err := t.r.ReadAt(b, block*t.block+off); k < len(b) {
		return nil, fmt.Errorf("block %d: %w", block, err)
	}
	return b, nil
}

// table is the block where the inodes of a group begin.
func (t *Tree) table(group int64) (int64, error) {
	perBlock := t.block / t.descriptor
	at := t.first + 1 + group/perBlock
	if group/perBlock >= t.metaFirst {
		// They begin the first group that they are of, behind a copy of the superblock if it has one: with sparse_super
		// groups 0, 1, and powers of 3, 5 and 7 have, and none of these but 0 is a multiple of perBlock.
		begin := group - group%perBlock
		if at = t.first + begin*t.groupSize; begin == 0 || !t.sparse {
			at++
		}
	}
	b, err := t.read(at, group%perBlock*t.descriptor, t.descriptor)
	if err != nil {
		return 0, fmt.Errorf("descriptor of group %d: %w", group, err)
	}
	table := u32(b, 8)
	if t.wide {
		table |= u32(b, 0x28) << 32
	}
	return table, nil
}

// inode reads an inode.
func (t *Tree) inode(number uint32) ([]byte, error) {
	if number == 0 || number > t.inodes {
		return nil, bad("inode %d of %d", number, t.inodes)
	}
	table, err := t.table(int64((number - 1) / t.perGroup))
	if err != nil {
		return nil, err
	}
	off := int64((number-1)%t.perGroup) * t.inodeSize
	b, err := t.read(table+off/t.block, off%t.block, t.inodeSize)
	if err != nil {
		return nil, fmt.Errorf("inode %d: %w", number, err)
	}
	return b, nil
}

// kinds are the types of files by the upper bits of their mode.
var kinds = map[int64]fs.FileMode{
	0x1: fs.ModeNamedPipe, 0x2: fs.ModeDevice | fs.ModeCharDevice, 0x4: fs.ModeDir, 0x6: fs.ModeDevice, 0x8: 0, 0xa: fs.ModeSymlink, 0xc: fs.ModeSocket,
}

// node is what an inode says.
func (t *Tree) node(name string, number uint32) (Node, error) {
	b, err := t.inode(number)
	if err != nil {
		return Node{}, err
	}
	mode := u16(b, 0)
	kind, ok := kinds[mode>>12]
	if !ok {
		return Node{}, bad("inode %d is of type %#x", number, mode>>12)
	}
	n := Node{Path: name, Mode: kind | fs.FileMode(mode&0o777), inode: number, raw: b,
		UID: int(u16(b, 2) | u16(b, 0x78)<<16), GID: int(u16(b, 0x18) | u16(b, 0x7a)<<16), Size: u32(b, 4)}
	for bit, flag := range map[int64]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if mode&bit != 0 {
			n.Mode |= flag
		}
	}
	if kind == 0 {
		n.Size |= u32(b, 0x6c) << 32
	}
	if n.Size < 0 {
		return Node{}, bad("inode %d has %d bytes", number, n.Size)
	}
	sec, nano := int64(int32(u32(b, 0x10))), int64(0)
	if t.inodeSize > 128 && u16(b, 0x80) >= 12 && t.inodeSize >= 0x8c {
		sec, nano = sec+u32(b, 0x88)&3<<32, u32(b, 0x88)>>2
	}
	n.ModTime = time.Unix(sec, nano).UTC()
	switch {
	case kind == fs.ModeSymlink:
		n.Target, err = t.target(n)
	case kind&fs.ModeDevice != 0:
		n.Size, n.Device = 0, device(u32(b, 0x28), u32(b, 0x2c))
	case kind != 0 && kind != fs.ModeDir:
		n.Size = 0
	}
	return n, err
}

// device is a number of Linux: in the first word as it was of old, else in the
// second.
func device(old, new int64) uint64 {
	if old != 0 {
		return uint64(old>>8&0xff)<<32 | uint64(old&0xff)
	}
	return uint64(new>>8&0xfff)<<32 | uint64(new&0xff|new>>12&0xfff00)
}

// target reads where a link leads: from the inode itself if it fits.
func (t *Tree) target(n Node) (string, error) {
	if n.Size > t.block {
		return "", bad("inode %d, a link of %d bytes", n.inode, n.Size)
	}
	if n.Size < 60 && !n.flag(flagExtents) && !n.flag(flagInline) {
		return string(n.raw[0x28 : 0x28+n.Size]), nil
	}
	b, err := io.ReadAll(t.Content(n))
	return string(b), err
}

// IsExt reports whether an image that begins with b is an ext2, ext3 or ext4.
func IsExt(b []byte) bool { return len(b) >= 2048 && u16(b, 1024+0x38) == 0xef53 }
