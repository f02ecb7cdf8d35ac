package machine

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"maps"
	"strings"
	"testing"
)

const fakeUBoot = "code\x00and=not quite\x00\x00words\x00arch=arm\x00bootcmd=run distro_bootcmd\x00bootdelay=2\x00ethaddr=\x00\x00more\x00x=y\x00"

func TestEnvironment(t *testing.T) {
	b, err := environment([]byte(fakeUBoot), map[string]string{"bootdelay": "-2", "arch": "", "new": "a=b"})
	if err != nil {
		t.Fatal(err)
	}
	if len(b) != environmentSize || binary.LittleEndian.Uint32(b) != crc32.ChecksumIEEE(b[4:]) {
		t.Errorf("%d bytes with checksum %x, want %d with %x", len(b), b[:4], environmentSize, crc32.ChecksumIEEE(b[4:]))
	}
	const want = "bootcmd=run distro_bootcmd\x00bootdelay=-2\x00new=a=b\x00\x00"
	if !bytes.HasPrefix(b[4:], []byte(want)) || len(bytes.Trim(b[4:], "\x00")) > len(want) {
		t.Errorf("got %q, want %q", b[4:][:len(want)+8], want)
	}
}

func TestDefaults(t *testing.T) {
	got, err := defaults([]byte(fakeUBoot))
	want := map[string]string{"arch": "arm", "bootcmd": "run distro_bootcmd", "bootdelay": "2", "ethaddr": ""}
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
	if _, err := defaults([]byte("no U-Boot")); err == nil {
		t.Error("an environment was found where none is")
	}
	if _, err := environment([]byte(fakeUBoot), map[string]string{"large": strings.Repeat("x", environmentSize)}); err == nil {
		t.Error("an environment that does not fit is no error")
	}
}
