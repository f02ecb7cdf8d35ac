package install_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/plimsoll-ota/plimsoll/install"
)

// Neither the writing nor the reading back is faster than the limit, and both
// can be cancelled meanwhile.
func TestIOLimit(t *testing.T) {
	r := newRig(t)
	const perSecond, atOnce = 8 << 20, 1 << 20
	began, wrote := time.Now(), time.Time{}
	r.dev.Report = func(p install.Progress) {
		if p.Step == install.StepVerify && wrote.IsZero() {
			wrote = time.Now()
		}
	}
	r.install(r.build("rel-2", 'B', nil), install.Options{IOLimit: perSecond}, nil)
	least := time.Duration(imageSize-atOnce) * time.Second / perSecond
	if took := wrote.Sub(began); took < least {
		t.Errorf("written in %v, want %v at least", took, least)
	}
	if took := time.Since(began); took < 2*imageSize*time.Second/perSecond-2*atOnce*time.Second/perSecond {
		t.Errorf("written and read back in %v", took)
	}
	r.rollback(nil)

	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("enough")
	time.AfterFunc(50*time.Millisecond, func() { cancel(stop) })
	if _, err := r.dev.Install(ctx, bytes.NewReader(r.build("rel-3", 'C', nil)), install.Options{IOLimit: 1000}); !errors.Is(err, stop) {
		t.Errorf("cancelled while it waits: %v", err)
	}
	r.status("H1")
}
