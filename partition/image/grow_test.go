package image

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/diskfs/go-diskfs/partition/gpt"
	"github.com/diskfs/go-diskfs/partition/mbr"

	"github.com/plimsoll-ota/plimsoll/partition"
)

// made keeps the disk of each kind of table: making one takes half a second.
var made = map[string]struct {
	disk  *Disk
	image []byte
}{}

// fresh is an image as it is after it was written to a medium larger by more.
func fresh(t *testing.T, table string, more int64) (*Disk, string) {
	t.Helper()
	needsAll(t)
	img := filepath.Join(t.TempDir(), "disk")
	m, ok := made[table]
	if !ok {
		m.disk = standard(t, table, 8*mib)
		if err := m.disk.Write(t.Context(), img); err != nil {
			t.Fatal(err)
		}
		m.image = read(t, img)
		made[table] = m
	}
	f, err := os.Create(img)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := (copier{dst: f}).write(m.image, 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(m.disk.Size + more); err != nil {
		t.Fatal(err)
	}
	return m.disk, img
}

// tables is the first and the last MiB of an image, where tables are.
func tables(t *testing.T, img string) []byte {
	t.Helper()
	f, err := os.Open(img)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 2*mib)
	if _, err := f.ReadAt(b[:mib], 0); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Seek(-mib, io.SeekEnd); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(f, b[mib:]); err != nil {
		t.Fatal(err)
	}
	return b
}

// kernel returns the end of partition 4 in bytes, as the kernel sees it: the
// first table alone counts, and everything else must be as it was.
func kernel(t *testing.T, d *Disk, f *os.File) int64 {
	t.Helper()
	var ends [4]int64
	var starts [4]int64
	if d.Table == GPT {
		table, err := gpt.Read(f, sector, sector)
		if err != nil || table.RecoveredFromBackup {
			t.Fatalf("the first GPT is not valid: %v", err)
		}
		for _, p := range table.Partitions {
			if p.Index <= 4 {
				starts[p.Index-1], ends[p.Index-1] = int64(p.Start)*sector, int64(p.End+1)*sector
			}
		}
	} else {
		table, err := mbr.Read(f, sector, sector)
		if err != nil {
			t.Fatal(err)
		}
		for i, p := range table.Partitions {
			starts[i], ends[i] = int64(p.Start)*sector, int64(p.Start+p.Size)*sector
		}
	}
	for i, p := range d.Partitions {
		if starts[i] != p.Start || i < 3 && ends[i] != p.end() {
			t.Fatalf("partition %d is from %d to %d", i+1, starts[i], ends[i])
		}
	}
	return ends[3]
}

func TestGrowFile(t *testing.T) {
	for _, table := range []string{MBR, GPT} {
		d, img := fresh(t, table, 64*mib+12345*sector)
		was := d.Partitions[3].Size
		g, err := Grow(img, partition.Host{})
		if err != nil || !g.Changed || g.Partition != 4 || g.Was != was || g.Is <= was+62*mib || g.Is > was+71*mib {
			t.Errorf("%s: got %+v, %v", table, g, err)
		}
		if out := say(t, "sfdisk", "--verify", img); !strings.Contains(out, "No errors detected") {
			t.Errorf("%s: %s", table, out)
		}
		if out := say(t, "sfdisk", "-l", img); strings.Contains(out, "not") || strings.Contains(out, "mismatch") {
			t.Errorf("%s: %s", table, out)
		}
		before := tables(t, img)
		g, err = Grow(img, partition.Host{})
		if err != nil || g.Changed || g.Was != g.Is {
			t.Errorf("%s, a second time: got %+v, %v", table, g, err)
		}
		if !bytes.Equal(before, tables(t, img)) {
			t.Errorf("%s: the second time changed something", table)
		}
	}
}

// An image whose medium is no larger gains nothing, and is not written.
func TestGrowNothing(t *testing.T) {
	for _, table := range []string{MBR, GPT} {
		d, img := fresh(t, table, 0)
		if table == MBR { // which needs nothing behind its last partition
			if err := os.Truncate(img, d.Partitions[3].end()); err != nil {
				t.Fatal(err)
			}
		}
		before := tables(t, img)
		g, err := Grow(img, partition.Host{})
		if err != nil || g.Changed {
			t.Errorf("%s: got %+v, %v", table, g, err)
		}
		if !bytes.Equal(before, tables(t, img)) {
			t.Errorf("%s: it was written to", table)
		}
	}
}

// A put is sectors that were written, and were on the medium before the next.
type put struct {
	off int64
	b   []byte
}

// A cut after any sector of any write: the table that the kernel sees is the
// old or the new one, and the next call finishes what was begun.
func TestGrowCut(t *testing.T) {
	for _, table := range []string{MBR, GPT} {
		d, img := fresh(t, table, 64*mib)
		old := d.Partitions[3].end()
		f, err := os.OpenFile(img, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		var puts []put
		record := func(b []byte, off int64) (int, error) {
			was := make([]byte, len(b))
			if _, err := f.ReadAt(was, off); err != nil {
				return 0, err
			}
			puts = append(puts, put{off, was}) // to take it back
			return f.WriteAt(b, off)
		}
		if err := (&Growth{Disk: img}).on(&growing{f: f, write: record}, partition.Host{}); err != nil {
			t.Fatal(err)
		}
		grown := kernel(t, d, f)
		done := make([]put, len(puts)) // what each wrote, and to begin with take all back
		for i := len(puts) - 1; i >= 0; i-- {
			done[i] = put{puts[i].off, make([]byte, len(puts[i].b))}
			f.ReadAt(done[i].b, done[i].off)
			f.WriteAt(puts[i].b, puts[i].off)
		}
		if kernel(t, d, f) != old {
			t.Fatal("it was not taken back")
		}
		cuts := 0
		for i, p := range done {
			for n := 0; n <= len(p.b); n += sector {
				f.WriteAt(p.b[:n], p.off)
				if got := kernel(t, d, f); got != old && got != grown {
					t.Errorf("%s: cut in write %d after %d bytes: partition 4 ends at %d", table, i, n, got)
				}
				cuts++
				if n == sector || n == len(p.b) {
					finish(t, d, img, grown)
				}
			}
		}
		t.Logf("%s: %d writes, %d cuts", table, len(done), cuts)
	}
}

// finish calls Grow on a copy of what a cut left.
func finish(t *testing.T, d *Disk, img string, want int64) {
	t.Helper()
	dir := t.TempDir()
	src, err := os.Open(img)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	dst, err := os.Create(filepath.Join(dir, "disk"))
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Close()
	if err := Copy(t.Context(), dst, src); err != nil {
		t.Fatal(err)
	}
	if _, err := Grow(dst.Name(), partition.Host{}); err != nil {
		t.Errorf("after a cut: %v", err)
		return
	}
	if got := kernel(t, d, dst); got != want {
		t.Errorf("after a cut and another call: partition 4 ends at %d, want %d", got, want)
	}
	if g, err := Grow(dst.Name(), partition.Host{}); err != nil || g.Changed {
		t.Errorf("after that: %+v, %v", g, err)
	}
	if out := say(t, "sfdisk", "--verify", dst.Name()); !strings.Contains(out, "No errors detected") {
		t.Errorf("after a cut and another call: %s", out)
	}
}

// What is not understood is refused, and not written.
func TestGrowRefuses(t *testing.T) {
	at := func(off int, v ...byte) func([]byte) { return func(b []byte) { copy(b[off:], v) } }
	entry := func(n int) int { return 446 + 16*(n-1) }
	gptEntry := func(n int) int { return 1024 + 128*(n-1) }
	seal := func(b []byte) {
		binary.LittleEndian.PutUint32(b[512+88:], crcOf(b[1024:1024+16384]))
		binary.LittleEndian.PutUint32(b[512+16:], headerSum(b[512:1024]))
	}
	for _, c := range []struct {
		name, table string
		change      func([]byte)
		says        string
	}{
		{"no table", MBR, at(510, 0), "no partition table"},
		{"an empty table", MBR, func(b []byte) { clear(b[446:510]) }, "no partitions"},
		{"an extended partition", MBR, at(entry(2)+4, 0x05), "extended"},
		{"a last partition of another kind", MBR, at(entry(4)+4, 0x82), "none of Linux"},
		{"overlapping partitions", MBR, func(b []byte) { b[entry(3)+13] = 0xff }, "overlap"},
		{"a partition behind it", MBR, func(b []byte) {
			copy(b[entry(1):], []byte{0, 0, 0, 0, 0x83, 0, 0, 0, 0, 0x10, 0x04, 0, 0, 1, 0, 0})
		}, "no ext4"},
		{"a partition behind the end", MBR, func(b []byte) {
			copy(b[entry(1):], []byte{0, 0, 0, 0, 0x83, 0, 0, 0, 0, 0, 0x40, 0, 0, 1, 0, 0})
		}, "partition 1 ends at"},
		{"another label", MBR, nil, `label "home"`},
		{"no ext4", GPT, nil, "no ext4"},
		{"a hybrid MBR", GPT, at(entry(2), 0, 0, 0, 0, 0x83, 0, 0, 0, 1, 0, 0, 0, 1), "protective MBR"},
		{"a damaged header", GPT, at(512+60, 0xff), "first GPT is damaged"},
		{"damaged entries", GPT, at(gptEntry(1)+20, 0xff), "entries of the first GPT are damaged"},
		{"a GPT of another kind", GPT, func(b []byte) { b[512+80] = 64; seal(b) }, "64 entries"},
		{"a last partition of another kind in a GPT", GPT, func(b []byte) { b[gptEntry(4)] ^= 1; seal(b) }, "none of Linux"},
		{"a bootloader where the entries would go", GPT, func(b []byte) {
			for lba := 34; lba < 2048; lba += 16 {
				b[lba*512] = 1
			}
		}, "free sectors"},
	} {
		d, img := fresh(t, c.table, 32*mib)
		f, err := os.OpenFile(img, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		front := make([]byte, mib)
		f.ReadAt(front, 0)
		super := d.Partitions[3].Start + 1024
		switch {
		case c.change != nil:
			c.change(front)
			f.WriteAt(front, 0)
		case strings.Contains(c.name, "label"):
			f.WriteAt([]byte("home"), super+0x78)
		default:
			f.WriteAt([]byte{0}, super+0x38)
		}
		f.Close()
		before := tables(t, img)
		g, err := Grow(img, partition.Host{})
		if !errors.Is(err, ErrLayout) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %+v, %v; want %q", c.name, g, err, c.says)
		}
		if !bytes.Equal(before, tables(t, img)) {
			t.Errorf("%s: it was written to", c.name)
		}
	}
	if _, err := Grow(filepath.Join(t.TempDir(), "none"), partition.Host{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no disk: got %v", err)
	}
}

// A medium that fails, at each write: an error, and a table that is valid.
func TestGrowFails(t *testing.T) {
	for _, table := range []string{MBR, GPT} {
		for n := 0; ; n++ {
			d, img := fresh(t, table, 32*mib)
			f, err := os.OpenFile(img, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			writes := 0
			fails := func(b []byte, off int64) (int, error) {
				if writes++; writes > n {
					return 0, syscall.EIO
				}
				return f.WriteAt(b, off)
			}
			err = (&Growth{Disk: img}).on(&growing{f: f, write: fails}, partition.Host{})
			kernel(t, d, f)
			f.Close()
			if err == nil {
				if n == 0 {
					t.Errorf("%s: nothing was written", table)
				}
				break
			}
			if !errors.Is(err, syscall.EIO) {
				t.Errorf("%s, write %d: got %v", table, n, err)
			}
		}
	}
}

// A loop device with partitions, of which the last is mounted.
func TestGrowMounted(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("loop devices need root")
	}
	for _, table := range []string{MBR, GPT} {
		d, img := fresh(t, table, 100*mib)
		out, err := exec.Command("losetup", "-f", "--show", img).CombinedOutput()
		if err != nil {
			t.Skipf("losetup: %s", out)
		}
		disk := strings.TrimSpace(string(out))
		t.Cleanup(func() { exec.Command("losetup", "-d", disk).Run() })
		say(t, "partx", "-u", disk)
		t.Cleanup(func() { exec.Command("partx", "-d", disk).Run() })
		data, point := disk+"p4", t.TempDir()

		// Not mounted: the partition grows, and the file system has to wait.
		g, err := Grow(disk, partition.Host{})
		if !errors.Is(err, ErrNotMounted) || !g.Changed {
			t.Errorf("%s, not mounted: got %+v, %v", table, g, err)
		}
		if n := strings.TrimSpace(say(t, "blockdev", "--getsize64", data)); n != fmt.Sprint(g.Is) || g.Is < d.Partitions[3].Size+99*mib {
			t.Errorf("%s: the kernel has %s bytes, want %d", table, n, g.Is)
		}
		say(t, "mount", data, point)
		write(t, filepath.Join(point, "plimsoll"), []byte("state"))
		g, err = Grow(disk, partition.Host{})
		if errors.Is(err, syscall.EPERM) {
			t.Logf("%s: the file system was not resized: this system withholds CAP_SYS_RESOURCE", table)
		} else if err != nil || !g.Changed || g.FileSystem != g.Is {
			t.Errorf("%s, mounted: got %+v, %v", table, g, err)
		} else if g, err = Grow(disk, partition.Host{}); err != nil || g.Changed {
			t.Errorf("%s, once more: got %+v, %v", table, g, err)
		}
		if string(read(t, filepath.Join(point, "plimsoll"))) != "state" {
			t.Errorf("%s: the file is another", table)
		}
		say(t, "umount", point)
		say(t, "e2fsck", "-fn", data)
		say(t, "partx", "-d", disk)
		say(t, "losetup", "-d", disk)
		if out := say(t, "sfdisk", "--verify", img); !strings.Contains(out, "No errors detected") {
			t.Errorf("%s: %s", table, out)
		}
	}
}

func crcOf(b []byte) uint32 { return crc32.ChecksumIEEE(b) }
