package boards

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/plimsoll-ota/plimsoll/bootloader"
	profile "github.com/plimsoll-ota/plimsoll/bootloader/board"
	"github.com/plimsoll-ota/plimsoll/cmd/internal/machine"
	"github.com/plimsoll-ota/plimsoll/partition/image"
)

// A shell is a board's boot script in the shell of an emulated U-Boot. There is
// nothing to start on its disk, so that the script says what it tries, and ends.
type shell struct {
	*testing.T
	*profile.Profile
	debian *machine.Debian
	config machine.Config
	disk   string
	waits  bool // U-Boot waits for a key before it starts
}

// targets is where U-Boot looks for something to start. It has no USB here.
const targets = "usb0 virtio0"

// newShell makes a disk for the script of a board. All that differs from the
// board's is the name of the disk and where things are in memory, and what alter
// changes.
func newShell(t *testing.T, board string, arm bool, alter func(*profile.Profile), slot ...image.File) *shell {
	t.Helper()
	p, err := profile.Load(board)
	if err != nil {
		t.Fatal(err)
	}
	virt, err := profile.Load("qemu-arm64")
	if err != nil {
		t.Fatal(err)
	}
	debian, err := machine.Fetch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p.Disk.UBoot, p.Boot.Address = virt.Disk.UBoot, virt.Boot.Address
	if alter != nil {
		alter(p)
	}
	s := &shell{T: t, Profile: p, debian: debian, disk: filepath.Join(t.TempDir(), "disk.img")}
	s.config.Disks = []machine.Disk{{Path: s.disk}}
	s.config.UBoot = map[string]string{"boot_targets": targets}
	if arm {
		// The flash that makes U-Boot start at once is for the other one.
		s.waits, s.config.UBoot = true, map[string]string{}
		s.config.Args = []string{"-cpu", "cortex-a15", "-bios", s.debian.File("u-boot-qemu", "usr/lib/u-boot/qemu_arm/u-boot.bin")}
	}
	s.makeDisk(slot)
	return s
}

// makeDisk makes a disk as small as it can be. Both slots get the files.
func (s *shell) makeDisk(slot []image.File) {
	s.Helper()
	script := profile.ScriptImage(s.Script(), s.Name, s.Arch, time.Time{})
	d := image.Disk{Table: s.Disk.Table, Time: time.Unix(1700000000, 0), Partitions: []image.Partition{
		{Name: "boot", Boot: true, FAT: []image.File{{Name: s.Boot.Script, Data: script}}, Label: "boot"},
		{Name: "a"}, {Name: "b"}, {Name: "data"},
	}}
	at := int64(s.Partitions[0].Start)
	for i := range d.Partitions {
		d.Partitions[i].Start, d.Partitions[i].Size = at, 8<<20
		at += 8 << 20
	}
	d.Size = at + 1<<20
	if len(slot) > 0 {
		path := filepath.Join(s.TempDir(), "slot.ext4")
		err := image.Ext4{Size: 8 << 20, Time: d.Time}.Make(s.Context(), path)
		if err == nil {
			err = image.AddFiles(s.Context(), path, d.Time, slot...)
		}
		if err != nil {
			s.Fatal(err)
		}
		d.Partitions[1].Image, d.Partitions[2].Image = path, path
	}
	if err := d.Write(s.Context(), s.disk); err != nil {
		s.Fatal(err)
	}
}

// locations are where the copies are.
func (s *shell) locations() []bootloader.Location {
	var all []bootloader.Location
	for _, offset := range s.Environment.Offsets {
		all = append(all, bootloader.Location{Path: s.disk, Offset: int64(offset), Size: int64(s.Environment.Size)})
	}
	return all
}

// store writes both copies, and load reads them.
func (s *shell) store(copies [2][]byte) {
	s.Helper()
	f, err := os.OpenFile(s.disk, os.O_RDWR, 0)
	if err != nil {
		s.Fatal(err)
	}
	for i, l := range s.locations() {
		_, e := f.WriteAt(copies[i], l.Offset)
		err = errors.Join(err, e)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		s.Fatal(err)
	}
}

func (s *shell) load() (copies [2][]byte) {
	s.Helper()
	f, err := os.Open(s.disk)
	if err != nil {
		s.Fatal(err)
	}
	for i, l := range s.locations() {
		copies[i] = make([]byte, l.Size)
		_, e := f.ReadAt(copies[i], l.Offset)
		err = errors.Join(err, e)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		s.Fatal(err)
	}
	return copies
}

var scriptWords = regexp.MustCompile(`(?m)^plimsoll: (.*)$`)

// boot lets the script run once, and returns what it said, what the disk has
// then, and all of the console.
func (s *shell) boot() (v verdict, console string) {
	s.Helper()
	m, err := s.debian.Start(s.Context(), s.config)
	if err != nil {
		s.Fatal(err)
	}
	defer m.Cut()
	if s.waits {
		err = s.hurry(m)
	}
	if err == nil {
		_, err = m.Expect(s.Context(), `^plimsoll: neither slot can be started.*$`)
	}
	if err != nil {
		s.Fatal(err)
	}
	m.Cut()
	console = m.Log()
	for _, line := range scriptWords.FindAllStringSubmatch(console, -1) {
		v.says = append(v.says, line[1])
	}
	v.copies = s.load()
	return v, console
}

// hurry presses a key for which U-Boot would wait two seconds, and lets it start.
func (s *shell) hurry(m *machine.Machine) error {
	for _, step := range []struct{ expect, send string }{{"Hit any key", ""}, {"^=> ", "setenv boot_targets " + targets + "; run bootcmd"}} {
		if _, err := m.Expect(s.Context(), step.expect); err != nil {
			return err
		}
		if err := m.Send(step.send); err != nil {
			return err
		}
	}
	return nil
}

// check boots with two copies and compares what happens with the model, and
// what is saved with those who read it: package bootloader, and fw_printenv.
func (s *shell) check(copies [2][]byte) {
	s.Helper()
	s.store(copies)
	got, console := s.boot()
	want := model(s.Profile, copies, s.config.Disks[0].ReadOnly)
	if g, w := strings.Join(got.says, "\n"), strings.Join(want.says, "\n"); g != w {
		s.Errorf("the script said\n%s\nand was to say\n%s\nin\n%s", g, w, console)
	}
	changed := 0
	for i := range got.copies {
		if !bytes.Equal(got.copies[i], copies[i]) {
			changed++
		}
		if !bytes.Equal(got.copies[i], want.copies[i]) {
			s.Errorf("copy %c is %s, and was to be %s", 'a'+i, describe(got.copies[i]), describe(want.copies[i]))
		}
	}
	if saves := strings.Count(console, "plimsoll: saved\n"); changed != saves || changed > 1 {
		s.Errorf("%d copies changed, and the script says that it saved %d times", changed, saves)
	}
	if changed == 1 {
		s.agree(copies)
	}
}

func describe(raw []byte) string {
	e, flags, err := bootloader.ParseEnv(raw, true)
	if err != nil {
		return fmt.Sprintf("%v (%x…)", err, raw[:16])
	}
	text := fmt.Sprint(e)
	return fmt.Sprintf("flags %#x, %.400s", flags, text)
}

// agree makes sure that all who read the environment find what was saved last,
// with every variable that is to be kept.
func (s *shell) agree(before [2][]byte) {
	s.Helper()
	raw, is := s.read(s.locations())
	if bytes.Equal(raw, before[0]) || bytes.Equal(raw, before[1]) {
		s.Error("plimsoll takes an old copy: the flags of the new one are not newer")
	}
	if fw := s.fwPrintenv(); !maps.Equal(fw, is) {
		s.Errorf("fw_printenv reads %v, and plimsoll %v", fw, is)
	}
	var old []bootloader.Location
	for i, raw := range before {
		path := filepath.Join(s.TempDir(), fmt.Sprint(i))
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			s.Fatal(err)
		}
		old = append(old, bootloader.Location{Path: path, Size: int64(len(raw))})
	}
	_, was := s.read(old)
	names := append(bootloader.ScriptVariables(s.Environment.Counter), s.Boot.Keep...)
	part, hex, trial := bootloader.PartVariables()
	count, _ := bootloader.CountVariables(s.Environment.Counter)
	maps.DeleteFunc(was, func(name, _ string) bool { return !slices.Contains(names, name) })
	for _, changes := range []string{part, hex, trial, count} {
		delete(was, changes)
		delete(is, changes)
	}
	if !maps.Equal(was, is) {
		s.Errorf("variables were %v, and are %v", was, is)
	}
}

// open is the environment as plimsoll sees it.
func (s *shell) open(at []bootloader.Location) *bootloader.UBoot {
	s.Helper()
	u, err := bootloader.OpenUBoot(bootloader.Options{LockPath: filepath.Join(s.TempDir(), "lock"), Counter: s.Environment.Counter}, at...)
	if err != nil {
		s.Fatal(err)
	}
	return u
}

// read returns the current copy, and what is in it.
func (s *shell) read(at []bootloader.Location) ([]byte, bootloader.Env) {
	s.Helper()
	u := s.open(at)
	raw, err := u.Raw()
	if err != nil {
		s.Fatal(err)
	}
	e, err := u.Env()
	if err != nil {
		s.Fatal(err)
	}
	return raw, e
}

// fwConfig writes an fw_env.config for the disk's image.
func (s *shell) fwConfig() string {
	s.Helper()
	p := *s.Profile
	p.Disk.Linux = s.disk
	path := filepath.Join(s.TempDir(), "fw_env.config")
	if err := os.WriteFile(path, []byte(p.FwEnvConfig()), 0o600); err != nil {
		s.Fatal(err)
	}
	return path
}

// fwPrintenv returns the variables as libubootenv reads them.
func (s *shell) fwPrintenv() bootloader.Env {
	s.Helper()
	e := bootloader.Env{}
	for line := range strings.Lines(onHost(s.T, "libubootenv-tool", "fw_printenv", "-c", s.fwConfig())) {
		name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		if !ok {
			s.Fatalf("fw_printenv: %q", line)
		}
		e[name] = value
	}
	return e
}

// onHost runs a program of a Debian package on this machine and returns what it
// printed. It must succeed.
func onHost(t *testing.T, pkg, name string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if err != nil {
			path, err = exec.LookPath(filepath.Join(dir, name))
		}
	}
	if err != nil {
		t.Fatalf("%v; it is in the Debian package %s", err, pkg)
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "TZ=UTC")
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out, said.String())
	}
	return string(out)
}
