package volume

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// ext4Image is a file system with a file, a program and a symlink on it.
func ext4Image(t *testing.T, args ...string) string {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "release.mender"), "artifact")
	must(t, os.Chmod(write(t, filepath.Join(dir, "run"), "#!/bin/sh\n"), 0o755))
	must(t, os.Symlink("/etc/passwd", filepath.Join(dir, "link")))
	file := blank(t, 16*mib)
	run(t, "mke2fs", append(append([]string{"-q", "-t", "ext4", "-d", dir, "-e", "panic"}, args...), file)...)
	return file
}

// plug shows a file as a disk and returns the one volume that is on it.
func plug(t *testing.T, file string, args ...string) Volume {
	t.Helper()
	return only(t, "", "", filepath.Base(loop(t, file, args...)))
}

func only(t *testing.T, sys, dev, name string) Volume {
	t.Helper()
	vs, err := Disk(sys, dev, name)
	must(t, err)
	if len(vs) != 1 {
		t.Fatalf("got %v, want one volume", summary(vs))
	}
	return vs[0]
}

// mount mounts a volume until the test ends, if it does not do so itself.
func mount(t *testing.T, v Volume) *Mounted {
	t.Helper()
	m, err := v.Mount(t.TempDir())
	must(t, err)
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return m
}

// mountLine returns what the kernel says of a mount, "" if there is none.
func mountLine(t *testing.T, dir string) string {
	t.Helper()
	b, err := os.ReadFile("/proc/self/mountinfo")
	must(t, err)
	for line := range strings.Lines(string(b)) {
		if strings.Contains(line, " "+dir+" ") {
			return line
		}
	}
	return ""
}

func sum(t *testing.T, file string) [32]byte {
	t.Helper()
	b, err := os.ReadFile(file)
	must(t, err)
	return sha256.Sum256(b)
}

func readOnlyFlag(t *testing.T, dev string) int {
	t.Helper()
	f, err := os.Open(dev)
	must(t, err)
	defer f.Close()
	ro, err := unix.IoctlGetInt(int(f.Fd()), unix.BLKROGET)
	must(t, err)
	return ro
}

func TestMountReadOnly(t *testing.T) {
	file := ext4Image(t)
	before := sum(t, file)
	v := plug(t, file)
	m := mount(t, v)

	line := mountLine(t, m.Dir)
	options := strings.Split(strings.Fields(line)[5], ",")
	for _, o := range []string{"ro", "nosuid", "nodev", "noexec", "noatime", "nosymfollow"} {
		if !slices.Contains(options, o) {
			t.Errorf("mounted without %s: %s", o, line)
		}
	}
	if super := line[strings.Index(line, " - "):]; !strings.Contains(super, " ro,") || !strings.Contains(super, "errors=remount-ro") {
		t.Errorf("the file system may be written, or panic: %s", super)
	}
	if got, err := os.ReadFile(filepath.Join(m.Dir, "release.mender")); err != nil || string(got) != "artifact" {
		t.Errorf("read: got %q, %v", got, err)
	}
	if err := os.WriteFile(filepath.Join(m.Dir, "new"), nil, 0o644); !errors.Is(err, unix.EROFS) {
		t.Errorf("write: got %v, want EROFS", err)
	}
	if err := exec.Command(filepath.Join(m.Dir, "run")).Run(); !errors.Is(err, unix.EACCES) {
		t.Errorf("run: got %v, want EACCES", err)
	}
	if _, err := os.Open(filepath.Join(m.Dir, "link")); !errors.Is(err, unix.ELOOP) {
		t.Errorf("follow a symlink: got %v, want ELOOP", err)
	}
	if readOnlyFlag(t, v.Device) == 0 {
		t.Error("the block device may be written")
	}
	must(t, m.Close())
	if readOnlyFlag(t, v.Device) != 0 {
		t.Error("the block device stays read-only")
	}
	if mountLine(t, m.Dir) != "" {
		t.Error("still mounted")
	}
	if sum(t, file) != before {
		t.Error("the medium was written")
	}
}

// cleanly is how each kind's own tool says that a file system is in order.
var cleanly = map[Kind][]string{VFAT: {"fsck.vfat", "-n"}, ExFAT: {"fsck.exfat", "-n"}, Ext4: {"e2fsck", "-fn"}}

// Every kind that this kernel has a driver for is read and written; without
// one the error must say so, and mount(8) agree.
func TestWrite(t *testing.T) {
	for _, c := range made {
		if !drivers[c.kind].writes {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			file := mkfs(t, c.tool, c.mib)
			v := plug(t, file)
			m, err := v.Mount(t.TempDir())
			if noDriver(t, v, err) {
				return
			}
			defer m.Close()
			path := filepath.Join(m.Dir, "plimsoll", "report.json")
			must(t, m.Writable())
			must(t, m.Writable()) // as it is
			must(t, os.Mkdir(filepath.Dir(path), 0o755))
			must(t, os.WriteFile(path, []byte("report"), 0o644))
			must(t, m.ReadOnly())
			if err := os.WriteFile(path, nil, 0o644); !errors.Is(err, unix.EROFS) {
				t.Errorf("write after ReadOnly: got %v, want EROFS", err)
			}
			must(t, m.Writable())
			must(t, os.WriteFile(path, []byte("second"), 0o644))
			must(t, m.Close()) // does what ReadOnly does
			must(t, m.Close())

			args := append(cleanly[c.kind][1:], file)
			run(t, cleanly[c.kind][0], args...) // reads the file behind the device: it must be there
			again := only(t, "", "", v.Stick.Name)
			if !again.Clean {
				t.Errorf("not clean after it was written: %s", again.Unclean)
			}
			m = mount(t, again)
			if got, err := os.ReadFile(filepath.Join(m.Dir, "plimsoll", "report.json")); err != nil || string(got) != "second" {
				t.Errorf("read again: got %q, %v", got, err)
			}
		})
	}
}

// noDriver reports whether the kernel has no driver, which the error must say;
// any other error ends the test.
func noDriver(t *testing.T, v Volume, err error) bool {
	t.Helper()
	var kind *KindError
	if !errors.As(err, &kind) || !kind.NoDriver {
		must(t, err)
		return false
	}
	out, err2 := exec.Command("mount", "-o", "ro", "-t", drivers[v.Kind].fstype, v.Device, t.TempDir()).CombinedOutput()
	if err2 == nil || !strings.Contains(string(out), "unknown filesystem type") {
		t.Errorf("%v, but mount says %v %s", err, err2, out)
	}
	if !errors.Is(err, ErrKind) || kind.Kind != v.Kind {
		t.Errorf("got %v of %s, want ErrKind of %s", err, kind.Kind, v.Kind)
	}
	return true
}

// A file system that was cut off in use is read as it is, without a journal
// being replayed, and never written.
func TestDirty(t *testing.T) {
	file := ext4Image(t)
	dev, dir := loop(t, file), t.TempDir()
	run(t, "mount", dev, dir)
	write(t, filepath.Join(dir, "later"), "x")
	open, err := os.Create(filepath.Join(dir, "orphan"))
	must(t, err)
	must(t, os.Remove(open.Name()))
	run(t, "sync", "-f", dir)
	cut := filepath.Join(t.TempDir(), "cut.img")
	run(t, "cp", "--sparse=always", file, cut)
	must(t, open.Close())
	run(t, "umount", dir)
	if out := run(t, "dumpe2fs", "-h", cut); !strings.Contains(out, "needs_recovery") {
		t.Fatal("the copy needs no recovery: nothing is tested")
	}

	before := sum(t, cut)
	v := plug(t, cut)
	if v.Clean || v.Unclean == "" {
		t.Errorf("got %+v, want it not to be clean", v)
	}
	m := mount(t, v)
	if got, err := os.ReadFile(filepath.Join(m.Dir, "release.mender")); err != nil || string(got) != "artifact" {
		t.Errorf("read: got %q, %v", got, err)
	}
	if err := m.Writable(); !errors.Is(err, ErrDirty) {
		t.Errorf("Writable: got %v, want ErrDirty", err)
	}
	must(t, m.Close())
	if sum(t, cut) != before {
		t.Error("the medium was written")
	}
}

// Orphans are what ext4 writes even to a read-only mount; only the device's
// flag keeps it from that.
func TestOrphans(t *testing.T) {
	file := ext4Image(t)
	run(t, "debugfs", "-w", "-R", "ssv last_orphan 12", file) // a list that begins with the first file
	before := sum(t, file)
	v := plug(t, file)
	m, err := v.Mount(t.TempDir())
	if err == nil {
		must(t, m.Close())
	}
	if sum(t, file) != before {
		t.Error("the medium was written")
	}
	if v.Clean {
		t.Error("it counts as clean")
	}
}

func TestWritableRefuses(t *testing.T) {
	t.Run("a write-protected stick", func(t *testing.T) {
		v := plug(t, ext4Image(t), "-r")
		if !v.ReadOnly || !v.Clean {
			t.Errorf("got %+v, want it read-only and clean", v)
		}
		m := mount(t, v)
		if err := m.Writable(); !errors.Is(err, ErrWriteProtected) {
			t.Errorf("got %v, want ErrWriteProtected", err)
		}
		must(t, m.Close())
		if readOnlyFlag(t, v.Device) == 0 {
			t.Error("the write protection was lifted")
		}
	})
	t.Run("a stick that somebody has marked", func(t *testing.T) {
		dev := loop(t, ext4Image(t))
		run(t, "blockdev", "--setro", dev)
		m := mount(t, only(t, "", "", filepath.Base(dev)))
		if err := m.Writable(); !errors.Is(err, ErrWriteProtected) {
			t.Errorf("got %v, want ErrWriteProtected", err)
		}
		must(t, m.Close())
		if readOnlyFlag(t, dev) == 0 {
			t.Error("the mark was lifted")
		}
	})
	t.Run("what was dirty when it was found", func(t *testing.T) {
		m := mount(t, plug(t, ext4Image(t)))
		m.Clean = false
		if err := m.Writable(); !errors.Is(err, ErrDirty) {
			t.Errorf("got %v, want ErrDirty", err)
		}
	})
	// The kernel would wait for as long as the stick says, up to eighteen hours, whether the other one goes on.
	t.Run("what is guarded against being mounted twice", func(t *testing.T) {
		file := ext4Image(t, "-O", "mmp,^metadata_csum")
		b, err := os.ReadFile(file)
		must(t, err)
		guard := int64(binary.LittleEndian.Uint64(b[1024+0x168:])) * 1024 // blocks are of 1 KiB
		put(t, file, guard+4, []byte("\x07\x00\x00\x00"))                 // somebody was there
		put(t, file, guard+112, []byte("\x0a\x00"))                       // seconds
		m := mount(t, plug(t, file))
		start := time.Now()
		if err := m.Writable(); !errors.Is(err, ErrDirty) || time.Since(start) > 5*time.Second {
			t.Errorf("got %v after %v, want ErrDirty at once", err, time.Since(start))
		}
	})
	t.Run("what became dirty meanwhile", func(t *testing.T) {
		v := plug(t, ext4Image(t))
		m := mount(t, v)
		run(t, "blockdev", "--setrw", v.Device)
		put(t, v.Device, 1024+58, []byte("\x00")) // as if somebody else had mounted it
		run(t, "blockdev", "--setro", v.Device)
		if err := m.Writable(); !errors.Is(err, ErrDirty) {
			t.Errorf("got %v, want ErrDirty", err)
		}
		if readOnlyFlag(t, v.Device) == 0 {
			t.Error("the block device may be written")
		}
	})
	t.Run("what was found damaged", func(t *testing.T) {
		m := mount(t, plug(t, ext4Image(t)))
		must(t, m.Explain(nil))
		if err := m.Explain(unix.EUCLEAN); !errors.Is(err, ErrCorrupt) {
			t.Errorf("Explain: got %v, want ErrCorrupt", err)
		}
		if err := m.Writable(); !errors.Is(err, ErrCorrupt) {
			t.Errorf("got %v, want ErrCorrupt", err)
		}
	})
	t.Run("what is closed", func(t *testing.T) {
		m := mount(t, plug(t, ext4Image(t)))
		must(t, m.Close())
		if err := m.Writable(); !errors.Is(err, os.ErrClosed) {
			t.Errorf("got %v, want ErrClosed", err)
		}
	})
}

func TestMountRefuses(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(t *testing.T) string
		want error
		kind Kind
	}{
		{"an ext4 with mount options in its superblock", func(t *testing.T) string {
			file := ext4Image(t)
			run(t, "tune2fs", "-E", "mount_opts=errors=panic", file)
			return file
		}, ErrKind, Ext4},
		{"a btrfs, though the kernel may have it", func(t *testing.T) string { return mkfs(t, "mkfs.btrfs -q FILE", 128) }, ErrKind, Btrfs},
		{"a LUKS", func(t *testing.T) string {
			return mkfs(t, "cryptsetup -q luksFormat --type luks1 --pbkdf-force-iterations 1000 FILE KEY", 16)
		}, ErrKind, LUKS},
		{"zeros", func(t *testing.T) string { return blank(t, mib) }, ErrKind, Empty},
		{"an ext4 with damaged descriptors", func(t *testing.T) string {
			file := ext4Image(t)
			put(t, file, 2048, []byte(strings.Repeat("\xaa", 4096)))
			return file
		}, ErrCorrupt, ""},
		{"an ext4 without its root folder", func(t *testing.T) string {
			file := ext4Image(t)
			run(t, "debugfs", "-w", "-R", "clri <2>", file)
			return file
		}, ErrCorrupt, ""},
		{"an ext4 that is cut short", func(t *testing.T) string {
			file := ext4Image(t)
			must(t, os.Truncate(file, 8*mib))
			return file
		}, ErrCorrupt, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := plug(t, c.make(t))
			dir := t.TempDir()
			m, err := v.Mount(dir)
			if err == nil {
				must(t, m.Close())
			}
			if !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			var kind *KindError
			if c.kind != "" && (!errors.As(err, &kind) || kind.Kind != c.kind || kind.NoDriver) {
				t.Errorf("got %v, want a KindError of %s", err, c.kind)
			}
			if mountLine(t, dir) != "" || readOnlyFlag(t, v.Device) != 0 {
				t.Error("something is left behind")
			}
		})
	}
}

func TestInUse(t *testing.T) {
	v, dir := plug(t, ext4Image(t)), t.TempDir()
	run(t, "mount", "-o", "ro", v.Device, dir)
	m, err := v.Mount(t.TempDir())
	if err == nil {
		must(t, m.Close())
	}
	run(t, "umount", dir)
	if !errors.Is(err, ErrInUse) {
		t.Errorf("got %v, want ErrInUse", err)
	}
	must(t, mount(t, v).Close())
}

// A file that stays open keeps no mount.
func TestCloseWhileOpen(t *testing.T) {
	m := mount(t, plug(t, ext4Image(t)))
	f, err := os.Open(filepath.Join(m.Dir, "release.mender"))
	must(t, err)
	if err := m.Close(); !errors.Is(err, unix.EBUSY) {
		t.Errorf("got %v, want EBUSY", err)
	}
	if mountLine(t, m.Dir) != "" {
		t.Error("still mounted")
	}
	must(t, f.Close())
}

// What is open for writing is not closed behind its writer's back.
func TestReadOnlyWhileWriting(t *testing.T) {
	m := mount(t, plug(t, ext4Image(t)))
	must(t, m.ReadOnly()) // as it is
	must(t, m.Writable())
	f, err := os.Create(filepath.Join(m.Dir, "report"))
	must(t, err)
	if err := m.ReadOnly(); !errors.Is(err, unix.EBUSY) {
		t.Errorf("got %v, want EBUSY", err)
	}
	_, err = f.WriteString("all of it")
	must(t, errors.Join(err, f.Close()))
	must(t, m.ReadOnly())
	must(t, m.Close())
}

// Writes that the stick took and lost must not be reported as written: here the
// file behind it has less room than it says.
func TestLostWrites(t *testing.T) {
	for _, finish := range []string{"ReadOnly", "Close"} {
		room := t.TempDir()
		run(t, "mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", room)
		t.Cleanup(func() { run(t, "umount", room) })
		file := filepath.Join(room, "disk.img")
		run(t, "cp", "--sparse=always", ext4Image(t), file)
		m, err := plug(t, file).Mount(t.TempDir())
		must(t, err)
		must(t, m.Writable())
		must(t, os.WriteFile(filepath.Join(m.Dir, "report"), bytes.Repeat([]byte("x"), 6*mib), 0o644)) // is in memory
		if finish == "ReadOnly" {
			if err := m.ReadOnly(); !errors.Is(err, ErrMedium) {
				t.Errorf("ReadOnly: got %v, want ErrMedium", err)
			}
		}
		if err := m.Close(); finish == "Close" && !errors.Is(err, ErrMedium) {
			t.Errorf("Close: got %v, want ErrMedium", err)
		}
		if mountLine(t, m.Dir) != "" {
			t.Errorf("%s: still mounted", finish)
		}
	}
}

// pluggedTree is a stick that can be pulled out: an ext4 on a partition in a copied sysfs.
func pluggedTree(t *testing.T) (m tree, v Volume, pull func()) {
	t.Helper()
	image, err := os.ReadFile(ext4Image(t))
	must(t, err)
	m = machine(t)
	m.device(onUSB, masterBootRecord("", 0x83), "diskseq=17")
	m.device(onUSB+"/sda1", image, "partition=1")
	return m, only(t, m.sys, m.dev, "sda"), func() { must(t, os.Remove(filepath.Join(m.sys, "block/sda"))) }
}

func TestPulledOut(t *testing.T) {
	_, v, pull := pluggedTree(t)
	m, err := v.Mount(t.TempDir())
	must(t, err)
	must(t, m.Writable())
	f, err := os.Create(filepath.Join(m.Dir, "report"))
	must(t, err)
	pull()
	if err := m.Explain(unix.EIO); !errors.Is(err, ErrGone) {
		t.Errorf("Explain: got %v, want ErrGone", err)
	}
	if err := m.Close(); !errors.Is(err, ErrGone) {
		t.Errorf("Close: got %v, want ErrGone", err)
	}
	if mountLine(t, m.Dir) != "" {
		t.Error("still mounted")
	}
	must(t, f.Close())
	if _, err := v.Mount(t.TempDir()); !errors.Is(err, ErrGone) {
		t.Errorf("Mount: got %v, want ErrGone", err)
	}
}

// The same name, and another stick: it must not be taken for the first.
func TestAnotherStick(t *testing.T) {
	tree, v, _ := pluggedTree(t)
	write(t, filepath.Join(tree.sys, "devices", onUSB, "diskseq"), "18\n")
	if _, err := v.Mount(t.TempDir()); !errors.Is(err, ErrGone) {
		t.Errorf("other diskseq: got %v, want ErrGone", err)
	}
	_, v, _ = pluggedTree(t)
	m := mount(t, v)
	node := v.Device
	other := plug(t, ext4Image(t))
	var st unix.Stat_t
	must(t, unix.Stat(other.Device, &st))
	must(t, os.Remove(node))
	must(t, unix.Mknod(node, unix.S_IFBLK|0o600, int(st.Rdev)))
	must(t, m.Close()) // is the one that was mounted
	if _, err := v.Mount(t.TempDir()); !errors.Is(err, ErrGone) {
		t.Errorf("other node: got %v, want ErrGone", err)
	}
}

// A process that was killed leaves the partition's flag behind; the next must
// not take it for write protection.
func TestAfterAKill(t *testing.T) {
	_, v, _ := pluggedTree(t)
	run(t, "blockdev", "--setro", v.Device)
	m := mount(t, v)
	must(t, m.Writable())
	must(t, m.Close())
	if readOnlyFlag(t, v.Device) != 0 {
		t.Error("the flag stays")
	}
}

// The medium fails behind what was looked at.
func TestReadErrorsOfTheMedium(t *testing.T) {
	file := ext4Image(t)
	v := plug(t, file)
	must(t, os.Truncate(file, 512)) // reads beyond fail
	run(t, "blockdev", "--flushbufs", v.Device)
	m, err := v.Mount(t.TempDir())
	if err == nil {
		must(t, m.Close())
	}
	if !errors.Is(err, ErrMedium) {
		t.Errorf("Mount: got %v, want ErrMedium", err)
	}
	again := only(t, "", "", v.Stick.Name)
	if !errors.Is(again.Err, ErrMedium) || again.Kind != Unknown {
		t.Errorf("Disk: got %s, %v, want ErrMedium", again.Kind, again.Err)
	}
	if _, err := again.Mount(t.TempDir()); !errors.Is(err, ErrMedium) {
		t.Errorf("Mount of what could not be looked at: got %v, want ErrMedium", err)
	}
}

// A real disk with real partitions: an EFI system partition, two volumes and an
// extended partition, by both kinds of table.
func TestPartitions(t *testing.T) {
	tables := map[string]string{
		"gpt": "label: gpt\n2048,8192,U\n,32768,L\n,8192,E3C9E316-0B5C-4DB8-817D-F92DF00215AE\n,,L\n",
		"dos": "label: dos\n2048,8192,ef\n,32768,83\n,,Ex\n,8192,c\n",
	}
	want := map[string]string{
		"gpt": "p1 1 vfat esp clean; p2 2 ext4 clean; p4 4 empty",
		"dos": "p1 1 vfat esp clean; p2 2 ext4 clean; p5 5 empty",
	}
	for name, table := range tables {
		t.Run(name, func(t *testing.T) {
			file := blank(t, 64*mib)
			run(t, "sh", "-c", "sfdisk -q "+file+" < "+write(t, filepath.Join(t.TempDir(), "table"), table))
			fat, err := os.ReadFile(mkfs(t, "mkfs.vfat -F 12 FILE", 4))
			must(t, err)
			ext, err := os.ReadFile(ext4Image(t))
			must(t, err)
			put(t, file, 2048*512, fat)
			put(t, file, (2048+8192)*512, ext)
			dev := loop(t, file, "-P")
			partitions(t, dev)
			start := time.Now()
			vs, err := Disk("", "", filepath.Base(dev))
			must(t, err)
			if took := time.Since(start); took > settleLimit {
				t.Errorf("took %v", took)
			}
			got := strings.ReplaceAll(strings.Join(summary(vs), "; "), filepath.Base(dev), "")
			if got != want[name] {
				t.Fatalf("got  %s\nwant %s", got, want[name])
			}
			m := mount(t, vs[1])
			must(t, m.Writable())
			must(t, os.WriteFile(filepath.Join(m.Dir, "report"), nil, 0o644))
			must(t, m.Close())
			if !vs[0].PassedOver() || vs[1].PassedOver() || !vs[2].PassedOver() {
				t.Error("the wrong ones are passed over")
			}
		})
	}
}
