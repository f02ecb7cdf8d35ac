package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plimsoll-ota/plimsoll/bootloader"
)

const (
	benchEnvSize  = 0x4000
	benchSlotSize = 2 << 20
	benchType     = "bench"
	keyDir        = "../../testdata/keys"
)

// benchEnv is the environment of a board that follows Mender's convention and runs from slot A.
var benchEnv = bootloader.Env{
	"mender_boot_part": "2", "mender_boot_part_hex": "2", "upgrade_available": "0", "bootcount": "0", "bootlimit": "1",
	"altbootcmd": "run mender_altbootcmd", "bootcmd": "run mender_setup; boot",
}

// benchConfig trusts the keys that lie beside it.
const benchConfig = `device_type = "bench"
state_dir = "state"
[trust]
keys = ["*.pub.pem"]
[slots]
a = "slot2.img"
b = "slot3.img"
running = "bootloader"
[bootloader]
fw_env_config = "fw_env.config"
lock = "fw.lock"
`

// A bench is a device made of plain files.
type bench struct {
	dir string
}

// newBench makes a device that runs from slot A and trusts the P-256 key of testdata/keys.
func newBench(t testing.TB) bench {
	t.Helper()
	b, err := makeBench(t.TempDir(), benchSlotSize)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func makeBench(dir string, slotSize int) (bench, error) {
	b := bench{dir}
	if err := os.MkdirAll(b.path("state"), 0o755); err != nil {
		return b, err
	}
	for name, content := range map[string]string{
		"slot2.img":     string(picture(slotSize, 2)),
		"slot3.img":     string(picture(slotSize, 3)),
		"plimsoll.toml": benchConfig,
		"fw_env.config": fmt.Sprintf("%[1]s 0x0 %#[2]x\n%[1]s %#[2]x %#[2]x\n", b.path("uboot.env"), benchEnvSize),
		"uboot.env":     strings.Repeat("\xff", 2*benchEnvSize),
		"p256.pub.pem":  "",
	} {
		if name == "p256.pub.pem" {
			key, err := os.ReadFile(filepath.Join(keyDir, name))
			if err != nil {
				return b, err
			}
			content = string(key)
		}
		if err := os.WriteFile(b.path(name), []byte(content), 0o644); err != nil {
			return b, err
		}
	}
	return b, b.writeEnv(benchEnv)
}

// picture returns n bytes that are the same for the same seed and that no compressor makes much smaller.
func picture(n int, seed uint64) []byte {
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	p := make([]byte, n)
	r.Read(p) // never fails
	return p
}

func (b bench) path(name string) string { return filepath.Join(b.dir, name) }

// writeEnv writes both copies of the environment; the second is the current one.
func (b bench) writeEnv(e bootloader.Env) error {
	var all []byte
	for flags := range byte(2) {
		c, err := e.Encode(benchEnvSize, true, flags+1)
		if err != nil {
			return err
		}
		all = append(all, c...)
	}
	return os.WriteFile(b.path("uboot.env"), all, 0o644)
}

// readEnv returns the variables of the copy that counts.
func (b bench) readEnv() (bootloader.Env, error) {
	copies, err := bootloader.ReadConfig(b.path("fw_env.config"))
	if err != nil {
		return nil, err
	}
	u, err := bootloader.OpenUBoot(bootloader.Options{}, copies...)
	if err != nil {
		return nil, err
	}
	return u.Env()
}

// configure replaces a part of the configuration, which must be there.
func (b bench) configure(t testing.TB, old, new string) {
	t.Helper()
	b.rewrite(t, "plimsoll.toml", old, new)
}

func (b bench) rewrite(t testing.TB, name, old, new string) {
	t.Helper()
	have := readFile(t, b.path(name))
	if !strings.Contains(have, old) {
		t.Fatalf("%s has no %q", name, old)
	}
	writeFile(t, b.path(name), strings.Replace(have, old, new, 1))
}

// run calls the command with the device's configuration.
func (b bench) run(args ...string) result {
	return call(nil, append([]string{"--config", b.path("plimsoll.toml")}, args...)...)
}

// A print is what must not change: the sums of both slots and of the environment.
type fingerprint map[string]string

func (b bench) fingerprint() (fingerprint, error) {
	f := fingerprint{}
	for _, name := range []string{"slot2.img", "slot3.img", "uboot.env"} {
		c, err := os.ReadFile(b.path(name))
		if err != nil {
			return nil, err
		}
		f[name] = fmt.Sprintf("%x", sha256.Sum256(c))
	}
	return f, nil
}

// before returns a function that complains if slots or environment changed in between.
func (b bench) before(t testing.TB) (unchanged func()) {
	t.Helper()
	want, err := b.fingerprint()
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		got, err := b.fingerprint()
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("the device changed (%v):\n%s", err, diff)
		}
	}
}

// holds complains unless the slot begins with image.
func (b bench) holds(t testing.TB, slot string, image []byte) {
	t.Helper()
	have, err := os.ReadFile(b.path(slot))
	if err != nil || !bytes.HasPrefix(have, image) {
		t.Errorf("%s does not begin with the image (%v)", slot, err)
	}
}

// A result is how a call of the command ended.
type result struct {
	code           int
	stdout, stderr string
}

// forks keeps calls of the command and the starting of processes apart: between fork and exec a child has every file of this process, and
// with them the locks, so that a bench would now and then find itself at work.
var forks sync.RWMutex

// call runs the command in this process.
func call(stdin io.Reader, args ...string) result {
	return callIn(context.Background(), &env{stdin: stdin}, args...)
}

func callIn(ctx context.Context, e *env, args ...string) result {
	var stdout, stderr bytes.Buffer
	if e.stdin == nil {
		e.stdin = strings.NewReader("")
	}
	e.stdout, e.stderr = &stdout, &stderr
	forks.RLock()
	defer forks.RUnlock()
	code := run(ctx, e, args)
	return result{code, stdout.String(), stderr.String()}
}

// want complains unless the call ended with code, and said each of says on standard error.
func (r result) want(t testing.TB, code int, says ...string) result {
	t.Helper()
	if r.code != code {
		t.Errorf("exit %d, want %d\nstdout: %s\nstderr: %s", r.code, code, r.stdout, r.stderr)
	}
	for _, s := range says {
		if !strings.Contains(r.stderr, s) {
			t.Errorf("stderr does not say %q:\n%s", s, r.stderr)
		}
	}
	return r
}

// events parses the lines that --json printed.
func (r result) events() (events []map[string]any, err error) {
	for line := range strings.Lines(r.stdout) {
		var e map[string]any
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			return nil, fmt.Errorf("%q: %w", line, err)
		}
		if name, _ := e["event"].(string); name == "" {
			return nil, fmt.Errorf("%q has no event", line)
		}
		events = append(events, e)
	}
	return events, nil
}

// An order is an artifact to be written.
type order struct {
	name  string
	image []byte
	key   string   // of testdata/keys; "" signs with none
	flags []string // more flags of artifact write rootfs-image
}

// write makes the artifact with our own command and returns its path.
func (o order) write(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	image, path := filepath.Join(dir, "rootfs.img"), filepath.Join(dir, o.name+".mender")
	writeFile(t, image, string(o.image))
	args := append([]string{"artifact", "write", "rootfs-image", "-f", image, "-n", o.name, "-c", benchType, "-o", path}, o.flags...)
	if o.key != "" {
		args = append(args, "-k", filepath.Join(keyDir, o.key+".pem"))
	}
	call(nil, args...).want(t, 0)
	return path
}

func readFile(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func writeFile(t testing.TB, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// hasEnv complains unless the environment has each variable with its value; "" is absent.
func (b bench) hasEnv(t testing.TB, pairs ...string) {
	t.Helper()
	e, err := b.readEnv()
	if err != nil {
		t.Error(err)
	}
	for i := 0; i < len(pairs); i += 2 {
		if e[pairs[i]] != pairs[i+1] {
			t.Errorf("%s is %q, want %q", pairs[i], e[pairs[i]], pairs[i+1])
		}
	}
}
