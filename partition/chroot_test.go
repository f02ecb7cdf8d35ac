package partition

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// insideEnv tells the test binary that it is the system being looked at: its
// value is the folder to make the root of, the slots' devices, the device beneath the
// overlay, whether that stays visible, and the kernel command line.
const insideEnv = "PARTITION_TEST_INSIDE"

func TestMain(m *testing.M) {
	if v := os.Getenv(insideEnv); v != "" {
		inside(strings.Split(v, " "))
		return
	}
	if v := os.Getenv(liveEnv); v != "" {
		live(v)
		return
	}
	os.Exit(m.Run())
}

// inside makes, in a mount namespace of its own, a root that is an overlay over
// a device, the way a read-only system is started, and prints what Running says.
func inside(arg []string) {
	root, a, b, base, visible, cmdline := arg[0], arg[1], arg[2], arg[3], arg[4] == "visible", arg[5]
	check := func(err error) {
		if err != nil {
			fmt.Println("inside:", err)
			os.Exit(1)
		}
	}
	mkdir := func(dirs ...string) {
		for _, d := range dirs {
			check(os.MkdirAll(d, 0o755))
		}
	}
	check(syscall.Mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""))
	check(syscall.Mount("tmpfs", root, "tmpfs", 0, ""))
	bind := func(to string) {
		for _, d := range []string{"proc", "sys", "dev"} {
			mkdir(filepath.Join(to, d))
			check(syscall.Mount("/"+d, filepath.Join(to, d), "", syscall.MS_BIND|syscall.MS_REC, ""))
		}
	}
	bind(root)
	check(syscall.Chroot(root))
	check(os.Chdir("/"))
	mkdir("/ro", "/rw", "/new")
	check(syscall.Mount(base, "/ro", "ext4", syscall.MS_RDONLY, ""))
	check(syscall.Mount("tmpfs", "/rw", "tmpfs", 0, ""))
	mkdir("/rw/up", "/rw/work")
	check(syscall.Mount("overlay", "/new", "overlay", 0, "lowerdir=/ro,upperdir=/rw/up,workdir=/rw/work"))
	bind("/new")
	if visible {
		mkdir("/new/ro")
		check(syscall.Mount("/ro", "/new/ro", "", syscall.MS_BIND, ""))
	}
	check(os.WriteFile("/rw/cmdline", []byte(cmdline), 0o644))
	check(syscall.Mount("/rw/cmdline", "/new/proc/cmdline", "", syscall.MS_BIND, ""))
	check(syscall.Chroot("/new"))
	check(os.Chdir("/"))
	p, err := Host{}.Find(Spec{A: a, B: b, APart: 2, BPart: 3})
	check(err)
	s, err := Host{}.Running(p)
	w, busy := p.B.Create(1000)
	if busy == nil {
		w.Abort()
	}
	m, _ := Host{}.MountOf("/some/where")
	onB, _ := Host{}.Holds(p.B, "/some/where")
	onA, _ := Host{}.Holds(p.A, "/some/where")
	fmt.Printf("%q %v %v %s %v %v", s.Name, errors.Is(err, ErrNotSlot), errors.Is(busy, ErrInUse), m.Type, onB, onA)
}

// A root that is a real overlay over a real slot.
func TestRunningInOverlay(t *testing.T) {
	p, _, _ := loopPair(t, make([]byte, 4*mib), make([]byte, 4*mib))
	run(t, "mkfs.ext4", "-q", p.B.Path)
	third := loop(t, file(t, "c.img", make([]byte, 4*mib)))
	run(t, "mkfs.ext4", "-q", third)
	for args, want := range map[string]string{
		p.B.Path + " visible quiet":                 `"B" false true overlay true false`,
		p.B.Path + " visible root=" + p.B.Path:      `"B" false true overlay true false`,
		p.B.Path + " hidden quiet":                  `"" true true overlay true false`,
		p.B.Path + " hidden root=" + p.B.Path:       `"B" false true overlay true false`,
		p.B.Path + " hidden plimsoll.slot=B":        `"B" false true overlay true false`,
		p.B.Path + " hidden plimsoll.slot=A":        `"" true true overlay true false`, // A is not in use
		p.B.Path + " hidden root=" + p.A.Path:       `"" true true overlay true false`,
		third + " hidden root=" + p.A.Path:          `"" true false overlay false false`,
		third + " visible root=" + p.A.Path:         `"" true false overlay false false`,
		p.B.Path + " hidden root=/dev/loop-control": `"" true true overlay true false`,
	} {
		if got := lookInside(t, p, args); got != want {
			t.Errorf("over %s: got %s, want %s", args, got, want)
		}
	}

	// Both in use: the kernel cannot tell which of them is running.
	run(t, "mkfs.ext4", "-q", p.A.Path)
	dir := t.TempDir()
	run(t, "mount", p.A.Path, dir)
	defer run(t, "umount", dir)
	args, want := p.B.Path+" hidden root="+p.B.Path, `"" true true overlay true true`
	if got := lookInside(t, p, args); got != want {
		t.Errorf("both mounted, over %s: got %s, want %s", args, got, want)
	}
}

func lookInside(t *testing.T, p Pair, args string) string {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), insideEnv+"="+strings.Join([]string{t.TempDir(), p.A.Path, p.B.Path, args}, " "))
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("inside %s: %v", args, err)
	}
	return string(out)
}
