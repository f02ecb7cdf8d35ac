package machine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// Marks of the guest's own scripts on the console, for [Machine.Expect]. Each
// is followed by key=value pairs.
const (
	Initramfs = `^GUEST-INITRAMFS root=(.*)$`       // the kernel runs
	Init      = `^GUEST-INIT (version=.*)$`         // the root file system is mounted
	Resumed   = `^GUEST-RESUME exit=(\d+)$`         // plimsoll resume has ended
	Ready     = `^GUEST-READY uptime=([0-9.]+)$`    // a shell waits for commands
	Banner    = `^U-Boot (20[0-9.]+[^ ]*).*$`       // U-Boot runs: the machine was reset
	Panic     = `Kernel panic - not syncing: (.*)$` // it reboots if panic= says so
)

// ErrCut is why a machine ended that was cut off its power.
var ErrCut = errors.New("the power was cut")

// A Machine is an emulated device that runs. It runs until its guest powers it
// off, until its power is cut, or until the context ends with which it was
// started; it never outlives this process. All methods may be called after its
// end, and those that wait fail then.
type Machine struct {
	board    Board
	console  *console
	line     io.ReadWriteCloser
	monitor  *monitor
	process  *os.Process
	commands atomic.Int64
	sticks   atomic.Int64
	cut      atomic.Bool
	done     chan struct{} // closed when QEMU is gone; err is set before
	err      error
}

// launch starts QEMU with its end of the lines as files 3 and up.
func (m *Machine) launch(cmd *exec.Cmd) error {
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		// The signal comes when the thread dies that started the process, so
		// that one waits with it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		for _, f := range cmd.ExtraFiles {
			f.Close()
		}
		m.process = cmd.Process
		started <- err
		if err == nil {
			m.end(cmd.Wait(), &said)
		}
	}()
	return <-started
}

// end keeps why the machine ended.
func (m *Machine) end(err error, said *bytes.Buffer) {
	switch text := strings.TrimSpace(said.String()); {
	case m.cut.Load():
		err = ErrCut
	case err != nil:
		err = fmt.Errorf("QEMU ended: %w: %s", err, text)
	case text != "":
		err = fmt.Errorf("QEMU ended: %s", text)
	}
	m.err = err
	close(m.done)
}

// listen copies the serial line to the log, and to a writer if there is one,
// until QEMU is gone and all of it was read.
func (m *Machine) listen(log io.Writer) {
	var to io.Writer = m.console
	if log != nil {
		to = io.MultiWriter(m.console, log)
	}
	_, err := io.Copy(to, m.line)
	if err != nil && !errors.Is(err, syscall.ECONNRESET) { // the log could not be written: go on without
		io.Copy(m.console, m.line)
	}
	<-m.done
	m.line.Close()
	if err = m.err; err == nil {
		err = errors.New("the machine was powered off")
	}
	m.console.finish(err)
}

// Cut cuts the power and returns when it is off. Every write that the guest's
// disk has answered is in the image file, and no other. It may be called at any
// time and more than once.
func (m *Machine) Cut() {
	select {
	case <-m.done:
		return
	default:
	}
	m.cut.Store(true)
	m.process.Kill()
	<-m.done
}

// WaitExit waits until the machine is off, and returns nil if the guest has
// powered it off, ErrCut if the power was cut, or what QEMU died of.
func (m *Machine) WaitExit(ctx context.Context) error {
	ctx, cancel := m.patience(ctx)
	defer cancel()
	select {
	case <-m.done:
		return m.err
	case <-ctx.Done():
		return fmt.Errorf("wait for the machine to be off: %w\nthe console's last lines:\n%s", context.Cause(ctx), m.console.tail(30))
	}
}

// patience sets a deadline where the caller has none.
func (m *Machine) patience(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	d := time.Minute
	if m.board == Pi3 {
		d = 4 * time.Minute
	}
	return context.WithTimeoutCause(ctx, d, fmt.Errorf("%w after %v", context.DeadlineExceeded, d))
}

// Expect waits until the console matches a regular expression, in which ^ and $
// are ends of lines, and returns its first group, or all of it if there is
// none. What was met before, here or by Run, is not looked at again. $ and .*
// wait for the end of a line that is being printed; \d+ does not.
//
// The context's deadline holds, or a minute if it has none (four on a Pi). The
// error has the last lines of the console.
func (m *Machine) Expect(ctx context.Context, pattern string) (string, error) {
	ctx, cancel := m.patience(ctx)
	defer cancel()
	return m.console.expect(ctx, pattern)
}

// Run runs a command with the guest's shell and returns what it printed on
// either output, and its exit code. It needs the shell on the console: expect
// Ready at first. Each command has a shell of its own, without input. What the
// kernel prints meanwhile is not in the output; its log is had by dmesg -r.
// Deadline and error are as with Expect.
func (m *Machine) Run(ctx context.Context, command string) (out string, code int, err error) {
	ctx, cancel := m.patience(ctx)
	defer cancel()
	return m.console.run(ctx, m.line, int(m.commands.Add(1)), command)
}

// Send types a line on the console and waits for nothing.
func (m *Machine) Send(line string) error {
	if _, err := io.WriteString(m.line, line+"\n"); err != nil {
		return fmt.Errorf("type on the console: %w", err)
	}
	return nil
}

// Log returns all that came from the console, without carriage returns.
func (m *Machine) Log() string { return m.console.text() }

// Reset presses the reset button.
func (m *Machine) Reset(ctx context.Context) error {
	return m.Execute(ctx, "system_reset", nil, nil)
}

// Quit ends QEMU in order, which the guest does not notice, and waits for it.
func (m *Machine) Quit(ctx context.Context) error {
	if err := m.Execute(ctx, "quit", nil, nil); err != nil {
		return err
	}
	return m.WaitExit(ctx)
}

// Execute runs a command of QEMU's machine protocol and decodes its result,
// unless that is nil.
func (m *Machine) Execute(ctx context.Context, command string, args, result any) error {
	ctx, cancel := m.patience(ctx)
	defer cancel()
	return m.monitor.execute(ctx, command, args, result)
}
