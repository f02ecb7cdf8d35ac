//go:build linux && (amd64 || arm64)

package install_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plimsoll-ota/plimsoll/artifact"
	"github.com/plimsoll-ota/plimsoll/bootloader"
	"github.com/plimsoll-ota/plimsoll/install"
	"github.com/plimsoll-ota/plimsoll/install/script"
	"github.com/plimsoll-ota/plimsoll/partition"
	"github.com/plimsoll-ota/plimsoll/signing"
)

// A life is a rig whose updates have something to run at every moment, and whose
// verbs are processes, so that they can be killed: this test's own binary. Boots
// are told apart, as on a device. What may be changed between two verbs:
//
//	fails/MOMENT       that moment fails
//	dies/MOMENT.begin  the script of that moment kills plimsoll, and itself, once;
//	dies/MOMENT.end    with dies/always each time
//	sick               the health checks say so
//	reboots            what the module has installed needs a reboot
type life struct {
	*rig
	kind     payloadKind
	images   map[string][]byte // complete systems by name
	old, new release           // what is installed before the update, and when it was kept

	ran   []string        // until judged looked
	rnd   *rand.Rand      // of the sample
	cutAt map[string]bool // the states that the sample has
}

// A release is what is installed, as the system and its owner see it.
type release struct {
	Artifact string
	Provides map[string]string
	Image    string // on the slot that boots
	Content  string // what the module installs
}

// lifeDir is the variable with which a process is a verb of the device in there.
const lifeDir = "PLIMSOLL_TEST_LIFE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(lifeDir); dir != "" {
		os.Exit(verbIn(dir, os.Args[1:]))
	}
	os.Exit(m.Run())
}

// A said is what a verb prints.
type said struct {
	Event   string
	Row     string
	Reboot  bool // is owed
	Nothing bool // is owed
	Error   string
}

func verbIn(dir string, args []string) int {
	o, err := runVerb(dir, args)
	s := said{Event: o.Event, Row: o.Row, Reboot: o.Reboot || errors.Is(err, install.ErrPending), Nothing: errors.Is(err, install.ErrNothing)}
	if err != nil {
		s.Error = err.Error()
	}
	_ = json.NewEncoder(os.Stdout).Encode(s)
	if err != nil {
		return 1
	}
	return 0
}

func runVerb(dir string, args []string) (install.Outcome, error) {
	d, err := lifeDevice(dir)
	if err != nil {
		return install.Outcome{}, err
	}
	ctx := context.Background()
	switch args[0] {
	case "install":
		f, err := os.Open(args[1])
		if err != nil {
			return install.Outcome{}, err
		}
		defer f.Close()
		return d.Install(ctx, f, install.Options{Retry: true})
	case "resume":
		return d.Resume(ctx)
	case "commit":
		return d.Commit(ctx)
	case "rollback":
		return d.Rollback(ctx)
	}
	return install.Outcome{}, fmt.Errorf("no verb %q", args)
}

func lifeDevice(dir string) (*install.Device, error) {
	in := func(name string) string { return filepath.Join(dir, name) }
	host := partition.Host{Proc: in("proc"), Sys: in("sys"), Dev: in("dev")}
	pair, err := host.Find(partition.Spec{A: in("slot2.img"), B: in("slot3.img")})
	if err != nil {
		return nil, err
	}
	boot, err := bootloader.OpenUBoot(bootloader.Options{LockPath: in("lock"), Sys: in("sys")},
		bootloader.Location{Path: in("env0"), Size: 0x2000}, bootloader.Location{Path: in("env1"), Size: 0x2000})
	if err != nil {
		return nil, err
	}
	return &install.Device{
		Type: "rig", Slots: pair, Host: host, Boot: boot, Trust: &signing.Keyring{AllowUnsigned: true},
		StateDir: in("state"), TrialBoots: 3,
		Scripts: script.Runner{Dirs: []string{in("scripts")}}, Modules: install.Modules{Dirs: []string{in("modules")}},
		Health: func(context.Context, json.RawMessage) error {
			if _, err := os.Stat(in("sick")); err == nil {
				return errors.New("sick")
			}
			return nil
		},
		Reboot: func() error { return nil },
	}, nil
}

// theMoment is what scripts and modules have in common; $DIR is the device's.
const theMoment = `
moment() {
	echo "begin $1" >> $DIR/log
	dies "$1.begin"
	work "$1"
	dies "$1.end"
	if [ -e "$DIR/fails/$1" ]; then echo "fail $1" >> $DIR/log; exit 1; fi
	echo "end $1" >> $DIR/log
}
work() { :; }
dies() {
	[ -e "$DIR/dies/$1" ] || return 0
	[ -e $DIR/dies/always ] || rm "$DIR/dies/$1"
	kill -9 $PPID $$
}
`

// theModule keeps what it replaces until the end of the update. A cut leaves it,
// and what is installed, whole.
const theModule = `
work() {
	case "$1" in
	NeedsArtifactReboot) [ -e $DIR/reboots ] && echo Automatic || echo No ;;
	SupportsRollback) echo $ROLLBACK ;;
	Download) while read -r f < stream-next && [ -n "$f" ]; do cat "$f" > tmp/"${f##*/}"; done ;;
	ArtifactInstall)
		cp $DIR/content tmp/before.tmp && mv tmp/before.tmp tmp/before &&
		cp tmp/payload $DIR/content.tmp && mv $DIR/content.tmp $DIR/content ;;
	ArtifactRollback)
		[ ! -e tmp/before ] || { cp tmp/before $DIR/content.tmp && mv $DIR/content.tmp $DIR/content; } ;;
	esac
}
moment "$1"
`

// newLife returns a device that runs the system "a" from slot A, with "base"
// installed, and the artifact new.mender of what is to follow.
func newLife(t *testing.T, kind payloadKind) *life {
	t.Helper()
	l := &life{rig: newRig(t), kind: kind}
	rnd := rand.New(rand.NewPCG(9, 9))
	l.images = map[string][]byte{"a": noise(rnd, 6*block), "new": noise(rnd, 4*block+100)}
	l.write("slot2.img", string(l.images["a"]))
	l.write("slot3.img", string(noise(rnd, 6*block)))
	l.write("content", "of the base")
	l.write("moment", "DIR="+l.dir+theMoment)
	for _, m := range []string{"Download_Enter", "Download_Leave", "Download_Error"} {
		l.program("scripts/"+m+"_10", l.moment(m))
	}
	rollback := "Yes"
	if kind == oneWay {
		rollback = "No"
	}
	l.program("modules/test", fmt.Sprintf("#!/bin/sh\nROLLBACK=%s\n. %s%s", rollback, l.path("moment"), theModule))
	l.write("base.mender", string(l.pack(artifact.Header{Name: "base", Provides: map[string]string{"rootfs-image.version": "1.0"}}, "", nil)))
	l.write("new.mender", string(l.update()))
	l.expectEvent("committed", "install", "base.mender")
	l.old = l.release()
	before := l.keep()
	l.verb("install", "new.mender")
	l.comesToRest()
	l.new = l.release()
	if err := legal(kind, l.log(), true); err != nil || cmp.Equal(l.old, l.new) {
		t.Fatalf("uncut: %v, %+v\n%s", err, l.new, strings.Join(l.log(), "\n"))
	}
	l.putBack(before)
	return l
}

func (l *life) moment(name string) string {
	return fmt.Sprintf("#!/bin/sh\n. %s\nmoment %s\n", l.path("moment"), name)
}

// update returns the artifact that the life is about.
func (l *life) update() []byte {
	l.Helper()
	if l.kind == anImage {
		return l.pack(artifact.Header{Name: "rel-2", Type: artifact.RootFS, Provides: map[string]string{"rootfs-image.version": "2.0"}}, "rootfs.img", l.images["new"])
	}
	return l.pack(artifact.Header{Name: "mod-1", Type: "test", Provides: map[string]string{"rootfs-image.test.version": "1"},
		HasClears: true, Clears: []string{"rootfs-image.test.*"}}, "payload", []byte("of the module"))
}

// pack returns an artifact with a script for each moment, if it has a payload.
func (l *life) pack(h artifact.Header, name string, payload []byte) []byte {
	l.Helper()
	h.DeviceTypes = []string{"rig"}
	o := artifact.Options{Compression: artifact.Gzip, TempDir: l.dir}
	if h.Type == artifact.RootFS {
		o.Rootfs = &artifact.Software{}
	}
	var b bytes.Buffer
	w := artifact.Create(&b, h, o)
	for _, m := range allMoments {
		if text := l.moment(m); name != "" {
			l.must(w.AddScript(m+"_10_test", int64(len(text)), strings.NewReader(text)))
		}
	}
	if name != "" {
		l.must(w.Add(name, int64(len(payload)), bytes.NewReader(payload)))
	}
	l.must(w.Close())
	return b.Bytes()
}

// command is a verb, ready to run. An artifact is a file of the device.
func (l *life) command(verb ...string) *exec.Cmd {
	verb = slices.Clone(verb)
	if last := len(verb) - 1; strings.HasSuffix(verb[last], ".mender") {
		verb[last] = l.path(verb[last])
	}
	cmd := exec.Command("/proc/self/exe", verb...)
	cmd.Env = append(os.Environ(), lifeDir+"="+l.dir)
	return cmd
}

// verb runs a verb until it has ended, or was killed.
func (l *life) verb(verb ...string) (s said, killed bool) {
	l.Helper()
	var out, msg bytes.Buffer
	cmd := l.command(verb...)
	cmd.Stdout, cmd.Stderr = &out, &msg
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		l.Fatal(err)
	}
	if killed = cmd.ProcessState.ExitCode() < 0; killed {
		l.wasCut()
		return s, true
	}
	if json.Unmarshal(out.Bytes(), &s) != nil || crashed(msg.String()) {
		l.Fatalf("%v: %v\n%s%s", verb, err, out.String(), msg.String())
	}
	return s, false
}

// expectEvent runs a verb that must succeed.
func (l *life) expectEvent(event string, verb ...string) {
	l.Helper()
	if s, _ := l.verb(verb...); s.Event != event || s.Error != "" {
		l.Fatalf("%v: %+v, want %s", verb, s, event)
	}
}

// log is what was run.
func (l *life) log() []string {
	l.Helper()
	b, err := os.ReadFile(l.path("log"))
	if !errors.Is(err, fs.ErrNotExist) {
		l.must(err)
	}
	return strings.FieldsFunc(string(b), func(r rune) bool { return r == '\n' })
}

// wasCut ends what a verb that was killed has left running, and notes it.
func (l *life) wasCut() {
	l.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		left := l.leftRunning()
		if len(left) == 0 {
			break
		}
		if time.Now().After(deadline) {
			l.Fatalf("still there: %v", left)
		}
		for _, p := range left {
			_ = p.Kill()
			_ = p.Release()
		}
		time.Sleep(time.Millisecond)
	}
	f, err := os.OpenFile(l.path("log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	l.must(err)
	_, err = f.WriteString("cut\n")
	l.must(errors.Join(err, f.Close()))
}

// start is a start of the device by U-Boot's rules, into a complete system.
func (l *life) start() {
	l.Helper()
	u := readUBoot([]byte(l.envBytes()))
	if u.current < 0 {
		l.Fatal("no copy of the environment is valid")
	}
	part := u.boot(l.T)
	l.write("env0", string(u.copy(0)))
	l.write("env1", string(u.copy(1)))
	l.rig.running(fmt.Sprintf("slot%d.img", part))
	if l.system() == "" {
		l.Fatalf("slot %d boots, and holds no complete system", part)
	}
}

// system names the complete system on the slot that boots, "" for none.
func (l *life) system() string {
	l.Helper()
	u := readUBoot([]byte(l.envBytes()))
	slot := l.read(fmt.Sprintf("slot%d.img", u.part(l.T)))
	for name, image := range l.images {
		if bytes.HasPrefix(slot, image) {
			return name
		}
	}
	return ""
}

// leftRunning returns the processes that the device's verbs have started: their
// command line names it, or they are in it.
func (l *life) leftRunning() (left []*os.Process) {
	l.Helper()
	all, err := filepath.Glob("/proc/[0-9]*")
	l.must(err)
	for _, path := range all {
		pid, err := strconv.Atoi(filepath.Base(path))
		line, _ := os.ReadFile(path + "/cmdline")
		cwd, _ := os.Readlink(path + "/cwd")
		if ours := bytes.Contains(line, []byte(l.dir+"/")) || strings.HasPrefix(cwd, l.dir+"/"); err != nil || !ours || pid == os.Getpid() {
			continue
		}
		if p, err := os.FindProcess(pid); err == nil {
			left = append(left, p)
		}
	}
	return left
}
