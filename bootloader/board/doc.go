// Package board holds what is special about a board, as data: a profile for
// each, in a file of its own (see the folder boards), and what follows from it:
// the boot script, the configuration of the boot environment's tools, and the
// first environment.
//
// # The boot script
//
// A U-Boot that follows Mender's convention by itself (method "native") is left
// alone. For a stock U-Boot (method "script") the script that its boot flow
// finds on the boot partition implements the convention:
//
//  1. It reads both copies of the environment, raw from the disk, and imports
//     the newer one whose checksum is right: the rule of package bootloader.
//     Where neither is, nothing is written, and slot A is started: user space
//     has a backup, and the script has not.
//  2. While upgrade_available is set it counts the boot, and beyond the limit
//     it returns to the other slot. Either is saved, to the copy that is not
//     current, before anything is loaded: a slot that cannot be loaded has
//     consumed an attempt as well.
//  3. It starts the slot. If that cannot be loaded it starts the other one,
//     committed or not, without saving, and says so to the kernel.
//
// U-Boot's own environment commands know neither two copies nor the flags byte
// where U-Boot was built for one copy. The script has them check and make the
// checksum all the same: in a copy in memory it moves the checksum up by one
// byte, over the flags, where the data of a single copy would follow it.
// There is no arithmetic (setexpr) in it, because Debian's U-Boot for the
// BeagleBone has none: addresses are constants, the count goes through a chain
// of comparisons from 0 to 9, and of three flags values each is newer than the
// one before, 0xff after anything, 0 after 0xff, 1 after 0.
//
// The kernel is told
//
//	plimsoll.slot=A           the slot that was started
//	plimsoll.trial=1          on trial
//	plimsoll.emergency=1      the slot that should have been started could not be loaded
//	plimsoll.script=…         the script's id, see [Profile.ScriptID]
//	plimsoll.boot_targets=,…  where U-Boot looks for something to boot, in its order
//
// The script never looks at USB. Variables of the environment that it does not
// know are dropped when it saves; a profile names more in boot.keep.
package board
