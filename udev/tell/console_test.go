package tell

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A pty is a terminal of which the test has the far end.
type pty struct {
	far  *os.File
	path string
	near int // keeps it from being hung up

	mu   sync.Mutex
	text strings.Builder
}

func newPty(t *testing.T) *pty {
	t.Helper()
	far, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { far.Close() })
	if err := unix.IoctlSetPointerInt(int(far.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(far.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	p := &pty{far: far, path: fmt.Sprintf("/dev/pts/%d", n)}
	if p.near, err = unix.Open(p.path, unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(p.near) })
	return p
}

// read takes what is shown, from now on.
func (p *pty) read() {
	go func() {
		b := make([]byte, 4096)
		for {
			n, err := p.far.Read(b)
			if err != nil {
				return
			}
			p.mu.Lock()
			p.text.Write(b[:n])
			p.mu.Unlock()
		}
	}()
}

func (p *pty) shown() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

// hold stops output as Ctrl-S does, and lets it go on.
func (p *pty) hold(t *testing.T, off bool) {
	t.Helper()
	const tcooff, tcoon = 0, 1 // of tcflow(3)
	action := tcoon
	if off {
		action = tcooff
	}
	if err := unix.IoctlSetInt(p.near, unix.TCXONC, action); err != nil {
		t.Fatal(err)
	}
}

// TestConsole is what a technician reads in the course of an update.
func TestConsole(t *testing.T) {
	p, file := newPty(t), filepath.Join(t.TempDir(), "tty1")
	p.read()
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c := Console(p.path, file)
	for _, m := range []Message{
		{State: Looking}, {State: Looking},
		{State: Working, Artifact: "release-8"},
		{State: Working, Artifact: "release-8", Percent: 1},
		{State: Working, Artifact: "release-8", Percent: 9},
		{State: Working, Artifact: "release-8", Percent: 10},
		{State: Working, Artifact: "release-8", Percent: 10},
		{State: Working, Artifact: "release-8", Percent: 19},
		{State: Working, Artifact: "release-8", Percent: 100},
		{State: Failed, Code: Unhealthy, Artifact: "rélease\x9b2J\x1b[8m", Detail: "\u202euno\u01dbdos\r\nplimsoll: updated and confirmed"},
		{State: Failed, Code: Unhealthy, Artifact: "rélease\x9b2J\x1b[8m", Detail: "\u202euno\u01dbdos\r\nplimsoll: updated and confirmed"},
	} {
		c.Tell(m)
	}
	want := strings.Join([]string{
		"plimsoll: looking",
		"plimsoll: working, do not remove (release-8)",
		"plimsoll: working, do not remove (release-8), 10 %",
		"plimsoll: working, do not remove (release-8), 100 %",
		"plimsoll: failed: E51 (r?lease?2J [8m): New version did not work on this device: uno?dos plimsoll: updated and confirmed",
	}, "\r\n") + "\r\n"
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(file); string(b) != want {
		t.Errorf("got %q, %v\nwant %q", b, err, want)
	}
	waitUntil(t, func() bool { return strings.Contains(p.shown(), "confirmed") && strings.HasSuffix(p.shown(), "\n") })
	if got := strings.ReplaceAll(p.shown(), "\r\r\n", "\r\n"); got != want {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

// TestConsoleHeld is a console whose output is held off: nobody waits for it,
// others are served, and it goes on when it is let go.
func TestConsoleHeld(t *testing.T) {
	held, free := newPty(t), newPty(t)
	held.read()
	free.read()
	held.hold(t, true)
	c := Console(held.path, free.path)
	began := time.Now()
	for range 50 {
		for _, s := range vocabulary {
			c.Tell(Message{State: s})
		}
	}
	c.Tell(Message{State: Updated})
	if took := time.Since(began); took > time.Second {
		t.Errorf("telling took %v", took)
	}
	waitUntil(t, func() bool { return strings.Contains(free.shown(), "updated and confirmed") })
	if took := time.Since(began); took > writeTime {
		t.Errorf("the other terminal was served after %v", took)
	}
	if s := held.shown(); s != "" {
		t.Errorf("it is not held: %q", s)
	}
	held.hold(t, false)
	waitUntil(t, func() bool {
		return strings.HasSuffix(strings.TrimSpace(held.shown()), "plimsoll: updated and confirmed")
	})
	if err := c.Close(); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
}

// TestConsoleStaysHeld: Close gives it up, and says so.
func TestConsoleStaysHeld(t *testing.T) {
	held := newPty(t)
	held.hold(t, true)
	c := Console(held.path)
	for _, s := range vocabulary {
		c.Tell(Message{State: s})
	}
	began := time.Now()
	err := c.Close()
	if took := time.Since(began); took > closeTime+time.Second || !errors.Is(err, ErrSlow) {
		t.Errorf("Close said %v after %v", err, took)
	}
	if !strings.Contains(fmt.Sprint(err), held.path) {
		t.Errorf("%v does not say where", err)
	}
}

// TestConsoleOfNobody is a terminal of which nobody reads the far end: what it
// holds is filled, and then it holds off.
func TestConsoleOfNobody(t *testing.T) {
	p := newPty(t)
	// The kernel moves it on for a while.
	for full, refused := make([]byte, 4096), 0; refused < 50; {
		switch _, err := unix.Write(p.near, full); err {
		case nil:
			refused = 0
		case unix.EAGAIN:
			refused++
			time.Sleep(time.Millisecond)
		default:
			t.Fatal(err)
		}
	}
	c := Console(p.path)
	c.Tell(Message{State: Looking})
	began := time.Now()
	if err := c.Close(); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) > closeTime {
		t.Errorf("Close said %v after %v", err, time.Since(began))
	}
}

// TestConsoleFails: one that is not there does not keep others from it.
func TestConsoleFails(t *testing.T) {
	dir := t.TempDir()
	missing, fifo, file := filepath.Join(dir, "missing"), filepath.Join(dir, "fifo"), filepath.Join(dir, "file")
	if err := errors.Join(unix.Mkfifo(fifo, 0o600), os.WriteFile(file, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	c := Console(missing, fifo, dir, file)
	c.Tell(Message{State: Looking})
	c.Tell(Message{State: UpToDate})
	err := c.Close()
	for _, want := range []error{os.ErrNotExist, unix.ENXIO, unix.EISDIR} {
		if !errors.Is(err, want) {
			t.Errorf("Close said %v, and not %v", err, want)
		}
	}
	if n := strings.Count(fmt.Sprint(err), missing); n != 2 { // once by us, once by the system
		t.Errorf("%s is named %d times: %v", missing, n, err)
	}
	if b, err := os.ReadFile(file); string(b) != "plimsoll: looking\r\nplimsoll: up to date\r\n" {
		t.Errorf("have %q, %v", b, err)
	}
	if _, err := os.Stat(missing); err == nil {
		t.Error("it was made")
	}
}
