package main

import (
	"os"
	"strconv"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/plimsoll-ota/plimsoll/signing"
	"github.com/plimsoll-ota/plimsoll/udev/report"
)

// report STICK SERIAL SEQUENCE RESULT CODE [KEY [OFFICE-KEY]] leaves a report on a stick, as a device does; CODE - is none, and a
// result without one is taken for the end of it unless it is "restarting".
func scriptReport(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 5 {
		ts.Fatalf("usage: report STICK SERIAL SEQUENCE RESULT CODE [KEY [OFFICE-KEY]]")
	}
	sequence, err := strconv.ParseInt(args[2], 10, 64)
	ts.Check(err)
	r := report.Report{
		Serial: args[1], Store: "ab12cd34", Sequence: sequence, Revision: 1, Result: args[3], Final: args[3] != "restarting",
		Before: report.Artifact{Name: "rel-7"}, After: report.Artifact{Name: "rel-8"}, Tried: report.Artifact{Name: "rel-8"},
		Time: "2026-11-25T12:56:42Z", ClockSet: sequence%2 == 0,
	}
	if args[4] != "-" {
		r.Code, r.After.Name = args[4], "rel-7"
	}
	var o report.Options
	if len(args) > 5 && args[5] != "-" {
		o.Signer, err = signing.LoadPrivateKey(ts.MkAbs(args[5]))
		ts.Check(err)
	}
	if len(args) > 6 {
		o.Office, err = report.LoadLogKey(ts.MkAbs(args[6]))
		ts.Check(err)
		o.Log = func(r report.Report) []byte { return []byte("the log of " + r.Serial + "\x1b[31m\n") }
	}
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o755))
	root, err := os.OpenRoot(dir)
	ts.Check(err)
	defer root.Close()
	_, err = report.Write(root, []report.Report{r}, o)
	ts.Check(err)
}
