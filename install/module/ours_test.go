package module

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A stage is one of our modules with a payload, in a root of its own.
type stage struct {
	*Module
	root, dest, cut string
	before          map[string]string
}

// tools are what our modules use. Each of them counts, and the one at which the
// power fails does nothing, or half of its work, and ends the module.
const cutter = `#!/bin/sh
self=${0##*/}
dir=${0%/*}
read -r at how < "$dir/at"
read -r n < "$dir/n"
n=$((n + 1))
echo $n > "$dir/n"
echo "$self $*" >> "$dir/log"
if [ $n = $at ]; then
	case $how$self in
	torncp) [ -L "$2" ] || head -c 2 "$2" > "$3" ;;
	torntar) "$dir/real-tar" "$@" ./a ;;
	tornrm) [ "$1" != -rf ] || "$dir/real-rm" -rf "$2/a" ;;
	esac
	kill -9 $PPID
	exit 1
fi
exec "$dir/real-$self" "$@"
`

// hostPath is where the tools of the host are.
var hostPath = os.Getenv("PATH")

var cuttable = []string{"chmod", "cp", "mkdir", "mv", "rm", "rmdir", "sync", "tar"}

// setStage makes the module and the payload. What fills in the root is there
// before.
func setStage(t *testing.T, name string, fill func(t *testing.T, s *stage)) *stage {
	t.Helper()
	top := t.TempDir()
	s := &stage{root: filepath.Join(top, "root"), cut: filepath.Join(top, "bin")}
	s.Module = &Module{Path: ours(t, name)["ours"], Tree: filepath.Join(top, "work", "tree"), Timeout: time.Minute}
	put(t, filepath.Join(s.cut, "cutter"), cutter, 0o755)
	t.Setenv("PATH", hostPath)
	for _, tool := range cuttable {
		path, err := exec.LookPath(tool)
		if err == nil {
			err = errors.Join(os.Link(filepath.Join(s.cut, "cutter"), filepath.Join(s.cut, tool)), os.Symlink(path, filepath.Join(s.cut, "real-"+tool)))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", s.cut+":"+hostPath)
	s.fail(t, 0, "")
	if err := os.Mkdir(s.root, 0o755); err != nil {
		t.Fatal(err)
	}
	s.dest = filepath.Join(s.root, "sub", "dir")
	if name == "single-file" {
		s.dest = filepath.Join(s.dest, "a")
	}
	fill(t, s)
	s.before = snapshot(t, s.root)
	if err := CreateTree(s.Tree, Info{}); err != nil {
		t.Fatal(err)
	}
	if name == "single-file" {
		s.payload(t, "dest_dir", filepath.Dir(s.dest)+"\n")
		s.payload(t, "filename", "a\n")
		s.payload(t, "permissions", "755\n")
		s.payload(t, "a", "new content\n")
		return s
	}
	s.payload(t, "dest_dir", s.dest+"\n")
	from := t.TempDir()
	put(t, filepath.Join(from, "a"), "new content\n", 0o755)
	put(t, filepath.Join(from, "new"), "new content\n", 0o644)
	if out, err := exec.Command("/bin/tar", "-cf", filepath.Join(s.Tree, "files/update.tar"), "-C", from, ".").CombinedOutput(); err != nil {
		t.Fatalf("tar: %v\n%s", err, out)
	}
	return s
}

func (s *stage) payload(t *testing.T, name, content string) {
	put(t, filepath.Join(s.Tree, "files", name), content, 0o600)
}

// fail has the power fail at a tool; 0 is never.
func (s *stage) fail(t *testing.T, at int, how string) {
	t.Helper()
	put(t, filepath.Join(s.cut, "at"), fmt.Sprintln(at, how), 0o644)
	put(t, filepath.Join(s.cut, "n"), "0\n", 0o644)
	put(t, filepath.Join(s.cut, "log"), "", 0o644)
}

// log returns which tools were used.
func (s *stage) log() []string {
	return strings.Split(strings.TrimSpace(read(filepath.Join(s.cut, "log"))), "\n")
}

func present(t *testing.T, s *stage) {
	if filepath.Base(s.dest) == "a" {
		put(t, s.dest, "old content\n", 0o600)
		put(t, filepath.Join(filepath.Dir(s.dest), "other"), "other\n", 0o600)
		return
	}
	put(t, filepath.Join(s.dest, "a"), "old content\n", 0o600)
	put(t, filepath.Join(s.dest, "old"), "old content\n", 0o600)
}

func absent(*testing.T, *stage) {}

// installed fails unless the new is there, and only that.
func (s *stage) installed(t *testing.T, when string) {
	t.Helper()
	file := s.dest
	if filepath.Base(file) != "a" {
		file = filepath.Join(file, "a")
		if read(filepath.Join(s.dest, "new")) != "new content\n" {
			t.Errorf("%s: no new file", when)
		}
		if _, err := os.Stat(filepath.Join(s.dest, "old")); err == nil {
			t.Errorf("%s: an old file", when)
		}
	}
	if info, err := os.Stat(file); err != nil || read(file) != "new content\n" || info.Mode() != 0o755 {
		t.Errorf("%s: %q, %v, %v", when, read(file), info, err)
	}
}

// atomic fails unless a file is one that was to be there, as a whole.
func (s *stage) atomic(t *testing.T, when string) {
	t.Helper()
	file := s.dest
	if filepath.Base(file) != "a" {
		file = filepath.Join(file, "a")
		if _, err := os.Stat(filepath.Join(s.dest, "new")); (err == nil) != (read(file) == "new content\n") {
			t.Errorf("%s: half of the folder", when)
		}
	}
	if b, err := os.ReadFile(file); err == nil && string(b) != "old content\n" && string(b) != "new content\n" {
		t.Errorf("%s: %q", when, b)
	}
}

// soak asks for every tool, and for both ways on from there. A plain run takes
// every third tool, from a seeded one on, and takes turns.
var soak = os.Getenv("PLIMSOLL_SOAK") != ""

// seeded returns the source of a sample, and says how to have it again.
func seeded(t *testing.T) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("PLIMSOLL_SEED"); s != "" {
		if _, err := fmt.Sscan(s, &seed); err != nil {
			t.Fatalf("PLIMSOLL_SEED: %v", err)
		}
	}
	t.Logf("PLIMSOLL_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 1))
}

// cutsOf calls cut with the numbers of the tools at which a state is cut.
func cutsOf(first int, cut func(at int, repeat bool) (over bool)) {
	if soak {
		for at := 1; !cut(at, true); at++ {
			cut(at, false)
		}
		return
	}
	for at, repeat := first, true; !cut(at, repeat); at, repeat = at+3, !repeat {
	}
}

// TestCuts cuts each state at each of its tools, and then repeats it, or goes
// back.
func TestCuts(t *testing.T) {
	for _, name := range []string{"single-file", "directory"} {
		for how, fill := range map[string]func(*testing.T, *stage){"present": present, "absent": absent} {
			for _, tear := range []string{"", "torn"} {
				t.Run(name+"/"+how+tear, func(t *testing.T) {
					if _, err := os.Stat("/dev/shm"); err == nil {
						t.Setenv("TMPDIR", "/dev/shm") // nothing is cut for real, so nothing need be flushed
					}
					first := 1 + seeded(t).IntN(3)
					cutsOf(first, func(at int, repeat bool) bool {
						return cutInstall(t, name, fill, at, tear, repeat) || t.Failed()
					})
					cutsOf(first, func(at int, repeat bool) bool {
						return cutRollback(t, name, fill, at, tear, repeat) || t.Failed()
					})
				})
			}
		}
	}
}

// cutInstall reports whether the state was over before it could be cut.
func cutInstall(t *testing.T, name string, fill func(*testing.T, *stage), at int, tear string, repeat bool) (over bool) {
	s := setStage(t, name, fill)
	s.fail(t, at, tear)
	err := s.Call(t.Context(), ArtifactInstall)
	if s.tornAsCut(tear) {
		return done(t, at, err)
	}
	when := fmt.Sprintf("install, cut at %d: %s", at, s.log()[len(s.log())-1])
	s.atomic(t, when)
	s.fail(t, 0, "")
	if repeat {
		s.must(t, ArtifactInstall)
		s.installed(t, when+", repeated")
		s.must(t, ArtifactInstall)
		s.installed(t, when+", repeated twice")
	}
	s.must(t, ArtifactRollback)
	same(t, when+", back", s.before, s.root)
	s.must(t, ArtifactRollback)
	same(t, when+", back twice", s.before, s.root)
	s.must(t, "Cleanup")
	same(t, when+", cleaned up", s.before, s.root)
	return done(t, at, err)
}

// tornAsCut reports whether half of the work of a tool was none: that was seen.
func (s *stage) tornAsCut(tear string) bool {
	tool, _, _ := strings.Cut(s.log()[len(s.log())-1], " ")
	return tear != "" && tool != "cp" && tool != "tar" && tool != "rm"
}

// done reports whether a state was not cut, and fails if it was cut too often.
func done(t *testing.T, at int, err error) bool {
	if at > 100 {
		t.Fatal("it does not come to an end")
	}
	return err == nil
}

func cutRollback(t *testing.T, name string, fill func(*testing.T, *stage), at int, tear string, repeat bool) (over bool) {
	s := setStage(t, name, fill)
	s.must(t, ArtifactInstall)
	s.installed(t, "installed")
	s.fail(t, at, tear)
	err := s.Call(t.Context(), ArtifactRollback)
	if s.tornAsCut(tear) {
		return done(t, at, err)
	}
	when := fmt.Sprintf("rollback, cut at %d: %s", at, s.log()[len(s.log())-1])
	s.atomic(t, when)
	s.fail(t, 0, "")
	if repeat {
		s.must(t, ArtifactRollback)
		same(t, when+", repeated", s.before, s.root)
	}
	s.must(t, "Cleanup")
	if repeat || name == "directory" {
		same(t, when+", cleaned up", s.before, s.root)
	}
	return done(t, at, err)
}

// TestCleanupAfterCut: if nobody goes back there is the old or the new, and
// nothing beside it.
func TestCleanupAfterCut(t *testing.T) {
	for _, name := range []string{"single-file", "directory"} {
		for at, over := 1, false; !over && !t.Failed(); at++ {
			s := setStage(t, name, present)
			s.fail(t, at, "")
			err := s.Call(t.Context(), ArtifactInstall)
			over = done(t, at, err)
			when := fmt.Sprintf("install, cut at %d: %s", at, s.log()[len(s.log())-1])
			s.fail(t, 0, "")
			s.must(t, "Cleanup")
			if read(filepath.Join(s.root, "sub/dir/a")) == "old content\n" {
				same(t, when, s.before, s.root)
			} else {
				s.installed(t, when)
			}
			if left, err := filepath.Glob(s.root + "/sub/.*plimsoll*"); len(left) > 0 || err != nil {
				t.Errorf("%s: left %q, %v", when, left, err)
			}
			if left, err := filepath.Glob(s.root + "/sub/dir/.*plimsoll*"); len(left) > 0 || err != nil {
				t.Errorf("%s: left %q, %v", when, left, err)
			}
		}
	}
}

// TestDurable is the order in which things get to the medium.
func TestDurable(t *testing.T) {
	for name, want := range map[string][]string{
		"single-file": {
			"cp -a DEST TMP/backup.new/old", "sync TMP/backup.new/old", "sync TMP/backup.new", "mv TMP/backup.new TMP/backup", "sync TMP",
			"cp -a FILES/a DIR/.a.plimsoll-new", "chmod 755 DIR/.a.plimsoll-new", "sync DIR/.a.plimsoll-new", "mv -f DIR/.a.plimsoll-new DEST", "sync DIR",
			"rollback", "cp -a TMP/backup/old DIR/.a.plimsoll-new", "sync DIR/.a.plimsoll-new", "mv -f DIR/.a.plimsoll-new DEST", "sync DIR",
		},
		"directory": {
			"sync TMP/record.new/dest", "sync TMP/record.new", "mv TMP/record.new TMP/record", "sync TMP",
			"tar -xf -", "sync -f DIR/.dir.plimsoll-new",
			"mv DEST DIR/.dir.plimsoll-old", "sync DIR/", "mv DIR/.dir.plimsoll-new DEST", "sync DIR/",
			"rollback", "mv DEST DIR/.dir.plimsoll-new", "sync DIR/", "mv DIR/.dir.plimsoll-old DEST", "sync DIR/",
		},
	} {
		s := setStage(t, name, present)
		names := strings.NewReplacer(s.Tree+"/tmp", "TMP", s.Tree+"/files", "FILES", s.dest, "DEST", filepath.Dir(s.dest), "DIR")
		s.must(t, ArtifactInstall)
		log := append(s.log(), "rollback")
		s.fail(t, 0, "")
		s.must(t, ArtifactRollback)
		at := 0
		for _, line := range append(log, s.log()...) {
			if at < len(want) && names.Replace(line) == want[at] {
				at++
			}
		}
		if at < len(want) {
			t.Errorf("%s: no %q at its place in\n%s", name, want[at], names.Replace(strings.Join(append(log, s.log()...), "\n")))
		}
	}
}

// TestMadeFolders: folders that had to be made are on the medium, too.
func TestMadeFolders(t *testing.T) {
	for _, name := range []string{"single-file", "directory"} {
		s := setStage(t, name, absent)
		s.must(t, ArtifactInstall)
		log := strings.Join(s.log(), "\n")
		for _, want := range []string{s.root + "/", s.root + "/sub"} {
			if !strings.Contains(log+"\n", "sync "+want+"\n") {
				t.Errorf("%s: no sync %s in\n%s", name, want, log)
			}
		}
	}
}

// TestRefusals is what our modules do not touch.
func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		module, file, says string
		fill               func(t *testing.T, s *stage)
		want               string
	}{
		{"single-file", "dest_dir", "relative/dir\n", present, "dest_dir is not absolute: relative/dir"},
		{"single-file", "dest_dir", "", present, "dest_dir is empty"},
		{"single-file", "dest_dir", "\n\n", present, "dest_dir is empty"},
		{"single-file", "dest_dir", "ROOT/sub/../sub/dir\n", present, "dest_dir has .. in it"},
		{"single-file", "dest_dir", "ROOT/sub/..", present, "dest_dir has .. in it"},
		{"single-file", "dest_dir", "ROOT/sub\nROOT/dir\n", present, "dest_dir has more than one line"},
		{"single-file", "dest_dir", "ROOT/sub/dir/a\n", present, "a is not a directory"},
		{"single-file", "dest_dir", "ROOT/sub/dir/a/b\n", present, "a is not a directory"},
		{"single-file", "filename", "../a\n", present, "filename is not a plain name: ../a"},
		{"single-file", "filename", "..\n", present, "filename is not a plain name: .."},
		{"single-file", "filename", "b\n", present, "the payload has no b"},
		{"single-file", "filename", "", present, "filename is empty"},
		{"single-file", "permissions", "u+s\n", present, "permissions are not octal: u+s"},
		{"single-file", "permissions", "07777\n", present, "permissions are not octal: 07777"},
		{"single-file", "permissions", "\n", present, "permissions is empty"},
		{"single-file", "", "", func(t *testing.T, s *stage) { put(t, s.dest+"/x", "", 0o644) }, "a is a directory"},
		{"single-file", "", "", func(t *testing.T, s *stage) { link(t, "dir", s.dest); put(t, filepath.Dir(s.dest)+"/dir/x", "", 0o644) }, "a is a directory"},
		{"single-file", "", "", func(t *testing.T, s *stage) { mkpipe(t, s.dest) }, "a is not a file"},
		{"single-file", "", "", func(t *testing.T, s *stage) { link(t, "nowhere", filepath.Dir(s.dest)) }, "dir is not a directory"},
		{"directory", "dest_dir", "relative/dir\n", present, "dest_dir is not absolute: relative/dir"},
		{"directory", "dest_dir", "", present, "dest_dir is empty"},
		{"directory", "dest_dir", "/\n", present, "dest_dir is /"},
		{"directory", "dest_dir", "//\n", present, "dest_dir is /"},
		{"directory", "dest_dir", "/.\n", present, "dest_dir has . or .. in it"},
		{"directory", "dest_dir", "ROOT/sub/../sub\n", present, "dest_dir has . or .. in it"},
		{"directory", "dest_dir", "ROOT/sub\nROOT/dir\n", present, "dest_dir has more than one line"},
		{"directory", "dest_dir", "ROOT/sub/dir/a/b\n", present, "a is not a directory"},
		{"directory", "dest_dir", "ROOT/../work\n", present, "dest_dir has . or .. in it"},
		{"directory", "dest_dir", "TOP\n", present, "has the tree of the update in it"},
		{"directory", "dest_dir", "ROOT/sub/dir/up\n", func(t *testing.T, s *stage) { link(t, filepath.Dir(s.root), s.dest+"/up") }, "has the tree of the update in it"},
		{"directory", "dest_dir", "ROOT/sub/dir/up\n", func(t *testing.T, s *stage) { link(t, "/", s.dest+"/up") }, "dest_dir leads to /"},
		{"directory", "", "", func(t *testing.T, s *stage) { put(t, s.dest, "a file", 0o644) }, "dir is not a directory"},
		{"directory", "", "", func(t *testing.T, s *stage) { link(t, "nowhere", s.dest) }, "dir is not a directory"},
		{"directory", "update.tar", "not an archive\n", present, ""},
	} {
		t.Run(c.module+"/"+c.want, func(t *testing.T) {
			s := setStage(t, c.module, c.fill)
			if c.file != "" {
				s.payload(t, c.file, strings.NewReplacer("ROOT", s.root, "TOP", filepath.Dir(s.root)).Replace(c.says))
			}
			err := s.Call(t.Context(), ArtifactInstall)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
			s.must(t, ArtifactRollback)
			s.must(t, ArtifactFailure)
			s.must(t, "Cleanup")
			same(t, "refused", s.before, s.root)
		})
	}
}

func link(t *testing.T, to, path string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.Symlink(to, path)); err != nil {
		t.Fatal(err)
	}
}

func mkpipe(t *testing.T, path string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), unix.Mkfifo(path, 0o644)); err != nil {
		t.Fatal(err)
	}
}

// TestLinks is what becomes of links.
func TestLinks(t *testing.T) {
	for _, c := range []struct {
		name, module string
		fill         func(t *testing.T, s *stage)
		link         string // that is still one, below the root
	}{
		{"the file is a link", "single-file", func(t *testing.T, s *stage) {
			link(t, "../target", s.dest)
			put(t, s.root+"/sub/target", "target\n", 0o644)
		}, ""},
		{"the file is a link to nothing", "single-file", func(t *testing.T, s *stage) { link(t, "../target", s.dest) }, ""},
		{"dest_dir is a link", "single-file", func(t *testing.T, s *stage) {
			link(t, "../data", s.root+"/sub/dir")
			put(t, s.root+"/data/a", "old\n", 0o644)
		}, "sub/dir"},
		{"a part of dest_dir is a link", "directory", func(t *testing.T, s *stage) {
			link(t, "data", s.root+"/sub")
			put(t, s.root+"/data/dir/a", "old\n", 0o644)
		}, "sub"},
		{"dest_dir is a link to a folder", "directory", func(t *testing.T, s *stage) { link(t, "../data", s.dest); put(t, s.root+"/data/a", "old\n", 0o644) }, "sub/dir"},
		{"nothing in a link to a folder", "directory", func(t *testing.T, s *stage) { link(t, "data", s.root+"/sub"); put(t, s.root+"/data/x", "", 0o644) }, "sub"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := setStage(t, c.module, c.fill)
			s.must(t, ArtifactInstall)
			s.installed(t, "installed")
			if s.before["sub/target"] != snapshot(t, s.root)["sub/target"] {
				t.Error("what the link led to is another")
			}
			if info, err := os.Lstat(filepath.Join(s.root, c.link)); err != nil || c.link != "" && info.Mode()&os.ModeSymlink == 0 {
				t.Errorf("%s: %v, %v", c.link, info.Mode(), err)
			}
			s.must(t, ArtifactRollback)
			same(t, "back", s.before, s.root)
		})
	}
}

// TestNames: names are not words of a shell.
func TestNames(t *testing.T) {
	const odd = "-rf *; $(touch x) 'y' \"z\" \\n"
	for _, name := range []string{"single-file", "directory"} {
		s := setStage(t, name, absent)
		s.dest = filepath.Join(s.root, odd)
		if name == "single-file" {
			s.dest = filepath.Join(s.dest, "a")
			s.payload(t, "dest_dir", filepath.Join(s.root, odd))
		} else {
			s.payload(t, "dest_dir", s.dest)
		}
		s.must(t, ArtifactInstall)
		s.installed(t, name)
		s.must(t, ArtifactRollback)
		same(t, name+", back", s.before, s.root)
	}
}

// TestLostTree: an update was cut between the two renames, and nobody took care
// of it before the next.
func TestLostTree(t *testing.T) {
	s := setStage(t, "directory", present)
	if err := os.Rename(s.dest, filepath.Join(filepath.Dir(s.dest), ".dir.plimsoll-old")); err != nil {
		t.Fatal(err)
	}
	s.must(t, ArtifactInstall)
	s.installed(t, "installed")
	s.must(t, ArtifactRollback)
	same(t, "back", s.before, s.root)
}

// TestKeepsOthers: a rollback to nothing leaves what somebody else put there.
func TestKeepsOthers(t *testing.T) {
	s := setStage(t, "single-file", absent)
	s.must(t, ArtifactInstall)
	other := put(t, filepath.Join(filepath.Dir(s.dest), "other"), "other\n", 0o644)
	s.must(t, ArtifactRollback)
	if _, err := os.Lstat(s.dest); !errors.Is(err, os.ErrNotExist) || read(other) != "other\n" {
		t.Errorf("%v, %q", err, read(other))
	}
}

// TestFullDisk: what does not fit does not harm.
func TestFullDisk(t *testing.T) {
	for _, name := range []string{"single-file", "directory"} {
		t.Run(name, func(t *testing.T) {
			s := setStage(t, name, absent)
			if err := unix.Mount("tmpfs", s.root, "tmpfs", 0, "size=1m"); errors.Is(err, unix.EPERM) {
				t.Skip("only root mounts")
			} else if err != nil {
				t.Fatal(err)
			}
			defer unix.Unmount(s.root, unix.MNT_DETACH)
			present(t, s)
			s.before = snapshot(t, s.root)
			large := bytes.Repeat([]byte("x"), 2<<20)
			if name == "single-file" {
				s.payload(t, "a", string(large))
			} else {
				from := t.TempDir()
				put(t, filepath.Join(from, "a"), string(large), 0o644)
				if out, err := exec.Command("/bin/tar", "-cf", filepath.Join(s.Tree, "files/update.tar"), "-C", from, ".").CombinedOutput(); err != nil {
					t.Fatalf("tar: %v\n%s", err, out)
				}
			}
			if err := s.Call(t.Context(), ArtifactInstall); err == nil || name == "single-file" && !strings.Contains(err.Error(), "No space left on device") {
				t.Errorf("got %v", err)
			}
			s.atomic(t, "full")
			s.must(t, ArtifactRollback)
			s.must(t, "Cleanup")
			same(t, "back", s.before, s.root)
		})
	}
}
