package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// checkImage looks whether a snapshot is a whole file system. What can be put
// right without loss, a journal above all, e2fsck puts right in the image, as it
// would on the device at the next boot. That it is missing here, or older than
// the file system, is told and no reason to throw the image away.
func (a *app) checkImage(ctx context.Context, f *os.File, size int64) error {
	need, err := extSize(f)
	if err != nil {
		return err
	}
	if need == 0 {
		a.out.say("warning: the image is none of an ext file system: it is not checked")
		return nil
	}
	if size < need {
		return fmt.Errorf("the image has %d bytes, and its file system %d", size, need)
	}
	path, err := lookSbin("e2fsck")
	if err != nil {
		a.out.say("warning: %v (Debian package e2fsprogs): the file system is not checked", err)
		return nil
	}
	said, code, err := e2fsck(ctx, path, f)
	switch {
	case err != nil:
		return err
	case strings.Contains(said, "newer version of e2fsck") || strings.Contains(said, "unsupported feature"):
		a.out.say("warning: e2fsck is older than the file system, which is not checked: %s", lastLine(said))
	case code&^(fsckCorrected|fsckReboot) != 0:
		return fmt.Errorf("the file system is damaged: e2fsck: exit %d: %s", code, lastLine(said))
	case code != 0:
		a.out.say("e2fsck put the file system right: %s", lastLine(said))
	}
	return nil
}

// The exit codes of e2fsck that are no failure.
const (
	fsckCorrected = 1
	fsckReboot    = 2 // corrected, and would have to be told the kernel
)

// extSize returns how large the ext2, 3 or 4 file system in f says it is, 0 if it
// is none.
func extSize(f io.ReaderAt) (int64, error) {
	b := make([]byte, 1024) // the superblock
	if _, err := f.ReadAt(b, 1024); err == io.EOF {
		return 0, nil
	} else if err != nil {
		return 0, err
	}
	le := binary.LittleEndian
	blocks, log := uint64(le.Uint32(b[4:])), le.Uint32(b[24:])
	if le.Uint16(b[56:]) != 0xef53 || log > 6 {
		return 0, nil
	}
	if le.Uint32(b[96:])&0x80 != 0 { // 64bit
		blocks |= uint64(le.Uint32(b[0x150:])) << 32
	}
	return int64(min(blocks, math.MaxInt64>>(10+log)) << (10 + log)), nil
}

// e2fsck checks the file system in f, which may have no name.
func e2fsck(ctx context.Context, path string, f *os.File) (said string, code int, err error) {
	cmd := exec.CommandContext(ctx, path, "-p", "/proc/self/fd/3")
	cmd.ExtraFiles = []*os.File{f}
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	b, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return "", 0, context.Cause(ctx)
	}
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.Exited() {
		err = nil
	}
	return string(b), cmd.ProcessState.ExitCode(), err
}

// lookSbin finds a program that Debian has where an ordinary user does not look.
func lookSbin(name string) (string, error) {
	path, err := exec.LookPath(name)
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if err != nil {
			path, err = exec.LookPath(filepath.Join(dir, name))
		}
	}
	if err != nil {
		return "", fmt.Errorf("%s is not installed", name)
	}
	return path, nil
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}
