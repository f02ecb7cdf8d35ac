package machine

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// A logBuilder makes what QEMU's blklogwrites writes.
type logBuilder struct {
	entries []byte
	n       uint64
	sector  int
}

func (l *logBuilder) add(sector, sectors, flags, extra uint64, data []byte) {
	e := make([]byte, l.sector)
	for i, v := range []uint64{sector, sectors, flags, extra} {
		binary.LittleEndian.PutUint64(e[8*i:], v)
	}
	l.entries = append(append(l.entries, e...), data...)
	l.n++
}

func (l *logBuilder) bytes() []byte {
	super := make([]byte, l.sector)
	binary.LittleEndian.PutUint64(super, logMagic)
	binary.LittleEndian.PutUint64(super[8:], 1)
	binary.LittleEndian.PutUint64(super[16:], l.n)
	binary.LittleEndian.PutUint32(super[24:], uint32(l.sector))
	return append(super, l.entries...)
}

func exampleLog(sector int) []byte {
	l := &logBuilder{sector: sector}
	l.add(1, 2, 0, 0, bytes.Repeat([]byte{'a'}, 2*sector))
	l.add(0, 0, logFlush, 0, nil)
	l.add(0, 0, logMark, 5, append([]byte("hello"), make([]byte, sector-5)...))
	l.add(2, 1, logFUA, 0, bytes.Repeat([]byte{'b'}, sector))
	l.add(0, 4, logDiscard, 0, nil)
	l.add(3, 1, logFlush|logFUA, 0, bytes.Repeat([]byte{'c'}, sector))
	return l.bytes()
}

func TestReadLog(t *testing.T) {
	for _, sector := range []int{512, 4096} {
		log := exampleLog(sector)
		writes, err := ReadLog(bytes.NewReader(log))
		if err != nil {
			t.Fatal(err)
		}
		s := int64(sector)
		want := []Write{
			{Offset: s, Size: 2 * s},
			{Flush: true},
			{Offset: 2 * s, Size: s, FUA: true},
			{Size: 4 * s, Discard: true},
			{Offset: 3 * s, Size: s, Flush: true, FUA: true},
		}
		if len(writes) != len(want) {
			t.Fatalf("got %d writes, want %d", len(writes), len(want))
		}
		disk, err := os.Create(filepath.Join(t.TempDir(), "disk"))
		if err != nil {
			t.Fatal(err)
		}
		defer disk.Close()
		for i, w := range writes {
			if err := w.Apply(disk); err != nil {
				t.Fatal(err)
			}
			if w.log, w.at = nil, 0; w != want[i] {
				t.Errorf("write %d: got %+v, want %+v", i, w, want[i])
			}
		}
		got, err := os.ReadFile(disk.Name())
		parts := []string{"\x00", "a", "b", "c"}
		for i, part := range parts {
			if err != nil || !bytes.Equal(got[i*sector:(i+1)*sector], bytes.Repeat([]byte(part), sector)) {
				t.Errorf("sector %d of %d bytes: got %q…, %v; want %q", i, sector, got[i*sector], err, part)
			}
		}
	}
}

func TestReadLogDamaged(t *testing.T) {
	log := exampleLog(512)
	for n := range len(log) {
		writes, err := ReadLog(bytes.NewReader(log[:n]))
		if err == nil {
			_, err = writes[len(writes)-1].Data() // its place is known, and not there
		}
		if !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
			t.Fatalf("cut after %d bytes of %d: got %v, want an unexpected end", n, len(log), err)
		}
	}
	for _, at := range []int{0, 8, 24} {
		bad := bytes.Clone(log)
		bad[at]++
		if _, err := ReadLog(bytes.NewReader(bad)); err == nil {
			t.Errorf("byte %d changed: no error", at)
		}
	}
}

func FuzzReadLog(f *testing.F) {
	f.Add(exampleLog(512))
	f.Fuzz(func(t *testing.T, log []byte) {
		writes, err := ReadLog(bytes.NewReader(log))
		if err != nil {
			return
		}
		for _, w := range writes {
			if w.Offset < 0 || w.Size < 0 {
				t.Fatalf("a write at %d of %d bytes", w.Offset, w.Size)
			}
			if w.Size < int64(len(log)) {
				w.Data()
			}
		}
	})
}
