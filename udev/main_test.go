package udev

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// insideEnv says that the test binary is in a mount namespace of its own.
const insideEnv = "UDEV_TEST_INSIDE"

// TestMain runs the tests in a mount namespace of their own, and fails if they
// leave a mount or a loop device behind.
func TestMain(m *testing.M) {
	switch {
	case os.Getenv(insideEnv) != "":
		os.Exit(inside(m))
	case os.Getuid() != 0: // tests that need root say so
		os.Exit(m.Run())
	}
	if err := outside(); err != nil {
		fmt.Println("tests in a mount namespace:", err)
		os.Exit(1)
	}
}

func outside() error {
	dir, err := os.MkdirTemp("", "visit")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	c := exec.Command("/proc/self/exe", os.Args[1:]...)
	c.Env = append(os.Environ(), insideEnv+"=1", "TMPDIR="+dir)
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if err := c.Run(); err != nil {
		return err
	}
	loops, err := exec.Command("losetup", "-a").Output()
	if err == nil && bytes.Contains(loops, []byte(dir)) {
		err = fmt.Errorf("loop devices are left behind:\n%s", loops)
	}
	return err
}

func inside(m *testing.M) int {
	if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		fmt.Println("make mounts private:", err)
		return 1
	}
	before, err1 := mounts()
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil { // they wait, mostly
		fmt.Println(err)
		return 1
	}
	code := m.Run()
	after, err2 := mounts()
	for id, line := range after {
		if before[id] == "" {
			fmt.Printf("a mount is left behind: %s\n", line)
			code = 1
		}
	}
	if err := errors.Join(err1, err2); err != nil {
		fmt.Println(err)
		return 1
	}
	return code
}

// mounts are what is mounted, by its number. Those of others may vanish meanwhile.
func mounts() (map[string]string, error) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	all := map[string]string{}
	for line := range strings.Lines(string(b)) {
		id, _, _ := strings.Cut(line, " ")
		all[id] = line
	}
	return all, err
}
