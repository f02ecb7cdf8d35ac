package files

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// treeSource makes a folder with a file of every kind that needs no root.
func treeSource(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	noise := make([]byte, 3_000_000)
	if _, err := rand.NewChaCha8([32]byte{}).Read(noise); err != nil {
		t.Fatal(err)
	}
	for name, body := range map[string]string{
		"big": string(noise), "small": "hi\n", "none": "", "inline": strings.Repeat("x", 100), "deep/a/b/c": "deep", "\xff ä\n": "a name",
		"holes": "", "holes-only": "", "setuid": "#!",
	} {
		treeWrite(t, filepath.Join(dir, name), body)
	}
	for i := range 2000 {
		treeWrite(t, filepath.Join(dir, "many", fmt.Sprintf("a-file-with-a-long-name-%d", i)), fmt.Sprint(i))
	}
	holes := filepath.Join(dir, "holes")
	for off, b := range map[int64]string{5000: "a", 700_000: string(noise[:9000]), 40_000_000: "end"} {
		f, err := os.OpenFile(holes, os.O_WRONLY, 0)
		if err == nil {
			_, err = f.WriteAt([]byte(b), off)
		}
		if err = errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	err := errors.Join(os.Truncate(filepath.Join(dir, "holes-only"), 1<<33), os.Chmod(filepath.Join(dir, "setuid"), 0o4711|fs.ModeSetuid),
		os.Symlink("small", filepath.Join(dir, "fast")), os.Symlink(strings.Repeat("slow/", 40), filepath.Join(dir, "slow")),
		os.Symlink(strings.Repeat("y", 59), filepath.Join(dir, "59")), os.Symlink(strings.Repeat("y", 60), filepath.Join(dir, "60")),
		os.Link(filepath.Join(dir, "small"), filepath.Join(dir, "hard")), syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600), os.Mkdir(filepath.Join(dir, "empty"), 0o1777))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func treeWrite(t testing.TB, path, body string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(body), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// treeImage makes a file system of a folder.
func treeImage(t testing.TB, dir, size string, flags ...string) *os.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image")
	treeRun(t, "mke2fs", append(append([]string{"-q", "-F"}, flags...), "-d", dir, path, size)...)
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func treeRun(t testing.TB, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil && name != "e2fsck" {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
}

func openTree(t testing.TB, f *os.File) *Tree {
	t.Helper()
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	tree, err := OpenTree(f, st.Size())
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// line is all that is known of a file, in one line.
func line(name string, mode fs.FileMode, size int64, target string, mtime int64, body io.Reader) string {
	h := sha256.New()
	if mode.IsRegular() && size < 1<<30 {
		if _, err := io.Copy(h, body); err != nil {
			return name + ": " + err.Error()
		}
	}
	if !mode.IsRegular() {
		size = 0
	}
	return fmt.Sprintf("%q %v %d %q %d %x", name, mode, size, target, mtime, h.Sum(nil)[:6])
}

// What was put into an image comes out again, whatever kind of ext it is.
func TestTree(t *testing.T) {
	dir := treeSource(t)
	want := map[string]bool{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := d.Info()
		if err != nil {
			return err
		}
		target, _ := os.Readlink(path)
		f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
		if err == nil {
			defer f.Close()
		}
		want[line("/"+strings.TrimPrefix(strings.TrimPrefix(path, dir), "/"), st.Mode(), st.Size(), target, st.ModTime().Unix(), f)] = true
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, flags := range map[string]string{
		"ext4, 4 KiB": "-t ext4 -b 4096", "ext4, 1 KiB": "-t ext4 -b 1024", "ext4, 64 bits": "-t ext4 -O 64bit,metadata_csum",
		"inline data": "-t ext4 -O inline_data -I 256", "inline data, large inodes": "-t ext4 -O inline_data -I 1024",
		"ext3": "-t ext3 -b 1024", "ext2, small inodes": "-t ext2 -b 4096 -I 128", "ext2, old": "-t ext2 -r 0 -b 1024",
		"meta_bg": "-t ext4 -b 1024 -g 2048 -N 2400 -O meta_bg,^resize_inode", "meta_bg, a copy everywhere": "-t ext4 -b 1024 -g 2048 -N 2400 -O meta_bg,^resize_inode,^sparse_super", "no sparse_super": "-t ext4 -b 1024 -O ^sparse_super,^resize_inode",
		"no flex_bg": "-t ext4 -b 1024 -O ^flex_bg", "8192 inodes, indexed": "-t ext4 -b 1024 -O dir_index -N 8192",
	} {
		t.Run(name, func(t *testing.T) {
			f := treeImage(t, dir, "96M", strings.Fields(flags)...)
			if strings.HasSuffix(name, "indexed") {
				treeRun(t, "e2fsck", "-fyD", f.Name())
			}
			tree, n := openTree(t, f), 0
			err := tree.Walk(t.Context(), func(x Node) error {
				if strings.HasPrefix(x.Path, "/lost+found") {
					return nil
				}
				have := line(x.Path, x.Mode, x.Size, x.Target, x.ModTime.Unix(), tree.Content(x))
				if x.Path == "/" { // mke2fs writes its own time and permissions there
					return nil
				}
				if !want[have] {
					t.Errorf("not what was put in: %s", have)
				}
				n++
				return nil
			})
			if err != nil || n != len(want)-1 {
				t.Errorf("%d names, want %d: %v", n, len(want)-1, err)
			}
		})
	}
}

// Same reads until it knows, and not at all where both have a hole.
func TestSame(t *testing.T) {
	dir := treeSource(t)
	a := openTree(t, treeImage(t, dir, "96M", "-t", "ext4", "-b", "1024"))
	f, err := os.OpenFile(filepath.Join(dir, "holes"), os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteAt([]byte("x"), 20_000_000)
	}
	if err != nil {
		t.Fatal(err)
	}
	b := openTree(t, treeImage(t, dir, "96M", "-t", "ext3", "-b", "4096"))
	nodes := func(t *testing.T, tree *Tree) map[string]Node {
		all := map[string]Node{}
		if err := tree.Walk(t.Context(), func(n Node) error { all[n.Path] = n; return nil }); err != nil {
			t.Fatal(err)
		}
		return all
	}
	as, bs := nodes(t, a), nodes(t, b)
	for name, want := range map[string]bool{"/big": true, "/holes-only": true, "/holes": false, "/inline": true, "/none": true} {
		if got, err := Same(t.Context(), a, as[name], b, bs[name]); got != want || err != nil {
			t.Errorf("%s: %v, %v, want %v", name, got, err, want)
		}
	}
	if got, err := Same(t.Context(), a, as["/big"], b, bs["/small"]); got || err != nil {
		t.Errorf("of two sizes: %v, %v", got, err)
	}
}

// A walk that is cancelled says so, and so does a comparison.
func TestTreeCancelled(t *testing.T) {
	dir := t.TempDir()
	treeWrite(t, filepath.Join(dir, "f"), "x")
	tree := openTree(t, treeImage(t, dir, "4M", "-t", "ext4"))
	enough := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	var f Node
	err := tree.Walk(ctx, func(n Node) error {
		if n.Path == "/f" {
			f = n
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	cancel(enough)
	if err := tree.Walk(ctx, func(Node) error { return nil }); !errors.Is(err, enough) {
		t.Errorf("Walk: %v", err)
	}
	if same, err := Same(ctx, tree, f, tree, f); same || !errors.Is(err, enough) {
		t.Errorf("Same: %v, %v", same, err)
	}
}

// Owners of more than sixteen bits, devices, and times after 2038.
func TestTreeInodes(t *testing.T) {
	f := treeImage(t, t.TempDir(), "4M", "-t", "ext4")
	for _, command := range []string{"mknod c c 5 1", "mknod d b 8 1", "sif d block[0] 0", "sif d block[1] 0x11112c70", "sif c uid 70000", "sif c gid 80000", "sif c mtime @5000000000"} {
		treeRun(t, "debugfs", "-w", "-R", command, f.Name())
	}
	found := 0
	err := openTree(t, f).Walk(t.Context(), func(n Node) error {
		switch n.Path {
		case "/c":
			if n.UID != 70000 || n.GID != 80000 || n.ModTime.Unix() != 5000000000 || n.Device != 5<<32|1 || n.Mode&fs.ModeCharDevice == 0 {
				t.Errorf("%+v", n)
			}
			found++
		case "/d":
			if n.Device != 300<<32|70000 || n.Mode.Type() != fs.ModeDevice {
				t.Errorf("%+v", n)
			}
			found++
		}
		return nil
	})
	if found != 2 || err != nil {
		t.Errorf("%d found, %v", found, err)
	}
}

// Blocks that were set aside and never written read as zeros, whatever is in them.
func TestTreeSetAside(t *testing.T) {
	dir := t.TempDir()
	treeWrite(t, filepath.Join(dir, "f"), "begins")
	path := filepath.Join(t.TempDir(), "image")
	treeWrite(t, path, strings.Repeat("\xff", 4<<20))
	treeRun(t, "mke2fs", "-q", "-F", "-t", "ext4", "-b", "1024", "-E", "nodiscard", "-d", dir, path)
	treeRun(t, "debugfs", "-w", "-R", "fallocate f 1 4", path)
	treeRun(t, "debugfs", "-w", "-R", "sif f size 4000", path)
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tree := openTree(t, f)
	err = tree.Walk(t.Context(), func(n Node) error {
		if n.Path != "/f" {
			return nil
		}
		b, err := io.ReadAll(tree.Content(n))
		if len(b) != 4000 || strings.TrimRight(string(b), "\x00") != "begins" {
			t.Errorf("%d bytes, %.20q at 2000", len(b), b[min(len(b), 2000):])
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// What is no tree is refused, and one that was not unmounted.
func TestNoTree(t *testing.T) {
	f := treeImage(t, t.TempDir(), "4M", "-t", "ext4")
	good, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(b []byte) []byte{
		"nothing":           func(b []byte) []byte { return nil },
		"zeros":             func(b []byte) []byte { return make([]byte, 4096) },
		"cut":               func(b []byte) []byte { return b[:len(b)-1] },
		"journal":           func(b []byte) []byte { b[1024+0x60] |= 4; return b },
		"unknown feature":   func(b []byte) []byte { b[1024+0x62] |= 1; return b },
		"blocks of 128 KiB": func(b []byte) []byte { b[1024+0x18] = 7; return b },
		"no inodes a group": func(b []byte) []byte { clear(b[1024+0x28 : 1024+0x2c]); return b },
		"inodes of 1 byte":  func(b []byte) []byte { b[1024+0x58], b[1024+0x59] = 1, 0; return b },
	} {
		b := spoil(bytes.Clone(good))
		if _, err := OpenTree(bytes.NewReader(b), int64(len(b))); !errors.Is(err, ErrTree) {
			t.Errorf("%s: %v, want %v", name, err, ErrTree)
		}
	}
}

// FuzzTree spoils a small file system in places that it is told. Reading all of
// it ends, within bounds, and is an error or a tree.
func FuzzTree(f *testing.F) {
	var images [][]byte
	dir := f.TempDir()
	for name, body := range map[string]string{"a/b": strings.Repeat("x", 5000), "c": "hi", "inline": strings.Repeat("y", 120)} {
		treeWrite(f, filepath.Join(dir, name), body)
	}
	if err := os.Symlink(strings.Repeat("z", 100), filepath.Join(dir, "link")); err != nil {
		f.Fatal(err)
	}
	for _, flags := range []string{"-t ext4 -b 1024 -O ^has_journal", "-t ext2 -b 1024", "-t ext4 -b 1024 -I 256 -O inline_data,^has_journal"} {
		image := treeImage(f, dir, "256K", append(strings.Fields(flags), "-N", "32", "-U", "11111111-2222-3333-4444-555555555555")...)
		b, err := os.ReadFile(image.Name())
		if err != nil {
			f.Fatal(err)
		}
		images = append(images, b)
	}
	f.Add(uint8(0), []byte{})
	f.Add(uint8(1), []byte{0x00, 0x04, 0x18, 6})
	f.Add(uint8(2), []byte{0x01, 0x14, 0x00, 0xff, 0x02, 0x22, 0x28, 0x0a})
	f.Fuzz(func(t *testing.T, which uint8, spoil []byte) {
		b := bytes.Clone(images[int(which)%len(images)])
		for ; len(spoil) >= 4; spoil = spoil[4:] { // two bytes: a place in steps of four, one: beside it, one: what is written there
			b[(int(spoil[0])<<8|int(spoil[1]))*4%len(b)+int(spoil[2])%4] = spoil[3]
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		var read int64
		tree, err := OpenTree(bytes.NewReader(b), int64(len(b)))
		if err == nil {
			err = tree.Walk(t.Context(), func(n Node) error {
				if !strings.HasPrefix(n.Path, "/") || n.Size < 0 {
					t.Errorf("%+v", n)
				}
				if !n.Mode.IsRegular() {
					return nil
				}
				k, err := io.Copy(io.Discard, io.LimitReader(tree.Content(n), 1<<20))
				read += k
				return err
			})
		}
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 32<<20 {
			t.Errorf("%d bytes were allocated (%v)", n, err)
		}
	})
}
