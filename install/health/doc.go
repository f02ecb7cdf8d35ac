// Package health tells whether a system that was started on trial is healthy:
// whether it does what is asked of it, and whether what worked before works now.
//
// There are three sources of checks, and one runner:
//
//   - Config: what the integrator asks for. Units, commands, ports, pages, files,
//     free space.
//   - Observation: what worked before the update was armed. Observe is called
//     then, and Host.Compare in the new system, so that a device on which nobody
//     configured anything does not keep a release whose application or network
//     is dead.
//   - The caller's own: that the new system can be updated again. They are Checks
//     like all others, and no configuration takes them away; Host.Wired is one.
//
// Run asks all of them, round after round, until they have held together without
// a break for Options.Stable, or until Options.Deadline. What may be relied on:
//
//   - It comes to its end at the deadline, whatever a check does. One that hangs
//     is not waited for, and not asked a second time while it hangs; a command is
//     killed with all of its process group.
//   - Time is CLOCK_BOOTTIME. On a device the wall clock jumps from 1970 to now
//     in the middle of a trial, and the deadline counts from the boot, so that a
//     unit which is restarted gets no more time.
//   - Cancelled, it gives no verdict (ErrStopped), and neither does it where
//     process 1 is going down: services that are being stopped say nothing about
//     the release.
//   - Whoever reads why a system was not kept gets sentences: which check, what
//     it saw last, since when. They are bounded, whatever a program printed.
//
// A verdict rests on this device alone. Nothing here asks a server, and the far
// end of a tunnel does not count as something that worked before.
package health
