package bootloader

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const testSize = 0x400

// board is what a board's environment holds before anything happens to it: what
// the vectors hold, too.
func board() Env {
	return Env{
		"altbootcmd": "run mender_altbootcmd; run bootcmd",
		"bootcmd":    `run mender_setup; bootm ${kernel_addr_r} - "${fdt}"`,
		"bootcount":  "0", "bootlimit": "1",
		"mender_boot_part": "2", "mender_boot_part_hex": "2",
		"mender_check_saveenv_canary": "1", "mender_saveenv_canary": "1",
		"upgrade_available": "0",
	}
}

// with returns board with some variables changed: name, value, name, value …
func with(e Env, pairs ...string) Env {
	for i := 0; i < len(pairs); i += 2 {
		if e[pairs[i]] = pairs[i+1]; pairs[i+1] == "" {
			delete(e, pairs[i])
		}
	}
	return e
}

func vector(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("../testdata/env", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func encode(t testing.TB, e Env, redundant bool, flags byte) []byte {
	t.Helper()
	b, err := e.Encode(testSize, redundant, flags)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// sealed gives data a header with the right checksum.
func sealed(redundant bool, flags byte, data string) []byte {
	b := make([]byte, 4, 5+len(data))
	if redundant {
		b = append(b, flags)
	}
	binary.LittleEndian.PutUint32(b, crc32.ChecksumIEEE([]byte(data)))
	return append(b, data...)
}

func TestVectors(t *testing.T) {
	trial := with(board(), "mender_boot_part", "3", "upgrade_available", "1", "bootlimit", "")
	for _, v := range []struct {
		name      string
		from, to  int
		redundant bool
		flags     byte
		want      Env
	}{
		{"mkenvimage-single.bin", 0, 0x400, false, 0, board()},
		{"mkenvimage-redundant.bin", 0, 0x400, true, 1, board()},
		{"mkenvimage-zero-padding.bin", 0, 0x400, true, 1, board()},
		{"mkenvimage-twice.bin", 0, 0x400, true, 1, Env{"b": "3"}},
		{"mkenvimage-full.bin", 0, 0x400, true, 1, Env{"fill": strings.Repeat("x", 0x400-12)}},
		{"mkenvimage-flags.bin", 0, 0x400, true, 1, Env{
			".flags": "mender_boot_part:dw,upgrade_available:dw", "plimsoll_future": "kept = as it is",
			"mender_boot_part": "2", "upgrade_available": "0"}},
		{"fw_setenv-single.bin", 0, 0x400, false, 0, with(board(), "mender_boot_part", "3")},
		{"fw_setenv-pair-first.bin", 0, 0x400, true, 1, board()},
		{"fw_setenv-pair-first.bin", 0x400, 0x800, true, 2, with(board(), "mender_boot_part", "3")},
		{"fw_setenv-pair-batch.bin", 0, 0x400, true, 3, trial},
		{"fw_setenv-pair-wrapped.bin", 0, 0x400, true, 0, with(board(), "mender_boot_part", "3", "bootcount", "1")},
		{"fw_setenv-pair-wrapped.bin", 0x400, 0x800, true, 255, with(board(), "mender_boot_part", "3")},
	} {
		t.Run(fmt.Sprint(v.name, " at ", v.from), func(t *testing.T) {
			raw := vector(t, v.name)[v.from:v.to]
			e, flags, err := ParseEnv(raw, v.redundant)
			if err != nil || flags != v.flags {
				t.Errorf("flags %d, %v; want %d", flags, err, v.flags)
			}
			if d := cmp.Diff(v.want, e); d != "" {
				t.Error(d)
			}
			if _, _, err := ParseEnv(raw, !v.redundant); !errors.Is(err, ErrChecksum) {
				t.Errorf("the other geometry: %v, want %v", err, ErrChecksum)
			}
		})
	}
	for _, redundant := range []bool{false, true} {
		if _, _, err := ParseEnv(vector(t, "mkenvimage-bigendian.bin"), redundant); !errors.Is(err, ErrChecksum) {
			t.Errorf("the other byte order: %v, want %v", err, ErrChecksum)
		}
	}
}

// Sorted and zero-filled, what we write is what U-Boot's tool writes.
func TestEncodeIsMkenvimage(t *testing.T) {
	got := encode(t, board(), true, 1)
	if d := cmp.Diff(vector(t, "mkenvimage-zero-padding.bin"), got); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(vector(t, "mkenvimage-full.bin"), encode(t, Env{"fill": strings.Repeat("x", 0x400-12)}, true, 1)); d != "" {
		t.Error(d)
	}
}

func TestParseEnvData(t *testing.T) {
	for _, v := range []struct {
		name, data string
		want       Env // nil: an error that is not ErrChecksum
	}{
		{"no variable", "\x00\x00\x00", Env{}},
		{"rubbish behind the end", "a=1\x00\x00b=2\x00\x00", Env{"a": "1"}},
		{"the end is the end of the block", "a=1\x00bb=2\x00", Env{"a": "1", "bb": "2"}},
		{"equal signs in the value", "a=b=c=\x00\x00", Env{"a": "b=c="}},
		{"empty value", "a=\x00b=1\x00\x00", Env{"b": "1"}},
		{"no equal sign", "junk\x00b=1\x00\x00", Env{"b": "1"}},
		{"no name", "=junk\x00b=1\x00\x00", Env{"b": "1"}},
		{"twice: the last counts", "a=1\x00a=2\x00\x00", Env{"a": "2"}},
		{"twice: then removed", "a=1\x00a=\x00\x00", Env{}},
		{"twice: then removed without an equal sign", "a=1\x00a\x00\x00", Env{}},
		{"bytes, not text", "a=\xff\n\x01\x00\x00", Env{"a": "\xff\n\x01"}},
		{"the last one has no end", "a=1\x00bbb=2", nil},
	} {
		for _, redundant := range []bool{false, true} {
			e, flags, err := ParseEnv(sealed(redundant, 9, v.data), redundant)
			if redundant && err == nil && flags != 9 {
				t.Errorf("%s: flags %d, want 9", v.name, flags)
			}
			if (err == nil) != (v.want != nil) || errors.Is(err, ErrChecksum) {
				t.Errorf("%s: %v", v.name, err)
			}
			if d := cmp.Diff(v.want, e); d != "" {
				t.Errorf("%s: %s", v.name, d)
			}
		}
	}
	for n := range minSize {
		if _, _, err := ParseEnv(make([]byte, n), true); err == nil || errors.Is(err, ErrChecksum) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

// The checksum covers the padding, and not the flags.
func TestChecksumCovers(t *testing.T) {
	good := vector(t, "mkenvimage-redundant.bin")
	for i := range good {
		b := append([]byte(nil), good...)
		b[i] ^= 0x10
		_, _, err := ParseEnv(b, true)
		if isFlags := i == 4; isFlags != (err == nil) {
			t.Errorf("byte %d changed: %v", i, err)
		}
	}
}

func TestEncodeRefuses(t *testing.T) {
	for _, v := range []struct {
		name string
		e    Env
		size int
		want error
	}{
		{"an equal sign in a name", Env{"a=b": "1"}, testSize, nil},
		{"a NUL in a name", Env{"a\x00": "1"}, testSize, nil},
		{"a NUL in a value", Env{"a": "1\x00b=2"}, testSize, nil},
		{"no name", Env{"": "1"}, testSize, nil},
		{"no room at all", Env{}, minSize - 1, nil},
		{"a byte too many", Env{"a": strings.Repeat("x", testSize-5-2-1-1+1)}, testSize, ErrTooLarge},
		{"far too many", Env{"a": strings.Repeat("x", 5*testSize)}, testSize, ErrTooLarge},
	} {
		b, err := v.e.Encode(v.size, true, 0)
		if err == nil || b != nil || v.want != nil && !errors.Is(err, v.want) {
			t.Errorf("%s: %d bytes, %v", v.name, len(b), err)
		}
	}
	if b := encode(t, Env{"a": "", "b": "1"}, true, 0); !strings.HasPrefix(string(b[5:]), "b=1\x00\x00") {
		t.Errorf("an empty variable is stored: %q", b[5:12])
	}
}

func TestNewer(t *testing.T) {
	for _, v := range []struct {
		a, b byte
		want bool // the second is current
	}{
		{5, 6, true}, {6, 5, false}, {255, 0, true}, {0, 255, false}, {7, 7, false},
		{0, 0, false}, {255, 255, false}, {254, 255, true}, {255, 254, false}, {0, 1, true}, {1, 255, true}, {254, 0, false},
	} {
		if got := newer(v.a, v.b); got != v.want {
			t.Errorf("flags %d and %d: second is current: %v, want %v", v.a, v.b, got, v.want)
		}
	}
}
