package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/plimsoll-ota/plimsoll/artifact"
	"github.com/plimsoll-ota/plimsoll/install"
	"github.com/plimsoll-ota/plimsoll/signing"
	"github.com/plimsoll-ota/plimsoll/udev"
	"github.com/plimsoll-ota/plimsoll/udev/scan"
)

// stickSimulateOptions are the device that is thought of.
type stickSimulateOptions struct {
	deviceType  string
	version     string
	floor       string
	artifact    string
	group       string
	serial      string
	provides    []string
	unversioned string
	keys        []string
}

func (a *app) stickSimulateCommand() *cobra.Command {
	var o stickSimulateOptions
	cmd := &cobra.Command{
		Use:   "simulate DIR",
		Short: "Say what a device would take from a stick, and why not the rest",
		Long: `Simulate says which artifact on the stick that is mounted at DIR a device of that
type would take, that runs that version, and for each other one why it would not.
It reads headers only, as a device does to choose: see verify for the rest. It
asks who signed them only if -k says whom the device trusts.

The exit code is 0 if the device would take one, and 2 if it would take none.`,
		Args: cobra.ExactArgs(1),
		RunE: a.verb(func(ctx context.Context, args []string) error { return a.runStickSimulate(ctx, o, args[0]) }),
	}
	f := cmd.Flags()
	f.StringVar(&o.deviceType, "device-type", "", "type of the device")
	f.StringVar(&o.version, "version", "", "version that it runs (plimsoll.version, else rootfs-image.version)")
	f.StringVar(&o.floor, "floor", "", "lowest version that it takes (plimsoll.floor)")
	f.StringVar(&o.artifact, "artifact-name", "", "name of the artifact that is installed on it")
	f.StringVar(&o.group, "group", "", "group that it is in (artifact_group)")
	f.StringVar(&o.serial, "serial", "", "serial number of the device, for a stick with a list of them")
	f.StringArrayVarP(&o.provides, "provides", "p", nil, "KEY:VALUE that it provides besides")
	f.StringVar(&o.unversioned, "unversioned", "refuse", `"allow" is [stick] unversioned = "allow"`)
	f.StringArrayVarP(&o.keys, "key", "k", nil, "public key that it trusts; may be given several times")
	require(cmd, "device-type", "version")
	return cmd
}

// judge turns the flags into what decides on such a device.
func (o stickSimulateOptions) judge() (stickJudge, error) {
	if o.unversioned != "allow" && o.unversioned != "refuse" {
		return stickJudge{}, fmt.Errorf("--unversioned is allow or refuse, not %q", o.unversioned)
	}
	if o.floor != "" && !isVersion(o.floor) {
		return stickJudge{}, fmt.Errorf("--floor %s: want a version number", o.floor)
	}
	provides := map[string]string{keyVersion: o.version, "rootfs-image.version": o.version}
	for _, p := range o.provides {
		k, v, ok := strings.Cut(p, ":")
		if !ok {
			return stickJudge{}, fmt.Errorf("--provides %s: want KEY:VALUE", p)
		}
		provides[k] = v
	}
	return stickJudge{
		facts:       install.Facts{Type: o.deviceType, Artifact: o.artifact, Group: o.group, Provides: provides, Floor: o.floor},
		unversioned: o.unversioned == "allow",
	}, nil
}

func (o stickSimulateOptions) verifier(say func(string, ...any)) (artifact.Verifier, error) {
	if len(o.keys) > 0 {
		return signing.LoadKeyring(o.keys...)
	}
	say("who signed is not looked at: -k names a key that the device trusts")
	return anySigner{}, nil
}

func (a *app) runStickSimulate(ctx context.Context, o stickSimulateOptions, dir string) error {
	judge, err := o.judge()
	if err != nil {
		return err
	}
	v, err := o.verifier(a.out.say)
	if err != nil {
		return err
	}
	s, tree, err := a.lookAt(dir)
	if err != nil {
		return err
	}
	defer s.Close() // only read
	if o.serial != "" && !tree.Listed(o.serial) {
		a.out.result("simulated", fields{"state": "not listed"},
			"the stick is not for this device: plimsoll/only-serials does not list %s", o.serial)
		return exitCode(exitNothing)
	}
	look := func(f scan.File) (*scan.Candidate, error) {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return s.Look(f, v)
	}
	best, verdicts := udev.Choose(tree.Files, look, judge)
	if best != nil {
		best.Close() // only read
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	for _, v := range verdicts {
		a.verdict(v)
	}
	return a.simulated(o, tree, verdicts)
}

// verdict tells what becomes of one file.
func (a *app) verdict(v udev.Verdict) {
	f := fields{"file": v.File.Name, "artifact": v.Artifact, "version": v.Version, "size": v.File.Size}
	text := v.File.Name + ": "
	if v.Artifact != "" {
		f["manifest"] = v.Manifest
		text += named(v.Artifact, v.Version) + ": "
	}
	switch {
	case v.Chosen:
		f["verdict"] = "taken"
		text += "taken"
	case v.Err != nil:
		f["verdict"], f["why"] = "refused", v.Err.Error()
		text += "refused: " + v.Err.Error()
	default:
		f["verdict"], f["why"] = "passed over", v.Why
		text += "passed over: " + v.Why
	}
	a.out.result("file", f, "%s", text)
}

// simulated tells the outcome, in the words of a device.
func (a *app) simulated(o stickSimulateOptions, tree scan.Result, verdicts []udev.Verdict) error {
	if tree.OnlySerials != nil && o.serial == "" {
		a.out.say("only %d devices take it, which plimsoll/only-serials lists: --serial names one", len(tree.OnlySerials))
	}
	chosen := slices.IndexFunc(verdicts, func(v udev.Verdict) bool { return v.Chosen })
	current := slices.ContainsFunc(verdicts, func(v udev.Verdict) bool { return errors.Is(v.Err, install.ErrCurrent) })
	f, text := fields{}, ""
	switch {
	case chosen >= 0:
		v := verdicts[chosen]
		f["state"], f["file"], f["artifact"], f["version"], f["manifest"] = "takes", v.File.Name, v.Artifact, v.Version, v.Manifest
		text = fmt.Sprintf("such a device takes %s (%s)", named(v.Artifact, v.Version), v.File.Name)
	case current:
		f["state"], text = "up to date", "such a device is up to date"
	default:
		f["state"], text = "nothing here for this device", "nothing here for such a device"
	}
	a.out.result("simulated", f, "%s", text)
	if chosen < 0 {
		return exitCode(exitNothing)
	}
	return nil
}
