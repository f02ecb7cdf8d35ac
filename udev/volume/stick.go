package volume

import (
	"regexp"
	"strings"
)

// A Stick is a disk as the kernel knows it.
type Stick struct {
	Name       string // sda
	Seq        int64  // the kernel's number of this disk since boot (diskseq); 0 before Linux 5.15
	Size       int64  // bytes; 0 is a card reader without a card
	USB        bool   // it is on a USB bus
	Removable  bool   // its medium can be taken out; many sticks say so, most USB disks do not
	ReadOnly   bool   // it is write-protected
	Model      string // maker and model as it says itself, made printable
	ReadErrors int64  // commands that it did not carry out (ioerr_cnt), since it was plugged in

	host host
}

// Find describes a disk. sys is where sysfs is mounted, "" for /sys. The error
// is [ErrName] for what cannot be a disk's name, or is a partition's, and
// [ErrGone] if there is no such disk.
func Find(sys, name string) (Stick, error) {
	h := hostAt(sys, "")
	b, err := h.disk(name)
	if err != nil {
		return Stick{}, err
	}
	return h.stick(b), nil
}

var usbBus = regexp.MustCompile(`/usb[0-9]+/`)

func (h host) stick(b block) Stick {
	model := strings.Join(strings.Fields(b.attr("device", "vendor")+" "+b.attr("device", "model")), " ")
	return Stick{
		Name: b.name(), Seq: b.number("diskseq"), Size: b.bytes(),
		USB:       usbBus.MatchString(strings.TrimPrefix(string(b), h.sys)),
		Removable: b.number("removable") != 0,
		ReadOnly:  b.number("ro") != 0,
		Model:     ascii([]byte(model)), ReadErrors: b.number("device", "ioerr_cnt"),
		host: h,
	}
}
