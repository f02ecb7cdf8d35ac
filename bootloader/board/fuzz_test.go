package board

import (
	"testing"
	"testing/fstest"
)

// FuzzProfile: a profile that is accepted has what a disk is made of.
func FuzzProfile(f *testing.F) {
	for _, name := range Names() {
		b, err := builtin.ReadFile("boards/" + name + ".toml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte("[disk]\ntable = \"gpt\"\nalign = 0\nlinux = \"/dev/a\"\n[[partition]]\nname = \"boot\"\nsize = 1\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := read(fstest.MapFS{"x.toml": {Data: b}}, "x.toml")
		if err != nil {
			return
		}
		if p.DeviceType == "" || p.Number("a") == 0 || p.Number("b") == 0 || p.Number("a") == p.Number("b") || p.Disk.Align <= 0 {
			t.Errorf("accepted, and it is %+v", p)
		}
	})
}
