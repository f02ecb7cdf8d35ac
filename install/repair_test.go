package install_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/plimsoll-ota/plimsoll/install"
)

// repair repairs the boot environment, and expects want.
func (r *rig) repair(done string, want error) {
	r.Helper()
	got, err := r.dev.RepairEnvironment(context.Background())
	r.expect(err, want)
	if want == nil && got != done {
		r.Errorf("%q was done, want %q", got, done)
	}
}

// spoil damages copies of the environment.
func (r *rig) spoil(copies ...string) {
	for _, name := range copies {
		r.write(name, strings.Repeat("\xff", 0x2000))
	}
}

func TestRepairEnvironment(t *testing.T) {
	armed := func(t *testing.T) *rig {
		r := newRig(t)
		r.install(r.build("rel-2", 'B', nil), plain, nil)
		return r
	}
	t.Run("nothing is damaged", func(t *testing.T) {
		r := newRig(t)
		before := r.envBytes()
		r.repair("", install.ErrIntact)
		if r.envBytes() != before {
			t.Error("the environment was written")
		}
	})
	for _, name := range []string{"env0", "env1"} {
		t.Run("one copy: "+name, func(t *testing.T) {
			r := newRig(t)
			r.spoil(name)
			before, err := r.env.Env()
			r.must(err)
			r.repair("renewed", nil)
			if s := r.environment(2, false); s.Valid != 2 {
				t.Errorf("%d copies are valid", s.Valid)
			}
			after, err := r.env.Env()
			r.must(err)
			if fmt.Sprint(before) != fmt.Sprint(after) {
				t.Errorf("before %v, after %v", before, after)
			}
			r.repair("", install.ErrIntact)
		})
	}
	t.Run("one copy, armed", func(t *testing.T) {
		r := armed(t)
		id := r.environment(3, true).ID
		r.spoil("env1")
		r.repair("renewed", nil)
		if s := r.environment(3, true); s.ID != id || s.Valid != 2 {
			t.Errorf("%+v, want the id %s", s, id)
		}
	})
	t.Run("both copies", func(t *testing.T) {
		r := armed(t)
		r.rollback(nil)
		r.spoil("env0", "env1")
		r.repair("restored", nil)
		if s := r.environment(2, false); s.Valid != 2 {
			t.Errorf("%d copies are valid", s.Valid)
		}
		r.repair("", install.ErrIntact)
	})
	t.Run("both copies, on trial", func(t *testing.T) {
		r := armed(t)
		r.boot()
		r.spoil("env0", "env1")
		r.repair("restored", nil)
		r.environment(3, false)
	})
	for why, change := range map[string]func(*rig){
		"there is no backup": func(r *rig) {
			r.editState(func(s map[string]any) { delete(s, "backup") })
		},
		"is of an environment at": func(r *rig) {
			r.editState(func(s map[string]any) { s["backup"].(map[string]any)["geometry"] = "elsewhere" })
		},
		"of another disk": func(r *rig) {
			r.editState(func(s map[string]any) { s["backup"].(map[string]any)["disk"] = "gpt:1" })
		},
		"want 8192": func(r *rig) { r.write("state/env.backup", "short") },
	} {
		t.Run(why, func(t *testing.T) {
			r := armed(t)
			r.rollback(nil)
			change(r)
			r.spoil("env0", "env1")
			before := r.envBytes()
			_, err := r.dev.RepairEnvironment(context.Background())
			if !errors.Is(err, install.ErrAttention) || !strings.Contains(err.Error(), why) {
				t.Errorf("error %v, want one with %q", err, why)
			}
			if r.envBytes() != before {
				t.Error("the environment was written")
			}
		})
	}
}

// TestStamp: resume leaves word of the boot in which it ran, and of when.
func TestStamp(t *testing.T) {
	r := newRig(t)
	r.dev.RunDir = r.path("run/plimsoll")
	r.resume(install.ErrNothing)
	first := string(r.read("run/plimsoll/resume.boot"))
	if !strings.HasPrefix(first, "00000000-0000-0000-0000-000000000001 ") {
		t.Errorf("stamp %q", first)
	}
	r.write("run/plimsoll/resume.boot", strings.Fields(first)[0]+" 7\n")
	r.resume(install.ErrNothing) // the first one counts
	if got := string(r.read("run/plimsoll/resume.boot")); !strings.HasSuffix(got, " 7\n") {
		t.Errorf("stamp %q", got)
	}
	r.running("slot2.img") // another boot
	r.resume(install.ErrNothing)
	if got := string(r.read("run/plimsoll/resume.boot")); strings.HasSuffix(got, " 7\n") || got == first {
		t.Errorf("stamp %q", got)
	}
}

// The environment is lost in a trial: that is no reason to go back, where its
// backup fits.
func TestLostOnTrial(t *testing.T) {
	r := newRig(t)
	r.install(r.build("rel-2", 'B', nil), plain, nil)
	r.boot()
	for _, name := range []string{"env0", "env1"} {
		r.write(name, string(make([]byte, 0x2000)))
	}
	r.dev.Health = func(context.Context, json.RawMessage) error { return r.dev.CheckEnvironment() }
	if o := r.resume(nil); o.Event != "committed" {
		t.Errorf("outcome %+v", o)
	}
	r.environment(3, false)
	r.status("A1")
}
