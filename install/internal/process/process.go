// Package process runs a program of somebody else with bounds on everything:
// how long it takes, how much of what it says is kept, and what it leaves
// behind.
//
// The program gets a session and a process group of its own, no terminal, and
// nothing on its standard input. When its time is up, or nobody wants it any
// more, its group is asked to end (SIGTERM), and after a grace all that it
// started is killed, wherever that has fled to: while a program runs, this
// process adopts what loses its parent (PR_SET_CHILD_SUBREAPER), so that the
// way from here leads to every descendant. Since the kernel cannot tell for
// which of two programs something was adopted, they run one after another.
//
// A program counts as ended when it has ended itself. What a child of it still
// has to say is not waited for.
package process

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A Command is a program, and what it may do.
type Command struct {
	Name string // in errors; "" is Path
	Path string
	Args []string // without the program's name
	Dir  string   // "" is that of this process
	Env  []string // nil is that of this process

	Timeout time.Duration // how long it may take; 0 is for ever
	Grace   time.Duration // from SIGTERM to SIGKILL; 0 is SIGKILL at once
	Spare   bool          // what is left in its process group after a normal end lives on
}

// A Result is what a program left when it ended.
type Result struct {
	Code           int // of its exit; -1 if it did not exit by itself
	Stdout, Stderr Output
	Took           time.Duration
}

// A Process is a program that was started.
type Process struct {
	command Command
	cmd     *exec.Cmd
	turn    *turn
	started time.Time
	out     *pipe
	err     *pipe

	ended  chan struct{} // the program has ended; its number is its own until reaped
	over   chan struct{} // or it is stuck in the kernel, which will not let it go
	done   chan struct{} // and all is in order
	result *Result
	fail   error
}

// Run runs a program to its end: Start and Wait.
func Run(ctx context.Context, c Command) (*Result, error) {
	p, err := Start(ctx, c)
	if err != nil {
		return nil, err
	}
	return p.Wait()
}

// Start starts a program, after those that were started before have ended. A
// context that is done ends it.
func Start(ctx context.Context, c Command) (*Process, error) {
	if c.Name == "" {
		c.Name = c.Path
	}
	p := &Process{command: c, ended: make(chan struct{}), over: make(chan struct{}), done: make(chan struct{})}
	var err error
	if p.turn, err = takeTurn(ctx); err != nil {
		return nil, &Error{Name: c.Name, Code: -1, Cause: err}
	}
	if err := p.start(); err != nil {
		p.turn.end()
		return nil, &Error{Name: c.Name, Code: -1, Cause: err}
	}
	go p.out.read()
	go p.err.read()
	go p.await()
	go p.supervise(ctx)
	return p, nil
}

// Ended is closed when the program itself has ended, or will not although it
// was killed.
func (p *Process) Ended() <-chan struct{} { return p.over }

// Wait returns when the program has ended and nothing is left that should not
// be. The Result is never nil. Anything but an exit with code 0 is an *Error.
func (p *Process) Wait() (*Result, error) {
	<-p.done
	return p.result, p.fail
}

func (p *Process) start() error {
	stdout, err := p.openPipe(&p.out)
	if err != nil {
		return err
	}
	defer stdout.Close()
	stderr, err := p.openPipe(&p.err)
	if err != nil {
		return errors.Join(err, p.out.r.Close())
	}
	defer stderr.Close()
	p.started = time.Now()
	for try := 0; ; try++ {
		p.cmd = exec.Command(p.command.Path, p.command.Args...)
		p.cmd.Dir, p.cmd.Env = p.command.Dir, p.command.Env
		p.cmd.Stdout, p.cmd.Stderr = stdout, stderr
		p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		err := p.cmd.Start()
		// A program that was just written may still be open for writing, for a
		// moment, in a child of this process that is about to become another.
		if errors.Is(err, syscall.ETXTBSY) && try < 50 {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		if err != nil {
			return errors.Join(err, p.out.r.Close(), p.err.r.Close())
		}
		return nil
	}
}

func (p *Process) openPipe(to **pipe) (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	*to = &pipe{r: r, done: make(chan struct{})}
	return w, nil
}

// pid is also the number of the program's session and of its group.
func (p *Process) pid() int { return p.cmd.Process.Pid }

// await waits for the program and does not reap it: until that is done nobody
// else can get its number, so that its group can be sent a signal.
func (p *Process) await() {
	defer close(p.ended)
	for {
		if err := unix.Waitid(unix.P_PID, p.pid(), nil, unix.WEXITED|unix.WNOWAIT, nil); err != unix.EINTR {
			return
		}
	}
}

func (p *Process) hasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// supervise sees to it that the program ends, and says how it did.
func (p *Process) supervise(ctx context.Context) {
	defer close(p.done)
	cause := p.outlast(ctx)
	var left error
	if cause != nil {
		left = p.terminate()
	}
	close(p.over)
	switch {
	case cause != nil:
	case !p.command.Spare:
		left = p.kill(p.inGroup)
	}
	p.result = &Result{Code: -1, Took: time.Since(p.started)}
	var status syscall.WaitStatus
	if p.hasEnded() {
		_ = p.cmd.Wait() // what it says is in the state
		status, _ = p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	} else {
		go func() { <-p.ended; _ = p.cmd.Wait() }() // stuck in the kernel: reaped when it comes back
	}
	p.result.Stdout, p.result.Stderr = p.out.finish(), p.err.finish()
	p.turn.end()
	if cause == nil && status.Exited() {
		p.result.Code = status.ExitStatus()
	}
	p.fail = p.verdict(cause, status, left)
}

// outlast returns why the program has to end, nil if it did by itself.
func (p *Process) outlast(ctx context.Context) error {
	var late <-chan time.Time
	if p.command.Timeout > 0 {
		timer := time.NewTimer(p.command.Timeout)
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-p.ended:
	case <-ctx.Done():
		if !p.hasEnded() {
			return context.Cause(ctx)
		}
	case <-late:
		if !p.hasEnded() {
			return ErrTimeout
		}
	}
	return nil
}
