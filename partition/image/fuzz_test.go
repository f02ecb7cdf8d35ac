package image

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"
)

// FuzzGrowing: whatever the table of a disk says, and with right sums, it is understood or refused; and what is understood lies on
// the disk, and grows if at all.
func FuzzGrowing(f *testing.F) {
	entry := func(start, end uint64) []byte {
		b := append([]byte{}, linuxData...)
		b = binary.LittleEndian.AppendUint64(append(b, make([]byte, 16)...), start)
		return append(binary.LittleEndian.AppendUint64(b, end), make([]byte, 80)...)
	}
	f.Add([]byte{0, 0, 0, 0, 0xee, 0, 0, 0, 1, 0, 0, 0, 0xff, 0xff}, entry(64, 127), uint64(2))
	f.Add([]byte{0, 0, 0, 0, 0xee, 0, 0, 0, 1, 0, 0, 0, 0xff, 0xff}, append(entry(64, 127), entry(1<<63, 1<<63+9)...), uint64(1<<55))
	f.Add([]byte{0, 0, 0, 0, 0x83, 0, 0, 0, 64, 0, 0, 0, 64}, []byte{}, uint64(2))
	f.Fuzz(func(t *testing.T, mbr, entries []byte, at uint64) {
		const sectors = 512
		disk := make([]byte, sectors*sector)
		copy(disk[446:510], mbr)
		disk[510], disk[511] = 0x55, 0xaa
		array := disk[2*sector : (2+gptArray)*sector]
		copy(array, entries)
		h := disk[sector : 2*sector]
		copy(h, "EFI PART\x00\x00\x01\x00")
		for off, v := range map[int]uint32{12: 92, 80: 128, 84: 128, 88: crc32.ChecksumIEEE(array)} {
			binary.LittleEndian.PutUint32(h[off:], v)
		}
		for off, v := range map[int]uint64{24: 1, 32: sectors - 1, 40: 34, 48: sectors - 34, 72: at} {
			binary.LittleEndian.PutUint64(h[off:], v)
		}
		binary.LittleEndian.PutUint32(h[16:], headerSum(h))
		path := filepath.Join(t.TempDir(), "disk")
		if err := os.WriteFile(path, disk, 0o600); err != nil {
			t.Fatal(err)
		}
		file, err := os.Open(path) // to read: what would be written is an error
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		d := &growing{f: file, write: func([]byte, int64) (int, error) { return 0, errWritten }}
		if err := d.measure(); err != nil {
			t.Fatal(err)
		}
		var g Growth
		err = g.table(d)
		if (err == nil || errors.Is(err, errWritten)) && (g.Partition < 1 || g.Was <= 0 || g.Is < g.Was || g.Is > sectors*sector || d.start <= 0) {
			t.Errorf("understood as %+v, from %d, %v", g, d.start, err)
		}
	})
}

var errWritten = errors.New("would be written")
