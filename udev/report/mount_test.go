package report

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMain gives the tests a mount namespace of their own, where they may.
func TestMain(m *testing.M) {
	const mark = "PLIMSOLL_TEST_NAMESPACE"
	if os.Geteuid() == 0 && os.Getenv(mark) == "" {
		path, err := exec.LookPath("unshare")
		self, err2 := os.Executable()
		if err = errors.Join(err, err2); err == nil {
			args := []string{path, "--mount", "--propagation", "private", self}
			err = unix.Exec(path, append(args, os.Args[1:]...), append(os.Environ(), mark+"=1"))
		}
		fmt.Fprintln(os.Stderr, "unshare:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// asRoot is for what only root can set up: without it these tests fail, and skip
// nothing.
func asRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("loop devices and mounts need root: run the tests as root")
	}
}

func mount(t testing.TB, source, target, kind string, flags uintptr, data string) {
	t.Helper()
	must(t, unix.Mount(source, target, kind, flags, data))
	t.Cleanup(func() { must(t, unix.Unmount(target, 0)) })
}

func tool(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out[:max(0, len(out)-1)])
}

// fill leaves no room in dir.
func fill(t testing.TB, dir string) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "fill"))
	must(t, err)
	defer f.Close()
	for size := 1 << 20; size > 0; {
		_, err := f.Write(make([]byte, size))
		if err = errors.Join(err, f.Sync()); errors.Is(err, unix.ENOSPC) {
			size /= 2
		} else {
			must(t, err)
		}
	}
}

// A medium is a stick of some kind that the kernel has.
type medium struct {
	name string
	make func(t *testing.T) (dir string, root *os.Root)
}

// media are the kinds of sticks, small ones.
func media(t *testing.T) (all []medium) {
	t.Helper()
	asRoot(t)
	all = append(all,
		medium{"folder", func(t *testing.T) (string, *os.Root) { return opened(t, t.TempDir()) }},
		medium{"tmpfs", inMemory})
	for _, kind := range []string{"ext4", "vfat"} {
		if !kernelHas(t, kind) {
			t.Logf("this kernel has no %s; TestSticks, of the boards, writes reports onto such sticks", kind)
			continue
		}
		all = append(all, medium{kind, func(t *testing.T) (string, *os.Root) {
			dir := t.TempDir()
			mount(t, loop(t, kind, filepath.Join(t.TempDir(), "stick.img"), 2<<20), dir, kind, unix.MS_NOATIME, "")
			return opened(t, dir)
		}})
	}
	return all
}

// inMemory is a stick that costs no time.
func inMemory(t *testing.T) (string, *os.Root) {
	t.Helper()
	asRoot(t)
	dir := t.TempDir()
	mount(t, "tmpfs", dir, "tmpfs", 0, "size=1m")
	return opened(t, dir)
}

// opened opens a stick until the test ends.
func opened(t *testing.T, dir string) (string, *os.Root) {
	t.Helper()
	root, err := os.OpenRoot(dir)
	must(t, err)
	t.Cleanup(func() { root.Close() })
	return dir, root
}

// loop makes a file system in a file and shows it as a block device.
func loop(t testing.TB, kind, file string, size int64) string {
	t.Helper()
	must(t, os.WriteFile(file, nil, 0o600))
	must(t, os.Truncate(file, size))
	switch kind {
	case "ext4":
		tool(t, "mkfs.ext4", "-q", "-F", "-m0", "-O", "^has_journal", "-b", "1024", file)
	default:
		tool(t, "mkfs."+kind, file)
	}
	dev := tool(t, "losetup", "--find", "--show", file)
	t.Cleanup(func() { tool(t, "losetup", "--detach", dev) })
	return dev
}

// kernelHas asks by trying: a module is loaded by that.
func kernelHas(t *testing.T, kind string) bool {
	t.Helper()
	err := unix.Mount("/dev/null", t.TempDir(), kind, unix.MS_RDONLY, "")
	if err == nil {
		t.Fatalf("/dev/null was mounted as %s", kind)
	}
	return err != unix.ENODEV
}
