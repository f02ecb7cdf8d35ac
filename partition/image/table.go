package image

import (
	"encoding/binary"
	"fmt"
	"os"

	"github.com/diskfs/go-diskfs/partition/gpt"
	"github.com/diskfs/go-diskfs/partition/mbr"
)

// What a GPT takes: protective MBR, header and 128 entries in front, entries
// and header behind.
const (
	gptFront = 34 * sector
	gptBack  = 33 * sector
)

func (d *Disk) writeTable(f *os.File) error {
	if d.Table == GPT {
		return d.gpt().Write(f, d.Size)
	}
	if err := d.mbr().Write(f, d.Size); err != nil {
		return err
	}
	// go-diskfs has no way to set the disk's signature, from which PARTUUIDs
	// are made.
	_, err := f.WriteAt(d.signature(), 440)
	return err
}

// signature is the identity of a disk with an MBR. 0 means that there is none.
func (d *Disk) signature() []byte {
	b := d.ID.Sub("mbr")
	if binary.LittleEndian.Uint32(b[:]) == 0 {
		b[0] = 1
	}
	return b[:4]
}

func (d *Disk) mbr() *mbr.Table {
	t := &mbr.Table{LogicalSectorSize: sector, PhysicalSectorSize: sector}
	for i, p := range d.Partitions {
		kind := mbr.Linux
		if p.FAT != nil {
			kind = mbr.Fat32LBA
		}
		t.Partitions = append(t.Partitions, &mbr.Partition{
			Index: i + 1, Bootable: p.Boot, Type: kind,
			Start: uint32(p.Start / sector), Size: uint32(p.Size / sector),
		})
	}
	return t
}

// gpt gives a FAT the type of plain data: on an EFI system partition U-Boot
// keeps variables in a file, and the file system that names the boot files
// should never be written.
func (d *Disk) gpt() *gpt.Table {
	t := &gpt.Table{LogicalSectorSize: sector, PhysicalSectorSize: sector, ProtectiveMBR: true, GUID: d.ID.Sub("gpt").UUID()}
	for i, p := range d.Partitions {
		kind, attributes := gpt.LinuxFilesystem, uint64(0)
		if p.FAT != nil {
			kind = gpt.MicrosoftBasicData
		}
		if p.Boot {
			attributes = 1 << 2 // legacy BIOS bootable
		}
		t.Partitions = append(t.Partitions, &gpt.Partition{
			Index: i + 1, Start: uint64(p.Start / sector), End: uint64(p.end()/sector - 1), Size: uint64(p.Size),
			Type: kind, Attributes: attributes, Name: p.Name, GUID: d.partID(i + 1).UUID(),
		})
	}
	return t
}

func (d *Disk) partID(n int) ID { return d.ID.Sub(fmt.Sprintf("partition %d", n)) }
