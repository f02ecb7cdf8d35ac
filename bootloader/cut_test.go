package bootloader

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A cut leaves some of the new bytes on the medium and some of the old, in the
// order of the file or not. Whatever it leaves, the old variables are in force
// or all of the new ones are, and the next write mends it.
func TestCutAtEveryByte(t *testing.T) {
	old := board()
	now := with(board(), varPart, "3", varPartHex, "3", varTrial, "1", varID, "0123456789abcdef")
	for _, flags := range []byte{5, 254, 255} {
		for stale := range 2 {
			copies := make([][]byte, 2)
			copies[stale], copies[1-stale] = encode(t, Env{"older": "1"}, true, flags-1), encode(t, old, true, flags)
			u := newBench(t, Options{}, copies...)
			if err := u.Try(Trial{Part: 3, ID: "0123456789abcdef"}); err != nil {
				t.Fatal(err)
			}
			before, after := copies[stale], u.get(stale)
			seen := map[bool]int{}
			for n := range testSize + 1 {
				prefix := append(bytes.Clone(after[:n]), before[n:]...)
				suffix := append(bytes.Clone(before[:n]), after[n:]...)
				hole := bytes.Clone(after)
				copy(hole[n:min(n+16, testSize)], bytes.Repeat([]byte{0xff}, 16))
				for kind, torn := range map[string][]byte{"prefix": prefix, "suffix": suffix, "hole": hole} {
					e := survivor(t, stale, torn, copies[1-stale])
					isNew := maps.Equal(e, now)
					if !isNew && !maps.Equal(e, old) {
						t.Fatalf("flags %d, copy %d, %s of %d bytes: %v", flags, stale, kind, n, e)
					}
					if whole := bytes.Equal(torn, after); isNew != whole && !bytes.Equal(torn[5:], after[5:]) {
						t.Fatalf("flags %d, copy %d, %s of %d bytes: new %v", flags, stale, kind, n, isNew)
					}
					seen[isNew]++
				}
			}
			if seen[true] == 0 || seen[false] == 0 {
				t.Errorf("one outcome only: %v", seen)
			}
			for _, n := range []int{0, 1, 4, 5, 6, 511, 512, testSize - 1} {
				torn := append(bytes.Clone(after[:n]), before[n:]...)
				u.put(stale, torn)
				u.put(1-stale, copies[1-stale])
				want := with(maps.Clone(survivor(t, stale, torn, copies[1-stale])), "again", "1")
				if err := u.Update(set("again", "1")); err != nil {
					t.Fatal(err)
				}
				if e, err := u.Env(); err != nil || !maps.Equal(e, want) {
					t.Fatalf("after a cut at %d and a write: %v, %v", n, e, err)
				}
			}
		}
	}
}

// survivor is what the rules make of two copies, by a reading of them that does
// not share code with the package's.
func survivor(t *testing.T, stale int, torn, other []byte) Env {
	t.Helper()
	copies := [][]byte{other, other}
	copies[stale] = torn
	a, fa, errA := ParseEnv(copies[0], true)
	b, fb, errB := ParseEnv(copies[1], true)
	switch {
	case errA != nil && errB != nil:
		t.Fatalf("neither copy is valid: %v, %v", errA, errB)
	case errB != nil:
		return a
	case errA != nil:
		return b
	case fa == 255 && fb == 0, fb > fa && !(fa == 0 && fb == 255):
		return b
	}
	return a
}

// full makes a file system of which not a byte is free, with room for sparse
// files in it.
func full(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Fatalf("a full file system needs root: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fill takes all but spare bytes of the file system at dir.
func fill(t *testing.T, dir string, spare int64) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(f, zeros{}); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("%v, want %v", err, unix.ENOSPC)
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err := errors.Join(err, f.Truncate(size-spare), f.Close()); err != nil {
		t.Fatal(err)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// On a full medium the stale copy, a hole, takes some of the bytes or none. With
// a page to spare it lacks nothing but zeros, and is withdrawn.
func TestFullDevice(t *testing.T) {
	const size = 0x8000
	for spare := int64(0); spare <= size; spare += 4096 {
		dir := full(t)
		current, err := board().Encode(size, true, 5)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "env")
		if err := errors.Join(os.WriteFile(path, current, 0o600), os.Truncate(path, 2*size)); err != nil {
			t.Fatal(err)
		}
		fill(t, dir, spare)
		u, err := OpenUBoot(Options{LockPath: filepath.Join(t.TempDir(), "lock")},
			Location{Path: path, Size: size}, Location{Path: path, Offset: size, Size: size})
		if err != nil {
			t.Fatal(err)
		}
		err = u.Try(Trial{Part: 3, ID: "x", Limit: 3})
		if fits := spare >= size; fits != (err == nil) || !fits && !errors.Is(err, unix.ENOSPC) {
			t.Errorf("%d bytes spare: %v", spare, err)
		}
		if st, stErr := u.State(); stErr != nil || st.Trial != (err == nil) || st.Part != map[bool]int{true: 3, false: 2}[err == nil] {
			t.Errorf("%d bytes spare: %+v, %v", spare, st, stErr)
		}
	}
}

// A block device whose medium fails when the cache is written out, or says yes
// and does not store: what the cache has is not what the medium has, and must
// not be believed.
func TestFailingDevice(t *testing.T) {
	for _, spare := range []int64{0, 4096} {
		t.Run(fmt.Sprint(spare), func(t *testing.T) { failingDevice(t, spare) })
	}
}

func failingDevice(t *testing.T, spare int64) {
	const size = 0x8000
	dir := full(t)
	current, err := with(board(), "long", strings.Repeat("x", 3*4096)).Encode(size, true, 5)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "disk")
	if err := errors.Join(os.WriteFile(path, current, 0o600), os.Truncate(path, 2*size)); err != nil {
		t.Fatal(err)
	}
	fill(t, dir, spare)
	disk := loop(t, path)
	keepCache(t, disk)
	u, err := OpenUBoot(Options{LockPath: filepath.Join(t.TempDir(), "lock")},
		Location{Path: disk, Size: size}, Location{Path: disk, Offset: size, Size: size})
	if err != nil {
		t.Fatal(err)
	}
	if err := u.Try(Trial{Part: 3, ID: "x", Limit: 3}); err == nil {
		t.Fatal("armed on a medium that does not store")
	}
	if st, err := u.State(); err != nil || st.Trial || st.Part != 2 || st.Valid != 1 {
		t.Errorf("%+v, %v", st, err)
	}
}

// A medium that says yes and keeps the bytes elsewhere: the kernel appends
// whatever the offset where a descriptor is in append mode.
func TestReadBack(t *testing.T) {
	u := newBench(t, Options{}, pair(t, board())...)
	f, err := os.OpenFile(u.paths[0], os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETFL, unix.O_APPEND); err != nil {
		t.Fatal(err)
	}
	if err := u.copies[0].writeTo(f, encode(t, board(), true, 6)); !errors.Is(err, ErrReadBack) {
		t.Errorf("%v, want %v", err, ErrReadBack)
	}
	if err := u.inForce(0, u.get(0)); !errors.Is(err, ErrReadBack) {
		t.Errorf("the other copy is in force: %v, want %v", err, ErrReadBack)
	}
	if err := u.inForce(1, encode(t, board(), true, 9)); !errors.Is(err, ErrReadBack) {
		t.Errorf("other bytes are in force: %v, want %v", err, ErrReadBack)
	}
}

// What an update does to the medium: one write, of the stale copy, then a sync,
// and only then is it read back.
func TestOneWriteThenSync(t *testing.T) {
	const variable = "PLIMSOLL_TEST_ENVIRONMENT"
	if dir := os.Getenv(variable); dir != "" { // beneath strace
		u, err := OpenUBoot(Options{LockPath: filepath.Join(dir, "lock")},
			Location{Path: filepath.Join(dir, "copy0"), Size: testSize}, Location{Path: filepath.Join(dir, "copy1"), Size: testSize})
		if err != nil {
			t.Fatal(err)
		}
		if err := u.Try(Trial{3, "x", 3}); err != nil {
			t.Fatal(err)
		}
		return
	}
	u := newBench(t, Options{}, pair(t, board())...)
	trace := filepath.Join(t.TempDir(), "trace")
	cmd := exec.Command("strace", "-f", "-y", "-e", "trace=write,pwrite64,fsync,fdatasync,pread64", "-e", "signal=none", "-o", trace,
		os.Args[0], "-test.run=^TestOneWriteThenSync$")
	cmd.Env = append(os.Environ(), variable+"="+filepath.Dir(u.paths[0]))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	calls, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(string(calls)) {
		_, call, _ := strings.Cut(line, " ")
		name, args, _ := strings.Cut(strings.TrimSpace(call), "(")
		for i, path := range u.paths {
			if strings.Contains(args, "<"+path+">") {
				got = append(got, fmt.Sprint(name, " ", i))
			}
		}
	}
	want := "pread64 0, pread64 1, pwrite64 0, fsync 0, pread64 0, pread64 0, pread64 1"
	if got := strings.Join(got, ", "); got != want {
		t.Errorf("system calls, by copy:\ngot  %s\nwant %s", got, want)
	}
}

func TestRestore(t *testing.T) {
	armed := with(board(), varPart, "3", varPartHex, "3", varTrial, "1", varID, "0123", "plimsoll_future", "kept")
	want := with(maps.Clone(armed), varPart, "2", varPartHex, "2", varTrial, "0", varID, "")
	zero := make([]byte, testSize)
	for _, flags := range []byte{0, 9, 254, 255} {
		backup := encode(t, armed, true, flags)
		u := newBench(t, Options{}, damaged(backup), zero)
		if err := u.Restore(backup, 2); err != nil {
			t.Fatal(err)
		}
		st, err := u.State()
		if err != nil || st.Valid != 2 || st.Part != 2 || st.Trial || st.ID != "" {
			t.Errorf("%+v, %v", st, err)
		}
		restored := [2][]byte{u.get(0), u.get(1)}
		for i, raw := range restored {
			if e, got, err := ParseEnv(raw, true); err != nil || !maps.Equal(e, want) || got != flags+1-byte(i) {
				t.Errorf("copy %d: flags %d, %v, %v; the first is the newer one", i, got, e, err)
			}
		}
		// A cut in the first copy leaves nothing, as before; from then on one copy is whole.
		for n := range testSize + 1 {
			u.put(0, restored[0])
			u.put(1, append(bytes.Clone(restored[1][:n]), zero[n:]...))
			if e, err := u.Env(); err != nil || !maps.Equal(e, want) {
				t.Fatalf("cut after %d bytes of the second copy: %v, %v", n, e, err)
			}
		}
	}
}

func TestRestoreRefuses(t *testing.T) {
	good := encode(t, board(), true, 5)
	lost := damaged(good)
	larger, err := board().Encode(2*testSize, true, 5)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []struct {
		name   string
		a, b   []byte
		backup []byte
		part   int
	}{
		{"the first copy is valid", good, lost, good, 2},
		{"the second copy is valid", lost, good, good, 2},
		{"the backup is damaged", lost, lost, lost, 2},
		{"the backup is of a single copy", lost, lost, encode(t, board(), false, 0), 2},
		{"the backup is larger", lost, lost, larger, 2},
		{"no backup", lost, lost, nil, 2},
		{"no partition", lost, lost, good, 0},
	} {
		u := newBench(t, Options{}, v.a, v.b)
		before := u.both()
		if err := u.Restore(v.backup, v.part); err == nil || u.both() != before {
			t.Errorf("%s: %v, or it wrote", v.name, err)
		}
	}
}

// Where the first copy cannot be written, the second one brings the device back.
func TestRestoreGoesOn(t *testing.T) {
	good := encode(t, board(), true, 5)
	u := newBench(t, Options{}, damaged(good), damaged(good))
	if err := os.Remove(u.paths[0]); err != nil {
		t.Fatal(err)
	}
	if err := u.Restore(good, 2); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v, want %v", err, fs.ErrNotExist)
	}
	if st, err := u.State(); err != nil || st.Valid != 1 || st.Part != 2 {
		t.Errorf("%+v, %v", st, err)
	}
}

func TestRestoreSingleCopy(t *testing.T) {
	good := encode(t, with(board(), varTrial, "1"), false, 0)
	u := newBench(t, Options{SingleCopy: true}, damaged(good))
	if err := u.Restore(good, 3); err != nil {
		t.Fatal(err)
	}
	if st, err := u.State(); err != nil || st.Part != 3 || st.Trial {
		t.Errorf("%+v, %v", st, err)
	}
}

// loop shows file as a block device until the test ends.
func loop(t *testing.T, file string, flags ...string) string {
	t.Helper()
	device := run(t, "losetup", append(flags, "--find", "--show", file)...)
	t.Cleanup(func() {
		if out, err := exec.Command("losetup", "--detach", device).CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	})
	return device
}

// keepCache holds a block device open until the test ends: with the last one
// that closes it the kernel drops its cache, and nothing is left to read past.
func keepCache(t *testing.T, device string) {
	t.Helper()
	f, err := os.Open(device)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
}

// run runs one of the system's tools and returns what it printed, less the
// newline.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return strings.TrimSuffix(string(out), "\n")
}
