package install_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// This file is the judge of the fault tests: what a board's U-Boot would do
// with the bytes that are on the medium, by its rules and Mender's convention,
// and nothing of the code under test.

// A uboot is a redundant environment as U-Boot finds it: two copies in a row.
type uboot struct {
	raw     []byte
	current int // 0 or 1; -1 if neither copy is valid
	vars    map[string]string
}

// readUBoot picks the current copy: the only valid one; of two the one with
// the larger flags, 0 being larger than 255, and the first if they are equal.
func readUBoot(raw []byte) *uboot {
	u := &uboot{raw: bytes.Clone(raw), current: -1}
	var valid [2]bool
	for i := range valid {
		c := u.copy(i)
		valid[i] = crc32.ChecksumIEEE(c[5:]) == binary.LittleEndian.Uint32(c)
	}
	f0, f1 := u.copy(0)[4], u.copy(1)[4]
	switch {
	case valid[0] && valid[1]:
		u.current = 0
		if f0 == 255 && f1 == 0 || f1 > f0 && !(f0 == 0 && f1 == 255) {
			u.current = 1
		}
	case valid[0]:
		u.current = 0
	case valid[1]:
		u.current = 1
	default:
		return u
	}
	u.vars = map[string]string{}
	for line := range strings.SplitSeq(string(u.copy(u.current)[5:]), "\x00") {
		if line == "" {
			break
		}
		k, v, _ := strings.Cut(line, "=")
		u.vars[k] = v
	}
	return u
}

func (u *uboot) copy(i int) []byte {
	n := len(u.raw) / 2
	return u.raw[i*n : (i+1)*n]
}

// save is saveenv: all variables to the copy that is not current.
func (u *uboot) save() {
	var flags byte
	if u.current >= 0 {
		flags = u.copy(u.current)[4] + 1
	}
	next := 1 - max(u.current, 0)
	c := u.copy(next)
	clear(c)
	at := 5
	for _, k := range slices.Sorted(maps.Keys(u.vars)) {
		at += copy(c[at:], k+"="+u.vars[k]+"\x00")
	}
	c[4] = flags
	binary.LittleEndian.PutUint32(c, crc32.ChecksumIEEE(c[5:]))
	u.current = next
}

// part is the partition that the environment names, in both of its forms.
func (u *uboot) part(t *testing.T) int {
	t.Helper()
	n, err := strconv.Atoi(u.vars["mender_boot_part"])
	if err != nil {
		t.Fatalf("mender_boot_part is %q", u.vars["mender_boot_part"])
	}
	if hex := strconv.FormatInt(int64(n), 16); u.vars["mender_boot_part_hex"] != hex {
		t.Fatalf("mender_boot_part_hex is %q, want %s", u.vars["mender_boot_part_hex"], hex)
	}
	return n
}

func (u *uboot) onTrial() bool { return u.vars["upgrade_available"] == "1" }

// boot is one boot that never reaches a verdict: while upgrade_available is 1
// the count rises; above bootlimit altbootcmd flips the slots and ends the
// trial. It returns the partition that boots.
func (u *uboot) boot(t *testing.T) int {
	t.Helper()
	if !u.onTrial() {
		return u.part(t)
	}
	count, err1 := strconv.Atoi(u.vars["bootcount"])
	limit, err2 := strconv.Atoi(u.vars["bootlimit"])
	if err1 != nil || err2 != nil || limit == 0 {
		t.Fatalf("on trial with bootcount %q and bootlimit %q: it would never fall back", u.vars["bootcount"], u.vars["bootlimit"])
	}
	count++
	u.vars["bootcount"] = strconv.Itoa(count)
	u.save()
	if count > limit {
		back := partA + partB - u.part(t)
		u.vars["mender_boot_part"], u.vars["mender_boot_part_hex"] = strconv.Itoa(back), fmt.Sprintf("%x", back)
		u.vars["upgrade_available"] = "0"
		u.save()
	}
	return u.part(t)
}
