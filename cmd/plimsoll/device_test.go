package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A machine is a device without a computer around it: one disk with two slots, a data partition and the boot environment between them.
// A slot "starts" when it is mounted as / in a mount namespace of its own, with the kernel command line and the boot id of that start.
type machine struct {
	t    *testing.T
	name string // of the loop device
	dev  string // folder with its nodes and those of its partitions: what the machine has as /dev
	env  string // fw_env.config for the peers
	boot int    // counts starts
	slot string // that runs: "2" or "3"
	line string // kernel command line, "" for root= of the slot
	data bool   // /data is mounted
	rw   bool   // / is mounted for writing
}

const (
	machineMiB  = 1 << 20
	machineSlot = 24 * machineMiB
	machineSig  = 0x504c494d // of the MBR: the first half of every PARTUUID
)

// machineParts are the partitions, in MiB: 1 holds the boot environment, 2 and 3 the slots, 4 the data.
var machineParts = [4]struct{ start, size uint32 }{{3, 1}, {4, 24}, {28, 24}, {52, 12}}

// newMachine builds the static command, both systems and the disk, and starts slot A. It returns the machine and the image of a system
// for the other slot.
func newMachine(t *testing.T) (*machine, []byte) {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "plimsoll")
	build := exec.Command("go", "build", "-ldflags=-s -w", "-o", bin, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := outputOf(build); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	file := filepath.Join(t.TempDir(), "disk.img")
	sparse(t, file, 64*machineMiB, 0)
	disk, err := os.OpenFile(file, os.O_RDWR, 0)
	must(t, err)
	write := func(b []byte, at int64) {
		t.Helper()
		_, err := disk.WriteAt(b, at)
		must(t, err)
	}
	write(machineMBR(), 0)
	empty := filepath.Join(t.TempDir(), "data.img")
	sparse(t, empty, int64(machineParts[3].size)*machineMiB, 0)
	peer(t, "mkfs.ext4", "-q", "-F", empty)
	write([]byte(readFile(t, empty)), int64(machineParts[3].start)*machineMiB)
	for i := range byte(2) {
		c, err := benchEnv.Encode(benchEnvSize, true, i+1)
		must(t, err)
		write(c, int64(machineParts[0].start)*machineMiB+int64(i)*0x80000)
	}
	must(t, disk.Close())

	m := &machine{t: t, name: filepath.Base(loop(t, file)), boot: 1, slot: "2", data: true}
	for i, p := range machineParts { // not every kernel reads the table
		n := strconv.Itoa(i + 1)
		peer(t, "addpart", "/dev/"+m.name, n, fmt.Sprint(p.start*machineMiB/512), fmt.Sprint(p.size*machineMiB/512))
		t.Cleanup(func() { peer(t, "delpart", "/dev/"+m.name, n) })
	}
	m.makeDev()
	m.env = filepath.Join(t.TempDir(), "fw_env.config")
	config := func(disk string) string {
		return fmt.Sprintf("%[1]sp1 0x0 %#[2]x\n%[1]sp1 0x80000 %#[2]x\n", disk, benchEnvSize)
	}
	writeFile(t, m.env, config(m.node("")))
	m.overwrite("p2", 0, m.system(bin, config("/dev/"+m.name), "A"))
	return m, m.system(bin, config("/dev/"+m.name), "B")
}

// makeDev makes the nodes that a machine's devtmpfs would have. In a container /dev has none for partitions.
func (m *machine) makeDev() {
	m.t.Helper()
	m.dev = m.t.TempDir()
	mount(m.t, "none", m.dev, "tmpfs", 0, "")
	must(m.t, unix.Mknod(filepath.Join(m.dev, "null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	nodes := map[string]string{m.name: ""}
	for i := range machineParts {
		part := fmt.Sprintf("%sp%d", m.name, i+1)
		nodes[part] = part
	}
	for node, folder := range nodes {
		var major, minor uint32
		_, err := fmt.Sscanf(readFile(m.t, filepath.Join("/sys/block", m.name, folder, "dev")), "%d:%d", &major, &minor)
		must(m.t, err)
		must(m.t, unix.Mknod(filepath.Join(m.dev, node), unix.S_IFBLK|0o600, int(unix.Mkdev(major, minor))))
	}
}

// node returns the path of the disk, or of a partition, outside of the machine.
func (m *machine) node(part string) string { return filepath.Join(m.dev, m.name+part) }

// overwrite writes to the disk or to a partition, past whoever uses it.
func (m *machine) overwrite(part string, at int64, b []byte) {
	m.t.Helper()
	f, err := os.OpenFile(m.node(part), os.O_WRONLY, 0)
	must(m.t, err)
	_, err = f.WriteAt(b, at)
	must(m.t, err)
	must(m.t, f.Sync())
	must(m.t, f.Close())
}

// machineMBR is a partition table.
func machineMBR() []byte {
	b := make([]byte, 512)
	binary.LittleEndian.PutUint32(b[440:], machineSig)
	for i, p := range machineParts {
		e := b[446+16*i:]
		e[4] = 0x83
		binary.LittleEndian.PutUint32(e[8:], p.start*machineMiB/512)
		binary.LittleEndian.PutUint32(e[12:], p.size*machineMiB/512)
	}
	b[510], b[511] = 0x55, 0xaa
	return b
}

// system makes the image of a root file system with the command and its configuration.
func (m *machine) system(bin, fwEnv, name string) []byte {
	m.t.Helper()
	root, image := m.t.TempDir(), filepath.Join(m.t.TempDir(), "rootfs.ext4")
	for _, dir := range []string{"bin", "dev", "proc", "sys", "data", "tmp", "var/lock", "var/lib/mender", "etc/plimsoll/keys"} {
		must(m.t, os.MkdirAll(filepath.Join(root, dir), 0o755))
	}
	must(m.t, os.Link(bin, filepath.Join(root, "bin/plimsoll")))
	config := strings.NewReplacer(`"state"`, `"/data/plimsoll"`, `"*.pub.pem"`, `"keys/*.pem"`, `running = "bootloader"`, `running = "mount"`,
		`"slot2.img"`, "2", `"slot3.img"`, "3", `"fw_env.config"`, `"/etc/fw_env.config"`, "lock = \"fw.lock\"\n", "").Replace(benchConfig) +
		"[health]\nstable = \"0s\"\ncompare = false\n"
	for path, content := range map[string]string{
		"etc/release": name, "etc/fw_env.config": fwEnv,
		"etc/plimsoll/plimsoll.toml":     config,
		"etc/plimsoll/partuuid.toml":     strings.NewReplacer("a = 2", fmt.Sprintf(`a = "PARTUUID=%08x-02"`, machineSig), "b = 3", fmt.Sprintf(`b = "PARTUUID=%08x-03"`, machineSig)).Replace(config),
		"etc/plimsoll/bench.toml":        strings.Replace(config, `"mount"`, `"bootloader"`, 1),
		"etc/plimsoll/on-slot.toml":      strings.Replace(config, "/data/plimsoll", "/etc", 1),
		"var/lib/mender/mender-store":    menderStore(m.t, "mender-committed"),
		"etc/plimsoll/keys/p256.pub.pem": readFile(m.t, filepath.Join(keyDir, "p256.pub.pem")),
	} {
		writeFile(m.t, filepath.Join(root, path), content)
	}
	sparse(m.t, image, machineSlot, 0)
	peer(m.t, "mkfs.ext4", "-q", "-F", "-d", root, image)
	return []byte(readFile(m.t, image))
}

// starts makes slot part the running system, in a boot of its own.
func (m *machine) starts(part string) {
	m.boot++
	m.slot = part
}

// uboot writes the boot environment as a bootloader would: NAME VALUE pairs.
func (m *machine) uboot(pairs ...string) {
	m.t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		peer(m.t, "fw_setenv", "-c", m.env, pairs[i], pairs[i+1])
	}
}

// hasEnv complains unless fw_printenv finds each variable with its value; "" is absent.
func (m *machine) hasEnv(pairs ...string) {
	m.t.Helper()
	have := bench{filepath.Dir(m.env)}.printenv(m.t)
	for i := 0; i < len(pairs); i += 2 {
		if have[pairs[i]] != pairs[i+1] {
			m.t.Errorf("%s is %q, want %q", pairs[i], have[pairs[i]], pairs[i+1])
		}
	}
}

// run calls the command in the running system.
func (m *machine) run(stdin string, args ...string) result {
	m.t.Helper()
	line := m.line
	if line == "" {
		line = "console=ttyS0 root=/dev/" + m.name + "p" + m.slot + " ro quiet"
	}
	files := m.t.TempDir()
	writeFile(m.t, filepath.Join(files, "cmdline"), line+"\n")
	writeFile(m.t, filepath.Join(files, "boot_id"), fmt.Sprintf("00000000-0000-4000-8000-%012d\n", m.boot))
	data := ""
	if m.data {
		data = m.node("p4")
	}
	c := exec.Command("/proc/self/exe", args...)
	c.Args[0] = "start-slot"
	c.Env = []string{"START_ROOT=" + m.node("p"+m.slot), "START_DATA=" + data, "START_DEV=" + m.dev, fmt.Sprintf("START_RW=%v", m.rw), "START_FILES=" + files, "START_DIR=" + m.t.TempDir()}
	c.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	var stdout, stderr strings.Builder
	c.Stdin, c.Stdout, c.Stderr = strings.NewReader(stdin), &stdout, &stderr
	err := runProcess(c)
	r := result{c.ProcessState.ExitCode(), stdout.String(), stderr.String()}
	if _, ok := err.(*exec.ExitError); err != nil && !ok || r.code == 99 {
		m.t.Fatalf("%v: %s", err, r.stderr)
	}
	return r
}

// startSlot is a process in a mount namespace of its own. It mounts what run names and becomes the command in there. The capability to
// reboot goes first, and the sysrq file: what is asked to reboot is this machine.
func startSlot() {
	check := func(what string, err error) {
		if err != nil {
			fmt.Fprintf(os.Stderr, "start %s: %v\n", what, err)
			os.Exit(99)
		}
	}
	root, files := os.Getenv("START_DIR"), os.Getenv("START_FILES")
	in := func(path string) string { return filepath.Join(root, path) }
	check("capabilities", unix.Prctl(unix.PR_CAPBSET_DROP, unix.CAP_SYS_BOOT, 0, 0, 0))
	check("namespace", unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	check("time", startsNow())
	flags := uintptr(unix.MS_RDONLY)
	if os.Getenv("START_RW") == "true" {
		flags = 0
	}
	check("root", unix.Mount(os.Getenv("START_ROOT"), root, "ext4", flags, ""))
	for dir, from := range map[string]string{"/dev": os.Getenv("START_DEV"), "/proc": "/proc", "/sys": "/sys"} {
		check(dir, unix.Mount(from, in(dir), "", unix.MS_BIND|unix.MS_REC, ""))
	}
	for _, dir := range []string{"/tmp", "/var/lock"} {
		check(dir, unix.Mount("none", in(dir), "tmpfs", 0, ""))
	}
	if err := unix.Mount("/dev/null", in("/proc/sysrq-trigger"), "", unix.MS_BIND, ""); err != unix.ENOENT {
		check("sysrq", err) // not every kernel has it
	}
	check("cmdline", unix.Mount(filepath.Join(files, "cmdline"), in("/proc/cmdline"), "", unix.MS_BIND, ""))
	check("boot_id", unix.Mount(filepath.Join(files, "boot_id"), in("/proc/sys/kernel/random/boot_id"), "", unix.MS_BIND, ""))
	if data := os.Getenv("START_DATA"); data != "" {
		check("/data", unix.Mount(data, in("/data"), "ext4", 0, ""))
		check("/data", os.MkdirAll(in("/data/plimsoll"), 0o755))
	}
	check("chroot", unix.Chroot(root))
	check("chdir", os.Chdir("/"))
	check("command", syscall.Exec("/bin/plimsoll", append([]string{"plimsoll"}, os.Args[1:]...), []string{"PATH=/bin"}))
}

// The main goroutine stays on the first thread: a namespace that another thread
// made is not the one that /proc/self is about.
func init() { runtime.LockOSThread() }

// startsNow lets what this process becomes believe that it was booted 20 s ago:
// health has a deadline from there.
func startsNow() error {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return err
	}
	if err := unix.Unshare(unix.CLONE_NEWTIME); err != nil {
		return err
	}
	return os.WriteFile("/proc/self/timens_offsets", fmt.Appendf(nil, "boottime %d 0\n", 20-now.Sec), 0)
}

// row complains unless status names this row of the table, and the running slot.
func (m *machine) row(want, running string) {
	m.t.Helper()
	r := m.run("", "--json", "status")
	events, err := r.events()
	if err != nil || len(events) == 0 {
		m.t.Errorf("status: %v\n%+v", err, r)
		return
	}
	if e := events[0]; e["row"] != want || e["running"] != running {
		m.t.Errorf("row %v on slot %v, want %s on %s\n%s", e["row"], e["running"], want, running, r.stdout)
	}
}

// outputOf runs a process and returns all that it printed.
func outputOf(c *exec.Cmd) (string, error) {
	var out strings.Builder
	c.Stdout, c.Stderr = &out, &out
	err := runProcess(c)
	return out.String(), err
}

// A whole life: installed and taken back, installed and kept, fallen back, ignored by the bootloader; and the troubles that only a real
// root file system has.
func TestDevice(t *testing.T) {
	t.Parallel()
	if !asRoot(t) {
		return
	}
	m, image := newMachine(t)
	one := readFile(t, order{name: "one", image: image, key: "p256"}.write(t))
	image[len(image)-1] ^= 1 // free space
	two := readFile(t, order{name: "two", image: image, key: "p256"}.write(t))

	m.row("A1", "A")
	m.run("", "resume").want(t, 2)
	if r := m.run("", "status", "--provides").want(t, 0); !strings.HasPrefix(r.stdout, "artifact_group=fleet\nartifact_name=rel-3\n") {
		t.Errorf("what Mender's client left is not taken over:\n%s", r.stdout)
	}

	// Installed, and taken back before the reboot.
	m.run(one, "install", "--reboot-exit-code", "-").want(t, 4, "Reboot to try it")
	m.hasEnv("mender_boot_part", "3", "mender_boot_part_hex", "3", "upgrade_available", "1", "bootcount", "0", "bootlimit", "3")
	m.row("D2", "A")
	m.run("", "commit").want(t, 1, "was not booted yet")
	m.run("", "resume").want(t, 1, "a reboot starts the trial")
	m.run(two, "install", "-").want(t, 1, "the device is unchanged")
	m.run("", "rollback").want(t, 0)
	m.hasEnv("mender_boot_part", "2", "mender_boot_part_hex", "2", "upgrade_available", "0", "plimsoll_trial", "")
	m.row("H1", "A")

	// Installed, booted and kept. By PARTUUID it is the same.
	m.run(one, "--config", "/etc/plimsoll/partuuid.toml", "install", "-").want(t, 0)
	m.uboot("bootcount", "1")
	m.starts("3")
	m.row("D4", "B")
	m.run("", "resume").want(t, 0)
	m.hasEnv("mender_boot_part", "3", "upgrade_available", "0", "plimsoll_trial", "")
	m.row("A1", "B")
	m.run("", "resume").want(t, 2)

	// Installed, and U-Boot went back: the id stays.
	m.run(two, "install", "-").want(t, 0)
	if readFile(t, m.node("p2")) != string(image) {
		t.Error("slot A does not hold the image")
	}
	m.uboot("mender_boot_part", "3", "mender_boot_part_hex", "3", "upgrade_available", "0", "bootcount", "4")
	m.starts("3")
	m.row("D5", "B")
	m.run("", "resume").want(t, 1, "never reached plimsoll", "hint: see: plimsoll history")
	m.row("H1", "B")
	m.hasEnv("mender_boot_part", "3", "upgrade_available", "0", "plimsoll_trial", "")
	if r := m.run("", "history").want(t, 0); !regexp.MustCompile(`failed +two  B → A .*\(row D5\)\n$`).MatchString(r.stdout) {
		t.Errorf("the history does not end with the fallback:\n%s", r.stdout)
	}
	m.run(two, "install", "-").want(t, 3, "failed on this device before")
	m.run("", "rollback").want(t, 1, "does not hold a complete system")

	// Installed, rebooted, and the bootloader did not look.
	m.run(one, "install", "-").want(t, 0)
	m.starts("3")
	m.row("D3a", "B")
	m.run("", "resume").want(t, 1, "the bootloader ignored the update")
	m.hasEnv("mender_boot_part", "3", "upgrade_available", "0", "plimsoll_trial", "")
	m.row("H1", "B")

	m.troubles(two)

	// Both copies of the environment are lost, and come back from the backup.
	for _, offset := range []int64{0, 0x80000} {
		m.overwrite("p1", offset, make([]byte, 512))
	}
	m.row("A7", "B")
	m.run(two, "install", "--retry", "-").want(t, 1)
	m.run("", "resume").want(t, 0)
	m.hasEnv("mender_boot_part", "3", "upgrade_available", "0", "bootcmd", benchEnv["bootcmd"])
	m.run(two, "install", "--retry", "-").want(t, 0)
	m.starts("2")
	m.run("", "commit").want(t, 0)
	m.row("A1", "A")
}

// troubles are tried on a device that is idle on slot B. Nothing changes.
func (m *machine) troubles(artifact string) {
	m.t.Helper()
	const config = "/etc/plimsoll/plimsoll.toml"
	refused := func(code int, config string, says ...string) {
		m.t.Helper()
		m.run(artifact, "--config", config, "install", "--retry", "-").want(m.t, code, says...)
	}
	m.rw = true
	refused(5, "/etc/plimsoll/on-slot.toml", "is on slot B, which an update replaces")
	m.data = false
	refused(5, config, "state directory cannot be used")
	m.data, m.rw = true, false
	before := readFile(m.t, m.node("p2")) + readFile(m.t, m.node("p3"))
	m.data = false
	refused(5, config, "state directory cannot be used")
	m.run("", "status").want(m.t, 5)
	m.data = true

	refused(5, "/etc/plimsoll/on-slot.toml", "state directory cannot be used")
	refused(5, "/etc/plimsoll/bench.toml", "is for a bench")

	m.line = "root=/dev/" + m.name + "p2"
	refused(5, config, "slots are ambiguous", m.line)
	m.line = ""

	m.t.Run("the other slot is mounted in another namespace", func(t *testing.T) {
		mount(t, m.node("p2"), t.TempDir(), "ext4", unix.MS_RDONLY, "")
		refused(1, config, "slot is in use", "the device is unchanged")
	})
	m.hasEnv("mender_boot_part", "3", "upgrade_available", "0", "plimsoll_trial", "")
	if readFile(m.t, m.node("p2"))+readFile(m.t, m.node("p3")) != before {
		m.t.Error("a slot changed")
	}
}
