package boards

import (
	"testing"

	"github.com/plimsoll-ota/plimsoll/cmd/internal/machine"
)

var (
	v1 = release{name: "1.0.0"}
	v2 = release{name: "2.0.0"}
)

// TestGoodUpdate: installed, booted, kept, and kept over another reboot.
func TestGoodUpdate(t *testing.T) {
	b := newBoard(t, virt, v1, v2)
	b.on()
	b.runs(v1, "A", "A1")
	b.install(v2)
	b.runs(v1, "A", "D2")
	b.restart()
	b.expect(`boot 1 of 3 of slot B, on trial`)
	if code := b.expect(machine.Resumed); code != "0" {
		t.Errorf("resume: exit %s", code)
	}
	b.up()
	b.runs(v2, "B", "A1")
	b.reboot()
	b.runs(v2, "B", "A1")
	if env, s := b.environment(); s.Valid != 2 || s.Trial || s.Part != 3 || env["plimsoll_trial"] != "" {
		t.Errorf("environment %v, %+v", env, s)
	}
}
