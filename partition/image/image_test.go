package image

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/plimsoll-ota/plimsoll/partition/internal/program"
)

const mib = 1 << 20

var when = time.Unix(1700000000, 0)

// needs skips a test where a program is not installed.
func needs(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := program.Find(p); err != nil {
			t.Skip(err)
		}
	}
}

func needsAll(t *testing.T) {
	t.Helper()
	needs(t, "mke2fs", "debugfs", "dumpe2fs", "e2fsck", "mkfs.fat", "mcopy", "mmd", "fakeroot")
}

// say runs a program and returns all that it says; it must succeed.
func say(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin", "LC_ALL=C", "TZ=UTC")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func write(t *testing.T, path string, b []byte) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func noise(seed byte, n int) []byte {
	b := make([]byte, n)
	x := uint32(seed) + 1
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

// folder is a small root file system.
func folder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "etc/hostname"), []byte("device\n"))
	write(t, filepath.Join(dir, "boot/Image"), noise(1, 3*mib+17))
	write(t, filepath.Join(dir, "usr/bin/tool"), noise(2, 9000))
	if err := os.Symlink("usr/bin", filepath.Join(dir, "bin")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// rootTar is a tar with everything that a root file system may hold.
func rootTar(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	add := func(h tar.Header, content string) {
		h.Format, h.ModTime, h.Size = tar.FormatPAX, time.Unix(1600000000, 0), int64(len(content))
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	capability := string([]byte{1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	add(tar.Header{Typeflag: tar.TypeDir, Name: "./", Mode: 0o755}, "")
	add(tar.Header{Typeflag: tar.TypeDir, Name: "./bin/", Mode: 0o755}, "")
	add(tar.Header{Typeflag: tar.TypeReg, Name: "./bin/su", Mode: 0o4755}, "set user id")
	add(tar.Header{Typeflag: tar.TypeReg, Name: "./bin/ping", Mode: 0o755, PAXRecords: map[string]string{
		"SCHILY.xattr.security.capability": capability, "SCHILY.xattr.user.note": "hello \x00 there",
	}}, "with a capability")
	add(tar.Header{Typeflag: tar.TypeLink, Name: "./bin/ping6", Linkname: "./bin/ping"}, "")
	add(tar.Header{Typeflag: tar.TypeSymlink, Name: "./bin/pong", Linkname: "ping", Mode: 0o777}, "")
	add(tar.Header{Typeflag: tar.TypeChar, Name: "./dev/null", Mode: 0o666, Devmajor: 1, Devminor: 3}, "") // ./dev is not listed
	add(tar.Header{Typeflag: tar.TypeBlock, Name: "./dev/sda", Mode: 0o660, Gid: 6, Devmajor: 8}, "")
	add(tar.Header{Typeflag: tar.TypeFifo, Name: "./dev/fifo", Mode: 0o600}, "")
	add(tar.Header{Typeflag: tar.TypeDir, Name: "./home/me/", Mode: 0o700, Uid: 1000, Gid: 1001}, "")
	add(tar.Header{Typeflag: tar.TypeReg, Name: "./home/me/file", Mode: 0o640, Uid: 1000, Gid: 1001}, "mine")
	add(tar.Header{Typeflag: tar.TypeDir, Name: "./var/empty/", Mode: 0}, "")
	add(tar.Header{Typeflag: tar.TypeReg, Name: "./etc/name with spaces", Mode: 0o600}, "x")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// standard is a disk with everything: a boot partition of that size, two slots
// of which one is empty, a data partition, two areas.
func standard(t *testing.T, table string, boot int64) *Disk {
	t.Helper()
	dir := t.TempDir()
	slot, data := filepath.Join(dir, "slot"), filepath.Join(dir, "data")
	for path, e := range map[string]Ext4{
		slot: {Source: folder(t), Size: 32 * mib, Time: when},
		data: {Size: 16 * mib, Label: "data", ID: ID{1}, Time: when},
	} {
		if err := e.Make(t.Context(), path); err != nil {
			t.Fatal(err)
		}
	}
	d := &Disk{
		Table: table, ID: ID{7}, Time: when,
		Areas: []Area{{"copy 1", 4 * mib, noise(3, 16384)}, {"copy 2", 8 * mib, make([]byte, 16384)}},
		Partitions: []Partition{
			{Name: "boot", Boot: true, Start: 12 * mib, Size: boot, Label: "boot", FAT: []File{
				{Name: "boot.scr", Data: []byte("script")},
				{Name: "empty"},
				{Name: "bcm2710-rpi-3-b.dtb", Data: noise(4, 4096)},
				{Name: "bcm2710-rpi-3-b-plus.dtb", Data: noise(5, 4097)},
				{Name: "overlays/a-long-name.dtbo", Data: noise(6, 100)},
				{Name: "overlays/deep/b.dtbo", Data: make([]byte, 70000)},
				{Name: "firmware.bin", From: write(t, filepath.Join(dir, "fw"), noise(7, 2*mib))},
			}},
		},
	}
	at := 12*mib + boot
	for _, p := range []Partition{{Name: "a", Size: 32 * mib, Image: slot}, {Name: "b", Size: 32 * mib}, {Name: "data", Size: 16 * mib, Image: data}} {
		p.Start = (at + Align - 1) / Align * Align
		at = p.Start + p.Size
		d.Partitions = append(d.Partitions, p)
	}
	d.Size = at + mib
	return d
}

// part copies a partition out of an image.
func part(t *testing.T, img string, p Partition) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), p.Name)
	say(t, "dd", "if="+img, "of="+path, "bs=1M", "conv=sparse", "status=none",
		fmt.Sprintf("skip=%d", p.Start/mib), fmt.Sprintf("count=%d", p.Size/mib))
	if err := os.Truncate(path, p.Size); err != nil {
		t.Fatal(err)
	}
	return path
}

// sound lets everybody's tools look at an image.
func sound(t *testing.T, d *Disk, img string) {
	t.Helper()
	if out := say(t, "sfdisk", "--verify", img); !strings.Contains(out, "No errors detected") {
		t.Errorf("sfdisk --verify: %s", out)
	}
	if out := say(t, "sfdisk", "-l", img); strings.Contains(strings.ToLower(out), "warning") || strings.Contains(out, "mismatch") || strings.Contains(out, "not ") {
		t.Errorf("sfdisk -l: %s", out)
	}
	boot := part(t, img, d.Partitions[0])
	if out := say(t, "fsck.vfat", "-n", boot); len(strings.Split(strings.TrimSpace(out), "\n")) != 2 {
		t.Errorf("fsck.vfat: %s", out)
	}
	for _, f := range d.Partitions[0].FAT {
		if out := say(t, "mdir", "-i", boot, "::/"+f.Name); !strings.Contains(out, "2023-11-14  22:13") {
			t.Errorf("mdir %s: %s", f.Name, out)
		}
	}
	for _, p := range d.Partitions[1:] {
		if p.Image != "" {
			say(t, "e2fsck", "-fn", part(t, img, p))
		}
	}
}

func TestWrite(t *testing.T) {
	needsAll(t)
	needs(t, "sfdisk", "fsck.vfat", "bmaptool")
	for _, c := range []struct {
		table string
		boot  int64
		kind  string
	}{
		{MBR, 8 * mib, "FAT12"}, {MBR, 16 * mib, "FAT16"}, {GPT, 40 * mib, "FAT16"}, {MBR, 64 * mib, "FAT16"},
		{GPT, 264 * mib, "FAT16"}, {MBR, 512 * mib, "FAT32"},
	} {
		t.Run(fmt.Sprintf("%s-%d", c.table, c.boot/mib), func(t *testing.T) {
			t.Parallel()
			d := standard(t, c.table, c.boot)
			img := filepath.Join(t.TempDir(), "disk.img")
			d.Bmap = true
			if err := d.Write(t.Context(), img); err != nil {
				t.Fatal(err)
			}
			sound(t, d, img)
			if out := say(t, "minfo", "-i", fmt.Sprintf("%s@@%d", img, d.Partitions[0].Start), "::"); !strings.Contains(out, c.kind) {
				t.Errorf("minfo does not say %s: %s", c.kind, out)
			}
			var st syscall.Stat_t
			if err := syscall.Stat(img, &st); err != nil || st.Blocks*512 > 12*mib {
				t.Errorf("%d bytes on disk (%v): not sparse", st.Blocks*512, err)
			}
			copied(t, d, img)
			left(t, filepath.Dir(img), "disk.img", "disk.img.bmap")
		})
	}
}

// copied lets bmaptool copy an image over a medium full of rubbish: what is on
// it afterwards must be as good as the image, though not every byte is the same.
func copied(t *testing.T, d *Disk, img string) {
	t.Helper()
	medium := filepath.Join(t.TempDir(), "medium")
	rubbish(t, d, medium)
	say(t, "bmaptool", "copy", "--bmap", img+".bmap", img, medium)
	sound(t, d, medium)
	f, err := os.Open(medium)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	holds := func(what string, off int64, want []byte) {
		got := make([]byte, len(want))
		if _, err := f.ReadAt(got, off); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: not what is on the medium (%v)", what, err)
		}
	}
	for _, a := range d.Areas {
		holds(a.Name, a.Offset, a.Data)
	}
	holds("the empty partition", d.Partitions[2].Start, make([]byte, mib))

	if d.Size > 200*mib {
		return
	}
	fresh := filepath.Join(t.TempDir(), "fresh")
	say(t, "bmaptool", "copy", "--bmap", img+".bmap", img, fresh)
	say(t, "cmp", fresh, img)
}

// rubbish makes a medium that was used before: with something everywhere in
// front of the partitions, in the first 16 MiB of each, and at the end.
func rubbish(t *testing.T, d *Disk, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fill := func(start, end int64) {
		if _, err := f.WriteAt(bytes.Repeat([]byte{0xa5}, int(end-start)), start); err != nil {
			t.Fatal(err)
		}
	}
	fill(0, d.Partitions[0].Start)
	for _, p := range d.Partitions {
		fill(p.Start, p.Start+min(p.Size, 16*mib))
	}
	fill(d.Size-mib, d.Size)
}

// left expects no more than these in a folder.
func left(t *testing.T, dir string, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if fmt.Sprint(got) != fmt.Sprint(names) {
		t.Errorf("the folder holds %q, want %q", got, names)
	}
}

// What stands in the tables.
func TestTables(t *testing.T) {
	needsAll(t)
	needs(t, "sfdisk")
	dir := t.TempDir()
	for table, want := range map[string][]string{
		MBR: {"label: dos", "label-id: 0x", "start=       24576, size=       32768, type=c, bootable", "size=       65536, type=83"},
		GPT: {
			"label: gpt", `name="boot", attrs="LegacyBIOSBootable"`, `name="data"`,
			"type=EBD0A0A2-B9E5-4433-87C0-68B6B72699C7", "type=0FC63DAF-8483-4772-8E79-3D69D8477DE4",
			"uuid=" + strings.ToUpper(ID{7}.Sub("partition 2").UUID()),
		},
	} {
		img := filepath.Join(dir, table)
		if err := standard(t, table, 16*mib).Write(t.Context(), img); err != nil {
			t.Fatal(err)
		}
		out := say(t, "sfdisk", "-d", img)
		for _, w := range want {
			if !strings.Contains(out, w) {
				t.Errorf("%s: sfdisk does not say %q:\n%s", table, w, out)
			}
		}
		if strings.Contains(out, "label-id: 0x00000000") {
			t.Error("the MBR has no signature")
		}
	}
}

func TestCheck(t *testing.T) {
	good := func() *Disk {
		return &Disk{
			Table: MBR, Size: 64 * mib,
			Areas:      []Area{{"environment", 4 * mib, make([]byte, 4096)}},
			Partitions: []Partition{{Name: "one", Start: 8 * mib, Size: 8 * mib}, {Name: "two", Start: 16 * mib, Size: 48 * mib}},
		}
	}
	if err := good().Check(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*Disk)
		want   error
		says   string
	}{
		"no table":                        {func(d *Disk) { d.Table = "sun" }, ErrLayout, "sun"},
		"a size that is none":             {func(d *Disk) { d.Size = 1000 }, ErrLayout, "1000"},
		"partitions overlap":              {func(d *Disk) { d.Partitions[0].Size = 9 * mib }, ErrLayout, "partition 1 (one) (8388608 to 17825792) reaches into partition 2 (two)"},
		"a partition over the end":        {func(d *Disk) { d.Partitions[1].Size = 49 * mib }, ErrSize, "ends at 68157440 and the disk at 67108864"},
		"a start that is not aligned":     {func(d *Disk) { d.Partitions[0].Start = 9 * mib; d.Partitions[0].Size = mib }, ErrLayout, "9437184"},
		"no size":                         {func(d *Disk) { d.Partitions[0].Size = 0 }, ErrLayout, "partition 1"},
		"an area in a partition":          {func(d *Disk) { d.Areas[0].Offset = 9 * mib }, ErrLayout, "reaches into environment"},
		"an area in the table":            {func(d *Disk) { d.Areas[0].Offset = 0 }, ErrLayout, "partition table"},
		"an area beside a sector":         {func(d *Disk) { d.Areas[0].Offset += 5 }, ErrLayout, "environment"},
		"areas that overlap":              {func(d *Disk) { d.Areas = append(d.Areas, Area{"second", 4*mib + 512, []byte{1}}) }, ErrLayout, "reaches into second"},
		"no room for a second GPT":        {func(d *Disk) { d.Table = GPT }, ErrLayout, "second partition table"},
		"an area in the entries of a GPT": {func(d *Disk) { d.Table, d.Size, d.Areas[0].Offset = GPT, 65*mib, 1024 }, ErrLayout, "the partition table"},
		"two contents":                    {func(d *Disk) { d.Partitions[0].FAT, d.Partitions[0].Image = []File{}, "x" }, ErrLayout, "two contents"},
		"five in an MBR": {func(d *Disk) {
			d.Size = 128 * mib
			for i := range 3 {
				d.Partitions = append(d.Partitions, Partition{Start: int64(64+4*i) * mib, Size: mib})
			}
		}, ErrLayout, "room for 4"},
		"an MBR beyond 2 TiB": {func(d *Disk) { d.Size = 3 << 40 }, ErrLayout, "needs a GPT"},
	} {
		d := good()
		c.change(d)
		err := d.Check()
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v, want %v with %q", name, err, c.want, c.says)
		}
		if werr := d.Write(t.Context(), filepath.Join(t.TempDir(), "x")); !errors.Is(werr, c.want) {
			t.Errorf("%s: Write: got %v", name, werr)
		}
	}
}

// What does not fit is refused with both sizes, and leaves nothing.
func TestTooLarge(t *testing.T) {
	needsAll(t)
	for name, c := range map[string]struct {
		change func(*Disk)
		says   []string
	}{
		"an image larger than its partition": {func(d *Disk) { d.Partitions[3].Image = d.Partitions[1].Image }, []string{"33554432", "16777216"}},
		"firmware larger than its partition": {
			func(d *Disk) { d.Partitions[0].FAT[0].Data = noise(9, 17*mib) }, []string{"16777216"},
		},
		"firmware that leaves no room for the tables": {
			func(d *Disk) { d.Partitions[0].FAT[0].Data = noise(9, 14*mib-70000) }, []string{"16777216"},
		},
	} {
		d := standard(t, MBR, 16*mib)
		c.change(d)
		img := filepath.Join(t.TempDir(), "disk.img")
		d.Bmap = true
		err := d.Write(t.Context(), img)
		if !errors.Is(err, ErrSize) {
			t.Errorf("%s: got %v", name, err)
			continue
		}
		for _, s := range c.says {
			if !strings.Contains(err.Error(), s) {
				t.Errorf("%s: %q is not in %v", name, s, err)
			}
		}
		left(t, filepath.Dir(img))
	}
}

// Two names that are one to a FAT.
func TestFATNames(t *testing.T) {
	needsAll(t)
	d := standard(t, MBR, 16*mib)
	d.Partitions[0].FAT = append(d.Partitions[0].FAT, File{Name: "BOOT.SCR"})
	if err := d.Write(t.Context(), filepath.Join(t.TempDir(), "x")); err == nil || !strings.Contains(err.Error(), "boot.scr and BOOT.SCR") {
		t.Errorf("got %v", err)
	}
}

// asked tells the test binary to make file systems, as another user: the value
// is what from, and where to.
const asked = "IMAGE_TEST_MAKE"

func TestMain(m *testing.M) {
	if v, ok := os.LookupEnv(asked); ok {
		src, out, _ := strings.Cut(v, " ")
		if err := makeAll(context.Background(), src, out); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// makeAll makes a file system from each thing in a folder.
func makeAll(ctx context.Context, src, out string) error {
	entries, err := os.ReadDir(src)
	for _, e := range entries {
		path := filepath.Join(out, e.Name())
		fs := Ext4{Source: filepath.Join(src, e.Name()), Size: 24 * mib, ID: ID{3}, Time: when}
		if err := fs.Make(ctx, path); err != nil {
			return err
		}
		if err := AddFiles(ctx, path, when, File{Name: "/etc/new/file", Data: []byte("new"), Mode: 0o600}); err != nil {
			return err
		}
	}
	return err
}

// The same values, the same bytes: also for another user, in another time zone,
// with another umask, a moment later.
func TestReproducible(t *testing.T) {
	needsAll(t)
	src, one, two := t.TempDir(), t.TempDir(), t.TempDir()
	write(t, filepath.Join(src, "root.tar"), rootTar(t))
	if err := os.Rename(folder(t), filepath.Join(src, "folder")); err != nil {
		t.Fatal(err)
	}
	if err := makeAll(t.Context(), src, one); err != nil {
		t.Fatal(err)
	}
	time.Sleep(1100 * time.Millisecond)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "TZ=Asia/Tokyo", asked+"="+src+" "+two)
	if os.Geteuid() == 0 {
		const nobody = 65534
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		reachable(t, src)
		reachable(t, two)
		if err := os.Chown(two, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	old := syscall.Umask(0o077)
	out, err := cmd.CombinedOutput()
	syscall.Umask(old)
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, name := range []string{"root.tar", "folder"} {
		if !bytes.Equal(read(t, filepath.Join(one, name)), read(t, filepath.Join(two, name))) {
			t.Errorf("%s: for somebody else it is another", name)
		}
	}
	d := standard(t, GPT, 16*mib)
	var images [2][]byte
	for i := range images {
		img := filepath.Join(t.TempDir(), "disk")
		d.Bmap = true
		if err := d.Write(t.Context(), img); err != nil {
			t.Fatal(err)
		}
		images[i] = append(read(t, img), read(t, img+".bmap")...)
		time.Sleep(1100 * time.Millisecond)
	}
	if !bytes.Equal(images[0], images[1]) {
		t.Error("the second image is another")
	}
}

// reachable opens the folders above a test's own to others.
func reachable(t *testing.T, dir string) {
	t.Helper()
	for ; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// Cancelled at any moment, it says so and leaves nothing.
func TestCancelled(t *testing.T) {
	needsAll(t)
	d := standard(t, MBR, 16*mib)
	why := errors.New("somebody pressed a key")
	for n := range 40 {
		ctx, cancel := context.WithCancelCause(t.Context())
		calls := 0
		d.Report = func(int64, int64) {
			if calls++; calls > n {
				cancel(why)
			}
		}
		img := filepath.Join(t.TempDir(), "disk.img")
		d.Bmap = true
		err := d.Write(ctx, img)
		if err == nil && calls <= n {
			return // it was through before that
		}
		if !errors.Is(err, why) {
			t.Fatalf("cancelled at report %d: got %v", n, err)
		}
		left(t, filepath.Dir(img))
	}
}

// A program that is running is ended as well.
func TestCancelledProgram(t *testing.T) {
	needsAll(t)
	why := errors.New("enough")
	for _, after := range []time.Duration{0, 5 * time.Millisecond, 20 * time.Millisecond, 60 * time.Millisecond} {
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(after, func() { cancel(why) })
		dir := t.TempDir()
		src := write(t, filepath.Join(t.TempDir(), "root.tar"), rootTar(t))
		begun := time.Now()
		err := Ext4{Source: src, Size: 400 * mib, Time: when}.Make(ctx, filepath.Join(dir, "x"))
		if err != nil && !errors.Is(err, why) {
			t.Errorf("after %v: got %v", after, err)
		}
		if time.Since(begun) > 4*time.Second {
			t.Errorf("after %v: it took %v to end", after, time.Since(begun))
		}
		entries, _ := filepath.Glob(filepath.Join(dir, ".*"))
		if len(entries) > 0 {
			t.Errorf("after %v: left %q", after, entries)
		}
	}
}

// A disk that is full, at every size: an error, and nothing is left.
func TestDiskFull(t *testing.T) {
	needsAll(t)
	if os.Geteuid() != 0 {
		t.Skip("only root can mount a small file system to fill up")
	}
	d := standard(t, MBR, 16*mib)
	made := false
	for _, size := range []string{"64k", "512k", "1m", "2m", "3m", "4m", "5m", "6m", "8m", "40m"} {
		dir := t.TempDir()
		if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size="+size, "tmpfs", dir).CombinedOutput(); err != nil {
			t.Skipf("mount: %s", out)
		}
		t.Cleanup(func() { exec.Command("umount", dir).Run() })
		img := filepath.Join(dir, "disk.img")
		d.Bmap = true
		err := d.Write(t.Context(), img)
		if err != nil {
			left(t, dir)
			if made || !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("in %s: got %v", size, err)
			}
		} else {
			made = true
		}
		e := Ext4{Source: d.Partitions[1].Image, Size: 32 * mib, Time: when}
		if err := e.Make(t.Context(), filepath.Join(dir, "slot")); err != nil && !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("ext4 in %s: got %v", size, err)
		}
	}
	if !made {
		t.Error("it never had room enough")
	}
}

// Without a program the error names its package.
func TestProgramMissing(t *testing.T) {
	_, _, err := program.Call{Name: "mke2fs-of-the-future"}.Run(t.Context())
	if !errors.Is(err, ErrProgram) {
		t.Errorf("got %v", err)
	}
}
