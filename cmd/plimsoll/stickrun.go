package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/plimsoll-ota/plimsoll/signing"
	"github.com/plimsoll-ota/plimsoll/udev"
	"github.com/plimsoll-ota/plimsoll/udev/report"
	"github.com/plimsoll-ota/plimsoll/udev/tell"
	"github.com/plimsoll-ota/plimsoll/udev/volume"
)

func (a *app) stickRunCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "run DISK",
		Short: "Update this device from a stick (what the unit runs)",
		Long: `Run looks at a disk on the USB bus (sda, say), installs the newest artifact that
is for this device, writes a report onto the stick, unmounts it, and restarts the
device or waits until the stick is pulled out, as [stick] reboot says. It is what
plimsoll-stick@.service runs when a stick is plugged in.

A bench restarts nothing: what was installed is judged at once, and only whoever
called is told, and the hook.

Exit codes:
  0  it went well: updated, restarting, or up to date
  1  failed, went back, or not now
  2  nothing here for this device, or no such disk
  3  the artifact was refused
  5  the device needs attention`,
		Example: `  plimsoll stick run sda`,
		Args:    cobra.ExactArgs(1),
		RunE:    a.verb(func(ctx context.Context, args []string) error { return a.runStick(ctx, args[0]) }),
	}
}

func (a *app) stickUnitsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "units",
		Short: "Print the udev rule, the unit and the tmpfiles entry that start a run",
		Args:  cobra.NoArgs,
		RunE: a.verb(func(context.Context, []string) error {
			for _, u := range udev.Units() {
				a.out.result("unit", fields{"path": u.Path, "text": string(u.Text)}, "# %s\n%s", u.Path, u.Text)
			}
			return nil
		}),
	}
}

// errStickOff is a device that takes nothing from sticks.
var errStickOff = errors.New("this device takes no updates from sticks: [stick] enable = false")

func (a *app) runStick(ctx context.Context, disk string) error {
	stick, err := volume.Find("", disk)
	if errors.Is(err, volume.ErrGone) {
		a.out.say("there is no disk %s: it was pulled out, or never there; lsblk shows those that are", disk)
		return exitCode(exitNothing)
	}
	if err != nil {
		return err
	}
	status := tell.Notify(os.Getenv("NOTIFY_SOCKET"))
	if err := status.Ready(); err != nil {
		a.out.say("%v", err)
	}
	c, err := a.loadConfig()
	if err != nil {
		if a.config == "" && !errors.Is(err, fs.ErrNotExist) { // it is a device, and its own screens are not known
			a.closed(tell.All(tell.Console(defaultStick().Console...), status), tell.Message{State: tell.Failed, Code: tell.Config, Detail: err.Error()})
		}
		return err
	}
	screens := a.screens(c, status)
	if !c.Stick.Enable { // nothing is looked at, so that the light says nothing: it may be anybody's stick
		a.closed(screens, tell.Message{State: tell.Failed, Code: tell.Off})
		return errStickOff
	}
	all := a.tellers(c, screens)
	r, err := a.visit(ctx, c, stick, all, screens)
	a.closed(all)
	if err != nil {
		return err
	}
	return stickExit(r)
}

// screens are those with words: of a bench nobody's but the caller's.
func (a *app) screens(c *config, status tell.Teller) *tell.Several {
	if c.bench() {
		return tell.All(status, a.speaker())
	}
	return tell.All(tell.Console(c.Stick.Console...), status, a.speaker())
}

// closed tells the last there is to tell.
func (a *app) closed(to *tell.Several, last ...tell.Message) {
	for _, m := range last {
		to.Tell(m)
	}
	if err := to.Close(); err != nil {
		a.out.say("%v", err)
	}
}

// visit is one stick's. A device that cannot work with any says so as long as
// this one is in.
func (a *app) visit(ctx context.Context, c *config, stick volume.Stick, all *tell.Several, screens tell.Teller) (udev.Result, error) {
	v, err := a.newVisit(c, stick.Name)
	if err != nil {
		all.Tell(tell.Message{State: tell.Failed, Code: stickCode(err), Detail: err.Error()})
		if stick.WaitGone(ctx) == nil {
			all.Reset()
		}
		return udev.Result{}, err
	}
	v.Tell, v.Queue = all, screens
	r, err := v.Run(ctx)
	if os.Getenv("RUNTIME_DIRECTORY") == "" { // else systemd removes it
		if left := os.Remove(v.Dir); left != nil && !errors.Is(left, fs.ErrNotExist) {
			a.out.say("%v", left)
		}
	}
	return r, err
}

// newVisit wires a visit to this device.
func (a *app) newVisit(c *config, disk string) (*udev.Visit, error) {
	device, err := a.device()
	if err != nil {
		return nil, err
	}
	serial, err := c.Stick.serial(a.env.root)
	if err != nil {
		return nil, err
	}
	write, err := c.Report.options()
	if err != nil {
		return nil, err
	}
	unplugged := c.Stick.Reboot == rebootUnplugged && !device.Bench
	d := &stickDevice{Device: device, config: c, hold: unplugged}
	write.Log = func(report.Report) []byte { return d.log() }
	run := filepath.Join(a.env.root, runDir)
	if err := os.MkdirAll(run, 0o755); err != nil {
		return nil, err
	}
	dir := os.Getenv("RUNTIME_DIRECTORY")
	if dir == "" {
		dir = filepath.Join(run, "stick-"+filepath.Base(disk))
	}
	return &udev.Visit{
		Disk: disk, Dir: dir, Turn: filepath.Join(run, "stick.lock"), Memory: filepath.Join(c.StateDir, "stick.json"),
		Device: d, Trust: device.Trust, Serial: serial, DeviceType: c.DeviceType, Plimsoll: Version,
		WhenUnplugged: unplugged, NeverReboot: c.Stick.Reboot == rebootNever,
		Interval: time.Duration(c.Policy.Interval),
		Store:    &report.Store{Dir: filepath.Join(c.StateDir, "reports"), Note: func(text string) { a.out.say("%s", text) }},
		Write:    write,
		Note:     func(text string) { a.out.say("%s", text) },
	}, nil
}

// options are the keys of reports.
func (r reportConfig) options() (o report.Options, err error) {
	if r.Key != "" {
		if o.Signer, err = signing.LoadPrivateKey(r.Key); err != nil {
			return o, fmt.Errorf("%w: [report] key: %w", errConfig, err)
		}
	}
	if r.LogKey != "" {
		if o.Office, err = report.LoadLogKey(r.LogKey); err != nil {
			return o, fmt.Errorf("%w: [report] log_key: %w", errConfig, err)
		}
	}
	return o, nil
}

// tellers are all that are told: the light, if it is not a bench, and the hook
// beside the screens.
func (a *app) tellers(c *config, screens tell.Teller) *tell.Several {
	s, all := c.Stick, []tell.Teller{screens}
	if s.LED != "" && !c.bench() {
		light := tell.LED(filepath.Join(a.env.root, "/sys/class/leds", s.LED))
		light.Memory = filepath.Join(a.env.root, runDir, "led")
		all = append(all, light)
	}
	if len(s.Hook) > 0 {
		all = append(all, tell.Hook(s.Hook, 0))
	}
	return tell.All(all...)
}

// A speaker tells whoever started the command, and the journal: no progress, and
// nothing twice in a row.
type speaker struct {
	out  *output
	last tell.Message
}

func (a *app) speaker() tell.Teller { return &speaker{out: a.out} }

func (s *speaker) Tell(m tell.Message) {
	if m.Percent != 0 || m == s.last {
		return
	}
	s.last = m
	f := fields{"state": string(m.State), "artifact": m.Artifact, "detail": m.Detail}
	if m.Code != 0 {
		f["code"] = m.Code.String()
	}
	s.out.result("stick", f, "%v", m)
}

// stickExit is the exit code of a result.
func stickExit(r udev.Result) error {
	switch {
	case r.State == tell.Nothing:
		return exitCode(exitNothing)
	case r.State == tell.WentBack:
		return exitCode(exitFailed)
	case r.State != tell.Failed:
		return nil
	case r.Code/10 == 1, r.Code/10 == 2:
		return exitCode(exitRefused)
	case r.Code/10 == 4 && r.Code != tell.TooLarge && r.Code != tell.Busy:
		return exitCode(exitAttention)
	}
	return exitCode(exitFailed)
}
