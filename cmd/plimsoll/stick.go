package main

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/plimsoll-ota/plimsoll/artifact"
	"github.com/plimsoll-ota/plimsoll/install"
	"github.com/plimsoll-ota/plimsoll/signing"
	"github.com/plimsoll-ota/plimsoll/udev/scan"
)

func (a *app) stickCommand() *cobra.Command {
	return group("stick", "Update devices from a USB stick",
		a.stickPrepareCommand(), a.stickVerifyCommand(), a.stickSimulateCommand(), a.stickReportsCommand(),
		a.stickRunCommand(), a.stickUnitsCommand())
}

// stickKeyring returns the keys that were named, else those that this device trusts.
func (a *app) stickKeyring(keys []string) (*signing.Keyring, error) {
	if len(keys) > 0 {
		return signing.LoadKeyring(keys...)
	}
	c, err := a.loadConfig()
	if errors.Is(err, fs.ErrNotExist) && a.config == "" {
		return nil, fmt.Errorf("%w: this is no device, and -k names none", signing.ErrNoKeys)
	}
	if err != nil {
		return nil, err
	}
	return c.keyring()
}

// anySigner trusts whoever signed, or did not: for a desk, where nothing is installed.
type anySigner struct{}

func (anySigner) Verify([]byte, []byte) error { return nil }

// A stickJudge decides for a device of which the facts are known, and that nobody watches.
type stickJudge struct {
	facts       install.Facts
	unversioned bool
}

func (j stickJudge) Accept(h *artifact.Header, manifest artifact.Sum) error {
	return j.facts.Accept(h, manifest, install.Options{Unattended: true, Unversioned: j.unversioned})
}

func (stickJudge) Current(err error) bool { return errors.Is(err, install.ErrCurrent) }

func (j stickJudge) Compare(a, b *artifact.Header) (int, bool) { return install.CompareVersions(a, b) }

// lookAt opens the stick that is mounted at dir, and tells what is passed over.
func (a *app) lookAt(dir string) (*scan.Stick, scan.Result, error) {
	s, err := scan.Open(dir)
	if err != nil {
		return nil, scan.Result{}, err
	}
	tree, err := s.Tree()
	if err != nil {
		return nil, tree, errors.Join(err, s.Close())
	}
	for _, odd := range tree.Odd {
		a.out.result("odd", fields{"file": odd.Name, "why": odd.Why}, "%s: passed over: %s", odd.Name, odd.Why)
	}
	if tree.Truncated {
		a.out.say("the stick holds more than a device looks at: some of it is left out")
	}
	return s, tree, nil
}

// named is an artifact in a sentence.
func named(artifact, version string) string {
	if version == "" {
		return artifact + ", without a version"
	}
	return artifact + ", version " + version
}

// hintFor is the advice on an error that does not end the verb.
func hintFor(err error) string {
	_, hint := explain(ran{err})
	return hint
}
