package boards

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/plimsoll-ota/plimsoll/cmd/internal/machine"
	"github.com/plimsoll-ota/plimsoll/udev/tell"
)

// newStickBoard returns a board that runs 1.0.0 and takes updates from sticks.
func newStickBoard(t *testing.T, w *workshop) *board {
	t.Helper()
	b := newSystemd(t, w, w.factory(t, stick1))
	b.config.USB = true
	return b
}

// release is a stick with a release of the board's root file system.
func (b *board) release(r release) string {
	b.Helper()
	return usb{fs: "vfat", table: "dos", files: map[string]string{"release.mender": b.artifact(b.T, systemdVirt, r)}}.made(b.T)
}

// oneReport checks that a stick has one report, with a result, and returns it.
func (b *board) oneReport(img string, state tell.State, code tell.Code) reported {
	b.Helper()
	got := b.reports(img, 1)
	if len(got) != 1 {
		b.Fatalf("want one report: %+v", got)
	}
	if r := got[0]; r.Result != string(state) || r.Code != code.String() || r.Serial != "SN-7" {
		b.Errorf("reported %+v, want %s %v", r, state, code)
	}
	return got[0]
}

// TestStickUpdate: plug it in, wait for the light, unplug. Of many artifacts the
// device takes the newest one for its type. The stick stays in through the restart
// and one more: the verdict is on it, and nothing happens again.
func TestStickUpdate(t *testing.T) {
	w := withSystemd(t)
	b := newStickBoard(t, w)
	img := b.crowded(stick2)
	b.on()
	b.runs(stick1, "A", "A1")
	s := b.insert(machine.Disk{Path: img})
	b.says(tell.Looking, 0)
	b.firstLight()
	b.says(tell.Working, 0)
	b.says(tell.Restarting, 0)
	b.expect(`boot 1 of 3 of slot B, on trial`)
	b.says(tell.Testing, 0)
	b.up()
	b.told(tell.Updated, 0)
	b.runs(stick2, "B", "A1")
	b.reboot()
	b.told(tell.UpToDate, 0)
	b.runs(stick2, "B", "A1")
	b.unitsAreWell()
	b.pull(s)
	b.forgotten("the update")
	b.cut()
	r := b.oneReport(img, tell.Updated, 0)
	if !r.Final || r.Before.Version != "1.0.0" || r.After.Version != "2.0.0" || r.Health == nil || !r.Health.Healthy {
		t.Errorf("reported %+v", r)
	}
}

// crowded is a stick with a release, another candidate that is older, and
// artifacts for fifty other types of device. Only the release is a system.
func (b *board) crowded(r release) string {
	b.Helper()
	files := map[string]string{
		"release.mender": b.artifact(b.T, systemdVirt, r),
		"1.mender":       b.tiny(b.T, tiny{name: "1.9.9", version: "1.9.9", device: systemdVirt.board}),
	}
	for n := range few(10, 50) {
		name := fmt.Sprintf("for-%d", n)
		files["plimsoll/"+name+".mender"] = b.tiny(b.T, tiny{name: name, version: "9.0.0", device: fmt.Sprint("board-", n)})
	}
	return usb{fs: "vfat", table: "dos", files: files}.made(b.T)
}

// firstLight logs how long after the kernel saw the stick plimsoll told that it
// had, on the board's own clock, and who took how much of that.
func (b *board) firstLight() {
	b.Helper()
	const look = `n=0; until [ -s /run/told ] || [ $n = 50 ]; do usleep 100000; n=$((n+1)); done
dmesg | sed -n 's/^\[ *\([0-9.]*\)\] usb .*: new .*USB device.*/\1/p' | tail -1
dmesg | sed -n 's/^\[ *\([0-9.]*\)\] sd .* Attached SCSI.*/\1/p' | tail -1
systemctl show -P ExecMainStartTimestampMonotonic 'plimsoll-stick@*.service'
head -1 /run/told`
	var plugged, disk, unit, lit float64
	var state string
	out := b.do(look)
	if _, err := fmt.Sscan(out, &plugged, &disk, &unit, &lit, &state); err != nil || state != string(tell.Looking) {
		b.Errorf("the hook was told %q: %v", out, err)
	}
	unit /= 1e6 // from microseconds
	b.Logf("first light %.1f s after the stick was plugged in: a disk after %.1f s, the unit's program after %.1f s", lit-plugged, disk-plugged, unit-plugged)
}

// TestStickTroubles: what happens to sticks, and to devices that have one in.
func TestStickTroubles(t *testing.T) {
	w := withSystemd(t)
	few := newSome(t, 3, 1)
	few.run("restarts when it is unplugged", func(t *testing.T) { stickUnplugged(t, w) })
	few.run("the power goes", func(t *testing.T) { stickCut(t, w) })
	few.run("pulled out", func(t *testing.T) { stickPulled(t, w) })
	few.done()
}

// stickUnplugged: the device is armed when the stick is pulled out, not before,
// and the next stick carries the verdict home.
func stickUnplugged(t *testing.T, w *workshop) {
	random := rand.New(rand.NewPCG(seed(t), 0))
	b := newStickBoard(t, w)
	b.change("A", map[string]string{"/etc/plimsoll/plimsoll.toml": stickConfig + "reboot = \"when-unplugged\"\n"})
	img := b.release(stick2)
	b.on()
	s := b.insert(machine.Disk{Path: img})
	b.says(tell.Remove, 0)
	b.runs(stick1, "A", "C1")
	if out := b.do("fw_printenv -n upgrade_available"); out != "0\n" {
		t.Errorf("armed while the stick is in: upgrade_available=%s", out)
	}
	if random.IntN(2) == 0 { // the power goes instead
		b.cut()
		b.power()
		b.says(tell.Restarting, 0)
	} else {
		b.pull(s)
		b.says(tell.Restarting, 0)
	}
	b.expect(`boot 1 of 3 of slot B, on trial`)
	b.up()
	b.runs(stick2, "B", "A1")
	next := usb{fs: "vfat", table: "dos", size: 64, files: map[string]string{"plimsoll/readme.txt": "stick_test.go"}}.made(t)
	s = b.insert(machine.Disk{Path: next})
	b.says(tell.Updated, 0)
	b.pull(s)
	b.cut()
	if r := b.oneReport(img, tell.Remove, 0); r.Final {
		t.Errorf("the first stick has %+v", r)
	}
	if r := b.oneReport(next, tell.Updated, 0); !r.Final || r.After.Version != "2.0.0" {
		t.Errorf("the next stick has %+v", r)
	}
}

// TestStickFallsBack: what does not start comes back, once, however often the
// device restarts with the stick in; and the stick says why.
func TestStickFallsBack(t *testing.T) {
	w := withSystemd(t)
	b := newStickBoard(t, w)
	broken := stickRelease("2.1.0-broken")
	broken.fault = machine.InitExits
	img := b.release(broken)
	b.on()
	s := b.insert(machine.Disk{Path: img})
	b.says(tell.Restarting, 0)
	for n := 1; n <= 3; n++ {
		b.expect(fmt.Sprintf(`boot %d of 3 of slot B, on trial`, n))
	}
	b.expect(`3 boots of slot B without a verdict, going back`)
	b.up()
	b.told(tell.WentBack, tell.NeverStarted)
	for range few(1, 5) {
		b.reboot()
		b.told(tell.WentBack, tell.NeverStarted)
		if s := b.runs(stick1, "A", "H1"); len(s.Failed) != 1 || s.Failed[0].Count != 1 {
			t.Fatalf("tried again: %+v", s.Failed)
		}
	}
	b.pull(s)
	b.forgotten("the fallback")
	b.cut()
	r := b.oneReport(img, tell.WentBack, tell.NeverStarted)
	if !r.Final || r.After.Version != "1.0.0" || !strings.Contains(r.Detail, "never reached plimsoll") {
		t.Errorf("reported %+v", r)
	}
}

// stickCut: the power goes while the stick is in. When it is back, the update
// completes by itself.
func stickCut(t *testing.T, w *workshop) {
	random := rand.New(rand.NewPCG(seed(t), 0))
	b := newStickBoard(t, w)
	img := b.release(stick2)
	b.on()
	b.insert(machine.Disk{Path: img, Rate: slowStick})
	b.says(tell.Working, 0)
	time.Sleep(time.Duration(random.Int64N(int64(10 * time.Second))))
	b.cut()
	b.power()
	s := b.insert(machine.Disk{Path: img})
	b.says(tell.Restarting, 0)
	b.expect(`boot 1 of 3 of slot B, on trial`)
	b.up()
	b.told(tell.Updated, 0)
	b.runs(stick2, "B", "A1")
	b.pull(s)
	b.cut()
	b.oneReport(img, tell.Updated, 0)
}

// slowStick makes an installation take half a minute.
const slowStick = 1 << 20

// stickPulled: the stick is pulled out at some moment of the installation.
// Plugged in again, or another one with the same artifact, it finishes; and no
// block is written twice.
func stickPulled(t *testing.T, w *workshop) {
	random := rand.New(rand.NewPCG(seed(t), 0))
	for n := range sampled(random, 10, 1) {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			b := newStickBoard(t, w)
			log := filepath.Join(t.TempDir(), "writes")
			b.config.Disks[0].WriteLog = log
			img := b.release(stick2)
			b.on()
			s := b.insert(machine.Disk{Path: img, Rate: slowStick})
			b.says(tell.Working, 0)
			time.Sleep(time.Duration(n) * 3 * time.Second)
			b.pull(s)
			b.says(tell.Failed, tell.Removed)
			b.forgotten("the first visit")
			if n%2 == 1 {
				img = b.release(stick2)
			}
			b.insert(machine.Disk{Path: img})
			b.says(tell.Restarting, 0)
			b.expect(machine.Banner)
			b.cut()
			b.onceEach(log)
			if got := b.reports(img, 1); len(got) != 2 || got[0].Code != tell.Removed.String() && got[1].Code != tell.Removed.String() {
				t.Errorf("reports: %+v", got)
			}
		})
	}
}

// onceEach checks that beyond the first MiB, which is written last, no sector of
// slot B was written twice.
func (b *board) onceEach(log string) {
	b.Helper()
	f, err := os.Open(log)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	writes, err := machine.ReadLog(f)
	if err != nil {
		b.Fatal(err)
	}
	const sector = 512
	slot := span{slotAt["B"] + 1<<20, slotAt["data"]}
	times := map[int64]int{}
	for _, w := range writes {
		for at := max(w.Offset, slot.from); at < min(w.Offset+w.Size, slot.to); at += sector {
			times[at]++
		}
	}
	twice := 0
	for _, n := range times {
		if n > 1 {
			twice++
		}
	}
	if len(times) == 0 || twice > 0 {
		b.Errorf("%d sectors of slot B were written, %d of them twice", len(times), twice)
	}
}
