// Package machine is a device on the workbench: QEMU, without KVM and without
// root, with Debian's unmodified U-Boot and kernel, whose power can be cut.
// Tests from end to end and the demo use it.
//
//	debian, err := machine.Fetch(ctx)              // packages, cached
//	plimsoll, err := machine.Command(ctx, "arm64") // of this source tree
//	err = debian.WriteGuest(dir, machine.Guest{Version: "v1", Plimsoll: plimsoll})
//	…                                              // dir to a slot's image, that to a disk's
//	m, err := debian.Start(ctx, machine.Config{Disks: []machine.Disk{{Path: disk}}})
//	defer m.Cut()
//	_, err = m.Expect(ctx, machine.Ready)
//	out, code, err := m.Run(ctx, "plimsoll status")
//	m.Cut()                                        // and Start it again
//
// # The guest
//
// U-Boot finds boot.scr on the first partition of the first disk; what it says
// there is not this package's. It should load /boot/Image and /boot/initrd, and
// on a Pi /boot/bcm2837-rpi-3-b.dtb, from the slot, and pass root=PARTUUID=… or
// root=/dev/…, console= and panic=. The initramfs loads the drivers of the disk,
// arms the watchdog if the machine has one, mounts the root file system (read
// only, unless the command line has rw) within ten seconds, or resets. The
// script that is process 1 then
//
//   - mounts partition 4 of that disk, ext4, at /data, and partition 1, vfat,
//     read only, at /boot/firmware, or says that it cannot,
//   - keeps the watchdog, which resets what hangs for ten seconds,
//   - sources /etc/guest-hook, in which a test does harm to process 1,
//   - runs plimsoll resume, then a root shell on the console.
//
// What it says begins with GUEST-: see [Ready] and the constants beside it. The
// kernel's messages are kept from the console as soon as the initramfs runs, but
// for errors, and as soon as /sbin/init runs, but for a panic: they would cut
// other lines in two. reboot and poweroff unmount what they can. The shell takes
// busybox's applets before what is in its PATH.
//
// # With systemd
//
// With [Guest].Systemd process 1 is Debian's systemd, beside busybox, and starts
// what its units say; see guest/systemd for those that it has. It keeps the
// watchdog, mounts partition 4 at /data by /etc/fstab, nofail, and everything
// else that is writable in memory; there is no D-Bus, no login and no network.
// Resumed and Ready come from the shell on the console, which starts once
// plimsoll-resume.service has ended, if there is one. It takes half a minute
// to start.
//
// # What a cut is
//
// [Machine.Cut] kills QEMU: every write that the emulated disk has answered is
// kept, flushed or not, so cuts fall between two requests of the guest, never
// within one. For what a real disk may lose or tear, record the writes
// ([Disk].WriteLog) and apply some of them to a copy ([ReadLog]).
//
// # Tests
//
// go test -tags machine ./cmd/internal/machine starts machines, in two minutes;
// without the tag nothing is started or fetched.
package machine
