package boards

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/plimsoll-ota/plimsoll/artifact"
	"github.com/plimsoll-ota/plimsoll/cmd/internal/machine"
	"github.com/plimsoll-ota/plimsoll/signing"
	"github.com/plimsoll-ota/plimsoll/udev"
	"github.com/plimsoll-ota/plimsoll/udev/tell"
)

// The releases of boards that are updated from sticks: systemd is process 1, udev
// starts plimsoll by the rule and the unit of package udev.
var (
	stick1 = stickRelease("1.0.0")
	stick2 = stickRelease("2.0.0")
)

// coldplug has udev look at the buses too, as on any device: the controller of the
// sticks is found so.
const coldplug = "[Service]\nExecStart=\nExecStart=udevadm trigger --action=add --subsystem-match=block --subsystem-match=pci --subsystem-match=usb\n"

func stickRelease(name string, more ...map[string]string) release {
	r := release{name: name, units: true, files: map[string]string{
		"/etc/systemd/system/systemd-udev-trigger.service.d/guest.conf": coldplug,
		"/etc/plimsoll/plimsoll.toml":                                   stickConfig,
		"/etc/stick.conf":                                               "",
		"/etc/guest-hook":                                               stickHook,
	}}
	for _, u := range udev.Units() {
		r.files[path.Join("/etc", strings.TrimPrefix(u.Path, "/usr/lib"))] = string(u.Text)
	}
	for _, files := range more {
		maps.Copy(r.files, files)
	}
	return r
}

// stickConfig is the whole configuration of such a board.
const stickConfig = `device_type = "qemu-arm64"
state_dir = "/data/plimsoll"
[trust]
keys = ["/etc/plimsoll/keys/*.pem"]
[slots]
a = 2
b = 3
[bootloader]
board = "qemu-arm64"
counter = "script"
[health]
stable = "0s"
[stick]
serial = "SN-7"
console = ["/dev/console"]
hook = ["/bin/sh", "-c", "read -r up _ < /proc/uptime; echo $up $PLIMSOLL_STATE $PLIMSOLL_CODE >> /run/told"]
`

const stickHook = "[ ! -e /data/hook ] || . /data/hook\n"

// A usb is a stick that is made on this machine.
type usb struct {
	fs    string            // of mkfs: vfat, exfat, ext4; "" for none
	table string            // of partitions: dos, gpt; "" for none
	esp   bool              // its first partition is an EFI system partition
	files map[string]string // by name on the stick: the path of a file here
	size  int64             // of the stick, in MiB; 0 is 160
	full  bool              // nothing more fits on it
}

// made makes a stick, and returns its image.
func (u usb) made(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	img := filepath.Join(dir, "stick.img")
	if u.size == 0 {
		u.size = 160
	}
	sh := func(script string) {
		t.Helper()
		cmd := exec.Command("/bin/bash", "-euc", script)
		cmd.Env = append(os.Environ(), "IMG="+img)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", script, err, out)
		}
	}
	start := int64(0)
	sh(fmt.Sprintf("truncate -s %dM $IMG", u.size))
	switch {
	case u.table != "" && u.esp:
		start = 33
		sh(fmt.Sprintf("printf 'start=1MiB, size=32MiB, type=uefi\\nstart=%dMiB\\n' | sfdisk -q -X %s $IMG", start, u.table))
	case u.table != "":
		start = 1
		sh(fmt.Sprintf("echo 'start=1MiB' | sfdisk -q -X %s $IMG", u.table))
	}
	kib := (u.size - start - 1) << 10
	switch u.fs {
	case "vfat":
		sh(fmt.Sprintf("mkfs.vfat -F 32 -n STICK --offset %d $IMG %d >/dev/null", start<<11, kib))
		at := fmt.Sprintf("-i $IMG@@%dM", start)
		for name, file := range u.files {
			if d := path.Dir(name); d != "." {
				sh(fmt.Sprintf("mmd %s ::%s 2>/dev/null || true", at, d))
			}
			sh(fmt.Sprintf("mcopy -o %s %q ::%q", at, file, name))
		}
		if u.full {
			sh("n=0; for size in 1048576 65536 4096 512; do while head -c $size /dev/zero | mcopy " + at + " - ::f$n 2>/dev/null; do n=$((n+1)); done; mdel " + at + " ::f$n 2>/dev/null || true; done")
		}
	case "exfat":
		sh("mkfs.exfat -L STICK $IMG >/dev/null")
	case "ext4":
		tree := filepath.Join(dir, "tree")
		sh(fmt.Sprintf("mkdir %q", tree))
		for name, file := range u.files {
			sh(fmt.Sprintf("mkdir -p %q; cp %q %q", filepath.Join(tree, path.Dir(name)), file, filepath.Join(tree, name)))
		}
		sh(fmt.Sprintf("mke2fs -q -t ext4 -d %q -E offset=%d $IMG %dk", tree, start<<20, kib))
	}
	return img
}

// insert plugs a stick in.
func (b *board) insert(disk machine.Disk) *machine.Stick {
	b.Helper()
	s, err := b.m.Plug(b.Context(), disk)
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// pull pulls it out.
func (b *board) pull(s *machine.Stick) {
	b.Helper()
	if err := s.Unplug(b.Context()); err != nil {
		b.Fatal(err)
	}
}

// says waits until the board's console says what happens with a stick.
func (b *board) says(state tell.State, code tell.Code) string {
	b.Helper()
	text := "plimsoll: " + string(state)
	if code != 0 {
		text += ": " + code.String()
	}
	return b.patient(text, 6*time.Minute)
}

// told waits until the board, which is up, has told its hook: in which order that
// and the shell come at a boot is nobody's business.
func (b *board) told(state tell.State, code tell.Code) {
	b.Helper()
	line := strings.TrimSpace(string(state) + " " + code.String())
	b.do(fmt.Sprintf("n=0; until grep -q '%s *$' /run/told 2>/dev/null || [ $n = 900 ]; do usleep 100000; n=$((n+1)); done; grep -q '%s *$' /run/told || { cat /run/told; false; }", line, line))
}

// A reported is a report on a stick, as far as the tests look at it.
type reported struct {
	Sequence  int64  `json:"sequence"`
	Serial    string `json:"serial"`
	Result    string `json:"result"`
	Code      string `json:"code"`
	Detail    string `json:"detail"`
	Final     bool   `json:"final"`
	Revision  int    `json:"revision"`
	Tried     struct{ Name, Version string }
	Before    struct{ Name, Version string }
	After     struct{ Name, Version string }
	Health    *struct{ Healthy bool }
	LogSHA256 string `json:"log_sha256"`
}

// reports returns what is on a FAT stick that is not plugged in, as the program
// at the office reads it.
func (b *board) reports(img string, start int64) []reported {
	b.Helper()
	dir := b.TempDir()
	out, err := exec.Command("mcopy", "-s", "-n", "-i", fmt.Sprintf("%s@@%dM", img, start), "::plimsoll", dir).CombinedOutput()
	if err != nil {
		b.Fatalf("mcopy: %v: %s", err, out)
	}
	out, err = exec.Command(b.command, "--json", "stick", "reports", "--all", dir).Output()
	if err != nil && len(out) == 0 {
		b.Fatalf("plimsoll stick reports: %v", err)
	}
	var all []reported
	for line := range strings.Lines(string(out)) {
		var e reported
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			b.Fatalf("%v in %s", err, line)
		}
		if e.Sequence != 0 {
			all = append(all, e)
		}
	}
	return all
}

// factory returns the disk of a board with a release, which its state directory
// says: a signed artifact without payload.
func (w *workshop) factory(t *testing.T, r release) string {
	t.Helper()
	disk := w.path("factory-" + r.name + ".img")
	err := w.once(disk, func() error {
		copySparse(t, filepath.Join(w.built(t, systemdVirt, r), "disk.img"), disk)
		key, err := signing.LoadPrivateKey(w.path("private.pem"))
		if err != nil {
			return err
		}
		var says bytes.Buffer
		h := artifact.Header{Name: r.name, DeviceTypes: []string{systemdVirt.board}, Provides: map[string]string{"plimsoll.version": r.name}}
		if err := artifact.Create(&says, h, artifact.Options{TempDir: t.TempDir(), Signer: key}).Close(); err != nil {
			return err
		}
		b := &board{T: t, workshop: w, kind: systemdVirt, disk: disk}
		b.change("data", map[string]string{"/plimsoll/bootstrap.mender": says.String()})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return disk
}
