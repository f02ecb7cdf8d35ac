package image

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// debug is what debugfs says to one command.
func debug(t *testing.T, img, command string) string {
	t.Helper()
	out, err := debugfs(t.Context(), when, "-R", command, img)
	if err != nil {
		t.Fatalf("debugfs %s: %v", command, err)
	}
	return out
}

// Owners, device nodes, links, modes and extended attributes of a tar are in
// the file system, however it is compressed.
func TestFromTar(t *testing.T) {
	needsAll(t)
	plain := rootTar(t)
	pack := func(open func(io.Writer) (io.WriteCloser, error)) []byte {
		var b bytes.Buffer
		w, err := open(&b)
		if err != nil {
			t.Fatal(err)
		}
		w.Write(plain)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	var first []byte
	for name, content := range map[string][]byte{
		"plain": plain,
		"gzip":  pack(func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil }),
		"xz":    pack(func(w io.Writer) (io.WriteCloser, error) { return xz.NewWriter(w) }),
		"zstd":  pack(func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) }),
	} {
		src := write(t, filepath.Join(t.TempDir(), "root"), content) // its name tells nothing
		img := filepath.Join(t.TempDir(), "slot")
		e := Ext4{Source: src, Size: 24 * mib, ID: ID{9}, Label: "root", Time: when}
		if err := e.Make(t.Context(), img); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		left(t, filepath.Dir(img), "slot")
		if first == nil {
			first = read(t, img)
		} else if !bytes.Equal(first, read(t, img)) {
			t.Errorf("%s: the file system is another", name)
		}
	}
	img := write(t, filepath.Join(t.TempDir(), "slot"), first)
	say(t, "e2fsck", "-fn", img)
	for command, want := range map[string]string{
		"ls -l /bin":                    `100755 \(1\) +0 +0 +17 .* ping\n.*100755 \(1\) .* ping6\n.*120777 \(7\) .* pong\n.*104755 \(1\) +0 +0 .* su\n`,
		"ls -l /dev":                    `10600 \(5\) .* fifo\n.*20666 \(3\) +0 +0 .* null\n.*60660 \(4\) +0 +6 .* sda\n`,
		"stat /dev/null":                `Device major/minor number: 01:03`,
		"stat /dev":                     `mtime: 0x6553f100`, // a folder that the tar does not list
		"stat /home":                    `User: +0 .*(?s).*mtime: 0x6553f100`,
		"stat /home/me":                 `Mode: +0700 .*\n.*\nUser: +1000 +Group: +1001`,
		"stat /home/me/file":            `Mode: +0640 .*\n.*\nUser: +1000 +Group: +1001(?s).*ctime: 0x6553f100.*atime: 0x6553f100.*mtime: 0x5f5e1000`,
		"stat /bin/ping":                `Links: 2 `,
		"stat /var/empty":               `Mode: +0000 `,
		"ea_get -x /bin/ping user.note": `user.note \(13\) = 68 65 6c 6c 6f 20 00 20 74 68 65 72 65`,
		"ea_list /bin/ping6":            `security.capability \(20\)`,
		`cat "/etc/name with spaces"`:   `^x$`,
	} {
		if out := debug(t, img, command); !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("%s: want %s in\n%s", command, want, out)
		}
	}
	out := say(t, "dumpe2fs", "-h", img)
	for _, want := range []string{"Filesystem volume name:   root\n", "Filesystem UUID:          " + ID{9}.UUID(), "Block count:              6144\n",
		"Filesystem features:      has_journal ext_attr resize_inode dir_index filetype extent 64bit flex_bg sparse_super large_file huge_file dir_nlink extra_isize metadata_csum\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("dumpe2fs does not say %q:\n%s", want, out)
		}
	}
}

func TestFromFolder(t *testing.T) {
	needsAll(t)
	img := filepath.Join(t.TempDir(), "slot")
	if err := (Ext4{Source: folder(t), Size: 24 * mib, Time: when}).Make(t.Context(), img); err != nil {
		t.Fatal(err)
	}
	say(t, "e2fsck", "-fn", img)
	got, err := ReadFile(t.Context(), img, "/boot/Image")
	if err != nil || !bytes.Equal(got, noise(1, 3*mib+17)) {
		t.Errorf("the kernel is another one: %d bytes, %v", len(got), err)
	}
	if out := debug(t, img, "stat /bin"); !strings.Contains(out, `Fast link dest: "usr/bin"`) {
		t.Errorf("stat /bin: %s", out)
	}
	if out := debug(t, img, "ls -l /usr/bin"); !regexp.MustCompile(`\(1\) +0 +0 +9000 .*tool`).MatchString(out) {
		t.Errorf("ls /usr/bin: %s", out)
	}
}

// An image is taken as it is, holes included.
func TestFromImage(t *testing.T) {
	needsAll(t)
	src := filepath.Join(t.TempDir(), "src")
	if err := (Ext4{Source: folder(t), Size: 24 * mib, Time: when}).Make(t.Context(), src); err != nil {
		t.Fatal(err)
	}
	img := filepath.Join(t.TempDir(), "slot")
	if err := (Ext4{Source: src, Size: 32 * mib, ID: ID{5}, Time: when}).Make(t.Context(), img); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(read(t, src), read(t, img)) {
		t.Error("it is not the same")
	}
	err := Ext4{Source: src, Size: 16 * mib, Time: when}.Make(t.Context(), img+"2")
	if !errors.Is(err, ErrSize) || !strings.Contains(err.Error(), "25165824") || !strings.Contains(err.Error(), "16777216") {
		t.Errorf("larger than its slot: got %v", err)
	}
	b := read(t, src)
	for name, bad := range map[string][]byte{
		"cut short":           b[:len(b)-mib],
		"not unmounted":       with(b, 1024+0x60, b[1024+0x60]|4),
		"ext2":                with(b, 1024+0x60, b[1024+0x60]&^0x40),
		"damaged bitmap":      with(b, 4096*20, b[4096*20]^0xff, b[4096*20+1]^0xff),
		"damaged root folder": nil,
	} {
		if bad == nil {
			bad = bytes.Clone(b)
			clear(bad[4096*9 : 4096*60])
		}
		src := write(t, filepath.Join(t.TempDir(), "bad"), bad)
		err := Ext4{Source: src, Size: 32 * mib, Time: when}.Make(t.Context(), filepath.Join(t.TempDir(), "slot"))
		if name != "damaged bitmap" && !errors.Is(err, ErrSource) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func with(b []byte, at int, v ...byte) []byte {
	b = bytes.Clone(b)
	copy(b[at:], v)
	return b
}

func TestSourceRefused(t *testing.T) {
	needsAll(t)
	whole := rootTar(t)
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	z.Write(whole)
	z.Close()
	gz := packed.Bytes()
	for name, c := range map[string]struct {
		content []byte
		want    error
	}{
		"nothing":               {nil, ErrSource},
		"noise":                 {noise(1, 9000), ErrSource},
		"a tar cut in a header": {whole[:1024+200], ErrSource},
		"a tar cut in a file":   {whole[:3*512+100], ErrSource},
		"gzip cut short":        {gz[:len(gz)/2], ErrSource},
		"gzip damaged":          {with(gz, len(gz)-6, 1, 2, 3), ErrSource},
	} {
		src := write(t, filepath.Join(t.TempDir(), "src"), c.content)
		dir := t.TempDir()
		err := Ext4{Source: src, Size: 24 * mib, Time: when}.Make(t.Context(), filepath.Join(dir, "slot"))
		if !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
		if hidden, _ := filepath.Glob(filepath.Join(dir, ".*")); len(hidden) > 0 {
			t.Errorf("%s: left %q", name, hidden)
		}
	}
	err := Ext4{Source: filepath.Join(t.TempDir(), "none"), Size: 24 * mib, Time: when}.Make(t.Context(), filepath.Join(t.TempDir(), "slot"))
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no source: got %v", err)
	}
}

// More than fits: bytes, and files.
func TestSourceTooLarge(t *testing.T) {
	needsAll(t)
	many, large := t.TempDir(), t.TempDir()
	for i := range 3000 {
		write(t, filepath.Join(many, "d", string(rune('a'+i%26)), string(rune('a'+i/26%26))+strings.Repeat("x", i/676)), nil)
	}
	write(t, filepath.Join(large, "file"), noise(1, 17*mib))
	for name, src := range map[string]string{"many files": many, "a large one": large} {
		err := Ext4{Source: src, Size: 16 * mib, Time: when}.Make(t.Context(), filepath.Join(t.TempDir(), "slot"))
		if !errors.Is(err, ErrSize) || !strings.Contains(err.Error(), "16777216") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestFiles(t *testing.T) {
	needsAll(t)
	ctx := t.Context()
	img := filepath.Join(t.TempDir(), "slot")
	if err := (Ext4{Source: folder(t), Size: 24 * mib, Time: when}).Make(ctx, img); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadFile(ctx, img, "/etc/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: got %v", err)
	}
	if _, err := ReadFile(ctx, img, "/none/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder that is not there: got %v", err)
	}
	from := write(t, filepath.Join(t.TempDir(), "with space"), noise(8, 70000))
	if err := AddFiles(ctx, img, when,
		File{Name: "/etc/hostname", Data: []byte("another\n"), Mode: 0o644},
		File{Name: "/etc/a/b/c", From: from, Mode: 0o600},
		File{Name: "/etc/a/empty", Mode: 0o644},
		File{Name: "/data", Mode: fs.ModeDir | 0o700},
		File{Name: "/etc", Mode: fs.ModeDir | 0o755},
		File{Name: "/bin", Mode: fs.ModeDir | 0o700}, // a link
		File{Name: "/bin", Data: nil, Mode: 0o644},
	); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"/etc/hostname": "another\n", "/etc/a/b/c": string(noise(8, 70000)), "/etc/a/empty": ""} {
		if got, err := ReadFile(ctx, img, name); err != nil || string(got) != want {
			t.Errorf("%s: got %d bytes, %v", name, len(got), err)
		}
	}
	if out := debug(t, img, "stat /data"); !regexp.MustCompile(`Type: directory +Mode: +0700(?s).*ctime: 0x6553f100.*mtime: 0x6553f100`).MatchString(out) {
		t.Errorf("/data: %s", out)
	}
	if out := debug(t, img, "stat /bin"); !strings.Contains(out, "Type: regular") {
		t.Errorf("/bin is still a link: %s", out)
	}
	names, err := ReadDir(ctx, img, "/etc/a")
	if err != nil || strings.Join(names, " ") != "b empty" {
		t.Errorf("ReadDir: got %q, %v", names, err)
	}
	if names, err := ReadDir(ctx, img, "/none"); err != nil || names != nil {
		t.Errorf("ReadDir of nothing: got %q, %v", names, err)
	}
	for _, bad := range []File{
		{Name: "/etc", Data: []byte("x"), Mode: 0o644},
		{Name: "/etc/hostname", Mode: fs.ModeDir | 0o755},
		{Name: "/etc/with\"quote", Mode: 0o644},
		{Name: "/etc/hostname/below", Mode: 0o644},
		{Name: "/bin/below", Mode: 0o644},
		{Name: "/large", Data: noise(1, 25*mib), Mode: 0o644},
		{Name: "/etc/missing", From: "/no/such/file", Mode: 0o644},
	} {
		if err := AddFiles(ctx, img, when, bad); err == nil {
			t.Errorf("%s: no error", bad.Name)
		}
	}
}

// What makes a root file system another one makes another identity.
func TestIdentify(t *testing.T) {
	dir := folder(t)
	id := func() string {
		h := sha256.New()
		if err := Identify(t.Context(), h, dir); err != nil {
			t.Fatal(err)
		}
		return string(h.Sum(nil))
	}
	seen := map[string]bool{id(): true}
	if !seen[id()] {
		t.Fatal("twice the same is not the same")
	}
	for name, change := range map[string]func() error{
		"content": func() error { return os.WriteFile(filepath.Join(dir, "etc/hostname"), []byte("devicf\n"), 0o644) },
		"mode":    func() error { return os.Chmod(filepath.Join(dir, "etc/hostname"), 0o600) },
		"time":    func() error { return os.Chtimes(filepath.Join(dir, "etc/hostname"), when, when) },
		"name":    func() error { return os.Rename(filepath.Join(dir, "bin"), filepath.Join(dir, "sbin")) },
		"link": func() error {
			os.Remove(filepath.Join(dir, "sbin"))
			return os.Symlink("usr/lib", filepath.Join(dir, "sbin"))
		},
	} {
		if err := change(); err != nil {
			t.Fatal(err)
		}
		if seen[id()] {
			t.Errorf("%s: the same identity", name)
		}
		seen[id()] = true
	}
}
