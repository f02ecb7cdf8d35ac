package boards

import (
	"fmt"
	"strings"

	"github.com/plimsoll-ota/plimsoll/cmd/internal/machine"
)

// The data of a device that are taken across its updates: who it is, which its
// root file system holds, and what an application keeps on the data partition.
const (
	identity = "/etc/app/key"
	ofDevice = "of this device\n"
	declared = `
[data]
carry = ["/etc/app"]
snapshot = ["/data/app"]
`
	// makes, migrates and looks at the application's data.
	makeApp = `
mkdir -m 750 /data/app && cd /data/app && mkdir -m 711 sub
echo of 1.0.0 > format; chmod 600 format; chown 7:8 format
dd if=/dev/urandom of=db bs=1000 count=77 2> /dev/null
echo deleted later > sub/old; ln -s ../format sub/link
`
	migrateApp = `
cd /data/app
echo of 2.0.0 > format; chmod 644 format; chown 0:0 format
dd if=/dev/urandom of=db bs=1000 count=99 conv=notrunc 2> /dev/null
rm -r sub; echo created > new; sync
`
	lookAtApp = `
cd /data/app
find . | sort | xargs stat -c '%N %F %a %u:%g %Y'
find . -type f | sort | xargs sha256sum
`
)

// hasData makes the application's data, declares what is to be taken across the
// next update, and returns what is there.
func (b *board) hasData() (app string) {
	b.Helper()
	b.do(makeApp)
	b.do("cat >> /etc/plimsoll/plimsoll.toml <<'END'" + declared + "END")
	return b.do(lookAtApp)
}

// dataIs checks the application's data, and that no copies are left.
func (b *board) dataIs(want string) {
	b.Helper()
	if got := b.do(lookAtApp); got != want {
		b.Errorf("the data are\n%s, and were\n%s", got, want)
	}
	b.noCopies()
}

func (b *board) noCopies() {
	b.Helper()
	if out := b.do("ls -A /data/plimsoll"); strings.Contains(out, "carry") || strings.Contains(out, "snapshot") {
		b.Errorf("copies are left in the state directory:\n%s", out)
	}
}

// fellBack switches on a board with a trial that goes back in its first boot,
// and makes sure that whoever asks the old system is told why.
func (b *board) fellBack(because string) {
	b.Helper()
	b.power()
	b.expect(`boot 1 of 3 of slot B, on trial`)
	b.expect(machine.Banner)
	b.up()
	s := b.runs(systemd1, "A", "H1")
	if s.Trial == nil || s.Trial.Class != "bad" || len(s.Failed) != 1 || strings.Contains(b.m.Log(), "boot 2 of 3") {
		b.Errorf("status: %+v", s)
	}
	for _, verb := range []string{"status", "history"} {
		if out := b.do("plimsoll " + verb); !strings.Contains(out, because) {
			b.Errorf("plimsoll %s does not say %q:\n%s", verb, because, out)
		}
	}
	if _, s := b.environment(); s.Valid != 2 || s.Trial || s.Part != 2 || s.ID != "" {
		b.Errorf("environment: %+v", s)
	}
}

// asks has a trial asked by the health checks of a configuration. They give up
// 45 s after plimsoll was started: how long a boot takes depends on
// what else this machine does.
func asks(health string) map[string]string {
	return map[string]string{"/etc/guest-hook": `
read -r uptime _ < /proc/uptime
{
  cat /etc/plimsoll/plimsoll.toml
  cat
  echo "deadline = \"$((${uptime%.*} + 45))s\""
} > /run/plimsoll.toml <<'END'
[health]
stable = "0s"
` + health + `
END
mount -o bind /run/plimsoll.toml /etc/plimsoll/plimsoll.toml
`}
}

// writable is a root file system that is mounted for writing, as most are.
var writable = map[string]string{
	etcUnits + "local-fs.target.d/root.conf": "[Unit]\nWants=systemd-remount-fs.service\n",
	etcUnits + "systemd-remount-fs.service": `
[Unit]
DefaultDependencies=no
Before=local-fs.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/mount -o remount,rw /
`}

// mountsOver is a system in which the application's data are a mount point.
var mountsOver = fstab(dataMount, varMount, "tmpfs /data/app tmpfs defaults 0 0\n")

// migrates has a release migrate the application's data when it starts, with an
// exit code.
func migrates(exit int) map[string]string {
	return service("migrate", "cp "+identity+" /data/carried"+migrateApp+fmt.Sprintf("exit %d\n", exit))
}

// sees has a release look at the application's data when it starts.
func sees() map[string]string { return service("see", "exec > /run/seen"+lookAtApp) }

// service is a service like many others, as a script.
func service(name, script string) map[string]string {
	return map[string]string{
		"/etc/" + name: script,
		etcUnits + "multi-user.target.d/" + name + ".conf": "[Unit]\nWants=" + name + ".service\n",
		etcUnits + name + ".service": `
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh /etc/` + name + "\n",
	}
}
