package image

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/plimsoll-ota/plimsoll/partition"
)

// A Growth is what Grow found, and did.
type Growth struct {
	Disk       string
	Partition  int   // its number
	Was, Is    int64 // bytes of the partition
	FileSystem int64 // bytes of the file system afterwards
	Changed    bool
}

// Grow makes the last partition of a running device's disk reach to the end of
// the medium, and the file system on it fill it, which may be mounted. It must
// be an ext4 with the label "data". A disk that is not understood is refused
// and not written: ErrLayout.
//
// It may be cut anywhere. Each write is of one sector that is in force, or of
// sectors that are not yet: one sector of an MBR; for a GPT, of which header
// and entries lie in two, see growGPT. What a cut left undone is done by the
// next call.
func Grow(disk string, host partition.Host) (Growth, error) {
	g := Growth{Disk: disk}
	if err := g.grow(host); err != nil {
		return g, fmt.Errorf("grow %s: %w", disk, err)
	}
	return g, nil
}

func (g *Growth) grow(host partition.Host) error {
	f, err := os.OpenFile(g.Disk, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(g.on(&growing{f: f, write: f.WriteAt}, host), f.Close())
}

func (g *Growth) on(d *growing, host partition.Host) error {
	if err := d.measure(); err != nil {
		return err
	}
	if err := g.table(d); err != nil {
		return err
	}
	return g.fileSystem(d, host)
}

// table enlarges the partition in the table.
func (g *Growth) table(d *growing) error {
	t, err := d.read()
	if err != nil {
		return err
	}
	last, err := t.last()
	if err != nil {
		return err
	}
	if last.end > d.sectors {
		return fmt.Errorf("%w: partition %d ends at %d, the disk at %d", ErrLayout, last.number, last.end*sector, d.sectors*sector)
	}
	g.Partition, g.Was, g.Is = last.number, last.size()*sector, last.size()*sector
	d.start = last.start * sector
	if err := d.isData(); err != nil {
		return err
	}
	const grain = cleared / sector
	end := t.limit() / grain * grain
	if end <= last.end {
		return t.settle()
	}
	last.end = end
	g.Is, g.Changed = last.size()*sector, true
	return t.write(last)
}

// A growing is a disk whose last partition is being enlarged.
type growing struct {
	f       *os.File
	write   func(b []byte, off int64) (int, error)
	sectors int64
	start   int64 // of the last partition, in bytes
}

func (d *growing) measure() error {
	size, err := d.f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if st, err := d.f.Stat(); err != nil {
		return err
	} else if st.Mode()&os.ModeDevice != 0 {
		n, err := unix.IoctlGetInt(int(d.f.Fd()), unix.BLKSSZGET)
		if err != nil {
			return err
		}
		if n != sector {
			return fmt.Errorf("%w: sectors of %d bytes", ErrLayout, n)
		}
	}
	d.sectors = size / sector
	return nil
}

func (d *growing) at(lba, n int64) ([]byte, error) {
	b := make([]byte, n*sector)
	_, err := d.f.ReadAt(b, lba*sector)
	return b, err
}

// put writes sectors so that they are on the medium before anything that
// follows.
func (d *growing) put(lba int64, b []byte) error {
	if _, err := d.write(b, lba*sector); err != nil {
		return err
	}
	if err := d.f.Sync(); err != nil {
		return err
	}
	if err := unix.Fadvise(int(d.f.Fd()), lba*sector, int64(len(b)), unix.FADV_DONTNEED); err != nil {
		return err
	}
	back, err := d.at(lba, int64(len(b)/sector))
	if err == nil && !bytes.Equal(back, b) {
		err = partition.ErrReadBack
	}
	if err != nil {
		return fmt.Errorf("sector %d: %w", lba, err)
	}
	return nil
}

// isData makes sure that it is the data partition that grows.
func (d *growing) isData() error {
	var b [1024]byte
	if _, err := d.f.ReadAt(b[:], d.start+1024); err != nil {
		return err
	}
	if binary.LittleEndian.Uint16(b[0x38:]) != 0xef53 {
		return fmt.Errorf("%w: the last partition has no ext4", ErrLayout)
	}
	if label, _, _ := bytes.Cut(b[0x78:0x88], []byte{0}); string(label) != "data" {
		return fmt.Errorf(`%w: the last partition's file system has the label %q, not "data"`, ErrLayout, label)
	}
	return nil
}

// An entry is a partition in sectors, end being the first behind it.
type entry struct {
	number     int
	start, end int64
	linux      bool
}

func (e entry) size() int64 { return e.end - e.start }

// A table can enlarge one of its entries.
type table interface {
	last() (entry, error)
	limit() int64      // the first sector that no partition may have
	write(entry) error // the entry with its new end
	settle() error     // what an earlier call that was cut left undone
}

func lastOf(entries []entry) (last entry, err error) {
	for _, e := range entries {
		if e.end > last.end {
			last = e
		}
	}
	for _, e := range entries {
		if e.number != last.number && e.end > last.start {
			return last, fmt.Errorf("%w: partitions %d and %d overlap", ErrLayout, e.number, last.number)
		}
	}
	if last.number == 0 {
		return last, fmt.Errorf("%w: no partitions", ErrLayout)
	}
	if !last.linux {
		return last, fmt.Errorf("%w: partition %d, the last, is none of Linux", ErrLayout, last.number)
	}
	return last, nil
}

// read recognizes the table.
func (d *growing) read() (table, error) {
	b, err := d.at(0, 1)
	if err != nil {
		return nil, err
	}
	if b[510] != 0x55 || b[511] != 0xaa {
		return nil, fmt.Errorf("%w: no partition table", ErrLayout)
	}
	m := mbrTable{d, b}
	protective := 0
	for i := range 4 {
		if m.entry(i)[4] == 0xee {
			protective++
		}
	}
	switch {
	case protective == 0:
		return m, nil
	case protective == 1 && len(m.entries()) == 1 && m.entry(0)[4] == 0xee:
		return d.readGPT(b)
	}
	return nil, fmt.Errorf("%w: a GPT whose protective MBR has other partitions", ErrLayout)
}

// An mbrTable is one sector.
type mbrTable struct {
	d *growing
	b []byte
}

func (t mbrTable) entry(i int) []byte { return t.b[446+16*i : 462+16*i] }

func (t mbrTable) entries() (entries []entry) {
	for i := range 4 {
		b := t.entry(i)
		if b[4] == 0 {
			continue
		}
		start, size := int64(binary.LittleEndian.Uint32(b[8:])), int64(binary.LittleEndian.Uint32(b[12:]))
		entries = append(entries, entry{i + 1, start, start + size, b[4] == 0x83})
	}
	return entries
}

func (t mbrTable) last() (entry, error) {
	for i := range 4 {
		if k := t.entry(i)[4]; k == 0x05 || k == 0x0f || k == 0x85 {
			return entry{}, fmt.Errorf("%w: partition %d is an extended one", ErrLayout, i+1)
		}
	}
	return lastOf(t.entries())
}

func (t mbrTable) limit() int64 { return min(t.d.sectors, 1<<32) }

func (t mbrTable) write(e entry) error {
	binary.LittleEndian.PutUint32(t.entry(e.number - 1)[12:], uint32(min(e.size(), 1<<32-1)))
	return t.d.put(0, t.b)
}

func (t mbrTable) settle() error { return nil }

// fileSystem tells the kernel of the partition's size, and the file system.
func (g *Growth) fileSystem(d *growing, host partition.Host) error {
	path, size, ok := host.PartitionOf(g.Disk, g.Partition)
	if !ok {
		return nil // a plain file, or a loop device that shows no partitions
	}
	if size < g.Is {
		if err := g.resizePartition(d); err != nil {
			return err
		}
		g.Changed = true
	}
	return g.resize(path, host)
}

func (g *Growth) resizePartition(d *growing) error {
	p := unix.BlkpgPartition{Start: d.start, Length: g.Is, Pno: int32(g.Partition)}
	arg := unix.BlkpgIoctlArg{Op: unix.BLKPG_RESIZE_PARTITION, Datalen: int32(unsafe.Sizeof(p)), Data: (*byte)(unsafe.Pointer(&p))}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, d.f.Fd(), unix.BLKPG, uintptr(unsafe.Pointer(&arg))); errno != 0 {
		return fmt.Errorf("tell the kernel of the size of partition %d: %w", g.Partition, errno)
	}
	return nil
}

// resize lets ext4 fill its partition, while it is mounted.
func (g *Growth) resize(path string, host partition.Host) error {
	dev, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dev.Close()
	if g.FileSystem, err = ext4Bytes(dev); err != nil {
		return err
	}
	if g.FileSystem+cleared > g.Is {
		return nil
	}
	mounts, err := host.MountsOf(path)
	if err != nil {
		return err
	}
	for _, m := range mounts {
		if m.ReadOnly {
			continue
		}
		if err := resizeMounted(m.Point, dev, g.Is); err != nil {
			return fmt.Errorf("let the file system at %s fill its partition: %w", m.Point, err)
		}
		g.Changed = true
		g.FileSystem, err = ext4Bytes(dev)
		return err
	}
	return fmt.Errorf("partition %d is larger than its file system, which is mounted nowhere, or read-only: %w", g.Partition, ErrNotMounted)
}

func resizeMounted(point string, dev *os.File, size int64) error {
	b, err := superblock(dev)
	if err != nil {
		return err
	}
	blocks := uint64(size) >> (10 + binary.LittleEndian.Uint32(b[0x18:]))
	const resizeFS = 0x40086610 // EXT4_IOC_RESIZE_FS: _IOW('f', 16, __u64)
	dir, err := os.Open(point)
	if err != nil {
		return err
	}
	defer dir.Close()
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, dir.Fd(), resizeFS, uintptr(unsafe.Pointer(&blocks))); errno != 0 {
		return errno
	}
	return nil
}
