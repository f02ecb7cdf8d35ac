package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/term"
)

// What the far end says on lines of its own, before the image.
const (
	farMark     = "plimsoll-ssh: "
	farPassword = farMark + "password"
	farProvides = farMark + "provides"
	farImage    = farMark + "image"
)

// farEnd is what the shell of the far end runs, whichever that is: nothing but
// words in single quotes, on one line. The one script becomes root, with a
// password only where sudo asks for one; the other says what the device
// provides, and becomes the first tool that can make an image. Its exit code is
// that of the tool.
func farEnd() string {
	root := `if [ "$(id -u)" = 0 ]; then exec sh -c "$1"; fi; ` +
		`command -v sudo >/dev/null || { echo "not root there, and there is no sudo" >&2; exit 127; }; ` +
		`if sudo -n true 2>/dev/null; then exec sudo -n sh -c "$1"; fi; ` +
		`echo "` + farPassword + `"; exec sudo -S -p "" sh -c "$1"`
	image := `PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"; ` +
		`echo "` + farProvides + `"; ` +
		`for c in "plimsoll status --provides" "mender-update show-provides" "mender show-provides"; do ` +
		`if command -v "${c%% *}" >/dev/null && $c </dev/null 2>/dev/null; then break; fi; done; ` +
		`for c in "plimsoll snapshot" "mender-snapshot dump" "mender snapshot dump"; do ` +
		`if command -v "${c%% *}" >/dev/null && $c --help </dev/null >/dev/null 2>&1; then echo "` + farImage + ` $c"; exec $c </dev/null; fi; done; ` +
		`echo "neither plimsoll nor a snapshot tool of Mender is installed there" >&2; exit 127`
	return "exec sh -c '" + root + "' sh '" + image + "'"
}

// receive runs ssh and writes the image to dst.
func (a *app) receive(ctx context.Context, args []string, o sshOptions, dst io.Writer) (provides map[string]string, size int64, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	dog := &watchdog{cancel: cancel}
	dog.wait(o.connect, "no image began")
	defer dog.stop()

	cmd := exec.CommandContext(ctx, "ssh", args...)
	cmd.Stderr = a.stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, 0, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, 0, err
	}
	if err := cmd.Start(); err != nil {
		return nil, 0, fmt.Errorf("%w (Debian package openssh-client)", err)
	}
	r := bufio.NewReaderSize(stdout, 256<<10)
	provides, tool, err := a.greet(ctx, r, stdin)
	if err == nil {
		a.out.say("the image is made by: %s", tool)
		if len(provides) == 0 {
			a.out.say("the device does not say what it provides: nothing of that is taken over")
		}
		a.out.count("receive", 0, 0)
		dog.wait(o.stall, "nothing came")
		size, err = io.Copy(dst, watched{r, dog})
	}
	if err != nil && err != io.EOF {
		cancel(err) // ssh has nothing more to do
	}
	ended := cmd.Wait()
	switch cause := context.Cause(ctx); {
	case cause != nil:
		return nil, 0, cause
	case cmd.ProcessState.ExitCode() == 255:
		return nil, 0, fmt.Errorf("the connection failed, or broke: ssh: %w", ended)
	case ended != nil:
		return nil, 0, fmt.Errorf("the far end failed: %w", ended)
	case err == io.EOF || size == 0:
		return nil, 0, errors.New("the far end ended without an image")
	}
	return provides, size, nil
}

// greet reads what the far end says before the image, and gives it the password
// that it may ask for. What others say there, a login script maybe, is shown.
func (a *app) greet(ctx context.Context, r *bufio.Reader, stdin io.WriteCloser) (provides map[string]string, tool string, err error) {
	defer stdin.Close() // nobody reads it any more
	for range maxGreeting {
		b, err := r.ReadSlice('\n')
		if err != nil {
			return nil, "", err // io.EOF, or a line that is none
		}
		line := strings.TrimSpace(string(b))
		switch {
		case line == farPassword:
			if err := a.passPassword(ctx, stdin); err != nil {
				return nil, "", err
			}
		case line == farProvides:
			provides = map[string]string{}
		case strings.HasPrefix(line, farImage+" ") && provides != nil:
			return provides, strings.TrimPrefix(line, farImage+" "), nil
		case provides != nil:
			if k, v, ok := strings.Cut(line, "="); ok {
				provides[k] = v
			}
		default:
			a.out.say("%s", line)
		}
	}
	return nil, "", fmt.Errorf("the far end said %d lines, and none of them began an image", maxGreeting)
}

// maxGreeting is in lines, which are at most as long as the reader's buffer.
const maxGreeting = 10000

// passPassword gives the far end the password of sudo: typed, where somebody can,
// and else the first line of standard input.
func (a *app) passPassword(ctx context.Context, to io.Writer) error {
	line, err := a.password(ctx)
	if err != nil {
		return fmt.Errorf("the far end wants a password for sudo: %w", err)
	}
	_, err = to.Write(append(line, '\n'))
	return err
}

func (a *app) password(ctx context.Context) ([]byte, error) {
	f, ok := a.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		in := interruptible(ctx, a.stdin)
		defer in.Close() // only read
		line, err := bufio.NewReader(in).ReadBytes('\n')
		if err == io.EOF && len(line) > 0 {
			err = nil
		}
		return bytes.TrimRight(line, "\r\n"), err
	}
	was, err := term.GetState(int(f.Fd()))
	if err != nil {
		return nil, err
	}
	defer term.Restore(int(f.Fd()), was) // of one that nobody typed
	fmt.Fprint(a.stderr, "password for sudo there: ")
	typed, failed := make(chan []byte, 1), make(chan error, 1)
	go func() {
		b, err := term.ReadPassword(int(f.Fd()))
		typed <- b
		failed <- err
	}()
	select {
	case b := <-typed:
		fmt.Fprintln(a.stderr)
		return b, <-failed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// A watchdog ends a context when nobody has patted it in time.
type watchdog struct {
	cancel context.CancelCauseFunc
	timer  *time.Timer
	limit  time.Duration
}

// wait begins to watch, in another way than before.
func (w *watchdog) wait(limit time.Duration, reason string) {
	w.stop()
	w.limit, w.timer = limit, time.AfterFunc(limit, func() { w.cancel(fmt.Errorf("%s for %v", reason, limit)) })
}

func (w *watchdog) stop() {
	if w.timer != nil {
		w.timer.Stop()
	}
}

// A watched reader pats the dog with each byte that comes.
type watched struct {
	r io.Reader
	w *watchdog
}

func (w watched) Read(b []byte) (int, error) {
	n, err := w.r.Read(b)
	if n > 0 {
		w.w.timer.Reset(w.w.limit)
	}
	return n, err
}
