package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	agrees   = "agrees"   // it does what the vector expects
	stricter = "stricter" // it refuses what is to be accepted
	laxer    = "laxer"    // it accepts what is to be refused
	crashes  = "crashes"  // a signal, or the trace of a panic
	hangs    = "hangs"    // it took more time or memory than it may
)

// A result is what a command made of a vector.
type result struct {
	Event     string  `json:"event"`
	Vector    string  `json:"vector"`
	About     string  `json:"about"`
	Rule      string  `json:"rule"`
	Expect    string  `json:"expect"`
	Verdict   string  `json:"verdict"`
	Permitted bool    `json:"permitted"` // the vector lets a tolerant reader do so
	Exit      int     `json:"exit"`      // -1: a signal
	Seconds   float64 `json:"seconds"`
	MiB       int64   `json:"mib"` // the most that it held, as the kernel counts it
	Says      string  `json:"says,omitempty"`
}

// A command is a reader under test.
type command struct {
	args    []string
	timeout time.Duration
	memory  int64 // MiB
}

// cannotRun is the exit code of a command that says nothing about the vector, as for git bisect run.
const cannotRun = 125

// Why a reader was stopped.
var errTime, errMemory = errors.New("took too long"), errors.New("held too much memory")

// on runs the command on v. The error is that it could not be started.
func (c command) on(v vector) (result, error) {
	ctx, stop := context.WithTimeoutCause(context.Background(), c.timeout, errTime)
	defer stop()
	ctx, swollen := context.WithCancelCause(ctx)
	defer swollen(nil)
	args := v.args(c.args)
	var said bytes.Buffer
	x := exec.CommandContext(ctx, args[0], args[1:]...)
	x.Stdout, x.Stderr = &said, &said
	x.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	x.Cancel = func() error { return syscall.Kill(-x.Process.Pid, syscall.SIGKILL) } // and what it started
	x.WaitDelay = time.Second
	began := time.Now()
	if err := x.Start(); err != nil {
		return result{}, fmt.Errorf("%s: %w", args[0], err)
	}
	go c.watch(ctx, x.Process.Pid, swollen)
	err := x.Wait()
	if x.ProcessState.ExitCode() == cannotRun {
		return result{}, fmt.Errorf("%s: exit %d: it could not be run: %s", v.name, cannotRun, lastLine(said.String()))
	}
	r := result{Event: "vector", Vector: v.name, About: v.about, Rule: v.rule, Expect: v.expect,
		Exit: x.ProcessState.ExitCode(), Seconds: time.Since(began).Seconds(), Says: lastLine(said.String())}
	if u, ok := x.ProcessState.SysUsage().(*syscall.Rusage); ok {
		r.MiB = u.Maxrss >> 10
	}
	if r.MiB > c.memory {
		swollen(errMemory)
	}
	switch cause := context.Cause(ctx); {
	case cause != nil:
		r.Verdict, r.Says = hangs, cause.Error()
	case r.Exit < 0 || traced(said.String()):
		r.Verdict = crashes
	case err == nil && v.expect != "ok":
		r.Verdict, r.Permitted = laxer, v.may == "accept"
	case err != nil && v.expect == "ok":
		r.Verdict, r.Permitted = stricter, v.may == "refuse"
	default:
		r.Verdict = agrees
	}
	return r, nil
}

// watch stops a process that holds too much before the machine suffers from it. What it held for a moment the kernel tells at its end.
func (c command) watch(ctx context.Context, pid int, swollen context.CancelCauseFunc) {
	for ctx.Err() == nil {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
		if err != nil {
			return // it ended
		}
		if f := strings.Fields(string(b)); len(f) > 1 {
			if pages, err := strconv.ParseInt(f[1], 10, 64); err == nil && pages*int64(os.Getpagesize())>>20 > c.memory {
				swollen(errMemory)
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// traced reports whether a runtime printed what it prints when a program fell over: Go, C with a sanitizer, Python, Rust.
func traced(said string) bool {
	for _, mark := range []string{"panic: ", "fatal error: ", "goroutine 1 [", "AddressSanitizer", "Traceback (most recent call last)", "thread 'main' panicked"} {
		if strings.Contains(said, mark) {
			return true
		}
	}
	return false
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	last := lines[len(lines)-1]
	if len(last) > 200 {
		last = last[:200]
	}
	return strings.ToValidUTF8(last, "?")
}
