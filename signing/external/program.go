package external

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
	"unicode"
)

// DefaultTimeout is how long a program may take that nobody gave a limit: long
// enough to touch a key, or to type a PIN.
const DefaultTimeout = 2 * time.Minute

// grace is how long a program has to end after it was asked to, and how long
// its output is read after it has ended.
const grace = 2 * time.Second

// ErrTimeout is a program that took too long.
var ErrTimeout = errors.New("no answer in time")

// A program is run once: something in, something out, and limits on both.
type program struct {
	args    []string // with its name
	env     []string // in addition to that of this process
	input   []byte
	limit   int           // of what it may say on standard output
	timeout time.Duration // 0 is DefaultTimeout
	stderr  io.Writer     // gets what it says on standard error; nil is nobody
}

// run returns what the program said on standard output. It is in a process
// group of its own, which is ended if the program takes too long, says too
// much, or ctx is done. What it leaves behind after a normal end, such as an
// agent that remembers a PIN, lives on.
func (p program) run(ctx context.Context) ([]byte, error) {
	out, err := p.start(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Base(p.args[0]), err)
	}
	return out, nil
}

func (p program) start(ctx context.Context) ([]byte, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if p.timeout == 0 {
		p.timeout = DefaultTimeout
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	timer := time.AfterFunc(p.timeout, func() { stop(fmt.Errorf("%w (%v)", ErrTimeout, p.timeout)) })
	defer timer.Stop()

	cmd := exec.CommandContext(ctx, p.args[0], p.args[1:]...)
	cmd.Env = append(os.Environ(), p.env...)
	cmd.Stdin = bytes.NewReader(p.input)
	stdout := &bounded{limit: p.limit, over: func() {
		stop(fmt.Errorf("it says more than %d bytes: that is no signature", p.limit))
	}}
	said := &tail{to: p.stderr}
	cmd.Stdout, cmd.Stderr = stdout, said
	cmd.WaitDelay = grace
	give, err := ownGroup(cmd)
	if err != nil {
		return nil, err
	}
	err = cmd.Run()
	give()
	if ctx.Err() != nil {
		if cmd.Process != nil {
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what did not want to end with its leader
		}
		return nil, context.Cause(ctx)
	}
	// What it left behind may still hold its pipes: it has said what it had to say.
	if err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		return nil, said.explain(err)
	}
	return stdout.b, nil
}

// bounded keeps what is written to it. When it is too much, over is called.
type bounded struct {
	b     []byte
	limit int
	over  func()
}

func (w *bounded) Write(b []byte) (int, error) {
	if len(w.b)+len(b) > w.limit {
		w.over()
		return 0, errors.New("too much")
	}
	w.b = append(w.b, b...)
	return len(b), nil
}

// tail passes on what is written to it, and keeps the end.
type tail struct {
	to   io.Writer
	kept []byte
}

const tailSize = 1 << 10

func (w *tail) Write(b []byte) (int, error) {
	w.kept = append(w.kept, b[max(0, len(b)-tailSize):]...)
	w.kept = w.kept[max(0, len(w.kept)-tailSize):]
	if w.to != nil {
		_, _ = w.to.Write(b) // nobody can be told
	}
	return len(b), nil
}

// explain adds the last line that says something; pkcs11-tool ends with one
// that does not.
func (w *tail) explain(err error) error {
	lines := strings.FieldsFunc(string(w.kept), func(r rune) bool { return r == '\n' || r == '\r' })
	for i := len(lines) - 1; i >= 0; i-- {
		if line := strings.TrimSpace(strings.Map(printable, lines[i])); line != "" && line != "Aborting." {
			return fmt.Errorf("%w: %s", err, line)
		}
	}
	return err
}

func printable(r rune) rune {
	if unicode.IsPrint(r) {
		return r
	}
	return ' '
}
