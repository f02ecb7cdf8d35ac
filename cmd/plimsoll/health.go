package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/plimsoll-ota/plimsoll/install"
	"github.com/plimsoll-ota/plimsoll/install/health"
)

// wiredPlaces are what starts plimsoll by itself. What is there before an update
// must be there after it, or there is no next one.
var wiredPlaces = map[string][]string{
	"plimsoll-resume.service": {
		"/etc/systemd/system/*.target.wants/plimsoll-resume.service",
		"/usr/lib/systemd/system/*.target.wants/plimsoll-resume.service",
		"/lib/systemd/system/*.target.wants/plimsoll-resume.service",
	},
	"the rule for sticks": {"/etc/udev/rules.d/*plimsoll*.rules", "/usr/lib/udev/rules.d/*plimsoll*.rules", "/lib/udev/rules.d/*plimsoll*.rules"},
}

// wireHealth lets the health checks judge a device. On a bench, which has no
// services of its own, only what the configuration asks for is asked.
func (a *app) wireHealth(c *config, d *install.Device) {
	host := health.Host{Root: a.env.root}
	if !d.Bench {
		d.Observe = func() json.RawMessage {
			o, err := host.Observe(context.Background(), wiredPlaces)
			if err != nil {
				a.out.say("what works now could not all be seen: %v", err)
			}
			b, err := json.Marshal(o)
			if err != nil {
				panic("plimsoll: " + err.Error()) // strings and numbers
			}
			return b
		}
	}
	d.Health = func(ctx context.Context, before json.RawMessage) error {
		checks := c.Health.checks().Checks(host)
		if !d.Bench {
			more, err := a.alwaysAsked(c, d, host, before)
			if err != nil {
				return err
			}
			checks = append(checks, more...)
		}
		if len(checks) == 0 {
			return nil
		}
		return a.judge(ctx, c, d, host, checks)
	}
}

// alwaysAsked are the checks that no configuration takes away, but for what
// worked before.
func (a *app) alwaysAsked(c *config, d *install.Device, host health.Host, recorded json.RawMessage) ([]health.Check, error) {
	checks := []health.Check{
		{Name: "configuration", Probe: func(context.Context) error {
			again, err := a.loadConfig()
			if err != nil {
				return err
			}
			_, err = again.keyring()
			return err
		}},
		{Name: "boot environment", Probe: func(context.Context) error { return d.CheckEnvironment() }},
		{Name: "state directory", Probe: func(context.Context) error { return d.CheckStateDir() }},
	}
	if recorded == nil {
		return checks, nil // armed by a release that recorded nothing, or the record was lost
	}
	var before health.Observation
	if err := json.Unmarshal(recorded, &before); err != nil {
		a.out.say("what worked before the update cannot be read: %v", err)
		return checks, nil
	}
	checks = append(checks, host.Wired(before, wiredPlaces))
	if c.Health.Compare {
		checks = append(checks, host.Compare(before)...)
	}
	return checks, nil
}

// judge asks until there is a verdict.
func (a *app) judge(ctx context.Context, c *config, d *install.Device, host health.Host, checks []health.Check) error {
	o := c.Health.options()
	o.Stopping = host.Stopping
	if d.Bench { // it does not boot: its time begins now
		begun := health.SinceBoot()
		o.Now = func() time.Duration { return health.SinceBoot() - begun }
		o.Stopping = nil
	}
	verdict, err := health.Run(ctx, checks, o, func(change health.Change) {
		if change.Holds {
			a.out.say("%s: holds", change.Check)
		} else {
			a.out.say("%s: %s", change.Check, change.Saw)
		}
	})
	if err != nil {
		return err
	}
	for _, remark := range verdict.Remarks {
		a.out.say("%s", remark)
	}
	if !verdict.Healthy {
		return fmt.Errorf("%w: %s", errUnhealthy, verdict.Reason())
	}
	return nil
}

var errUnhealthy = errors.New("unhealthy")
