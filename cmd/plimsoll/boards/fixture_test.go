package boards

import (
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/plimsoll-ota/plimsoll/cmd/internal/machine"
)

// A workshop is what all tests share: Debian's packages, plimsoll for this
// machine and for the boards, a key, and the images that were made so far.
type workshop struct {
	dir     string
	debian  *machine.Debian
	command string // plimsoll, for this machine
	arm64   []byte // plimsoll, for the board
	making  sync.Map

	// Of guests with systemd, see withSystemd.
	systemd *machine.Systemd
	units   map[string]machine.File // plimsoll's, enabled
}

var shop = sync.OnceValues(func() (*workshop, error) {
	ctx := context.Background()
	w := &workshop{}
	var err error
	if w.dir, err = os.MkdirTemp("", "boards"); err != nil {
		return nil, err
	}
	if w.debian, err = machine.Fetch(ctx); err != nil {
		return nil, err
	}
	if w.arm64, err = machine.Command(ctx, "arm64"); err != nil {
		return nil, err
	}
	host, err := machine.Command(ctx, runtime.GOARCH)
	if err != nil {
		return nil, err
	}
	w.command = w.path("plimsoll")
	if err := os.WriteFile(w.command, host, 0o755); err != nil {
		return nil, err
	}
	if err := w.run("key", "generate", "-o", w.path("private.pem")); err != nil {
		return nil, err
	}
	return w, w.run("key", "public", w.path("private.pem"), "-o", w.path("public.pem"))
})

func TestMain(m *testing.M) {
	flag.Parse()
	// A machine that boots waits now and then, and each has one processor.
	chosen := false
	flag.Visit(func(f *flag.Flag) { chosen = chosen || f.Name == "test.parallel" })
	if !chosen {
		if err := flag.Set("test.parallel", strconv.Itoa(runtime.GOMAXPROCS(0)+1)); err != nil {
			panic(err)
		}
	}
	code := m.Run()
	if w, err := shop(); err == nil {
		os.RemoveAll(w.dir)
	}
	os.Exit(code)
}

func workshopOf(t *testing.T) *workshop {
	t.Helper()
	w, err := shop()
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *workshop) path(name string) string { return filepath.Join(w.dir, name) }

// run runs plimsoll on this machine.
func (w *workshop) run(args ...string) error {
	cmd := exec.Command(w.command, append([]string{"--quiet"}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("plimsoll %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

// once makes something by its name, at its first use.
func (w *workshop) once(name string, make func() error) error {
	f, _ := w.making.LoadOrStore(name, sync.OnceValue(make))
	return f.(func() error)()
}

// A release is a version of a board's root file system.
type release struct {
	name  string
	fault machine.Fault
	bare  bool              // without plimsoll: a trial that nobody judges
	units bool              // systemd is process 1, and has plimsoll's units
	files map[string]string // by absolute path; "#!" makes a file executable

	scripts map[string]string // of the artifact, by name
}

// atOnce adds to the configuration of a guest, whose root file system cannot be
// written, that one look at its health will do: most tests are about the rest.
const atOnce = "{ cat /etc/plimsoll/plimsoll.toml; printf '[health]\\nstable = \"0s\"\\n'; } > /run/plimsoll.toml && " +
	"mount -o bind /run/plimsoll.toml /etc/plimsoll/plimsoll.toml\n"

// sum tells a release from others of its name.
func (r release) sum() string {
	sum := sha256.Sum256(fmt.Append(nil, r)) // maps in the order of their keys
	return fmt.Sprintf("%x", sum[:6])
}

func (r release) guest(w *workshop) machine.Guest {
	g := machine.Guest{Version: r.name, Plimsoll: w.arm64, Fault: r.fault, Files: map[string]machine.File{}}
	if r.bare {
		g.Plimsoll = nil
	}
	if r.units {
		g.Systemd = w.systemd
		maps.Copy(g.Files, w.units)
	}
	g.Files["/etc/guest-hook"] = machine.File{Data: []byte(atOnce + "[ ! -e /data/hook ] || . /data/hook\n")}
	for name, text := range r.files {
		f := machine.File{Data: []byte(text)}
		if strings.HasPrefix(text, "#!") {
			f.Mode = 0o755
		}
		g.Files[name] = f
	}
	return g
}

// A kind is how an image is made for a board.
type kind struct {
	board    string
	args     []string      // of image build
	firmware string        // a folder; "" for none
	patience time.Duration // with a start, or a command; 0: the machine's own
}

// virt is the board of most tests; its slots are as small as the guest allows.
var virt = kind{board: "qemu-arm64", args: []string{"--slot-size", "64MiB", "--data-size", "32MiB"}}

// built returns the folder with disk.img and slot.ext4 of a release.
func (w *workshop) built(t *testing.T, k kind, r release) string {
	t.Helper()
	dir := w.path(k.board + strings.Join(k.args, "") + "-" + r.name + "-" + r.sum())
	err := w.once(dir, func() error {
		tree := filepath.Join(dir, "tree")
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
		if err := w.debian.WriteGuest(tree, r.guest(w)); err != nil {
			return err
		}
		args := append([]string{
			"image", "build", "--board", k.board, "--rootfs", tree, "--key", w.path("public.pem"), "--no-bmap",
			"--slot-image", filepath.Join(dir, "slot.ext4"), "-o", filepath.Join(dir, "disk.img"),
		}, k.args...)
		if k.firmware != "" {
			args = append(args, "--firmware", k.firmware)
		}
		return errors.Join(w.run(args...), os.RemoveAll(tree))
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// artifact returns the path of a release as a signed artifact.
func (w *workshop) artifact(t *testing.T, k kind, r release) string {
	t.Helper()
	dir := w.built(t, k, r)
	path := filepath.Join(dir, r.name+".mender")
	err := w.once(path, func() error {
		args := []string{
			"artifact", "write", "rootfs-image", "-f", filepath.Join(dir, "slot.ext4"), "-n", r.name,
			"--software-version", r.name, "-c", k.board, "-k", w.path("private.pem"), "-o", path,
		}
		for name, text := range r.scripts {
			script := filepath.Join(dir, name)
			if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
				return err
			}
			args = append(args, "--script", script)
		}
		return w.run(args...)
	})
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// copySparse copies a file and leaves its holes.
func copySparse(t *testing.T, from, to string) {
	t.Helper()
	if out, err := exec.Command("cp", "--sparse=always", from, to).CombinedOutput(); err != nil {
		t.Fatalf("cp %s: %v: %s", from, err, out)
	}
}
