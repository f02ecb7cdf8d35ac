// Command plimsoll updates Linux devices safely, with a network or without:
// it builds and signs artifacts at the workbench, and installs them into the
// inactive one of two slots on the device.
//
// The verbs are thin: what they do is in the packages artifact, signing,
// partition, bootloader and install. Here are flags, the device's configuration
// file, progress, exit codes and advice.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"golang.org/x/term"
)

// An env is the world that a verb acts in.
type env struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	terminal       bool   // stderr is one: progress may be rewritten
	root           string // prefix of the default paths in /etc; empty but in tests
}

// program returns what a call by that name runs: the command, or that of
// another tool which this one stands in for.
func program(name string) func(context.Context, *env, []string) int {
	switch filepath.Base(name) {
	case "mender", "mender-update":
		return runMenderClient
	}
	return run
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop) // the second signal kills
	os.Exit(program(os.Args[0])(ctx, &env{
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr,
		terminal: term.IsTerminal(int(os.Stderr.Fd())),
	}, os.Args[1:]))
}
