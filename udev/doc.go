// Package udev is an update from a stick that nobody types anything for: from
// the moment that it is plugged in to the one at which it is pulled out.
//
// A [Visit] is what the unit of [Units] runs for each disk on the USB bus. It
//
//  1. leaves alone the disk that the system lives on, and waits its turn;
//  2. waits until an update that is on trial has its verdict, and takes that up
//     in the report of the attempt that began it;
//  3. mounts what is on the stick, read-only, and reads the names in two folders;
//  4. chooses, by signed headers and nothing else, the newest artifact that the
//     device accepts, and asks the device's policy whether now is the time;
//  5. has the device install it, from the bytes that it has read already on, so
//     that no byte of the stick is read twice;
//  6. writes what happened onto the stick, if it takes it, unmounts and flushes it;
//  7. says so, and then has the device restart, or waits for the unplug.
//
// What a visit knows is in the device's record and in its own reports; after a
// cut at any moment the next visit goes on from there. Whatever a stick does, a
// report that cannot be written never fails an update.
package udev
