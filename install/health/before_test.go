package health

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A fakeSystemd is a systemctl that stands first in PATH, and answers from
// files: there is no systemd on the machine that runs the tests. The boards of
// cmd/plimsoll/boards have a real one.
type fakeSystemd struct {
	Host
	t   *testing.T
	dir string
}

const fakeSystemctl = `#!/bin/sh
dir=$(dirname "$0")
verb=$1; shift
[ "$LC_ALL" = C ] || exit 99
[ -e "$dir/hang" ] && sleep 1000
if [ -e "$dir/fail" ]; then echo "Failed to connect to bus: Host is down" >&2; exit 1; fi
case $verb in
is-system-running) cat "$dir/state"; [ "$(cat "$dir/state")" = running ] ;;
list-units) cat "$dir/list" ;;
show)
	while [ "$1" != -- ]; do shift; done; shift
	for name do
		if [ -e "$dir/unit:$name" ]; then cat "$dir/unit:$name"; else printf 'Id=%s\nLoadState=not-found\nActiveState=inactive\nSubState=dead\n' "$name"; fi
		echo
	done ;;
*) exit 98 ;;
esac
`

func newFakeSystemd(t *testing.T) fakeSystemd {
	t.Helper()
	f := fakeSystemd{Host{t.TempDir()}, t, t.TempDir()}
	if err := os.MkdirAll(filepath.Join(f.Root, "run/systemd/system"), 0o755); err != nil {
		t.Fatal(err)
	}
	// No other test of this package runs at the same time, so that no child of
	// theirs holds the script open for writing while it is started.
	if err := os.WriteFile(filepath.Join(f.dir, "systemctl"), []byte(fakeSystemctl), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", f.dir+":"+os.Getenv("PATH"))
	return f
}

func (f fakeSystemd) write(name, text string) {
	f.t.Helper()
	if err := os.WriteFile(filepath.Join(f.dir, name), []byte(text), 0o644); err != nil {
		f.t.Fatal(err)
	}
}

func (f fakeSystemd) unit(name, state, sub, more string) {
	f.t.Helper()
	f.write("unit:"+name, fmt.Sprintf("Id=%s\nLoadState=loaded\nActiveState=%s\nSubState=%s\n%s", name, state, sub, more))
}

func TestUnit(t *testing.T) {
	f := newFakeSystemd(t)
	c := f.Host.unit("app.service")
	probe(t, c, "is not known to systemd")
	f.unit("app.service", "activating", "auto-restart", "Result=exit-code\nNRestarts=7\nInvocationID=\n")
	probe(t, c, "is activating (auto-restart), result exit-code, restarted 7 times")
	f.unit("app.service", "failed", "failed", "Result=signal\nNRestarts=0\n")
	probe(t, c, "is failed (failed), result signal")
	f.unit("app.service", "inactive", "dead", "Result=success\nJob=123\n")
	probe(t, c, "is inactive (dead); its start is waiting for other units")
	f.write("unit:app.service", "Id=app.service\nLoadState=masked\nActiveState=inactive\n")
	probe(t, c, "is masked")
	f.write("unit:app.service", "Id=app.service\nLoadState=bad-setting\nActiveState=inactive\n")
	probe(t, c, "cannot be loaded: bad-setting")
	f.unit("app.service", "active", "exited", "") // an old systemd: no InvocationID
	probe(t, c, "")
	f.unit("app.service", "active", "running", "InvocationID=aa\nNRestarts=0\n")
	probe(t, c, "")
	f.unit("app.service", "reloading", "reload", "InvocationID=aa\nNRestarts=0\n")
	probe(t, c, "")
	f.unit("app.service", "active", "running", "InvocationID=bb\nNRestarts=1\n")
	probe(t, c, "was started again between two looks, 1 times in all")
	probe(t, c, "")
}

func TestSystemdIsNotThere(t *testing.T) {
	f := newFakeSystemd(t)
	f.write("fail", "")
	probe(t, f.Host.unit("app.service"), "systemctl show: exit status 1: Failed to connect to bus: Host is down")
	if err := os.Rename(filepath.Join(f.dir, "fail"), filepath.Join(f.dir, "hang")); err != nil {
		t.Fatal(err)
	}
	if took := probeFor(t, short, f.Host.unit("app.service"), "did not end in time"); took > long {
		t.Errorf("took %v", took)
	}
	none := Host{t.TempDir()}
	probe(t, none.unit("app.service"), "process 1 is not systemd")
	if o, err := none.Observe(t.Context(), nil); err != nil || len(o.Services) > 0 {
		t.Errorf("observed %+v, %v", o, err)
	}
	for _, c := range none.Compare(Observation{Services: []string{"app.service"}}) {
		probe(t, c, "process 1 is not systemd")
	}
}

func TestStopping(t *testing.T) {
	f := newFakeSystemd(t)
	for state, want := range map[string]bool{"stopping": true, "running": false, "degraded": false, "starting": false, "maintenance": false, "": false} {
		f.write("state", state+"\n")
		if got := f.Stopping(t.Context()); got != want {
			t.Errorf("%q: got %v", state, got)
		}
	}
	f.write("state", "stopping\n")
	if (Host{t.TempDir()}).Stopping(t.Context()) {
		t.Error("stopping, without systemd")
	}
	f.write("fail", "")
	if f.Stopping(t.Context()) {
		t.Error("stopping, without an answer")
	}
}

// board is what a device runs when a technician is logged in: the first five are
// started by the boot.
var board = []struct{ name, by string }{
	{"app.service", "WantedBy=multi-user.target\nRequiredBy="},
	{"database.service", "WantedBy=\nRequiredBy=app.service"},
	{"getty@tty1.service", "WantedBy=getty.target\nRequiredBy="},
	{"journal.service", "WantedBy=journal.socket sysinit.target\nRequiredBy="},
	{"plugin.service", "WantedBy=database.service\nRequiredBy="},
	{"helper.service", "WantedBy=session-2.scope\nRequiredBy="},
	{"hostnamed.service", "WantedBy=\nRequiredBy="},
	{"run-r0123.service", "Transient=yes\nWantedBy=multi-user.target"},
	{"ssh@3-10.0.0.1:22-10.0.0.2:5000.service", "WantedBy=\nRequiredBy="},
	{"stick@sda1.service", "WantedBy=dev-sda1.device\nRequiredBy="},
	{"user@1000.service", "WantedBy=session-2.scope\nRequiredBy="},
}

func (f fakeSystemd) boot() {
	f.t.Helper()
	list := "noise.service loaded failed failed A thing\nscreen.scope loaded active running Not a service\nshort line\n"
	for _, s := range slices.Backward(board) {
		list += s.name + " loaded active running Some words\n"
		f.write("unit:"+s.name, "Id="+s.name+"\n"+s.by+"\n")
	}
	f.write("list", list)
}

func TestObserve(t *testing.T) {
	f := newFakeSystemd(t)
	f.boot()
	places := map[string][]string{
		"stick rule":  {"/usr/lib/udev/rules.d/90-stick.rules", "/etc/udev/rules.d/90-stick.rules"},
		"resume unit": {"/etc/systemd/system/*.wants/plimsoll-resume.service"},
		"other":       {"/nowhere"},
	}
	for _, p := range []string{"etc/udev/rules.d/90-stick.rules", "etc/systemd/system/multi-user.target.wants/plimsoll-resume.service"} {
		p = filepath.Join(f.Root, p)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	o, err := f.Observe(t.Context(), places)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, s := range board[:5] {
		want = append(want, s.name)
	}
	if !slices.Equal(o.Services, want) || !slices.Equal(o.Wired, []string{"resume unit", "stick rule"}) || o.Left != 0 {
		t.Errorf("got %+v", o)
	}
	b, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	var back Observation
	if err := json.Unmarshal(b, &back); err != nil || !slices.Equal(back.Services, o.Services) || !slices.Equal(back.Addresses, o.Addresses) {
		t.Errorf("%s became %+v (%v)", b, back, err)
	}

	wired := f.Wired(o, places)
	probe(t, wired, "")
	if err := os.Remove(filepath.Join(f.Root, "etc/udev/rules.d/90-stick.rules")); err != nil {
		t.Fatal(err)
	}
	probe(t, wired, "stick rule is not there")
	delete(places, "stick rule") // a release that does not know it
	probe(t, f.Wired(o, places), "")
	probe(t, f.Wired(Observation{}, places), "")

	f.write("fail", "")
	if o, err := f.Observe(t.Context(), places); err == nil || len(o.Services) > 0 || !slices.Equal(o.Wired, []string{"resume unit"}) {
		t.Errorf("got %+v, %v", o, err)
	}
}

func TestObservationIsBounded(t *testing.T) {
	var services, wired []string
	var addrs []Address
	for i := range 1000 {
		services = append(services, fmt.Sprintf("%0200d.service", i))
		wired = append(wired, fmt.Sprint(i))
		addrs = append(addrs, Address{fmt.Sprintf("interface%d", i), "02:00:00:00:00:00", true, true})
	}
	var o Observation
	o.fill(services, addrs, wired)
	b, err := json.Marshal(o)
	if err != nil || len(b) > 16<<10 {
		t.Errorf("%d bytes (%v)", len(b), err)
	}
	if got := len(o.Services) + len(o.Addresses) + len(o.Wired) + o.Left; got != 3000 || len(o.Services) < 30 {
		t.Errorf("%d of 3000 are accounted for; %d services", got, len(o.Services))
	}
}

func TestCompareServices(t *testing.T) {
	f := newFakeSystemd(t)
	f.unit("app.service", "active", "running", "InvocationID=aa\n")
	f.unit("web.service", "active", "running", "InvocationID=aa\n")
	f.write("unit:masked.service", "Id=masked.service\nLoadState=masked\nActiveState=inactive\n")
	// An alias: systemd answers with another name.
	f.write("unit:sshd.service", "Id=ssh.service\nLoadState=loaded\nActiveState=active\nSubState=running\nInvocationID=cc\n")
	checks := f.Compare(Observation{Services: []string{"app.service", "gone.service", "masked.service", "sshd.service", "web.service"}})
	if len(checks) != 1 {
		t.Fatalf("%d checks", len(checks))
	}
	c := checks[0]
	probe(t, c, "")
	want := []string{"gone.service ran before the update, and is not known to systemd now", "masked.service ran before the update, and is masked now"}
	if got := c.Remarks(); !slices.Equal(got, want) {
		t.Errorf("remarks %q", got)
	}
	f.unit("web.service", "failed", "failed", "Result=exit-code\n")
	probe(t, c, "web.service is failed (failed), result exit-code")
	f.unit("web.service", "active", "running", "InvocationID=bb\n")
	f.unit("app.service", "active", "running", "InvocationID=bb\nNRestarts=3\n")
	probe(t, c, "app.service was started again between two looks, 3 times in all")
	probe(t, c, "")
	if n := len(f.Compare(Observation{})); n != 0 {
		t.Errorf("nothing was observed, and %d checks of it", n)
	}
}

func TestParseUnits(t *testing.T) {
	for _, out := range []string{"", "\n\n\n", "x\n\ny\n"} {
		if got := parseUnits(out); len(got) != 0 {
			t.Errorf("%q: got %v", out, got)
		}
	}
	got := parseUnits("Id=a.service\nA=b=c\n\nId=b.service\nEmpty=\n\n")
	if len(got) != 2 || got[0]["A"] != "b=c" || got[1]["Id"] != "b.service" {
		t.Errorf("got %v", got)
	}
	f := newFakeSystemd(t)
	f.write("unit:a.service", "")
	probe(t, f.Host.unit("a.service"), "asked for 1 units, and answered for 0")
	f.write("unit:a.service", strings.Repeat("x", 600<<10))
	probe(t, f.Host.unit("a.service"), "more than 512 KiB of output")
}

func TestMissingAddresses(t *testing.T) {
	eth := Address{"eth0", "02:00:00:00:00:01", true, true}
	link := func(name string) string { return " (" + name + ")" }
	for _, c := range []struct {
		name   string
		before Address
		now    []Address
		want   string
	}{
		{"as before", eth, []Address{eth}, ""},
		{"renamed", eth, []Address{{"end0", eth.MAC, true, true}}, ""},
		{"another address of hardware", eth, []Address{{"eth0", "02:00:00:00:00:09", true, true}}, ""},
		{"the other interface", eth, []Address{{"eth1", "02:00:00:00:00:02", true, true}}, "eth0 has no address, neither IPv4 nor IPv6 (eth0)"},
		{"gone", eth, nil, "eth0 has no address, neither IPv4 nor IPv6 (eth0)"},
		{"no IPv4", eth, []Address{{"eth0", eth.MAC, false, true}}, "eth0 has no IPv4 address (eth0)"},
		{"no IPv6", eth, []Address{{"eth0", eth.MAC, true, false}}, "eth0 has no global IPv6 address (eth0)"},
		{"never had IPv6", Address{"eth0", "", true, false}, []Address{{"eth0", "", true, false}}, ""},
		{"no hardware address is not the same one", Address{"a", "", true, false}, []Address{{"b", "", true, false}}, "a has no IPv4 address (a)"},
	} {
		if got := strings.Join(missingAddresses([]Address{c.before}, c.now, link), "; "); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

// TestAddresses has a real interface, in a network of its own.
func TestAddresses(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can make a network")
	}
	runtime.LockOSThread() // and never unlocked: the thread ends with the test, and its network with it
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skipf("no network of our own: %v", err)
	}
	const name = "test0"
	ip := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %q: %v: %s", args, err, out)
		}
	}
	look := func() []Address {
		t.Helper()
		all, err := addresses()
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	ip("link", "add", name, "type", "bridge")
	ip("link", "set", "lo", "up")
	ip("addr", "add", "192.0.2.8/32", "dev", "lo")
	if _, err := os.Stat("/dev/net/tun"); err == nil {
		ip("tuntap", "add", "dev", "tun0", "mode", "tun")
		ip("addr", "add", "192.0.2.9/32", "dev", "tun0")
		ip("link", "set", "tun0", "up")
	}
	if got := look(); len(got) != 0 {
		t.Errorf("only a loopback and a tunnel have addresses: %+v", got)
	}
	if got := link(name); got != " (it is not up)" {
		t.Errorf("not up: %q", got)
	}
	ip("link", "set", name, "up")
	ip("addr", "add", "169.254.7.7/16", "dev", name)
	if got := look(); len(got) != 0 {
		t.Errorf("only link-local: %+v", got)
	}
	ip("addr", "add", "192.0.2.7/24", "dev", name)
	i, err := net.InterfaceByName(name)
	if err != nil {
		t.Fatal(err)
	}
	before := look()
	if want := []Address{{name, i.HardwareAddr.String(), true, false}}; !slices.Equal(before, want) {
		t.Fatalf("got %+v, want %+v", before, want)
	}
	check := (Host{}).Compare(Observation{Addresses: before})[0]
	probe(t, check, "")
	ip("addr", "del", "192.0.2.7/24", "dev", name)
	probe(t, check, name+" has no IPv4 address")
	ip("link", "add", "test1", "type", "veth", "peer", "name", "test2")
	ip("link", "set", "test1", "up")
	if got := link("test1"); got != " (it has no link: cable, radio)" {
		t.Errorf("the other end is down: %q", got)
	}
	ip("addr", "add", "fd00::7/64", "dev", name, "nodad")
	if got := look(); len(got) != 1 || !got[0].IPv6 || got[0].IPv4 {
		t.Errorf("IPv6: %+v", got)
	}
	ip("link", "del", name)
	probe(t, check, name+" has no IPv4 address (there is no such interface)")
}
