package partition

import (
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"

	"github.com/diskfs/go-diskfs/partition/gpt"
)

const (
	diskGUID = "01234567-89ab-cdef-0123-456789abcdef"
	partGUID = "fedcba98-7654-3210-fedc-ba9876543210"
)

// gptDisk is a small disk with one partition, number 3.
func gptDisk(t testing.TB) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "disk"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	const size = 256 << 10
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	table := &gpt.Table{
		LogicalSectorSize: 512, PhysicalSectorSize: 512, ProtectiveMBR: true, GUID: diskGUID,
		Partitions: []*gpt.Partition{{Index: 3, Start: 64, End: 127, Type: gpt.LinuxFilesystem, GUID: partGUID, Name: "b"}},
	}
	if err := table.Write(f, size); err != nil {
		t.Fatal(err)
	}
	return f
}

// patch overwrites bytes of the first GPT header and repairs its checksum.
func patch(t testing.TB, f *os.File, off int64, b []byte) {
	t.Helper()
	var h [92]byte
	if _, err := f.ReadAt(h[:], 512); err != nil {
		t.Fatal(err)
	}
	copy(h[off:], b)
	binary.LittleEndian.PutUint32(h[16:], 0)
	binary.LittleEndian.PutUint32(h[16:], crc32.ChecksumIEEE(h[:]))
	if _, err := f.WriteAt(h[:], 512); err != nil {
		t.Fatal(err)
	}
}

func TestParseTable(t *testing.T) {
	overwrite := func(off int64, b ...byte) func(*os.File) {
		return func(f *os.File) {
			if _, err := f.WriteAt(b, off); err != nil {
				t.Fatal(err)
			}
		}
	}
	mbr := func(f *os.File) {
		overwrite(512, make([]byte, 512)...)(f)
		overwrite(256<<10-512, make([]byte, 512)...)(f)
		overwrite(440, 0x0d, 0xf0, 0xad, 0x8b)(f)
	}
	for _, c := range []struct {
		name   string
		damage func(*os.File)
		id     string
		part   int
		uuid   string
	}{
		{"GPT", func(*os.File) {}, "gpt:" + diskGUID, 3, partGUID},
		{"GPT whose first header is gone", overwrite(512, make([]byte, 512)...), "gpt:" + diskGUID, 3, partGUID},
		{"GPT whose entries are damaged", overwrite(1024+128*2+20, 0xff), "gpt:" + diskGUID, 3, partGUID},
		{"GPT that wants gigabytes of entries", func(f *os.File) { patch(t, f, 80, []byte{0xff, 0xff, 0xff, 0x7f}) }, "", 3, ""},
		{"GPT with entries of no size", func(f *os.File) { patch(t, f, 84, []byte{0, 0, 0, 0}) }, "", 3, ""},
		{"MBR", mbr, "mbr:8badf00d", 2, "8badf00d-02"},
		{"MBR without a signature", func(f *os.File) { mbr(f); overwrite(440, 0, 0, 0, 0)(f) }, "", 2, ""},
		{"no table", func(f *os.File) { mbr(f); overwrite(510, 0, 0)(f) }, "", 1, ""},
		{"an empty disk", func(f *os.File) { _ = f.Truncate(0) }, "", 1, ""},
		{"a cut disk", func(f *os.File) { _ = f.Truncate(700) }, "", 3, ""},
	} {
		f := gptDisk(t)
		c.damage(f)
		got := parseTable(f, 512)
		if got.id != c.id || got.parts[c.part] != c.uuid {
			t.Errorf("%s: got %q, partition %d %q; want %q, %q", c.name, got.id, c.part, got.parts[c.part], c.id, c.uuid)
		}
	}
}

// FuzzParseTable changes what the header's checksum covers and repairs it, so
// that what lies behind the checksum is reached.
func FuzzParseTable(f *testing.F) {
	f.Add(uint8(80), []byte{0xff, 0xff, 0xff, 0xff})
	f.Add(uint8(72), []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f})
	f.Add(uint8(84), []byte{128, 0, 0, 0, 1, 2, 3, 4})
	f.Fuzz(func(t *testing.T, off uint8, b []byte) {
		disk := gptDisk(t)
		patch(t, disk, int64(off)%92, b)
		parseTable(disk, 512)
	})
}

func FuzzParseMount(f *testing.F) {
	f.Add(`36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`)
	f.Add(`20 1 0:40 / / rw - overlay overlay rw,lowerdir=/a\040b:/c\\:d::/data,upperdir=/up\`)
	f.Fuzz(func(t *testing.T, line string) {
		m, err := parseMount(line)
		if err != nil {
			return
		}
		m.layers()
		ms := mountTable{m, m}
		ms.holding(m.Point)
	})
}

func FuzzBootArgs(f *testing.F) {
	f.Add(`root="LABEL=root a" quiet -- x`)
	f.Fuzz(func(t *testing.T, line string) {
		for k, v := range bootArgs(line) {
			again := bootArgs(`"` + k + "=" + v + `"`)
			if got, ok := again[k]; !ok || got != v || len(again) != 1 {
				t.Errorf("%q: %q=%q, quoted, reads as %q", line, k, v, again)
			}
		}
	})
}

func TestBootArgs(t *testing.T) {
	got := bootArgs("a=1 b a=2 \"c=x y\" d=\"p q\" e=f=g\n -- a=3")
	for k, want := range map[string]string{"a": "2", "b": "", "c": "x y", "d": "p q", "e": "f=g"} {
		if v, ok := got[k]; !ok || v != want {
			t.Errorf("%s: got %q, %v; want %q", k, v, ok, want)
		}
	}
	if len(got) != 5 {
		t.Errorf("got %d arguments: %v", len(got), got)
	}
}

func TestLayers(t *testing.T) {
	for options, want := range map[string][2]string{
		`rw,lowerdir=/a:/b,upperdir=/u,workdir=/w`:    {"/a /b", "/u"},
		`rw,lowerdir=/a\134:x:/b`:                     {"/a:x /b", ""},
		`rw,lowerdir+=/a,lowerdir+=/b,datadir+=/d`:    {"/a /b /d", ""},
		`rw,lowerdir=/a::/data`:                       {"/a /data", ""},
		`rw,lowerdir=/with\040space,upperdir=/c\054d`: {"/with space", "/c,d"},
		`rw`: {"", ""},
	} {
		m, err := parseMount("20 1 0:40 / / rw - overlay overlay " + options)
		if err != nil {
			t.Fatal(err)
		}
		lower, upper := m.layers()
		got := ""
		for i, l := range lower {
			if i > 0 {
				got += " "
			}
			got += l
		}
		if got != want[0] || upper != want[1] {
			t.Errorf("%s: got %q, %q; want %q", options, got, upper, want)
		}
	}
}
