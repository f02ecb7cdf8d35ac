package boards

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/plimsoll-ota/plimsoll/cmd/internal/machine"
)

// seed returns the seed of a sample, and says how to have it again.
func seed(t *testing.T) uint64 {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("PLIMSOLL_SEED"); s != "" {
		if _, err := fmt.Sscan(s, &seed); err != nil {
			t.Fatalf("PLIMSOLL_SEED: %v", err)
		}
	}
	t.Logf("PLIMSOLL_SEED=%d", seed)
	return seed
}

// sampled returns which of n cases are run: all in a soak, else a few.
func sampled(random *rand.Rand, n, few int) map[int]bool {
	if soak() {
		few = n
	}
	which := map[int]bool{}
	for _, i := range random.Perm(n)[:min(few, n)] {
		which[i] = true
	}
	return which
}

// A some runs a few of its cases, chosen by a seed, and in a soak all.
type some struct {
	t      *testing.T
	chosen map[int]bool
	next   int
	all    int
}

func newSome(t *testing.T, all, few int) *some {
	t.Helper()
	return &some{t: t, chosen: sampled(rand.New(rand.NewPCG(seed(t), 0)), all, few), all: all}
}

func (s *some) run(name string, body func(*testing.T)) {
	if s.chosen[s.next] {
		s.t.Run(name, body)
	}
	s.next++
}

// done makes sure that there were as many as were chosen among.
func (s *some) done() {
	s.t.Helper()
	if s.next != s.all {
		s.t.Errorf("%d cases, chosen among %d", s.next, s.all)
	}
}

// A recording is all that was written to a board's disk during one run, so that
// the disk can be had as it was after each write.
type recording struct {
	*workshop
	base     string // the disk as it was when the board was switched on
	payload  string // the other disk, with the artifacts
	log      *os.File
	writes   []machine.Write
	parts    [4]span // the disk's partitions
	began    int     // the writes of the boot before the installation
	duration time.Duration
}

// A span is a range of bytes of a disk.
type span struct{ from, to int64 }

func (s span) has(w machine.Write) bool { return w.Offset >= s.from && w.Offset+w.Size <= s.to }

// recordUpdate records an installation of release 2.0.0 on a board that runs
// 1.0.0, its trial and its commit.
func recordUpdate(t *testing.T, prepare func(disk *os.File)) *recording {
	t.Helper()
	b := newBoard(t, virt, v1, v2)
	b.config.Disks[1].ReadOnly = true
	r := b.record(prepare)
	b.on()
	b.do("sync")
	writes := r.read(t)
	r.began = len(writes)
	began := time.Now()
	b.install(v2)
	b.restart()
	if code := b.expect(machine.Resumed); code != "0" {
		t.Fatalf("resume: exit %s", code)
	}
	r.duration = time.Since(began)
	b.up()
	b.runs(v2, "B", "A1")
	b.do("sync")
	b.cut()
	r.end(t, b.disk)
	return r
}

// record prepares the disk of a board that is off, and lets all that is written
// from now on be recorded.
func (b *board) record(prepare func(disk *os.File)) *recording {
	b.Helper()
	r := &recording{workshop: b.workshop, base: filepath.Join(b.TempDir(), "base.img"), payload: b.config.Disks[len(b.config.Disks)-1].Path}
	disk, err := os.OpenFile(b.disk, os.O_RDWR, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer disk.Close()
	r.parts = partitions(b.T, disk)
	prepare(disk)
	copySparse(b.T, b.disk, r.base)
	path := filepath.Join(b.TempDir(), "writes")
	b.config.Disks[0].WriteLog = path
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		b.Fatal(err)
	}
	if r.log, err = os.Open(path); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { r.log.Close() })
	return r
}

func (r *recording) read(t *testing.T) []machine.Write {
	t.Helper()
	if size(t, r.log.Name()) == 0 { // it begins with the first write
		return nil
	}
	writes, err := machine.ReadLog(r.log)
	if err != nil {
		t.Fatal(err)
	}
	return writes
}

// end reads the recording of a board that is off. Applied to what its disk was
// it must be what its disk is.
func (r *recording) end(t *testing.T, disk string) {
	t.Helper()
	r.writes = r.read(t)
	again := r.disk(t, cut{before: len(r.writes)})
	same(t, again, span{0, size(t, disk)}, disk, "the recording, applied,")
}

// partitions reads the GPT of a disk.
func partitions(t *testing.T, disk io.ReaderAt) (parts [4]span) {
	t.Helper()
	table := make([]byte, 4*128)
	if _, err := disk.ReadAt(table, 1024); err != nil {
		t.Fatal(err)
	}
	for i := range parts {
		e := table[128*i:]
		first, last := binary.LittleEndian.Uint64(e[32:]), binary.LittleEndian.Uint64(e[40:])
		parts[i] = span{int64(first) << 9, int64(last+1) << 9}
	}
	return parts
}

// Where a write lands.
const (
	flush = "flush"
	slotA = "slot A"
	slotB = "slot B"
	data  = "data"
	env0  = "environment 0"
	env1  = "environment 1"
)

// place returns where a write lands: "" if nothing is to be written there.
func (r *recording) place(w machine.Write) string {
	switch {
	case w.Size == 0:
		return flush
	case r.parts[1].has(w):
		return slotA
	case r.parts[2].has(w):
		return slotB
	case r.parts[3].has(w):
		return data
	}
	for i, name := range []string{env0, env1} {
		if (span{copies[i], copies[i] + copySize}).has(w) {
			return name
		}
	}
	return ""
}

// saves returns the writes that land on the environment.
func (r *recording) saves() (at []int) {
	for i, w := range r.writes {
		if p := r.place(w); p == env0 || p == env1 {
			at = append(at, i)
		}
	}
	return at
}

// in returns the writes after the boot that land in a place.
func (r *recording) in(place string) (at []int) {
	for i := r.began; i < len(r.writes); i++ {
		if r.place(r.writes[i]) == place {
			at = append(at, i)
		}
	}
	return at
}

// phase returns the first write that brings the record to a phase.
func (r *recording) phase(t *testing.T, name string) int {
	t.Helper()
	for _, i := range r.in(data) {
		if bytes.Contains(r.data(t, i), []byte(`"phase": "`+name+`"`)) {
			return i
		}
	}
	t.Fatalf("the record never said %q", name)
	return 0
}

func (r *recording) data(t *testing.T, i int) []byte {
	t.Helper()
	b, err := r.writes[i].Data()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A cut is what is on a disk when the power is cut: all writes before one, then
// some in any order, and at last a part of one.
type cut struct {
	before     int
	then       []int
	next, torn int // so many bytes of that one
}

func (c cut) String() string {
	return fmt.Sprintf("those before %d, then %v, then %d bytes of %d", c.before, c.then, c.torn, c.next)
}

// disk returns the path of a disk as it was at a cut.
func (r *recording) disk(t *testing.T, c cut) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk.img")
	copySparse(t, r.base, path)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for i := range c.before {
		if err := r.writes[i].Apply(f); err != nil {
			t.Fatal(err)
		}
	}
	for _, i := range c.then {
		if err := r.writes[i].Apply(f); err != nil {
			t.Fatal(err)
		}
	}
	if c.torn > 0 {
		if _, err := f.WriteAt(r.data(t, c.next)[:c.torn], r.writes[c.next].Offset); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// pair returns the environment as it was after n writes.
func (r *recording) pair(t *testing.T, n int) pair {
	t.Helper()
	p := pairIn(t, r.base)
	for i, w := range r.writes[:n] {
		switch r.place(w) {
		case env0:
			copy(p[0][w.Offset-copies[0]:], r.data(t, i))
		case env1:
			copy(p[1][w.Offset-copies[1]:], r.data(t, i))
		}
	}
	return p
}

// window returns the writes around the nth that no flush divides.
func (r *recording) window(n int) (from, to int) {
	for from = n; from > 0 && !r.writes[from-1].Flush; from-- {
	}
	for to = n; to < len(r.writes) && !r.writes[to].Flush; to++ {
	}
	return from, to
}

func size(t *testing.T, path string) int64 {
	t.Helper()
	fi, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return fi.Size()
}

// same fails unless a range of a disk is what a file holds.
func same(t *testing.T, disk string, at span, file, what string) {
	t.Helper()
	d, err1 := os.Open(disk)
	f, err2 := os.Open(file)
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	defer d.Close()
	defer f.Close()
	have, want := make([]byte, 1<<20), make([]byte, 1<<20)
	for from := at.from; from < at.to; from += int64(len(have)) {
		n := min(int64(len(have)), at.to-from)
		if _, err := d.ReadAt(have[:n], from); err != nil {
			t.Fatal(err)
		}
		if _, err := f.ReadAt(want[:n], from-at.from); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(have[:n], want[:n]) {
			t.Fatalf("%s is not what %s holds, in the MiB at %#x", what, filepath.Base(file), from-at.from)
		}
	}
}
