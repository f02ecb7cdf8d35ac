package data

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// soak asks for the full counts.
var soak = os.Getenv("PLIMSOLL_SOAK") != ""

var snapPaths = []string{"/data/app", "/data/conf", "/data/none", "/data/gone/x", "/data/link"}

// before is what a snapshot is made of; after is what a new release makes of it.
func before() forest {
	return forest{
		"/data/app": {kind: kindFolder, mode: 0o750, uid: 5, gid: 6}, "/data/app/db": {kind: kindFile, content: "schema 1", mode: 0o600, uid: 5, gid: 6, sec: 1600000000},
		"/data/app/deleted": file("it is back"), "/data/app/sub/x": file("x"), "/data/app/cur": link("sub/x"),
		"/data/conf": file("one"), "/data/gone/x": file("gone"), "/data/link": link("app"), "/data/beside": file("b"),
	}
}

func after() forest {
	return forest{
		"/data/app": {kind: kindFolder, mode: 0o700, uid: 9}, "/data/app/db": {kind: kindFile, content: "schema 2, longer", mode: 0o644},
		"/data/app/created/y": file("y"), "/data/app/sub": file("a file now"), "/data/app/cur": link("created/y"),
		"/data/conf/d": file("a folder now"), "/data/none": file("was not there"), "/data/link": file("a file"), "/data/beside": file("changed"),
	}
}

// upgrade makes root what after says.
func upgrade(t testing.TB, root string) {
	t.Helper()
	for _, p := range []string{"app", "conf", "gone", "link", "none"} {
		must(t, os.RemoveAll(filepath.Join(root, "data", p)))
	}
	grow(t, root, after())
}

// restored is what Restore leaves: the snapshot, and what was not declared as
// the new release has it.
func restored() forest {
	want := before()
	want["/data/beside"] = file("changed")
	return want
}

// What the new release created is gone, what it deleted is back, and what was
// not declared is as it is.
func TestRestore(t *testing.T) {
	p := newPlace(t)
	grow(t, p.old, before())
	r, err := Snapshot(t.Context(), p.request(snapPaths...))
	must(t, err)
	r.has(t, "missing /data/none")
	upgrade(t, p.old)
	r, err = Restore(t.Context(), p.dir, p.old)
	must(t, err)
	r.has(t)
	same(t, "restored", p.old, restored())

	must(t, os.WriteFile(filepath.Join(p.old, "data/app/db"), []byte("later"), 0o600))
	r, err = Restore(t.Context(), p.dir, p.old)
	must(t, err)
	if b, _ := os.ReadFile(filepath.Join(p.old, "data/app/db")); string(b) != "later" || !r.Before {
		t.Errorf("the second time: %q, %+v", b, r)
	}
}

// A snapshot that is damaged, does not fit, or cannot be exchanged changes
// nothing.
func TestRestoreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(t *testing.T, p place)
		want  error
	}{
		"damaged": {func(t *testing.T, p place) { flip(t, glob(t, p.dir, filesPrefix+"*/0/003"), 0) }, ErrDamaged},
		"space": {func(t *testing.T, p place) {
			f, err := os.Create(filepath.Join(p.old, "data/filler"))
			must(t, err)
			defer f.Close()
			for err == nil {
				_, err = f.Write(make([]byte, 4096))
			}
		}, ErrSpace},
		"a mount within": {func(t *testing.T, p place) { tmpfs(t, filepath.Join(p.old, "data/app/created"), "16k") }, ErrPath},
		"a link on the way": {func(t *testing.T, p place) {
			must(t, os.Rename(filepath.Join(p.old, "data"), filepath.Join(p.old, "elsewhere")))
			must(t, os.Symlink("elsewhere", filepath.Join(p.old, "data")))
		}, errLink},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			tmpfs(t, p.old, "256k")
			grow(t, p.old, before())
			_, err := Snapshot(t.Context(), p.request(snapPaths...))
			must(t, err)
			upgrade(t, p.old)
			c.spoil(t, p)
			want := survey(t, p.old)
			_, err = Restore(t.Context(), p.dir, p.old)
			if !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if c.want == ErrSpace && !strings.Contains(err.Error(), "0 are free") {
				t.Errorf("no numbers: %v", err)
			}
			same(t, "after it", p.old, want)
		})
	}
}

// Mount points are refused: they cannot be exchanged.
func TestSnapshotMounts(t *testing.T) {
	p := newPlace(t)
	grow(t, p.old, forest{"/data/app": folder(), "/within/d/m": folder()})
	tmpfs(t, filepath.Join(p.old, "data"), "64k")
	grow(t, p.old, forest{"/data/app/x": file("x")})
	tmpfs(t, filepath.Join(p.old, "within/d/m"), "64k")
	for path, want := range map[string]error{"/data/app": nil, "/data": ErrPath, "/within": ErrPath, "/within/d/m": ErrPath} {
		if _, err := Snapshot(t.Context(), p.request(path)); !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("%s: got %v, want %v", path, err, want)
		}
	}
}

// Where the file system can, blocks are shared: a snapshot of more than is free
// fits, and so does its way back.
func TestReflink(t *testing.T) {
	p := newPlace(t)
	disk := filepath.Join(t.TempDir(), "btrfs.img")
	must(t, os.WriteFile(disk, nil, 0o600))
	must(t, os.Truncate(disk, 128<<20))
	command(t, "mkfs.btrfs", "-q", "--mixed", disk)
	command(t, "mount", "-o", "loop", disk, p.old)
	t.Cleanup(func() { command(t, "umount", p.old) })
	p.dir = filepath.Join(p.old, "state")
	big := strings.Repeat("0123456789abcdef", 70<<20/16)
	grow(t, p.old, forest{"/data/app/big": file(big), "/data/app/x": file("x")})
	_, err := Snapshot(t.Context(), p.request("/data/app"))
	must(t, err)
	f, err := os.OpenFile(filepath.Join(p.old, "data/app/big"), os.O_WRONLY, 0)
	must(t, err)
	_, err = f.WriteAt([]byte("changed"), 5<<20)
	must(t, errors.Join(err, f.Close()))
	_, err = Restore(t.Context(), p.dir, p.old)
	must(t, err)
	if b, err := os.ReadFile(filepath.Join(p.old, "data/app/big")); string(b) != big {
		t.Errorf("not restored: %d bytes, %v", len(b), err)
	}
}

func command(t testing.TB, name string, args ...string) {
	t.Helper()
	asRoot(t)
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

func TestSnapshotCancelled(t *testing.T) {
	p := newPlace(t)
	grow(t, p.old, before())
	_, err := Snapshot(t.Context(), p.request(snapPaths...))
	must(t, err)
	upgrade(t, p.old)
	ctx, cancel := context.WithCancelCause(t.Context())
	because := errors.New("stopped")
	cancel(because)
	want := survey(t, p.old)
	if _, err := Restore(ctx, p.dir, p.old); !errors.Is(err, because) {
		t.Errorf("got %v, want the cause", err)
	}
	same(t, "after it", p.old, want)
}

// Many files are too many to carry, and can be a snapshot.
func TestManyFiles(t *testing.T) {
	p := newPlace(t)
	tmpfs(t, p.old, "1g,nr_inodes=300000")
	n := 15_000
	if soak {
		n = 100_000
	}
	for i := range n {
		dir := filepath.Join(p.old, "app", fmt.Sprint(i/500))
		if i%500 == 0 {
			must(t, os.MkdirAll(dir, 0o755))
		}
		must(t, os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), []byte(fmt.Sprint(i)), 0o644))
	}
	if _, err := Stage(t.Context(), p.request("/app")); !errors.Is(err, ErrLimit) {
		t.Errorf("Stage: got %v, want ErrLimit", err)
	}
	tmpfs(t, p.state, "2g,nr_inodes=300000")
	r, err := Snapshot(t.Context(), p.request("/app"))
	must(t, err)
	if want := n + n/500 + 1; r.Entries != want {
		t.Errorf("%d entries, want %d", r.Entries, want)
	}
	must(t, os.RemoveAll(filepath.Join(p.old, "app/7")))
	must(t, os.WriteFile(filepath.Join(p.old, "app/3/1501"), []byte("changed"), 0o644))
	_, err = Restore(t.Context(), p.dir, p.old)
	must(t, err)
	for _, i := range []int{0, 1501, 7 * 500, n - 1} {
		b, err := os.ReadFile(filepath.Join(p.old, "app", fmt.Sprint(i/500), fmt.Sprint(i)))
		if err != nil || string(b) != fmt.Sprint(i) {
			t.Errorf("%d: %q, %v", i, b, err)
		}
	}
}
