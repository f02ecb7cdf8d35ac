package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// packages says which Debian package has a program.
var packages = map[string]string{
	"mke2fs": "e2fsprogs", "debugfs": "e2fsprogs", "dumpe2fs": "e2fsprogs", "e2fsck": "e2fsprogs",
	"mkfs.fat": "dosfstools", "mcopy": "mtools", "mmd": "mtools",
	"fakeroot": "fakeroot", "tar": "tar", "find": "findutils",
}

// A program is one call of a program that makes file systems.
type program struct {
	name  string
	args  []string
	stdin io.Reader
	time  time.Time // what it takes for the current time
	env   []string
}

// find returns where a program is; ErrProgram if it is not. Debian has those
// that make file systems where an ordinary user does not look.
func find(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		path := filepath.Join(dir, name)
		if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s: %w (Debian package %s)", name, ErrProgram, packages[name])
}

// run runs the program and returns what it says. When ctx ends, so does the
// program with all that it started.
func (p program) run(ctx context.Context) (stdout, stderr string, err error) {
	path, err := find(p.name)
	if err != nil {
		return "", "", err
	}
	var out, complaints strings.Builder
	cmd := exec.CommandContext(ctx, path, p.args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = p.stdin, &out, &complaints
	cmd.Env = append(p.environment(), p.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGINT) } // on SIGTERM fakeroot would leave its daemon behind
	cmd.WaitDelay = 5 * time.Second
	err = cmd.Run()
	if ctx.Err() != nil {
		return "", "", context.Cause(ctx)
	}
	if err != nil {
		said := strings.TrimSpace(complaints.String())
		if strings.Contains(said, "No space left on device") {
			err = unix.ENOSPC
		}
		err = &programError{p.name, said, err}
	}
	return out.String(), complaints.String(), err
}

// environment is all that a program sees of the caller's: where programs are,
// and a session of fakeroot that it may be part of.
func (p program) environment() []string {
	seconds := strconv.FormatInt(p.time.Unix(), 10)
	env := []string{
		"PATH=" + os.Getenv("PATH") + ":/usr/sbin:/sbin", "LC_ALL=C", "TZ=UTC", "HOME=/nonexistent", "MTOOLSRC=/dev/null",
		"SOURCE_DATE_EPOCH=" + seconds, "E2FSPROGS_FAKE_TIME=" + seconds,
	}
	for _, v := range os.Environ() {
		if strings.HasPrefix(v, "FAKEROOT") || strings.HasPrefix(v, "LD_") || strings.HasPrefix(v, "FAKED") {
			env = append(env, v)
		}
	}
	return env
}

// A programError is a program that failed, and what it said.
type programError struct {
	name, said string
	err        error
}

func (e *programError) Error() string {
	lines := strings.Split(e.said, "\n")
	if last := strings.TrimSpace(lines[len(lines)-1]); last != "" {
		return e.name + ": " + last
	}
	return fmt.Sprintf("%s: %v", e.name, e.err)
}

func (e *programError) Unwrap() error { return e.err }

// said reports whether err is of a program that said one of the phrases.
func said(err error, phrases ...string) bool {
	var e *programError
	if !errors.As(err, &e) {
		return false
	}
	for _, p := range phrases {
		if strings.Contains(e.said, p) {
			return true
		}
	}
	return false
}

// complaint returns the first line of what a program said that begins so.
func complaint(err error, prefix string) string {
	var e *programError
	if !errors.As(err, &e) {
		return ""
	}
	for line := range strings.Lines(e.said) {
		if strings.HasPrefix(line, prefix) {
			return strings.TrimSpace(line)
		}
	}
	return ""
}
