// Command demo tells the story of one device, with a real bootloader: make demo
// runs it. It makes a disk image, starts it in QEMU with Debian's unmodified
// U-Boot and kernel, plugs in a stick with an update, lets the board install,
// try and keep it, then gives it a broken one and watches the board come back.
//
// usage: demo PLIMSOLL
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/plimsoll-ota/plimsoll/cmd/internal/machine"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: demo PLIMSOLL")
		os.Exit(64)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := tell(ctx, os.Args[1])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func tell(ctx context.Context, plimsoll string) (err error) {
	plimsoll, err = filepath.Abs(plimsoll)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "demo")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s := &story{ctx: ctx, dir: dir, plimsoll: plimsoll, begun: time.Now()}
	defer func() {
		if s.m != nil {
			s.m.Cut()
		}
	}()
	for _, chapter := range []func() error{s.releases, s.workbench, s.board, s.update, s.broken, s.end} {
		if err := chapter(); err != nil {
			return err
		}
	}
	return nil
}

// A story is what has been told so far.
type story struct {
	ctx      context.Context
	dir      string
	plimsoll string
	begun    time.Time
	debian   *machine.Debian
	m        *machine.Machine
}

func (s *story) path(name string) string { return filepath.Join(s.dir, name) }

func say(title string) { fmt.Printf("\n\033[1m%s\033[0m\n", title) }

func explain(text string) { fmt.Println(text) }

func indent(text string) {
	for line := range strings.Lines(text) {
		if line = strings.TrimRight(line, "\n"); line != "" {
			fmt.Println("    " + line)
		}
	}
}

// here runs a command on this machine and shows it.
func (s *story) here(args ...string) error {
	cmd := exec.CommandContext(s.ctx, args[0], args[1:]...)
	cmd.Dir = s.dir
	shown := append([]string{filepath.Base(args[0])}, args[1:]...)
	fmt.Printf("\n  $ %s\n", strings.Join(shown, " "))
	out, err := cmd.CombinedOutput()
	indent(string(out))
	if err != nil {
		return fmt.Errorf("%s: %w", strings.Join(shown, " "), err)
	}
	return nil
}

// there runs a command on the board and shows it.
func (s *story) there(command string) error {
	fmt.Printf("\n  board # %s\n", command)
	out, code, err := s.m.Run(s.ctx, command)
	if err != nil {
		return err
	}
	indent(out)
	if code != 0 {
		return fmt.Errorf("on the board, %s: exit %d", command, code)
	}
	return nil
}

// until waits for what belongs to the story on the console, and shows it.
func (s *story) until(patterns ...string) error {
	for _, p := range patterns {
		met, err := s.m.Expect(s.ctx, p)
		if err != nil {
			return err
		}
		switch p {
		case machine.Init:
			met = "the system runs: " + met
		case machine.Ready:
			met = "it is up, " + met + " s after the kernel's start"
		}
		fmt.Println("    | " + met)
	}
	return nil
}

// releases makes three root file systems. The third is broken: its init exits,
// and the kernel panics.
func (s *story) releases() (err error) {
	say("Three releases")
	explain("Small root file systems with Debian's kernel and busybox, and plimsoll. The third\none is broken: its first process exits, and the kernel panics.")
	if s.debian, err = machine.Fetch(s.ctx); err != nil {
		return err
	}
	command, err := machine.Command(s.ctx, "arm64")
	if err != nil {
		return err
	}
	for version, fault := range map[string]machine.Fault{"1.0.0": machine.Sound, "2.0.0": machine.Sound, "3.0.0": machine.InitExits} {
		if err := s.debian.WriteGuest(s.path("root-"+version), machine.Guest{Version: version, Plimsoll: command, Fault: fault}); err != nil {
			return err
		}
	}
	return nil
}

// workbench makes key, disk image, artifacts and stick.
func (s *story) workbench() error {
	say("At the workbench: a disk image, and two signed artifacts on a stick")
	p := s.plimsoll
	steps := [][]string{
		{p, "key", "generate", "-o", "private.pem"},
		{p, "key", "public", "private.pem", "-o", "public.pem"},
		{p, "--quiet", "image", "build", "--board", "qemu-arm64", "--rootfs", "root-1.0.0", "--key", "public.pem", "--slot-size", "64MiB", "-o", "disk.img"},
	}
	for _, version := range []string{"2.0.0", "3.0.0"} {
		steps = append(steps,
			[]string{p, "--quiet", "image", "build", "--board", "qemu-arm64", "--rootfs", "root-" + version, "--key", "public.pem", "--slot-size", "64MiB", "--slot-image", version + ".ext4", "-o", version + ".img"},
			[]string{p, "--quiet", "artifact", "write", "rootfs-image", "-f", version + ".ext4", "-n", "release-" + version, "--software-version", version, "-c", "qemu-arm64", "-k", "private.pem", "-o", "release-" + version + ".mender"})
	}
	for _, args := range append(steps,
		[]string{"mkfs.vfat", "-C", "-n", "STICK", "stick.img", "131072"},
		[]string{"mcopy", "-i", "stick.img", "release-2.0.0.mender", "release-3.0.0.mender", "::"}) {
		if err := s.here(args...); err != nil {
			return err
		}
	}
	return nil
}

func (s *story) board() (err error) {
	say("The board")
	explain("QEMU's virt machine; U-Boot and the kernel are Debian's, unchanged. U-Boot runs\nplimsoll's boot script, which picks the slot.\n")
	s.m, err = s.debian.Start(s.ctx, machine.Config{Disks: []machine.Disk{{Path: s.path("disk.img")}}, Watchdog: true, USB: true})
	if err != nil {
		return err
	}
	if err := s.until(`U-Boot 20.*$`, `plimsoll: environment from copy .*$`, machine.Init, machine.Ready); err != nil {
		return err
	}
	return s.there("plimsoll status")
}

func (s *story) update() error {
	say("An update from a stick")
	if _, err := s.m.Plug(s.ctx, machine.Disk{Path: s.path("stick.img")}); err != nil {
		return err
	}
	for _, command := range []string{
		"until [ -b /dev/sda ]; do usleep 100000; done; mount -t vfat -o ro /dev/sda /mnt && ls /mnt",
		"plimsoll install /mnt/release-2.0.0.mender 2>&1 | cat",
	} {
		if err := s.there(command); err != nil {
			return err
		}
	}
	explain("\nThe board reboots. U-Boot counts the boot; plimsoll resume finds the new system\nalive, and keeps it.\n")
	if err := s.reboot(`plimsoll: boot 1 of 3 of slot B, on trial$`, machine.Init, `release-2.0.0 is committed.$`, machine.Ready); err != nil {
		return err
	}
	return s.there("plimsoll status")
}

func (s *story) broken() error {
	say("A broken update")
	if err := s.there("mount -t vfat -o ro /dev/sda /mnt; plimsoll --quiet install /mnt/release-3.0.0.mender"); err != nil {
		return err
	}
	explain("\nNobody touches the board from here on.\n")
	return s.reboot(
		`plimsoll: boot 1 of 3 of slot A, on trial$`, `Kernel panic - not syncing: .*$`,
		`plimsoll: boot 2 of 3 of slot A, on trial$`, `Kernel panic - not syncing: .*$`,
		`plimsoll: boot 3 of 3 of slot A, on trial$`, `Kernel panic - not syncing: .*$`,
		`plimsoll: 3 boots of slot A without a verdict, going back$`, machine.Init, machine.Ready)
}

func (s *story) end() error {
	if err := s.there("plimsoll status"); err != nil {
		return err
	}
	say("What happened")
	if err := s.there("plimsoll history"); err != nil {
		return err
	}
	fmt.Printf("\nThat was the whole of it, in %v. The README says what is next.\n", time.Since(s.begun).Round(time.Second))
	return nil
}

func (s *story) reboot(patterns ...string) error {
	fmt.Print("\n  board # reboot\n\n")
	if err := s.m.Send("/sbin/reboot"); err != nil {
		return err
	}
	return s.until(patterns...)
}
