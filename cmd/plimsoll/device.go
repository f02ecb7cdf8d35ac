package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/plimsoll-ota/plimsoll/bootloader/board"
	"github.com/plimsoll-ota/plimsoll/install"
	"github.com/plimsoll-ota/plimsoll/install/mender"
)

// device opens the device that the configuration describes.
func (a *app) device() (*install.Device, error) {
	c, err := a.loadConfig()
	if err != nil {
		return nil, err
	}
	d, err := c.device()
	if err != nil {
		return nil, err
	}
	d.Report = a.out.progress
	d.StopBefore = a.stopBefore
	a.wireHealth(c, d)
	if !d.Bench {
		d.RunDir = filepath.Join(a.env.root, runDir)
	}
	d.Origin = a.origin(d.Bench)
	return d, nil
}

// origin returns what asks the client before plimsoll. A bench has none, unless
// it is named: the one of the computer that it is on is not its own.
func (a *app) origin(bench bool) func() (install.Origin, error) {
	folders := mender.Under(a.env.root)
	if a.folders != nil {
		folders = *a.folders
	} else if bench {
		return nil
	}
	return func() (install.Origin, error) { return menderOrigin(folders) }
}

// runDir is emptied by every boot.
const runDir = "/run/plimsoll"

// stops are the states to stop before, as the flags name them.
type stops []install.Stop

func (s *stops) String() string { return strings.Join(names(*s), ", ") }
func (s *stops) Type() string   { return "state" }

func (s *stops) Set(name string) error {
	if !slices.Contains(install.Stops, install.Stop(name)) {
		return fmt.Errorf("it is one of %s", strings.Join(names(install.Stops), ", "))
	}
	*s = append(*s, install.Stop(name))
	return nil
}

func names(stops []install.Stop) (all []string) {
	for _, s := range stops {
		all = append(all, string(s))
	}
	return all
}

// stopFlag lets a verb be told to stop.
func (a *app) stopFlag(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().Var(&a.stopBefore, "stop-before", "stop before this state of the update: "+strings.Join(names(install.Stops), ", ")+"; may be given several times")
	return cmd
}

type installOptions struct {
	install.Options
	ioLimit        board.Size
	rebootExitCode bool
}

func (a *app) installCommand() *cobra.Command {
	var o installOptions
	cmd := &cobra.Command{
		Use:   "install FILE|-",
		Short: "Install an artifact into the inactive slot, and arm it for the next boot",
		Long: `Install reads an artifact (- is standard input), writes its image to the
inactive slot, reads it back, and arms that slot for the next boot. The running
system is not touched. Reboot to try the update; until it is committed the
bootloader returns to the old slot by itself.

It reads and writes when nobody else wants to, if the disk's scheduler has
priorities (bfq, mq-deadline); start it with ionice for another one.`,
		Example: `  plimsoll install /media/usb/release-8.mender
  plimsoll install --io-limit 10MiB /media/usb/release-8.mender
  curl -sf https://updates.example/release-8.mender | plimsoll install -`,
		Args: cobra.ExactArgs(1),
		RunE: a.verb(func(ctx context.Context, args []string) error { return a.runInstall(ctx, o, args[0]) }),
	}
	f := cmd.Flags()
	f.BoolVar(&o.AllowDowngrade, "allow-downgrade", false, "install a version that is older than the installed one, or below the floor")
	f.BoolVar(&o.Retry, "retry", false, "install an artifact that failed on this device before")
	f.BoolVar(&o.rebootExitCode, "reboot-exit-code", false, "exit with 4 if a reboot is needed")
	f.Var(&o.ioLimit, "io-limit", "bytes of the image that are written or read back in a second, at most, such as 10MiB")
	return cmd
}

func (a *app) runInstall(ctx context.Context, o installOptions, operand string) error {
	d, err := a.device()
	if err != nil {
		return err
	}
	done, err := a.install(ctx, d, o, operand)
	if err != nil {
		return err
	}
	return a.reportInstalled(d, done, o.rebootExitCode)
}

// install installs what the operand names.
func (a *app) install(ctx context.Context, d *install.Device, o installOptions, operand string) (install.Outcome, error) {
	if err := lastInLine(); err != nil {
		a.out.say("%v", err) // a courtesy, not a need
	}
	o.IOLimit = int64(o.ioLimit)
	src, name, err := a.open(ctx, operand)
	if err != nil {
		return install.Outcome{}, &install.Error{Step: install.StepRead, Err: err}
	}
	defer src.Close() // only read
	done, err := d.Install(ctx, src, o.Options)
	if err != nil {
		return done, fmt.Errorf("%w (%s)", err, name)
	}
	return done, nil
}

func (a *app) reportInstalled(d *install.Device, done install.Outcome, rebootExitCode bool) error {
	name := done.Trial.Artifact
	reboot := done.Reboot && !d.Bench
	a.out.result("installed", fields{"artifact": name, "reboot": reboot, "state": done.Event}, "%s", fmt.Sprintf(installedText[done.Event], name))
	switch {
	case done.Event == "committed", done.Event == "stopped":
	case done.Event == "armed" && d.Bench:
		a.out.say("This device is a bench: it counts as booted. Keep it with: plimsoll commit; take it back with: plimsoll rollback")
	case done.Event == "armed":
		a.out.say("Reboot to try it; then keep it with: plimsoll commit. Take it back with: plimsoll rollback")
	default:
		a.out.say("Keep it with: plimsoll commit. Take it back with: plimsoll rollback")
	}
	if reboot && done.Event != "armed" {
		a.out.say("A reboot is needed.")
	}
	if done.Reboot && rebootExitCode {
		return exitCode(exitReboot)
	}
	return nil
}

var installedText = map[string]string{
	"armed":     "%s is installed, and armed for the next boot.",
	"installed": "%s is installed, and not committed.",
	"committed": "%s is installed and committed.",
	"stopped":   "%s is not installed yet: stopped, as asked; plimsoll resume goes on.",
}

func (a *app) resumeCommand() *cobra.Command {
	var rebootExitCode, deadline, early bool
	cmd := &cobra.Command{
		Use:   "resume",
		Short: "Finish what the last boot, cut or command left behind (runs at every boot)",
		Long: `Resume looks up what the last boot, cut or command left behind, and brings it
to its end: a trial is judged and kept or taken back, an installation that was
cut is closed. It runs at every boot.

With --deadline a trial that has no verdict by now goes back. That is for a
timer which runs whatever else happens.

With --early only that is done which must come before the services: declared data
are carried into a new root file system, or restored where an update did not stay.`,
		Args: cobra.NoArgs,
		RunE: a.verb(func(ctx context.Context, _ []string) error {
			verb := (*install.Device).Resume
			if deadline {
				verb = (*install.Device).Expire
			}
			if early {
				verb = (*install.Device).Early
			}
			return a.runResume(ctx, verb, rebootExitCode)
		}),
	}
	f := cmd.Flags()
	f.BoolVar(&rebootExitCode, "reboot-exit-code", false, "exit with 4 if a reboot is needed")
	f.BoolVar(&deadline, "deadline", false, "take back a trial that has no verdict by now")
	f.BoolVar(&early, "early", false, "do only what must come before the services")
	cmd.MarkFlagsMutuallyExclusive("deadline", "early")
	return cmd
}

func (a *app) commitCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "commit",
		Short: "Keep the update that is on trial",
		Args:  cobra.NoArgs,
		RunE: a.verb(func(ctx context.Context, _ []string) error {
			return a.runVerb(ctx, (*install.Device).Commit, false)
		}),
	}
}

func (a *app) rollbackCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "rollback",
		Short: "Take the update back: before the reboot, or while it is on trial",
		Args:  cobra.NoArgs,
		RunE: a.verb(func(ctx context.Context, _ []string) error {
			return a.runVerb(ctx, (*install.Device).Rollback, false)
		}),
	}
}

// An ending is one of the verbs that end an update.
type ending func(*install.Device, context.Context) (install.Outcome, error)

func (a *app) runVerb(ctx context.Context, verb ending, rebootExitCode bool) error {
	d, err := a.device()
	if err != nil {
		return err
	}
	o, err := verb(d, ctx)
	if err != nil {
		return err
	}
	return a.reportEnded(o, rebootExitCode)
}

// runResume is runVerb for what runs at boot: whoever stands before the device
// is told how a trial goes, and ends.
func (a *app) runResume(ctx context.Context, verb ending, rebootExitCode bool) error {
	d, err := a.device()
	if err != nil {
		return err
	}
	c, err := a.loadConfig()
	if err != nil {
		return err
	}
	w := a.witness(c, d)
	w.before()
	o, err := verb(d, ctx)
	if err = errors.Join(err, w.after(ctx, o, err)); err != nil {
		return err
	}
	return a.reportEnded(o, rebootExitCode)
}

func (a *app) reportEnded(o install.Outcome, rebootExitCode bool) error {
	f := fields{"row": o.Row, "reboot": o.Reboot}
	text := o.Event
	if t := o.Trial; t != nil {
		f["artifact"], f["from"], f["to"] = t.Artifact, t.Source, t.Target
		text = fmt.Sprintf("%s is %s.", t.Artifact, o.Event)
		if t.Drill != "" {
			text = strings.ToUpper(o.Event[:1]) + o.Event[1:] + ": " + t.Why + "."
		}
	}
	a.out.result(o.Event, f, "%s", text)
	if o.Reboot {
		a.out.say("A reboot is needed.")
	}
	if o.Reboot && rebootExitCode {
		return exitCode(exitReboot)
	}
	return nil
}

func (a *app) statusCommand() *cobra.Command {
	var provides bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Say what runs, what is on trial, and what is next",
		Args:  cobra.NoArgs,
		RunE:  a.verb(func(context.Context, []string) error { return a.runStatus(provides) }),
	}
	cmd.Flags().BoolVar(&provides, "provides", false, "print only what the device provides, as lines KEY=VALUE")
	return cmd
}

func (a *app) runStatus(provides bool) error {
	d, err := a.device()
	if err != nil {
		return err
	}
	r, err := d.Status()
	if err != nil {
		return err
	}
	if provides {
		a.printProvides(r)
		return r.Err()
	}
	a.out.result("status", statusFields(r), "%s", statusText(r))
	return r.Err()
}

// provided is all that an artifact can depend on, under Mender's keys.
func provided(r install.Report) map[string]string {
	all := map[string]string{}
	maps.Copy(all, r.Provides)
	for key, value := range map[string]string{"artifact_name": r.Artifact, "artifact_group": r.Group} {
		if delete(all, key); value != "" {
			all[key] = value
		}
	}
	return all
}

// printProvides prints the lines that Mender's show-provides does.
func (a *app) printProvides(r install.Report) {
	all := provided(r)
	a.out.event("provides", fields{"provides": all})
	if a.out.json {
		return
	}
	for _, key := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(a.stdout, "%s=%s\n", key, all[key])
	}
}

func statusFields(r install.Report) fields {
	f := fields{
		"row": r.Row, "meaning": r.Is, "running": r.Running, "boots": r.Boots,
		"on_trial": r.OnTrial, "bootcount": r.Count, "artifact": r.Artifact, "provides": r.Provides, "slots": r.Slots,
	}
	if r.Trial != nil {
		f["trial"] = r.Trial
	}
	if r.Floor != "" {
		f["floor"] = r.Floor
	}
	if len(r.Failed) > 0 {
		f["failed"] = r.Failed
	}
	if r.Drill != nil {
		f["drill"] = r.Drill
	}
	if r.Problem != nil {
		f["problem"] = r.Problem.Error()
	}
	return f
}

func statusText(r install.Report) string {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-10s %s\n", name+":", fmt.Sprintf(format, args...))
	}
	line("state", "%s (row %s)", r.Is, r.Row)
	line("installed", "%s", orUnknown(r.Artifact))
	line("running", "slot %s", orUnknown(r.Running))
	line("next boot", "slot %s", orUnknown(r.Boots))
	for _, name := range slices.Sorted(maps.Keys(r.Slots)) {
		s := r.Slots[name]
		line("slot "+name, "%s", strings.TrimSpace(orUnknown(string(s.Status))+"  "+s.Artifact))
	}
	if t := r.Trial; t != nil {
		why := string(t.Phase)
		if t.Drill != "" {
			why = "a drill"
		}
		if t.Why != "" {
			why += ": " + t.Why
		}
		line("update", "%s, from slot %s to slot %s: %s", t.Artifact, t.Source, t.Target, why)
	}
	if r.Floor != "" {
		line("floor", "%s", r.Floor)
	}
	for _, f := range r.Failed {
		line("failed", "%s: %s, failures: %d, last: %s", f.Artifact, f.Class, f.Count, f.Reason)
	}
	if d := r.Drill; d != nil {
		line("drill", "%s with bootloader %s: %s", passed[d.Passed], d.Version, d.Reason)
	}
	if next, ok := nextStep[r.Do]; ok {
		line("next", "%s", next)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

var passed = map[bool]string{true: "passed", false: "failed"}

// nextStep is what a person does about a row of the table.
var nextStep = map[install.Action]string{
	install.Wait:      "reboot to try it; or take it back with: plimsoll rollback",
	install.HandsOff:  "commit or roll back with the client that installed it",
	install.Attention: "see the manual, docs/safety.md, at this row; write nothing by hand before",
	install.Adopt:     "plimsoll commit, or plimsoll rollback",
	install.Forget:    "plimsoll resume",
	install.Abandon:   "install the artifact again; what was written already is not written twice",
	install.Arm:       "plimsoll resume goes on with it; plimsoll rollback takes it back",
	install.Disarm:    "plimsoll resume",
	install.Judge:     "plimsoll commit, or plimsoll rollback",
	install.Commit:    "plimsoll resume",
	install.Finish:    "plimsoll resume",
	install.Fail:      "plimsoll resume",
	install.Return:    "plimsoll resume",
	install.Reboot:    "reboot",
	install.Prove:     "plimsoll resume; or take it back with: plimsoll rollback",
	install.Restart:   "reboot; or take it back with: plimsoll rollback",
	install.Restore:   "do not switch off; plimsoll resume restores the boot environment",
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}

func (a *app) historyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "history",
		Short: "Say what happened to this device's updates",
		Args:  cobra.NoArgs,
		RunE:  a.verb(func(context.Context, []string) error { return a.runHistory() }),
	}
}

func (a *app) runHistory() error {
	c, err := a.loadConfig()
	if err != nil {
		return err
	}
	events, err := install.History(c.StateDir)
	if err != nil {
		return err
	}
	for _, e := range events {
		a.out.result("history", fields{"entry": e}, "%s", historyLine(e))
	}
	return nil
}

func historyLine(e install.Event) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%4d  %s  %-12s %s", e.Seq, e.Time, e.Event, e.Artifact)
	if e.From != "" && e.To != "" {
		fmt.Fprintf(&b, "  %s → %s", e.From, e.To)
	}
	if e.Detail != "" {
		fmt.Fprintf(&b, "  %s", e.Detail)
	}
	if e.Row != "" {
		fmt.Fprintf(&b, " (row %s)", e.Row)
	}
	return b.String()
}
