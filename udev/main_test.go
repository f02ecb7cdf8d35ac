package udev

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
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
	before, err1 := os.ReadFile("/proc/self/mountinfo")
	code := m.Run()
	after, err2 := os.ReadFile("/proc/self/mountinfo")
	if err1 != nil || err2 != nil || !bytes.Equal(before, after) {
		fmt.Printf("mounts are left behind: %v %v\n%s", err1, err2, after)
		return 1
	}
	return code
}
