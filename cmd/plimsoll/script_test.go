package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"plimsoll": main, "mender-update": main, "start-slot": startSlot})
}

var update = flag.Bool("update", false, "write what the scripts print into them")

// TestScripts runs a script for each verb: what it prints, and the exit code.
func TestScripts(t *testing.T) {
	keys, err := filepath.Abs(keyDir)
	if err != nil {
		t.Fatal(err)
	}
	stores, err := filepath.Abs("../../install/mender/testdata")
	if err != nil {
		t.Fatal(err)
	}
	signers, err := filepath.Abs("../../docs/signers")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       *update,
		Setup: func(e *testscript.Env) error {
			e.Setenv("KEYS", keys)
			e.Setenv("STORES", stores)
			e.Setenv("SIGNERS", signers)
			e.Setenv("SOURCE_DATE_EPOCH", "1700000000")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": scriptExits, "json": scriptJSON, "image": scriptImage, "bench": scriptBench, "holds": scriptHolds,
			"env-has": scriptEnvHas, "remember": scriptRemember, "unchanged": scriptUnchanged, "cut": scriptCut, "flip": scriptFlip,
			"mode": scriptMode, "report": scriptReport,
		},
	})
}

// exits CODE COMMAND ARG... runs a command that must end with that code.
func scriptExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND ARG...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	err = ts.Exec(args[1], args[2:]...)
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit %d, want %d", got, want)
	}
}

// json FIELD=VALUE... looks at the last standard output: each line is an object with an event, and the last one that is not a note
// has the fields.
func scriptJSON(ts *testscript.TestScript, neg bool, args []string) {
	events, err := result{stdout: ts.ReadFile("stdout")}.events()
	ts.Check(err)
	for len(events) > 0 && events[len(events)-1]["event"] == "note" {
		events = events[:len(events)-1]
	}
	if neg || len(events) == 0 {
		ts.Fatalf("usage: json FIELD=VALUE..., after a command with --json")
	}
	last := events[len(events)-1]
	for _, arg := range args {
		field, want, _ := strings.Cut(arg, "=")
		if got := fmt.Sprint(last[field]); got != want {
			ts.Fatalf("%s is %q, want %q", field, got, want)
		}
	}
}

// image FILE SIZE SEED makes a file that no compressor makes smaller.
func scriptImage(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: image FILE SIZE SEED")
	}
	size, err := strconv.Atoi(args[1])
	ts.Check(err)
	seed, err := strconv.ParseUint(args[2], 10, 16)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), picture(size, seed), 0o644))
}

// bench DIR makes a device of plain files; its configuration is DIR/plimsoll.toml.
func scriptBench(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: bench DIR")
	}
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o755))
	_, err := makeBench(dir, benchSlotSize)
	ts.Check(err)
}

// holds SLOT-FILE IMAGE: the slot begins with the image.
func scriptHolds(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: holds SLOT-FILE IMAGE")
	}
	if strings.HasPrefix(ts.ReadFile(args[0]), ts.ReadFile(args[1])) == neg {
		ts.Fatalf("%s begins with %s: %v", args[0], args[1], neg)
	}
}

// env-has DIR NAME=VALUE... looks at the device's boot environment; NAME= is a variable that is absent.
func scriptEnvHas(ts *testscript.TestScript, _ bool, args []string) {
	e, err := bench{ts.MkAbs(args[0])}.readEnv()
	ts.Check(err)
	for _, arg := range args[1:] {
		name, want, _ := strings.Cut(arg, "=")
		if e[name] != want {
			ts.Fatalf("%s is %q, want %q", name, e[name], want)
		}
	}
}

// remember DIR notes slots and environment for unchanged.
func scriptRemember(ts *testscript.TestScript, _ bool, args []string) {
	f, err := bench{ts.MkAbs(args[0])}.fingerprint()
	ts.Check(err)
	ts.Setenv("REMEMBERED", fmt.Sprint(f))
}

// unchanged DIR: slots and environment are as they were at remember.
func scriptUnchanged(ts *testscript.TestScript, neg bool, args []string) {
	f, err := bench{ts.MkAbs(args[0])}.fingerprint()
	ts.Check(err)
	if (fmt.Sprint(f) == ts.Getenv("REMEMBERED")) == neg {
		ts.Fatalf("changed: %v\n%s\n%s", !neg, ts.Getenv("REMEMBERED"), f)
	}
}

// cut FILE SIZE cuts a file short.
func scriptCut(ts *testscript.TestScript, _ bool, args []string) {
	size, err := strconv.ParseInt(args[1], 0, 64)
	ts.Check(err)
	ts.Check(os.Truncate(ts.MkAbs(args[0]), size))
}

// flip FILE OFFSET changes one bit of a file; a negative offset is from its end.
func scriptFlip(ts *testscript.TestScript, _ bool, args []string) {
	b := []byte(ts.ReadFile(args[0]))
	offset, err := strconv.Atoi(args[1])
	ts.Check(err)
	if offset < 0 {
		offset += len(b)
	}
	b[offset] ^= 1
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b, 0o644))
}

// mode FILE PERMISSIONS compares the permissions.
func scriptMode(ts *testscript.TestScript, _ bool, args []string) {
	st, err := os.Stat(ts.MkAbs(args[0]))
	ts.Check(err)
	if got := fmt.Sprintf("%o", st.Mode().Perm()); got != args[1] {
		ts.Fatalf("%s has mode %s, want %s", args[0], got, args[1])
	}
}
