package health

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strings"
)

// An Observation is what worked when an update was armed. It is stored in the
// record of the trial, and stays below 16 KiB.
type Observation struct {
	Services  []string  `json:"services,omitempty"`  // that the boot starts, and that were running
	Addresses []Address `json:"addresses,omitempty"` // of network interfaces
	Wired     []string  `json:"wired,omitempty"`     // what else was there: see Host.Observe
	Left      int       `json:"left,omitempty"`      // entries for which there was no room; nobody asks for them
}

// An Address says which kinds of global addresses a network interface has.
type Address struct {
	Interface string `json:"interface"`
	MAC       string `json:"mac,omitempty"` // by which it is known if the new system names it differently
	IPv4      bool   `json:"ipv4,omitempty"`
	IPv6      bool   `json:"ipv6,omitempty"`
}

const (
	maxServiceBytes = 8 << 10 // of names
	maxAddresses    = 32
	maxWired        = 32
)

// Observe records what works now. wired are things that must still be there
// after an update, such as the rule that starts plimsoll for a stick: for each
// name the places where it may be, as patterns of filepath.Match; one will do.
// What could not be seen is the error, and the rest counts all the same.
func (h Host) Observe(ctx context.Context, wired map[string][]string) (Observation, error) {
	var o Observation
	services, err := h.services(ctx)
	if errors.Is(err, errNoSystemd) {
		err = nil
	}
	addresses, netErr := addresses()
	o.fill(services, addresses, h.wired(wired))
	return o, errors.Join(err, netErr)
}

// fill takes as much as there is room for.
func (o *Observation) fill(services []string, addresses []Address, wired []string) {
	room := maxServiceBytes
	for _, s := range services {
		if room -= len(s); room < 0 {
			break
		}
		o.Services = append(o.Services, s)
	}
	o.Addresses = addresses[:min(len(addresses), maxAddresses)]
	o.Wired = wired[:min(len(wired), maxWired)]
	o.Left = len(services) - len(o.Services) + len(addresses) - len(o.Addresses) + len(wired) - len(o.Wired)
}

// services returns the services that run because the boot starts them. What
// somebody's login, message, timer or plugged-in device started runs today and
// need not run tomorrow.
func (h Host) services(ctx context.Context) ([]string, error) {
	out, err := h.systemctl(ctx, "list-units", "--type=service", "--state=running", "--full", "--plain", "--no-legend", "--no-pager")
	if err != nil {
		return nil, err
	}
	names := parseRunning(out)
	if len(names) == 0 {
		return nil, nil
	}
	units, err := h.show(ctx, "Transient,WantedBy,RequiredBy", names...)
	if err != nil {
		return nil, err
	}
	return startedByBoot(names, units), nil
}

// parseRunning reads what list-units prints: UNIT LOAD ACTIVE SUB DESCRIPTION.
func parseRunning(out string) (names []string) {
	for l := range strings.Lines(out) {
		f := strings.Fields(l)
		if len(f) >= 4 && f[3] == "running" && validUnit(f[0]) == nil && strings.HasSuffix(f[0], ".service") {
			names = append(names, f[0])
		}
	}
	return names
}

// startedByBoot returns the names of those units that a target wants or
// requires, or a unit that is itself one of them.
func startedByBoot(names []string, units []unit) []string {
	boot := map[string]bool{}
	for grown := true; grown; {
		grown = false
		for i, u := range units {
			if boot[names[i]] || u["Transient"] == "yes" {
				continue
			}
			for by := range strings.FieldsSeq(u["WantedBy"] + " " + u["RequiredBy"]) {
				if strings.HasSuffix(by, ".target") || boot[by] {
					boot[names[i]], grown = true, true
					break
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(boot))
}

// addresses returns the interfaces that have a global address. Those with one
// far end, tunnels and modems, are up when that is, which is no merit of the
// release.
func addresses() ([]Address, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	var found []Address
	for _, i := range all {
		if i.Flags&(net.FlagLoopback|net.FlagPointToPoint) != 0 {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", i.Name, err)
		}
		a := Address{Interface: i.Name, MAC: i.HardwareAddr.String()}
		for _, addr := range addrs {
			n, ok := addr.(*net.IPNet)
			if !ok || !n.IP.IsGlobalUnicast() {
				continue
			}
			four := n.IP.To4() != nil
			a.IPv4, a.IPv6 = a.IPv4 || four, a.IPv6 || !four
		}
		if a.IPv4 || a.IPv6 {
			found = append(found, a)
		}
	}
	slices.SortFunc(found, func(a, b Address) int { return strings.Compare(a.Interface, b.Interface) })
	return found, nil
}

// wired returns the names of which at least one place holds something.
func (h Host) wired(places map[string][]string) (found []string) {
	for _, name := range slices.Sorted(maps.Keys(places)) {
		for _, pattern := range places[name] {
			if m, err := filepath.Glob(filepath.Join(h.Root, pattern)); err == nil && len(m) > 0 {
				found = append(found, name)
				break
			}
		}
	}
	return found
}
