package volume

import (
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// FuzzReadTable: whatever a disk's tables say, with right sums, reading them ends, names no partition that a table cannot have, and
// asks for no more memory than a table has.
func FuzzReadTable(f *testing.F) {
	protective := []byte{0, 0, 0, 0, 0xee, 0, 0, 0, 1, 0, 0, 0, 0xff, 0xff}
	entry := append([]byte("\x28\x73\x2a\xc1\x1f\xf8\xd2\x11\xba\x4b\x00\xa0\xc9\x3e\xc9\x3b0123456789abcdef"), 64, 0, 0, 0, 0, 0, 0, 0, 127)
	f.Add(protective, entry, uint64(2), uint32(128), uint32(128))
	f.Add(protective, entry, uint64(1<<62), uint32(1<<31), uint32(128))
	f.Add([]byte{0, 0, 0, 0, 0x0c, 0, 0, 0, 64, 0, 0, 0, 64, 0, 0, 0, 0, 0, 0, 0, 0x05, 0, 0, 0, 64, 0, 0, 0, 64}, entry, uint64(2), uint32(4), uint32(128))
	f.Fuzz(func(t *testing.T, mbr, entries []byte, at uint64, count, size uint32) {
		const sectors = 256
		disk := make([]byte, sectors*512)
		copy(disk[446:510], mbr)
		disk[510], disk[511] = 0x55, 0xaa
		copy(disk[1024:17408], entries)
		array := disk[1024:min(17408, 1024+uint64(count)*uint64(size))]
		for _, my := range []uint64{1, sectors - 1} {
			h := disk[my*512 : my*512+512]
			copy(h, "EFI PART\x00\x00\x01\x00")
			for off, v := range map[int]uint32{12: 92, 80: count, 84: size, 88: crc32.ChecksumIEEE(array)} {
				binary.LittleEndian.PutUint32(h[off:], v)
			}
			for off, v := range map[int]uint64{24: my, 32: sectors - my, 40: 34, 48: sectors - 34, 72: at} {
				binary.LittleEndian.PutUint64(h[off:], v)
			}
			binary.LittleEndian.PutUint32(h[16:], crc32.ChecksumIEEE(h[:92]))
		}
		path := filepath.Join(t.TempDir(), "disk")
		if err := os.WriteFile(path, disk, 0o600); err != nil {
			t.Fatal(err)
		}
		file, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		parts := readTable(file, 512)
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 4<<20 {
			t.Errorf("%d bytes were allocated", n)
		}
		for number := range parts {
			if number < 1 || number > 1024 {
				t.Errorf("partition %d", number)
			}
		}
	})
}
