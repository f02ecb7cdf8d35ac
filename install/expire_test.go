package install_test

import (
	"context"
	"errors"
	"testing"

	"github.com/plimsoll-ota/plimsoll/install"
)

// TestExpires: at its deadline a trial goes back, and nothing else does.
func TestExpires(t *testing.T) {
	r := newRig(t)
	expire := func(want error) {
		t.Helper()
		if _, err := r.dev.Expire(context.Background()); !errors.Is(err, want) {
			t.Fatalf("got %v, want %v", err, want)
		}
	}
	expire(install.ErrNothing) // idle
	r.install(r.build("rel-2", 'B', nil), plain, nil)
	expire(install.ErrNothing) // armed: not on trial yet
	r.environment(3, true)
	r.boot()
	expire(install.ErrFellBack)
	if r.reboots != 1 {
		t.Errorf("%d reboots, want 1", r.reboots)
	}
	r.environment(2, false)
	r.boot()
	r.resume(install.ErrFellBack)
	if rep := r.status("H1"); len(rep.Failed) != 1 || rep.Failed[0].Class != install.ClassBad {
		t.Errorf("remembered %+v, want one that is bad", rep.Failed)
	}

	r.install(r.build("rel-3", 'C', nil), plain, nil)
	r.boot()
	r.resume(nil)
	expire(install.ErrNothing) // committed
	r.environment(3, false)
}
