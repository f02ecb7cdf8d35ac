package partition

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A tree is a copied machine: folders for /proc, /sys and /dev.
type tree struct {
	t    *testing.T
	Host Host
}

// machine makes a tree from lines, one device each:
//
//	M:m sysfs/path attr=value …
//
// In both, /here is a folder that exists, as overlays and loop devices need.
// "/" in an attribute's name is a folder, slaves= a list of devices in sysfs;
// a device with a partition attribute is one, the rest are disks. Every device
// gets its node in dev, named after the folder unless name= says otherwise.
func machine(t *testing.T, cmdline, mountinfo, devices string) *tree {
	t.Helper()
	asRoot(t) // nodes
	dir := t.TempDir()
	m := &tree{t, Host{filepath.Join(dir, "proc"), filepath.Join(dir, "sys"), filepath.Join(dir, "dev")}}
	for _, d := range []string{"ro/more", "too", "rw/up", "a b", "host", "on-root/up"} {
		m.must(os.MkdirAll(filepath.Join(dir, d), 0o755))
	}
	m.write(filepath.Join(dir, "host/root.squashfs"), "")
	mountinfo = strings.ReplaceAll(mountinfo, "/here", dir)
	devices = strings.ReplaceAll(devices, "/here", dir)
	m.write(m.Host.proc("cmdline"), cmdline+"\n")
	mountinfo = strings.TrimLeft(strings.ReplaceAll(mountinfo, "\t", ""), "\n")
	m.write(m.Host.proc("self/mountinfo"), strings.ReplaceAll(mountinfo, "\n\n", "\n"))
	for line := range strings.Lines(devices) {
		if f := strings.Fields(line); len(f) > 1 {
			m.device(f[0], f[1], f[2:])
		}
	}
	return m
}

func (m *tree) write(path, content string) {
	m.t.Helper()
	m.must(os.MkdirAll(filepath.Dir(path), 0o755))
	m.must(os.WriteFile(path, []byte(content), 0o644))
}

func (m *tree) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *tree) device(num, path string, attrs []string) {
	m.t.Helper()
	dir := m.Host.sys("devices", path)
	name := filepath.Base(path)
	m.write(filepath.Join(dir, "dev"), num+"\n")
	m.write(filepath.Join(dir, "size"), "2048\n")
	for _, a := range attrs {
		k, v, _ := strings.Cut(a, "=")
		switch k {
		case "name":
			name = v
		case "slaves":
			for i, s := range strings.Split(v, ",") {
				m.link(m.Host.sys("devices", s), filepath.Join(dir, "slaves", fmt.Sprint(i)))
			}
		default:
			m.write(filepath.Join(dir, k), v+"\n")
		}
	}
	m.write(filepath.Join(dir, "uevent"), "DEVNAME="+name+"\n")
	m.link(dir, m.Host.sys("dev/block", num))
	if _, err := os.Stat(filepath.Join(dir, "partition")); err != nil {
		m.link(dir, m.Host.sys("block", filepath.Base(path)))
	}
	d, err := parseDevnum(num)
	m.must(err)
	node := m.Host.dev(name)
	m.must(os.MkdirAll(filepath.Dir(node), 0o755))
	m.must(unix.Mknod(node, unix.S_IFBLK|0o600, int(unix.Mkdev(d.major, d.minor))))
}

func (m *tree) link(target, name string) {
	m.t.Helper()
	m.must(os.MkdirAll(filepath.Dir(name), 0o755))
	m.must(os.Symlink(target, name))
}

const (
	emmc = `
179:0 soc/mmc_host/mmc0/mmc0:0001/block/mmcblk0 device/cid=150100424a544434
179:1 soc/mmc_host/mmc0/mmc0:0001/block/mmcblk0/mmcblk0p1 partition=1
179:2 soc/mmc_host/mmc0/mmc0:0001/block/mmcblk0/mmcblk0p2 partition=2
179:3 soc/mmc_host/mmc0/mmc0:0001/block/mmcblk0/mmcblk0p3 partition=3
179:4 soc/mmc_host/mmc0/mmc0:0001/block/mmcblk0/mmcblk0p4 partition=4
179:8 soc/mmc_host/mmc0/mmc0:0001/block/mmcblk0/mmcblk0boot0 ro=1
`
	card = `
179:16 soc/mmc_host/mmc1/mmc1:aaaa/block/mmcblk1
179:17 soc/mmc_host/mmc1/mmc1:aaaa/block/mmcblk1/mmcblk1p2 partition=2
`
	nvme = `
259:0 pci/nvme/nvme0/nvme0n1
259:2 pci/nvme/nvme0/nvme0n1/nvme0n1p2 partition=2
259:3 pci/nvme/nvme0/nvme0n1/nvme0n1p3 partition=3
`
	onP2 = "20 1 179:2 / / rw,noatime shared:1 - ext4 /dev/root rw\n"
	onP3 = "20 1 179:3 / / rw,noatime shared:1 - ext4 /dev/root rw\n"
	data = "30 20 179:4 / /data rw,relatime - ext4 /dev/mmcblk0p4 rw\n"
)

func TestRunning(t *testing.T) {
	for _, c := range []struct {
		name                     string
		devices, mounts, cmdline string
		a, b                     string // "2" and "3" if empty
		want                     string
		err                      error
	}{
		{name: "a partition", devices: emmc, mounts: onP3, cmdline: "console=ttyS0", want: "B"},
		{name: "an nvme partition", devices: nvme, mounts: "20 1 259:2 / / rw - ext4 /dev/nvme0n1p2 rw\n", cmdline: "root=/dev/nvme0n1p2", want: "A"},
		{name: "root= agrees", devices: emmc, mounts: onP3, cmdline: "root=/dev/mmcblk0p3 rw", want: "B"},
		{name: "root= disagrees", devices: emmc, mounts: onP3, cmdline: "root=/dev/mmcblk0p2 rw", want: "B", err: ErrAmbiguous},
		{name: "root= is on neither", devices: emmc, mounts: onP3, cmdline: "root=/dev/mmcblk0p4", want: "B", err: ErrAmbiguous},
		{name: "the last root= counts", devices: emmc, mounts: onP3, cmdline: "root=/dev/mmcblk0p2 root=/dev/mmcblk0p3", want: "B"},
		{name: "root= by number", devices: emmc, mounts: onP3, cmdline: "root=179:2", want: "B", err: ErrAmbiguous},
		{name: "root= by UUID is no evidence", devices: emmc, mounts: onP3, cmdline: "root=UUID=5a5a-5a", want: "B"},
		{name: "root= by LABEL is no evidence", devices: emmc, mounts: onP3, cmdline: `root="LABEL=root a" quiet`, want: "B"},
		{name: "root= by an unknown PARTUUID is no evidence", devices: emmc, mounts: onP3, cmdline: "root=PARTUUID=1234-02", want: "B"},
		{name: "root=/dev/nfs is no evidence", devices: emmc, mounts: onP3, cmdline: "root=/dev/nfs", want: "B"},
		{name: "root=/dev/ram0 is no evidence", devices: emmc + "1:0 virtual/block/ram0\n", mounts: onP3, cmdline: "root=/dev/ram0", want: "B"},
		{name: "an unknown device is no evidence", devices: emmc, mounts: onP3, cmdline: "root=/dev/sdz9", want: "B"},
		{name: "the script's letter agrees", devices: emmc, mounts: onP3, cmdline: "plimsoll.slot=b root=/dev/mmcblk0p3", want: "B"},
		{name: "the script's number agrees", devices: emmc, mounts: onP3, cmdline: "plimsoll.slot=3", want: "B"},
		{name: "the script's letter disagrees", devices: emmc, mounts: onP3, cmdline: "plimsoll.slot=A root=/dev/mmcblk0p3", want: "B", err: ErrAmbiguous},
		{name: "the script's number disagrees", devices: emmc, mounts: onP3, cmdline: "plimsoll.slot=2", want: "B", err: ErrAmbiguous},
		{name: "what is for init is not for us", devices: emmc, mounts: onP3, cmdline: "quiet -- root=/dev/mmcblk0p2", want: "B"},
		{name: "neither slot", devices: emmc, mounts: "20 1 179:4 / / rw - ext4 /dev/root rw\n", a: "/dev/mmcblk0p2", b: "/dev/mmcblk0p3", err: ErrNotSlot},
		{name: "NFS", devices: emmc, mounts: "20 1 0:17 / / rw - nfs4 10.0.0.1:/srv rw,vers=4.2\n", cmdline: "root=/dev/nfs", a: "/dev/mmcblk0p2", b: "/dev/mmcblk0p3", err: ErrNotSlot},
		{name: "a rescue system in memory", devices: emmc, mounts: "1 1 0:2 / / rw - rootfs rootfs rw\n", cmdline: "root=/dev/mmcblk0p2", a: "/dev/mmcblk0p2", b: "/dev/mmcblk0p3", err: ErrNotSlot},
		{name: "the initramfs is beneath", devices: emmc, mounts: "1 1 0:2 / / rw - rootfs rootfs rw\n20 1 179:2 / / rw - ext4 /dev/root rw\n", want: "A"},
		{name: "btrfs numbers itself", devices: emmc, mounts: "20 1 0:33 /@root / rw - btrfs /dev/mmcblk0p3 rw,subvol=/@root\n", want: "B"},
		{name: "an overlay", devices: emmc, mounts: `
			20 1 0:40 / / rw - overlay overlay rw,lowerdir=/here/ro,upperdir=/here/rw/up,workdir=/here/rw/work
			21 20 179:3 / /here/ro ro - ext4 /dev/mmcblk0p3 ro
			22 20 0:41 / /here/rw rw - tmpfs tmpfs rw
			`, cmdline: "root=/dev/mmcblk0p3", want: "B"},
		{name: "an overlay that disagrees with root=", devices: emmc, mounts: `
			20 1 0:40 / / rw - overlay overlay rw,lowerdir=/here/ro
			21 20 179:3 / /here/ro ro - ext4 /dev/mmcblk0p3 ro
			`, cmdline: "root=/dev/mmcblk0p2", want: "B", err: ErrAmbiguous},
		{name: "an overlay of both slots", devices: emmc, mounts: `
			20 1 0:40 / / rw - overlay overlay rw,lowerdir+=/here/ro,lowerdir+=/here/too
			21 20 179:3 / /here/ro ro - ext4 /dev/mmcblk0p3 ro
			22 20 179:2 / /here/too ro - ext4 /dev/mmcblk0p2 ro
			`, err: ErrAmbiguous},
		{name: "changes kept on the other slot's disk are no evidence", devices: emmc + card, mounts: `
			20 1 0:40 / / rw - overlay overlay rw,lowerdir=/here/ro:/here/ro/more,upperdir=/here/rw/up
			21 20 179:3 / /here/ro ro - ext4 /dev/mmcblk0p3 ro
			22 20 179:17 / /here/rw rw - ext4 /dev/mmcblk1p2 rw
			`, want: "B"},
		{name: "an overlay whose lower folder is not visible", devices: emmc, mounts: "20 1 0:40 / / rw - overlay overlay rw,lowerdir=/nowhere/ro\n",
			a: "/dev/mmcblk0p2", b: "/dev/mmcblk0p3", err: ErrNotSlot},
		{name: "overlay on a loop device on a mapping on a partition", devices: emmc + `
			7:0 virtual/block/loop0 loop/backing_file=/here/host/root.squashfs
			252:0 virtual/block/dm-0 name=mapper/verity slaves=soc/mmc_host/mmc0/mmc0:0001/block/mmcblk0/mmcblk0p3
			`, mounts: `
			20 1 0:40 / / rw - overlay overlay rw,lowerdir=/here/a\040b,upperdir=/here/rw
			21 20 7:0 / /here/a\040b ro - squashfs /dev/loop0 ro
			22 20 252:0 / /here/host ro - ext4 /dev/mapper/verity ro
			`, cmdline: "root=/dev/mapper/verity", want: "B"},
		{name: "dm-verity over data and hash partitions", devices: emmc + `
			252:0 virtual/block/dm-0 slaves=soc/mmc_host/mmc0/mmc0:0001/block/mmcblk0/mmcblk0p2,soc/mmc_host/mmc0/mmc0:0001/block/mmcblk0/mmcblk0p4
			`, mounts: "20 1 252:0 / / ro - ext4 /dev/dm-0 ro\n", cmdline: "root=/dev/dm-0", want: "A"},
		{name: "root= is above both slots", devices: emmc + `
			252:0 virtual/block/dm-0 slaves=soc/mmc_host/mmc0/mmc0:0001/block/mmcblk0/mmcblk0p2,soc/mmc_host/mmc0/mmc0:0001/block/mmcblk0/mmcblk0p3
			`, mounts: onP3, cmdline: "root=/dev/dm-0", want: "B", err: ErrAmbiguous},
		{name: "a slot that is a mapping", devices: emmc + `
			252:0 virtual/block/dm-0 name=mapper/a1 slaves=soc/mmc_host/mmc0/mmc0:0001/block/mmcblk0/mmcblk0p4
			252:1 virtual/block/dm-1 name=mapper/b2 slaves=soc/mmc_host/mmc0/mmc0:0001/block/mmcblk0/mmcblk0p4
			`, mounts: "20 1 252:1 / / rw - ext4 /dev/mapper/b2 rw\n", a: "/dev/mapper/a1", b: "/dev/mapper/b2", want: "B"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := machine(t, c.cmdline, c.mounts, c.devices)
			if c.a == "" {
				c.a, c.b = "2", "3"
			}
			p, err := m.Host.Find(Spec{A: c.a, B: c.b})
			if err != nil {
				t.Fatal(err)
			}
			s, err := m.Host.Running(p)
			if s.Name != c.want || !errors.Is(err, c.err) {
				t.Errorf("got slot %q, %v; want %q, %v", s.Name, err, c.want, c.err)
			}
		})
	}
}

func TestRunningByPartUUID(t *testing.T) {
	m := machine(t, "root=PARTUUID=ABCD-02", onP3, emmc)
	p, err := m.Host.Find(Spec{A: "2", B: "3"})
	m.must(err)
	m.must(os.MkdirAll(m.Host.dev("disk/by-partuuid"), 0o755))
	m.link("../../mmcblk0p2", m.Host.dev("disk/by-partuuid/abcd-02"))
	if _, err := m.Host.Running(p); !errors.Is(err, ErrAmbiguous) {
		t.Errorf("the other slot's PARTUUID: got %v, want ErrAmbiguous", err)
	}
	m.write(m.Host.proc("cmdline"), "root=PARTUUID=ABCD-02/PARTNROFF=1\n")
	if s, err := m.Host.Running(p); err != nil || s.Name != "B" {
		t.Errorf("an offset is no evidence: got %v, %v", s, err)
	}
	m.must(os.Remove(m.Host.proc("cmdline")))
	if _, err := m.Host.Running(p); !errors.Is(err, ErrAmbiguous) {
		t.Errorf("no command line to agree with: got %v, want ErrAmbiguous", err)
	}
}

func TestFind(t *testing.T) {
	elsewhere := "40 20 0:60 / " + os.TempDir() + " rw - tmpfs tmpfs rw\n"
	m := machine(t, "", onP2+data+elsewhere, emmc+card+`
		8:0 usb/sda
		8:1 usb/sda/sda1 partition=1
		31:3 virtual/mtdblock3
		250:0 virtual/ubiblock0_1
		252:0 virtual/dm-0 name=mapper/crypt slaves=soc/mmc_host/mmc0/mmc0:0001/block/mmcblk0/mmcblk0p3
		`)
	dir := t.TempDir()
	plain := filepath.Join(dir, "slot7.img")
	m.write(plain, "x")
	m.must(unix.Mknod(m.Host.dev("ubi0_1"), unix.S_IFCHR|0o600, int(unix.Mkdev(240, 2))))
	m.must(unix.Mkfifo(filepath.Join(dir, "fifo2"), 0o600))
	m.link("../mmcblk0p3", m.Host.dev("by-name/root_b"))
	for _, c := range []struct {
		name string
		spec Spec
		want [2]string // base names of the paths
		part [2]int
		err  error
	}{
		{"numbers", Spec{A: "2", B: "3"}, [2]string{"mmcblk0p2", "mmcblk0p3"}, [2]int{2, 3}, nil},
		{"device paths", Spec{A: "/dev/mmcblk0p2", B: "/dev/mmcblk0p3"}, [2]string{"mmcblk0p2", "mmcblk0p3"}, [2]int{2, 3}, nil},
		{"a symlink", Spec{A: "/dev/mmcblk0p2", B: "/dev/by-name/root_b"}, [2]string{"mmcblk0p2", "mmcblk0p3"}, [2]int{2, 3}, nil},
		{"configured numbers", Spec{A: "2", B: "3", APart: 12, BPart: 13}, [2]string{"mmcblk0p2", "mmcblk0p3"}, [2]int{12, 13}, nil},
		{"a plain file beside a device", Spec{A: "2", B: plain}, [2]string{"mmcblk0p2", "slot7.img"}, [2]int{2, 7}, nil},
		{"a partition that is not there", Spec{A: "2", B: "9"}, [2]string{}, [2]int{}, ErrNoSlot},
		{"only on another disk", Spec{A: "/dev/mmcblk1p2", B: "5"}, [2]string{}, [2]int{}, ErrNoSlot},
		{"a path that is not there", Spec{A: "2", B: "/dev/mmcblk0p7"}, [2]string{}, [2]int{}, ErrNoSlot},
		{"a PARTUUID that is not there", Spec{A: "2", B: "PARTUUID=0-1"}, [2]string{}, [2]int{}, ErrNoSlot},
		{"nothing", Spec{A: "2"}, [2]string{}, [2]int{}, ErrNoSlot},
		{"no number", Spec{A: "2", B: "/dev/mapper/crypt"}, [2]string{}, [2]int{}, ErrNoSlot},
		{"the same number", Spec{A: "2", B: "2"}, [2]string{}, [2]int{}, ErrSameSlot},
		{"the same number of two disks", Spec{A: "2", B: "/dev/mmcblk1p2"}, [2]string{}, [2]int{}, ErrSameSlot},
		{"the same device", Spec{A: "3", B: "/dev/by-name/root_b", APart: 2}, [2]string{}, [2]int{}, ErrSameSlot},
		{"a mapping above the other slot", Spec{A: "3", B: "/dev/mapper/crypt", BPart: 2}, [2]string{}, [2]int{}, ErrSameSlot},
		{"a plain file on the other slot", Spec{A: "2", B: "/etc/hostname", BPart: 3}, [2]string{}, [2]int{}, ErrSameSlot},
		{"a disk with partitions", Spec{A: "2", B: "/dev/sda", BPart: 3}, [2]string{}, [2]int{}, ErrUnsupported},
		{"a folder", Spec{A: "2", B: dir, BPart: 3}, [2]string{}, [2]int{}, ErrUnsupported},
		{"a character device", Spec{A: "2", B: "/dev/ubi0_1"}, [2]string{}, [2]int{}, ErrUnsupported},
		{"a pipe", Spec{A: "2", B: filepath.Join(dir, "fifo2")}, [2]string{}, [2]int{}, ErrUnsupported},
		{"mender.conf's ubi0_0", Spec{A: "ubi0_0", B: "3"}, [2]string{}, [2]int{}, ErrUnsupported},
		{"mtd by name", Spec{A: "/dev/mtd4", B: "3"}, [2]string{}, [2]int{}, ErrUnsupported},
		{"mtdblock", Spec{A: "2", B: "/dev/mtdblock3"}, [2]string{}, [2]int{}, ErrUnsupported},
		{"ubiblock", Spec{A: "2", B: "/dev/ubiblock0_1", BPart: 3}, [2]string{}, [2]int{}, ErrUnsupported},
	} {
		p, err := m.Host.Find(c.spec)
		if !errors.Is(err, c.err) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.err)
			continue
		}
		if err != nil {
			continue
		}
		if got := [2]string{filepath.Base(p.A.Path), filepath.Base(p.B.Path)}; got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
		if got := [2]int{p.A.Part, p.B.Part}; got != c.part {
			t.Errorf("%s: got numbers %v, want %v", c.name, got, c.part)
		}
		if s, ok := p.ByPart(c.part[1]); !ok || s != p.B || p.Other(s) != p.A || p.Other(p.A) != p.B {
			t.Errorf("%s: ByPart and Other do not lead from slot to slot", c.name)
		}
		if _, ok := p.ByPart(99); ok {
			t.Errorf("%s: there is no number 99", c.name)
		}
	}
}

func TestFindWithoutOneDisk(t *testing.T) {
	for name, c := range map[string]struct {
		mounts string
		want   error
	}{
		"network root": {"20 1 0:17 / / rw - nfs4 host:/srv rw\n", ErrNoSlot},
		"two disks":    {"20 1 252:0 / / rw - ext4 /dev/dm-0 rw\n", ErrAmbiguous},
	} {
		m := machine(t, "", c.mounts, emmc+card+"252:0 virtual/dm-0 slaves=soc/mmc_host/mmc0/mmc0:0001/block/mmcblk0/mmcblk0p2,soc/mmc_host/mmc1/mmc1:aaaa/block/mmcblk1/mmcblk1p2\n")
		if _, err := m.Host.Find(Spec{A: "2", B: "3"}); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
}

// A card that is a copy of the eMMC bears the same PARTUUIDs.
func TestPartUUIDOfTwoDisks(t *testing.T) {
	id := func(m *tree, path, uuid string) {
		u := m.Host.sys("devices", path, "uevent")
		b, err := os.ReadFile(u)
		m.must(err)
		m.write(u, string(b)+"PARTUUID="+uuid+"\n")
	}
	const slotA = "soc/mmc_host/mmc0/mmc0:0001/block/mmcblk0/mmcblk0p2"
	m := machine(t, "", onP3, emmc+card)
	id(m, slotA, "abcd-02")
	id(m, "soc/mmc_host/mmc1/mmc1:aaaa/block/mmcblk1/mmcblk1p2", "abcd-02")
	m.link("../../mmcblk1p2", m.Host.dev("disk/by-partuuid/abcd-02"))
	p, err := m.Host.Find(Spec{A: "PARTUUID=ABCD-02", B: "3"})
	if err != nil || filepath.Base(p.A.Path) != "mmcblk0p2" {
		t.Errorf("got %v, %v; want the one on the disk beneath /", p.A, err)
	}

	m.write(m.Host.proc("self/mountinfo"), "20 1 0:17 / / rw - nfs4 host:/srv rw\n")
	p, err = m.Host.Find(Spec{A: "PARTUUID=ABCD-02", B: "/dev/mmcblk0p3"})
	if err != nil || filepath.Base(p.A.Path) != "mmcblk1p2" {
		t.Errorf("got %v, %v; want what the link names", p.A, err)
	}
	m.must(os.RemoveAll(m.Host.dev("disk")))
	if _, err := m.Host.Find(Spec{A: "PARTUUID=ABCD-02", B: "/dev/mmcblk0p3"}); !errors.Is(err, ErrAmbiguous) {
		t.Errorf("on two disks, neither beneath /: got %v, want ErrAmbiguous", err)
	}
}

func TestHoldsAndSameDisk(t *testing.T) {
	m := machine(t, "", onP2+data+`
		31 20 179:17 / /mnt/card rw - ext4 /dev/mmcblk1p2 rw
		32 20 0:50 / /mnt/over rw - overlay overlay rw,lowerdir=/mnt/card,upperdir=/here/on-root/up
		33 20 0:51 / /run rw - tmpfs tmpfs rw
		34 20 179:2 /srv /mnt/bind rw - ext4 /dev/root rw
		35 30 0:52 / /data/deep ro - tmpfs tmpfs rw
		`, emmc+card)
	m.must(unix.Mknod(m.Host.dev("mtd0"), unix.S_IFCHR|0o600, int(unix.Mkdev(90, 0))))
	p, err := m.Host.Find(Spec{A: "2", B: "3"})
	m.must(err)
	for _, c := range []struct {
		path     string
		onA      bool
		sameDisk bool
	}{
		{"/no-such/folder", true, true},
		{"/data/plimsoll", false, true},
		{"/database", true, true},
		{"/mnt/card/x", false, false},
		{"/mnt/over/x", true, true}, // its changes are kept on the slot
		{"/mnt/bind/x", true, true},
		{"/run/x", false, false},
		{"/data/deep/x", false, false},
		{"/dev/mmcblk0p1", false, true},
		{"/dev/mmcblk0p2", true, true},
		{"/dev/mmcblk0boot0", false, true},
		{"/dev/mmcblk0", false, true},
		{"/dev/mmcblk1", false, false},
		{"/dev/mtd0", true, false}, // the node is on the root file system, the flash is not
	} {
		if got, err := m.Host.Holds(p.A, c.path); err != nil || got != c.onA {
			t.Errorf("Holds(A, %s): got %v, %v; want %v", c.path, got, err, c.onA)
		}
		if got, err := m.Host.Holds(p.B, c.path); err != nil || got {
			t.Errorf("Holds(B, %s): got %v, %v; want false", c.path, got, err)
		}
		if got, err := m.Host.SameDisk(p.B, c.path); err != nil || got != c.sameDisk {
			t.Errorf("SameDisk(B, %s): got %v, %v; want %v", c.path, got, err, c.sameDisk)
		}
	}
	for _, c := range []struct {
		disk, path string
		want       bool
	}{
		{"/dev/mmcblk0", "/", true}, {"/dev/mmcblk0", "/data/plimsoll", true}, {"/dev/mmcblk0", "/dev/mmcblk0p3", true},
		{"/dev/mmcblk0", "/mnt/card/x", false}, {"/dev/mmcblk1", "/mnt/card/x", true}, {"/dev/mmcblk1", "/mnt/over/x", true},
		{"/dev/mmcblk1", "/", false}, {"/dev/mmcblk1", "/run/x", false}, {"/dev/mmcblk1p2", "/mnt/card/x", true},
	} {
		if got, err := m.Host.Backs(c.disk, c.path); err != nil || got != c.want {
			t.Errorf("Backs(%s, %s): got %v, %v; want %v", c.disk, c.path, got, err, c.want)
		}
	}
	if _, err := m.Host.Backs("/dev/mtd0", "/"); !errors.Is(err, ErrUnsupported) {
		t.Errorf("Backs of flash: got %v", err)
	}
	if got, want := m.Host.DiskID("/data/plimsoll"), "cid:150100424a544434"; got != want {
		t.Errorf("DiskID: got %q, want %q", got, want)
	}
	if got := m.Host.DiskID("/run"); got != "" {
		t.Errorf("DiskID of tmpfs: got %q", got)
	}
}

func TestMountOf(t *testing.T) {
	m := machine(t, "", onP2+data+`
		31 20 179:3 / /mnt rw - ext4 /dev/mmcblk0p3 rw
		32 31 0:50 / /mnt/a\040b rw - tmpfs tmpfs ro
		33 20 0:51 / /hidden/below rw - tmpfs below rw
		34 20 0:52 / /hidden ro - tmpfs above rw
		35 30 0:53 / /data rw - tmpfs over rw
		`, emmc)
	for _, c := range []struct {
		path string
		want Mount
	}{
		{"/etc/passwd", Mount{Point: "/", Source: "/dev/root", Type: "ext4"}},
		{"/mnt/x", Mount{Point: "/mnt", Source: "/dev/mmcblk0p3", Type: "ext4"}},
		{"/mnt/a b/c", Mount{Point: "/mnt/a b", Source: "tmpfs", Type: "tmpfs", ReadOnly: true}},
		{"/mnt/a", Mount{Point: "/mnt", Source: "/dev/mmcblk0p3", Type: "ext4"}},
		{"/hidden/below/x", Mount{Point: "/hidden", Source: "above", Type: "tmpfs", ReadOnly: true}},
		{"/data", Mount{Point: "/data", Source: "over", Type: "tmpfs"}},
	} {
		got, err := m.Host.MountOf(c.path)
		got = Mount{Point: got.Point, Source: got.Source, Type: got.Type, ReadOnly: got.ReadOnly}
		if err != nil || fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s: got %v, %v; want %v", c.path, got, err, c.want)
		}
	}
	m.write(m.Host.proc("self/mountinfo"), "not a mount\n")
	if _, err := m.Host.MountOf("/"); err == nil {
		t.Error("damaged mountinfo: got nil")
	}
	m.write(m.Host.proc("self/mountinfo"), "")
	if _, err := m.Host.MountOf("/"); err == nil {
		t.Error("empty mountinfo: got nil")
	}
}

func TestBootID(t *testing.T) {
	h := Host{Proc: t.TempDir()}
	if _, err := h.BootID(); err == nil {
		t.Error("no boot id: got nil")
	}
	m := &tree{t, h}
	m.write(h.proc("sys/kernel/random/boot_id"), "\n")
	if _, err := h.BootID(); err == nil {
		t.Error("an empty boot id: got nil")
	}
	m.write(h.proc("sys/kernel/random/boot_id"), "4a-b\n")
	if id, err := h.BootID(); id != "4a-b" || err != nil {
		t.Errorf("got %q, %v", id, err)
	}
	if id, err := (Host{}).BootID(); len(id) != 36 || err != nil {
		t.Errorf("of this system: got %q, %v", id, err)
	}
}
