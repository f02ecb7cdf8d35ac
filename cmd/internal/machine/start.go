package machine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// A Board is a machine that QEMU can be.
type Board int

const (
	Virt Board = iota // QEMU's virt, with virtio disks; seconds to start
	Pi3               // Raspberry Pi 3, with one card; slow
)

// A Config says what a machine is made of. The zero value of each field but
// Disks will do.
type Config struct {
	Board Board
	Disks []Disk // it starts from the first; a Pi has one, of a size that is a power of two

	// UBoot sets variables of U-Boot's environment that are to differ from those
	// that it was built with; "" removes one. Unless they say otherwise it looks
	// at the first disk only and does not wait for a key. An empty map that is
	// not nil leaves U-Boot as Debian built it, without a flash. Virt only.
	UBoot map[string]string

	Watchdog bool      // Virt: an i6300esb that resets the machine; the guest arms it
	USB      bool      // Virt: a controller for Plug; a Pi always has one
	Clock    time.Time // what the real-time clock shows at the start; zero: now
	Log      io.Writer // gets what comes from the console, as it comes
	Args     []string  // more arguments of QEMU
}

// startAtOnce is what Config.UBoot is added to. By its own defaults U-Boot would
// wait for a key for two seconds, and look at USB before the disk.
var startAtOnce = map[string]string{"boot_targets": "virtio0", "bootdelay": "-2"}

// Start switches a machine on. Its console is then read by Expect.
func (d *Debian) Start(ctx context.Context, c Config) (*Machine, error) {
	m, err := d.start(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("start machine: %w", err)
	}
	return m, nil
}

func (d *Debian) start(ctx context.Context, c Config) (*Machine, error) {
	if len(c.Disks) == 0 {
		return nil, errors.New("no disk to start from")
	}
	qemu, err := tool("qemu-system-aarch64")
	if err != nil {
		return nil, err
	}
	if err := c.emptyLogs(); err != nil {
		return nil, err
	}
	cmd := exec.Command(qemu)
	m := &Machine{board: c.Board, console: newConsole(), done: make(chan struct{})}
	line, err := attach(cmd) // file 3
	if err != nil {
		return nil, err
	}
	m.line = line
	control, err := attach(cmd) // file 4
	if err != nil {
		return nil, errors.Join(err, line.Close(), closeAll(cmd.ExtraFiles))
	}
	args, err := d.arguments(cmd, c)
	if err != nil {
		return nil, errors.Join(err, line.Close(), control.Close(), closeAll(cmd.ExtraFiles))
	}
	cmd.Args = append(cmd.Args, args...)
	if err := m.launch(cmd); err != nil {
		return nil, errors.Join(err, line.Close(), control.Close())
	}
	context.AfterFunc(ctx, m.Cut)
	go m.listen(c.Log)
	m.monitor = newMonitor(control)
	if err := m.Execute(ctx, "qmp_capabilities", nil, nil); err != nil {
		return nil, m.stillborn(err)
	}
	return m, nil
}

// stillborn returns what QEMU said, which is the reason if it said something.
func (m *Machine) stillborn(err error) error {
	select {
	case <-m.done:
	case <-time.After(time.Second):
	}
	m.Cut()
	if m.err != nil && !errors.Is(m.err, ErrCut) {
		return m.err
	}
	return err
}

// emptyLogs makes what QEMU wants to be there, and empty.
func (c Config) emptyLogs() error {
	for _, disk := range c.Disks {
		if disk.WriteLog == "" {
			continue
		}
		if err := os.WriteFile(disk.WriteLog, nil, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// attach makes a line to the process that is to be started: it has no name that
// could be left over, or be too long.
func attach(cmd *exec.Cmd) (net.Conn, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make a line to QEMU: %w", err)
	}
	ours := os.NewFile(uintptr(fds[0]), "line")
	defer ours.Close()
	cmd.ExtraFiles = append(cmd.ExtraFiles, os.NewFile(uintptr(fds[1]), "line"))
	return net.FileConn(ours)
}

func closeAll(files []*os.File) (err error) {
	for _, f := range files {
		err = errors.Join(err, f.Close())
	}
	return err
}

// arguments returns QEMU's, and adds to the files that it is given.
func (d *Debian) arguments(cmd *exec.Cmd, c Config) ([]string, error) {
	args := []string{
		"-nodefaults", "-display", "none", "-nic", "none",
		"-chardev", "socket,id=console,fd=3",
		"-chardev", "socket,id=control,fd=4", "-mon", "chardev=control,mode=control",
	}
	if !c.Clock.IsZero() {
		args = append(args, "-rtc", "base="+c.Clock.UTC().Format("2006-01-02T15:04:05"))
	}
	var board []string
	var err error
	switch c.Board {
	case Virt:
		board, err = d.virt(cmd, c)
	case Pi3:
		board, err = d.pi3(c)
	default:
		err = fmt.Errorf("no board %d", c.Board)
	}
	return append(append(args, board...), c.Args...), err
}

func (d *Debian) virt(cmd *exec.Cmd, c Config) ([]string, error) {
	args := []string{
		"-M", "virt", "-cpu", "cortex-a53", "-m", "512", "-serial", "chardev:console",
		"-bios", d.File("u-boot-qemu", "usr/lib/u-boot/qemu_arm64/u-boot.bin"),
	}
	for i, disk := range c.Disks {
		name := "disk" + strconv.Itoa(i)
		group, top := disk.nodes(name)
		if group != nil {
			args = append(args, "-object", group.json())
		}
		args = append(args, "-blockdev", top.json(), "-device", "virtio-blk-pci,drive="+name)
	}
	if c.Watchdog {
		args = append(args, "-device", "i6300esb", "-action", "watchdog=reset")
	}
	if c.USB {
		args = append(args, "-device", "qemu-xhci,id=xhci")
	}
	if c.UBoot != nil && len(c.UBoot) == 0 {
		return args, nil
	}
	flash, err := d.flash(c.UBoot)
	if err != nil {
		return nil, err
	}
	cmd.ExtraFiles = append(cmd.ExtraFiles, flash)
	return append(args, "-add-fd", "set=1,fd=5", "-drive", "if=pflash,unit=1,format=raw,readonly=on,file=/dev/fdset/1"), nil
}

// flash makes the flash from which U-Boot reads its environment, as a file
// without a name.
func (d *Debian) flash(set map[string]string) (*os.File, error) {
	uboot, err := os.ReadFile(d.File("u-boot-qemu", "usr/lib/u-boot/qemu_arm64/u-boot.bin"))
	if err != nil {
		return nil, err
	}
	all := maps.Clone(startAtOnce)
	maps.Copy(all, set)
	env, err := environment(uboot, all)
	if err != nil {
		return nil, err
	}
	fd, err := unix.MemfdCreate("flash", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make a flash: %w", err)
	}
	f := os.NewFile(uintptr(fd), "flash")
	defer f.Close()
	if _, err := f.Write(env); err != nil {
		return nil, err
	}
	if err := f.Truncate(flashSize); err != nil {
		return nil, err
	}
	// QEMU takes only a file that is open in the way in which it would open it.
	return os.Open(fmt.Sprintf("/proc/self/fd/%d", fd))
}

// pi3 starts a Pi without its firmware: QEMU loads U-Boot. Its console is the
// second serial line, the mini UART.
func (d *Debian) pi3(c Config) ([]string, error) {
	if len(c.Disks) != 1 {
		return nil, errors.New("a Pi has one card")
	}
	group, top := c.Disks[0].nodes("disk0")
	args := []string{
		// Until Linux starts them, three of its four processors do nothing but ask
		// to be let go on, which a thread of their own takes from the first: a
		// start takes four times as long.
		"-accel", "tcg,thread=single",
		"-M", "raspi3b", "-serial", "null", "-serial", "chardev:console",
		"-kernel", d.File("u-boot-rpi", "usr/lib/u-boot/rpi_3/u-boot.bin"), "-dtb", d.pi3DeviceTree(),
	}
	if group != nil {
		args = append(args, "-object", group.json())
	}
	return append(args, "-drive", "if=sd,"+top.dotted()), nil
}
