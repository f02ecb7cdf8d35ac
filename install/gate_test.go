package install

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestGate(t *testing.T) {
	sh := func(script string) []string { return []string{"/bin/sh", "-c", script} }
	for _, c := range []struct {
		name string
		gate Gate
		want error
		says string
	}{
		{"none", Gate{}, nil, ""},
		{"go", Gate{Command: sh("exit 0")}, nil, ""},
		{"what it is asked about", Gate{Command: sh(`[ "$PLIMSOLL_ARTIFACT" = rel-2 ]`)}, nil, ""},
		{"later", Gate{Command: sh("echo a load on the hook >&2; exit 21")}, ErrLater, "a load on the hook"},
		{"no", Gate{Command: sh("echo never on a Friday >&2; exit 1")}, ErrForbidden, "never on a Friday"},
		{"a signal", Gate{Command: sh("kill -9 $$")}, ErrForbidden, "signal 9"},
		{"hangs", Gate{Command: sh("sleep 60"), Timeout: 100 * time.Millisecond}, ErrForbidden, "timed out"},
		{"is not there", Gate{Command: []string{"/nowhere/gate"}}, ErrForbidden, "no such file"},
	} {
		err := c.gate.Ask(t.Context(), "PLIMSOLL_ARTIFACT=rel-2")
		if !errors.Is(err, c.want) || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %v: %s", c.name, err, c.want, c.says)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("pulled out"))
	if err := (Gate{Command: sh("exit 0")}).Ask(ctx); err == nil || errors.Is(err, ErrForbidden) {
		t.Errorf("cancelled: %v", err)
	}
}
