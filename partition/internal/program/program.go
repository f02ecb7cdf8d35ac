// Package program runs the programs that make and change file systems, such
// as mke2fs, debugfs and mcopy: where they are found, what they see of the
// caller, and what became of them.
package program

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
	"mkfs.fat": "dosfstools", "mcopy": "mtools", "mmd": "mtools", "mdel": "mtools", "mdeltree": "mtools", "mtype": "mtools",
	"fakeroot": "fakeroot", "tar": "tar", "find": "findutils",
}

// ErrMissing: a program that is needed is not installed.
var ErrMissing = errors.New("program is not installed")

// A Call is one call of a program.
type Call struct {
	Name   string
	Args   []string
	Stdin  io.Reader
	Stdout io.Writer  // nil: Run returns what is printed
	Files  []*os.File // the program has them from /proc/self/fd/3 on: no path is too odd, and none is needed
	Time   time.Time  // what it takes for the current time
	Env    []string
}

// Find returns where a program is; ErrMissing if it is not. Debian has those
// that make file systems where an ordinary user does not look.
func Find(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		path := filepath.Join(dir, name)
		if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s: %w (Debian package %s)", name, ErrMissing, packages[name])
}

// Run runs the program and returns what it says. When ctx ends, so does the
// program with all that it started.
func (p Call) Run(ctx context.Context) (stdout, stderr string, err error) {
	path, err := Find(p.Name)
	if err != nil {
		return "", "", err
	}
	var out, complaints strings.Builder
	cmd := exec.CommandContext(ctx, path, p.Args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = p.Stdin, &out, &complaints, p.Files
	if p.Stdout != nil {
		cmd.Stdout = p.Stdout
	}
	cmd.Env = append(p.environment(), p.Env...)
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
		err = &Error{p.Name, said, err}
	}
	return out.String(), complaints.String(), err
}

// environment is all that a program sees of the caller's: where programs are,
// and a session of fakeroot that it may be part of.
func (p Call) environment() []string {
	seconds := strconv.FormatInt(p.Time.Unix(), 10)
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

// An Error is a program that failed, and what it said.
type Error struct {
	Name, Said string
	Err        error
}

// Error is the last line that it said.
func (e *Error) Error() string {
	lines := strings.Split(e.Said, "\n")
	if last := strings.TrimSpace(lines[len(lines)-1]); last != "" {
		return e.Name + ": " + last
	}
	return fmt.Sprintf("%s: %v", e.Name, e.Err)
}

// Unwrap returns the reason that is not the program's own.
func (e *Error) Unwrap() error { return e.Err }

// Said reports whether err is of a program that said one of the phrases.
func Said(err error, phrases ...string) bool {
	var e *Error
	if !errors.As(err, &e) {
		return false
	}
	for _, p := range phrases {
		if strings.Contains(e.Said, p) {
			return true
		}
	}
	return false
}

// Complaint returns the first line of what a program said that begins so.
func Complaint(err error, prefix string) string {
	var e *Error
	if !errors.As(err, &e) {
		return ""
	}
	for line := range strings.Lines(e.Said) {
		if strings.HasPrefix(line, prefix) {
			return strings.TrimSpace(line)
		}
	}
	return ""
}
