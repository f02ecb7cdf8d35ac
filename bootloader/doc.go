// Package bootloader reads and writes what decides which slot boots: the
// environment of U-Boot.
//
// An environment is a list of variables in a block of fixed size, and there
// are two copies of it, each
//
//	0..3   CRC-32 of all that follows the header, little-endian
//	4      flags: a counter modulo 256 (absent where there is one copy only)
//	5..    name=value NUL name=value NUL … NUL, then padding to the end
//
// The padding is covered by the checksum and may hold anything. Of two copies
// with a right checksum the one with the larger counter is current, 0 after
// 255 counts as larger, and of equal ones it is the first. A write goes to the
// other copy, with the counter one up: until its last byte is on the medium
// its checksum is wrong and the old copy is current, after that the new one
// is. That makes the write of several variables atomic, and it is why plimsoll
// never touches the current copy and refuses to arm where there is only one.
//
// Which slot boots follows Mender's convention, so that a bootloader prepared
// for it needs no change:
//
//	mender_boot_part       partition number of the root file system that boots
//	mender_boot_part_hex   the same, in hexadecimal, for U-Boot's commands
//	upgrade_available      1 while that slot is on trial
//	bootcount              boots since the trial began; U-Boot counts while upgrade_available is 1
//	bootlimit              when bootcount exceeds it U-Boot returns to the other slot
//	plimsoll_trial         whose trial it is; the bootloader never touches it
//	plimsoll_floor         the lowest version that may be installed
//
// Some boards have a U-Boot that counts every boot in a register, whatever
// upgrade_available says. A bootlimit in its environment would make a healthy
// system fall back, so that on these (CounterRegister) neither bootcount nor
// bootlimit is ever written, and our boot script counts in
//
//	plimsoll_count         boots since the trial began
//	plimsoll_limit         when plimsoll_count exceeds it the script returns to the other slot
//
// Everything else in the environment is kept as it is.
package bootloader
