// Package install updates a device, in seven steps whose order is the safety
// argument: a device is never worse off for having tried.
//
//  1. Read. The artifact's version, manifest, signature and header are read,
//     bounded, and trusted before they are parsed. Device type, dependencies,
//     version and floor, earlier failures, the size of the slot, the state
//     directory, both copies of the boot environment and its counter are
//     checked; the inactive slot is opened exclusively and held. Nothing has
//     been touched.
//  2. Write. The inactive slot is recorded as being written. The image goes to
//     it while it is hashed; every byte of the source is read exactly once, so
//     that what was verified is what was written. At the first block that
//     differs the slot's first MiB is zeroed, and that MiB is written last: a
//     half-written slot cannot even be loaded. A cut costs the fallback, and
//     nothing else.
//  3. Verify. The slot is flushed and read back from the medium, past the page
//     cache, and compared with the signed checksum. Nothing writes it afterwards.
//  4. Record. The intent goes to the state directory, with a fresh trial id.
//  5. Arm. One write of the boot environment, to its stale copy: before it the
//     old system boots, after it the new one does. The id is in that write and
//     the bootloader never touches it, so that "never armed", "tried and fell
//     back", "waiting" and "the environment was reset" are four things.
//  6. Reboot. The bootloader counts; after too many boots without a verdict it
//     returns to the old slot by itself.
//  7. Resume, at every boot: record, environment and running slot are looked up
//     in one table, Decide. A trial is judged and kept (record, environment,
//     record; from the second on the way is forward only), or it returns to
//     where it came from, once.
//
// A drill goes the same way, to show on a device that works that step 6 holds:
// its target gets no verdict, and whether the bootloader came back by itself is
// remembered for that bootloader.
//
// What is remembered is in the state directory, which belongs to neither slot:
// state.json (what is installed, what each slot holds, the update in progress,
// artifacts that failed, the floor), env.backup (one raw copy of the boot
// environment) and history.jsonl. Where the running slot and the environment
// say more than the record, they win.
package install
