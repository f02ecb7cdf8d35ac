package install_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/plimsoll-ota/plimsoll/artifact"
	"github.com/plimsoll-ota/plimsoll/signing"
)

// soak asks for all positions where a plain run takes a seeded sample.
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

const (
	partA, partB = 2, 3
	envSize      = 0x1000
	slotSize     = 1<<20 + 64<<10
	block        = 4 << 10
)

// program builds the command once. Its file has no name any more when this
// returns, so that nothing is left behind however the tests end.
var program = sync.OnceValues(func() (path string, err error) {
	dir, err := os.MkdirTemp("", "plimsoll-test")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	name := filepath.Join(dir, "plimsoll")
	if out, err := exec.Command("go", "build", "-o", name, "../cmd/plimsoll").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the command: %w\n%s", err, out)
	}
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), f.Fd()), kept(f)
})

// kept keeps a file from being closed by the garbage collector.
func kept(f *os.File) error { keptFiles = append(keptFiles, f); return nil }

var keptFiles []*os.File

// A bench is a device made of files, and what may stand on its slots.
type bench struct {
	dir    string
	bin    string
	images map[string][]byte // complete systems by name
}

// newBench returns a device that runs the system "a" from slot A, with the
// older system "b" on slot B, and the artifact new.mender of a third, "new",
// which has some blocks in common with b.
func newBench(t *testing.T) *bench {
	t.Helper()
	rnd := rand.New(rand.NewPCG(7, 7))
	a, b := noise(rnd, slotSize), noise(rnd, slotSize)
	image := bytes.Clone(b[:1<<20+9*block+100])
	for _, at := range []int{0, 1, 5, 200, 257, 260, 264} { // blocks
		copy(image[at*block:], noise(rnd, min(block, len(image)-at*block)))
	}
	return benchOf(t, a, b, image)
}

// benchOf returns a device with a and b on its slots, and the artifact of new.
func benchOf(t *testing.T, a, b, image []byte) *bench {
	t.Helper()
	bin, err := program()
	if err != nil {
		t.Fatal(err)
	}
	d := &bench{dir: t.TempDir(), bin: bin, images: map[string][]byte{"a": a, "b": b, "new": image}}
	must(t, os.Mkdir(d.path("state"), 0o700))
	d.put(t, "slot2.img", a)
	d.put(t, "slot3.img", b)
	d.put(t, "fw_env.config", fmt.Appendf(nil, "%[1]s 0x0 %#[2]x\n%[1]s %#[2]x %#[2]x\n", d.path("uboot.env"), envSize))
	d.put(t, "plimsoll.toml", []byte(`device_type = "bench"
state_dir = "state"
[trust]
keys = ["key.pem"]
[slots]
a = "slot2.img"
b = "slot3.img"
running = "bootloader"
[bootloader]
fw_env_config = "fw_env.config"
lock = "fw.lock"
`))
	key, err := signing.Generate("p256")
	must(t, err)
	pub, err := key.Public().MarshalPEM()
	must(t, err)
	d.put(t, "key.pem", pub)
	d.put(t, "new.mender", pack(t, key, image, artifact.Zstd))
	u := &uboot{raw: make([]byte, 2*envSize), current: -1, vars: map[string]string{
		"mender_boot_part": "2", "mender_boot_part_hex": "2", "upgrade_available": "0", "bootcount": "2",
		"bootlimit": "1", "altbootcmd": "run mender_altbootcmd; run bootcmd",
		"mender_check_saveenv_canary": "1", "mender_saveenv_canary": "1", "bootcmd": "run mender_setup",
	}}
	u.save()
	u.save()
	d.put(t, "uboot.env", u.raw)
	return d
}

// pack returns an artifact with image for a device of type bench.
func pack(t *testing.T, key artifact.Signer, image []byte, c artifact.Compression) []byte {
	t.Helper()
	var b bytes.Buffer
	w := artifact.Create(&b, artifact.Header{Name: "release-2", DeviceTypes: []string{"bench"}, Type: artifact.RootFS},
		artifact.Options{Compression: c, Signer: key, Rootfs: &artifact.Software{Version: "2.0"}, TempDir: t.TempDir()})
	must(t, w.Add("rootfs.img", int64(len(image)), bytes.NewReader(image)))
	must(t, w.Close())
	return b.Bytes()
}

func noise(rnd *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
	return b
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (d *bench) path(name string) string { return filepath.Join(d.dir, name) }

func (d *bench) put(t *testing.T, name string, b []byte) {
	t.Helper()
	must(t, os.WriteFile(d.path(name), b, 0o600))
}

func (d *bench) get(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(d.path(name))
	must(t, err)
	return b
}

// A snapshot is all that a device remembers.
type snapshot map[string][]byte

var media = []string{"slot2.img", "slot3.img", "uboot.env"}

// snapshot keeps slots, environment and state directory.
func (d *bench) snapshot(t *testing.T) snapshot {
	t.Helper()
	s := snapshot{}
	for _, name := range media {
		s[name] = d.get(t, name)
	}
	entries, err := os.ReadDir(d.path("state"))
	must(t, err)
	for _, e := range entries {
		name := filepath.Join("state", e.Name())
		s[name] = d.get(t, name)
	}
	return s
}

// restore puts the device back to s, rewriting only what differs.
func (d *bench) restore(t *testing.T, s snapshot) {
	t.Helper()
	entries, err := os.ReadDir(d.path("state"))
	must(t, err)
	for _, e := range entries {
		if _, ok := s[filepath.Join("state", e.Name())]; !ok {
			must(t, os.Remove(d.path(filepath.Join("state", e.Name()))))
		}
	}
	for name, want := range s {
		have, err := os.ReadFile(d.path(name))
		if errors.Is(err, fs.ErrNotExist) || !bytes.Equal(have, want) {
			d.put(t, name, want)
		}
	}
}

// fingerprint names what the next verb will find. Ids and times differ from
// run to run and decide nothing; temporary files are begun anew.
func (d *bench) fingerprint(t *testing.T) string {
	t.Helper()
	var sums [32]byte
	for name, b := range d.snapshot(t) {
		sum := sha256.Sum256(append([]byte(name), b...))
		switch filepath.Base(name) {
		case "uboot.env":
			u := readUBoot(b)
			ours := u.vars["plimsoll_trial"]
			sum = sha256.Sum256(fmt.Append(nil, u.current, ours != "", strings.ReplaceAll(fmt.Sprint(u.vars), ours, "")))
		case "state.json":
			sum = sha256.Sum256(regexp.MustCompile(`"(id|uptime)": .*`).ReplaceAll(b, nil))
		case "slot2.img", "slot3.img", "env.backup":
		default:
			continue
		}
		for i := range sum { // in any order of the files
			sums[i] ^= sum[i]
		}
	}
	return string(sums[:])
}

// command is a verb, ready to run.
func (d *bench) command(ctx context.Context, verb ...string) *exec.Cmd {
	return exec.CommandContext(ctx, d.bin, append([]string{"--config", d.path("plimsoll.toml"), "--json"}, verb...)...)
}

// run runs a verb to its end. A crash ends the test: its exit code is one of
// ours.
func (d *bench) run(t *testing.T, verb ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := d.command(ctx, verb...)
	var out, msg bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &msg
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatalf("%v: %v", verb, err)
	}
	if crashed(msg.String()) || cmd.ProcessState.ExitCode() < 0 {
		t.Fatalf("%v crashed:\n%s", verb, msg.String())
	}
	return cmd.ProcessState.ExitCode(), out.String(), msg.String()
}

func crashed(stderr string) bool {
	return strings.Contains(stderr, "\ngoroutine ") || strings.HasPrefix(stderr, "panic:")
}

// done runs a verb that must succeed.
func (d *bench) done(t *testing.T, verb ...string) {
	t.Helper()
	if code, out, msg := d.run(t, verb...); code != 0 {
		t.Fatalf("%v: exit %d\n%s%s", verb, code, out, msg)
	}
}

// row is what status says of the device. It must be able to.
func (d *bench) row(t *testing.T) string {
	t.Helper()
	code, out, msg := d.run(t, "status")
	var r struct{ Event, Row string }
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != 0 || r.Row == "" {
		t.Fatalf("status: exit %d, row %q, %v\n%s%s", code, r.Row, err, out, msg)
	}
	return r.Row
}

// holds returns the name of the complete system on a slot, "" for none. What
// lies behind a shorter image is what lay there before.
func (d *bench) holds(t *testing.T, part int) string {
	t.Helper()
	slot := d.get(t, fmt.Sprintf("slot%d.img", part))
	before := d.images["a"]
	if part == partB {
		before = d.images["b"]
	}
	for name, image := range d.images {
		if bytes.Equal(slot[:len(image)], image) && bytes.Equal(slot[len(image):], before[len(image):]) {
			return name
		}
	}
	return ""
}

// loadable reports whether a slot holds something that a bootloader could load
// by mistake: a first block, and behind it neither all of what was there nor
// all of the new image.
func (d *bench) loadable(t *testing.T, part int, before []byte) bool {
	t.Helper()
	slot, image := d.get(t, fmt.Sprintf("slot%d.img", part)), d.images["new"]
	first := min(block, len(image))
	if bytes.Equal(slot[:first], make([]byte, first)) || bytes.Equal(slot[first:], before[first:]) {
		return false
	}
	return !bytes.Equal(slot[first:len(image)], image[first:])
}

// boots is the verdict that every fault ends with: by U-Boot's rules the
// device boots a complete system, and on trial both that and what it falls back
// to are complete. It returns the environment.
func (d *bench) boots(t *testing.T) *uboot {
	t.Helper()
	u := readUBoot(d.get(t, "uboot.env"))
	if u.current < 0 {
		t.Fatal("no copy of the environment is valid")
	}
	first := u.part(t)
	if d.holds(t, first) == "" {
		t.Fatalf("the environment boots slot %d, which holds no complete system", first)
	}
	if !u.onTrial() {
		return u
	}
	trial := readUBoot(u.raw)
	for n := 1; ; n++ {
		part := trial.boot(t)
		if d.holds(t, part) == "" {
			t.Fatalf("boot %d of the trial is of slot %d, which holds no complete system", n, part)
		}
		if !trial.onTrial() {
			if part == first {
				t.Fatal("the trial ended where it began")
			}
			return u
		}
		if n > 3 {
			t.Fatalf("boot %d of the trial: no fallback", n)
		}
	}
}

// settles lets the device come to rest after a fault, as it would boot by
// boot, and then updates it: no fault may leave it stuck.
func (d *bench) settles(t *testing.T) {
	t.Helper()
	u := d.boots(t)
	d.row(t)
	if u.onTrial() { // it falls back at one power cut after the other
		here := d.snapshot(t)
		for u.onTrial() {
			u.boot(t)
		}
		d.put(t, "uboot.env", u.raw)
		d.rests(t)
		if v := d.boots(t); v.onTrial() || v.vars["plimsoll_trial"] != "" {
			t.Fatalf("after the fallback the environment has %v", v.vars)
		}
		d.restore(t, here)
	}
	d.rests(t)
	if u := d.boots(t); u.onTrial() {
		t.Fatalf("at rest and on trial: %v", u.vars)
	}
	d.done(t, "install", "--retry", d.path("new.mender"))
	d.boots(t)
	d.done(t, "commit")
	if u := d.boots(t); u.onTrial() || d.holds(t, u.part(t)) != "new" {
		t.Fatalf("committed, and the environment has %v", u.vars)
	}
}

// rests runs resume until it has nothing to do.
func (d *bench) rests(t *testing.T) {
	t.Helper()
	var said strings.Builder
	for range 5 {
		code, out, msg := d.run(t, "resume")
		fmt.Fprintf(&said, "exit %d\n%s%s", code, out, msg)
		switch code {
		case 2:
			return
		case 0, 1:
			d.boots(t)
		default:
			t.Fatalf("resume: %s", said.String())
		}
	}
	t.Fatalf("resume does not come to rest:\n%s", said.String())
}
