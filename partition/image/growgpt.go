package image

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

const (
	gptArray = 32 // sectors of 128 entries
	gptFirst = 2  // the sector where they begin, in front
)

// A gptTable is a header, in one sector, that has the checksum of the entries
// and says where they are. To change an entry is to change both, and Linux does
// not look at the second table where the first is damaged, unless it is told.
// go-diskfs writes entries and header one after the other.
//
// So the new entries are first written where no table has any, and one sector,
// the header, makes them those in force; then, in the same way, they return to
// where every tool expects them. Before all that the second table is written to
// the end of the disk, where the first one's header does not name it yet.
type gptTable struct {
	d      *growing
	mbr    []byte
	header []byte
	array  []byte
}

func (d *growing) readGPT(mbr []byte) (table, error) {
	h, err := d.at(1, 1)
	if err != nil {
		return nil, err
	}
	t := gptTable{d: d, mbr: mbr, header: h}
	if !bytes.HasPrefix(h, []byte("EFI PART")) || t.u32(12) != 92 || t.u32(16) != headerSum(h) || t.u64(24) != 1 {
		return nil, fmt.Errorf("%w: the first GPT is damaged", ErrLayout)
	}
	if t.u32(80) != 128 || t.u32(84) != 128 {
		return nil, fmt.Errorf("%w: a GPT of %d entries of %d bytes", ErrLayout, t.u32(80), t.u32(84))
	}
	if t.array, err = d.at(t.u64(72), gptArray); err != nil {
		return nil, err
	}
	if t.u32(88) != crc32.ChecksumIEEE(t.array) {
		return nil, fmt.Errorf("%w: the entries of the first GPT are damaged", ErrLayout)
	}
	return t, nil
}

func (t gptTable) u32(off int) uint32 { return binary.LittleEndian.Uint32(t.header[off:]) }
func (t gptTable) u64(off int) int64  { return int64(binary.LittleEndian.Uint64(t.header[off:])) }

// headerSum is the checksum of a header, which covers itself as zero.
func headerSum(h []byte) uint32 {
	b := bytes.Clone(h[:92])
	clear(b[16:20])
	return crc32.ChecksumIEEE(b)
}

// linuxData is the type of a Linux file system as it is stored.
var linuxData = []byte{0xaf, 0x3d, 0xc6, 0x0f, 0x83, 0x84, 0x72, 0x47, 0x8e, 0x79, 0x3d, 0x69, 0xd8, 0x47, 0x7d, 0xe4}

func (t gptTable) entries() (entries []entry) {
	for i := range 128 {
		b := t.array[128*i : 128*i+128]
		if bytes.Equal(b[:16], make([]byte, 16)) {
			continue
		}
		entries = append(entries, entry{
			i + 1, int64(binary.LittleEndian.Uint64(b[32:])), int64(binary.LittleEndian.Uint64(b[40:])) + 1,
			bytes.Equal(b[:16], linuxData),
		})
	}
	return entries
}

func (t gptTable) last() (entry, error) { return lastOf(t.entries()) }

func (t gptTable) limit() int64 { return t.d.sectors - gptArray - 1 }

// write puts the table with a larger last partition in force.
func (t gptTable) write(e entry) error {
	binary.LittleEndian.PutUint64(t.array[128*(e.number-1)+40:], uint64(e.end-1))
	return t.place()
}

// settle finishes what a cut left: entries away from their place, or the
// second table not at the end of the disk.
func (t gptTable) settle() error {
	if t.u64(72) == gptFirst && t.u64(32) == t.d.sectors-1 && t.protects() {
		return nil
	}
	return t.place()
}

func (t gptTable) place() error {
	end, lba := t.d.sectors, t.u64(72)
	away := lba != gptFirst // a call that was cut left the entries there
	if !away {
		var err error // before anything is written: it may refuse
		if lba, err = t.free(); err != nil {
			return err
		}
	}
	if err := t.d.put(end-1-gptArray, t.array); err != nil {
		return err
	}
	if err := t.d.put(end-1, t.head(end-1, 1, end-1-gptArray)); err != nil {
		return err
	}
	if !away {
		if err := t.d.put(lba, t.array); err != nil {
			return err
		}
		if err := t.d.put(1, t.head(1, end-1, lba)); err != nil {
			return err
		}
	}
	if err := t.d.put(gptFirst, t.array); err != nil {
		return err
	}
	if err := t.d.put(1, t.head(1, end-1, gptFirst)); err != nil {
		return err
	}
	if err := t.d.put(lba, make([]byte, len(t.array))); err != nil {
		return err
	}
	return t.protect()
}

// free finds a place in front of the first partition that nobody uses, such as
// a bootloader: it is all zero, or holds what a call that was cut left.
func (t gptTable) free() (int64, error) {
	end := int64(cleared / sector)
	for _, e := range t.entries() {
		end = min(end, e.start)
	}
	for lba := int64(40); lba+gptArray <= end; lba += 8 {
		b, err := t.d.at(lba, gptArray)
		if err != nil {
			return 0, err
		}
		if bytes.Equal(b, make([]byte, len(b))) || bytes.Equal(b, t.array) {
			return lba, nil
		}
	}
	return 0, fmt.Errorf("%w: no %d free sectors in front of the first partition", ErrLayout, gptArray)
}

// head is a header at my, with the other one and the entries where it says.
func (t gptTable) head(my, other, array int64) []byte {
	h := bytes.Clone(t.header)
	for off, v := range map[int]int64{24: my, 32: other, 48: t.limit() - 1, 72: array} {
		binary.LittleEndian.PutUint64(h[off:], uint64(v))
	}
	binary.LittleEndian.PutUint32(h[88:], crc32.ChecksumIEEE(t.array))
	binary.LittleEndian.PutUint32(h[16:], headerSum(h))
	return h
}

// protectiveSize is what the protective MBR says of the disk's size.
func (t gptTable) protectiveSize() uint32 { return uint32(min(t.d.sectors-1, 1<<32-1)) }

func (t gptTable) protects() bool {
	return binary.LittleEndian.Uint32(t.mbr[446+12:]) == t.protectiveSize()
}

func (t gptTable) protect() error {
	if t.protects() {
		return nil
	}
	binary.LittleEndian.PutUint32(t.mbr[446+12:], t.protectiveSize())
	return t.d.put(0, t.mbr)
}
