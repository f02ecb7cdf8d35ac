package health

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	web "net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// probe asks a check once and expects what it says to contain want; "" is that
// it holds. It returns how long that took.
func probe(t *testing.T, c Check, want string) time.Duration {
	t.Helper()
	return probeFor(t, long, c, want)
}

const (
	long  = 20 * time.Second // for what answers, on a machine with other things to do
	short = time.Second      // for what hangs
)

func probeFor(t *testing.T, limit time.Duration, c Check, want string) time.Duration {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	start := time.Now()
	err := c.Probe(ctx)
	took := time.Since(start)
	switch {
	case want == "" && err != nil:
		t.Errorf("%s: %v", c.Name, err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Errorf("%s: got %v, want %q", c.Name, err, want)
	}
	return took
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func TestTCP(t *testing.T) {
	l := listen(t)
	probe(t, tcp(l.Addr().String()), "")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	probe(t, tcp(l.Addr().String()), "connection refused")
}

// TestTCPNobodyAccepts: where the queue is full nobody refuses, either.
func TestTCPNobodyAccepts(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", sa.(*unix.SockaddrInet4).Port)
	for full := false; !full; {
		c, err := net.DialTimeout("tcp", addr, 200*time.Millisecond)
		if full = err != nil; !full {
			defer c.Close()
		}
	}
	if took := probeFor(t, short, tcp(addr), "timeout"); took > long {
		t.Errorf("took %v", took)
	}
}

// TestHTTPNoProxy: it would be asked for what is not on the loopback. It stands
// before all other tests of pages, since the library reads the environment once.
func TestHTTPNoProxy(t *testing.T) {
	asked := false
	proxy := httptest.NewServer(web.HandlerFunc(func(web.ResponseWriter, *web.Request) { asked = true }))
	defer proxy.Close()
	for _, name := range []string{"http_proxy", "HTTP_PROXY"} {
		t.Setenv(name, proxy.URL)
	}
	probeFor(t, short, http("http://plimsoll.invalid/"), " ") // whatever the resolver says
	if asked {
		t.Error("the proxy was asked")
	}
}

func TestHTTP(t *testing.T) {
	hang := make(chan struct{})
	defer close(hang)
	elsewhere := 0
	mux := web.NewServeMux()
	for path, f := range map[string]func(w web.ResponseWriter, r *web.Request){
		"/ok":        func(w web.ResponseWriter, _ *web.Request) { elsewhere++; w.WriteHeader(web.StatusNoContent) },
		"/redirect":  func(w web.ResponseWriter, r *web.Request) { web.Redirect(w, r, "/ok", web.StatusFound) },
		"/500":       func(w web.ResponseWriter, _ *web.Request) { web.Error(w, "no database\n", 500) },
		"/teapot":    func(w web.ResponseWriter, _ *web.Request) { w.WriteHeader(web.StatusTeapot) },
		"/hang":      func(_ web.ResponseWriter, r *web.Request) { wait(r, hang) },
		"/slow-ok":   func(w web.ResponseWriter, r *web.Request) { drip(w, r, 200, hang) },
		"/slow-500":  func(w web.ResponseWriter, r *web.Request) { drip(w, r, 500, hang) },
		"/flood-500": func(w web.ResponseWriter, _ *web.Request) { w.WriteHeader(500); flood(w) },
		"/header":    func(w web.ResponseWriter, _ *web.Request) { w.Header().Set("X", strings.Repeat("x", 1<<20)) },
	} {
		mux.HandleFunc(path, f)
	}
	for _, s := range []*httptest.Server{httptest.NewServer(mux), httptest.NewTLSServer(mux)} {
		s.Config.ErrorLog = nil
		defer s.Close()
		elsewhere = 0
		probe(t, http(s.URL+"/ok"), "")
		probe(t, http(s.URL+"/redirect"), "answers 302 Found, to /ok")
		if elsewhere != 1 {
			t.Errorf("%s: the redirection was followed", s.URL)
		}
		probe(t, http(s.URL+"/500"), "answers 500 Internal Server Error: no database")
		probe(t, http(s.URL+"/teapot"), "answers 418 I'm a teapot")
		probe(t, http(s.URL+"/nothing"), "answers 404")
		probe(t, http(s.URL+"/slow-ok"), "")
		probe(t, http(s.URL+"/header"), "header")
		probe(t, http(s.URL+"/flood-500"), "answers 500 Internal Server Error: xxx")
		if took := probeFor(t, short, http(s.URL+"/hang"), "deadline exceeded"); took > long {
			t.Errorf("%s/hang: took %v", s.URL, took)
		}
		if took := probeFor(t, time.Minute, http(s.URL+"/slow-500"), "answers 500 Internal Server Error: half"); took > long {
			t.Errorf("%s: waited %v for a body that only explains", s.URL, took)
		}
	}
}

func wait(r *web.Request, hang <-chan struct{}) {
	select {
	case <-hang:
	case <-r.Context().Done():
	}
}

func drip(w web.ResponseWriter, r *web.Request, status int, hang <-chan struct{}) {
	w.WriteHeader(status)
	_, _ = io.WriteString(w, "half")
	w.(web.Flusher).Flush()
	wait(r, hang)
}

func flood(w io.Writer) {
	b := bytes.Repeat([]byte("x"), 1<<20)
	for {
		if _, err := w.Write(b); err != nil {
			return
		}
	}
}

// TestHTTPNobodyThere: a port that takes the connection and says nothing, one
// that speaks something else, and none.
func TestHTTPNobodyThere(t *testing.T) {
	mute, other := listen(t), listen(t)
	go func() {
		for {
			c, err := other.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 4096)) // what is closed unread is reset
			_, _ = io.WriteString(c, "SSH-2.0-other\r\n")
			_ = c.Close()
		}
	}()
	if took := probeFor(t, short, http("http://"+mute.Addr().String()+"/"), "deadline exceeded"); took > long {
		t.Errorf("took %v", took)
	}
	probe(t, http("http://"+other.Addr().String()+"/"), "SSH-2.0")
	if err := mute.Close(); err != nil {
		t.Fatal(err)
	}
	probe(t, http("http://"+mute.Addr().String()+"/"), "connection refused")
}

func TestFilesAndSpace(t *testing.T) {
	dir := t.TempDir()
	there := filepath.Join(dir, "there")
	probe(t, file(there), "is not there")
	if err := os.WriteFile(there, nil, 0); err != nil {
		t.Fatal(err)
	}
	probe(t, file(there), "")
	dangling := filepath.Join(dir, "dangling")
	if err := os.Symlink("nowhere", dangling); err != nil {
		t.Fatal(err)
	}
	probe(t, file(dangling), "is not there")
	probe(t, file(filepath.Join(there, "x")), "cannot be looked at")
	probe(t, free(dir, 1), "")
	probe(t, free(dir, math.MaxInt64), "MiB are free, and 8796093022208.0 MiB are asked for")
	probe(t, free(filepath.Join(dir, "none"), 1), "no such file")
}

func sh(script string) Check { return command([]string{"sh", "-c", script}) }

func TestCommand(t *testing.T) {
	probe(t, sh("exit 0"), "")
	probe(t, sh("echo one; echo two >&2; exit 3"), "exit status 3: one\ntwo")
	probe(t, sh("kill -9 $$"), "signal: killed")
	probe(t, sh(`[ "$(pwd)" = / ] && ! read x`), "") // no input, and no folder that is held
	probe(t, command([]string{"/nonexistent"}), "no such file")
	probe(t, command([]string{"plimsoll-no-such-command"}), "not found")
	if got := sh("a\nb").Name; got != "command sh -c a\nb" {
		t.Errorf("name %q", got)
	}
}

// TestCommandHangs: what hangs, forks and floods is ended in time, with all that
// it started.
func TestCommandHangs(t *testing.T) {
	dir := t.TempDir()
	pids := filepath.Join(dir, "pids")
	started := func() string { return fmt.Sprintf("echo $! >> %s; ", pids) }
	for name, script := range map[string]string{
		"sleeps":               "echo thinking; sleep 1000",
		"ignores what it can":  "trap '' TERM INT HUP; echo thinking; while :; do sleep 1000; done",
		"forks and waits":      "sleep 1000 & " + started() + "echo thinking; wait",
		"forks, two levels":    "(sleep 1000 & " + started() + "wait) & " + started() + "echo thinking; wait",
		"floods":               "yes thinking",
		"floods without lines": "tr '\\0' x < /dev/zero",
	} {
		want := "did not end in time, and was killed: "
		if took := probeFor(t, short, sh(script), want); took > long {
			t.Errorf("%s: took %v", name, took)
		}
	}
	// It ends, and leaves something in the background that holds its output.
	if took := probeFor(t, time.Minute, sh("sleep 1000 & "+started()+"exit 0"), ""); took > long {
		t.Errorf("leaves a child: took %v", took)
	}
	probeFor(t, time.Minute, sh("sleep 1000 & "+started()+"echo no; exit 1"), "exit status 1: no")
	b, err := os.ReadFile(pids)
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Fields(string(b))
	if len(all) != 5 {
		t.Errorf("the scripts started %d children", len(all))
	}
	for _, s := range all {
		pid, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		if !dies(pid) {
			t.Errorf("process %d lives on", pid)
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// dies tells whether a process is gone, or a zombie, shortly.
func dies(pid int) bool {
	for range 100 {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			return true
		}
		if _, after, _ := strings.Cut(string(b), ") "); strings.HasPrefix(after, "Z") {
			return true
		}
		time.Sleep(20 * time.Millisecond)
	}
	return false
}

// TestCommandEscapes: who made a session of its own is not reached, and keeps
// nobody waiting.
func TestCommandEscapes(t *testing.T) {
	for status, want := range map[int]string{0: "", 4: "exit status 4"} {
		file := filepath.Join(t.TempDir(), "pid")
		script := fmt.Sprintf("setsid sleep 1000 & echo $! > %s; sleep 0.2; exit %d", file, status)
		if took := probeFor(t, time.Minute, sh(script), want); took > long {
			t.Errorf("exit %d: took %v", status, took)
		}
		_ = syscall.Kill(number(t, file), syscall.SIGKILL)
	}
}

// number reads a process number that a script wrote.
func number(t *testing.T, file string) int {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestRunEndsCommands: the verdict does not leave a child behind, nor wait for
// one.
func TestRunEndsCommands(t *testing.T) {
	pid := filepath.Join(t.TempDir(), "pid")
	o := Options{Deadline: SinceBoot() + 2*time.Second, Stable: 0, Interval: 100 * time.Millisecond, Timeout: time.Minute}
	start := time.Now()
	v, err := Run(t.Context(), []Check{sh("echo $$ > " + pid + "; exec sleep 1000")}, o, nil)
	if err != nil || v.Healthy || !strings.Contains(v.Reason(), "no answer for 2s") {
		t.Errorf("got %+v, %v", v, err)
	}
	if took := time.Since(start); took > long {
		t.Errorf("took %v", took)
	}
	if n := number(t, pid); !dies(n) {
		t.Errorf("process %d lives on", n)
	}
}

func TestTail(t *testing.T) {
	for _, size := range []int{1, 3, 4, 7, 8, 9, 100} {
		w := &tail{limit: 8}
		in := bytes.Repeat([]byte("0123456789"), 10)[:57]
		for b := in; len(b) > 0; b = b[min(size, len(b)):] {
			if n, err := w.Write(b[:min(size, len(b))]); err != nil || n != min(size, len(b)) {
				t.Fatal(n, err)
			}
		}
		if got, want := string(w.b), string(in[len(in)-8:]); got != want || !w.lost {
			t.Errorf("writes of %d: got %q, lost %v, want %q", size, got, w.lost, want)
		}
	}
	w := &tail{limit: 8}
	if _, err := w.Write([]byte("12345678")); err != nil || w.lost {
		t.Errorf("nothing was lost: %v", err)
	}
}

func TestConfig(t *testing.T) {
	good := Config{
		Units:    []string{"app.service", "getty@tty1.service", `dev-disk-by\x2dlabel-data.device`},
		Commands: [][]string{{"/usr/bin/check", "--quick"}},
		TCP:      []string{"127.0.0.1:80", "[::1]:ssh"},
		HTTP:     []string{"http://127.0.0.1/health", "https://[::1]:8443/"},
		Files:    []string{"/run/app.ready"},
		Free:     map[string]int64{"/data": 1, "/b": 2},
	}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	var names []string
	for _, c := range good.Checks(Host{}) {
		names = append(names, c.Name)
	}
	want := "unit app.service|unit getty@tty1.service|unit dev-disk-by\\x2dlabel-data.device|command /usr/bin/check --quick|tcp 127.0.0.1:80|" +
		"tcp [::1]:ssh|http://127.0.0.1/health|https://[::1]:8443/|file /run/app.ready|free space on /b|free space on /data"
	if got := strings.Join(names, "|"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for _, c := range []struct {
		says string
		c    Config
	}{
		{"units:", Config{Units: []string{"app"}}},
		{"units:", Config{Units: []string{"*.service"}}},
		{"units:", Config{Units: []string{"--all.service"}}},
		{"units:", Config{Units: []string{"a.service b.service"}}},
		{"units:", Config{Units: []string{""}}},
		{"commands:", Config{Commands: [][]string{{}}}},
		{"commands:", Config{Commands: [][]string{{""}}}},
		{"commands:", Config{Commands: [][]string{{"a", "b\x00"}}}},
		{"commands:", Config{Commands: [][]string{{"./check"}}}},
		{"tcp:", Config{TCP: []string{"127.0.0.1"}}},
		{"tcp:", Config{TCP: []string{":80"}}},
		{"tcp:", Config{TCP: []string{"127.0.0.1:0"}}},
		{"tcp:", Config{TCP: []string{"127.0.0.1:99999"}}},
		{"http:", Config{HTTP: []string{"127.0.0.1/health"}}},
		{"http:", Config{HTTP: []string{"ftp://127.0.0.1/"}}},
		{"http:", Config{HTTP: []string{"http://"}}},
		{"http: http://u:xxxxx@", Config{HTTP: []string{"http://u:secret@127.0.0.1/"}}},
		{"files:", Config{Files: []string{"run/app.ready"}}},
		{"free:", Config{Free: map[string]int64{"data": 1}}},
		{"free:", Config{Free: map[string]int64{"/data": 0}}},
		{"65 checks", Config{Files: make([]string, 65)}},
	} {
		if err := c.c.Validate(); err == nil || !strings.HasPrefix(err.Error(), c.says) {
			t.Errorf("%+v: got %v, want %q", c.c, err, c.says)
		}
	}
}
