//go:build linux && (amd64 || arm64)

package install_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"
)

// This file is the judge of a life: what must hold when it has come to rest.

// release returns what is installed.
func (l *life) release() release {
	l.Helper()
	d, err := lifeDevice(l.dir)
	l.must(err)
	rep, err := d.Status()
	l.must(err)
	return release{rep.Artifact, rep.Provides, l.system(), string(l.read("content"))}
}

// comesToRest resumes, and starts where a start is owed, until nothing is owed.
func (l *life) comesToRest() {
	l.Helper()
	var all []string
	for range 16 {
		s, killed := l.verb("resume")
		all = append(all, fmt.Sprintf("%+v, killed %v", s, killed))
		switch {
		case killed, s.Reboot:
			l.start()
		case s.Nothing:
			return
		}
	}
	l.Fatalf("does not come to rest:\n%s", strings.Join(all, "\n"))
}

// keptLife is all that a device remembers.
type keptLife struct {
	files map[string][]byte
	state fs.FS
}

var lifeFiles = []string{"slot2.img", "slot3.img", "env0", "env1", "content", "log", "sys/block/loop0/loop/backing_file", "proc/sys/kernel/random/boot_id"}

func (l *life) keep() keptLife {
	l.Helper()
	k := keptLife{files: map[string][]byte{}}
	for _, name := range lifeFiles {
		if b, err := os.ReadFile(l.path(name)); err == nil {
			k.files[name] = b
		}
	}
	dir := l.TempDir()
	l.must(os.CopyFS(dir, os.DirFS(l.path("state"))))
	k.state = os.DirFS(dir)
	return k
}

// putBack puts the device back to k, rewriting only what differs.
func (l *life) putBack(k keptLife) {
	l.Helper()
	for _, name := range lifeFiles {
		have, err := os.ReadFile(l.path(name))
		want, was := k.files[name]
		switch {
		case !was && err == nil:
			l.must(os.Remove(l.path(name)))
		case was && (err != nil || !bytes.Equal(have, want)):
			l.write(name, string(want))
		}
	}
	l.must(os.RemoveAll(l.path("state")))
	l.must(os.CopyFS(l.path("state"), k.state))
}

// asked sets what the device is asked to do.
func (l *life) asked(names ...string) {
	l.Helper()
	for _, name := range []string{"fails", "dies", "sick", "reboots"} {
		l.must(os.RemoveAll(l.path(name)))
	}
	for _, name := range names {
		l.write(name, "")
	}
}

// judged lets the device come to rest, and says what must then hold: it is what
// it was, or what it was to be; what was run was run in order; nothing is owed;
// and, at a sample, it can be updated.
func (l *life) judged(back bool, also ...release) {
	l.Helper()
	l.comesToRest()
	have, log := l.release(), l.log()
	l.ran = log
	kept := cmp.Equal(have, l.new)
	if old := cmp.Equal(have, l.old); old == kept && !slices.ContainsFunc(also, func(r release) bool { return cmp.Equal(r, have) }) {
		l.Errorf("neither what was nor what was to be:\n%+v\n%+v\n%+v", have, l.old, l.new)
	}
	if kept && back {
		l.Errorf("kept: %+v", have)
	}
	if err := legal(l.kind, log, kept); err != nil {
		l.Errorf("what was run, kept %v: %v", kept, err)
	}
	u := readUBoot([]byte(l.envBytes()))
	if u.onTrial() || u.vars["plimsoll_trial"] != "" {
		l.Errorf("at rest the environment has %v", u.vars)
	}
	l.nothingLeft()
	if l.Failed() {
		l.Fatalf("what was run:\n%s", strings.Join(log, "\n"))
	}
	if l.rnd.IntN(4) == 0 {
		l.updates()
	}
}

// nothingLeft: the state directory has what it always has, and at most what a cut
// left of it, which the next time is written over.
func (l *life) nothingLeft() {
	l.Helper()
	l.must(filepath.WalkDir(l.path("state"), func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		switch name := e.Name(); {
		case e.IsDir() && slices.Contains([]string{"state", "modules", "v3", "payloads", "0000"}, name):
		case slices.Contains([]string{"state.json", "history.jsonl", "lock", "env.backup"}, strings.TrimSuffix(name, ".tmp")):
		default:
			l.Errorf("left behind: %s", path)
		}
		return nil
	}))
}

// updates: whatever was, the update can be installed afterwards, and is kept.
func (l *life) updates() {
	l.Helper()
	l.asked()
	l.must(os.RemoveAll(l.path("log")))
	if s, _ := l.verb("install", "new.mender"); s.Error != "" {
		l.Fatalf("afterwards: %+v", s)
	}
	l.start()
	l.comesToRest()
	if have := l.release(); !cmp.Equal(have, l.new) {
		l.Fatalf("afterwards: %+v, want %+v", have, l.new)
	}
	if err := legal(l.kind, l.log(), true); err != nil {
		l.Fatalf("afterwards: %v\n%s", err, strings.Join(l.log(), "\n"))
	}
}
