// Package data takes a device's own data across an update: it carries declared
// paths (host keys, machine-id, network settings) from the root file system that
// runs into the new one, and it keeps a snapshot of what the new release may
// change, for a trial that goes back.
//
// # Carrying
//
//  1. [Stage] copies the declared paths into a folder of the state directory
//     while the old release runs. Nothing else is touched: a slot that was
//     written and read back stays the image that was signed.
//  2. [Apply] puts them into the new root file system, at the first boot of the
//     trial. It first compares, and remembers what it is about to replace; then
//     each file is written beside its place, flushed, read back, and renamed.
//     When all are in place it says so in the folder, so that the second boot of
//     the same trial leaves alone what the system changed since.
//  3. [Discard] forgets the copies, keys among them, once the update has ended.
//
// A root file system that is mounted read-only, or cannot be anything else
// (squashfs, erofs, dm-verity), is never changed: [Apply] is refused.
//
// # Snapshots
//
// [Snapshot] copies declared paths before the first migration, sharing blocks
// with the original where the file system can (FICLONE). [Restore] makes all of
// the copies again beside what is there, verifies and flushes them, and only
// then exchanges each with one rename: what the new release created is gone
// then, and what it deleted is back. What was there is removed when every path
// is restored and that is recorded.
//
// # What a cut leaves
//
// A folder of copies holds manifest.jsonl, a folder with the content of the
// files, and what was done with it. The manifest names that folder, bears a
// checksum of its own, and is replaced by a rename when everything that it lists
// is on the medium: after a cut the old copies are there or the new ones, whole.
// What a cut left besides is removed by the next run. Apply and Restore may be
// cut anywhere and run again.
//
// # What is followed
//
// No symbolic link is, neither on the way to a declared path nor beneath it, in
// the old tree or the new one: names are looked up one by one in folders that
// are held open. Files, folders and links are taken, with owner, mode, time,
// capabilities, ACLs, security labels and the user's extended attributes; hard
// links become files of their own. Devices, sockets and pipes are not taken, and
// other file systems are not entered; each is reported.
package data

import "errors"

// What a caller may have to tell apart. All are wrapped with the path and the
// numbers that matter.
var (
	// ErrPath: a declared path is not one that can be taken.
	ErrPath = errors.New("not a path that can be declared")
	// ErrLimit: there is more beneath the declared paths than may be taken.
	ErrLimit = errors.New("more data than may be taken")
	// ErrSpace: the copies do not fit. Nothing was written.
	ErrSpace = errors.New("not enough free space")
	// ErrNone: nothing was staged, or no snapshot was made.
	ErrNone = errors.New("no copies of data")
	// ErrDamaged: the copies are not what was written.
	ErrDamaged = errors.New("copies of data are damaged")
	// ErrReadOnly: the root file system cannot be changed, or must not be.
	ErrReadOnly = errors.New("the root file system is read-only")
)

// The bounds of Stage and Snapshot where the caller has none.
const (
	DefaultLimit    = 16 << 20  // bytes of Stage
	DefaultEntries  = 10_000    // files, folders and links of Stage
	SnapshotEntries = 1_000_000 // the same, of Snapshot
)

// A Request says what is to be copied, and where.
type Request struct {
	Root     string                  // the root file system; "" is "/"
	Paths    []string                // beneath it; CheckPaths accepts them
	Dir      string                  // folder for the copies and nothing else; made if its parent is there
	Bytes    int64                   // most that is taken; 0 is DefaultLimit for Stage, what fits for Snapshot
	Entries  int                     // most files, folders and links; 0 is the default
	Progress func(done, total int64) // may be nil
}

// A Kind says what a finding is.
type Kind string

const (
	Missing  Kind = "missing"  // a declared path that is not there
	Mount    Kind = "mount"    // on a file system of its own, and so not taken or not changed
	Special  Kind = "special"  // a device, a socket or a pipe: not taken
	Changing Kind = "changing" // was written to whenever it was copied: the copy may be torn
	Replaced Kind = "replaced" // a conflict: the new release had something else there
	Refused  Kind = "refused"  // a conflict that was left as the new release has it
	Label    Kind = "label"    // the new system does not accept its security label
	Left     Kind = "left"     // something that could not be removed afterwards
)

// A Finding is what somebody may want to know about one path.
type Finding struct {
	Kind Kind   `json:"kind"`
	Path string `json:"path"`
	Why  string `json:"why"`
}

// maxFindings bounds a report; the last finding then says how many there are.
const maxFindings = 1000

// A Report is what was done.
type Report struct {
	Entries  int       `json:"entries"`           // files, folders and links that were taken
	Bytes    int64     `json:"bytes"`             // of their content
	Changed  int       `json:"changed,omitempty"` // how many of them Apply wrote or changed
	Findings []Finding `json:"findings,omitempty"`
	Before   bool      `json:"-"` // it was done by an earlier call: nothing was touched now

	more int // findings that are left out
}

// Conflicts returns the findings about things that the new release has in its
// own way: those that were replaced, and those that were left.
func (r Report) Conflicts() []Finding {
	var c []Finding
	for _, f := range r.Findings {
		if f.Kind == Replaced || f.Kind == Refused {
			c = append(c, f)
		}
	}
	return c
}
