package boards

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/plimsoll-ota/plimsoll/bootloader"
	"github.com/plimsoll-ota/plimsoll/cmd/internal/machine"
)

// A native board has a U-Boot that follows Mender's convention by itself: with
// bootcount and bootlimit in its environment, and altbootcmd beyond the limit.
// None that QEMU could run is to be had, so that its rules are simulated on the
// environment: by a boot script that decides as U-Boot's own code and Mender's
// scripts do, and leaves behind what they leave. What is different from ours:
// the limit is 1 unless somebody sets it, bootcount stays at what it was after
// a rollback, a slot that cannot be loaded is tried again until the limit is
// reached, and there is no other slot in an emergency.
func (b *board) native() {
	b.Helper()
	p, err := boardProfile()
	if err != nil {
		b.Fatal(err)
	}
	p.Boot.Keep = []string{"altbootcmd", "mender_check_saveenv_canary", "mender_saveenv_canary"}
	source := p.Script()
	replace := func(old, with string) {
		if !strings.Contains(source, old) {
			b.Fatalf("the script has no %q", old)
		}
		source = strings.Replace(source, old, with, 1)
	}
	replace("    setenv upgrade_available 0\n    setenv bootcount 0\n", "    setenv upgrade_available 0\n    setenv bootcount ${pl_n}\n")
	before, _, found := strings.Cut(source, "echo \"plimsoll: slot ${pl_slot} cannot be started")
	if !found {
		b.Fatal("the script's emergency begins in another way")
	}
	b.script(before + "echo \"native: slot ${pl_slot} cannot be started\"\nreset\n")

	env := p.FirstEnvironment()
	env["bootlimit"], env["altbootcmd"] = "1", "run mender_altbootcmd; run bootcmd"
	env["mender_check_saveenv_canary"], env["mender_saveenv_canary"] = "1", "1"
	b.setEnvironment(env)
}

// setEnvironment writes both copies of a board that is off.
func (b *board) setEnvironment(env bootloader.Env) {
	b.Helper()
	p, err := boardProfile()
	if err != nil {
		b.Fatal(err)
	}
	both, err := p.EnvironmentCopies(env)
	if err != nil {
		b.Fatal(err)
	}
	f := b.openDisk()
	defer f.Close()
	for i, c := range both {
		if _, err := f.WriteAt(c, copies[i]); err != nil {
			b.Fatal(err)
		}
	}
}

// nativeRelease is a release for a native board.
func nativeRelease(r release) release {
	files := map[string]string{"/etc/plimsoll/plimsoll.toml": strings.Join([]string{
		`device_type = "qemu-arm64"`, `state_dir = "/data/plimsoll"`,
		`[trust]`, `keys = ["/etc/plimsoll/keys/*.pem"]`,
		`[slots]`, `a = 2`, `b = 3`,
		`[bootloader]`, `counter = "native"`, "",
	}, "\n")}
	r.name, r.files = r.name+"-native", files
	return r
}

// TestNativeBoard goes through the same table with the same outcomes as a board
// of ours: TestGoodUpdate, TestNeverCommitted, TestUnhealthy, TestBroken.
func TestNativeBoard(t *testing.T) {
	n1, n2 := nativeRelease(v1), nativeRelease(v2)
	silent := nativeRelease(release{name: "2.1.0-silent", bare: true})
	noKernel := nativeRelease(release{name: "3.1.0-no-kernel", fault: machine.KernelMissing})
	exits := nativeRelease(release{name: "3.4.0-init-exits", fault: machine.InitExits})
	b := newBoard(t, virt, n1, n2, silent, noKernel, exits)
	t.Log("no U-Boot with bootcount and altbootcmd is to be had for QEMU: its rules are simulated")
	b.native()
	b.on()

	b.install(n2)
	if env, s := b.environment(); s.Limit != 3 || s.Count != 0 || env["altbootcmd"] == "" {
		t.Errorf("armed: %v", env)
	}
	b.reboot()
	b.runs(n2, "B", "A1")
	b.reboot()
	b.runs(n2, "B", "A1")

	bad := []release{silent, noKernel, exits}
	chosen := sampled(rand.New(rand.NewPCG(seed(t), 4)), len(bad), 1)
	for i, r := range bad {
		if !chosen[i] {
			continue
		}
		b.install(r)
		b.restart()
		for boot := 1; boot <= 3; boot++ {
			b.expect(`boot \d of 3 of slot A, on trial`)
			if r.bare {
				b.expect(machine.Ready)
				b.restart()
			}
		}
		b.expect(`3 boots of slot A without a verdict, going back`)
		b.up()
		s := b.runs(n2, "B", "H1")
		if s.Trial.Reason != "D5" || s.Count != 4 { // U-Boot leaves its count
			t.Errorf("%s: %+v", r.name, s)
		}
	}

	b.install(n2, "--allow-downgrade")
	b.onTrial("umount -l /data")
	b.restart()
	b.expect(`boot 1 of 3 of slot A`)
	b.expect(machine.Banner)
	b.up()
	b.runs(n2, "B", "H1")
	if _, s := b.environment(); s.Valid != 2 || s.Trial || s.Part != 3 || s.ID != "" {
		t.Errorf("environment: %+v", s)
	}
}
