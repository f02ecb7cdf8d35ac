package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/plimsoll-ota/plimsoll/install"
	"github.com/plimsoll-ota/plimsoll/install/mender"
)

// A menderClient is one call of the command by the name of Mender's client:
// mender, as it was up to 3.x, or mender-update, as it is since 4.0. Verbs,
// options, messages and exit codes are theirs, for the scripts that rely on
// them; what is done is what plimsoll does.
type menderClient struct {
	*app
	files menderFiles
	given func(option string) bool

	logFile, logLevel, certs string
	skipVerify               bool
	rebootExitCode           bool
}

// What the clients print.
const (
	menderNotCommitted = "Installed, but not committed.\nUse 'commit' to update, or 'rollback' to roll back the update."
	menderReboot       = "At least one payload requested a reboot of the device it updated."
	menderRolledBack   = "Rolled back."
	menderNothing      = "No update in progress."
)

// menderQuiet and menderLoud are the levels of the clients' logs: from the
// first ones on there is no progress.
var (
	menderQuiet = []string{"warning", "error", "fatal", "panic"}
	menderLoud  = []string{"trace", "debug", "info"}
)

// runMenderClient is run for a call by the name of Mender's client.
func runMenderClient(ctx context.Context, e *env, args []string) int {
	world := *e // whose standard error a log file may replace
	m := &menderClient{app: &app{env: &world, out: &output{env: &world}}}
	m.load = m.config
	root := m.root()
	args, err := menderArgs(root, args)
	if err == nil {
		root.SetArgs(args)
		root.SetIn(e.stdin)
		root.SetOut(e.stdout)
		root.SetErr(e.stderr)
		err = root.ExecuteContext(ctx)
	}
	m.out.bar.end(m.stderr)
	code, hint := menderExit(err)
	switch {
	case code == exitNothing:
		m.print(menderNothing)
	case code == exitFailed:
		fmt.Fprintf(e.stderr, "Could not fulfill request: %v\n", err)
		for _, says := range []string{hint, deviceSays(err)} {
			if says != "" {
				fmt.Fprintf(e.stderr, "plimsoll: %s\n", says)
			}
		}
	}
	return code
}

// menderExit returns the exit code, of which the clients have few, and what to
// do next.
func menderExit(err error) (code int, hint string) {
	if err == nil {
		return exitDone, ""
	}
	if c, ok := errors.AsType[exitCode](err); ok {
		return int(c), ""
	}
	if errors.Is(err, install.ErrNothing) {
		return exitNothing, ""
	}
	if errors.As(err, &ran{}) {
		_, hint = explain(err)
	}
	return exitFailed, hint
}

// menderArgs takes a long option with one dash, as the clients up to 3.x did.
// A verb with a dash, which theirs had before, is not taken for options.
func menderArgs(root *cobra.Command, args []string) ([]string, error) {
	options := pflag.NewFlagSet("", pflag.ContinueOnError)
	options.AddFlagSet(root.PersistentFlags())
	for _, verb := range root.Commands() {
		options.AddFlagSet(verb.Flags())
	}
	all := slices.Clone(args)
	for i, arg := range all {
		word, ok := strings.CutPrefix(arg, "-")
		name, _, _ := strings.Cut(word, "=")
		switch {
		case arg == "--":
			return all, nil
		case !ok || len(name) < 2 || name[0] == '-':
		case options.Lookup(name) != nil:
			all[i] = "-" + arg
		case slices.ContainsFunc(root.Commands(), func(verb *cobra.Command) bool { return verb.Name() == name }):
			return nil, fmt.Errorf("%s: a verb has no dash: %s", arg, name)
		}
	}
	return all, nil
}

func (m *menderClient) root() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "mender-update",
		Short: "Update this device, as Mender's client does",
		Long: `plimsoll stands in for Mender's client in the calls that install, commit and
roll back. Its configuration is /etc/plimsoll/plimsoll.toml, and without one
mender.conf; --config and --fallback-config name another mender.conf, or the
first of them a .toml of plimsoll's.

Exit codes:
  0    done
  1    failed
  2    no update in progress
  4    done, and a reboot is needed (only with --reboot-exit-code)`,
		Version:           Version,
		SilenceUsage:      true,
		SilenceErrors:     true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		Args:              cobra.NoArgs,
		PersistentPreRunE: func(*cobra.Command, []string) error { return m.begin() },
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.SetVersionTemplate("{{.Version}}\truntime: plimsoll\n")
	f := cmd.PersistentFlags()
	usual := defaultMenderFiles(m.env.root)
	f.StringVarP(&m.files.conf, "config", "c", usual.conf, "configuration `FILE`")
	f.StringVarP(&m.files.fallback, "fallback-config", "b", usual.fallback, "`FILE` with what the configuration does not say")
	f.StringVarP(&m.files.data, "data", "d", usual.data, "folder with Mender's store and device_type")
	f.StringVar(&m.files.data, "datastore", usual.data, "the same as --data")
	f.StringVarP(&m.logFile, "log-file", "L", "", "`FILE` to log to, in place of standard error")
	f.StringVarP(&m.logLevel, "log-level", "l", "info", strings.Join(slices.Concat(menderLoud, menderQuiet), ", "))
	f.StringVarP(&m.certs, "trusted-certs", "E", "", "`FILE` with the certificates of servers that are trusted")
	f.BoolVar(&m.skipVerify, "skipverify", false, "refused: a server's certificate is always verified")
	f.Bool("no-syslog", false, "nothing is logged there")
	m.given = f.Changed

	cmd.AddCommand(
		m.verb("install FILE|-", "Install an artifact", m.runInstall),
		m.verb("resume", "Go on with an update that was interrupted", m.runResume),
		m.verb("commit", "Keep the update", m.runCommit),
		m.verb("rollback", "Take the update back", m.runRollback),
		m.verb("show-artifact", "Print the name of what is installed", m.runShow(m.printArtifact)),
		m.verb("show-provides", "Print what the device provides", m.runShow(m.printProvides)),
	)
	return cmd
}

// verb is a command with the options that its name has.
func (m *menderClient) verb(use, short string, body func(context.Context, []string) error) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, RunE: m.app.verb(body)}
	f := cmd.Flags()
	switch cmd.Name() {
	case "install", "resume":
		f.BoolVar(&m.rebootExitCode, "reboot-exit-code", false, "exit with 4 if a reboot is needed")
		fallthrough
	case "commit", "rollback":
		m.stopFlag(cmd)
	}
	if cmd.Name() != "install" {
		cmd.Args = cobra.NoArgs
	}
	return cmd
}

// begin is what the options ask for before the verb.
func (m *menderClient) begin() error {
	switch quiet := slices.Contains(menderQuiet, m.logLevel); {
	case m.skipVerify:
		return errors.New("--skipverify is refused: a server's certificate is always verified; name it with --trusted-certs")
	case !quiet && !slices.Contains(menderLoud, m.logLevel):
		return fmt.Errorf("--log-level %s: there is no such level", m.logLevel)
	default:
		m.out.quiet = quiet
	}
	if m.given("data") || m.given("datastore") {
		m.folders = &mender.Folders{Conf: mender.Under(m.env.root).Conf, Data: m.files.data}
	}
	if m.logFile == "" {
		return nil
	}
	log, err := os.OpenFile(m.logFile, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	m.stderr, m.terminal = log, false // closed by the end of the process, like the one that it replaces
	return nil
}

// config reads the configuration that the options name.
func (m *menderClient) config() (*config, error) {
	if m.given("config") && filepath.Ext(m.files.conf) == ".toml" {
		m.app.config = m.files.conf
	}
	if m.app.config == "" && (m.given("config") || m.given("fallback-config")) {
		c, err := loadMenderConfig(m.files, m.env.root)
		if err != nil && !errors.Is(err, errConfig) {
			err = fmt.Errorf("%w: %s: %w", errConfig, m.files.conf, err)
		}
		return c, err
	}
	m.load = nil
	return m.loadConfig()
}

func (m *menderClient) print(text string) { fmt.Fprintln(m.stdout, text) }

func (m *menderClient) runInstall(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errors.New("need a path to an artifact")
	}
	d, err := m.device()
	if err != nil {
		return err
	}
	m.print("Installing artifact...")
	done, err := m.install(ctx, d, installOptions{}, args[0])
	if err != nil {
		m.printFailed(err)
		return err
	}
	return m.installed(done)
}

// installed says what is next.
func (m *menderClient) installed(done install.Outcome) error {
	if done.Event == "committed" {
		m.print("Installed and committed.")
	} else {
		m.print(menderNotCommitted)
	}
	if !done.Reboot {
		return nil
	}
	m.print(menderReboot)
	if m.rebootExitCode {
		return exitCode(exitReboot)
	}
	return nil
}

// printFailed says how far an installation came.
func (m *menderClient) printFailed(err error) {
	e, ok := errors.AsType[*install.Error](err)
	if !ok {
		return
	}
	if e.Step == install.StepWrite || e.Step == install.StepVerify {
		m.print("Streaming failed.")
	} else {
		m.print("Installation failed.")
	}
	if e.Step < install.StepArm {
		m.print("System not modified.")
	}
}

func (m *menderClient) runResume(ctx context.Context, _ []string) error {
	d, err := m.device()
	if err != nil {
		return err
	}
	o, err := d.Resume(ctx)
	switch {
	case errors.Is(err, install.ErrFellBack):
		m.print(menderRolledBack)
		return err
	case err == nil && o.Event == "armed", errors.Is(err, install.ErrPending) && o.Do == install.Wait:
		return m.installed(install.Outcome{Event: "armed", Reboot: true})
	case err == nil && o.Event == "committed":
		m.print("Committed.")
	}
	return err
}

func (m *menderClient) runCommit(ctx context.Context, _ []string) error {
	d, err := m.device()
	if err != nil {
		return err
	}
	switch o, err := d.Commit(ctx); {
	case errors.Is(err, install.ErrNothing):
		return err
	case errors.Is(err, install.ErrFellBack):
		m.print("Committing failed.\n" + menderRolledBack)
		return err
	case err != nil:
		m.print("Committing failed.")
		return err
	case o.Event == "committed":
		m.print("Committed.")
	}
	return nil
}

func (m *menderClient) runRollback(ctx context.Context, _ []string) error {
	d, err := m.device()
	if err != nil {
		return err
	}
	o, err := d.Rollback(ctx)
	if err != nil {
		return err
	}
	m.print(menderRolledBack)
	if o.Reboot {
		m.print(menderReboot)
	}
	return nil
}

// runShow prints what is known of the device.
func (m *menderClient) runShow(show func(install.Report)) func(context.Context, []string) error {
	return func(context.Context, []string) error {
		d, err := m.device()
		if err != nil {
			return err
		}
		r, err := d.Status()
		if err != nil {
			return err
		}
		show(r)
		return nil
	}
}

func (m *menderClient) printArtifact(r install.Report) {
	name := r.Artifact
	if name == "" {
		name = "Unknown"
	}
	m.print(name)
}
