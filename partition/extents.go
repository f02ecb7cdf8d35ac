package partition

import (
	"encoding/binary"
	"os"

	"github.com/diskfs/go-diskfs/partition/gpt"
	"github.com/diskfs/go-diskfs/partition/mbr"
)

// An Extent is where a partition lies in the file of a disk.
type Extent struct {
	Number      int
	Start, Size int64 // in bytes
	Swap        bool  // by its type
}

// Extents returns the partitions of a disk image, in the order of their numbers;
// none if there is no table, or none that can be believed: a partition that
// reaches beyond the file is not there.
func Extents(f *os.File) ([]Extent, error) {
	end, err := f.Seek(0, 2)
	if err != nil {
		return nil, err
	}
	var all []Extent
	if boundedGPT(f, 512) {
		if t, err := gpt.Read(f, 512, 512); err == nil {
			for _, p := range t.Partitions {
				all = append(all, Extent{p.Index, int64(p.Start) * 512, int64(p.End-p.Start+1) * 512, p.Type == gpt.LinuxSwap})
			}
		}
	} else {
		all = mbrExtents(f)
	}
	kept := all[:0]
	for _, e := range all {
		if e.Start > 0 && e.Size > 0 && e.Start <= end-e.Size {
			kept = append(kept, e)
		}
	}
	return kept, nil
}

// maxLogical is how many logical partitions are looked at: their chain may be a ring.
const maxLogical = 60

// mbrExtents reads the four entries, and the chain of logical partitions, each
// of which has a table of its own in front.
func mbrExtents(f *os.File) []Extent {
	table := mbrTable(f, 0)
	var all []Extent
	var chain int64
	for i, e := range table {
		switch mbr.Type(e.kind) {
		case mbr.Empty, 0xee:
		case mbr.ExtendedCHS, mbr.ExtendedLBA, mbr.LinuxExtended:
			chain = e.start
		default:
			all = append(all, Extent{i + 1, e.start, e.size, mbr.Type(e.kind) == mbr.LinuxSwap})
		}
	}
	at := chain
	for n := 5; chain > 0 && n < 5+maxLogical; n++ {
		t := mbrTable(f, at)
		if t == nil || t[0].kind == 0 {
			break
		}
		all = append(all, Extent{n, at + t[0].start, t[0].size, mbr.Type(t[0].kind) == mbr.LinuxSwap})
		if t[1].start == 0 {
			break
		}
		at = chain + t[1].start
	}
	return all
}

type mbrEntry struct {
	kind        byte
	start, size int64
}

// mbrTable reads one table; nil if there is none.
func mbrTable(f *os.File, at int64) []mbrEntry {
	var b [512]byte
	if _, err := f.ReadAt(b[:], at); err != nil || b[510] != 0x55 || b[511] != 0xaa {
		return nil
	}
	var t []mbrEntry
	for i := range 4 {
		e := b[446+16*i:]
		t = append(t, mbrEntry{e[4], int64(binary.LittleEndian.Uint32(e[8:])) * 512, int64(binary.LittleEndian.Uint32(e[12:])) * 512})
		if e[0] != 0 && e[0] != 0x80 { // boot code, and no table
			return nil
		}
	}
	return t
}
