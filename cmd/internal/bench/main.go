// Command bench measures plimsoll side by side with what else does its jobs,
// and with the limit of the medium: make bench runs it.
//
// All contenders get the same image and the same slot, a loop device that was
// filled with other data. They take turns, round by round, so that a busy
// neighbour hurts all of them alike, and the median counts. The peers are
// Debian's packages, unpacked into a root file system of their own: nothing is
// installed on this machine. After each run, outside the timing, the slot is
// compared with the image.
//
// It needs root, for loop devices and mounts; these end with the process.
//
// usage: bench [flags] PLIMSOLL IMAGE
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// options are what the command line says.
type options struct {
	plimsoll, image string
	updated         string // the image's next release
	stripped        string // plimsoll for arm64, stripped
	cache           string // what is made once for an image
	slotDir         string // where the slot's file lies: the medium
	output          string
	jobs            []string // none: all
	rounds          int
	long            bool
}

func main() {
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "bench: loop devices and mounts need root")
		os.Exit(1)
	}
	if os.Getenv(inside) == "" {
		os.Exit(enter())
	}
	o, err := parse(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(64)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err = run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// inside is set in the process whose mounts nobody else sees.
const inside = "PLIMSOLL_BENCH_INSIDE"

// enter runs this program again with mounts of its own.
func enter() int {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), inside+"=1", "LC_ALL=C", "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	signal.Ignore(os.Interrupt) // it is the other one's to end
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	err := cmd.Start()
	if err == nil {
		go func() {
			for s := range terminated {
				_ = cmd.Process.Signal(s) // gone already is as good
			}
		}()
		err = cmd.Wait()
	}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return max(1, exit.ExitCode())
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	return 0
}

func parse(args []string) (o options, err error) {
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.StringVar(&o.updated, "updated", "", "the image's next release, for the job update")
	f.StringVar(&o.stripped, "stripped", "", "plimsoll for arm64, for the job status")
	f.StringVar(&o.cache, "cache", "build/bench", "where what is made once is kept")
	f.StringVar(&o.slotDir, "slot", "", "folder on the medium to write to (default: the cache)")
	f.StringVar(&o.output, "o", "", "write the report there, too")
	f.IntVar(&o.rounds, "rounds", 5, "runs of each, of which the median counts")
	f.BoolVar(&o.long, "long", false, "measure anew what takes minutes")
	jobs := f.String("jobs", "", "some of: "+strings.Join(allJobs(), " "))
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() != 2 || o.rounds < 1 {
		return o, errors.New("usage: bench [flags] PLIMSOLL IMAGE")
	}
	o.jobs = strings.Fields(*jobs)
	for _, j := range o.jobs {
		if !slices.Contains(allJobs(), j) {
			return o, fmt.Errorf("no job %q; there are: %s", j, strings.Join(allJobs(), " "))
		}
	}
	o.plimsoll, o.image = f.Arg(0), f.Arg(1)
	if o.slotDir == "" {
		o.slotDir = o.cache
	}
	for _, p := range []*string{&o.plimsoll, &o.image, &o.updated, &o.stripped, &o.cache, &o.slotDir} {
		if *p == "" {
			continue
		}
		if *p, err = filepath.Abs(*p); err != nil {
			return o, err
		}
	}
	return o, nil
}
