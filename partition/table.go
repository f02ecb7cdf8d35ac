package partition

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/diskfs/go-diskfs/partition/gpt"
	"github.com/diskfs/go-diskfs/partition/mbr"
)

// A table is what identifies a disk and its partitions: PARTUUID by number.
type table struct {
	id    string // "gpt:GUID" or "mbr:SIGNATURE", lower case; "" if the disk bears none
	parts map[int]string
}

// readTable reads the partition table of a disk. No table, or none that can be
// believed, is the empty table: there is then nothing to be found by it.
func (h Host) readTable(disk block) table {
	f, err := os.Open(h.dev(disk.name()))
	if err != nil {
		return table{}
	}
	defer f.Close()
	sector := int(disk.number("queue", "logical_block_size"))
	if sector < 512 || sector > 1<<16 {
		sector = 512
	}
	return parseTable(f, sector)
}

func parseTable(f *os.File, sector int) table {
	if boundedGPT(f, int64(sector)) {
		if t, err := gpt.Read(f, sector, sector); err == nil {
			return gptTable(t)
		}
	}
	t, err := mbr.Read(f, 512, 512)
	if err != nil || t.UUID() == "00000000" {
		return table{} // signature 0 is what tools leave that set none
	}
	// The numbers of logical partitions count on from 5; their PARTUUID is
	// the signature and the number as well, so the table itself need not list them.
	parts := map[int]string{}
	for _, c := range []int{1, 2, 3, 4} {
		parts[c] = fmt.Sprintf("%s-%02x", t.UUID(), c)
	}
	return table{"mbr:" + t.UUID(), parts}
}

func gptTable(t *gpt.Table) table {
	parts := map[int]string{}
	for _, p := range t.Partitions {
		parts[p.Index] = strings.ToLower(p.GUID)
	}
	return table{"gpt:" + strings.ToLower(t.GUID), parts}
}

// boundedGPT reports whether a disk has a GPT whose entries take an amount of
// memory worth reading: a stick of unknown origin is a disk too. Both headers
// are looked at, because a bad first one sends the reader to the second.
func boundedGPT(f *os.File, sector int64) bool {
	end, err := f.Seek(0, 2)
	if err != nil {
		return false
	}
	found := false
	for _, off := range []int64{sector, end/sector*sector - sector} {
		var b [92]byte
		if _, err := f.ReadAt(b[:], off); err != nil || string(b[:8]) != "EFI PART" {
			continue
		}
		count, size := binary.LittleEndian.Uint32(b[80:]), binary.LittleEndian.Uint32(b[84:])
		if count > 1024 || size != gpt.PartitionEntrySize {
			return false
		}
		found = true
	}
	return found
}

// byPartUUID returns the partition of disk that bears a PARTUUID. The kernel's
// own word (uevent, since Linux 6.9) comes before the table on the disk.
func (h Host) byPartUUID(disk block, uuid string) (block, bool) {
	children := disk.children()
	for _, c := range children {
		if strings.EqualFold(c.uevent("PARTUUID"), uuid) {
			return c, true
		}
	}
	t := h.readTable(disk)
	for _, c := range children {
		id, ok := t.parts[c.partition()]
		if sig, mbr := strings.CutPrefix(t.id, "mbr:"); mbr && !ok {
			id = fmt.Sprintf("%s-%02x", sig, c.partition())
		}
		if id != "" && strings.EqualFold(id, uuid) {
			return c, true
		}
	}
	return "", false
}

// allDisks returns the whole disks that sysfs lists.
func (h Host) allDisks() []block {
	links, _ := filepath.Glob(h.sys("block", "*"))
	var disks []block
	for _, l := range links {
		if dir, err := filepath.EvalSymlinks(l); err == nil {
			disks = append(disks, block(dir))
		}
	}
	return disks
}

// findPartUUID looks on the disk that backs "/" first: a card left in a reader
// may be a copy of it, with the same PARTUUIDs, and a link in /dev/disk can
// show only one of them. Then the link that udev keeps, then every disk.
func (h Host) findPartUUID(uuid string) (string, error) {
	if disk, err := h.rootDisk(); err == nil {
		if p, ok := h.byPartUUID(disk, uuid); ok {
			return h.dev(p.name()), nil
		}
	}
	link := h.dev("disk/by-partuuid", filepath.Base(strings.ToLower(uuid)))
	if _, err := os.Stat(link); err == nil {
		return link, nil
	}
	var found []string
	for _, d := range h.allDisks() {
		if p, ok := h.byPartUUID(d, uuid); ok {
			found = append(found, h.dev(p.name()))
		}
	}
	switch len(found) {
	case 0:
		return "", fmt.Errorf("PARTUUID=%s: %w: no disk has it", uuid, ErrNoSlot)
	case 1:
		return found[0], nil
	}
	return "", fmt.Errorf("PARTUUID=%s: %w: it is on %s", uuid, ErrAmbiguous, strings.Join(found, " and "))
}

// rootDisk returns the disk that backs "/". A system spread over several disks
// has no such disk.
func (h Host) rootDisk() (block, error) {
	st, err := h.beneathRoot()
	if err != nil {
		return "", err
	}
	disks := h.disks(st)
	var found []block
	for _, d := range disks {
		if b, ok := h.block(d); ok {
			found = append(found, b)
		}
	}
	switch len(found) {
	case 0:
		return "", fmt.Errorf("find the disk beneath /: %w: / is on no disk", ErrNoSlot)
	case 1:
		return found[0], nil
	}
	return "", fmt.Errorf("find the disk beneath /: %w: / is on %d disks", ErrAmbiguous, len(found))
}

// DiskID identifies the disk that holds path (a device, or a file on its file
// system), across reboots and other names: the GUID of its GPT, the signature
// of its MBR, else the card's own number, each with its kind before it. It is
// "" if the disk has none of them or there is not exactly one disk. Two cards
// copied block by block have the same.
func (h Host) DiskID(path string) string {
	st, err := h.beneathPath(path)
	if err != nil {
		return ""
	}
	disks := h.disks(st)
	if len(disks) != 1 {
		return ""
	}
	b, ok := h.block(disks[0])
	if !ok {
		return ""
	}
	if id := h.readTable(b).id; id != "" {
		return id
	}
	for _, a := range []string{"cid", "serial", "wwid"} {
		if v := strings.TrimSpace(b.attr("device", a)); v != "" {
			return a + ":" + v
		}
	}
	return ""
}

func digits(s string) (int, bool) {
	n, err := strconv.Atoi(s)
	return n, err == nil && n > 0 && s[0] != '+'
}
