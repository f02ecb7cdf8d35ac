package volume

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// asRoot is for what only root can set up: without it these tests fail, and
// skip nothing.
func asRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("loop devices, mounts and device nodes need root: run the tests as root")
	}
}

// run runs one of the system's tools and returns what it printed.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, content string) string {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, []byte(content), 0o644))
	return path
}

// loop shows a file as a disk until the test ends.
func loop(t *testing.T, file string, args ...string) string {
	t.Helper()
	asRoot(t)
	dev := run(t, "losetup", append(args, "-f", "--show", file)...)
	t.Cleanup(func() {
		// A flag would stay with the device, whatever is attached to it next.
		run(t, "blockdev", "--setrw", dev)
		if out, err := exec.Command("losetup", "-d", dev).CombinedOutput(); err != nil {
			t.Errorf("detach %s: %v %s", dev, err, out)
		}
	})
	return dev
}

// partitions makes the kernel show the partitions of a loop device. One that
// reads no partition tables itself is told of them.
func partitions(t *testing.T, dev string) {
	t.Helper()
	if found, _ := filepath.Glob(dev + "p*"); len(found) == 0 {
		run(t, "partx", "-a", dev)
	}
	t.Cleanup(func() { _ = exec.Command("partx", "-d", dev).Run() }) // else they outlive the loop device
}

func blank(t *testing.T, size int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk.img")
	must(t, os.WriteFile(path, nil, 0o644))
	must(t, os.Truncate(path, size))
	return path
}

// put writes content into an image.
func put(t *testing.T, path string, at int64, content []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	must(t, err)
	_, err = f.WriteAt(content, at)
	must(t, errors.Join(err, f.Close()))
}

// A tree is a copied machine: sysfs and the nodes of its devices, each of which
// is a loop device.
type tree struct {
	t        *testing.T
	sys, dev string
}

func machine(t *testing.T) tree {
	t.Helper()
	asRoot(t)
	dir := t.TempDir()
	m := tree{t, filepath.Join(dir, "sys"), filepath.Join(dir, "dev")}
	must(t, os.MkdirAll(filepath.Join(m.sys, "block"), 0o755))
	must(t, os.MkdirAll(m.dev, 0o755))
	return m
}

// device adds a disk or a partition at a path of sysfs.
func (m tree) device(path string, image []byte, attrs ...string) string {
	m.t.Helper()
	dev := loop(m.t, write(m.t, filepath.Join(m.t.TempDir(), "image"), string(image)))
	var st unix.Stat_t
	must(m.t, unix.Stat(dev, &st))
	name, dir := filepath.Base(path), filepath.Join(m.sys, "devices", path)
	must(m.t, os.MkdirAll(dir, 0o755))
	write(m.t, filepath.Join(dir, "dev"), fmt.Sprintf("%d:%d\n", unix.Major(uint64(st.Rdev)), unix.Minor(uint64(st.Rdev))))
	write(m.t, filepath.Join(dir, "size"), fmt.Sprintln(len(image)/512))
	whole := true
	for _, a := range attrs {
		k, v, _ := strings.Cut(a, "=")
		write(m.t, filepath.Join(dir, k), v+"\n")
		whole = whole && k != "partition"
	}
	must(m.t, unix.Mknod(filepath.Join(m.dev, name), unix.S_IFBLK|0o600, int(st.Rdev)))
	m.link(dir, filepath.Join(m.sys, "class/block", name))
	if whole {
		m.link(dir, filepath.Join(m.sys, "block", name))
	}
	return dir
}

func (m tree) link(target, name string) {
	m.t.Helper()
	must(m.t, os.MkdirAll(filepath.Dir(name), 0o755))
	must(m.t, os.Symlink(target, name))
}

// summary is what tests compare of a volume.
func summary(vs []Volume) (all []string) {
	for _, v := range vs {
		s := fmt.Sprintf("%s %d %s", filepath.Base(v.Device), v.Part, v.Kind)
		for _, f := range []struct {
			name string
			is   bool
		}{{" esp", v.ESP}, {" clean", v.Clean}, {" ro", v.ReadOnly}, {" bad", v.Err != nil}} {
			if f.is {
				s += f.name
			}
		}
		all = append(all, s)
	}
	return all
}

const onUSB = "pci0000:00/0000:00:14.0/usb1/1-2/1-2:1.0/host0/target0:0:0/0:0:0:0/block/sda"

func TestDisk(t *testing.T) {
	noFS := craft(128<<10, patch{70, "\x01"})
	for _, c := range []struct {
		name string
		make func(m tree)
		want []string
	}{
		{"one file system without a table", func(m tree) { m.device(onUSB, sane(16)) }, []string{"sda 0 vfat clean"}},
		{"one partition", func(m tree) {
			m.device(onUSB, masterBootRecord("", 0x0c))
			m.device(onUSB+"/sda1", sane(16), "partition=1")
		}, []string{"sda1 1 vfat clean"}},
		{"two, and one that is dirty", func(m tree) {
			m.device(onUSB, masterBootRecord("", 0x0c))
			m.device(onUSB+"/sda2", saneExFAT(patch{106, "\x02"}), "partition=2")
			m.device(onUSB+"/sda1", saneExt(), "partition=1")
		}, []string{"sda1 1 ext4 clean", "sda2 2 exfat"}},
		{"an EFI system partition first", func(m tree) {
			m.device(onUSB, masterBootRecord("", 0xef))
			m.device(onUSB+"/sda1", sane(16), "partition=1")
			m.device(onUSB+"/sda2", sane(16), "partition=2")
		}, []string{"sda1 1 vfat esp clean", "sda2 2 vfat clean"}},
		{"an extended partition", func(m tree) {
			m.device(onUSB, masterBootRecord("", 0x0f))
			m.device(onUSB+"/sda1", noFS[:1024], "partition=1")
			m.device(onUSB+"/sda5", sane(16), "partition=5")
		}, []string{"sda5 5 vfat clean"}},
		{"ten partitions, in the order of their numbers", func(m tree) {
			m.device(onUSB, masterBootRecord("", 0x0c))
			m.device(onUSB+"/sda10", sane(16), "partition=10")
			m.device(onUSB+"/sda1", noFS, "partition=1")
			m.device(onUSB+"/sda9", noFS, "partition=9")
		}, []string{"sda1 1 unknown", "sda9 9 unknown", "sda10 10 vfat clean"}},
		{"write-protected", func(m tree) {
			m.device(onUSB, masterBootRecord("", 0x0c), "ro=1")
			m.device(onUSB+"/sda1", sane(16), "partition=1", "ro=1")
		}, []string{"sda1 1 vfat clean ro"}},
		{"a partition that a process left read-only", func(m tree) {
			m.device(onUSB, masterBootRecord("", 0x0c), "ro=0")
			m.device(onUSB+"/sda1", sane(16), "partition=1", "ro=1")
		}, []string{"sda1 1 vfat clean"}},
		{"twenty partitions, four too many", func(m tree) {
			m.device(onUSB, masterBootRecord("", 0x0c))
			for i := range 20 {
				m.device(fmt.Sprintf("%s/sda%d", onUSB, i+1), sane(16)[:1<<20], fmt.Sprintf("partition=%d", i+1))
			}
		}, func() (all []string) {
			for i := range maxVolumes {
				all = append(all, fmt.Sprintf("sda%d %d vfat", i+1, i+1))
			}
			for i := maxVolumes; i < 20; i++ {
				all = append(all, fmt.Sprintf("sda%d %d unknown bad", i+1, i+1))
			}
			return all
		}()},
		{"zeros", func(m tree) { m.device(onUSB, make([]byte, mib)) }, []string{"sda 0 empty"}},
		{"an ISO 9660 with partitions", func(m tree) {
			m.device(onUSB, apply(masterBootRecord("", 0x17), patch{32769, "CD001"}))
			m.device(onUSB+"/sda1", craft(64<<10, patch{32769, "CD001"}), "partition=1")
		}, []string{"sda1 1 iso9660"}},
		{"the node of another device", func(m tree) {
			m.device(onUSB, masterBootRecord("", 0x0c))
			write(m.t, filepath.Join(m.device(onUSB+"/sda1", sane(16), "partition=1"), "dev"), "8:1")
		}, []string{"sda1 1 unknown bad"}},
		{"a link instead of the node", func(m tree) {
			m.device(onUSB, masterBootRecord("", 0x0c))
			m.device(onUSB+"/sda1", sane(16), "partition=1")
			node := filepath.Join(m.dev, "sda1")
			must(m.t, os.Rename(node, node+"x"))
			m.link(node+"x", node)
		}, []string{"sda1 1 unknown bad"}},
		{"a partition without sectors", func(m tree) {
			m.device(onUSB, masterBootRecord("", 0x0c))
			write(m.t, filepath.Join(m.device(onUSB+"/sda1", sane(16), "partition=1"), "size"), "0")
			m.device(onUSB+"/sda2", sane(16), "partition=2")
		}, []string{"sda2 2 vfat clean"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := machine(t)
			c.make(m)
			got, err := Disk(m.sys, m.dev, "sda")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, summary(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDiskName(t *testing.T) {
	m := machine(t)
	m.device(onUSB, sane(16))
	m.device(onUSB+"/sda1", sane(16), "partition=1")
	m.device("virtual/block/sdz", make([]byte, 512), "size=0")
	outside := write(t, filepath.Join(filepath.Dir(m.sys), "x/size"), "8")
	m.link(filepath.Dir(outside), filepath.Join(m.sys, "x"))
	for name, want := range map[string]error{
		"": ErrName, "/": ErrName, "..": ErrName, ".": ErrName, "../x": ErrName, "../block/sda": ErrName, "/dev/sda": ErrName,
		"sda/sda1": ErrName, "sda\n": ErrName, "sda ": ErrName, "SDA": ErrName, "1sd": ErrName, "s*": ErrName,
		strings.Repeat("a", 40): ErrName, "sda1": ErrName,
		"sdb": ErrGone, "sdz": ErrGone,
	} {
		for what, f := range map[string]func() error{
			"Disk": func() error { _, err := Disk(m.sys, m.dev, name); return err },
			"Find": func() error { _, err := Find(m.sys, name); return err },
		} {
			if name == "sdz" && what == "Find" {
				continue // a reader without a card is a disk
			}
			if err := f(); !errors.Is(err, want) {
				t.Errorf("%s(%q): got %v, want %v", what, name, err, want)
			}
		}
	}
	if _, err := Disk(m.dev, m.dev, "sda"); err == nil || errors.Is(err, ErrGone) {
		t.Errorf("without sysfs: got %v, want an error that is not ErrGone", err)
	}
}

func TestFind(t *testing.T) {
	m := machine(t)
	m.device(onUSB, make([]byte, mib), "diskseq=17", "removable=1", "ro=1", "device/vendor=Gen\x1beric ", "device/model=Flash  Disk", "device/ioerr_cnt=0x1f")
	m.device("platform/fe340000.mmc/mmc_host/mmc0/mmc0:0001/block/mmcblk0", make([]byte, mib))
	got, err := Find(m.sys, "sda")
	must(t, err)
	got.host = host{}
	want := Stick{Name: "sda", Seq: 17, Size: mib, USB: true, Removable: true, ReadOnly: true, Model: "Gen?eric Flash Disk", Errors: 31}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(Stick{}, host{})); diff != "" {
		t.Error(diff)
	}
	got, err = Find(m.sys, "mmcblk0")
	must(t, err)
	if got.USB || got.Removable || got.Errors != -1 {
		t.Errorf("mmcblk0: got %+v, want it on no USB", got)
	}
}

// Partitions, and then their nodes, appear late; the table says what to wait for.
func TestSettles(t *testing.T) {
	m := machine(t)
	m.device(onUSB, apply(masterBootRecord("", 0x0c), patch{462, "\x00\x00\x00\x00\x07\x00\x00\x00" + le32(8192) + le32(100)}))
	hidden := filepath.Join(t.TempDir(), "sda2")
	late := m.device(onUSB+"/sda2", sane(12), "partition=2")
	must(t, os.Rename(late, hidden))
	m.device(onUSB+"/sda1", sane(16), "partition=1")
	node := filepath.Join(m.dev, "sda2")
	must(t, os.Rename(node, node+"x"))
	go func() {
		time.Sleep(700 * time.Millisecond)
		_ = os.Rename(hidden, late) // Disk tells if it does not come
		time.Sleep(100 * time.Millisecond)
		_ = os.Rename(node+"x", node)
	}()
	start := time.Now()
	got, err := Disk(m.sys, m.dev, "sda")
	must(t, err)
	if diff := cmp.Diff([]string{"sda1 1 vfat clean", "sda2 2 vfat clean"}, summary(got)); diff != "" {
		t.Error(diff)
	}
	if took := time.Since(start); took > settleLimit {
		t.Errorf("took %v", took)
	}
}

// A partition inside an extended one is in no table that is read here: its node
// is waited for all the same.
func TestSettlesForNodes(t *testing.T) {
	m := machine(t)
	m.device(onUSB, masterBootRecord("", 0x0f))
	m.device(onUSB+"/sda5", sane(16), "partition=5")
	node := filepath.Join(m.dev, "sda5")
	must(t, os.Rename(node, node+"x"))
	time.AfterFunc(time.Second, func() { _ = os.Rename(node+"x", node) }) // Disk tells if it does not come
	got, err := Disk(m.sys, m.dev, "sda")
	must(t, err)
	if diff := cmp.Diff([]string{"sda5 5 vfat clean"}, summary(got)); diff != "" {
		t.Error(diff)
	}
}

// What never comes is not waited for without end, and what went away is gone.
func TestSettlesInTime(t *testing.T) {
	t.Run("never comes", func(t *testing.T) {
		t.Parallel()
		m := machine(t)
		m.device(onUSB, masterBootRecord("", 0x0c))
		start := time.Now()
		got, err := Disk(m.sys, m.dev, "sda")
		must(t, err)
		if diff := cmp.Diff([]string{"sda 0 unknown"}, summary(got)); diff != "" {
			t.Error(diff)
		}
		if took := time.Since(start); took < settleLimit || took > settleLimit+3*time.Second {
			t.Errorf("took %v, want about %v", took, settleLimit)
		}
	})
	t.Run("goes away", func(t *testing.T) {
		t.Parallel()
		m := machine(t)
		dir := m.device(onUSB, masterBootRecord("", 0x0c))
		go func() {
			time.Sleep(400 * time.Millisecond)
			_ = os.Remove(filepath.Join(m.sys, "block/sda"))
			_ = os.Rename(dir, dir+"x")
		}()
		if _, err := Disk(m.sys, m.dev, "sda"); !errors.Is(err, ErrGone) {
			t.Errorf("got %v, want ErrGone", err)
		}
	})
}

func TestGone(t *testing.T) {
	m := machine(t)
	dir := m.device(onUSB, sane(16), "diskseq=17")
	s, err := Find(m.sys, "sda")
	must(t, err)
	seq, size := filepath.Join(dir, "diskseq"), filepath.Join(dir, "size")
	check := func(what string, want bool) {
		t.Helper()
		if got := s.Gone(); got != want {
			t.Errorf("%s: got %v, want %v", what, got, want)
		}
	}
	check("there", false)
	write(t, seq, "18\n")
	check("another of the same name", true)
	write(t, seq, "17\n")
	write(t, size, "0\n")
	check("card taken out", true)
	write(t, size, "8\n")
	check("there again", false)
	must(t, os.Rename(m.sys, m.sys+"x"))
	check("no sysfs", false)
	must(t, os.Rename(m.sys+"x", m.sys))
	must(t, os.Remove(filepath.Join(m.sys, "block/sda")))
	check("pulled out", true)
	if !Gone("nosuchdisk0") {
		t.Error("a disk that never was is not gone")
	}
	if err := WaitGone(t.Context(), "nosuchdisk0"); err != nil {
		t.Errorf("waiting for a disk that never was: %v", err)
	}
	if err := WaitGone(t.Context(), "../x"); !errors.Is(err, ErrName) {
		t.Errorf("waiting for a path: got %v, want ErrName", err)
	}
}

// Nothing is heard of a change in a copied sysfs: polling must find it.
func TestWaitGonePolls(t *testing.T) {
	m := machine(t)
	m.device(onUSB, sane(16), "diskseq=17")
	s, err := Find(m.sys, "sda")
	must(t, err)
	reason := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		time.Sleep(100 * time.Millisecond)
		cancel(reason)
	}()
	if err := s.WaitGone(ctx); !errors.Is(err, reason) {
		t.Errorf("cancelled: got %v, want the cause", err)
	}
	go func() {
		time.Sleep(100 * time.Millisecond)
		_ = os.Remove(filepath.Join(m.sys, "block/sda"))
	}()
	start := time.Now()
	if err := s.WaitGone(t.Context()); err != nil || time.Since(start) > 3*lookAgain {
		t.Errorf("got %v after %v", err, time.Since(start))
	}
}

// The kernel tells of a loop device whose file is taken away sooner than
// polling would find out.
func TestWaitGoneHears(t *testing.T) {
	asRoot(t)
	dev := run(t, "losetup", "-f", "--show", blank(t, mib))
	gone := make(chan error, 1)
	go func() { gone <- WaitGone(t.Context(), filepath.Base(dev)) }()
	time.Sleep(1200 * time.Millisecond) // past the first look, far from the second
	if Gone(filepath.Base(dev)) {
		t.Error("gone before it was")
	}
	select {
	case err := <-gone:
		t.Fatalf("returned %v while it was there", err)
	default:
	}
	start := time.Now()
	run(t, "losetup", "-d", dev)
	if err := <-gone; err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took > lookAgain/2 {
		t.Errorf("took %v: the kernel's news were not heard", took)
	}
}
