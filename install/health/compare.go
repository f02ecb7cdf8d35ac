package health

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
)

// Compare returns the checks that what worked before works now: the services,
// and the addresses. A service that the new system does not have, or has
// masked, was removed on purpose: that is a remark.
func (h Host) Compare(before Observation) []Check {
	var all []Check
	if len(before.Services) > 0 {
		all = append(all, h.compareServices(before.Services))
	}
	if len(before.Addresses) > 0 {
		all = append(all, Check{Name: "network as before the update", Probe: func(context.Context) error {
			now, err := addresses()
			if err != nil {
				return err
			}
			return sentence(missingAddresses(before.Addresses, now, link))
		}})
	}
	return all
}

func (h Host) compareServices(names []string) Check {
	seen, remarks := runs{}, []string(nil)
	return Check{
		Name: "services as before the update",
		Probe: func(ctx context.Context) error {
			units, err := h.show(ctx, stateProperties, names...)
			if err != nil {
				return err
			}
			var missing []string
			missing, remarks = missingServices(names, units, seen)
			return sentence(missing)
		},
		Remarks: func() []string { return remarks },
	}
}

func missingServices(names []string, units []unit, seen runs) (missing, remarks []string) {
	for i, u := range units {
		if u.gone() {
			remarks = append(remarks, fmt.Sprintf("%s ran before the update, and %s now", names[i], u.problem()))
		} else if p := seen.problem(names[i], u); p != "" {
			missing = append(missing, names[i]+" "+p)
		}
	}
	return missing, remarks
}

// missingAddresses says what an interface had and has not, and what link says of
// it. An interface is known by its name, and else by its hardware address: a new
// release may name it differently.
func missingAddresses(before, now []Address, link func(name string) string) (missing []string) {
	for _, b := range before {
		var have Address
		i := slices.IndexFunc(now, func(a Address) bool { return a.Interface == b.Interface })
		if i < 0 && b.MAC != "" {
			i = slices.IndexFunc(now, func(a Address) bool { return a.MAC == b.MAC })
		}
		if i >= 0 {
			have = now[i]
		}
		has := ""
		switch {
		case b.IPv4 && !have.IPv4 && b.IPv6 && !have.IPv6:
			has = " has no address, neither IPv4 nor IPv6"
		case b.IPv4 && !have.IPv4:
			has = " has no IPv4 address"
		case b.IPv6 && !have.IPv6:
			has = " has no global IPv6 address"
		default:
			continue
		}
		missing = append(missing, b.Interface+has+link(b.Interface))
	}
	return missing
}

// link says what else is wrong with an interface, for whoever looks for the
// reason: a cable that was pulled is no fault of the release, and looks the same.
func link(name string) string {
	i, err := net.InterfaceByName(name)
	switch {
	case err != nil:
		return " (there is no such interface)"
	case i.Flags&net.FlagUp == 0:
		return " (it is not up)"
	case i.Flags&net.FlagRunning == 0:
		return " (it has no link: cable, radio)"
	}
	return ""
}

// Wired returns the check that what was wired into the system before the update
// is so now; places are as for Observe. What the new plimsoll knows no places
// for is not asked for.
func (h Host) Wired(before Observation, places map[string][]string) Check {
	return Check{Name: "wired in as before the update", Probe: func(context.Context) error {
		have := h.wired(places)
		var missing []string
		for _, name := range before.Wired {
			if _, known := places[name]; known && !slices.Contains(have, name) {
				missing = append(missing, name+" is not there")
			}
		}
		return sentence(missing)
	}}
}

// sentence makes one error of what is missing; of nothing it makes none.
func sentence(missing []string) error {
	const most = 4
	if len(missing) == 0 {
		return nil
	}
	s := strings.Join(missing[:min(len(missing), most)], ", ")
	if more := len(missing) - most; more > 0 {
		s += fmt.Sprintf(", and %d more", more)
	}
	return errors.New(s)
}
