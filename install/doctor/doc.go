// Package doctor is the integration checklist as a program: what an integrator
// of a device must have seen to before its updates can be trusted, each point a
// function that looks and says what it found, what that means, and what to do.
//
// A device is examined as far as it could be opened. What could not be opened
// is a finding like any other, and no check hides another: those that rest on
// it say that they did not look. Nothing is changed, but for one file in the
// state directory that is written, synced and removed; no lock is held that
// would make a Resume fail, so that a device may be examined at any time, also
// while it starts.
//
// Three levels:
//
//	ok       as it should be, or asked in vain of a device made of files
//	warning  updates work, and something that helps when they go wrong is missing
//	problem  an update would be refused, or may not come back when it goes wrong
//
// Everything is read beneath a [World]'s Root and its Host's folders, so that a
// copied tree of another machine can be examined as well. docs/doctor.md lists
// the checks.
package doctor
