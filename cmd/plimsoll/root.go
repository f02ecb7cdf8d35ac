package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/plimsoll-ota/plimsoll/install/mender"
)

// Version is set by the linker.
var Version = "0.1.0-dev"

// An app is one call of the command.
type app struct {
	*env
	out    *output
	config string // --config

	// load reads the configuration in place of loadConfig, and folders are where a
	// Mender client has its files, where another command line says so.
	load    func() (*config, error)
	folders *mender.Folders

	stopBefore stops // --stop-before
}

// run executes the command line args and returns the exit code. It is all of
// main but the exit.
func run(ctx context.Context, e *env, args []string) int {
	a := &app{env: e, out: &output{env: e}}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(e.stdin)
	root.SetOut(e.stdout)
	root.SetErr(e.stderr)
	err := root.ExecuteContext(ctx)
	if err != nil && context.Cause(ctx) != nil && errors.Is(err, context.Cause(ctx)) {
		err = interrupted{err}
	}
	return a.out.finish(err)
}

// ran is an error of a verb that was called as it should be. Every other error
// that cobra returns is one of usage.
type ran struct{ error }

func (r ran) Unwrap() error { return r.error }

// usage is an error of a verb that was not called as it should be, and that only
// the verb could see.
type usage struct{ error }

func (u usage) Unwrap() error { return u.error }

// interrupted is an error that somebody asked for.
type interrupted struct{ error }

func (i interrupted) Unwrap() error { return i.error }

// verb wraps the body of a command.
func (a *app) verb(body func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		err := body(cmd.Context(), args)
		if _, ok := err.(usage); ok || err == nil {
			return err
		}
		return ran{err}
	}
}

func (a *app) root() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "plimsoll",
		Short: "Update Linux devices safely, with a network or without",
		Long: `plimsoll updates Linux devices safely, with a network or without.

At the workbench it builds and signs an artifact from a root file system image.
On the device it writes the artifact to the inactive one of two slots, boots it
on trial, keeps it if it is healthy, and returns to the old one if it is not.

Exit codes:
  0    done
  1    failed, or not now; the message says whether the device is unchanged
  2    nothing to do
  3    artifact refused: unsigned, untrusted, damaged, or not for this device
  4    done, and a reboot is needed (only with --reboot-exit-code)
  5    the device needs attention
  6    what was compared is not the same
  64   wrong usage
  130  interrupted`,
		Version:       Version,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.SetVersionTemplate("plimsoll {{.Version}}\n")
	flags := cmd.PersistentFlags()
	flags.StringVar(&a.config, "config", "", "the device's configuration (default /etc/plimsoll/plimsoll.toml)")
	flags.BoolVar(&a.out.json, "json", false, "print one JSON object per line on standard output")
	flags.BoolVar(&a.out.quiet, "quiet", false, "print no progress")
	cmd.AddCommand(
		a.artifactCommand(), a.keyCommand(), a.imageCommand(), a.stickCommand(),
		a.stopFlag(a.installCommand()), a.stopFlag(a.resumeCommand()), a.stopFlag(a.commitCommand()), a.stopFlag(a.rollbackCommand()),
		a.statusCommand(), a.historyCommand(), a.doctorCommand(),
		a.snapshotCommand(), a.guardCommand(),
	)
	return cmd
}

// group is a command that only holds others. Without one of them it shows what
// there is; with a wrong one it says so.
func group(use, short string, sub ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use:   use,
		Short: short,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("unknown command %q for %q", args[0], cmd.CommandPath())
			}
			return cmd.Help()
		},
	}
	cmd.AddCommand(sub...)
	return cmd
}
