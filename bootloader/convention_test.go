package bootloader

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestState(t *testing.T) {
	base := State{Part: 2, Counter: CounterNative, Limit: 1, CanSave: true, AltBoot: true, Copies: 2, Valid: 2}
	but := func(f func(*State)) State { s := base; f(&s); return s }
	for _, v := range []struct {
		name  string
		pairs []string
		want  State
		err   error
	}{
		{"as built", nil, base, nil},
		{"armed by us", []string{varPart, "3", varTrial, "1", varID, "0123", varLimit, "3", varFloor, "7"},
			but(func(s *State) { s.Part, s.Trial, s.ID, s.Limit, s.Floor = 3, true, "0123", 3, "7" }), nil},
		{"counted twice", []string{varCount, "2"}, but(func(s *State) { s.Count = 2 }), nil},
		{"any number but 0 is a trial", []string{varTrial, "2"}, but(func(s *State) { s.Trial = true }), nil},
		{"no trial variable", []string{varTrial, ""}, base, nil},
		{"no part", []string{varPart, ""}, but(func(s *State) { s.Part = 0 }), nil},
		{"no limit", []string{varLimit, ""}, but(func(s *State) { s.Limit = 0 }), nil},
		{"limit 0", []string{varLimit, "0"}, but(func(s *State) { s.Limit = 0 }), nil},
		{"limit is a word", []string{varLimit, "abc"}, but(func(s *State) { s.Limit = 0 }), nil},
		{"negative limit", []string{varLimit, "-1"}, but(func(s *State) { s.Limit = 0 }), nil},
		{"limit beyond an int", []string{varLimit, "99999999999999999999"}, but(func(s *State) { s.Limit = 0 }), nil},
		{"no altbootcmd", []string{varAltBoot, ""}, but(func(s *State) { s.AltBoot = false }), nil},
		{"canary missing", []string{varCanary, ""}, but(func(s *State) { s.CanSave = false }), nil},
		{"canary 0", []string{varCanary, "0"}, but(func(s *State) { s.CanSave = false }), nil},
		{"canary not asked for", []string{varCanary, "", varCheckCanary, ""}, base, nil},
		{"canary asked for with 0", []string{varCanary, "", varCheckCanary, "0"}, base, nil},
		{"part is a word", []string{varPart, "abc"}, but(func(s *State) { s.Part = 0 }), errAny},
		{"part is negative", []string{varPart, "-2"}, but(func(s *State) { s.Part = 0 }), errAny},
		{"trial is a word", []string{varTrial, "yes"}, base, errAny},
	} {
		u := newBench(t, Options{}, pair(t, with(board(), v.pairs...))...)
		st, err := u.State()
		if !is(err, v.err) {
			t.Errorf("%s: %v, want %v", v.name, err, v.err)
		}
		if err != nil && (!strings.Contains(err.Error(), v.pairs[0]) || !strings.Contains(err.Error(), v.pairs[1])) {
			t.Errorf("%s: variable or value is missing in %q", v.name, err)
		}
		if d := cmp.Diff(v.want, st); d != "" {
			t.Errorf("%s: %s", v.name, d)
		}
	}
}

func TestTry(t *testing.T) {
	armed := []string{varPart, "10", varPartHex, "a", varTrial, "1", varCount, "0", varLimit, "3", varID, "0123", "plimsoll_future", "kept", ".flags", "a:dw"}
	for _, v := range []struct {
		name  string
		o     Options
		pairs []string // before
		trial Trial
		want  []string // after; nil: refused and nothing written
		err   error
	}{
		{"armed", Options{}, nil, Trial{10, "0123", 3}, armed, nil},
		{"stale count and id of another", Options{}, []string{varCount, "2", varID, "old"}, Trial{10, "0123", 3}, armed, nil},
		{"native by name", Options{Counter: CounterNative}, nil, Trial{10, "0123", 3}, armed, nil},
		{"limit of the environment", Options{}, []string{varLimit, "3"}, Trial{10, "0123", 0}, armed, nil},
		{"script writes the limit", Options{Counter: CounterScript}, []string{varLimit, ""}, Trial{10, "0123", 3}, armed, nil},
		{"register: neither limit nor count of U-Boot's", Options{Counter: CounterRegister}, []string{varLimit, "", varCount, "9", varOwnCount, "2"}, Trial{10, "0123", 3},
			append(append([]string{}, armed...), varLimit, "", varCount, "9", varOwnCount, "0", varOwnLimit, "3"), nil},
		{"register: limit of the environment", Options{Counter: CounterRegister}, []string{varLimit, "", varOwnLimit, "2"}, Trial{10, "0123", 0},
			append(append([]string{}, armed...), varLimit, "", varOwnCount, "0", varOwnLimit, "2"), nil},
		{"register: U-Boot's limit is none", Options{Counter: CounterRegister}, []string{varLimit, "3"}, Trial{10, "x", 0}, nil, ErrNoLimit},
		{"pending", Options{}, []string{varTrial, "1"}, Trial{10, "x", 3}, nil, ErrPending},
		{"pending, as another number", Options{}, []string{varTrial, "2"}, Trial{10, "x", 3}, nil, ErrPending},
		{"trial is a word", Options{}, []string{varTrial, "yes"}, Trial{10, "x", 3}, nil, errAny},
		{"part is a word", Options{}, []string{varPart, "abc"}, Trial{10, "x", 3}, nil, errAny},
		{"canary", Options{}, []string{varCanary, ""}, Trial{10, "x", 3}, nil, ErrCannotSave},
		{"native without a limit", Options{}, []string{varLimit, ""}, Trial{10, "x", 3}, nil, ErrNoLimit},
		{"native with limit 0", Options{}, []string{varLimit, "0"}, Trial{10, "x", 3}, nil, ErrNoLimit},
		{"native with a word", Options{}, []string{varLimit, "abc"}, Trial{10, "x", 3}, nil, ErrNoLimit},
		{"native without altbootcmd", Options{}, []string{varAltBoot, ""}, Trial{10, "x", 3}, nil, ErrNoLimit},
		{"script without altbootcmd", Options{Counter: CounterScript}, []string{varAltBoot, ""}, Trial{10, "0123", 3},
			append(append([]string{}, armed...), varAltBoot, ""), nil},
		{"script without any limit", Options{Counter: CounterScript}, []string{varLimit, ""}, Trial{10, "x", 0}, nil, ErrNoLimit},
		{"negative limit", Options{}, nil, Trial{10, "x", -1}, nil, ErrNoLimit},
		{"no partition", Options{}, nil, Trial{0, "x", 3}, nil, errAny},
		{"an id that cannot be", Options{}, nil, Trial{10, "x\x00y", 3}, nil, errAny},
	} {
		t.Run(v.name, func(t *testing.T) {
			before := with(with(board(), "plimsoll_future", "kept", ".flags", "a:dw"), v.pairs...)
			u := newBench(t, v.o, pair(t, before)...)
			all := u.both()
			if err := u.Try(v.trial); !is(err, v.err) {
				t.Errorf("%v, want %v", err, v.err)
			}
			if v.want == nil {
				if u.both() != all {
					t.Error("something was written")
				}
				return
			}
			e, err := u.Env()
			if d := cmp.Diff(with(before, v.want...), e); d != "" || err != nil {
				t.Errorf("%v\n%s", err, d)
			}
			if string(u.get(1)) != all[testSize:] {
				t.Error("the copy that was current was touched")
			}
		})
	}
}

// A register's trial is counted and limited in variables of its own, and what
// U-Boot counts beside them says nothing of it.
func TestStateOfARegister(t *testing.T) {
	u := newBench(t, Options{Counter: CounterRegister}, pair(t, with(board(), varCount, "7", varLimit, "1", varOwnCount, "2", varOwnLimit, "3"))...)
	st, err := u.State()
	if err != nil || st.Count != 2 || st.Limit != 3 || st.RegisterLimit != 1 || st.Counter != CounterRegister {
		t.Errorf("%+v, %v", st, err)
	}
	if count, limit := CountVariables(CounterScript); count != varCount || limit != varLimit {
		t.Errorf("a script counts in %s and %s", count, limit)
	}
}

// The name of the scripts follows them, and nothing else.
func TestCommands(t *testing.T) {
	have := board().Commands()
	if len(have) != 16 || have != with(board(), varTrial, "1", varCount, "3").Commands() {
		t.Errorf("commands are %s", have)
	}
	for _, name := range commands {
		if with(board(), name, "run other").Commands() == have {
			t.Errorf("%s makes no difference", name)
		}
	}
}

// Check and Try agree, and Check writes nothing.
func TestCheckIsTry(t *testing.T) {
	for _, pairs := range [][]string{nil, {varTrial, "1"}, {varTrial, "yes"}, {varCanary, ""}, {varLimit, "0"}, {varAltBoot, ""}, {varPart, "abc"}} {
		for _, counter := range []string{"", CounterScript, CounterRegister} {
			u := newBench(t, Options{Counter: counter}, pair(t, with(board(), pairs...))...)
			before := u.both()
			check := u.Check()
			if u.both() != before {
				t.Error("Check wrote")
			}
			try := u.Try(Trial{3, "x", 3})
			if (check == nil) != (try == nil) || check != nil && check.Error() != try.Error() {
				t.Errorf("%v, counter %q: Check %v, Try %v", pairs, counter, check, try)
			}
		}
	}
}

func TestVerdicts(t *testing.T) {
	armed := []string{varPart, "3", varPartHex, "3", varTrial, "1", varID, "0123", varCount, "1", "plimsoll_future", "kept"}
	ended := []string{varTrial, "0", varID, ""}
	for _, v := range []struct {
		name   string
		f      func(*UBoot) error
		want   []string
		writes bool
		err    error
	}{
		{"commit", func(u *UBoot) error { return u.Commit(3, "") }, ended, true, nil},
		{"commit with a floor", func(u *UBoot) error { return u.Commit(3, "1.2") }, append([]string{varFloor, "1.2"}, ended...), true, nil},
		{"rollback", func(u *UBoot) error { return u.Rollback(2) }, append([]string{varPart, "2", varPartHex, "2"}, ended...), true, nil},
		{"forget", (*UBoot).Forget, []string{varID, ""}, true, nil},
		{"commit of no partition", func(u *UBoot) error { return u.Commit(0, "1") }, nil, false, errAny},
		{"rollback to no partition", func(u *UBoot) error { return u.Rollback(-1) }, nil, false, errAny},
	} {
		before := with(board(), armed...)
		u := newBench(t, Options{}, pair(t, before)...)
		all := u.both()
		if err := v.f(u.UBoot); !is(err, v.err) {
			t.Errorf("%s: %v, want %v", v.name, err, v.err)
		}
		e, err := u.Env()
		if d := cmp.Diff(with(before, v.want...), e); d != "" || err != nil {
			t.Errorf("%s: %v\n%s", v.name, err, d)
		}
		if (u.both() != all) != v.writes {
			t.Errorf("%s: written: %v", v.name, !v.writes)
		}
		all = u.both()
		if err := v.f(u.UBoot); !is(err, v.err) || u.both() != all {
			t.Errorf("%s a second time: %v, or it wrote", v.name, err)
		}
	}
}

// A floor survives what does not set one.
func TestFloorIsKept(t *testing.T) {
	u := newBench(t, Options{}, pair(t, with(board(), varFloor, "5"))...)
	if err := errors.Join(u.Try(Trial{3, "x", 3}), u.Commit(3, ""), u.Rollback(2)); err != nil {
		t.Fatal(err)
	}
	if st, err := u.State(); err != nil || st.Floor != "5" {
		t.Errorf("%+v, %v", st, err)
	}
}
