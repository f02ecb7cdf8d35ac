// Package prepare fills a stick at the workbench.
//
// [Prepare] writes nothing before it knows that all of it is right and fits: each file is a whole artifact, as a device would have it,
// signed by a key of the devices if one is given; its name can stand on any stick; there is room, also for what file systems
// add; and nothing else has its name there. Then each is copied under a hidden name, verified once more on the way, flushed, read back
// from the medium and not from memory, and only then given its name. Whatever ends that, there is no half file with the name of an
// artifact.
//
// Beside the artifacts in the folder plimsoll there are:
//
//	index.json      what the artifacts are, for people and their tools; no device reads it
//	index.json.sig  a signature of exactly the bytes of index.json, in base64, if a key is given
//	only-serials    the devices that the stick is for, one a line, if any are named; a device that is not listed leaves it alone
package prepare
