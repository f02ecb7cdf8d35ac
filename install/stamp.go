package install

import (
	"fmt"
	"os"
	"path/filepath"
)

// StampName is the file in Device.RunDir with which Resume says that it ran: the
// boot_id, and the seconds since that boot at which it ran first.
const StampName = "resume.boot"

// stamp leaves word that Resume ran in this boot. The first one of a boot
// counts: it tells what is wired into the boot from what somebody typed later.
// It informs whoever looks for it, and where it cannot be written nothing is
// lost.
func (d *Device) stamp() {
	id := d.bootID()
	if d.RunDir == "" || id == "" {
		return
	}
	path := filepath.Join(d.RunDir, StampName)
	var have string
	var at float64
	if b, err := os.ReadFile(path); err == nil {
		if n, err := fmt.Sscan(string(b), &have, &at); n == 2 && err == nil && have == id {
			return
		}
	}
	if os.MkdirAll(d.RunDir, 0o755) != nil {
		return
	}
	_ = os.WriteFile(path, fmt.Appendf(nil, "%s %.0f\n", id, uptime()), 0o644) // best effort, as said
}
