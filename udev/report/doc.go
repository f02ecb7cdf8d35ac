// Package report carries home what happened on a device, on a stick.
//
// A [Report] is one attempt of an update: what ran before and after, the
// artifact, the result, and how it came to it. It has a number that its device
// never gives twice; a clock may be wrong, so that no name and no order depends
// on one. A device that was wiped counts from 1 again under another store id.
//
// On the device reports are in a [Store] until they are on a stick. One whose
// outcome is not known yet (the device restarts, the new version is on trial)
// is delivered as it is, stays, and is written again over itself when more is
// known: one attempt is one report.
//
// # On the stick
//
//	plimsoll/reports/07.json, 07.txt                 made by Allocate, 8 KiB of spaces each
//	plimsoll/reports/<serial>/<sequence>.json, .txt  where nothing is allocated, or it is used up
//	plimsoll/reports/<serial>/<sequence>.log.sealed  the log, which only the office can read
//
// [Write] overwrites an allocated file in place, without changing its size:
// neither the allocation table nor a directory gets a new entry, so that a
// stick that is pulled at that moment loses that one file and nothing else.
// Files that have to be made get the same 8 KiB, and are rewritten in place too.
//
// Nothing is written under another name and renamed: on FAT a rename is two
// entries in two places, and a stick that is pulled in between has two names
// for one chain of clusters, which the next repair cuts short. What is half
// written is recognised instead. A report is in an envelope,
//
//	{"report":{"schema":1,"serial":…},
//	"sha256":"…",
//	"signature":"…"}
//
// with the SHA-256 of the exact bytes of the object report, and, if the device
// has a key, its signature of these bytes in base64. Whatever mixture of old
// and new sectors a cut leaves, [Parse] takes it only if it is one of the two.
// The text ends with a line that says so, and is blank before it is rewritten.
//
// # Trust
//
// Reports are read back from sticks that anybody may have written. Sizes,
// counts and names are bounded, nothing is followed, and all text is one
// printable line: it may be shown on a terminal, and cells of a CSV are no
// formulas. Without keys a report is what somebody says; with them, see [Keys],
// it is what the holder of a key says. The seal of a log hides it from
// whoever finds the stick. It does not say who sealed it: that does the report,
// which has its SHA-256.
package report
