package volume

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// The stick may hang, be gone, or come back, whatever is under way.
func TestAwait(t *testing.T) {
	never := make(chan struct{})
	hangs := func() error { <-never; return nil }
	failed := errors.New("failed")
	for _, c := range []struct {
		name string
		do   func() error
		gone func(since time.Duration) bool
		want []error
		took time.Duration
	}{
		{"done at once", func() error { return nil }, nil, nil, 0},
		{"failed after a minute", func() error { time.Sleep(time.Minute); return failed }, nil, []error{failed}, time.Minute},
		{"hangs", hangs, nil, []error{ErrStuck, errLeft}, stuckLimit},
		{"gone from the start", hangs, func(time.Duration) bool { return true }, []error{ErrGone, errLeft}, lookAgain + goneGrace},
		{"gone, but it ends by itself", func() error { time.Sleep(3 * time.Second); return failed }, func(time.Duration) bool { return true }, []error{failed}, 3 * time.Second},
		{"gone for a moment, again and again", func() error { time.Sleep(20 * time.Second); return nil },
			func(since time.Duration) bool { return since%(5*time.Second) > 2*time.Second }, nil, 20 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				never = make(chan struct{})
				defer close(never)
				start := time.Now()
				err := await(c.do, func() bool { return c.gone != nil && c.gone(time.Since(start)) })
				if (err == nil) != (len(c.want) == 0) {
					t.Errorf("got %v, want %v", err, c.want)
				}
				for _, w := range c.want {
					if !errors.Is(err, w) {
						t.Errorf("got %v, want %v", err, w)
					}
				}
				if took := time.Since(start); took != c.took {
					t.Errorf("took %v, want %v", took, c.took)
				}
			})
		})
	}
}

func TestExplain(t *testing.T) {
	m := machine(t)
	dir := m.device(onUSB, make([]byte, mib), "diskseq=17", "device/ioerr_cnt=0x1")
	there, err := Find(m.sys, "sda")
	must(t, err)
	write(t, filepath.Join(dir, "device/ioerr_cnt"), "0x2\n")
	worn, uncounted := there, there
	there.Errors, uncounted.Errors = 2, -1
	gone := there
	gone.Seq = 16
	for _, c := range []struct {
		name  string
		stick Stick
		err   error
		want  error
	}{
		{"read error of the disk's", worn, unix.EIO, ErrMedium},
		{"read error that the disk knows nothing of", there, unix.EIO, ErrCorrupt},
		{"read error where nobody counts", uncounted, unix.EIO, ErrMedium},
		{"medium error", worn, unix.ENODATA, ErrMedium},
		{"damage", there, unix.EUCLEAN, ErrCorrupt},
		{"damage that was explained before", there, fmt.Errorf("%w: %w", ErrCorrupt, unix.EIO), ErrCorrupt},
		{"full", there, unix.ENOSPC, unix.ENOSPC},
		{"full, and gone", gone, unix.ENOSPC, unix.ENOSPC},
		{"no such device", there, unix.ENXIO, unix.ENXIO},
		{"read-only", there, unix.EROFS, unix.EROFS},
		{"read-only, and gone", gone, unix.EROFS, ErrGone},
		{"read error, and gone", gone, unix.EIO, ErrGone},
		{"no such device, and gone", gone, unix.ENODEV, ErrGone},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := Volume{Stick: c.stick}.Explain(c.err)
			if !errors.Is(got, c.want) || !errors.Is(got, c.err) {
				t.Errorf("got %v, want %v", got, c.want)
			}
			for _, other := range []error{ErrMedium, ErrGone, ErrCorrupt} {
				if other != c.want && errors.Is(got, other) {
					t.Errorf("got %v, which is %v as well", got, other)
				}
			}
		})
	}
	if err := (Volume{Stick: there}).Explain(nil); err != nil {
		t.Errorf("of no error: got %v", err)
	}
}
