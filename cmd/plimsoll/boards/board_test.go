package boards

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/plimsoll-ota/plimsoll/bootloader"
	profile "github.com/plimsoll-ota/plimsoll/bootloader/board"
	"github.com/plimsoll-ota/plimsoll/cmd/internal/machine"
)

// A board is one device: its disk, and the machine when it is switched on.
type board struct {
	*testing.T
	*workshop
	kind   kind
	config machine.Config
	disk   string
	m      *machine.Machine
	boots  int
}

// newBoard returns a board that runs release 1.0.0 and has the artifacts of the
// other releases in a folder, /mnt.
func newBoard(t *testing.T, k kind, first release, others ...release) *board {
	t.Helper()
	t.Parallel()
	w := workshopOf(t)
	b := &board{T: t, workshop: w, kind: k, disk: filepath.Join(t.TempDir(), "disk.img")}
	copySparse(t, filepath.Join(w.built(t, k, first), "disk.img"), b.disk)
	b.config = machine.Config{Disks: []machine.Disk{{Path: b.disk}}, Watchdog: true}
	if len(others) > 0 {
		b.config.Disks = append(b.config.Disks, machine.Disk{Path: b.payload(others...)})
	}
	return b
}

// payload makes a disk that holds artifacts.
func (b *board) payload(others ...release) string {
	b.Helper()
	dir, image := b.TempDir(), filepath.Join(b.TempDir(), "payload.img")
	for _, r := range others {
		if err := os.Symlink(b.artifact(b.T, b.kind, r), filepath.Join(dir, r.name+".mender")); err != nil {
			b.Fatal(err)
		}
	}
	tree := filepath.Join(b.TempDir(), "tree")
	if out, err := exec.Command("cp", "-rL", dir, tree).CombinedOutput(); err != nil {
		b.Fatalf("cp: %v: %s", err, out)
	}
	if out, err := exec.Command("mke2fs", "-q", "-t", "ext4", "-d", tree, image, fmt.Sprintf("%dM", 16+48*len(others))).CombinedOutput(); err != nil {
		b.Fatalf("mke2fs: %v: %s", err, out)
	}
	return image
}

// on switches the board on and waits until it is up.
func (b *board) on() {
	b.Helper()
	b.power()
	b.up()
}

// power switches the board on.
func (b *board) power() {
	b.Helper()
	b.boots++
	log, err := os.Create(filepath.Join(b.TempDir(), fmt.Sprintf("console-%d", b.boots)))
	if err != nil {
		b.Fatal(err)
	}
	b.config.Log = log
	m, err := b.debian.Start(b.Context(), b.config)
	if err != nil {
		b.Fatal(err)
	}
	b.m = m
	b.Cleanup(func() { m.Cut(); log.Close() })
}

// up waits for the shell.
func (b *board) up() {
	b.Helper()
	b.expect(machine.Ready)
	if len(b.config.Disks) > 1 {
		b.do("mount -t ext4 -o ro /dev/vdb /mnt")
	}
}

// cut cuts the power.
func (b *board) cut() { b.m.Cut() }

// waits returns for how long this kind of board is waited for.
func (b *board) waits() (context.Context, context.CancelFunc) {
	if b.kind.patience == 0 {
		return b.Context(), func() {}
	}
	return context.WithTimeout(b.Context(), b.kind.patience)
}

func (b *board) expect(pattern string) string {
	b.Helper()
	ctx, cancel := b.waits()
	defer cancel()
	met, err := b.m.Expect(ctx, pattern)
	if err != nil {
		b.Fatal(err)
	}
	return met
}

// run runs a command on the board.
func (b *board) run(command string) (out string, code int) {
	b.Helper()
	ctx, cancel := b.waits()
	defer cancel()
	out, code, err := b.m.Run(ctx, command)
	if err != nil {
		b.Fatal(err)
	}
	return out, code
}

// do runs a command that must succeed.
func (b *board) do(command string) string {
	b.Helper()
	return b.exits(0, command)
}

// exits runs a command that must end with a code.
func (b *board) exits(want int, command string) string {
	b.Helper()
	out, code := b.run(command)
	if code != want {
		b.Fatalf("%s: exit %d, want %d:\n%s%s", command, code, want, out, b.journal())
	}
	return out
}

// journal returns what a board with systemd says of its units, for a failure.
func (b *board) journal() string {
	ctx, cancel := b.waits()
	defer cancel()
	out, _, err := b.m.Run(ctx, `if [ -d /run/systemd/system ]; then
systemctl --failed; systemctl list-jobs; cat /proc/self/mountinfo; journalctl -b -n 60
fi`)
	if err != nil {
		return "\nno journal: " + err.Error()
	}
	return "\n" + out
}

// install installs a release on the running board.
func (b *board) install(r release, flags ...string) {
	b.Helper()
	b.do(strings.Join(append([]string{"plimsoll --quiet install"}, append(flags, "/mnt/"+r.name+".mender")...), " "))
}

// reboot reboots the board and waits until it is up.
func (b *board) reboot() {
	b.Helper()
	b.restart()
	b.up()
}

// restart begins a reboot. The path keeps the shell from running its own.
func (b *board) restart() {
	b.Helper()
	if err := b.m.Send("/sbin/reboot"); err != nil {
		b.Fatal(err)
	}
	b.expect(machine.Banner)
}

// A status is what plimsoll status prints.
type status struct {
	Row      string `json:"row"`
	Meaning  string `json:"meaning"`
	Running  string `json:"running"`
	Boots    string `json:"boots"`
	OnTrial  bool   `json:"on_trial"`
	Count    int    `json:"bootcount"`
	Artifact string `json:"artifact"`
	Slots    map[string]struct {
		Status string `json:"status"`
	} `json:"slots"`
	Trial *struct {
		Phase  string `json:"phase"`
		Class  string `json:"class"`
		Reason string `json:"reason"`
		Boots  int    `json:"boots"`
	} `json:"trial"`
	Failed []struct {
		Artifact, Class, Reason string
		Count                   int
	} `json:"failed"`
}

func (b *board) status() status {
	b.Helper()
	out, _ := b.run("plimsoll --json status")
	var s status
	line, _, _ := strings.Cut(out, "\n")
	if err := json.Unmarshal([]byte(line), &s); err != nil {
		b.Fatalf("plimsoll status: %v:\n%s", err, out)
	}
	return s
}

// runs checks which release runs, in which slot, and the row of the table.
func (b *board) runs(r release, slot, row string) status {
	b.Helper()
	s := b.status()
	version := strings.TrimSpace(b.do("cat /etc/version"))
	if version != r.name || s.Running != slot || s.Row != row {
		b.Fatalf("runs %s in slot %s, row %s (%s); want %s in slot %s, row %s", version, s.Running, s.Row, s.Meaning, r.name, slot, row)
	}
	return s
}

// environment returns the boot environment from the disk's image, and how many
// of its copies are valid.
func (b *board) environment() (bootloader.Env, bootloader.State) {
	b.Helper()
	u := b.uboot(b.disk)
	e, err := u.Env()
	if err != nil {
		b.Fatal(err)
	}
	s, err := u.State()
	if err != nil {
		b.Fatal(err)
	}
	return e, s
}

// Where a board has its environment: see bootloader/board/boards.
var copies = []int64{8 << 20, 16 << 20}

const copySize = 16 << 10

func (b *board) uboot(disk string) *bootloader.UBoot {
	b.Helper()
	var at []bootloader.Location
	for _, offset := range copies {
		at = append(at, bootloader.Location{Path: disk, Offset: offset, Size: copySize})
	}
	u, err := bootloader.OpenUBoot(bootloader.Options{LockPath: filepath.Join(b.TempDir(), "lock"), Counter: bootloader.CounterScript}, at...)
	if err != nil {
		b.Fatal(err)
	}
	return u
}

// patient is expect for what takes long.
func (b *board) patient(pattern string, d time.Duration) string {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), d)
	defer cancel()
	met, err := b.m.Expect(ctx, pattern)
	if err != nil {
		b.Fatal(err)
	}
	return met
}

// hook lets every start of the board run a command before plimsoll.
func (b *board) hook(command string) {
	b.Helper()
	b.do("cat > /data/hook <<'END'\n" + command + "\nEND\nsync")
}

// onTrial is hook for starts of a trial only.
func (b *board) onTrial(command string) {
	b.Helper()
	b.hook("if grep -q plimsoll.trial=1 /proc/cmdline; then\n" + command + "\nfi")
}

// spoil destroys copies of the environment on the disk of a board that is off.
func (b *board) spoil(numbers ...int) {
	b.Helper()
	f := b.openDisk()
	defer f.Close()
	for _, n := range numbers {
		if _, err := f.WriteAt(bytes.Repeat([]byte{0xa5}, 4096), copies[n]); err != nil {
			b.Fatal(err)
		}
	}
}

func (b *board) openDisk() *os.File {
	b.Helper()
	f, err := os.OpenFile(b.disk, os.O_RDWR, 0)
	if err != nil {
		b.Fatal(err)
	}
	return f
}

// event returns whether the history has an event.
func (b *board) event(name string) bool {
	b.Helper()
	return strings.Contains(b.do("plimsoll --json history"), `"event":"`+name+`"`)
}

// soak reports whether long counts and slow faults are to be run in full.
func soak() bool { return os.Getenv("PLIMSOLL_SOAK") != "" }

// script replaces the boot script of a board that is off.
func (b *board) script(source string) {
	b.Helper()
	file := filepath.Join(b.TempDir(), "boot.scr")
	if err := os.WriteFile(file, profile.ScriptImage(source, "test", "arm64", time.Time{}), 0o644); err != nil {
		b.Fatal(err)
	}
	if out, err := exec.Command("mcopy", "-o", "-i", b.disk+"@@24M", file, "::boot.scr").CombinedOutput(); err != nil {
		b.Fatalf("mcopy: %v: %s", err, out)
	}
}

// settled waits until a board that may reboot by itself has been up, without
// another reboot, for a while.
func (b *board) settled() {
	b.Helper()
	for range 10 {
		b.patient(machine.Ready, 2*time.Minute)
		ctx, cancel := context.WithTimeout(b.Context(), 8*time.Second)
		_, err := b.m.Expect(ctx, machine.Banner)
		cancel()
		if err != nil {
			return
		}
	}
	b.Fatal("the board does not come to rest")
}
