package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/plimsoll-ota/plimsoll/signing"
	"github.com/plimsoll-ota/plimsoll/udev"
	"github.com/plimsoll-ota/plimsoll/udev/report"
	"github.com/plimsoll-ota/plimsoll/udev/tell"
)

func (a *app) stickRunCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "run DISK",
		Short: "Update this device from a stick (what the unit runs)",
		Long: `Run looks at a disk on the USB bus (sda, say), installs the newest artifact that
is for this device, writes a report onto the stick, unmounts it, and restarts the
device or waits until the stick is pulled out, as [stick] reboot says. It is what
plimsoll-stick@.service runs when a stick is plugged in.`,
		Args: cobra.ExactArgs(1),
		RunE: a.verb(func(ctx context.Context, args []string) error { return a.runStick(ctx, args[0]) }),
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
var errStickOff = errors.New("this device takes nothing from sticks: [stick] enable")

func (a *app) runStick(ctx context.Context, disk string) error {
	c, err := a.loadConfig()
	if err != nil {
		return err
	}
	if !c.Stick.Enable {
		return errStickOff
	}
	status := tell.Notify(os.Getenv("NOTIFY_SOCKET"))
	screens := tell.All(tell.Console(c.Stick.Console...), status, a.speaker())
	all := a.tellers(c.Stick, screens)
	if err := status.Ready(); err != nil {
		a.out.say("%v", err)
	}
	r, err := a.visit(ctx, c, disk, all, screens)
	if closed := all.Close(); closed != nil {
		a.out.say("%v", closed)
	}
	if err != nil {
		return err
	}
	return stickExit(r)
}

// visit is one stick's.
func (a *app) visit(ctx context.Context, c *config, disk string, all, screens tell.Teller) (udev.Result, error) {
	all.Tell(tell.Message{State: tell.Looking})
	v, err := a.newVisit(c, disk)
	if err != nil {
		all.Tell(tell.Message{State: tell.Failed, Code: stickCode(err), Detail: err.Error()})
		return udev.Result{}, err
	}
	v.Tell, v.Queue = all, screens
	return v.Run(ctx)
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
	d := &stickDevice{Device: device, config: c, hold: c.Stick.Reboot == rebootUnplugged}
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
		WhenUnplugged: c.Stick.Reboot == rebootUnplugged, NeverReboot: c.Stick.Reboot == rebootNever,
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

// tellers are all that are told: the light and the hook beside the screens.
func (a *app) tellers(s stickConfig, screens tell.Teller) *tell.Several {
	all := []tell.Teller{screens}
	if s.LED != "" {
		light := tell.LED(filepath.Join(a.env.root, "/sys/class/leds", s.LED))
		light.Memory = filepath.Join(a.env.root, runDir, "led")
		all = append(all, light)
	}
	if len(s.Hook) > 0 {
		all = append(all, tell.Hook(s.Hook, 0))
	}
	return tell.All(all...)
}

// A speaker tells whoever started the command.
type speaker struct{ out *output }

func (a *app) speaker() tell.Teller { return speaker{a.out} }

func (s speaker) Tell(m tell.Message) {
	if m.Percent != 0 {
		return
	}
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
