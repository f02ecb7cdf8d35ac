package boards

import (
	"testing"

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

// TestStickUpdate: plug it in, wait for the light, unplug.
func TestStickUpdate(t *testing.T) {
	w := withSystemd(t)
	b := newStickBoard(t, w)
	img := usb{fs: "vfat", table: "dos", files: map[string]string{"release.mender": w.artifact(t, systemdVirt, stick2)}}.made(t)
	b.on()
	b.runs(stick1, "A", "A1")
	s := b.insert(machine.Disk{Path: img})
	b.says(tell.Looking, 0)
	b.says(tell.Working, 0)
	b.says(tell.Restarting, 0)
	b.expect(`boot 1 of 3 of slot B, on trial`)
	b.says(tell.Testing, 0)
	b.says(tell.Updated, 0)
	b.up()
	b.runs(stick2, "B", "A1")
	b.pull(s)
	b.cut()
	got := b.reports(img, 1)
	if len(got) != 1 || got[0].Result != string(tell.Updated) || got[0].Serial != "SN-7" || !got[0].Final ||
		got[0].Before.Version != "1.0.0" || got[0].After.Version != "2.0.0" {
		t.Errorf("reports: %+v", got)
	}
}
