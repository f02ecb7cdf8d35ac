package partition

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

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

// loop shows file as a block device until the test ends.
func loop(t *testing.T, file string, args ...string) string {
	t.Helper()
	asRoot(t)
	dev := run(t, "losetup", append(args, "-f", "--show", file)...)
	t.Cleanup(func() {
		if out, err := exec.Command("losetup", "-d", dev).CombinedOutput(); err != nil {
			t.Errorf("detach %s: %v %s", dev, err, out)
		}
	})
	return dev
}

func file(t *testing.T, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// loopPair makes two slots on loop devices; the files behind them come along.
func loopPair(t *testing.T, a, b []byte, args ...string) (p Pair, fileA, fileB string) {
	t.Helper()
	fileA, fileB = file(t, "a.img", a), file(t, "b.img", b)
	p, err := Host{}.Find(Spec{A: loop(t, fileA, args...), B: loop(t, fileB, args...), APart: 2, BPart: 3})
	if err != nil {
		t.Fatal(err)
	}
	return p, fileA, fileB
}

// written returns how many sectors the kernel has written to a device. (It
// counts a flush, which is wanted in any case, as a write without sectors.)
func written(t *testing.T, dev string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("/sys/block", filepath.Base(dev), "stat"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(b))[6]
}

func TestLoopDevice(t *testing.T) {
	for _, sector := range []string{"512", "4096"} {
		old, image := noise(2, 3*mib+4096), noise(1, 2*mib+700)
		p, _, behind := loopPair(t, noise(3, mib), old, "-b", sector)
		if _, err := install(t, p.B, image); err != nil {
			t.Fatal(err)
		}
		run(t, "sync", behind)
		want := append(bytes.Clone(image), old[len(image):]...)
		if got, _ := os.ReadFile(behind); !bytes.Equal(got, want) {
			t.Errorf("sector %s: the medium is not the image followed by what was there", sector)
		}
		before := written(t, p.B.Path)
		if before == "0" {
			t.Error("the kernel counted no sectors for the whole image")
		}
		if n, err := install(t, p.B, image); err != nil || n != 0 {
			t.Errorf("the same image again: got %d bytes, %v", n, err)
		}
		if after := written(t, p.B.Path); after != before {
			t.Errorf("the same image again: the kernel counted %s sectors, before %s", after, before)
		}
		if n, err := p.B.Size(); err != nil || n != int64(len(old)) {
			t.Errorf("Size: got %d, %v, want %d", n, err, len(old))
		}
		if _, err := p.B.Create(int64(len(old)) + 1); !errors.Is(err, ErrSize) {
			t.Errorf("Create of one byte too many: got %v, want ErrSize", err)
		}
	}
}

// What was written is still in the page cache, and right there; the medium has
// lost it. Only a read past the cache can tell.
func TestMediumLies(t *testing.T) {
	image := noise(1, 3*mib)
	for name, old := range map[string][]byte{"all written": noise(2, 3*mib), "nothing written": image} {
		for _, off := range []int64{mib, 2*mib + 12345, 3*mib - 1} {
			p, _, behind := loopPair(t, noise(3, mib), old)
			cached := pin(t, p.B.Path, 3*mib)
			w, err := p.B.Create(int64(len(image)))
			if err != nil {
				t.Fatal(err)
			}
			defer w.Abort()
			if _, err := w.Write(image); err != nil {
				t.Fatal(err)
			}
			if err := w.held.Sync(); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(cached[mib:], image[mib:]) { // reads it once more, where direct writes have dropped it
				t.Fatal("the page cache does not hold the image")
			}
			poke(t, behind, off, image[off]+1)
			if cached[off] != image[off] {
				t.Fatal("the page cache does not hold the image any more")
			}
			if err := w.Verify(context.Background(), sha256.Sum256(image), nil); !errors.Is(err, ErrReadBack) {
				t.Errorf("%s, byte %d: got %v, want ErrReadBack", name, off, err)
			}
			if err := w.Close(); !errors.Is(err, ErrReadBack) {
				t.Errorf("%s, byte %d: Close: got %v, want ErrReadBack", name, off, err)
			}
			if err := p.B.ReadBack(context.Background(), 3*mib, sha256.Sum256(image), nil); !errors.Is(err, ErrReadBack) {
				t.Errorf("%s, byte %d: ReadBack: got %v, want ErrReadBack", name, off, err)
			}
		}
	}
}

// What the page cache believes is not what is compared: a block that is right in
// the cache and wrong on the medium is written.
func TestStaleCache(t *testing.T) {
	image := noise(1, 2*mib)
	p, _, behind := loopPair(t, noise(3, mib), image)
	cached := pin(t, p.B.Path, 2*mib)
	poke(t, behind, mib+4096, image[mib+4096]+1)
	if cached[mib+4096] != image[mib+4096] {
		t.Fatal("the page cache does not hold the image")
	}
	if n, err := install(t, p.B, image); err != nil || n != 2*mib+4096 {
		t.Errorf("got %d bytes written, %v; want one block, and the first MiB twice", n, err)
	}
	run(t, "sync", behind)
	if got, _ := os.ReadFile(behind); !bytes.Equal(got, image) {
		t.Error("the medium does not hold the image")
	}
}

// A medium that loses a byte of the first MiB after the very last flush is found
// out, whichever way it is read.
func TestMediumLosesFirstMiB(t *testing.T) {
	image, old := noise(1, 2*mib), noise(2, 2*mib)
	moves := len(record(t, fileSlot(t, old), image))
	for _, direct := range []bool{true, false} {
		p, _, behind := loopPair(t, noise(3, mib), old)
		w, err := p.B.Create(int64(len(image)))
		if err != nil {
			t.Fatal(err)
		}
		defer w.Abort()
		if !direct {
			if err := w.med.buffered(); err != nil {
				t.Fatal(err)
			}
		}
		n, writeAt, zeroAt, flush := 0, w.writeAt, w.zeroAt, w.flush
		w.writeAt = func(b []byte, off int64) (int, error) { n++; return writeAt(b, off) }
		w.zeroAt = func(off, k int64) (bool, error) { n++; return zeroAt(off, k) }
		w.flush = func() error {
			err := flush()
			if n++; n == moves {
				poke(t, behind, 70000, image[70000]+1)
			}
			return err
		}
		if _, err := writeAll(w, image); !errors.Is(err, ErrReadBack) {
			t.Errorf("direct %v: got %v, want ErrReadBack", direct, err)
		}
		w.Abort()
		run(t, "sync", behind)
		if got, _ := os.ReadFile(behind); !intact(got, old, image) {
			t.Errorf("direct %v: the slot can be loaded", direct)
		}
	}
}

// pin keeps n bytes of a device in the page cache: what is mapped and locked is
// not dropped by advice.
func pin(t *testing.T, dev string, n int) []byte {
	t.Helper()
	f, err := os.Open(dev)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := unix.Mmap(int(f.Fd()), 0, n, unix.PROT_READ, unix.MAP_SHARED|unix.MAP_POPULATE|unix.MAP_LOCKED)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Munmap(b) })
	return b
}

func poke(t *testing.T, path string, off int64, b byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte{b}, off); err != nil {
		t.Fatal(err)
	}
}

func TestInUse(t *testing.T) {
	p, fileA, _ := loopPair(t, make([]byte, 4*mib), make([]byte, 4*mib))
	refused := func(name string, s Slot) {
		t.Helper()
		if _, err := s.Create(1000); !errors.Is(err, ErrInUse) {
			t.Errorf("%s: Create: got %v, want ErrInUse", name, err)
		}
		if err := s.ReadBack(context.Background(), 1, [32]byte{}, nil); !errors.Is(err, ErrInUse) {
			t.Errorf("%s: ReadBack: got %v, want ErrInUse", name, err)
		}
	}
	free := func(name string) {
		t.Helper()
		w, err := p.B.Create(1000)
		if err != nil {
			t.Fatalf("after %s: %v", name, err)
		}
		w.Abort()
	}
	refused("shown by a loop device", Slot{Name: "A", Part: 2, Path: fileA})

	run(t, "mkfs.ext4", "-q", p.B.Path)
	dir := t.TempDir()
	run(t, "mount", p.B.Path, dir)
	refused("mounted", p.B)
	run(t, "umount", dir)
	free("umount")

	other := exec.Command("unshare", "-m", "--propagation", "private", "sh", "-c", "mount "+p.B.Path+" "+dir+" && echo mounted && read wait")
	in, err := other.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := other.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile("/proc/self/mountinfo"); strings.Contains(string(b), p.B.Path+" ") {
		t.Fatal("the mount is visible here")
	}
	refused("mounted in another namespace", p.B)
	in.Close()
	_ = other.Wait() // read at the end of input is an error to sh
	free("the namespace ended")

	run(t, "mkswap", p.B.Path)
	run(t, "swapon", p.B.Path)
	refused("swapped to", p.B)
	run(t, "swapoff", p.B.Path)
	free("swapoff")

	held, err := os.OpenFile(p.B.Path, os.O_RDONLY|unix.O_EXCL, 0)
	if err != nil {
		t.Fatal(err)
	}
	refused("held by another program", p.B)
	held.Close()
	free("release")
}

// A slot is what was found, not what its name has come to mean.
func TestReplaced(t *testing.T) {
	p, fileA, _ := loopPair(t, make([]byte, mib), make([]byte, mib))
	moved := p.B
	moved.Path = p.A.Path
	if _, err := moved.Create(1000); !errors.Is(err, ErrNoSlot) {
		t.Errorf("another device: got %v, want ErrNoSlot", err)
	}
	moved.Path = fileA
	if _, err := moved.Create(1000); err == nil {
		t.Error("a plain file in place of the device: no error")
	}
}

func TestReadOnlyDevice(t *testing.T) {
	p, _, behind := loopPair(t, make([]byte, mib), noise(1, mib), "-r")
	if _, err := p.B.Create(1000); err == nil {
		t.Error("got nil, want an error before anything is written")
	}
	if got, _ := os.ReadFile(behind); !bytes.Equal(got, noise(1, mib)) {
		t.Error("the slot changed")
	}
}

func TestSameSlotForReal(t *testing.T) {
	fileA := file(t, "slot2.img", make([]byte, mib))
	dir := filepath.Dir(fileA)
	hard, soft, twice := filepath.Join(dir, "hard3"), filepath.Join(dir, "soft3"), filepath.Join(dir, "twice4")
	for _, err := range []error{os.Link(fileA, hard), os.Symlink(fileA, soft), os.Symlink(soft, twice)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	one, two := loop(t, fileA), loop(t, fileA)
	low, high := loop(t, fileA, "--sizelimit", "524288"), loop(t, fileA, "--offset", "524288")
	other := file(t, "slot5.img", make([]byte, mib))
	link := filepath.Join(dir, "dev6")
	if err := os.Symlink(one, link); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		a, b string
		want error
	}{
		{"the same path", fileA, fileA, ErrSameSlot},
		{"a hard link", fileA, hard, ErrSameSlot},
		{"a symlink", fileA, soft, ErrSameSlot},
		{"a symlink to a symlink", hard, twice, ErrSameSlot},
		{"the same device", one, one, ErrSameSlot},
		{"a symlink to the device", one, link, ErrSameSlot},
		{"two loop devices of one file", one, two, ErrSameSlot},
		{"a file and its loop device", fileA, one, ErrSameSlot},
		{"overlapping parts of one file", one, high, ErrSameSlot},
		{"separate parts of one file", low, high, nil},
		{"a hard link's loop device", hard, two, ErrSameSlot},
		{"two files", fileA, other, nil},
		{"a device and a file", one, other, nil},
	} {
		_, err := Host{}.Find(Spec{A: c.a, B: c.b, APart: 2, BPart: 3})
		if !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
	}
}

// A disk that is full before the image is on it: an error that says so, never
// success, never another size of the slot, and nothing to load.
func TestFullDisk(t *testing.T) {
	asRoot(t)
	dir := t.TempDir()
	run(t, "mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", dir)
	t.Cleanup(func() { run(t, "umount", dir) })
	image := noise(1, mib+300*1024+17)
	const slotSize = 2*mib + 5
	s := Slot{Name: "B", Part: 3, Path: filepath.Join(dir, "slot3.img")}
	pages := (len(image) + block4 - 1) / block4
	failed, done := 0, 0
	for n := 1; n <= pages+3; n++ {
		if n > 4 && n < 74 && n%16 != 0 { // the first pages, the last, and every one in the MiB that comes last
			continue
		}
		os.Remove(s.Path)
		run(t, "mount", "-o", fmt.Sprintf("remount,size=%dk", 4*n), dir)
		if err := os.WriteFile(s.Path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(s.Path, slotSize); err != nil {
			t.Fatal(err)
		}
		_, err := install(t, s, image)
		got := contents(t, s)
		if len(got) != slotSize {
			t.Fatalf("%d pages: the slot has %d bytes now, %d before", n, len(got), slotSize)
		}
		if err == nil {
			done++
			if !bytes.Equal(got[:len(image)], image) {
				t.Errorf("%d pages: success, but the slot is not the image", n)
			}
			continue
		}
		failed++
		if !errors.Is(err, unix.ENOSPC) {
			t.Errorf("%d pages: got %v, want ENOSPC", n, err)
		}
		if !intact(got, make([]byte, slotSize), image) {
			t.Errorf("%d pages: a half-written slot with a first block", n)
		}
	}
	if failed < 250 || done == 0 {
		t.Errorf("%d sizes failed and %d did not: the test does not test what it should", failed, done)
	}
}

// A real disk: its table as parted writes it, its partitions as the kernel
// numbers them.
func TestPartitionedDisk(t *testing.T) {
	asRoot(t)
	for _, label := range []string{"gpt", "msdos"} {
		img := file(t, "disk.img", make([]byte, 16*mib))
		run(t, "parted", "-s", img, "mklabel", label, "mkpart", "primary", "1MiB", "4MiB", "mkpart", "primary", "4MiB", "8MiB", "mkpart", "primary", "8MiB", "12MiB")
		disk := loop(t, img)
		run(t, "partx", "-u", disk) // not every kernel reads tables itself
		t.Cleanup(func() { run(t, "partx", "-d", disk) })
		var ids []string
		for _, part := range []string{"2", "3"} {
			ids = append(ids, run(t, "partx", "-g", "-o", "UUID", "-n", part, img))
		}
		p, err := Host{}.Find(Spec{A: "PARTUUID=" + strings.ToUpper(ids[0]), B: "partuuid=" + ids[1]})
		if err != nil {
			t.Fatal(err)
		}
		if p.A.Path != disk+"p2" || p.B.Path != disk+"p3" || p.A.Part != 2 || p.B.Part != 3 {
			t.Errorf("%s: got %v number %d and %v number %d", label, p.A, p.A.Part, p.B, p.B.Part)
		}
		if _, err := (Host{}).Find(Spec{A: disk, B: disk + "p3", APart: 2}); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s: a disk with partitions: got %v, want ErrUnsupported", label, err)
		}
		id := run(t, "blkid", "-p", "-s", "PTUUID", "-o", "value", disk)
		kind := map[string]string{"gpt": "gpt:", "msdos": "mbr:"}[label]
		if n, err := install(t, p.B, noise(1, 2*mib)); err != nil || n == 0 {
			t.Errorf("%s: install: got %d, %v", label, n, err)
		}
		b, _ := Host{}.block(p.B.dev)
		if got := (Host{}).readTable(b.disk()).id; got != kind+id {
			t.Errorf("%s: got table %q, want %q", label, got, kind+id)
		}
		if same, err := (Host{}).SameDisk(p.A, disk+"p1"); err != nil || !same {
			t.Errorf("%s: SameDisk of another partition: got %v, %v", label, same, err)
		}
		if same, err := (Host{}).SameDisk(p.A, disk); err != nil || !same {
			t.Errorf("%s: SameDisk of the whole disk: got %v, %v", label, same, err)
		}
	}
}
