package board

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"time"
)

// ScriptImage wraps the source of a script as U-Boot's legacy image, which is
// what its source command takes: a header of 64 bytes with two checksums
// (include/image.h of U-Boot, struct legacy_img_hdr), a list of one length, and
// the source. name is cut to 32 bytes; t is in whole seconds, and zero is 1970.
func ScriptImage(source, name, arch string, t time.Time) []byte {
	const (
		magic    = 0x27051956
		osLinux  = 5
		script   = 6
		archARM  = 2
		archARM6 = 22 // 64 bit
	)
	var data bytes.Buffer
	binary.Write(&data, binary.BigEndian, []uint32{uint32(len(source)), 0}) // a list of lengths that ends with 0
	data.WriteString(source)

	var seconds uint32
	if !t.IsZero() {
		seconds = uint32(t.Unix())
	}
	header := struct {
		Magic, HeaderSum, Time, Size, Load, Entry, DataSum uint32
		OS, Arch, Type, Compression                        byte
		Name                                               [32]byte
	}{
		Magic: magic, Time: seconds, Size: uint32(data.Len()), DataSum: crc32.ChecksumIEEE(data.Bytes()),
		OS: osLinux, Arch: archARM6, Type: script,
	}
	if arch == "arm" {
		header.Arch = archARM
	}
	copy(header.Name[:], name)
	encode := func() []byte {
		var b bytes.Buffer
		binary.Write(&b, binary.BigEndian, header) // a buffer takes everything
		return b.Bytes()
	}
	header.HeaderSum = crc32.ChecksumIEEE(encode())
	return append(encode(), data.Bytes()...)
}
