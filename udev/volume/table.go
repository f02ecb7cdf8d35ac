package volume

import (
	"encoding/binary"
	"os"
	"strings"

	"github.com/diskfs/go-diskfs/partition/gpt"
	"github.com/diskfs/go-diskfs/partition/mbr"
)

// A use is what a partition table says that a partition is for, as far as it
// matters here.
type use int

const (
	files    use = iota // anything that may hold files
	esp                 // an EFI system partition
	nothing             // an extended partition, or one that never holds a file system
	gptGuard            // the entry of an MBR that hides a GPT
)

// readTable returns the partitions that a disk's table names, by number. No
// table, or none that makes sense, names none. Those inside an extended
// partition are the kernel's to find.
func readTable(f *os.File, sector int) map[int]use {
	m, err := mbr.Read(f, 512, 512)
	if err != nil {
		return nil
	}
	parts := map[int]use{}
	for i, p := range m.Partitions {
		u := mbrUse(p.Type)
		if u == gptGuard && boundedGPT(f, int64(sector)) {
			if t, err := gpt.Read(f, sector, sector); err == nil {
				return gptUses(t)
			}
			return nil
		}
		if p.Type != mbr.Empty && p.Size > 0 {
			parts[i+1] = u
		}
	}
	return parts
}

func mbrUse(t mbr.Type) use {
	switch t {
	case mbr.EFISystem:
		return esp
	case mbr.ExtendedCHS, mbr.ExtendedLBA, mbr.LinuxExtended:
		return nothing
	case 0xee:
		return gptGuard
	}
	return files
}

func gptUses(t *gpt.Table) map[int]use {
	parts := map[int]use{}
	for _, p := range t.Partitions {
		switch gpt.Type(strings.ToUpper(string(p.Type))) {
		case gpt.Unused:
		case gpt.EFISystemPartition:
			parts[p.Index] = esp
		case gpt.BIOSBoot, gpt.MicrosoftReserved:
			parts[p.Index] = nothing
		default:
			parts[p.Index] = files
		}
	}
	return parts
}

// boundedGPT reports whether a disk has a GPT whose entries take an amount of
// memory worth reading. Both headers are looked at, because a bad first one
// sends the reader to the second.
func boundedGPT(f *os.File, sector int64) bool {
	end, err := f.Seek(0, 2)
	if err != nil {
		return false
	}
	found := false
	for _, off := range []int64{sector, end/sector*sector - sector} {
		var b [92]byte
		if _, err := f.ReadAt(b[:], off); err != nil || string(b[:8]) != "EFI PART" {
			continue
		}
		count, size := binary.LittleEndian.Uint32(b[80:]), binary.LittleEndian.Uint32(b[84:])
		if count > 1024 || size != gpt.PartitionEntrySize {
			return false
		}
		found = true
	}
	return found
}
