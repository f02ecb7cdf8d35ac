// Package tell says to the people around a device what a stick is doing there,
// in few words that never change.
//
// A technician who has never seen a shell plugs a stick in, watches a light or
// a line on a screen, and leaves knowing whether it worked. For that there is a
// vocabulary: eleven States, and for those that are not a success a Code of two
// digits. docs/stick-codes.md has both; a test compares it with Codes.
//
// A Teller is somebody to be told:
//
//	Console  lines on /dev/console and /dev/tty1
//	LED      one light under /sys/class/leds: steady, slow, fast, or a code
//	Notify   the status that systemctl shows
//	Hook     a program of the integrator's, for buzzers and displays
//	All      several of them
//
// What may be relied on:
//
//   - Telling is never a reason for an update to fail, or to wait. Tell hands
//     the message over and returns; a console that is held off, a program that
//     hangs and a light that is not there hold up nobody but themselves.
//   - What was told last is what they end with: on the way messages may be left
//     out, the last one is not.
//   - What goes wrong with a Teller is kept, and Close returns it.
//   - Nothing that a stick says reaches a terminal, a display or a status
//     before control characters are taken out and its length is bounded.
//   - They may be used by several goroutines.
//
// Whoever tells is the one who knows: a state in which the stick may be taken
// (Remove, Updated, UpToDate, Nothing, WentBack, Failed) is told after the stick
// was unmounted and flushed, never before.
package tell
