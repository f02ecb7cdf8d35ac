//go:build linux && (amd64 || arm64)

package install_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plimsoll-ota/plimsoll/install"
)

// TestFillsUpEverywhere lets every file of a device end at byte k, for every
// k up to the end of the slot: record, environment and slot in one, whichever
// comes first. The limit is that of a process, which would hit the files of the
// test itself: it is set in a process of its own.
func TestFillsUpEverywhere(t *testing.T) {
	const inside = "PLIMSOLL_FILLS_UP"
	if os.Getenv(inside) == "" {
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestFillsUpEverywhere$", "-test.v", "-test.timeout=2h")
		cmd.Env = append(os.Environ(), inside+"=1")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		t.Logf("%s", out)
		return
	}
	signal.Ignore(unix.SIGXFSZ) // the write then fails with EFBIG
	defer signal.Reset(unix.SIGXFSZ)
	d, rnd := smallBench(t), seeded(t)
	fresh, device, art := d.snapshot(t), d.device(t), d.get(t, "new.mender")
	end := len(fresh["slot3.img"])
	refused, n := 0, 0
	for k := 0; k <= end; k++ {
		if !soak && k < end && rnd.IntN(end) >= 200 {
			continue
		}
		n++
		d.restore(t, fresh)
		err := limited(t, k, func() error {
			_, err := device.Install(t.Context(), bytes.NewReader(art), install.Options{})
			return err
		})
		u := d.boots(t)
		switch {
		case err == nil && !(u.onTrial() && d.holds(t, partB) == "new"):
			t.Fatalf("limit %d: success, and the environment has %v", k, u.vars)
		case err != nil && (u.onTrial() || !errors.Is(err, unix.EFBIG)):
			t.Fatalf("limit %d: %v, and the environment has %v", k, err, u.vars)
		case err != nil:
			refused++
		}
	}
	if refused == 0 || refused == n {
		t.Errorf("%d of %d refused", refused, n)
	}
	t.Logf("%d of %d positions, %d refused", n, end+1, refused)
}

// limited calls f while no file of the process may grow, or be written, past
// byte k.
func limited(t *testing.T, k int, f func() error) error {
	t.Helper()
	var before unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_FSIZE, &before))
	must(t, unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: uint64(k), Max: before.Max}))
	err := f()
	must(t, unix.Setrlimit(unix.RLIMIT_FSIZE, &before))
	return err
}
