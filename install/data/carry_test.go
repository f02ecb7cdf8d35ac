package data

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func stage(t testing.TB, p place, paths ...string) Report {
	t.Helper()
	r, err := Stage(t.Context(), p.request(paths...))
	must(t, err)
	return r
}

func applied(t testing.TB, p place) Report {
	t.Helper()
	r, err := Apply(t.Context(), p.dir, p.new)
	must(t, err)
	return r
}

// Everything that is declared arrives as it was, in an empty root and in one
// that has some of it in its own way.
func TestCarry(t *testing.T) {
	for name, ships := range map[string]forest{
		"nothing":  {},
		"the same": kept(),
		"others": {
			"/etc/ssh/ssh_host_key": file("another"),
			"/etc/ssh/ssh_host.pub": link("elsewhere"),
			"/etc/machine-id":       {kind: kindFile, content: "0123456789abcdef\n", mode: 0o644},
			"/etc/net":              {kind: kindFolder, mode: 0o700, attrs: map[string]string{"user.other": "x"}},
			"/etc/net/current":      file("a file now"),
			"/etc/net/away":         link("/nearby"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			grow(t, p.old, kept())
			grow(t, p.new, ships)
			extra := forest{"/etc/net/d/new": file("of the new release"), "/usr/x": file("x")}
			if name != "the same" {
				grow(t, p.new, extra)
			} else {
				extra = forest{}
			}
			stage(t, p, keptPaths...).has(t, "missing /etc/none", "missing /var/none/x")
			same(t, "staged from", p.old, kept())
			r := applied(t, p)
			want := kept()
			for k, v := range extra {
				want[k] = v
			}
			same(t, "applied", p.new, want)
			switch name {
			case "nothing":
				r.has(t, "replaced /etc/net") // which extra has made
			case "the same":
				r.has(t)
				if r.Changed != 0 {
					t.Errorf("changed %d of what was the same", r.Changed)
				}
			case "others":
				r.has(t, "replaced /etc/ssh/ssh_host_key", "replaced /etc/ssh/ssh_host.pub", "replaced /etc/machine-id",
					"replaced /etc/net", "replaced /etc/net/away", "replaced /etc/net/current")
				if len(r.Conflicts()) != 6 {
					t.Errorf("conflicts: %v", r.Conflicts())
				}
			}
		})
	}
}

// What is of another kind, or behind a link, stays as the new release has it.
func TestConflictsLeft(t *testing.T) {
	p := newPlace(t)
	grow(t, p.old, forest{
		"/etc/a/file": file("a"), "/etc/b": file("b"), "/etc/c/file": file("c"), "/etc/d/file": file("d"), "/etc/e": file("e"),
		"/etc/f": file("f"), "/z": file("last"),
	})
	ships := forest{
		"/etc/a": file("a file"), "/etc/b": folder(), "/etc/b/in": file("in"), "/etc/c": link("/etc/b"), "/etc/d": link("../../outside"),
		"/etc/f": file("f"),
	}
	grow(t, p.new, ships)
	must(t, unix.Mkfifo(filepath.Join(p.new, "etc/e"), 0o600))
	ships["/etc/e"] = thing{mode: 0o600}
	outside := filepath.Join(filepath.Dir(p.new), "outside")
	must(t, os.Mkdir(outside, 0o755))
	stage(t, p, "/etc/a", "/etc/b", "/etc/c/file", "/etc/d", "/etc/e", "/etc/f", "/z").has(t)
	applied(t, p).has(t, "refused /etc/a", "refused /etc/b", "refused /etc/c/file", "refused /etc/d", "refused /etc/e")
	ships["/z"] = file("last")
	same(t, "applied", p.new, ships)
	if in, err := os.ReadDir(outside); len(in) != 0 || err != nil {
		t.Errorf("outside of the root: %v, %v", in, err)
	}
}

// A second boot of the same trial leaves what the system changed since; another
// staging is applied again.
func TestAppliedOnce(t *testing.T) {
	p := newPlace(t)
	grow(t, p.old, forest{"/etc/x": file("old")})
	grow(t, p.new, forest{"/etc/x": file("shipped")})
	stage(t, p, "/etc/x")
	first := applied(t, p)
	must(t, os.WriteFile(filepath.Join(p.new, "etc/x"), []byte("changed since"), 0o644))
	second := applied(t, p)
	same(t, "second boot", p.new, forest{"/etc/x": file("changed since")})
	first.has(t, "replaced /etc/x")
	second.has(t, "replaced /etc/x")
	if first.Before || !second.Before {
		t.Errorf("before: first %v, second %v", first.Before, second.Before)
	}
	stage(t, p, "/etc/x")
	applied(t, p)
	same(t, "staged again", p.new, forest{"/etc/x": file("old")})
}

// What was carried is only what the last staging has.
func TestStagedAgain(t *testing.T) {
	p := newPlace(t)
	grow(t, p.old, forest{"/etc/x": file("one"), "/etc/y": file("y")})
	stage(t, p, "/etc/x", "/etc/y")
	must(t, os.WriteFile(filepath.Join(p.old, "etc/x"), []byte("two"), 0o644))
	stage(t, p, "/etc/x")
	applied(t, p)
	same(t, "applied", p.new, forest{"/etc/x": file("two")})
	onlyCopies(t, p.dir)
	must(t, Discard(p.dir))
	must(t, Discard(p.dir))
	if _, err := Apply(t.Context(), p.dir, p.new); !errors.Is(err, ErrNone) {
		t.Errorf("after Discard: %v, want ErrNone", err)
	}
}

// onlyCopies complains about what a folder of copies should not hold.
func onlyCopies(t testing.TB, dir string) {
	t.Helper()
	in, err := os.ReadDir(dir)
	must(t, err)
	files := 0
	for _, e := range in {
		switch n := e.Name(); {
		case n == manifestName || n == journalName:
		case strings.HasPrefix(n, filesPrefix):
			files++
		default:
			t.Errorf("%s is left", n)
		}
	}
	if files != 1 {
		t.Errorf("%d folders of files: %v", files, in)
	}
}

// What cannot be declared, or taken, is said before anything is written.
func TestRefused(t *testing.T) {
	p := newPlace(t)
	grow(t, p.old, forest{
		"/etc/x": file("x"), "/etc/link": link("/etc"), "/etc/file": file("f"), "/big": file(strings.Repeat("x", 100_000)),
		"/many/a": file(""), "/many/b": file(""), "/many/c": file(""),
	})
	deep := filepath.Join(p.old, "deep") + strings.Repeat("/d", maxDepth+2)
	must(t, os.MkdirAll(deep, 0o755))
	inside := filepath.Join(p.old, "state")
	must(t, os.Mkdir(inside, 0o755))
	for name, c := range map[string]struct {
		change func(r *Request)
		want   error
	}{
		"relative":        {func(r *Request) { r.Paths = []string{"etc"} }, ErrPath},
		"empty":           {func(r *Request) { r.Paths = []string{""} }, ErrPath},
		"root":            {func(r *Request) { r.Paths = []string{"/"} }, ErrPath},
		"dots":            {func(r *Request) { r.Paths = []string{"/etc/../.."} }, ErrPath},
		"not clean":       {func(r *Request) { r.Paths = []string{"/etc/"} }, ErrPath},
		"twice":           {func(r *Request) { r.Paths = []string{"/etc", "/etc"} }, ErrPath},
		"within":          {func(r *Request) { r.Paths = []string{"/etc/x", "/etc"} }, ErrPath},
		"behind a link":   {func(r *Request) { r.Paths = []string{"/etc/link/x"} }, ErrPath},
		"behind a file":   {func(r *Request) { r.Paths = []string{"/etc/file/x"} }, ErrPath},
		"too large":       {func(r *Request) { r.Paths, r.Bytes = []string{"/big"}, 99_999 }, ErrLimit},
		"too many":        {func(r *Request) { r.Paths, r.Entries = []string{"/many"}, 3 }, ErrLimit},
		"too deep":        {func(r *Request) { r.Paths = []string{"/deep"} }, ErrLimit},
		"its own copies":  {func(r *Request) { r.Paths, r.Dir = []string{"/state"}, filepath.Join(inside, "carry") }, ErrPath},
		"nowhere":         {func(r *Request) { r.Dir = filepath.Join(p.state, "none", "carry") }, os.ErrNotExist},
		"no root":         {func(r *Request) { r.Root = filepath.Join(p.old, "none") }, os.ErrNotExist},
		"a link for dir":  {func(r *Request) { r.Dir = filepath.Join(p.old, "etc/link") }, unix.ENOTDIR},
		"just small":      {func(r *Request) { r.Paths, r.Bytes = []string{"/big"}, 100_000 }, nil},
		"just few":        {func(r *Request) { r.Paths, r.Entries = []string{"/many"}, 4 }, nil},
		"a name and more": {func(r *Request) { r.Paths = []string{"/etc/x", "/etc/xy"} }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := p.request("/etc/x")
			c.change(&r)
			if _, err := Stage(t.Context(), r); !errors.Is(err, c.want) || c.want == nil && err != nil {
				t.Errorf("Stage: got %v, want %v", err, c.want)
			}
		})
	}
	if err := CheckPaths([]string{"/data/app"}, "/data/app/state"); !errors.Is(err, ErrPath) {
		t.Errorf("the state directory within: got %v", err)
	}
	if err := CheckPaths([]string{"/data/plimsoll/x"}, "/data/plimsoll"); !errors.Is(err, ErrPath) {
		t.Errorf("within the state directory: got %v", err)
	}
	if err := CheckPaths([]string{"/data/plimsolls"}, "/data/plimsoll"); err != nil {
		t.Errorf("beside the state directory: got %v", err)
	}
}

// Devices, sockets and pipes are told of, and not opened: a pipe would wait for
// ever.
func TestSpecial(t *testing.T) {
	p := newPlace(t)
	grow(t, p.old, forest{"/run/x": file("x")})
	must(t, unix.Mkfifo(filepath.Join(p.old, "run/fifo"), 0o600))
	must(t, unix.Mknod(filepath.Join(p.old, "run/null"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))))
	must(t, unix.Mknod(filepath.Join(p.old, "run/sock"), unix.S_IFSOCK|0o600, 0))
	stage(t, p, "/run").has(t, "special /run/fifo", "special /run/null", "special /run/sock")
	applied(t, p)
	same(t, "applied", p.new, forest{"/run/x": file("x")})
	stage(t, p, "/run/fifo").has(t, "special /run/fifo")
}

// No link is followed: what is taken of a tree that leads out of itself is the
// links.
func TestHostileLinks(t *testing.T) {
	p := newPlace(t)
	tree := forest{
		"/etc/c/shadow": link("/etc/shadow"), "/etc/c/up": link("../../../../../../etc"), "/etc/c/self": link("self"),
		"/etc/c/loop": link("../c"), "/etc/c/proc": link("/proc/self/root"), "/etc/c/f": file("f"),
	}
	grow(t, p.old, tree)
	stage(t, p, "/etc/c").has(t)
	applied(t, p)
	same(t, "applied", p.new, tree)
	if n := countFiles(t, p.dir); n != 1 {
		t.Errorf("%d files were copied, want the one", n)
	}
}

func countFiles(t testing.TB, dir string) (n int) {
	t.Helper()
	c, err := openCopies(dir, useCarry)
	must(t, err)
	defer c.close()
	must(t, c.each(func(e entry) error {
		if e.Kind == kindFile {
			n++
		}
		return nil
	}))
	return n
}

// Other file systems are not entered, on the old side and the new one.
func TestMounts(t *testing.T) {
	p := newPlace(t)
	grow(t, p.old, forest{"/etc/x": file("x"), "/etc/d/y": file("y"), "/var/lib/z": file("z")})
	tmpfs(t, filepath.Join(p.old, "etc/d"), "64k")
	grow(t, p.old, forest{"/etc/d/of tmpfs": file("t")})
	stage(t, p, "/etc", "/var/lib/z").has(t, "mount /etc/d")
	grow(t, p.new, forest{"/var": folder()})
	tmpfs(t, filepath.Join(p.new, "var"), "64k")
	grow(t, p.new, forest{"/var/lib/z": file("of its own")})
	applied(t, p).has(t, "mount /var/lib/z")
	same(t, "applied", p.new, forest{"/etc/x": file("x"), "/var/lib/z": file("of its own"), "/var": {kind: kindFolder, mode: 0o1777}})
	// A bind mount is of the same file system, and yet another mount.
	must(t, os.Mkdir(filepath.Join(p.old, "bound"), 0o755))
	must(t, unix.Mount(filepath.Join(p.old, "var"), filepath.Join(p.old, "bound"), "", unix.MS_BIND, ""))
	t.Cleanup(func() { unmount(t, filepath.Join(p.old, "bound")) })
	stage(t, p, "/bound/lib/z").has(t, "mount /bound/lib/z")
}

func tmpfs(t testing.TB, dir, size string) {
	t.Helper()
	asRoot(t)
	must(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size))
	t.Cleanup(func() { unmount(t, dir) })
}

func unmount(t testing.TB, dir string) {
	t.Helper()
	if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		t.Error(err)
	}
}

// A root that is mounted read-only is told of, and nothing is written; where
// all is as it should be, it is no problem.
func TestReadOnlyRoot(t *testing.T) {
	p := newPlace(t)
	grow(t, p.old, forest{"/etc/x": file("x")})
	stage(t, p, "/etc/x")
	tmpfs(t, p.new, "64k")
	must(t, unix.Mount("", p.new, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	_, err := Apply(t.Context(), p.dir, p.new)
	if !errors.Is(err, ErrReadOnly) || !strings.Contains(err.Error(), "overlay") {
		t.Errorf("got %v, want ErrReadOnly and what to do", err)
	}
	must(t, unix.Mount("", p.new, "", unix.MS_REMOUNT, ""))
	grow(t, p.new, forest{"/etc/x": file("x")})
	must(t, unix.Mount("", p.new, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	applied(t, p).has(t)
}

func TestWritable(t *testing.T) {
	must(t, Writable(t.TempDir()))
	sys := t.TempDir()
	grow(t, sys, forest{"/dev/block/253:1/dm/uuid": file("CRYPT-VERITY-0123-root\n"), "/dev/block/253:2/dm/uuid": file("LVM-root\n")})
	if err := verity(sys, "/", 253, 1); !errors.Is(err, ErrReadOnly) {
		t.Errorf("dm-verity: got %v", err)
	}
	must(t, verity(sys, "/", 253, 2))
	must(t, verity(sys, "/", 8, 1))
}

// A copy that was damaged since is not carried, and the rest of the tree is not
// touched by what cannot be trusted.
func TestDamaged(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, dir string){
		"content":      func(t *testing.T, dir string) { flip(t, glob(t, dir, filesPrefix+"*/0/000"), 0) },
		"manifest":     func(t *testing.T, dir string) { flip(t, filepath.Join(dir, manifestName), 200) },
		"its end":      func(t *testing.T, dir string) { shorten(t, filepath.Join(dir, manifestName), 10) },
		"a line":       func(t *testing.T, dir string) { shorten(t, filepath.Join(dir, manifestName), 110) },
		"all of it":    func(t *testing.T, dir string) { must(t, os.Truncate(filepath.Join(dir, manifestName), 0)) },
		"no file":      func(t *testing.T, dir string) { must(t, os.Remove(glob(t, dir, filesPrefix+"*/0/000"))) },
		"shorter file": func(t *testing.T, dir string) { shorten(t, glob(t, dir, filesPrefix+"*/0/000"), 1) },
		"no files":     func(t *testing.T, dir string) { must(t, os.RemoveAll(glob(t, dir, filesPrefix+"*"))) },
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			grow(t, p.old, forest{"/etc/x": file("old old old")})
			grow(t, p.new, forest{"/etc/x": file("shipped")})
			stage(t, p, "/etc/x")
			damage(t, p.dir)
			if _, err := Apply(t.Context(), p.dir, p.new); !errors.Is(err, ErrDamaged) {
				t.Errorf("got %v, want ErrDamaged", err)
			}
			same(t, "after it", p.new, forest{"/etc/x": file("shipped")})
			stage(t, p, "/etc/x")
			applied(t, p)
			same(t, "staged anew", p.new, forest{"/etc/x": file("old old old")})
			onlyCopies(t, p.dir)
		})
	}
}

func flip(t *testing.T, path string, at int) {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	b[at] ^= 1
	must(t, os.WriteFile(path, b, 0o600))
}

func shorten(t *testing.T, path string, by int64) {
	t.Helper()
	st, err := os.Stat(path)
	must(t, err)
	must(t, os.Truncate(path, st.Size()-by))
}

func glob(t *testing.T, dir, pattern string) string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, pattern))
	must(t, err)
	if len(all) != 1 {
		t.Fatalf("%s: %v", pattern, all)
	}
	return all[0]
}

// Holes stay holes: a database that has the size of its map and little in it.
func TestHoles(t *testing.T) {
	p := newPlace(t)
	path := filepath.Join(p.old, "db")
	f, err := os.Create(path)
	must(t, err)
	for _, at := range []int64{1 << 20, 5<<20 - 3, 8 << 20} {
		_, err = f.WriteAt([]byte("some"), at)
		must(t, err)
	}
	must(t, f.Truncate(12<<20))
	must(t, f.Close())
	stage(t, p, "/db")
	applied(t, p)
	a, err := os.ReadFile(path)
	must(t, err)
	b, err := os.ReadFile(filepath.Join(p.new, "db"))
	must(t, err)
	if string(a) != string(b) {
		t.Error("the copy differs")
	}
	var st unix.Stat_t
	must(t, unix.Stat(filepath.Join(p.new, "db"), &st))
	if st.Blocks*512 > 1<<20 {
		t.Errorf("%d KiB are allocated for 12 bytes", st.Blocks/2)
	}
}

// A cancelled copy is an error, and leaves the copies that were there.
func TestCancelled(t *testing.T) {
	p := newPlace(t)
	grow(t, p.old, kept())
	stage(t, p, "/etc/machine-id")
	ctx, cancel := context.WithCancelCause(t.Context())
	r := p.request(keptPaths...)
	because := errors.New("unplugged")
	r.Progress = func(int64, int64) { cancel(because) }
	if _, err := Stage(ctx, r); !errors.Is(err, because) {
		t.Errorf("Stage: got %v, want the cause", err)
	}
	onlyCopies(t, p.dir)
	if _, err := Apply(ctx, p.dir, p.new); !errors.Is(err, because) {
		t.Errorf("Apply: got %v, want the cause", err)
	}
	applied(t, p)
	same(t, "the copies before", p.new, forest{"/etc/machine-id": kept()["/etc/machine-id"]})
}

// A file that is being written to is taken when it rests; if it never does it
// is told of.
func TestChanging(t *testing.T) {
	for name, c := range map[string]struct {
		times int
		write func(f *os.File) error
		want  []string
	}{
		"grows once":   {1, func(f *os.File) error { _, err := f.WriteAt([]byte("y"), 3<<20); return err }, nil},
		"grows always": {99, func(f *os.File) error { _, err := f.Seek(0, 2); f.WriteString("y"); return err }, []string{"changing /log"}},
		"shrinks once": {1, func(f *os.File) error { return f.Truncate(1 << 20) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			grow(t, p.old, forest{"/log": file(strings.Repeat("x", 3<<20))})
			f, err := os.OpenFile(filepath.Join(p.old, "log"), os.O_RDWR, 0)
			must(t, err)
			defer f.Close()
			taker := newTaker(t.Context(), p.request("/log"), useCarry)
			taker.moved = func(int64) {
				if c.times--; c.times >= 0 {
					must(t, c.write(f))
				}
			}
			r, err := taker.run()
			must(t, err)
			r.has(t, c.want...)
			applied(t, p)
			if c.want == nil {
				same(t, "applied", p.new, survey(t, p.old))
			}
		})
	}
}

// What the medium gives back is compared: content, owner, mode and attributes.
func TestVerify(t *testing.T) {
	p := newPlace(t)
	grow(t, p.old, forest{"/x": {kind: kindFile, content: "right", mode: 0o640, uid: 5, attrs: map[string]string{"user.a": "b"}}})
	stage(t, p, "/x")
	c, err := openCopies(p.dir, useCarry)
	must(t, err)
	defer c.close()
	var e entry
	must(t, c.each(func(each entry) error { e = each; return nil }))
	path := filepath.Join(p.new, "x")
	for name, spoil := range map[string]func() error{
		"nothing":   func() error { return nil },
		"content":   func() error { return os.WriteFile(path, []byte("wrong"), 0) },
		"length":    func() error { return os.Truncate(path, 4) },
		"owner":     func() error { return os.Chown(path, 6, 0) },
		"group":     func() error { return os.Chown(path, 5, 1) },
		"mode":      func() error { return os.Chmod(path, 0o600) },
		"attribute": func() error { return unix.Setxattr(path, "user.a", []byte("c"), 0) },
		"one more":  func() error { return unix.Setxattr(path, "user.b", []byte("c"), 0) },
	} {
		must(t, os.RemoveAll(path))
		grow(t, p.new, survey(t, p.old))
		must(t, spoil())
		f, err := os.Open(path)
		must(t, err)
		a := &applier{}
		a.ctx = t.Context()
		if err := a.verify(f, e, false); (err == nil) != (name == "nothing") {
			t.Errorf("%s: got %v", name, err)
		}
		must(t, f.Close())
	}
}

// A report does not grow with what it reports.
func TestFindingsAreBounded(t *testing.T) {
	p := newPlace(t)
	must(t, os.Mkdir(filepath.Join(p.old, "s"), 0o755))
	for i := range maxFindings + 7 {
		must(t, unix.Mkfifo(filepath.Join(p.old, "s", fmt.Sprint(i)), 0o600))
	}
	r := stage(t, p, "/s")
	if last := r.Findings[len(r.Findings)-1]; len(r.Findings) != maxFindings+1 || last.Why != "and 7 more" {
		t.Errorf("%d findings, the last %v", len(r.Findings), last)
	}
}

// The label of a policy that the new system does not have is told of, and is no
// reason to fail. Here no policy is loaded: the label is kept.
func TestLabel(t *testing.T) {
	p := newPlace(t)
	grow(t, p.old, forest{"/etc/x": {kind: kindFile, content: "x", mode: 0o600, attrs: map[string]string{"security.selinux": "system_u:object_r:etc_t:s0\x00"}}})
	stage(t, p, "/etc/x")
	applied(t, p)
	same(t, "applied", p.new, survey(t, p.old))
}

func TestText(t *testing.T) {
	for _, s := range []string{"", "a", "ä", "%", "%41", "\xff", "a\xc3", "\xc3\x28", "\n\x00\"<>&\u2028", "\ufffd"} {
		b, err := text(s).MarshalText()
		must(t, err)
		var back text
		must(t, back.UnmarshalText(b))
		if string(back) != s {
			t.Errorf("%q: wrote %q, read %q", s, b, back)
		}
	}
	for _, s := range []string{"%", "%4", "%4x", "%%41"} {
		if err := new(text).UnmarshalText([]byte(s)); err == nil {
			t.Errorf("%q was read", s)
		}
	}
}

func FuzzManifest(f *testing.F) {
	f.Add([]byte(`{"schema":1,"id":"0123456789abcdef","use":"carry","paths":["/x"]}`+"\n"+`{"path":"/x","kind":"file"}`+"\n"), true)
	f.Add([]byte("{}\n\n"), false)
	dir := f.TempDir()
	if err := os.Mkdir(filepath.Join(dir, filesPrefix+"0123456789abcdef"), 0o700); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte, sealed bool) {
		if sealed { // beneath the checksum
			b = slices.Concat(b, seal(b))
		}
		must(t, os.WriteFile(filepath.Join(dir, manifestName), b, 0o600))
		c, err := openCopies(dir, useCarry)
		if err != nil {
			return
		}
		defer c.close()
		c.each(func(e entry) error { return nil }) // an error or none
	})
}
