package udev

import (
	"bytes"
	"cmp"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plimsoll-ota/plimsoll/artifact"
	"github.com/plimsoll-ota/plimsoll/udev/report"
)

// keys trust a signature that says so.
var keys artifact.Verifier = says{}

type says struct{}

func (says) Verify(_, sig []byte) error {
	if len(sig) == 0 {
		return errors.New("it has no signature")
	}
	if string(sig) != "trust me" {
		return errors.New("by a stranger")
	}
	return nil
}

type signs string

func (s signs) Sign([]byte) ([]byte, error) { return []byte(s), nil }

// made makes an artifact of 200 KB. sign is "" for one without a signature.
func made(t testing.TB, name, version, sign string) []byte {
	t.Helper()
	h := artifact.Header{Name: name, DeviceTypes: []string{"crane"}, Type: artifact.RootFS, Provides: map[string]string{"plimsoll.version": version}}
	o := artifact.Options{}
	if sign != "" {
		o.Signer = signs(sign)
	}
	var b bytes.Buffer
	w := artifact.Create(&b, h, o)
	image := bytes.Repeat([]byte("image of "+name), 200_000/(9+len(name)))
	must(t, errors.Join(w.Add("image", int64(len(image)), bytes.NewReader(image)), w.Close()))
	return b.Bytes()
}

func good(t testing.TB, name, version string) []byte { return made(t, name, version, "trust me") }

func manifest(t testing.TB, b []byte) string {
	t.Helper()
	i, err := artifact.Inspect(bytes.NewReader(b))
	must(t, err)
	return i.ManifestSum.String()
}

func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// A stick is a file that is shown as a disk.
type stick struct {
	t    testing.TB
	file string
	dev  string // "" while it is out
}

// loops keeps two from taking the same device.
var loops sync.Mutex

// newStick makes an ext4 with files, 4 MiB large, and plugs it in.
func newStick(t testing.TB, files map[string]string, args ...string) *stick {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("loop devices and mounts need root: run the tests as root")
	}
	dir := t.TempDir()
	tree := filepath.Join(dir, "tree")
	must(t, os.Mkdir(tree, 0o755))
	for name, text := range files {
		path := filepath.Join(tree, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		if !strings.HasSuffix(name, "/") {
			must(t, os.WriteFile(path, []byte(text), 0o644))
		} else {
			must(t, os.MkdirAll(path, 0o755))
		}
	}
	s := &stick{t: t, file: filepath.Join(dir, "stick.img")}
	must(t, os.WriteFile(s.file, nil, 0o644))
	must(t, os.Truncate(s.file, 4<<20))
	run(t, "mke2fs", "-q", "-t", "ext4", "-m", "0", "-O", "^has_journal", "-d", tree, s.file)
	s.plug(args...)
	t.Cleanup(s.unplug)
	return s
}

func (s *stick) plug(args ...string) {
	s.t.Helper()
	loops.Lock()
	defer loops.Unlock()
	s.dev = run(s.t, "losetup", append(args, "-f", "--show", s.file)...)
}

func (s *stick) name() string { return filepath.Base(s.dev) }

// unplug takes out a stick that nobody uses.
func (s *stick) unplug() {
	s.t.Helper()
	if s.dev == "" {
		return
	}
	loops.Lock()
	defer loops.Unlock()
	run(s.t, "blockdev", "--setrw", s.dev) // a flag would stay with the device
	run(s.t, "losetup", "-d", s.dev)
	s.dev = ""
}

// pull takes a stick out, whoever is at work with it: it has no size any more, and
// gives nothing. Its files are lost.
func (s *stick) pull() {
	must(s.t, os.Truncate(s.file, 0))
	run(s.t, "losetup", "-c", s.dev)
}

// fails makes it a stick that cannot be read any more, and is there.
func (s *stick) fails() {
	must(s.t, os.Truncate(s.file, 4096))
}

func (s *stick) bytes() []byte {
	s.t.Helper()
	b, err := os.ReadFile(s.file)
	must(s.t, err)
	return b
}

// inside mounts a stick that nobody uses.
func (s *stick) inside(do func(dir string)) {
	s.t.Helper()
	dir := s.t.TempDir()
	run(s.t, "mount", s.dev, dir)
	defer patient(s.t, "it is unmounted", func() bool { return unix.Unmount(dir, 0) == nil }) // a child that is being made may have it open
	do(dir)
}

// reports are on it.
func (s *stick) reports() (all []report.Report) {
	s.t.Helper()
	s.inside(func(dir string) {
		r, err := report.Read(dir, report.ReadOptions{})
		if errors.Is(err, os.ErrNotExist) {
			return
		}
		must(s.t, err)
		for _, f := range r.Reports {
			all = append(all, f.Report)
		}
	})
	slices.SortFunc(all, func(a, b report.Report) int { return cmp.Compare(a.Sequence, b.Sequence) })
	return all
}

// patient waits until something is so.
func patient(t testing.TB, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !so(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}
