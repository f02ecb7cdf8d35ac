package health

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// A Host is the system that is looked at. The zero value is the one that runs.
type Host struct {
	Root string // before every path that plimsoll knows by itself; "" is /
}

var errNoSystemd = errors.New("process 1 is not systemd, so that there are no units")

// hasSystemd tells whether systemd is process 1, as sd_booted(3) does.
func (h Host) hasSystemd() bool {
	st, err := os.Lstat(filepath.Join(h.Root, "/run/systemd/system"))
	return err == nil && st.IsDir()
}

// systemctlTime bounds a question to systemd that nothing else bounds.
const systemctlTime = 10 * time.Second

// maxAnswer is more than systemd has to say about everything that is asked here.
const maxAnswer = 512 << 10

// systemctl asks systemd. It speaks to process 1 past the message bus, which may
// be what is broken.
func (h Host) systemctl(ctx context.Context, args ...string) (string, error) {
	if !h.hasSystemd() {
		return "", errNoSystemd
	}
	ctx, cancel := context.WithTimeout(ctx, systemctlTime)
	defer cancel()
	cmd := exec.Command("systemctl", args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "SYSTEMD_COLORS=0", "SYSTEMD_PAGER=", "SYSTEMD_URLIFY=0")
	out, said := &tail{limit: maxAnswer}, &tail{limit: maxSaw}
	cmd.Stdout, cmd.Stderr = out, said
	err := run(ctx, cmd)
	switch {
	case out.lost:
		return "", errors.New("systemctl: more than 512 KiB of output")
	case err != nil:
		return string(out.b), fmt.Errorf("systemctl %s: %w: %s", args[0], err, line(string(said.b), maxSaw))
	}
	return string(out.b), nil
}

// Stopping tells whether the system is on its way down, as far as systemd says
// so. Without systemd, and without an answer, it is not.
func (h Host) Stopping(ctx context.Context) bool {
	out, _ := h.systemctl(ctx, "is-system-running") // which fails in every state but one
	return strings.TrimSpace(out) == "stopping"
}

// A unit is what systemd says of one: its properties.
type unit map[string]string

// show asks for properties of units. The answers are in the order of the names,
// which are not always those that systemd uses.
func (h Host) show(ctx context.Context, properties string, names ...string) ([]unit, error) {
	args := append([]string{"show", "--no-pager", "--property=Id," + properties, "--"}, names...)
	out, err := h.systemctl(ctx, args...)
	if err != nil {
		return nil, err
	}
	units := parseUnits(out)
	if len(units) != len(names) {
		return nil, fmt.Errorf("systemctl show: asked for %d units, and answered for %d", len(names), len(units))
	}
	return units, nil
}

// parseUnits reads blocks of name=value, with an empty line between two.
func parseUnits(out string) (units []unit) {
	for block := range strings.SplitSeq(strings.TrimSpace(out), "\n\n") {
		u := unit{}
		for l := range strings.Lines(block) {
			if k, v, ok := strings.Cut(strings.TrimRight(l, "\r\n"), "="); ok {
				u[k] = v
			}
		}
		if len(u) > 0 {
			units = append(units, u)
		}
	}
	return units
}

// stateProperties are what problem looks at. A systemd that is too old for one
// leaves it out.
const stateProperties = "LoadState,ActiveState,SubState,Result,InvocationID,NRestarts,Job"

// gone tells whether the system does not have the unit, or has it switched off
// for good: nobody expects it to run.
func (u unit) gone() bool {
	return u["LoadState"] == "not-found" || u["LoadState"] == "masked"
}

// problem says why a unit is not active, or "".
func (u unit) problem() string {
	switch {
	case u["LoadState"] == "not-found":
		return "is not known to systemd"
	case u["LoadState"] == "masked":
		return "is masked"
	case u["LoadState"] != "loaded":
		return "cannot be loaded: " + u["LoadState"]
	}
	switch u["ActiveState"] {
	case "active", "reloading", "refreshing":
		return ""
	}
	s := fmt.Sprintf("is %s (%s)", u["ActiveState"], u["SubState"])
	if r := u["Result"]; r != "" && r != "success" {
		s += ", result " + r
	}
	if n := u["NRestarts"]; n != "" && n != "0" {
		s += ", restarted " + n + " times"
	}
	if u["Job"] != "" && u["ActiveState"] == "inactive" {
		s += "; its start is waiting for other units"
	}
	return s
}

// runs knows which run of a unit was seen last. One that crashes and is started
// again between two looks is active in both.
type runs map[string]string

// problem is a unit's, or that it was started again since it was seen active.
func (r runs) problem(name string, u unit) string {
	p, before, now := u.problem(), r[name], u["InvocationID"]
	if p != "" {
		delete(r, name)
		return p
	}
	r[name] = now
	if before != "" && before != now {
		return "was started again between two looks, " + u["NRestarts"] + " times in all"
	}
	return ""
}

// unit holds while a unit is active, without being started again.
func (h Host) unit(name string) Check {
	seen := runs{}
	return Check{Name: "unit " + name, Probe: func(ctx context.Context) error {
		units, err := h.show(ctx, stateProperties, name)
		if err != nil {
			return err
		}
		if p := seen.problem(name, units[0]); p != "" {
			return errors.New(p)
		}
		return nil
	}}
}
