// Package boards holds the tests that boot: plimsoll on emulated boards, with
// Debian's unmodified U-Boot and kernel in QEMU, from disk images that plimsoll
// made, with updates that the plimsoll inside installs, and with the power cut.
//
// A board's root file system is small: busybox, the kernel, plimsoll, and a
// script as process 1 that mounts the data partition, keeps the watchdog, and
// runs plimsoll resume. What differs between the versions that are installed is
// a file or two, or what is broken in them.
//
// Long counts are a seeded sample, unless PLIMSOLL_SOAK is set.
package boards
