package tell

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// systemd listens as process 1 does.
func systemd(t *testing.T, name string) *net.UnixConn {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// heard returns the next n messages.
func heard(t *testing.T, c *net.UnixConn, n int) (all []string) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	for range n {
		b := make([]byte, 4096)
		n, err := c.Read(b)
		if err != nil {
			t.Fatalf("after %q: %v", all, err)
		}
		all = append(all, string(b[:n]))
	}
	return all
}

func TestNotify(t *testing.T) {
	for _, name := range []string{filepath.Join(t.TempDir(), "notify"), fmt.Sprintf("@plimsoll-test-%d", os.Getpid())} {
		pid1 := systemd(t, name)
		s := Notify(name)
		if err := s.Ready(); err != nil {
			t.Error(err)
		}
		s.Tell(Message{State: Working, Percent: 3})
		s.Tell(Message{State: Working, Percent: 3})
		s.Tell(Message{State: Working, Percent: 4})
		s.Tell(Message{State: Failed, Code: NTFS, Detail: "a\nREADY=1\nMAINPID=1"})
		want := []string{
			"READY=1",
			"STATUS=working, do not remove, 3 %",
			"STATUS=working, do not remove, 4 %",
			"STATUS=failed: E31: Stick is formatted with NTFS: a READY=1 MAINPID=1",
		}
		if d := cmp.Diff(want, heard(t, pid1, len(want))); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestNotifyNobody: outside of a unit there is nobody, and that is no fault. A
// socket that is not there is one.
func TestNotifyNobody(t *testing.T) {
	s := Notify("")
	s.Tell(Message{State: Looking})
	if err := s.Ready(); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	s = Notify(filepath.Join(t.TempDir(), "gone"))
	s.Tell(Message{State: Looking})
	if err := s.Close(); err == nil || !strings.HasPrefix(err.Error(), "tell systemd: ") {
		t.Errorf("Close said %v", err)
	}
}

// TestNotifyFull is a systemd that does not listen: it is not waited for long.
func TestNotifyFull(t *testing.T) {
	name := filepath.Join(t.TempDir(), "notify")
	pid1 := systemd(t, name)
	s := Notify(name)
	began, n := time.Now(), 0
	for ; s.Close() == nil; n++ {
		s.Tell(Message{State: Working, Detail: fmt.Sprint(n)})
	}
	if took := time.Since(began); took > notifyTime+time.Second {
		t.Errorf("gave up after %v and %d messages: %v", took, n, s.Close())
	}
	heard(t, pid1, n-1)
	s.Tell(Message{State: UpToDate})
	if got := heard(t, pid1, 1); got[0] != "STATUS=up to date" {
		t.Errorf("got %q when it listens again", got)
	}
}
