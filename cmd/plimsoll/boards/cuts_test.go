package boards

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/plimsoll-ota/plimsoll/cmd/internal/machine"
)

// TestCuts cuts the power during one update: at chosen writes, with what was
// not flushed left out or in another order, and at random. A complete system
// boots each time, and the update can be had afterwards.
func TestCuts(t *testing.T) {
	seed := seed(t)
	random := rand.New(rand.NewPCG(seed, 1))
	r := recordUpdate(t, withHistory(t, random, 1, 2))
	count := &tally{}
	t.Cleanup(func() { t.Log(count) })
	r.everywhere(t, count)

	points := r.points(t, random)
	chosen, thorough := sampled(random, len(points), 4), sampled(random, len(points), 3)
	for i, p := range points {
		if !chosen[i] {
			continue
		}
		t.Run(p.name, func(t *testing.T) {
			b := r.board(t, r.disk(t, p.cut))
			f := b.afterCut()
			if f.Row != p.row || f.version != p.release.name || len(f.Failed) > 0 && p.row != "H1" {
				t.Errorf("after the boot: %+v; want release %s, row %s", f, p.release.name, p.row)
			}
			if p.row == "D2" && b.event("failed") {
				t.Error("nothing was tried, and the history says that something failed")
			}
			b.endsWell(f, thorough[i])
			count.add(1, "at a chosen write: release %s, row %s", f.version, f.Row)
		})
	}
	for i, n := 0, few(1, 12); i < n; i++ {
		// Of n cuts each has a part of the span to itself.
		cut := r.shuffled(random, float64(i)/float64(n), float64(i+1)/float64(n))
		t.Run(fmt.Sprintf("reordered %d", i+1), func(t *testing.T) {
			t.Logf("of %d writes %v", len(r.writes), cut)
			b := r.board(t, r.disk(t, cut))
			f := b.afterCut()
			b.endsWell(f, soak())
			count.add(1, "writes reordered: release %s, row %s", f.version, f.Row)
		})
	}
	for i, n := 0, few(1, 36); i < n; i++ {
		random := rand.New(rand.NewPCG(seed, uint64(2+i)))
		after := time.Duration((float64(i) + random.Float64()) / float64(n) * 1.1 * float64(r.duration))
		t.Run(fmt.Sprintf("random %d", i+1), func(t *testing.T) { r.random(t, after, random, count) })
	}
}

// few is how many cases are run: some, or in a soak all.
func few(some, all int) int {
	if soak() {
		return all
	}
	return some
}

// withHistory prepares the disk of a device that has seen something: slot B
// holds an older system, whose first MiB looks well and whose other blocks all
// differ; the count of boots is what an earlier rollback by U-Boot left behind;
// and the environment is as large as it may be, so that a save changes sectors
// from its first to its last.
func withHistory(t *testing.T, random *rand.Rand, flags0, flags1 byte) func(disk *os.File) {
	t.Helper()
	image := filepath.Join(workshopOf(t).built(t, virt, v1), "slot.ext4")
	return func(disk *os.File) {
		b, err := os.ReadFile(image)
		if err != nil {
			t.Fatal(err)
		}
		zero := make([]byte, 4096)
		for block := range slices.Chunk(b[1<<20:], len(zero)) {
			if !bytes.Equal(block, zero) {
				for i := range block {
					block[i] ^= 0xff
				}
			}
		}
		if _, err := disk.WriteAt(b, partitions(t, disk)[2].from); err != nil {
			t.Fatal(err)
		}
		vars := judge(pairOf(t, disk)).vars
		vars["bootcount"] = "2"
		grow(vars, random)
		pair{encode(vars, flags0, random), encode(vars, flags1, random)}.put(t, disk)
	}
}

// grow fills an environment with a floor that is no version, and so means
// nothing, but is kept by whoever saves.
func grow(vars map[string]string, random *rand.Rand) {
	b := make([]byte, copySize-512)
	for i := range b {
		b[i] = 'a' + byte(random.IntN(26))
	}
	vars["plimsoll_floor"] = string(b)
}

// A point is a moment at which the power is cut.
type point struct {
	name string
	cut
	release release // that runs after the boot
	row     string  // in which the device is then, its resume having run
}

// points are the chosen moments.
func (r *recording) points(t *testing.T, random *rand.Rand) []point {
	t.Helper()
	slot, saves, head := r.in(slotB), r.saves(), r.parts[2].from+1<<20
	inHead := func(i int) bool { return r.writes[i].Offset < head }
	behind := slices.IndexFunc(slot, func(i int) bool { return !inHead(i) })
	if behind < 0 || len(saves) != 3 {
		t.Fatalf("%d writes of slot B, none behind its first MiB, or %d saves of the environment, and not 3", len(slot), len(saves))
	}
	cleared, slot := slot[:behind], slot[behind:]
	end := slices.IndexFunc(slot, inHead)
	if len(cleared) < 2 || end < 1 || len(slot)-end < 2 {
		t.Fatalf("slot B was not first cleared, then written, and its first MiB last: %d, %d and %d writes", len(cleared), end, len(slot)-end)
	}
	body, first := slot[:end], slot[end:]
	middle, arm, count, commit := body[len(body)/2], saves[0], saves[1], saves[2]
	at := func(i int) cut { return cut{before: i} }
	after := func(i int) cut { return cut{before: i + 1} }
	within := func(i int) cut { // with some of its sectors, but not all
		return cut{before: i, next: i, torn: (1 + random.IntN(len(r.data(t, i))/512-1)) * 512}
	}
	largest := slices.MaxFunc(first, func(a, b int) int { return len(r.data(t, a)) - len(r.data(t, b)) })
	return []point{
		{"first MiB cleared", at(body[0]), v1, "H1"},
		{"middle of the slot", within(middle), v1, "H1"},
		{"within the first MiB", within(largest), v1, "H1"},
		{"between write and record", after(first[len(first)-1]), v1, "H1"},
		{"between record and arm", at(arm), v1, "D2"},
		{"during the arm", within(arm), v1, "D2"},
		{"right after the arm", after(arm), v2, "A1"},
		{"during the count", within(count), v2, "A1"},
		{"after the count", after(count), v2, "A1"},
		{"in user space, before resume", at(r.phase(t, "alive")), v2, "A1"},
		{"between record and commit", at(commit), v2, "A1"},
		{"during the commit", within(commit), v2, "A1"},
		{"right after the commit", after(commit), v2, "A1"},
		{"before the first MiB is written", at(first[0]), v1, "H1"},
		{"before the slot is written", at(cleared[0]), v1, "H1"},
		{"while the first MiB is cleared", within(cleared[len(cleared)-1]), v1, "H1"},
		{"committed", at(r.phase(t, "committed")), v2, "A1"},
	}
}

// everywhere checks, without a boot, what must hold at each prefix of the
// recording: nothing is written but the inactive slot, the data and the stale
// copy of the environment; a slot that is neither what it was nor what it will
// be cannot be loaded; it is on the medium before the record says so, and that
// before the environment does.
func (r *recording) everywhere(t *testing.T, count *tally) {
	t.Helper()
	for i, w := range r.writes {
		if p := r.place(w); p == "" || p == slotA || w.Discard {
			t.Errorf("write %d: %d bytes at %#x, %q", i, w.Size, w.Offset, p)
		}
	}
	saves := r.saves()
	for _, i := range saves {
		before := judge(r.pair(t, i))
		if got, want := r.place(r.writes[i]), []string{env1, env0}[before.copy]; got != want {
			t.Errorf("write %d goes to %s, and copy %d is current", i, got, before.copy)
		}
	}
	slot := r.in(slotB)
	order := []struct {
		what string
		at   int
	}{
		{"the record of the writing", r.phase(t, "writing")},
		{"the first write of the slot", slot[0]},
		{"the last write of the slot", slot[len(slot)-1]},
		{"the record of the arm", r.phase(t, "arming")},
		{"the arm", saves[0]},
		{"the record of what is armed", r.phase(t, "armed")},
		{"the count", saves[1]},
		{"the record of the commit", r.phase(t, "committing")},
		{"the commit", saves[2]},
		{"the record of what is committed", r.phase(t, "committed")},
	}
	for i, next := range order[1:] {
		if _, flush := r.window(order[i].at); flush >= next.at && next.what != "the last write of the slot" {
			t.Errorf("%s, write %d, is not flushed before %s, write %d", order[i].what, order[i].at, next.what, next.at)
		}
	}
	r.halfWritten(t, slot)
	count.add(len(r.writes)+1, "before and after a write, judged without a boot")
}

// halfWritten checks that slot B has no superblock at any moment at which it is
// half written, even within a window between two flushes.
func (r *recording) halfWritten(t *testing.T, slot []int) {
	t.Helper()
	magic := r.parts[2].from + 1024 + 56 // 0xef53, of ext4
	var superblocks []int
	for _, i := range slot {
		if w := r.writes[i]; w.Offset <= magic && magic < w.Offset+w.Size {
			superblocks = append(superblocks, i)
		}
	}
	if len(superblocks) != 2 {
		t.Fatalf("the superblock of slot B was written %d times, not 2", len(superblocks))
	}
	clear, write := superblocks[0], superblocks[1]
	at := func(i int) []byte { return r.data(t, i)[magic-r.writes[i].Offset:][:2] }
	if !bytes.Equal(at(clear), []byte{0, 0}) || !bytes.Equal(at(write), []byte{0x53, 0xef}) {
		t.Errorf("the superblock of slot B was at first %x, then %x", at(clear), at(write))
	}
	for _, i := range slot {
		if from, to := r.window(i); i != clear && from <= clear || i != write && to >= write && write >= from {
			t.Errorf("write %d of slot B is not divided by flushes from the superblock's, %d and %d", i, clear, write)
		}
	}
}

// shuffled returns a cut between two flushes, in a part of the update: some of
// the writes after the first flush are on the disk, in any order, and perhaps a
// part of one.
func (r *recording) shuffled(random *rand.Rand, from, to float64) cut {
	var windows [][2]int
	for i := r.began; i < len(r.writes); i++ {
		if from, to := r.window(i); to-from > 1 && i == from {
			windows = append(windows, [2]int{from, to})
		}
	}
	w := windows[int((from+random.Float64()*(to-from))*float64(len(windows)))]
	c := cut{before: w[0]}
	for _, i := range random.Perm(w[1] - w[0]) {
		c.next = w[0] + i
		if random.IntN(2) == 0 {
			c.then = append(c.then, c.next)
		}
	}
	c.torn = random.IntN(int(r.writes[c.next].Size/512)) * 512
	return c
}

// random cuts the power at a time after the beginning of an update, and every
// other time once more in the boot that follows.
func (r *recording) random(t *testing.T, after time.Duration, random *rand.Rand, count *tally) {
	path := filepath.Join(t.TempDir(), "disk.img")
	copySparse(t, filepath.Join(r.built(t, virt, v1), "disk.img"), path)
	b := r.board(t, path)
	b.on()
	if err := b.m.Send("(set -o pipefail; plimsoll install /mnt/2.0.0.mender 2>&1 | cat) && /sbin/reboot"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(after)
	b.cut()
	doing := b.doing()
	t.Logf("cut after %v: %s", after, doing)
	if again := time.Duration(random.Float64() * 4 * float64(time.Second)); random.IntN(2) == 0 {
		b.power()
		time.Sleep(again)
		b.cut()
		t.Logf("cut again after %v: %s", again, b.doing())
		doing += ", and again"
	}
	f := b.afterCut()
	b.endsWell(f, true)
	count.add(1, "at random, %s: release %s, row %s", doing, f.version, f.Row)
}

// doing says what a board was doing when its power was cut.
func (b *board) doing() string {
	starts := strings.SplitAfter(b.m.Log(), "\nU-Boot 20")
	n, log := len(starts)-1, starts[len(starts)-1]
	if steps := regexp.MustCompile(`(?m)^(check|write|verify|record|arm)\b`).FindAllString(log, -1); steps != nil {
		return steps[len(steps)-1]
	}
	for _, sign := range []struct{ shows, is string }{
		{"GUEST-READY", "up"}, {"GUEST-INIT ", "resume"}, {"GUEST-INITRAMFS", "initramfs"}, {"Starting kernel", "kernel"},
	} {
		if strings.Contains(log, sign.shows) {
			return fmt.Sprintf("%s of boot %d", sign.is, n)
		}
	}
	return fmt.Sprintf("U-Boot of boot %d", n)
}

// board returns a board with a disk, and the recording's artifacts.
func (r *recording) board(t *testing.T, disk string) *board {
	t.Parallel()
	b := &board{T: t, workshop: r.workshop, kind: virt, disk: disk}
	b.config = machine.Config{Disks: []machine.Disk{{Path: disk}, {Path: r.payload, ReadOnly: true}}, Watchdog: true}
	return b
}

// A found is what was found of a device that is up.
type found struct {
	status
	version string
}

// afterCut switches a board on whose power was cut, and looks at it. What was
// on its disk is kept where that fails.
func (b *board) afterCut() found {
	b.Helper()
	kept := filepath.Join(b.TempDir(), "cut.img")
	copySparse(b.T, b.disk, kept)
	b.Cleanup(func() {
		if name := filepath.Join(os.TempDir(), "cut-"+filepath.Base(b.Name())+".img"); b.Failed() && os.Rename(kept, name) == nil {
			b.Logf("the disk, as it was: %s", name)
		}
	})
	if e := judge(pairIn(b.T, b.disk)); e.valid == 0 {
		b.Fatal("both copies of the environment are damaged")
	}
	b.power()
	b.up()
	return b.whole()
}

// whole fails unless a complete release runs, in a situation that the table
// knows and in which nobody has to come.
func (b *board) whole() found {
	b.Helper()
	out, code := b.run("plimsoll --json status")
	f := found{version: strings.TrimSpace(b.do("cat /etc/version"))}
	if err := json.Unmarshal([]byte(out), &f.status); err != nil || code != 0 || f.Row == "" || f.Row == "Z" {
		b.Fatalf("plimsoll status: exit %d, %v:\n%s", code, err, out)
	}
	runs := map[string]release{v1.name: v1, v2.name: v2}
	r, ok := runs[f.version]
	part, here := map[string]int{"A": 1, "B": 2}[f.Running]
	if !ok || !here {
		b.Fatalf("runs %q in slot %q", f.version, f.Running)
	}
	disk, err := os.Open(b.disk)
	if err != nil {
		b.Fatal(err)
	}
	defer disk.Close()
	image := filepath.Join(b.built(b.T, b.kind, r), "slot.ext4")
	at := partitions(b.T, disk)[part]
	same(b.T, b.disk, span{at.from, at.from + size(b.T, image)}, image, "slot "+f.Running)
	for _, failed := range f.Failed {
		if failed.Class == "bad" {
			b.Fatalf("a power cut made an artifact bad: %s", out)
		}
	}
	return f
}

// endsWell brings a board that is up to rest, and if asked to installs the
// update on it, or once more, and keeps it.
func (b *board) endsWell(f found, update bool) {
	b.Helper()
	if f.Row == "D2" { // the update goes on where it was cut
		b.reboot()
		if f = b.whole(); f.version != v2.name {
			b.Fatalf("armed, and after the reboot: %+v", f)
		}
	}
	if f.Row != "A1" && f.Row != "H1" {
		b.run("plimsoll resume")
		if f = b.whole(); f.Row != "A1" && f.Row != "H1" {
			b.Fatalf("does not come to rest: %+v", f)
		}
	}
	if !update {
		return
	}
	before := f.Running
	b.install(v2)
	b.reboot()
	if f = b.whole(); f.Row != "A1" || f.Running == before || f.version != v2.name {
		b.Fatalf("after an update: %+v", f)
	}
	if e := judge(pairIn(b.T, b.disk)); e.valid != 2 || e.vars["upgrade_available"] != "0" || e.vars["plimsoll_trial"] != "" {
		b.Errorf("environment after an update: %d copies, %v", e.valid, e.vars)
	}
}

// A tally counts what happened, by what it was.
type tally struct {
	mu sync.Mutex
	n  map[string]int
}

func (c *tally) add(n int, format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil {
		c.n = map[string]int{}
	}
	c.n[fmt.Sprintf(format, args...)] += n
}

func (c *tally) String() string {
	var b strings.Builder
	for _, what := range slices.Sorted(maps.Keys(c.n)) {
		fmt.Fprintf(&b, "%4d %s\n", c.n[what], what)
	}
	return b.String()
}
