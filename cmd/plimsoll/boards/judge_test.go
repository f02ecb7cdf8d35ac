package boards

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// This file is a judge of the boot environment: what U-Boot and a boot script
// that follows the convention make of the bytes on a disk. It has its own
// reading of the rules and shares no code with package bootloader.

// A pair is both copies of an environment, as they are on the medium.
type pair [2][]byte

func pairOf(t *testing.T, disk io.ReaderAt) pair {
	t.Helper()
	var p pair
	for i := range p {
		p[i] = make([]byte, copySize)
		if _, err := disk.ReadAt(p[i], copies[i]); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func pairIn(t *testing.T, path string) pair {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return pairOf(t, f)
}

// A finding is what the rules make of a pair.
type finding struct {
	copy  int // that counts; -1 if neither is valid
	valid int // how many are
	flags byte
	vars  map[string]string
}

// judge picks the only valid copy; of two the one with the larger flags, 0
// being larger than 255, and the first if they are equal.
func judge(p pair) finding {
	f := finding{copy: -1}
	var good [2]bool
	for i, c := range p {
		if good[i] = crc32.ChecksumIEEE(c[5:]) == binary.LittleEndian.Uint32(c); good[i] {
			f.copy, f.valid = i, f.valid+1
		}
	}
	if a, b := p[0][4], p[1][4]; f.valid == 2 {
		f.copy = 0
		if wrapped := a == 0 && b == 255; a == 255 && b == 0 || b > a && !wrapped {
			f.copy = 1
		}
	}
	if f.copy < 0 {
		return f
	}
	f.flags, f.vars = p[f.copy][4], map[string]string{}
	for line := range strings.SplitSeq(string(p[f.copy][5:]), "\x00") {
		if line == "" {
			break
		}
		name, value, _ := strings.Cut(line, "=")
		f.vars[name] = value
	}
	return f
}

// boots is what a boot script does with a finding: the slot that it starts, and
// the variables as they are after its save.
func (f finding) boots() (slot string, vars map[string]string) {
	slot, vars = "A", maps.Clone(f.vars)
	if vars["mender_boot_part"] == "3" {
		slot = "B"
	}
	if vars["upgrade_available"] != "1" {
		return slot, vars
	}
	count, _ := strconv.Atoi(vars["bootcount"])
	limit, _ := strconv.Atoi(vars["bootlimit"])
	if count++; count <= max(limit, 1) {
		vars["bootcount"] = strconv.Itoa(count)
		return slot, vars
	}
	slot = map[string]string{"A": "B", "B": "A"}[slot]
	part := map[string]string{"A": "2", "B": "3"}[slot]
	maps.Copy(vars, map[string]string{
		"mender_boot_part": part, "mender_boot_part_hex": part, "upgrade_available": "0", "bootcount": "0",
	})
	return slot, vars
}

// encode returns a copy with these variables; its padding is noise, if there is
// any: it may be anything.
func encode(vars map[string]string, flags byte, noise *rand.Rand) []byte {
	var b bytes.Buffer
	b.Write([]byte{0, 0, 0, 0, flags})
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		b.WriteString(name + "=" + vars[name] + "\x00")
	}
	b.WriteByte(0)
	for b.Len() < copySize {
		if noise == nil {
			b.WriteByte(0)
		} else {
			b.WriteByte(byte(noise.Uint32()))
		}
	}
	binary.LittleEndian.PutUint32(b.Bytes(), crc32.ChecksumIEEE(b.Bytes()[5:copySize]))
	return b.Bytes()[:copySize]
}

// put writes a pair to a disk.
func (p pair) put(t *testing.T, disk io.WriterAt) {
	t.Helper()
	for i, c := range p {
		if _, err := disk.WriteAt(c, copies[i]); err != nil {
			t.Fatal(err)
		}
	}
}

// TestJudge: the judge's own rules, on copies of its own.
func TestJudge(t *testing.T) {
	a, b := map[string]string{"who": "a"}, map[string]string{"who": "b"}
	for _, c := range []struct {
		a, b byte
		want int
	}{{1, 1, 0}, {2, 1, 0}, {1, 2, 1}, {255, 0, 1}, {0, 255, 0}, {254, 255, 1}, {0, 254, 1}, {1, 255, 1}, {255, 1, 0}} {
		p := pair{encode(a, c.a, nil), encode(b, c.b, rand.New(rand.NewPCG(1, 1)))}
		if f := judge(p); f.copy != c.want || f.valid != 2 || f.vars["who"] != string('a'+rune(c.want)) {
			t.Errorf("flags %d and %d: %+v, want copy %d", c.a, c.b, f, c.want)
		}
		for i := range p {
			torn := pair{p[0], p[1]}
			torn[i] = slices.Concat(p[i][:4096], make([]byte, copySize-4096))
			torn[i][copySize-1] = 1
			if f := judge(torn); f.copy != 1-i || f.valid != 1 {
				t.Errorf("flags %d and %d, copy %d torn: %+v", c.a, c.b, i, f)
			}
		}
		p[0], p[1] = make([]byte, copySize), bytes.Repeat([]byte{0xff}, copySize)
		if f := judge(p); f.copy != -1 || f.valid != 0 {
			t.Errorf("erased and blank: %+v", f)
		}
	}
}
