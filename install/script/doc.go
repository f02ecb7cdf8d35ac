// Package script runs Mender's state scripts: programs that are named after the
// moment at which they run, ArtifactInstall_Enter_10_stop-service.
//
// Those of the device are in its root file system and belong to the state
// Download; those of an artifact come with it, are stored by Store, and belong
// to the states of its installation. The scripts of one moment run one after
// another, in the order of their names. Exit code 0 is good, 21 asks to be run
// again later, and anything else, also taking too long, is a failure.
//
// A failure stops what is under way, but for moments at which nothing can be
// stopped any more (see IgnoresErrors): there all the scripts are run, whatever
// becomes of each. What becomes of each is told in any case.
package script
