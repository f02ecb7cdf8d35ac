//go:build linux && (amd64 || arm64)

package cuts

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Fate is what becomes of a call. The zero value is Go.
type Fate struct {
	kind fate
	keep int64
	err  syscall.Errno
}

type fate int

const (
	letGo fate = iota
	kill
	tear
	fail
	short
)

// Go lets the call act.
var Go Fate

// Kill kills the process before the call acts.
func Kill() Fate { return Fate{kind: kill} }

// Tear lets a write write its first n bytes, and kills the process. A call
// that writes no bytes, or n or fewer, acts wholly and is the last.
func Tear(n int64) Fate { return Fate{kind: tear, keep: n} }

// Fail lets the call do nothing and return errno.
func Fail(errno syscall.Errno) Fate { return Fate{kind: fail, err: errno} }

// Short lets a write write its first n bytes, n at least 1, and return n.
func Short(n int64) Fate { return Fate{kind: short, keep: n} }

// At returns a function for Run in which the k-th call meets f and all others
// act.
func At(k int, f Fate) func(Call) Fate {
	return func(c Call) Fate {
		if c.N == k {
			return f
		}
		return Go
	}
}

// A Result is how a run ended.
type Result struct {
	Calls  []Call // that were asked about, in their order
	Killed bool   // by Kill or Tear, or because the context ended
	Code   int    // the exit code, where the command ended by itself; -1 after a signal
}

// Run runs cmd to its end, or until decide has it killed. decide is asked about
// each call in turn, before the call acts; it runs on Run's own goroutine.
//
// cmd has not been started and is not to be waited for. Its Stdout and Stderr
// are nil or an *os.File, since nobody copies for a command that is killed. An
// error is one of tracing, or the context's; whatever the command did is in the
// Result.
func Run(ctx context.Context, cmd *exec.Cmd, decide func(Call) Fate) (Result, error) {
	type answer struct {
		r   Result
		err error
	}
	done := make(chan answer)
	go func() {
		// The thread that starts the command is the only one that may trace it.
		// It is not unlocked, and so ends with the goroutine.
		runtime.LockOSThread()
		r, err := run(ctx, cmd, decide)
		done <- answer{r, err}
	}()
	a := <-done
	return a.r, a.err
}

func run(ctx context.Context, cmd *exec.Cmd, decide func(Call) Fate) (Result, error) {
	if ctx.Err() != nil {
		return Result{}, context.Cause(ctx)
	}
	for _, w := range []any{cmd.Stdout, cmd.Stderr} {
		if _, file := w.(*os.File); w != nil && !file {
			return Result{}, errors.New("trace: standard output and error are files")
		}
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Ptrace = true
	cmd.SysProcAttr.Setpgid = true // so that it can be waited for, and nobody else's child
	if err := cmd.Start(); err != nil {
		return Result{}, err
	}
	t := &tracer{pid: cmd.Process.Pid, decide: decide, threads: map[int]*thread{}}
	stop := context.AfterFunc(ctx, func() { cmd.Process.Kill() }) // by its pidfd: never another's
	defer stop()
	err := t.follow()
	if err != nil {
		cmd.Process.Kill()
		t.reap()
	}
	if ctx.Err() != nil {
		err = errors.Join(context.Cause(ctx), err)
	}
	return t.result, errors.Join(err, cmd.Process.Release())
}

// A tracer follows one process.
type tracer struct {
	pid     int
	decide  func(Call) Fate
	threads map[int]*thread
	result  Result
}

// A thread is what is to happen when the call that it is in returns.
type thread struct {
	after Fate
}

const traceOptions = unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_EXITKILL

// follow goes from stop to stop until the process has ended.
func (t *tracer) follow() error {
	for {
		tid, status, err := t.wait()
		switch {
		case err != nil:
			return err
		case tid == t.pid && (status.Exited() || status.Signaled()):
			t.result.Code = status.ExitStatus()
			t.result.Killed = t.result.Killed || status.Signaled() && status.Signal() == unix.SIGKILL
			return nil
		case !status.Stopped():
			delete(t.threads, tid)
			continue
		}
		// A thread may have been killed between its stop and what is done about it.
		if err := t.stopped(tid, status); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("trace thread %d: %w", tid, err)
		}
	}
}

// wait waits for any thread of the process, and for nothing else: before this
// thread was ours it may have started a child that somebody else waits for.
func (t *tracer) wait() (tid int, status unix.WaitStatus, err error) {
	for {
		tid, err = unix.Wait4(-t.pid, &status, unix.WALL|unix.WNOTHREAD, nil)
		if !errors.Is(err, unix.EINTR) {
			return tid, status, err
		}
	}
}

// reap waits for a process that was killed.
func (t *tracer) reap() {
	for {
		if tid, status, err := t.wait(); err != nil || tid == t.pid && !status.Stopped() {
			return
		}
	}
}

// stopped sees to one stop and lets the thread go on.
func (t *tracer) stopped(tid int, status unix.WaitStatus) error {
	th, known := t.threads[tid]
	if !known {
		th = &thread{}
		t.threads[tid] = th
		if tid == t.pid { // the stop after exec
			if err := unix.PtraceSetOptions(tid, traceOptions); err != nil {
				return err
			}
		}
		return unix.PtraceSyscall(tid, 0) // that a thread begins stopped is our own doing
	}
	switch sig := status.StopSignal(); {
	case sig == unix.SIGTRAP|0x80:
		if err := t.inCall(tid, th); err != nil {
			return err
		}
		return unix.PtraceSyscall(tid, 0)
	case sig == unix.SIGTRAP: // an event
		return unix.PtraceSyscall(tid, 0)
	default:
		return unix.PtraceSyscall(tid, int(sig))
	}
}

// inCall is a stop at the entry of a call, or at its return.
func (t *tracer) inCall(tid int, th *thread) error {
	var info callInfo
	if err := ptrace(ptraceGetSyscallInfo, tid, unsafe.Sizeof(info), unsafe.Pointer(&info)); err != nil {
		return err
	}
	switch info.op {
	case atEntry:
		nr, args := info.args()
		return t.entering(tid, th, nr, args)
	case atExit:
		return t.leaving(tid, th)
	}
	return nil
}

func (t *tracer) entering(tid int, th *thread, nr uint64, args [6]uint64) error {
	th.after = Go
	c, counts := call(tid, nr, args)
	if !counts || t.result.Killed {
		return nil
	}
	c.N = len(t.result.Calls) + 1
	t.result.Calls = append(t.result.Calls, c)
	f := t.decide(c)
	th.after = f
	switch f.kind {
	case kill:
		return t.kill()
	case fail:
		return skipCall(tid)
	case tear, short:
		r, known := rules[nr]
		if known && r.len > 0 && f.keep < c.Len {
			return setArgument(tid, r.len, uint64(f.keep))
		}
	}
	return nil
}

func (t *tracer) leaving(tid int, th *thread) error {
	f := th.after
	th.after = Go
	switch f.kind {
	case tear:
		return t.kill()
	case fail:
		return setResult(tid, -int64(f.err))
	}
	return nil
}

// kill ends the process. A thread that is stopped at the entry of a call does
// not make it (ptrace(2): the call is skipped when the stop is ended by SIGKILL).
func (t *tracer) kill() error {
	t.result.Killed = true
	return unix.Kill(t.pid, unix.SIGKILL)
}

// PTRACE_GET_SYSCALL_INFO tells entry from return, and number and arguments,
// alike on every architecture (linux/ptrace.h).
const (
	ptraceGetSyscallInfo = 0x420e
	atEntry              = 1
	atExit               = 2
)

// A callInfo is struct ptrace_syscall_info.
type callInfo struct {
	op     uint8
	_      [3]uint8
	_      uint32    // architecture
	_      [2]uint64 // instruction and stack pointer
	values [8]uint64 // at entry: number, six arguments
}

func (i *callInfo) args() (nr uint64, args [6]uint64) {
	copy(args[:], i.values[1:])
	return i.values[0], args
}

func ptrace(request, tid int, addr uintptr, data unsafe.Pointer) error {
	if _, _, errno := unix.Syscall6(unix.SYS_PTRACE, uintptr(request), uintptr(tid), addr, uintptr(data), 0, 0); errno != 0 {
		return errno
	}
	return nil
}
