package udev

import (
	"embed"
	"io/fs"
)

//go:embed units
var units embed.FS

// A Unit is a file that starts plimsoll for a stick.
type Unit struct {
	Path string // where it is installed
	Text []byte
}

// unitPaths are where the files belong.
var unitPaths = []struct{ name, path string }{
	{"60-plimsoll-stick.rules", "/usr/lib/udev/rules.d/60-plimsoll-stick.rules"},
	{"plimsoll-stick@.service", "/usr/lib/systemd/system/plimsoll-stick@.service"},
	{"plimsoll.conf", "/usr/lib/tmpfiles.d/plimsoll.conf"},
}

// Units returns the rule, the unit and the tmpfiles entry.
func Units() []Unit {
	var all []Unit
	for _, u := range unitPaths {
		text, err := fs.ReadFile(units, "units/"+u.name)
		if err != nil {
			panic("udev: " + err.Error()) // it is in the program
		}
		all = append(all, Unit{Path: u.path, Text: text})
	}
	return all
}
