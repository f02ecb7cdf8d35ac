package files

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"
)

// A fat is a FAT file system of 12, 16 or 32 bits.
type fat struct {
	f    *os.File
	off  int64
	bits int

	cluster  int64 // bytes of one
	clusters int64 // that there are; they count from 2
	table    int64 // where the first table begins; all offsets are in f
	root     int64 // where the root folder of 12 and 16 bits begins
	rootSize int64
	first    int64 // cluster of the root folder of 32 bits
	data     int64 // where cluster 2 begins
}

// readBoot reads the first sector; nil if it is not one of a FAT.
func readBoot(r io.ReaderAt, off, size int64) []byte {
	b := make([]byte, 512)
	if size < 512 {
		return nil
	}
	if n, _ := r.ReadAt(b, off); n < len(b) || b[510] != 0x55 || b[511] != 0xaa {
		return nil
	}
	sector, per, reserved := binary.LittleEndian.Uint16(b[11:]), b[13], binary.LittleEndian.Uint16(b[14:])
	switch {
	case b[0] != 0xeb && b[0] != 0xe9, sector < 512 || sector > 4096 || sector&(sector-1) != 0:
		return nil
	case per == 0 || per&(per-1) != 0, reserved == 0, b[16] == 0 || b[16] > 2, b[21] < 0xf0:
		return nil
	case binary.LittleEndian.Uint16(b[22:]) == 0 && binary.LittleEndian.Uint32(b[36:]) == 0:
		return nil
	}
	return b
}

func isFAT(r io.ReaderAt, off, size int64) bool { return readBoot(r, off, size) != nil }

func openFAT(f *os.File, off, size int64) (*fat, error) {
	b := readBoot(f, off, size)
	u16 := func(at int) int64 { return int64(binary.LittleEndian.Uint16(b[at:])) }
	u32 := func(at int) int64 { return int64(binary.LittleEndian.Uint32(b[at:])) }
	or := func(a, b int64) int64 {
		if a != 0 {
			return a
		}
		return b
	}
	sector, length, all := u16(11), or(u16(22), u32(36)), or(u16(19), u32(32))
	d := &fat{f: f, off: off, cluster: sector * int64(b[13]), table: off + u16(14)*sector, rootSize: (u16(17)*32 + sector - 1) / sector * sector}
	d.root = d.table + int64(b[16])*length*sector
	d.data = d.root + d.rootSize
	d.clusters = (all*sector - (d.data - off)) / d.cluster
	if all*sector > size || d.clusters <= 0 {
		return nil, fmt.Errorf("a FAT of %d bytes in room for %d, it was cut short: %w", all*sector, size, ErrUnclean)
	}
	switch {
	case d.clusters < 4085:
		d.bits = 12
	case d.clusters < 65525:
		d.bits = 16
	default:
		d.bits, d.first = 32, u32(44)
	}
	if u16(22) == 0 { // what only 32 bits have, however few clusters there are
		d.bits, d.first = 32, u32(44)
	}
	if (d.clusters+2)*int64(d.bits) > length*sector*8 {
		return nil, fmt.Errorf("its table has no room for %d clusters: %w", d.clusters, ErrUnclean)
	}
	return d, nil
}

// next returns the cluster that follows; 0 after the last.
func (d *fat) next(n int64) (int64, error) {
	var b [4]byte
	at := n * int64(d.bits) / 8
	if _, err := d.f.ReadAt(b[:(d.bits+15)/16*2], d.table+at); err != nil {
		return 0, err
	}
	v := int64(binary.LittleEndian.Uint32(b[:]))
	switch d.bits {
	case 12:
		if n%2 == 1 {
			v >>= 4
		}
		v &= 0xfff
	case 32:
		v &= 0xfffffff
	}
	if end := int64(1)<<min(d.bits, 28) - 8; v >= end {
		return 0, nil
	}
	return v, nil
}

// chain calls f with the offset of each cluster from n on, of at most limit bytes.
func (d *fat) chain(n, limit int64, f func(at int64) error) error {
	for done := int64(0); n != 0 && done < limit; done += d.cluster {
		if n < 2 || n >= d.clusters+2 {
			return fmt.Errorf("%w: a chain leads to cluster %d of %d", ErrUnclean, n, d.clusters)
		}
		if err := f(d.data + (n-2)*d.cluster); err != nil {
			return err
		}
		var err error
		if n, err = d.next(n); err != nil {
			return err
		}
	}
	return nil
}

func (d *fat) read(ctx context.Context, file Info, w io.Writer) error {
	left := file.Size
	if left == 0 {
		return nil
	}
	return d.chain(file.node, left, func(at int64) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n, err := io.Copy(w, io.NewSectionReader(d.f, at, min(left, d.cluster)))
		left -= n
		return err
	})
}

// maxFolder is what a folder may have: 65,536 entries.
const maxFolder = 65536 * 32

func (d *fat) list(_ context.Context, dir Info) ([]Info, error) {
	var b []byte
	room := func(at, n int64) error {
		part := make([]byte, n)
		_, err := io.ReadFull(io.NewSectionReader(d.f, at, n), part)
		b = append(b, part...)
		return err
	}
	var err error
	switch n := dir.node; {
	case n == 0 && d.bits != 32:
		err = room(d.root, d.rootSize)
	case n == 0:
		n = d.first
		fallthrough
	default:
		err = d.chain(n, maxFolder, func(at int64) error { return room(at, d.cluster) })
	}
	if err != nil {
		return nil, err
	}
	return entries(dir.Path, b), nil
}

// stat goes down from the root. FAT does not tell a from A.
func (d *fat) stat(ctx context.Context, name string) (Info, error) {
	i := Info{Path: "/", Mode: fs.ModeDir | 0o755}
	for _, want := range strings.FieldsFunc(name, func(r rune) bool { return r == '/' }) {
		if !i.Mode.IsDir() {
			return Info{}, fs.ErrNotExist
		}
		all, err := d.list(ctx, i)
		if err != nil {
			return Info{}, err
		}
		found := false
		for _, j := range all {
			if found = strings.EqualFold(path.Base(j.Path), want); found {
				i = j
				break
			}
		}
		if !found {
			return Info{}, fs.ErrNotExist
		}
	}
	return i, nil
}

// last is the latest time in the root folder: a FAT has none of its own.
func (d *fat) last() time.Time {
	t := time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)
	all, err := d.list(context.Background(), Info{Path: "/"})
	if err != nil {
		return t // whoever reads it next is told
	}
	for _, i := range all {
		if i.ModTime.After(t) {
			t = i.ModTime
		}
	}
	return t
}

// check finds nothing: mtools leaves a file system whole or says what is wrong,
// and what was put was read back.
func (d *fat) check(context.Context) error { return nil }
