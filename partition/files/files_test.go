package files

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plimsoll-ota/plimsoll/partition/internal/program"
)

var when = time.Unix(1700000000, 0).UTC()

// needs fails where a program is not installed, and says so before anything else does.
func needs(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := program.Find(name); err != nil {
			t.Fatalf("make need-test installs it: %v", err)
		}
	}
}

// say runs a program, which must succeed, and returns what it says.
func say(t testing.TB, name string, args ...string) string {
	t.Helper()
	c := exec.Command(name, args...)
	c.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin", "TZ=UTC", "E2FSPROGS_FAKE_TIME=1700000000", "SOURCE_DATE_EPOCH=1700000000")
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// tree makes a folder like a small root file system, with whatever makes a path hard.
func tree(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"usr/etc/mender", "usr/bin", "sp ace/d", "empty", "deep/a/b/c"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{
		"usr/etc/mender/artifact_info": "artifact_name=rel-1\n", "usr/bin/tool": strings.Repeat("tool", 5000), "sp ace/d/f": "x",
		`qu"ote`: "quoted", "-dash": "dashed", "<12>": "bracketed", "new\nline": "broken", "ümlaut": "u", "back\\slash": "b", "#hash": "h", "deep/a/b/c/f": "deep",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{
		"etc": "usr/etc", "abs": "/usr/etc/mender", "up": "../../../../usr/bin/tool", "loop": "pool", "pool": "loop", "nowhere": "/var/none",
		"usr/bin/rel": "../etc/mender/artifact_info", "usr/bin/abs": "/etc/mender/artifact_info", "slow": "./" + strings.Repeat("usr/../", 12) + "usr/bin/tool", "usr/outside": "/../../etc/mender/artifact_info",
	} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// makeExt makes a file system of a kind at an offset in a file.
func makeExt(t testing.TB, kind string, off int64) *os.File {
	t.Helper()
	p := filepath.Join(t.TempDir(), "an \"image\".img")
	uuid := "00000000-0000-0000-0000-000000000001"
	plain := filepath.Join(t.TempDir(), "plain.img")
	say(t, "mke2fs", "-q", "-F", "-t", kind, "-d", tree(t), "-U", uuid, "-E", "hash_seed="+uuid+",root_owner=0:0,lazy_itable_init=0", plain, "8M")
	return embed(t, plain, p, off)
}

func makeFAT(t testing.TB, off int64, args ...string) *os.File {
	t.Helper()
	plain := filepath.Join(t.TempDir(), "plain.img")
	say(t, "mkfs.fat", append(append([]string{"-C", "--invariant"}, args...), plain, "40960")...)
	from := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(from, []byte(strings.Repeat("fat", 3000)), 0o644); err != nil {
		t.Fatal(err)
	}
	say(t, "mmd", "-i", plain, "::/overlays", "::/EFI")
	say(t, "mcopy", "-i", plain, from, "::/config.txt")
	say(t, "mcopy", "-i", plain, from, "::/overlays/a long name.dtbo")
	return embed(t, plain, filepath.Join(t.TempDir(), "fat image.img"), off)
}

// embed puts an image into a file, with something before and behind it.
func embed(t testing.TB, plain, path string, off int64) *os.File {
	t.Helper()
	b, err := os.ReadFile(plain)
	if err != nil {
		t.Fatal(err)
	}
	fill := bytes.Repeat([]byte{0x5a}, int(off))
	if err := os.WriteFile(path, append(append(fill, b...), fill...), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func open(t testing.TB, f *os.File, off int64) *System {
	t.Helper()
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(f, off, st.Size()-2*off)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// source is a file with that content.
func source(t testing.TB, text string) *os.File {
	t.Helper()
	p := filepath.Join(t.TempDir(), "source")
	if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func content(t testing.TB, s *System, name string) string {
	t.Helper()
	var b strings.Builder
	if err := s.Read(t.Context(), name, &b); err != nil {
		t.Error(err)
	}
	return b.String()
}

// Links lead where they lead on a running system, and never out.
func TestLinks(t *testing.T) {
	needs(t, "mke2fs", "debugfs")
	f := makeExt(t, "ext4", 1<<20)
	if err := os.Rename(f.Name(), f.Name()+"?offset=7"); err != nil {
		t.Fatal(err)
	}
	s := open(t, f, 1<<20)
	const info = "artifact_name=rel-1\n"
	for name, want := range map[string]string{
		"/etc/mender/artifact_info": info, "etc/./mender//artifact_info": info, "/abs/artifact_info": info, "/usr/bin/rel": info, "/usr/bin/abs": info,
		"/usr/outside": info, "/../../etc/mender/artifact_info": info, "/abs/../mender/artifact_info": info, "/slow": strings.Repeat("tool", 5000), "/up": strings.Repeat("tool", 5000),
		`/qu"ote`: "quoted", "/-dash": "dashed", "/<12>": "bracketed", "/new\nline": "broken", "/ümlaut": "u", "/back\\slash": "b", "/sp ace/d/f": "x", "/#hash": "h",
	} {
		if have := content(t, s, name); have != want {
			t.Errorf("%q: %.40q", name, have)
		}
	}
	for name, want := range map[string]error{
		"/loop": unix.ELOOP, "/loop/x": unix.ELOOP, "/nowhere": fs.ErrNotExist, "/none/x": fs.ErrNotExist, "/-dash/x": unix.ENOTDIR, "/etc": ErrKind, "/a\x00b": ErrName,
	} {
		if err := s.Read(t.Context(), name, new(bytes.Buffer)); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", name, err, want)
		}
	}
	if i, err := s.Lstat(t.Context(), "/etc"); err != nil || i.Target != "usr/etc" {
		t.Errorf("%+v, %v", i, err)
	}
	if i, err := s.Lstat(t.Context(), "/slow"); err != nil || !strings.HasPrefix(i.Target, "./usr/../usr/") || len(i.Target) != 98 {
		t.Errorf("%+v, %v", i, err)
	}
}

// What is listed is what is there.
func TestList(t *testing.T) {
	needs(t, "mke2fs", "debugfs")
	s := open(t, makeExt(t, "ext4", 0), 0)
	all, err := s.List(t.Context(), "/")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, i := range all {
		names = append(names, i.Name())
		switch i.Name() {
		case "-dash":
			if i.Mode != 0o640 || i.Size != 6 || i.ModTime.Year() < 2020 {
				t.Errorf("%+v", i)
			}
		case "slow":
			if len(i.Target) != 98 {
				t.Errorf("%+v", i)
			}
		case "usr":
			if i.Mode != fs.ModeDir|0o755 {
				t.Errorf("%+v", i)
			}
		}
	}
	want := "#hash -dash <12> abs back\\slash deep empty etc loop lost+found new\nline nowhere pool qu\"ote slow sp ace up usr ümlaut"
	if have := strings.Join(names, " "); have != want {
		t.Errorf("have %q\nwant %q", have, want)
	}
	if all, err := s.List(t.Context(), "/etc/mender/artifact_info"); err != nil || len(all) != 1 || all[0].Path != "/usr/etc/mender/artifact_info" {
		t.Errorf("%+v, %v", all, err)
	}
	if all, err := s.List(t.Context(), "/empty"); err != nil || len(all) != 0 {
		t.Errorf("%+v, %v", all, err)
	}
}

// Each change, on each kind, at an offset: what was put is there, e2fsck finds
// nothing, and around the file system nothing changed.
func TestChange(t *testing.T) {
	needs(t, "mke2fs", "debugfs", "e2fsck")
	for kind, offsets := range map[string][]int64{"ext2": {0}, "ext3": {1 << 20}, "ext4": {0, 1<<20 + 512}} {
		for _, off := range offsets {
			t.Run(kind, func(t *testing.T) {
				t.Parallel()
				f := makeExt(t, kind, off)
				s := open(t, f, off)
				change(t, s)
				edges(t, f, off)
				if off == 0 {
					say(t, "e2fsck", "-fn", f.Name()+"?offset=0")
				}
			})
		}
	}
}

func edges(t *testing.T, f *os.File, off int64) {
	t.Helper()
	b, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	if fill := bytes.Repeat([]byte{0x5a}, int(off)); !bytes.HasPrefix(b, fill) || !bytes.HasSuffix(b, fill) {
		t.Error("something around the file system changed")
	}
}

// change makes one change of each sort.
func change(t *testing.T, s *System) {
	t.Helper()
	ctx, s0 := t.Context(), s.Time
	if s0.Unix() != when.Unix() {
		t.Errorf("last written at %v, want %v", s0, when)
	}
	s.Time = when.Add(time.Hour)
	big := strings.Repeat("0123456789abcdef", 20000) + strings.Repeat("\x00", 100000) + "end"
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	check(s.Put(ctx, "/etc/mender/artifact_info", source(t, "artifact_name=rel-2\n"), Attr{Mode: 0o600, UID: 7}))
	check(s.Put(ctx, "/etc/new", source(t, big), Attr{Mode: 0o4755 & 0o777, UID: 70000, GID: 1001}))
	for _, name := range []string{`/a "quoted" name`, "/-n", "/<2>", "/ü", "/#x", "/back\\", "/ lead", "/'"} {
		check(s.Put(ctx, name, source(t, name), Attr{Mode: 0o644}))
		if have := content(t, s, name); have != name {
			t.Errorf("%q: %.40q", name, have)
		}
	}
	check(s.Mkdir(ctx, "/etc/d", Attr{Mode: 0o700 | fs.ModeSticky, GID: 5}))
	check(s.Remove(ctx, "/deep", true))
	check(s.Remove(ctx, "/abs", false))
	check(s.Remove(ctx, "/sp ace/d/f", false))
	check(s.Remove(ctx, "/empty", true))
	check(s.Chmod(ctx, "/usr/bin/tool", Attr{Mode: 0o755 | fs.ModeSetuid, UID: 3, GID: 4}))
	for name, want := range map[string]error{"/usr": ErrKind, "/": nil, "/nothing": fs.ErrNotExist} {
		if err := s.Remove(ctx, name, false); err == nil || want != nil && !errors.Is(err, want) {
			t.Errorf("remove %s: %v, want %v", name, err, want)
		}
	}
	for _, name := range []string{"/none/x", "/loop/x"} {
		if err := s.Put(ctx, name, source(t, "x"), Attr{}); err == nil {
			t.Errorf("put %s: no error", name)
		}
	}
	if err := s.Put(ctx, "/a\nb", source(t, "x"), Attr{}); !errors.Is(err, ErrName) {
		t.Errorf("a line break: %v", err)
	}
	if err := s.Put(ctx, "/usr", source(t, "x"), Attr{}); !errors.Is(err, ErrKind) {
		t.Errorf("a folder: %v", err)
	}
	if err := s.Mkdir(ctx, "/usr", Attr{}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("mkdir: %v", err)
	}
	check(s.Check(ctx))
	if have := content(t, s, "/etc/new"); have != big {
		t.Errorf("%d bytes", len(have))
	}
	for name, want := range map[string]Info{
		"/etc/mender/artifact_info": {Path: "/usr/etc/mender/artifact_info", Mode: 0o640, Size: 20},
		"/etc/new":                  {Path: "/usr/etc/new", Mode: 0o755, UID: 70000, GID: 1001, Size: int64(len(big))},
		"/etc/d":                    {Path: "/usr/etc/d", Mode: fs.ModeDir | fs.ModeSticky | 0o700, GID: 5},
		"/usr/bin/tool":             {Path: "/usr/bin/tool", Mode: 0o755 | fs.ModeSetuid, UID: 3, GID: 4, Size: 20000},
	} {
		i, err := s.Stat(ctx, name)
		if err != nil || !i.ModTime.Equal(s.Time) {
			t.Errorf("%s: %v, %v", name, i.ModTime, err)
		}
		i.node, i.ModTime = 0, time.Time{}
		if i.Mode.IsDir() {
			i.Size = 0
		}
		if i != want {
			t.Errorf("have %+v\nwant %+v", i, want)
		}
	}
	for _, name := range []string{"/deep", "/abs", "/empty", "/sp ace/d/f"} {
		if _, err := s.Lstat(ctx, name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The same change gives the same bytes, whenever it is made.
func TestReproducible(t *testing.T) {
	needs(t, "mke2fs", "debugfs", "mcopy", "mkfs.fat")
	for name, f := range map[string]*os.File{"ext4": makeExt(t, "ext4", 0), "fat": makeFAT(t, 0)} {
		if name == "ext4" { // so that a block of attributes is freed
			say(t, "debugfs", "-w", "-R", "ea_set /usr/bin/tool user.long "+strings.Repeat("x", 300), f.Name())
		}
		before, err := os.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		var first []byte
		for round := range 2 {
			p := filepath.Join(t.TempDir(), "copy")
			if err := os.WriteFile(p, before, 0o644); err != nil {
				t.Fatal(err)
			}
			f, err := os.OpenFile(p, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			s := open(t, f, 0)
			d := "/overlays"
			if name == "ext4" {
				d = "/usr"
			}
			for _, err := range []error{
				s.Put(t.Context(), d+"/x", source(t, "x"), Attr{Mode: 0o644}), s.Mkdir(t.Context(), d+"/y", Attr{Mode: 0o755}), s.Mkdir(t.Context(), d+"/z", Attr{Mode: 0o755}),
				s.Put(t.Context(), d+"/x", source(t, strings.Repeat("longer", 9000)), Attr{}), s.Remove(t.Context(), d+"/y", true),
				s.Put(t.Context(), map[string]string{"ext4": "/usr/bin/tool", "fat": "/config.txt"}[name], source(t, "new"), Attr{}),
			} {
				if err != nil {
					t.Fatal(err)
				}
			}
			after, err := os.ReadFile(p)
			if err != nil {
				t.Fatal(err)
			}
			if round == 0 {
				first = after
				time.Sleep(2100 * time.Millisecond) // the step of FAT's clock
			} else if !bytes.Equal(first, after) {
				t.Errorf("%s: another image", name)
			}
		}
		if bytes.Equal(first, before) {
			t.Errorf("%s: nothing changed", name)
		}
	}
}

// FAT at an offset, of each width.
func TestFAT(t *testing.T) {
	needs(t, "mkfs.fat", "mcopy", "mdel", "mdeltree", "mmd", "fsck.fat")
	for width, args := range map[string][]string{"12": {"-F", "12", "-s", "32"}, "16": {"-F", "16"}, "32": {"-F", "32", "-s", "1"}} {
		for _, off := range []int64{0, 1 << 20} {
			t.Run(width, func(t *testing.T) {
				t.Parallel()
				f := makeFAT(t, off, args...)
				s := open(t, f, off)
				if bits := strconv.Itoa(s.d.(*fat).bits); bits != width {
					t.Fatalf("%s bits", bits)
				}
				changeFAT(t, s)
				edges(t, f, off)
				b, err := os.ReadFile(f.Name())
				if err != nil {
					t.Fatal(err)
				}
				p := filepath.Join(t.TempDir(), "bare")
				if err := os.WriteFile(p, b[off:len(b)-int(off)], 0o644); err != nil {
					t.Fatal(err)
				}
				if out := say(t, "fsck.fat", "-n", p); strings.Contains(out, "differ") {
					t.Error(out)
				}
				if have := say(t, "mtype", "-i", p, "::/overlays/second name.txt"); have != "second" {
					t.Errorf("mtype: %q", have)
				}
			})
		}
	}
}

func changeFAT(t *testing.T, s *System) {
	ctx := t.Context()
	s.Time = when
	fatText := strings.Repeat("fat", 3000)
	if have := content(t, s, "/OVERLAYS/A Long Name.dtbo"); have != fatText {
		t.Errorf("%.40q", have)
	}
	big := strings.Repeat("0123456789abcdef", 70000)
	for _, err := range []error{
		s.Put(ctx, "/overlays/second name.txt", source(t, "second"), Attr{}), s.Put(ctx, "/Config.txt", source(t, big), Attr{}),
		s.Mkdir(ctx, "/EFI/BOOT", Attr{}), s.Put(ctx, "/EFI/BOOT/BOOTX64.EFI", source(t, "efi"), Attr{}),
		s.Remove(ctx, "/overlays/a long name.dtbo", false), s.Put(ctx, "/.hidden", source(t, "h"), Attr{}),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	all, err := s.List(ctx, "/")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, i := range all {
		names = append(names, i.Name())
		if i.Name() == "config.txt" && (!i.ModTime.Equal(when) || i.Size != int64(len(big))) {
			t.Errorf("%+v", i)
		}
	}
	if have := strings.Join(names, " "); !regexp.MustCompile(`^\.hidden EFI config.txt overlays$`).MatchString(have) {
		t.Errorf("have %s", have)
	}
	if have := content(t, s, "/config.TXT"); have != big {
		t.Errorf("%d bytes", len(have))
	}
	for _, name := range []string{"/a*", "/con[f]ig.txt", "/ü", "/a:b", "/trailing.", "/trailing ", `/a"b`, "/a\nb"} {
		if err := s.Put(ctx, name, source(t, "x"), Attr{}); !errors.Is(err, ErrName) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if err := s.Remove(ctx, "/EFI", false); !errors.Is(err, ErrKind) {
		t.Error(err)
	}
	if err := s.Remove(ctx, "/EFI", true); err != nil {
		t.Error(err)
	}
	if err := s.Put(ctx, "/huge", source(t, strings.Repeat("x", 45<<20)), Attr{}); !errors.Is(err, ErrSpace) {
		t.Errorf("too large: %v", err)
	}
	if err := s.Remove(ctx, "/huge", false); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// A file that does not fit is refused, and so is a file system that was not unmounted.
func TestRefused(t *testing.T) {
	needs(t, "mke2fs", "debugfs")
	f := makeExt(t, "ext4", 0)
	if err := open(t, f, 0).Put(t.Context(), "/big", source(t, strings.Repeat("x", 9<<20)), Attr{}); !errors.Is(err, ErrSpace) {
		t.Errorf("too large: %v", err)
	}
	f = makeExt(t, "ext4", 0)
	say(t, "debugfs", "-w", "-R", "feature needs_recovery", f.Name()+"?offset=0")
	s := open(t, f, 0)
	if err := s.Put(t.Context(), "/x", source(t, "x"), Attr{}); !errors.Is(err, ErrUnclean) {
		t.Errorf("a journal with changes: %v", err)
	}
	if have := content(t, s, "/-dash"); have != "dashed" {
		t.Errorf("%q", have)
	}
	f = makeExt(t, "ext4", 0)
	say(t, "debugfs", "-w", "-R", "sif /-dash links_count 7", f.Name()+"?offset=0")
	if err := open(t, f, 0).Check(t.Context()); !errors.Is(err, ErrUnclean) {
		t.Errorf("a wrong count of links: %v", err)
	}
	if err := f.Truncate(4 << 20); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(f, 0, 4<<20); !errors.Is(err, ErrUnclean) {
		t.Errorf("cut short: %v", err)
	}
	if _, err := Open(source(t, strings.Repeat("nothing", 1000)), 0, 7000); !errors.Is(err, ErrNone) {
		t.Errorf("no file system: %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("by the test"))
	if err := open(t, makeExt(t, "ext4", 0), 0).Put(ctx, "/x", source(t, "x"), Attr{}); err == nil || !strings.Contains(err.Error(), "by the test") {
		t.Errorf("cancelled: %v", err)
	}
}

// Extended attributes stay when a file gets other content, but for what the
// kernel takes away then.
func TestAttributes(t *testing.T) {
	needs(t, "mke2fs", "debugfs")
	f := makeExt(t, "ext4", 0)
	long := strings.Repeat("x", 300)
	for _, name := range []string{"/deep/a", "/deep/a/b/c/f", "/-dash"} {
		say(t, "debugfs", "-w", "-R", "ea_set "+name+" user.long "+long, f.Name())
	}
	for _, a := range []string{"security.selinux system_u:object_r:etc_t:s0", "user.note \"a b\"", "user.long " + long, "security.capability abc"} {
		say(t, "debugfs", "-w", "-R", "ea_set /usr/bin/tool "+a, f.Name())
	}
	s := open(t, f, 0)
	if err := errors.Join(s.Put(t.Context(), "/usr/bin/tool", source(t, "new"), Attr{}), s.Put(t.Context(), "/-dash", source(t, "new"), Attr{}), s.Check(t.Context()),
		s.Remove(t.Context(), "/deep", true)); err != nil {
		t.Fatal(err)
	}
	out := say(t, "debugfs", "-R", "ea_list /usr/bin/tool", f.Name())
	for want, is := range map[string]bool{`security.selinux (26) = "system_u:object_r:etc_t:s0"`: true, `user.note`: true, "user.long (300)": true, "security.capability": false} {
		if strings.Contains(out, want) != is {
			t.Errorf("%s: want %v in\n%s", want, is, out)
		}
	}
	if err := s.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

// A liar says that it has written, and has not.
type liar struct{ *ext }

func (l liar) read(ctx context.Context, file Info, w io.Writer) error {
	_, err := io.WriteString(w, strings.Repeat("x", int(file.Size)))
	return err
}

// What was put is read back, and must be what it was.
func TestReadBack(t *testing.T) {
	needs(t, "mke2fs", "debugfs")
	s := open(t, makeExt(t, "ext4", 0), 0)
	s.d = liar{s.d.(*ext)}
	if err := s.Put(t.Context(), "/x", source(t, "what it says"), Attr{}); err == nil || !strings.Contains(err.Error(), "not what was put there") {
		t.Errorf("got %v", err)
	}
}
