package install_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plimsoll-ota/plimsoll/artifact"
	"github.com/plimsoll-ota/plimsoll/bootloader"
	"github.com/plimsoll-ota/plimsoll/install"
	"github.com/plimsoll-ota/plimsoll/install/script"
	"github.com/plimsoll-ota/plimsoll/partition"
	"github.com/plimsoll-ota/plimsoll/signing"
)

// A rig is a device made of files: two slots, a boot environment, a state
// directory, and copies of what the kernel tells about itself. boot plays
// U-Boot and the kernel.
type rig struct {
	*testing.T
	dir        string
	dev        *install.Device
	env        *bootloader.UBoot
	boots      int
	reboots    int  // asked for by plimsoll
	stuck      bool // the bootloader boots what it booted before
	counter    string
	notes      []string
	scriptDirs []string // of the device
	modules    install.Modules
	data       install.Data
}

const imageSize = 3<<20 + 512*7

// image returns the bytes of a root file system, which is random but known.
func image(seed byte) []byte {
	b := make([]byte, 0, imageSize+sha256.Size)
	block := sha256.Sum256([]byte{seed})
	for len(b) < imageSize {
		b = append(b, block[:]...)
		block = sha256.Sum256(block[:])
	}
	return b[:imageSize]
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{T: t, dir: t.TempDir()}
	r.write("slot2.img", string(append(image('A'), make([]byte, 1<<20)...)))
	r.write("slot3.img", string(bytes.Repeat([]byte{0xff}, imageSize+1<<20)))
	env := bootloader.Env{
		"mender_boot_part": "2", "mender_boot_part_hex": "2", "upgrade_available": "0", "bootcount": "2",
		"bootlimit": "1", "altbootcmd": "run mender_altbootcmd", "bootcmd": "run mender_setup",
	}
	for i, flags := range []byte{7, 8} {
		b, err := env.Encode(0x2000, true, flags)
		r.must(err)
		r.write(fmt.Sprintf("env%d", i), string(b))
	}
	r.write("sys/block/loop0/loop/backing_file", "")
	r.write("sys/block/sda/sda4/partition", "4")
	r.link("../../block/loop0", "sys/dev/block/7:0")
	r.link("../../block/sda/sda4", "sys/dev/block/8:4")
	r.link("../../block/sda", "sys/dev/block/8:0")
	r.write("sys/block/sda/dev", "8:0")
	r.write("sys/block/sda/sda4/dev", "8:4")
	r.write("sys/block/loop0/dev", "7:0")
	r.write("proc/cmdline", "console=ttyS0 root=UUID=1234\n")
	r.write("proc/self/mountinfo", "1 0 7:0 / / rw - ext4 /dev/root rw\n2 1 8:4 / "+r.dir+" rw - ext4 /dev/sda4 rw\n")
	r.must(os.Mkdir(r.path("state"), 0o700))
	r.must(os.Mkdir(r.path("dev"), 0o700))
	r.running("slot2.img")
	r.open()
	return r
}

// open makes the device anew, as the next process would.
func (r *rig) open() {
	r.Helper()
	var err error
	host := partition.Host{Proc: r.path("proc"), Sys: r.path("sys"), Dev: r.path("dev")}
	pair, err := host.Find(partition.Spec{A: r.path("slot2.img"), B: r.path("slot3.img")})
	r.must(err)
	r.env, err = bootloader.OpenUBoot(bootloader.Options{LockPath: r.path("lock"), Sys: r.path("sys"), Counter: r.counter},
		bootloader.Location{Path: r.path("env0"), Size: 0x2000}, bootloader.Location{Path: r.path("env1"), Size: 0x2000})
	r.must(err)
	r.dev = &install.Device{
		Type: "rig", Slots: pair, Host: host, Boot: r.env, Trust: &signing.Keyring{AllowUnsigned: true},
		StateDir: r.path("state"), TrialBoots: 3, Scripts: script.Runner{Dirs: r.scriptDirs}, Modules: r.modules, Data: r.data,
		Reboot: func() error { r.reboots++; return nil },
		Report: func(p install.Progress) {
			if p.Note != "" {
				r.notes = append(r.notes, p.Note)
			}
		},
	}
}

func (r *rig) path(name string) string { return filepath.Join(r.dir, name) }

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *rig) write(name, content string) {
	r.Helper()
	r.must(os.MkdirAll(filepath.Dir(r.path(name)), 0o755))
	r.must(os.WriteFile(r.path(name), []byte(content), 0o600))
}

func (r *rig) read(name string) []byte {
	r.Helper()
	b, err := os.ReadFile(r.path(name))
	r.must(err)
	return b
}

func (r *rig) link(target, name string) {
	r.Helper()
	r.must(os.MkdirAll(filepath.Dir(r.path(name)), 0o755))
	r.must(os.Symlink(target, r.path(name)))
}

// running makes the kernel say that / is on that slot, in a new boot.
func (r *rig) running(slot string) {
	r.boots++
	r.write("sys/block/loop0/loop/backing_file", r.path(slot)+"\n")
	r.write("proc/sys/kernel/random/boot_id", fmt.Sprintf("00000000-0000-0000-0000-%012d\n", r.boots))
}

// boot is a start of the device by U-Boot's rules: the count grows while on
// trial, and past the limit the other slot boots and the trial ends. The id is
// no business of U-Boot's.
func (r *rig) boot() {
	r.Helper()
	r.must(r.env.Update(func(e bootloader.Env) error {
		if e["upgrade_available"] != "1" || r.stuck {
			return nil
		}
		varCount, varLimit := bootloader.CountVariables(r.counter)
		count, limit := 0, 0
		fmt.Sscan(e[varCount], &count)
		fmt.Sscan(e[varLimit], &limit)
		count++
		e[varCount] = fmt.Sprint(count)
		if count > limit {
			e["upgrade_available"] = "0"
			e["mender_boot_part"] = map[string]string{"2": "3", "3": "2"}[e["mender_boot_part"]]
			e["mender_boot_part_hex"] = e["mender_boot_part"]
		}
		return nil
	}))
	slot := strings.TrimSpace(filepath.Base(string(r.read("sys/block/loop0/loop/backing_file"))))
	if !r.stuck {
		env, err := r.env.Env()
		r.must(err)
		slot = "slot" + env["mender_boot_part"] + ".img"
	}
	r.running(slot)
	r.open()
}

// build returns an artifact whose image is image(seed).
func (r *rig) build(name string, seed byte, change func(*artifact.Header)) []byte {
	r.Helper()
	h := artifact.Header{Name: name, Type: artifact.RootFS, DeviceTypes: []string{"rig"}}
	if change != nil {
		change(&h)
	}
	var b bytes.Buffer
	w := artifact.Create(&b, h, artifact.Options{Compression: artifact.Gzip, TempDir: r.dir, Rootfs: &artifact.Software{}})
	img := image(seed)
	r.must(w.Add("rootfs.img", int64(len(img)), bytes.NewReader(img)))
	r.must(w.Close())
	return b.Bytes()
}

func version(v string) func(*artifact.Header) {
	return func(h *artifact.Header) { h.Provides = map[string]string{"rootfs-image.version": v} }
}

// install installs, and expects want.
func (r *rig) install(art []byte, o install.Options, want error) {
	r.Helper()
	_, err := r.dev.Install(context.Background(), bytes.NewReader(art), o)
	r.expect(err, want)
}

func (r *rig) expect(err, want error) {
	r.Helper()
	if !errors.Is(err, want) || err != nil && want == nil {
		r.Fatalf("got error %v, want %v", err, want)
	}
}

func (r *rig) resume(want error) install.Outcome {
	r.Helper()
	o, err := r.dev.Resume(context.Background())
	r.expect(err, want)
	return o
}

func (r *rig) commit(want error) {
	r.Helper()
	_, err := r.dev.Commit(context.Background())
	r.expect(err, want)
}

func (r *rig) rollback(want error) install.Outcome {
	r.Helper()
	o, err := r.dev.Rollback(context.Background())
	r.expect(err, want)
	return o
}

// status expects a row of the table, and returns the report.
func (r *rig) status(row string) install.Report {
	r.Helper()
	rep, err := r.dev.Status()
	r.must(err)
	if rep.Row != row {
		r.Fatalf("row %s (%s), want row %s", rep.Row, rep.Is, row)
	}
	return rep
}

// boots expects the environment to name a slot, on trial or not.
func (r *rig) environment(part int, onTrial bool) bootloader.State {
	r.Helper()
	s, err := r.env.State()
	r.must(err)
	if s.Part != part || s.Trial != onTrial {
		r.Fatalf("environment: part %d, trial %v; want %d, %v", s.Part, s.Trial, part, onTrial)
	}
	return s
}

// holds expects a slot to hold the image of seed.
func (r *rig) holds(slot string, seed byte) {
	r.Helper()
	if !bytes.Equal(r.read(slot)[:imageSize], image(seed)) {
		r.Errorf("%s does not hold image %c", slot, seed)
	}
}

// envBytes returns both copies, to be compared.
func (r *rig) envBytes() string { return string(r.read("env0")) + string(r.read("env1")) }

func (r *rig) history() (events []string) {
	r.Helper()
	all, err := install.History(r.path("state"))
	r.must(err)
	for i, e := range all {
		if i > 0 && e.Seq != all[i-1].Seq+1 {
			r.Errorf("event %d has number %d after %d", i, e.Seq, all[i-1].Seq)
		}
		events = append(events, e.Event)
	}
	return events
}
