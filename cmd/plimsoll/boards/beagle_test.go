package boards

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/plimsoll-ota/plimsoll/bootloader"
	profile "github.com/plimsoll-ota/plimsoll/bootloader/board"
	"github.com/plimsoll-ota/plimsoll/cmd/internal/machine"
)

// QEMU has no BeagleBone Black: its profiles are held against what is known of
// the board, of the convention, and of Debian's U-Boot for it.
var beagles = []string{"beaglebone-black", "beaglebone-black-debian"}

func loadProfile(t *testing.T, name string) *profile.Profile {
	t.Helper()
	p, err := profile.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestBeagleLayout: the convention's, as Mender's Yocto layer lays a card out
// by default: everything at multiples of 8 MiB, the environment in front of the
// first partition.
func TestBeagleLayout(t *testing.T) {
	const align = 8 << 20
	for _, name := range beagles {
		t.Run(name, func(t *testing.T) {
			p := loadProfile(t, name)
			if p.Arch != "arm" || p.Disk.Table != "mbr" || p.Disk.UBoot != "mmc 0" || p.Disk.Linux != "/dev/mmcblk0" {
				t.Errorf("%s, %+v", p.Arch, p.Disk)
			}
			if o := p.Environment.Offsets; len(o) != 2 || o[0] != 0x800000 || o[1] != 0x1000000 {
				t.Errorf("environment at %v", o)
			}
			at := profile.Size(24 << 20)
			for i, want := range []string{"boot", "a", "b", "data"} {
				q := p.Partitions[i]
				if q.Name != want || q.Start != at || q.Start%align != 0 || q.Size%align != 0 {
					t.Errorf("partition %d is %s at %v, %v long; want %s at %v", i+1, q.Name, q.Start, q.Size, want, at)
				}
				at = q.Start + q.Size
			}
			if at > 1000<<20 {
				t.Errorf("a card of 1 GB is too small for %v", at)
			}
		})
	}
	p := loadProfile(t, "beaglebone-black")
	const config = "/dev/mmcblk0 0x800000 0x20000\n/dev/mmcblk0 0x1000000 0x20000\n"
	if _, lines, _ := strings.Cut(p.FwEnvConfig(), "\n"); lines != config {
		t.Errorf("fw_env.config has\n%swant\n%s", lines, config)
	}
	if p.DeviceType != "beaglebone-yocto" || p.Boot.Method != profile.MethodNative || p.Environment.Counter != bootloader.CounterNative || p.Script() != "" || p.FirstEnvironment() != nil {
		t.Errorf("%+v", p)
	}
	p = loadProfile(t, "beaglebone-black-debian")
	if !p.Experimental || p.Boot.Method != profile.MethodScript || p.Environment.Counter != bootloader.CounterRegister {
		t.Errorf("%+v", p)
	}
	count, limit := bootloader.CountVariables(bootloader.CounterRegister)
	for _, text := range append(strings.Fields(p.Script()), count, limit) {
		if text == "bootcount" || text == "bootlimit" || text == "altbootcmd" {
			t.Errorf("the script touches %s, which belongs to the register", text)
		}
	}
	for name := range p.FirstEnvironment() {
		if name == "bootcount" || name == "bootlimit" {
			t.Errorf("the first environment has %s: a healthy system would fall back", name)
		}
	}
}

// debianFirmware is the folder with MLO and u-boot.img as Debian has them.
func debianFirmware(t *testing.T) string {
	t.Helper()
	d, err := machine.Fetch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Dir(d.File("u-boot-omap", "usr/lib/u-boot/am335x_boneblack/MLO"))
}

// A table is what sfdisk sees.
type table struct {
	Table struct {
		Label      string `json:"label"`
		Partitions []struct {
			Start, Size int64
			Type        string
			Bootable    bool
		} `json:"partitions"`
	} `json:"partitiontable"`
}

// TestBeagleImage looks at the disk images with everybody's tools.
func TestBeagleImage(t *testing.T) {
	for _, name := range beagles {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, p, firmware := workshopOf(t), loadProfile(t, name), debianFirmware(t)
			dir := t.TempDir()
			in := func(name string) string { return filepath.Join(dir, name) }
			tree := in("tree")
			if err := os.MkdirAll(filepath.Join(tree, "boot"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(tree, "boot/zImage"), make([]byte, 5000), 0o644); err != nil {
				t.Fatal(err)
			}
			disk := in("disk.img")
			if err := w.run("image", "build", "--board", name, "--rootfs", tree, "--firmware", firmware, "--key", w.path("public.pem"), "-o", disk); err != nil {
				t.Fatal(err)
			}
			var seen table
			if err := json.Unmarshal([]byte(onHost(t, "fdisk", "sfdisk", "--json", disk)), &seen); err != nil {
				t.Fatal(err)
			}
			if out := onHost(t, "fdisk", "sfdisk", "--verify", disk); !strings.Contains(out, "No errors detected") {
				t.Errorf("sfdisk: %s", out)
			}
			if seen.Table.Label != "dos" || len(seen.Table.Partitions) != len(p.Partitions) {
				t.Fatalf("sfdisk: %+v", seen)
			}
			for i, q := range seen.Table.Partitions {
				want := p.Partitions[i]
				if q.Start*512 != int64(want.Start) || q.Size*512 != int64(want.Size) || q.Bootable != (i == 0) {
					t.Errorf("sfdisk: partition %d: %+v, want %+v", i+1, q, want)
				}
			}
			// The chip's ROM looks for an active partition of a FAT's type.
			if first := seen.Table.Partitions[0]; !slices.Contains([]string{"1", "4", "6", "b", "c", "e", "f"}, first.Type) {
				t.Errorf("the first partition's type is %s", first.Type)
			}
			boot, slot, data := part(t, disk, p, "boot"), part(t, disk, p, "a"), part(t, disk, p, "data")
			onHost(t, "dosfstools", "fsck.vfat", "-n", boot)
			onHost(t, "e2fsprogs", "e2fsck", "-fn", slot)
			onHost(t, "e2fsprogs", "e2fsck", "-fn", data)
			if config := onHost(t, "e2fsprogs", "debugfs", "-R", "cat /etc/fw_env.config", slot); config != p.FwEnvConfig() {
				t.Errorf("fw_env.config in the slot:\n%s", config)
			}
			files := strings.Fields(onHost(t, "mtools", "mdir", "-b", "-i", boot, "::"))
			want := []string{"::/MLO", "::/boot.scr", "::/u-boot.img"}
			if p.Boot.Method == profile.MethodNative {
				want = slices.Delete(want, 1, 2)
			}
			if !slices.Equal(files, want) { // MLO first: the ROM is said to want it so
				t.Errorf("the boot partition has %v, want %v", files, want)
			}
			for _, f := range p.Firmware {
				onHost(t, "mtools", "mcopy", "-n", "-i", boot, "::/"+f.File, in(f.File))
				sameFile(t, in(f.File), filepath.Join(firmware, f.File))
			}
			lookAtEnvironment(t, p, disk)
			if p.Boot.Method == profile.MethodNative {
				withInitialEnvironment(t, w, p, tree, firmware)
				return
			}
			onHost(t, "mtools", "mcopy", "-n", "-i", boot, "::/boot.scr", in("boot.scr"))
			b, err := os.ReadFile(in("boot.scr"))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.HasSuffix(b, []byte(p.Script())) {
				t.Error("boot.scr is not the script")
			}
			if out := onHost(t, "u-boot-tools", "mkimage", "-l", in("boot.scr")); !strings.Contains(out, "ARM Linux Script (uncompressed)") {
				t.Errorf("mkimage -l: %s", out)
			}
		})
	}
}

// part copies a partition out of a disk's image.
func part(t *testing.T, disk string, p *profile.Profile, name string) string {
	t.Helper()
	q := p.Partitions[p.Number(name)-1]
	path := filepath.Join(t.TempDir(), name)
	const mib = 1 << 20
	onHost(t, "coreutils", "dd", "if="+disk, "of="+path, "bs=1M", "conv=sparse", "status=none",
		"skip="+strconv.FormatInt(int64(q.Start/mib), 10), "count="+strconv.FormatInt(int64(q.Size/mib), 10))
	if err := os.Truncate(path, int64(q.Size)); err != nil {
		t.Fatal(err)
	}
	return path
}

func sameFile(t *testing.T, got, want string) {
	t.Helper()
	g, err := os.ReadFile(got)
	if err != nil {
		t.Fatal(err)
	}
	w, err := os.ReadFile(want)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(g, w) {
		t.Errorf("%s: %d bytes that are not the %d of %s", filepath.Base(got), len(g), len(w), want)
	}
}

// lookAtEnvironment reads both copies from a disk that was never started.
func lookAtEnvironment(t *testing.T, p *profile.Profile, disk string) {
	t.Helper()
	f, err := os.Open(disk)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for i, at := range p.Environment.Offsets {
		raw := make([]byte, p.Environment.Size)
		if _, err := f.ReadAt(raw, int64(at)); err != nil {
			t.Fatal(err)
		}
		if p.Boot.Method == profile.MethodNative {
			if !bytes.Equal(raw, make([]byte, len(raw))) {
				t.Errorf("copy %d of a U-Boot that writes its own environment is not empty", i+1)
			}
			continue
		}
		e, flags, err := bootloader.ParseEnv(raw, true)
		if err != nil || flags != byte(2-i) || e["mender_boot_part"] != "2" || e["plimsoll_count"] != "0" || e["plimsoll_limit"] != "3" {
			t.Errorf("copy %d: flags %d, %v, %v", i+1, flags, e, err)
		}
	}
}

// withInitialEnvironment builds again, with an environment for the U-Boot.
func withInitialEnvironment(t *testing.T, w *workshop, p *profile.Profile, tree, firmware string) {
	t.Helper()
	text, disk := filepath.Join(t.TempDir(), "env"), filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(text, []byte("# defaults of the build\nbootlimit=1\nmender_boot_part=2\naltbootcmd=run mender_altbootcmd; run bootcmd\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := w.run("image", "build", "--board", p.Name, "--rootfs", tree, "--firmware", firmware, "--initial-env", text, "--no-bmap", "-o", disk); err != nil {
		t.Fatal(err)
	}
	var at []bootloader.Location
	for _, offset := range p.Environment.Offsets {
		at = append(at, bootloader.Location{Path: disk, Offset: int64(offset), Size: int64(p.Environment.Size)})
	}
	u, err := bootloader.OpenUBoot(bootloader.Options{LockPath: filepath.Join(t.TempDir(), "lock"), Counter: p.Environment.Counter}, at...)
	if err != nil {
		t.Fatal(err)
	}
	s, err := u.State()
	if err != nil || s.Valid != 2 || s.Part != 2 || s.Limit != 1 || !s.AltBoot || s.Trial {
		t.Errorf("%+v, %v", s, err)
	}
}

// commandOf says which setting of U-Boot a command of the script needs.
var commandOf = map[string]string{
	"echo": "CONFIG_CMD_ECHO", "setenv": "CONFIG_HUSH_PARSER", "test": "CONFIG_HUSH_PARSER", "true": "CONFIG_HUSH_PARSER",
	"mw.b": "CONFIG_CMD_MEMORY", "cp.b": "CONFIG_CMD_MEMORY", "itest.b": "CONFIG_CMD_ITEST", "run": "CONFIG_CMD_RUN",
	"mmc": "CONFIG_CMD_MMC", "part": "CONFIG_CMD_PART", "load": "CONFIG_CMD_FS_GENERIC", "bootz": "CONFIG_CMD_BOOTZ",
	"env import": "CONFIG_CMD_IMPORTENV", "env export": "CONFIG_CMD_EXPORTENV", "sleep": "CONFIG_CMD_SLEEP",
	"reset": "CONFIG_SYSRESET_OR_ARCH", // every U-Boot has it
}

// commands returns what a script runs, wherever it stands: in a variable, or
// behind a word of the shell.
func commands(script string) (all []string) {
	script = regexp.MustCompile(`(?m)^#.*$`).ReplaceAllString(script, "")
	script = regexp.MustCompile(`"[^"]*"`).ReplaceAllString(script, "text")
	for piece := range strings.FieldsFuncSeq(script, func(r rune) bool { return strings.ContainsRune(";\n'", r) }) {
		words := strings.Fields(piece)
		for len(words) > 0 && slices.Contains([]string{"if", "then", "else", "do", "fi", "done"}, words[0]) {
			words = words[1:]
		}
		if len(words) == 0 || words[0] == "for" {
			continue
		}
		name := words[0]
		if name == "env" {
			name += " " + words[1]
		}
		if !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	return all
}

// debianConfig reads how Debian configures its U-Boot for the board; what is
// not set is "".
func debianConfig(t *testing.T) map[string]string {
	t.Helper()
	d, err := machine.Fetch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(d.File("u-boot-omap", "usr/share/doc/u-boot-omap/configs/config.am335x_boneblack.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	zip, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	config := map[string]string{}
	lines := bufio.NewScanner(zip)
	for lines.Scan() {
		if name, value, ok := strings.Cut(lines.Text(), "="); ok {
			config[name] = strings.Trim(value, `"`)
		}
	}
	if err := lines.Err(); err != nil || len(config) < 500 {
		t.Fatalf("%d settings, %v", len(config), err)
	}
	return config
}

// TestBeagleDebianConfig: what the profile says of Debian's U-Boot is so.
func TestBeagleDebianConfig(t *testing.T) {
	config := debianConfig(t)
	for name, want := range map[string]string{
		// Why the script is as it is.
		"CONFIG_CMD_SETEXPR":                 "",
		"CONFIG_SYS_REDUNDAND_ENVIRONMENT":   "",
		"CONFIG_ENV_REDUNDANT":               "",
		"CONFIG_ENV_WRITEABLE_LIST":          "",
		"CONFIG_LEGACY_IMAGE_FORMAT":         "y",
		"CONFIG_HUSH_PARSER":                 "y",
		"CONFIG_PARTITION_UUIDS":             "y",
		"CONFIG_DOS_PARTITION":               "y",
		"CONFIG_FS_EXT4":                     "y",
		"CONFIG_FS_FAT":                      "y",
		"CONFIG_MMC_WRITE":                   "y",
		"CONFIG_DISTRO_DEFAULTS":             "y",
		"CONFIG_SYS_MMCSD_FS_BOOT_PARTITION": "1",
		// A register counts every boot, and has no limit of its own.
		"CONFIG_BOOTCOUNT_LIMIT":     "y",
		"CONFIG_BOOTCOUNT_AM33XX":    "y",
		"CONFIG_BOOTCOUNT_ENV":       "",
		"CONFIG_BOOTCOUNT_BOOTLIMIT": "0",
		// The watchdog.
		"CONFIG_WATCHDOG_AUTOSTART":     "y",
		"CONFIG_WATCHDOG_TIMEOUT_MSECS": "60000",
		"CONFIG_WDT_OMAP3":              "y",
		// Its own environment: a file that no image has.
		"CONFIG_ENV_IS_IN_FAT":           "y",
		"CONFIG_ENV_IS_IN_MMC":           "",
		"CONFIG_ENV_FAT_INTERFACE":       "mmc",
		"CONFIG_ENV_FAT_DEVICE_AND_PART": "0:1",
		"CONFIG_ENV_FAT_FILE":            "uboot.env",
	} {
		if got := config[name]; got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	p := loadProfile(t, "beaglebone-black-debian")
	used := commands(p.Script())
	for _, name := range used {
		setting, ok := commandOf[name]
		switch {
		case !ok:
			t.Errorf("the script runs %q, of which it is not known whether Debian's U-Boot has it", name)
		case setting != commandOf["reset"] && config[setting] != "y":
			t.Errorf("the script runs %s, and %s is %q", name, setting, config[setting])
		}
	}
	if len(used) != len(commandOf) {
		t.Errorf("the script runs %d commands, want %d: %v", len(used), len(commandOf), used)
	}
	words, err := strconv.Atoi(config["CONFIG_SYS_MAXARGS"])
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(p.Script()) {
		for piece := range strings.FieldsFuncSeq(line, func(r rune) bool { return strings.ContainsRune(";'", r) }) {
			if n := len(strings.Fields(piece)); n > words && !strings.HasPrefix(line, "#") {
				t.Errorf("%d words, and U-Boot takes %d: %s", n, words, piece)
			}
		}
	}
	for _, f := range p.Firmware {
		if _, err := os.Stat(filepath.Join(debianFirmware(t), f.File)); err != nil {
			t.Error(err)
		}
		if !strings.Contains(f.From[0], "u-boot-omap: /usr/lib/u-boot/am335x_boneblack/"+f.File) {
			t.Errorf("%s is from %v", f.File, f.From)
		}
	}
}

// debianDefaults returns variables of the environment that Debian's U-Boot for
// the board was built with.
func debianDefaults(t *testing.T) map[string]string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(debianFirmware(t), "uboot.elf"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := bytes.Cut(b, []byte("\x00bootcmd="))
	if !ok {
		t.Fatal("uboot.elf has no default environment")
	}
	block, _, _ := bytes.Cut(rest, []byte("\x00\x00"))
	vars := map[string]string{}
	for v := range strings.SplitSeq("bootcmd="+string(block), "\x00") {
		name, value, _ := strings.Cut(v, "=")
		vars[name] = value
	}
	return vars
}

// TestBeagleDebianDefaults: U-Boot finds the script, and the profile names the
// device tree and the places in memory that U-Boot would take itself.
func TestBeagleDebianDefaults(t *testing.T) {
	vars, p := debianDefaults(t), loadProfile(t, "beaglebone-black-debian")
	tree := regexp.MustCompile(`if test \$board_name = A335BNLT; then setenv fdtfile ([^;]+); fi`).FindStringSubmatch(vars["findfdt"])
	if tree == nil || path.Base(p.Boot.DeviceTree) != tree[1] {
		t.Errorf("the device tree is %s, and U-Boot's %v", p.Boot.DeviceTree, tree)
	}
	if targets := strings.Fields(vars["boot_targets"]); len(targets) == 0 || targets[0] != strings.ReplaceAll(p.Disk.UBoot, " ", "") {
		t.Errorf("U-Boot looks at %v, and the disk is %s", targets, p.Disk.UBoot)
	}
	if !slices.Contains(strings.Fields(vars["boot_scripts"]), p.Boot.Script) || !strings.HasPrefix(vars["boot_prefixes"], "/ ") {
		t.Errorf("U-Boot does not look for /%s: %s in %s", p.Boot.Script, vars["boot_scripts"], vars["boot_prefixes"])
	}
	if vars["console"] != p.Boot.Console {
		t.Errorf("the console is %s, and U-Boot's %s", p.Boot.Console, vars["console"])
	}
	for name := range vars {
		if name == "bootlimit" || name == "uboot.env" || strings.HasPrefix(name, "pl_") || strings.HasPrefix(name, "plimsoll") {
			t.Errorf("U-Boot's own environment has %s=%s", name, vars[name])
		}
	}
	for name, at := range map[string]profile.Size{
		"kernel_addr_r": p.Boot.Address.Kernel, "fdt_addr_r": p.Boot.Address.DeviceTree, "ramdisk_addr_r": p.Boot.Address.Initrd,
	} {
		if own := address(t, vars[name]); own != at {
			t.Errorf("%s is %#x, and the profile's %#x", name, int64(own), int64(at))
		}
	}
	beagleMemory(t, p, address(t, vars["scriptaddr"]))
}

func address(t *testing.T, text string) profile.Size {
	t.Helper()
	var s profile.Size
	if err := s.Set(text); err != nil {
		t.Fatal(err)
	}
	return s
}

// beagleMemory: what is loaded fits between what is loaded elsewhere, in 512
// MiB of which U-Boot keeps the end for itself.
func beagleMemory(t *testing.T, p *profile.Profile, script profile.Size) {
	t.Helper()
	const (
		mib   = 1 << 20
		start = 0x80000000
		end   = start + 512*mib - 48*mib // U-Boot, its heap of 32 MiB and stack are above
	)
	type piece struct {
		what     string
		at, room profile.Size
	}
	a := p.Boot.Address
	pieces := []piece{
		{"script", script, 1 * mib}, {"scratch", a.Scratch, 4 * p.Environment.Size}, {"kernel", a.Kernel, 24 * mib},
		{"device tree", a.DeviceTree, 256 << 10}, {"initrd", a.Initrd, 64 * mib},
	}
	slices.SortFunc(pieces, func(a, b piece) int { return int(a.at - b.at) })
	free := profile.Size(start)
	for _, q := range pieces {
		if q.at < free {
			t.Errorf("%s at %#x lies in what is before it, which ends at %#x", q.what, int64(q.at), int64(free))
		}
		free = q.at + q.room
	}
	if free > end {
		t.Errorf("the last of them ends at %#x, and the memory that is free at %#x", int64(free), int64(end))
	}
}
