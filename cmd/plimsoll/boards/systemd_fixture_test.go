package boards

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/plimsoll-ota/plimsoll/cmd/internal/machine"
)

// The releases of a board on which systemd is process 1. It starts plimsoll by
// the units of packaging/systemd and nothing else.
var (
	systemd1 = release{name: "1.0.0", units: true, files: map[string]string{identity: ofDevice}}
	systemd2 = release{name: "2.0.0", units: true, files: map[string]string{identity: "of the release\n"}}
)

var systemdVirt = kind{board: "qemu-arm64", args: []string{"--slot-size", "112MiB", "--data-size", "32MiB"}, patience: 6 * time.Minute}

// slotAt is where the slots of systemdVirt begin, and its data partition, in bytes.
var slotAt = map[string]int64{"A": 64 << 20, "B": (64 + 112) << 20, "data": (64 + 224) << 20}

// withSystemd returns the workshop with what guests with systemd need.
func withSystemd(t *testing.T) *workshop {
	t.Helper()
	w := workshopOf(t)
	err := w.once("systemd", func() (err error) {
		if w.systemd, err = machine.FetchSystemd(t.Context()); err != nil {
			return err
		}
		if w.units, err = enabled("../../../packaging/systemd"); err != nil {
			return err
		}
		w.units[etcUnits+"plimsoll-resume.service.d/at-once.conf"] = machine.File{Data: []byte("[Service]\nExecStartPre=/bin/sh /etc/guest-hook\n")}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

const etcUnits = "/etc/systemd/system/"

var wantedBy = regexp.MustCompile(`(?m)^WantedBy=(.*)$`)

// enabled returns the files of units, and the links by which systemctl enable
// has them started.
func enabled(dir string) (map[string]machine.File, error) {
	units, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	files := map[string]machine.File{}
	for _, unit := range units {
		text, err := os.ReadFile(filepath.Join(dir, unit.Name()))
		if err != nil {
			return nil, err
		}
		files[etcUnits+unit.Name()] = machine.File{Data: text}
		for _, m := range wantedBy.FindAllStringSubmatch(string(text), -1) {
			for target := range strings.FieldsSeq(m[1]) {
				link := etcUnits + target + ".wants/" + unit.Name()
				files[link] = machine.File{Data: []byte("../" + unit.Name()), Mode: fs.ModeSymlink}
			}
		}
	}
	return files, nil
}

// newSystemd returns a board with a copy of a disk.
func newSystemd(t *testing.T, w *workshop, disk string) *board {
	t.Helper()
	t.Parallel()
	b := &board{T: t, workshop: w, kind: systemdVirt, disk: filepath.Join(t.TempDir(), "disk.img")}
	copySparse(t, disk, b.disk)
	b.config = machine.Config{Disks: []machine.Disk{{Path: b.disk}}, Watchdog: true}
	return b
}

// change replaces files of a slot of a board that is off: what an image has
// wrong. It stands for another release, which would take a minute to install.
func (b *board) change(slot string, sets ...map[string]string) {
	b.Helper()
	files := map[string]string{}
	for _, set := range sets {
		maps.Copy(files, set)
	}
	dir := b.TempDir()
	var script strings.Builder
	for n, name := range slices.Sorted(maps.Keys(files)) {
		from := filepath.Join(dir, fmt.Sprint(n))
		if err := os.WriteFile(from, []byte(files[name]), 0o644); err != nil {
			b.Fatal(err)
		}
		fmt.Fprintf(&script, "mkdir %s\nrm %s\nwrite %s %s\n", path.Dir(name), name, from, name)
	}
	commands := filepath.Join(dir, "commands")
	if err := os.WriteFile(commands, []byte(script.String()), 0o644); err != nil {
		b.Fatal(err)
	}
	out, err := exec.Command("debugfs", "-w", "-f", commands, fmt.Sprintf("%s?offset=%d", b.disk, slotAt[slot])).CombinedOutput()
	if err != nil || strings.Count(string(out), "Allocated inode") != len(files) {
		b.Fatalf("debugfs: %v: %s", err, out)
	}
}
