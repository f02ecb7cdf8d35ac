package boards

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/plimsoll-ota/plimsoll/cmd/internal/machine"
	"github.com/plimsoll-ota/plimsoll/udev/tell"
)

// A tiny is an artifact whose image is no system: it is for sticks that a board
// refuses.
type tiny struct {
	name, version, device string
	key                   string // "" is that of the workshop; "-" for none
}

// tiny makes it, and returns its path.
func (w *workshop) tiny(t *testing.T, a tiny) string {
	t.Helper()
	dir := t.TempDir()
	img, out := filepath.Join(dir, "image"), filepath.Join(dir, a.name+".mender")
	if err := os.WriteFile(img, []byte(strings.Repeat("not a system\n", 20<<10)), 0o644); err != nil {
		t.Fatal(err)
	}
	args := []string{"artifact", "write", "rootfs-image", "-f", img, "-n", a.name, "-c", a.device, "--compression", "none", "-o", out}
	if a.version != "" {
		args = append(args, "--update-version", a.version)
	} else {
		args = append(args, "--no-default-software-version")
	}
	switch a.key {
	case "":
		args = append(args, "-k", w.path("private.pem"))
	case "-":
	default:
		args = append(args, "-k", a.key)
	}
	if err := w.run(args...); err != nil {
		t.Fatal(err)
	}
	return out
}

// edited returns a copy of a file, changed.
func edited(t *testing.T, path string, edit func([]byte) []byte) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), filepath.Base(path))
	if err := os.WriteFile(out, edit(b), 0o644); err != nil {
		t.Fatal(err)
	}
	return out
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestSticks: sticks of all kinds, one after the other, in one board. Each ends in
// its state and its code, and has a report where it can have one; the device is
// as it was.
func TestSticks(t *testing.T) {
	w := withSystemd(t)
	b := newStickBoard(t, w)
	ours := func(name, version string) string {
		return w.tiny(t, tiny{name: name, version: version, device: systemdVirt.board})
	}
	other := filepath.Join(t.TempDir(), "other.pem")
	if err := w.run("key", "generate", "-o", other); err != nil {
		t.Fatal(err)
	}
	good := ours("next", "2.0.0")
	file := func(text string) string {
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	fifty := map[string]string{}
	for n := range few(10, 50) {
		name := fmt.Sprintf("for-%d", n)
		fifty["plimsoll/"+name+".mender"] = w.tiny(t, tiny{name: name, version: "2.0.0", device: fmt.Sprint("board-", n)})
	}
	fat := func(files map[string]string) usb { return usb{fs: "vfat", table: "dos", size: 64, files: files} }
	one := func(path string) usb { return fat(map[string]string{"release.mender": path}) }
	cases := []struct {
		name   string
		stick  usb
		spoil  func(img string) // of the image
		locked bool             // write-protected
		floor  string           // of the device
		state  tell.State
		code   tell.Code
		silent bool // no report
		began  bool // it is found out while it is installed: the other slot is lost, and nothing more
	}{
		{name: "another device type", stick: one(w.tiny(t, tiny{name: "next", version: "2.0.0", device: "toaster"})), state: tell.Nothing, code: tell.WrongType},
		{name: "unsigned", stick: one(w.tiny(t, tiny{name: "next", version: "2.0.0", device: systemdVirt.board, key: "-"})), state: tell.Failed, code: tell.Unsigned},
		{name: "another key", stick: one(w.tiny(t, tiny{name: "next", version: "2.0.0", device: systemdVirt.board, key: other})), state: tell.Failed, code: tell.Untrusted},
		{name: "tampered header", stick: one(edited(t, good, func(b []byte) []byte {
			return slices.Concat(b[:2600], []byte{b[2600] ^ 1}, b[2601:])
		})), state: tell.Failed, code: tell.Untrusted},
		{name: "truncated", stick: one(edited(t, good, func(b []byte) []byte { return b[:len(b)*2/3] })), state: tell.Failed, code: tell.Unfinished},
		{name: "zeros at its end", stick: one(edited(t, good, func(b []byte) []byte {
			clear(b[len(b)/2:])
			return b
		})), state: tell.Failed, code: tell.Unfinished, began: true},
		{name: "a download under way", stick: fat(map[string]string{"release.mender.crdownload": good}), state: tell.Failed, code: tell.Renamed},
		{name: "zipped", stick: one(file("PK\x03\x04" + strings.Repeat("zip", 1000))), state: tell.Failed, code: tell.Renamed},
		{name: "installed already", stick: one(ours("1.0.0", "1.0.0")), state: tell.UpToDate},
		{name: "older", stick: one(ours("old", "0.9")), state: tell.Nothing, code: tell.Older},
		{name: "no version", stick: one(ours("next", "")), state: tell.Failed, code: tell.Unversioned},
		{name: "a Mac's shadows", stick: fat(map[string]string{"._release.mender": file("shadow"), "plimsoll/._release.mender": file("shadow")}), state: tell.Nothing, code: tell.NoArtifact},
		{name: "an EFI partition first", stick: usb{fs: "vfat", table: "gpt", esp: true, size: 96, files: map[string]string{"release.mender": ours("old", "0.9")}}, state: tell.Nothing, code: tell.Older},
		{name: "NTFS", stick: usb{size: 64}, spoil: mkntfs(t), state: tell.Failed, code: tell.NTFS, silent: true},
		{name: "BitLocker", stick: usb{size: 64}, spoil: overwrite(t, 3, "-FVE-FS-"+strings.Repeat("\x00", 499)+"\x55\xaa"), state: tell.Failed, code: tell.Locked, silent: true},
		{name: "LUKS", stick: usb{size: 64}, spoil: overwrite(t, 0, "LUKS\xba\xbe\x00\x02"), state: tell.Failed, code: tell.Encrypted, silent: true},
		{name: "a corrupted FAT", stick: one(good), spoil: overwrite(t, 1<<20+32*512+12, strings.Repeat("\xf7\xff\xff\x0f", 4096)), state: tell.Failed, code: tell.CorruptFS, silent: true},
		{name: "empty", stick: usb{size: 64}, state: tell.Nothing, code: tell.NoArtifact, silent: true},
		{name: "photographs", stick: fat(map[string]string{"DCIM/1.jpg": file("jpeg")}), state: tell.Nothing, code: tell.NoArtifact, silent: true},
		{name: "artifacts for other types", stick: fat(fifty), state: tell.Nothing, code: tell.WrongType},
		{name: "ext4", stick: usb{fs: "ext4", table: "gpt", size: 64, files: map[string]string{"release.mender": ours("old", "0.9")}}, state: tell.Nothing, code: tell.Older, silent: true},
		{name: "no partition table", stick: usb{fs: "vfat", size: 64, files: map[string]string{"RELEASE.MENDER": ours("old", "0.9")}}, state: tell.Nothing, code: tell.Older},
		{name: "write-protected", stick: one(ours("old", "0.9")), locked: true, state: tell.Nothing, code: tell.Older, silent: true},
		{name: "full", stick: usb{fs: "vfat", table: "dos", size: 36, full: true, files: map[string]string{"release.mender": ours("old", "0.9")}}, state: tell.Nothing, code: tell.Older, silent: true},
		{name: "below the floor", stick: one(good), floor: "2.5.0", state: tell.Failed, code: tell.BelowFloor},
		{name: "only for others", stick: fat(map[string]string{"release.mender": good, "plimsoll/only-serials": file("SN-8\nSN-9\n")}), state: tell.Nothing, code: tell.NotListed},
	}
	b.change("data", map[string]string{"/old.mender": read(t, ours("old", "0.9"))})
	b.on()
	b.exfat()
	before := b.untouched()
	chosen := sampled(rand.New(rand.NewPCG(seed(t), 0)), len(cases), 7)
	for n, c := range cases {
		if !chosen[n] {
			continue
		}
		began := time.Now()
		img := c.stick.made(t)
		if c.spoil != nil {
			c.spoil(img)
		}
		if c.floor != "" {
			b.do("fw_setenv plimsoll_floor " + c.floor)
		}
		s := b.insert(machine.Disk{Path: img, ReadOnly: c.locked})
		b.says(tell.Looking, 0)
		b.says(c.state, c.code)
		b.pull(s)
		b.forgotten(c.name)
		if c.floor != "" {
			b.do("fw_setenv plimsoll_floor")
		}
		t.Logf("%s: %v", c.name, time.Since(began).Round(time.Second))
		switch after := b.untouched(); {
		case c.began:
			b.runs(stick1, "A", "H1")
			before = after
		case after != before:
			t.Errorf("%s: the device was\n%s\nand is\n%s", c.name, before, after)
		}
		if c.silent {
			continue
		}
		start := int64(1)
		switch {
		case c.stick.esp:
			start = 33
		case c.stick.table == "":
			start = 0
		}
		got := b.reports(img, start)
		if len(got) == 0 {
			t.Errorf("%s: no report", c.name)
			continue
		}
		last := got[len(got)-1]
		if last.Result != string(c.state) || last.Code != c.code.String() || last.Serial != "SN-7" || !last.Final {
			t.Errorf("%s: reported %+v, want %s %v", c.name, last, c.state, c.code)
		}
	}
}

// exfat: nobody here but the board's kernel can write to an exFAT, so the board
// prepares the stick, with /data/old.mender.
func (b *board) exfat() {
	b.Helper()
	img := usb{fs: "exfat", size: 64}.made(b.T)
	s := b.insert(machine.Disk{Path: img})
	b.says(tell.Nothing, tell.NoArtifact)
	b.pull(s)
	b.forgotten("an empty exFAT")
	s = b.insert(machine.Disk{Path: img})
	b.says(tell.Nothing, tell.NoArtifact)
	b.do("mount -t exfat /dev/sd? /mnt && mkdir /mnt/plimsoll && cp /data/old.mender /mnt/plimsoll && umount /mnt")
	b.pull(s)
	b.forgotten("an exFAT that was written to")
	s = b.insert(machine.Disk{Path: img})
	b.says(tell.Nothing, tell.Older)
	if out := b.do("mount -t exfat -o ro /dev/sd? /mnt && cat /mnt/plimsoll/reports/SN-7/*.json && umount /mnt"); !strings.Contains(out, tell.Older.String()) {
		b.Errorf("reported on an exFAT: %s", out)
	}
	b.pull(s)
	b.forgotten("an exFAT")
}

// mkntfs makes an NTFS of all of an image.
func mkntfs(t *testing.T) func(img string) {
	return func(img string) {
		t.Helper()
		if out, err := exec.Command("mkfs.ntfs", "-q", "-F", "-f", img).CombinedOutput(); err != nil {
			t.Fatalf("mkfs.ntfs: %v: %s", err, out)
		}
	}
}

// overwrite writes text into an image.
func overwrite(t *testing.T, at int64, text string) func(img string) {
	return func(img string) {
		t.Helper()
		f, err := os.OpenFile(img, os.O_WRONLY, 0)
		if err == nil {
			defer f.Close()
			_, err = f.WriteAt([]byte(text), at)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// untouched is what a stick that is refused leaves alone: the environment, both
// slots, and what is recorded of them.
func (b *board) untouched() string {
	b.Helper()
	return b.do("fw_printenv | sort | md5sum; cat /data/plimsoll/state.json 2>/dev/null; cmp -n 1048576 /dev/vda3 /dev/zero && echo empty")
}

// forgotten checks that a stick which was pulled out left nothing behind.
func (b *board) forgotten(name string) {
	b.Helper()
	const look = `n=0; while [ $n -lt 100 ] && systemctl is-active -q 'plimsoll-stick@*.service'; do usleep 200000; n=$((n+1)); done
systemctl list-units --all --no-legend 'plimsoll-stick@*'; grep -s stick /proc/*/mountinfo | grep -v autofs; ps | grep '[s]tick run'; ls -d /run/plimsoll/stick-* 2>/dev/null; true`
	if out := b.do(look); out != "" {
		b.Errorf("%s left behind:\n%s", name, out)
	}
}
