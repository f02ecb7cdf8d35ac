package bootloader

import (
	"maps"
	"strings"
	"testing"
)

// The fuzzer works beneath the checksum. What parses encodes, where it still
// fits, and parses again to the same.
func FuzzParseEnv(f *testing.F) {
	f.Add([]byte("a=1\x00b=2\x00\x00\xff\xff"), true, byte(7))
	f.Add([]byte("a=1\x00a=\x00junk\x00=x\x00\x00"), false, byte(0))
	f.Add([]byte("a=1\x00bbb=2"), true, byte(255))
	f.Add(vector(f, "mkenvimage-flags.bin")[5:], true, byte(1))
	f.Fuzz(func(t *testing.T, data []byte, redundant bool, flags byte) {
		b := sealed(redundant, flags, string(data))
		e, got, err := ParseEnv(b, redundant)
		if err != nil {
			return
		}
		if redundant && got != flags {
			t.Fatalf("flags %d, want %d", got, flags)
		}
		for name, value := range e {
			if name == "" || value == "" || strings.Contains(name, "=") {
				t.Fatalf("%q=%q", name, value)
			}
		}
		// One byte more: a list may end at the last byte, without an empty string.
		again, err := e.Encode(len(b)+1, redundant, flags)
		if err != nil {
			t.Fatal(err)
		}
		second, got, err := ParseEnv(again, redundant)
		if err != nil || !maps.Equal(e, second) || redundant && got != flags {
			t.Fatalf("%v: %q became %q", err, e, second)
		}
	})
}

func FuzzConfig(f *testing.F) {
	for _, text := range goodConfigs {
		f.Add(text.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		copies, err := parseConfig(text)
		if err != nil {
			if copies != nil {
				t.Fatal("copies and an error")
			}
			return
		}
		if len(copies) < 1 || len(copies) > 2 {
			t.Fatalf("%d copies", len(copies))
		}
		for _, l := range copies {
			if l.Path == "" || l.Size < minSize || l.Size > maxSize || l.SectorSize < 0 || l.Sectors < 0 {
				t.Fatalf("%+v", l)
			}
		}
	})
}
