package doctor

import (
	"bytes"
	"fmt"
	"os"
	"strings"
)

// A superblock is where a kind of file system keeps its identity.
type superblock struct {
	kind      string
	magicAt   int64
	magic     string
	uuidAt    int64
	labelAt   int64
	labelSize int
}

// superblocks are those of file systems that root= can name by UUID or label.
var superblocks = []superblock{
	{"ext4", 0x438, "\x53\xef", 0x468, 0x478, 16},
	{"xfs", 0, "XFSB", 32, 108, 12},
	{"btrfs", 0x10040, "_BHRfS_M", 0x10020, 0x1012b, 256},
	{"erofs", 1024, "\xe2\xe1\xf5\xe0", 1024 + 48, 1024 + 64, 16},
	{"f2fs", 1024, "\x10\x20\xf5\xf2", 1024 + 0x6c, 1024 + 0x7c, 32}, // its label is UTF-16: compared, not printed
}

// An identity is what root=UUID= and root=LABEL= go by.
type identity struct{ kind, uuid, label string }

// identify reads the identity of the file system on a slot. The zero value is a
// kind that has none, or nothing.
func identify(path string) (identity, error) {
	f, err := os.Open(path)
	if err != nil {
		return identity{}, err
	}
	defer f.Close() // only read
	at := func(off int64, n int) []byte {
		b := make([]byte, n)
		if _, err := f.ReadAt(b, off); err != nil {
			return nil
		}
		return b
	}
	for _, s := range superblocks {
		if string(at(s.magicAt, len(s.magic))) != s.magic {
			continue
		}
		id := identity{kind: s.kind}
		if u := at(s.uuidAt, 16); !bytes.Equal(u, make([]byte, 16)) {
			id.uuid = fmt.Sprintf("%x", u)
		}
		label := strings.TrimRight(string(at(s.labelAt, s.labelSize)), "\x00")
		id.label, _, _ = strings.Cut(strings.ReplaceAll(label, "\x00", ""), "\n")
		return id, nil
	}
	return identity{}, nil
}

// byFilesystem returns the word of root= that names a file system instead of a
// partition, or "".
func (p *patient) byFilesystem() string {
	for _, prefix := range []string{"UUID=", "LABEL=", "/dev/disk/by-uuid/", "/dev/disk/by-label/"} {
		if strings.HasPrefix(p.args["root"], prefix) {
			return p.args["root"]
		}
	}
	return ""
}

func lookFilesystemIDs(p *patient) Result {
	a, errA := identify(p.Device.Slots.A.Path)
	b, errB := identify(p.Device.Slots.B.Path)
	var same []string
	switch {
	case errA != nil:
		return warning(errA.Error(), "whether both slots bear one label is not known", "run plimsoll doctor as root")
	case errB != nil:
		return warning(errB.Error(), "whether both slots bear one label is not known", "run plimsoll doctor as root")
	case a.uuid != "" && a.uuid == b.uuid:
		same = append(same, "UUID")
	}
	if a.label != "" && a.label == b.label {
		same = append(same, "label")
	}
	named := p.byFilesystem()
	switch {
	case len(same) == 0:
		return ok("the slots' file systems bear different names, or none")
	case named == "":
		return ok("both slots have the same %s, and the kernel is told a partition", strings.Join(same, " and "))
	}
	return problem(fmt.Sprintf("both slots have the same %s, and the kernel is started with root=%s", strings.Join(same, " and "), named),
		"the kernel of one slot may start the root file system of the other, and appear to be the update",
		"start the kernel with root=PARTUUID=… of the slot that it was loaded from")
}

func lookRootArgument(p *patient) Result {
	root := p.args["root"]
	switch {
	case p.byFilesystem() != "":
		return problem("root="+root,
			"an image is the same in both slots, and so are its label and UUID: the kernel of one slot may start the root of the other",
			"start the kernel with root=PARTUUID=… of the slot that it was loaded from")
	case root == "":
		return ok("there is no root= on the kernel command line: an initramfs decides")
	}
	return ok("root=%s", root)
}
