//go:build linux && (amd64 || arm64)

package install_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plimsoll-ota/plimsoll/install/internal/cuts"
)

// smallBench is a device whose every byte can be a position: images of a few
// blocks, with all the stages of the first MiB.
func smallBench(t *testing.T) *bench {
	t.Helper()
	rnd := rand.New(rand.NewPCG(8, 8))
	return benchOf(t, noise(rnd, 6*block), noise(rnd, 6*block), noise(rnd, 4*block+100))
}

// refused checks an installation that failed, or that succeeded in spite of
// what it met: armed if and only if it said so. Only where the environment
// fails for good can an arm that came about not be taken back; that is exit 5.
func (d *bench) refused(t *testing.T, r cuts.Result, said string, errno unix.Errno, forGood bool) {
	t.Helper()
	u := d.boots(t)
	switch armed := u.onTrial(); {
	case r.Code == 0 && !(armed && d.holds(t, partB) == "new"):
		t.Errorf("exit 0, and the environment has %v", u.vars)
	case r.Code != 0 && armed && !(forGood && r.Code == 5):
		t.Errorf("exit %d, and armed", r.Code)
	case r.Code != 0 && !strings.Contains(said, errno.Error()):
		t.Errorf("exit %d, and it does not say %q:\n%s", r.Code, errno.Error(), said)
	}
}

// TestCallFails lets one call of an installation fail, once, each in its turn.
func TestCallFails(t *testing.T) {
	for _, errno := range []unix.Errno{unix.EIO, unix.ENOSPC} {
		t.Run(unix.ErrnoName(errno), func(t *testing.T) {
			t.Parallel()
			d, rnd := smallBench(t), seeded(t)
			fresh := d.snapshot(t)
			whole, _ := d.trace(t, installNew, func(cuts.Call) cuts.Fate { return cuts.Go })
			codes := map[int]int{}
			for _, c := range whole.Calls {
				medium := filepath.Dir(c.Path) == d.dir // slot, environment and its lock
				if !soak && !medium && rnd.IntN(4) > 0 {
					continue
				}
				d.restore(t, fresh)
				r, said := d.trace(t, installNew, again(whole.Calls, c, cuts.Fail(errno)))
				codes[r.Code]++
				d.refused(t, r, said, errno, false)
				if (strings.HasSuffix(c.Path, ".img") || strings.HasSuffix(c.Path, ".env")) && r.Code == 0 {
					t.Errorf("exit 0\n%s", said)
				}
				if d.loadable(t, partB, fresh["slot3.img"]) {
					t.Error("a half-written slot has a first block")
				}
				if soak || rnd.IntN(6) == 0 {
					d.settles(t)
				}
				if t.Failed() {
					t.Fatalf("call %v of %d: %v", c, len(whole.Calls), errno)
				}
			}
			t.Logf("%d writing calls; exit codes after a failure: %v", len(whole.Calls), codes)
		})
	}
}

// TestCommitFails lets one call of a commit fail, and then commits.
func TestCommitFails(t *testing.T) {
	d := smallBench(t)
	installed(t, d)
	onTrial := d.snapshot(t)
	for k := 1; ; k++ {
		d.restore(t, onTrial)
		r, said := d.trace(t, []string{"commit"}, cuts.At(k, cuts.Fail(unix.EIO)))
		u := d.boots(t)
		if r.Code == 0 && u.onTrial() {
			t.Fatalf("call %v failed: exit 0, and on trial\n%s", r.Calls[k-1], said)
		}
		if code, out, _ := d.run(t, "commit"); code != 0 && code != 2 {
			t.Fatalf("commit after call %d failed: exit %d\n%s", k, code, out)
		}
		if u := d.boots(t); u.onTrial() || u.part(t) != partB {
			t.Fatalf("commit after call %d failed: %v", k, u.vars)
		}
		if len(r.Calls) < k {
			break
		}
	}
}

// A full is a medium that takes so many bytes and no more.
type full struct {
	holds func(path string) bool // whether a file is on it
	room  int64
	errno unix.Errno
	once  bool // it refuses once, and is well again
}

// fate is that of a call: a write over the brim is short, what comes after it
// fails.
func (f *full) fate(c cuts.Call) cuts.Fate {
	if !c.Writes() || !f.holds(c.Path) {
		return cuts.Go
	}
	room := f.room
	f.room -= c.Len
	if f.once && room <= 0 {
		f.room = math.MaxInt64 / 2
	}
	switch {
	case room >= c.Len:
		return cuts.Go
	case room > 0:
		f.room = 0
		return cuts.Short(room)
	}
	return cuts.Fail(f.errno)
}

// TestFillsUp fills the state directory, the slot and the environment at every
// byte of what an installation writes to it.
func TestFillsUp(t *testing.T) {
	for name, medium := range map[string]struct {
		under string
		errno unix.Errno
		once  bool
	}{
		"state":            {"state", unix.ENOSPC, false},
		"slot":             {"slot3.img", unix.EIO, false},
		"slot once":        {"slot3.img", unix.EIO, true},
		"environment":      {"uboot.env", unix.EIO, false},
		"environment once": {"uboot.env", unix.EIO, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, rnd := smallBench(t), seeded(t)
			fresh := d.snapshot(t)
			holds := func(path string) bool {
				return path == d.path(medium.under) || filepath.Dir(path) == d.path(medium.under)
			}
			var total int64
			d.trace(t, installNew, func(c cuts.Call) cuts.Fate {
				if holds(c.Path) {
					total += c.Len
				}
				return cuts.Go
			})
			n, codes := 0, map[int]int{}
			for at := int64(0); at < total; at++ {
				if edge := at < 2 || at > total-2; !soak && !edge && rnd.Int64N(total) >= 12 {
					continue
				}
				n++
				d.restore(t, fresh)
				r, said := d.trace(t, installNew, (&full{holds, at, medium.errno, medium.once}).fate)
				codes[r.Code]++
				d.refused(t, r, said, medium.errno, !medium.once)
				if d.loadable(t, partB, fresh["slot3.img"]) {
					t.Error("a half-written slot has a first block")
				}
				if !soak && rnd.IntN(6) == 0 || soak && at%16 == 0 {
					d.settles(t)
				}
				if t.Failed() {
					t.Fatalf("full after %d of %d bytes", at, total)
				}
			}
			t.Logf("full at %d of %d positions; exit codes %v", n, total, codes)
		})
	}
}

// TestFullFileSystem does the same with a real file system, page by page: the
// slot is a file with holes on it, or the state directory is its root. Only
// root can mount one.
func TestFullFileSystem(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("not root: left out are slots and state directories on a tmpfs that is full; TestFillsUp has both")
		return
	}
	for _, on := range []string{"state", "slot"} {
		t.Run(on, func(t *testing.T) {
			for pages := 1; pages <= 9; pages += 2 {
				d := smallBench(t)
				mount := d.path("state")
				if on == "slot" {
					mount = d.path("medium")
					must(t, os.Mkdir(mount, 0o700))
				}
				must(t, unix.Mount("tmpfs", mount, "tmpfs", 0, fmt.Sprintf("size=%d", pages*os.Getpagesize())))
				t.Cleanup(func() {
					if err := unix.Unmount(mount, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
						t.Error(err)
					}
				})
				if on == "slot" {
					d.images["b"] = make([]byte, 6*block)
					d.put(t, "medium/slot3.img", nil)
					must(t, os.Truncate(d.path("medium/slot3.img"), 6*block))
					must(t, os.Remove(d.path("slot3.img")))
					must(t, os.Symlink("medium/slot3.img", d.path("slot3.img")))
				}
				code, out, _ := d.run(t, "install", d.path("new.mender"))
				d.refused(t, cuts.Result{Code: code}, out, unix.ENOSPC, false)
				must(t, unix.Mount("tmpfs", mount, "tmpfs", unix.MS_REMOUNT, "size=4m"))
				d.settles(t)
			}
		})
	}
}
