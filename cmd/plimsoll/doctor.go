package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/plimsoll-ota/plimsoll/bootloader"
	"github.com/plimsoll-ota/plimsoll/bootloader/board"
	"github.com/plimsoll-ota/plimsoll/install"
	"github.com/plimsoll-ota/plimsoll/install/doctor"
	"github.com/plimsoll-ota/plimsoll/partition"
)

type doctorOptions struct {
	repairEnv bool
	drill     bool
	artifact  string
	noReboot  bool
}

func (a *app) doctorCommand() *cobra.Command {
	var o doctorOptions
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Examine this device: whether its updates can be trusted",
		Long: `Doctor examines a device: slots, boot environment, who counts boots and falls
back, state directory, keys, watchdog, units and medium. For each check it
prints a line: ok, warning or problem, and what to do about what is not ok. The
checks are explained in docs/doctor.md. Nothing is changed.

It ends with 0 where there is no problem, and with 5 where there is one.

With --repair-env it makes both copies of the boot environment valid again: from
the other copy where one is valid, else from the backup that the last
installation left in the state directory.

With --drill it does the real thing on a device that works: the inactive slot is
started once, gives no verdict, and the bootloader must come back by itself. The
device starts twice. The inactive slot must hold what was installed there; else
--artifact is installed into it first, whatever its version. Nothing of it is
kept. How it ended is remembered for this version of the bootloader.`,
		Example: `  plimsoll doctor
  plimsoll doctor --drill --artifact /media/usb/release-8.mender`,
		Args: cobra.NoArgs,
		PreRunE: func(*cobra.Command, []string) error {
			if !o.drill && (o.artifact != "" || o.noReboot) {
				return errors.New("--artifact and --no-reboot are for --drill")
			}
			return nil
		},
		RunE: a.verb(func(ctx context.Context, _ []string) error {
			switch {
			case o.repairEnv:
				return a.runRepairEnv(ctx)
			case o.drill:
				return a.runDrill(ctx, o)
			}
			return a.runDoctor()
		}),
	}
	f := cmd.Flags()
	f.BoolVar(&o.repairEnv, "repair-env", false, "make both copies of the boot environment valid again")
	f.BoolVar(&o.drill, "drill", false, "let the bootloader fall back once, and reboot")
	f.StringVar(&o.artifact, "artifact", "", "install this into the inactive slot for the drill")
	f.BoolVar(&o.noReboot, "no-reboot", false, "leave the reboot that begins the drill to somebody else")
	cmd.MarkFlagsMutuallyExclusive("repair-env", "drill")
	return cmd
}

func (a *app) runDoctor() error {
	count := map[doctor.Level]int{}
	for _, r := range doctor.Examine(a.world()) {
		count[r.Level]++
		a.out.result("check", resultFields(r), "%-8s %s: %s", r.Level, r.Check, r.Found)
		if a.out.json {
			continue
		}
		for _, more := range []string{r.Means, r.Do} {
			if more != "" {
				fmt.Fprintf(a.stdout, "         %s\n", more)
			}
		}
	}
	oks, warnings, problems := count[doctor.OK], count[doctor.Warning], count[doctor.Problem]
	a.out.result("doctor", fields{"ok": oks, "warnings": warnings, "problems": problems},
		"%d checks: %d ok, warnings: %d, problems: %d", oks+warnings+problems, oks, warnings, problems)
	if problems > 0 {
		return exitCode(exitAttention)
	}
	return nil
}

func resultFields(r doctor.Result) fields {
	f := fields{"check": r.Check, "level": r.Level, "found": r.Found}
	if r.Means != "" {
		f["means"], f["do"] = r.Means, r.Do
	}
	return f
}

// world opens as much of the device as there is.
func (a *app) world() doctor.World {
	w := doctor.World{
		Root: a.env.root, Now: time.Now(), Built: built(), Device: &install.Device{},
		Config: doctor.Config{Path: a.config},
	}
	c, err := a.loadConfig()
	if err != nil {
		w.Config.Err = err
		return w
	}
	if w.Config.Path == "" {
		w.Config.Path = filepath.Join(a.env.root, defaultConfig)
		if _, err := os.Stat(w.Config.Path); errors.Is(err, fs.ErrNotExist) {
			w.Config.Path = "a Mender client's configuration"
		}
	}
	w.Config.FwEnv, w.Config.SingleCopy = c.Bootloader.FwEnvConfig, c.Bootloader.SingleCopy
	w.Config.Unsigned, w.Config.Slots = c.Trust.AllowUnsigned, c.spec()
	w.Config.Deadline, w.Device.Data = time.Duration(c.Health.Deadline), c.data()
	d := w.Device
	d.Type, d.StateDir, d.TrialBoots, d.Bench = c.DeviceType, c.StateDir, c.Trial.Boots, c.bench()
	if ring, err := c.keyring(); err != nil {
		w.Config.KeysErr = err
	} else {
		d.Trust, w.Config.Keys = ring, len(ring.Keys)
	}
	var host partition.Host
	d.Slots, w.Slots = c.slots(host)
	if w.UBoot, w.Boot = c.bootloader(); w.Boot == nil {
		d.Boot = w.UBoot
	}
	w.Board = doctor.Board{Script: c.scriptID(), Commands: c.Bootloader.Commands}
	return w
}

// scriptID is the identity of the boot script that this release has for the
// device's board: the one that is configured, else the one that is called as
// the device's type is. It is "" where the bootloader needs none.
func (c *config) scriptID() string {
	name := c.Bootloader.Board
	if name == "" {
		name = c.DeviceType
	}
	if c.Bootloader.Counter == bootloader.CounterNative {
		return ""
	}
	p, err := board.Load(name)
	if err != nil {
		return "" // a board of somebody's own
	}
	return p.ScriptID()
}

// built is when this program was made, or came to the device.
func built() time.Time {
	st, err := os.Stat("/proc/self/exe")
	if err != nil {
		return time.Time{}
	}
	return st.ModTime()
}

func (a *app) runDrill(ctx context.Context, o doctorOptions) error {
	d, err := a.device()
	if err != nil {
		return err
	}
	var src io.Reader
	if o.artifact != "" {
		f, _, err := a.open(ctx, o.artifact)
		if err != nil {
			return &install.Error{Step: install.StepRead, Err: err}
		}
		defer f.Close() // only read
		src = f
	}
	out, err := d.Drill(ctx, src)
	if err != nil {
		return err
	}
	t, reboot := out.Trial, !o.noReboot && d.Reboot != nil
	a.out.result("drill", fields{"artifact": t.Artifact, "from": t.Source, "to": t.Target, "reboot": reboot},
		"The drill is armed: the next start is of slot %s, and the one after it must be of slot %s again.", t.Target, t.Source)
	if !reboot {
		a.out.say("Reboot to begin it. After two starts, plimsoll doctor says how it ended.")
		return nil
	}
	a.out.say("Rebooting. After two starts, plimsoll doctor says how it ended.")
	if err := d.Reboot(); err != nil {
		return fmt.Errorf("%w: the drill is armed; reboot: %w", install.ErrAttention, err)
	}
	return nil
}

func (a *app) runRepairEnv(ctx context.Context) error {
	d, err := a.device()
	if err != nil {
		return err
	}
	done, err := d.RepairEnvironment(ctx)
	if err != nil {
		return err
	}
	text := "One copy of the boot environment was damaged; both are valid again."
	if done == "restored" {
		text = "Both copies of the boot environment were lost; they are restored from the backup."
	}
	a.out.result("environment", fields{"done": done}, "%s", text)
	return nil
}
