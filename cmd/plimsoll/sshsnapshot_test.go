package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A farEnd is a device that ssh reaches on this machine: Debian's sshd, with nothing of this machine's configuration, and stand-ins for
// the programs that are called there.
type farDevice struct {
	dir     string
	address string
	args    []string // for artifact write
}

// newFarDevice starts sshd. It ends with the test, and with the test's process.
func newFarDevice(t *testing.T, port string, programs map[string]string) *farDevice {
	t.Helper()
	d := &farDevice{dir: t.TempDir()}
	must(t, os.Mkdir(d.path("bin"), 0o755))
	for _, name := range []string{"sh", "id", "cat", "head", "sleep", "test", "true"} {
		path, err := exec.LookPath(name)
		must(t, err)
		must(t, os.Symlink(path, d.path("bin/"+name)))
	}
	for name, body := range programs {
		path := d.path("bin/" + name)
		os.Remove(path) // one of those above
		must(t, os.WriteFile(path, []byte("#!/bin/sh\n"+strings.ReplaceAll(body, "DIR", d.dir)), 0o755))
	}
	for _, name := range []string{"host", "user"} {
		peer(t, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", d.path(name))
	}
	if port == "" {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		_, port, err = net.SplitHostPort(l.Addr().String())
		must(t, errors.Join(err, l.Close()))
	}
	writeFile(t, d.path("known"), fmt.Sprintf("[127.0.0.1]:%s %s", port, readFile(t, d.path("host.pub"))))
	writeFile(t, d.path("config"), strings.Join([]string{
		"Port " + port, "ListenAddress 127.0.0.1", "HostKey " + d.path("host"), "AuthorizedKeysFile " + d.path("user.pub"), "PidFile none",
		"StrictModes no", "UsePAM no", "PasswordAuthentication no", "KbdInteractiveAuthentication no", "PermitRootLogin prohibit-password",
		"PrintMotd no", "SetEnv PATH=" + d.path("bin") + " HOME=" + d.dir, "",
	}, "\n"))
	if os.Getuid() == 0 {
		must(t, os.MkdirAll("/run/sshd", 0o755)) // where sshd gives up its rights; Debian's unit makes it
	}
	sshd, err := lookSbin("sshd")
	must(t, err)
	c := exec.Command(sshd, "-D", "-e", "-f", d.path("config"))
	var log bytes.Buffer
	c.Stderr = &log
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	forks.Lock()
	err = c.Start()
	forks.Unlock()
	must(t, err)
	t.Cleanup(func() {
		syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
		c.Wait()
		if t.Failed() {
			t.Logf("sshd says:\n%s", &log)
		}
	})
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if conn, err := net.Dial("tcp", "127.0.0.1:"+port); err == nil {
			conn.Close()
			break
		} else if time.Now().After(end) {
			t.Fatal(err)
		}
	}
	u, err := user.Current()
	must(t, err)
	d.address = fmt.Sprintf("ssh://%s@127.0.0.1:%s", u.Username, port)
	d.args = []string{"-S", "-F /dev/null", "-S", "-i " + d.path("user"), "-S", "-o UserKnownHostsFile=" + d.path("known"), "-S", "-oBatchMode=yes", "-S", "-o IdentitiesOnly=yes"}
	return d
}

func (d *farDevice) path(name string) string { return filepath.Join(d.dir, name) }

// write makes an artifact of the device with the command as a process of its own, in a folder of its own.
func (d *farDevice) write(t *testing.T, stdin string, flags ...string) (result, string) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "a.mender")
	var stdout, stderr bytes.Buffer
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, "/proc/self/exe", append(append([]string{"artifact", "write", "rootfs-image", "-f", d.address, "-n", "golden", "-c", "bench", "-o", out}, d.args...), flags...)...)
	c.Args[0] = "plimsoll"
	c.Stdin, c.Stdout, c.Stderr = strings.NewReader(stdin), &stdout, &stderr
	err := runProcess(c)
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{c.ProcessState.ExitCode(), stdout.String(), stderr.String()}, out
}

// nothing complains if anything was left where the artifact would have been.
func nothing(t *testing.T, out string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(out))
	must(t, err)
	for _, e := range entries {
		t.Errorf("left behind: %s", e.Name())
	}
}

// ext4 returns a small file system.
func ext4(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rootfs.img")
	sparse(t, path, 4*machineMiB, 0)
	mkfs, err := lookSbin("mkfs.ext4")
	must(t, err)
	peer(t, mkfs, "-q", "-F", "-E", "root_owner=0:0", path)
	return path
}

const (
	farHelp  = `case " $* " in *" --help "*) exit 0;; esac; `
	farKeys  = "echo artifact_name=rel-7; echo rootfs-image.checksum=0123; echo rootfs-image.version=7; echo rootfs-image.app.version=3=4; echo data.x=1\n"
	farCat   = "cat DIR/image\n"
	farWrong = farHelp + "echo the wrong tool\n"
)

// snapshots is our own command there, which does not say what the device provides.
func snapshots(body string) string {
	return farHelp + `case $1 in snapshot) ` + body + "\n;; *) exit 5;; esac"
}

// The image of the device is in the artifact, by the first tool that the device has, and what it provides of its root file system.
func TestSSHSnapshot(t *testing.T) {
	t.Parallel()
	fs := ext4(t)
	plain := filepath.Join(t.TempDir(), "plain.mender")
	call(nil, "artifact", "write", "rootfs-image", "-f", fs, "-n", "golden", "-c", "bench", "-o", plain).want(t, 0)
	taken := filepath.Join(t.TempDir(), "taken.mender")
	call(nil, "artifact", "write", "rootfs-image", "-f", fs, "-n", "golden", "-c", "bench", "-o", taken, "-p", "rootfs-image.app.version:3=4").want(t, 0)
	ours := farHelp + `case "$*" in "status --provides") ` + farKeys + `;; snapshot) echo copy >&2; ` + farCat + `;; *) exit 64;; esac`
	sudo := `case "$*" in "-n true") exit 0;; -n*) shift; touch=1; exec "$@";; esac; exit 9`
	asks := `case "$*" in -n*) exit 1;; -S*) read p; test "$p" = secret || { echo "sudo: 1 incorrect password attempt" >&2; exit 1; }; shift 3; exec "$@";; esac; exit 9`
	for _, tt := range []struct {
		name     string
		programs map[string]string
		stdin    string
		flags    []string
		want     string // the artifact
		by       string
	}{
		{"ours before others", map[string]string{"plimsoll": ours, "mender-snapshot": farWrong, "mender": farWrong}, "", nil, taken, "plimsoll snapshot"},
		{"4.x", map[string]string{"mender-snapshot": farHelp + `test "$*" = dump && ` + farCat, "mender-update": `test "$*" = show-provides && { ` + farKeys + "}", "mender": farWrong}, "", nil, taken, "mender-snapshot dump"},
		{"3.x", map[string]string{"mender": farHelp + `case "$*" in show-provides) ` + farKeys + `;; "snapshot dump") ` + farCat + `;; *) exit 3;; esac`}, "", nil, taken, "mender snapshot dump"},
		{"an older one of ours", map[string]string{"plimsoll": "exit 64", "mender-snapshot": farHelp + farCat}, "", nil, plain, "mender-snapshot dump"},
		{"says what it provides with an error", map[string]string{"plimsoll": snapshots(farCat)}, "", nil, plain, "plimsoll snapshot"},
		{"given here", map[string]string{"plimsoll": ours}, "", []string{"-p", "rootfs-image.app.version:3=4"}, taken, "plimsoll snapshot"},
		{"sudo", map[string]string{"plimsoll": ours, "id": "echo 1000", "sudo": sudo}, "", nil, taken, "plimsoll snapshot"},
		{"sudo with a password", map[string]string{"plimsoll": ours, "id": "echo 1000", "sudo": asks}, "secret\n", nil, taken, "plimsoll snapshot"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := newFarDevice(t, "", tt.programs)
			must(t, os.Link(fs, d.path("image")))
			r, out := d.write(t, tt.stdin, tt.flags...)
			r.want(t, 0, "the image is made by: "+tt.by)
			if !t.Failed() && readFile(t, out) != readFile(t, tt.want) {
				diff := cmp.Diff(call(nil, "artifact", "read", tt.want).stdout, call(nil, "artifact", "read", out).stdout)
				t.Errorf("not the artifact of the same file (-want +have):\n%s", diff)
			}
		})
	}
}

// Whatever ends it too early, there is no artifact, and the reason is told.
func TestSSHSnapshotFails(t *testing.T) {
	t.Parallel()
	fs := ext4(t)
	half := "head -c 2097152 DIR/image\n"
	for _, tt := range []struct {
		name     string
		programs map[string]string
		stdin    string
		says     string
	}{
		{"no tool", nil, "", "neither plimsoll nor a snapshot tool of Mender"},
		{"fails at once", map[string]string{"plimsoll": snapshots("echo no room >&2; exit 1")}, "", "the far end failed: exit status 1"},
		{"fails half-way", map[string]string{"plimsoll": snapshots(half + "exit 1")}, "", "the far end failed: exit status 1"},
		{"breaks half-way", map[string]string{"plimsoll": snapshots(half + "kill -9 $PPID; sleep 60")}, "", "the connection failed, or broke"},
		{"ends half-way without a word", map[string]string{"plimsoll": snapshots(half)}, "", "the image has 2097152 bytes, and its file system 4194304"},
		{"nothing", map[string]string{"plimsoll": snapshots("true")}, "", "without an image"},
		{"full here", map[string]string{"plimsoll": snapshots(farCat)}, "", "no space left"},
		{"no sudo", map[string]string{"plimsoll": snapshots(farCat), "id": "echo 1000"}, "x\n", "not root there, and there is no sudo"},
		{"no password", map[string]string{"plimsoll": snapshots(farCat), "id": "echo 1000", "sudo": "test $1 = -S && exec cat"}, "", "wants a password for sudo"},
		{"wrong password", map[string]string{"plimsoll": snapshots(farCat), "id": "echo 1000", "sudo": "test $1 = -S && read p && exit 1"}, "guess\n", "the far end failed: exit status 1"},
		{"damaged", map[string]string{"plimsoll": snapshots("head -c 8192 DIR/image; head -c 4186112 /dev/zero")}, "", "the file system is damaged: e2fsck: exit"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := newFarDevice(t, "", tt.programs)
			must(t, os.Link(fs, d.path("image")))
			if tt.name == "full here" {
				if !asRoot(t) {
					return
				}
				d.args = append(d.args, "--tmp", fullFolder(t))
			}
			r, out := d.write(t, tt.stdin)
			r.want(t, exitFailed, tt.says, d.address)
			nothing(t, out)
		})
	}
	t.Run("nobody listens", func(t *testing.T) {
		t.Parallel()
		d := newFarDevice(t, "", nil)
		d.address = d.address[:strings.LastIndex(d.address, ":")] + ":1"
		r, out := d.write(t, "")
		r.want(t, exitFailed, "the connection failed, or broke")
		nothing(t, out)
	})
}

// Waiting has an end, and a way out.
func TestSSHSnapshotWaits(t *testing.T) {
	t.Parallel()
	silent := map[string]string{"plimsoll": "sleep 60"}
	stalls := map[string]string{"plimsoll": snapshots("head -c 100000 /dev/zero; sleep 60")}
	for _, tt := range []struct {
		name     string
		programs map[string]string
		change   func(o *writeOptions, cancel context.CancelCauseFunc)
		says     string
	}{
		{"silent", silent, func(o *writeOptions, _ context.CancelCauseFunc) { o.ssh.connect = 2 * time.Second }, "no image began for 2s"},
		{"stalled", stalls, func(o *writeOptions, _ context.CancelCauseFunc) { o.ssh.stall = time.Second }, "nothing came for 1s"},
		{"interrupted", stalls, func(_ *writeOptions, cancel context.CancelCauseFunc) {
			time.AfterFunc(3*time.Second, func() { cancel(errors.New("enough")) })
		}, "enough"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := newFarDevice(t, "", tt.programs)
			e := &env{stdin: strings.NewReader(""), stdout: io.Discard, stderr: new(lockedBuffer)}
			a := &app{env: e, out: &output{env: e}}
			o := newWriteOptions(rootfsImage)
			o.files, o.output, o.compression, o.formatVersion = []string{d.address}, filepath.Join(t.TempDir(), "a.mender"), "none", 3
			o.header.Name, o.header.DeviceTypes = "golden", []string{"bench"}
			for i := 1; i < len(d.args); i += 2 {
				o.ssh.args = append(o.ssh.args, d.args[i])
			}
			ctx, cancel := context.WithCancelCause(context.Background())
			tt.change(&o, cancel)
			begun := time.Now()
			forks.RLock()
			err := a.runWrite(ctx, o)
			forks.RUnlock()
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v, want %q", err, tt.says)
			}
			if d := time.Since(begun); d > 30*time.Second {
				t.Errorf("took %v", d)
			}
			nothing(t, o.output)
		})
	}
}

// A file system that was not unmounted is put right, and an e2fsck that is too old for one, or has none to check, is no reason to refuse it.
func TestCheckImage(t *testing.T) {
	path := ext4(t)
	debugfs, err := lookSbin("debugfs")
	must(t, err)
	peer(t, debugfs, "-w", "-R", "set_super_value state 0", path)
	e := &env{stderr: new(lockedBuffer)}
	a := &app{env: e, out: &output{env: e}}
	check := func(ctx context.Context, from string) (string, error) {
		f, err := unnamed(t.TempDir())
		must(t, err)
		defer f.Close()
		_, err = io.WriteString(f, from)
		must(t, err)
		e.stderr = new(lockedBuffer)
		err = a.checkImage(ctx, f, int64(len(from)))
		if from == readFile(t, path) && err == nil {
			b := make([]byte, 60)
			if _, err := f.ReadAt(b, 1024); err != nil || b[58] != 1 {
				t.Errorf("state of the file system is %d after e2fsck, %v", b[58], err)
			}
		}
		return e.stderr.(*lockedBuffer).String(), err
	}
	if said, err := check(t.Context(), readFile(t, path)); err != nil {
		t.Errorf("unclean: %q, %v", said, err)
	}
	if said, err := check(t.Context(), strings.Repeat("no file system at all\n", 1000)); err != nil || !strings.Contains(said, "none of an ext file system") {
		t.Errorf("none: %q, %v", said, err)
	}
	if _, err := check(t.Context(), "short"); err != nil {
		t.Errorf("short: %v", err)
	}
	clean := ext4(t)
	for _, tt := range []struct{ name, does, says, fails string }{
		{"old", `echo "/proc/self/fd/3 has unsupported feature(s): FEATURE_C12"; echo "e2fsck: Get a newer version of e2fsck!"; exit 12`, "warning: e2fsck is older than the file system", ""},
		{"corrected", "echo fixed; exit 1", "e2fsck put the file system right: fixed", ""},
		{"damaged", "echo UNEXPECTED INCONSISTENCY; exit 4", "", "the file system is damaged: e2fsck: exit 4: UNEXPECTED INCONSISTENCY"},
		{"cannot", "exit 8", "", "e2fsck: exit 8"},
		{"killed", "kill -9 $$", "", "killed"},
		{"interrupted", "exec sleep 30", "", "enough"},
	} {
		bin := t.TempDir()
		must(t, os.WriteFile(filepath.Join(bin, "e2fsck"), []byte("#!/bin/sh\n"+tt.does+"\n"), 0o755))
		t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
		ctx, cancel := context.WithCancelCause(t.Context())
		if tt.name == "interrupted" {
			time.AfterFunc(500*time.Millisecond, func() { cancel(errors.New("enough")) })
		}
		said, err := check(ctx, readFile(t, clean))
		if !strings.Contains(said, tt.says) || fmt.Sprint(err) != "<nil>" != (tt.fails != "") || !strings.Contains(fmt.Sprint(err), tt.fails) {
			t.Errorf("%s: %q, %v", tt.name, said, err)
		}
		cancel(nil)
	}
}

// A far end that talks without end, or in one line, is left.
func TestSSHGreeting(t *testing.T) {
	t.Parallel()
	a := &app{env: &env{stdin: strings.NewReader(""), stderr: io.Discard}}
	a.out = &output{env: a.env}
	for name, text := range map[string]string{
		"lines":      strings.Repeat("welcome\n", 20000),
		"a line":     strings.Repeat("x", 1<<20),
		"an early":   farImage + " plimsoll snapshot\n",
		"keys":       farProvides + "\n" + strings.Repeat("a=b\n", 20000),
		"nothing":    "",
		"half a one": farProvides + "\n" + farImage,
	} {
		if _, tool, err := a.greet(t.Context(), bufio.NewReaderSize(strings.NewReader(text), 4096), discard{}); err == nil {
			t.Errorf("%s: %s", name, tool)
		}
	}
	have, tool, err := a.greet(t.Context(), bufio.NewReader(strings.NewReader("hello\na=b\n"+farProvides+"\nc=d=e\nf\n"+farImage+" x y\nthe image")), discard{})
	if diff := cmp.Diff(map[string]string{"c": "d=e"}, have); diff != "" || tool != "x y" || err != nil {
		t.Errorf("%v, %q, %v", have, tool, err)
	}
}

type discard struct{ io.Writer }

func (discard) Close() error { return nil }

// fullFolder returns a folder with room for a megabyte.
func fullFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	mount(t, "none", dir, "tmpfs", 0, "size=1m")
	return dir
}

// A lockedBuffer may be written by a process and by us.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer // not embedded: io.Copy would find its ReadFrom
}

func (l *lockedBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// What ssh is given: what was asked for before what it is given by default, and nothing of the address that could be an option.
func TestSSHCommand(t *testing.T) {
	t.Parallel()
	alive := []string{"-o", "ServerAliveInterval=30", "-o", "ServerAliveCountMax=1"}
	for _, tt := range []struct {
		address string
		args    []string
		want    string // "" is an error
	}{
		{"ssh://root@device", nil, "-T ALIVE -- root@device"},
		{"ssh://device:2222", nil, "-T ALIVE -p 2222 -- device"},
		{"ssh://root@[::1]:2222", nil, "-T ALIVE -p 2222 -- root@::1"},
		{"ssh://root@device:2222", []string{"-p 22", "-i my key", "-oA=b", "-v"}, "-T -p|22|-i|my key|-oA=b|-v ALIVE -- root@device"},
		{"ssh://root@device:2222", []string{"-p22"}, "-T -p22 ALIVE -- root@device"},
		{"ssh://-oProxyCommand=x", nil, "-T ALIVE -- -oProxyCommand=x"}, // behind --, a name that ssh refuses
		{"ssh://", nil, ""},
		{"ssh://root@", nil, ""},
		{"ssh://root:secret@device", nil, ""},
		{"ssh://device/path", nil, ""},
		{"ssh://device?a=b", nil, ""},
		{"ssh://device:port", nil, ""},
	} {
		have, err := (&sshOptions{args: tt.args}).command(tt.address)
		if tt.want == "" {
			if err == nil {
				t.Errorf("%s: %q, want an error", tt.address, have)
			}
			continue
		}
		want := strings.Split(strings.ReplaceAll(strings.ReplaceAll(strings.ReplaceAll(tt.want, " ", "|"), "my|key", "my key"), "ALIVE", strings.Join(alive, "|")), "|")
		if err != nil {
			t.Errorf("%s: %v", tt.address, err)
		} else if diff := cmp.Diff(append(want, farEnd()), have); diff != "" {
			t.Errorf("%s (-want +have):\n%s", tt.address, diff)
		}
	}
	if strings.Count(farEnd(), "'") != 4 || strings.Contains(farEnd(), "\n") {
		t.Error("what the far end runs is not two words in quotes on one line")
	}
}
