package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/plimsoll-ota/plimsoll/partition"
)

type snapshotOptions struct {
	source      string
	compression string
	limit       time.Duration
}

func (a *app) snapshotCommand() *cobra.Command {
	var o snapshotOptions
	cmd := &cobra.Command{
		Use:   "snapshot [dump]",
		Short: "Write the image of the running root file system to standard output",
		Long: `Snapshot writes the image of the running root file system to standard output,
as an artifact is made of.

The file system is frozen meanwhile: programs that write to it wait, and so may
those that wait for them. It is thawed when the image is complete, when anything
goes wrong, and when --freeze-limit has passed; a second process sees to it if
this one is killed. What is mounted read-only is not frozen.

What reads the image must not write to the file system that is frozen. Programs
that must not wait are best stopped before.`,
		Example: `  plimsoll snapshot --compression zstd | ssh office 'zstd -d > rootfs.ext4'
  ssh root@device plimsoll snapshot > rootfs.ext4`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 && args[0] == "dump" { // as Mender's tool has it
				return nil
			}
			return cobra.NoArgs(cmd, args)
		},
		PreRunE: func(*cobra.Command, []string) error { return a.checkSnapshot(o) },
		RunE:    a.verb(func(ctx context.Context, _ []string) error { return a.runSnapshot(ctx, o) }),
	}
	f := cmd.Flags()
	f.StringVar(&o.source, "source", "", "a block device, or a file or folder on the file system (default: the running slot)")
	f.StringVarP(&o.compression, "compression", "C", "none", "none, gzip or zstd")
	f.DurationVar(&o.limit, "freeze-limit", 10*time.Minute, "how long the file system may be frozen")
	return cmd
}

// guardCommand is what snapshot starts beside itself.
func (a *app) guardCommand() *cobra.Command {
	return &cobra.Command{
		Use:    guardVerb,
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE:   a.verb(func(context.Context, []string) error { return partition.GuardFreeze() }),
	}
}

const guardVerb = "snapshot-guard"

func guard() *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", guardVerb)
	cmd.Args[0] = "plimsoll"
	cmd.Dir = "/"
	return cmd
}

// checkSnapshot finds what is wrong usage.
func (a *app) checkSnapshot(o snapshotOptions) error {
	if _, err := compressed(io.Discard, o.compression); err != nil {
		return err
	}
	out, isFile := a.stdout.(*os.File)
	switch {
	case a.out.json:
		return errors.New("--json: standard output is for the image")
	case o.limit < time.Second:
		return fmt.Errorf("--freeze-limit %v: at least a second", o.limit)
	case isFile && term.IsTerminal(int(out.Fd())):
		return errors.New("standard output is a terminal, which an image is not for: redirect it")
	}
	return nil
}

func (a *app) runSnapshot(ctx context.Context, o snapshotOptions) error {
	src, err := a.snapshotSource(o.source)
	if err != nil {
		return err
	}
	if path := fileBehind(a.stdout); path != "" && src.Holds(path) {
		return fmt.Errorf("snapshot: %s is on the file system that is to be frozen, and would wait for ever", path)
	}
	if path := fileBehind(a.stderr); path != "" && src.Holds(path) {
		a.out.quiet = true // for the same reason
	}
	broken := make(chan os.Signal, 1)
	signal.Notify(broken, unix.SIGPIPE) // a reader that went away is an error of writing, and not the end of us
	defer signal.Stop(broken)
	a.out.say("copy %s, %s", src.Path, size(src.Size))
	dst, err := compressed(a.stdout, o.compression)
	if err != nil {
		return err
	}
	doubt, err := src.Copy(ctx, dst, partition.CopyOptions{
		Limit: o.limit, Guard: guard(), Progress: func(done, total int64) { a.out.count("copy", done, total) },
	})
	if err == nil {
		err = dst.Close()
	}
	if err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	if doubt != "" {
		a.out.say("The image may be that of no single moment: %s.", doubt)
	}
	return nil
}

// snapshotSource is what was asked for, else the running slot, else what "/" is
// on.
func (a *app) snapshotSource(path string) (partition.Source, error) {
	var host partition.Host
	if path != "" {
		return host.Source(path)
	}
	c, err := a.loadConfig()
	if errors.Is(err, fs.ErrNotExist) && a.config == "" {
		return host.Source("/")
	}
	if err != nil {
		return partition.Source{}, err
	}
	pair, err := c.slots(host)
	if err != nil {
		return partition.Source{}, err
	}
	if c.bench() {
		return partition.Source{}, errors.New("snapshot: a bench runs from none of its slots: name the --source")
	}
	slot, err := host.Running(pair)
	if err != nil {
		return partition.Source{}, err
	}
	return host.Source(slot.Path)
}

// fileBehind returns the path of what is written to, "" if that has none.
func fileBehind(w io.Writer) string {
	f, ok := w.(*os.File)
	if !ok {
		return ""
	}
	path, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	if err != nil || !filepath.IsAbs(path) {
		return "" // a pipe or a socket
	}
	return path
}

// compressed returns a writer to w. Close completes what it wrote, and leaves w
// open.
func compressed(w io.Writer, how string) (io.WriteCloser, error) {
	switch how {
	case "none":
		return uncompressed{w}, nil
	case "gzip":
		return gzip.NewWriterLevel(w, gzip.BestSpeed)
	case "zstd":
		return zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(1<<20), zstd.WithLowerEncoderMem(true))
	}
	return nil, fmt.Errorf("--compression %s: none, gzip or zstd", how)
}

type uncompressed struct{ io.Writer }

func (uncompressed) Close() error { return nil }
