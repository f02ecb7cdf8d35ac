package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/plimsoll-ota/plimsoll/signing"
	"github.com/plimsoll-ota/plimsoll/udev/report"
)

type reportsOptions struct {
	serials string
	csv     bool
	all     bool
	keys    []string
	openKey string
}

func (a *app) stickReportsCommand() *cobra.Command {
	var o reportsOptions
	cmd := &cobra.Command{
		Use:   "reports DIR...",
		Short: "Show what sticks carried home",
		Long: `Reports shows the latest outcome of each device that left a report on the
sticks mounted at DIR..., or copied there. A report that is on several of them
counts once. Damaged files are passed over, and said.

With --key only a report that one of the keys verifies counts as a device's
outcome. A key is a file of public keys, any of which may have signed for any
device; or a folder, in which SERIAL.pem is the key of the device with that
serial number, and of no other.

With --open-key the sealed logs are shown below the table, where there are any.

Exit codes:
  0  every device is "updated and confirmed" or "up to date", none is missing,
     and with --key every report is verified
  1  some are not, or are missing (--serials)
  2  there are no reports`,
		Args: cobra.MinimumNArgs(1),
		RunE: a.verb(func(_ context.Context, args []string) error { return a.runStickReports(args, o) }),
	}
	f := cmd.Flags()
	f.StringVar(&o.serials, "serials", "", "`FILE` with the serial numbers to expect, one a line")
	f.BoolVar(&o.csv, "csv", false, "print a table for a spreadsheet")
	f.BoolVar(&o.all, "all", false, "show all reports, not only the latest of each device")
	f.StringArrayVarP(&o.keys, "key", "k", nil, "public keys of devices, a file or a folder; may be given several times")
	f.StringVar(&o.openKey, "open-key", "", "private key `FILE` of the office, which opens the logs")
	return cmd
}

func (a *app) runStickReports(dirs []string, o reportsOptions) error {
	if o.csv && a.out.json {
		return errors.New("--csv and --json: want one of them")
	}
	ro, err := o.read()
	if err != nil {
		return err
	}
	expected, err := o.expected()
	if err != nil {
		return err
	}
	found, err := a.readSticks(dirs, ro)
	if err != nil {
		return err
	}
	devices := report.Devices(found)
	if len(devices) == 0 && len(expected) == 0 {
		a.out.event("reports", fields{"devices": 0, "good": 0, "missing": []string{}})
		a.out.say("there are no reports")
		return exitCode(exitNothing)
	}
	s := sorted(devices, report.Missing(expected, devices), ro.Keys != nil, o.all)
	if err := a.showReports(s, o); err != nil {
		return err
	}
	a.out.event("reports", fields{"devices": len(devices), "good": s.good, "missing": append([]string{}, s.missing...)})
	if s.good == len(devices) && len(s.missing) == 0 {
		return nil
	}
	a.out.say("%d of %d devices are updated or up to date; %d left another outcome, %d no report", s.good, len(devices)+len(s.missing), len(devices)-s.good, len(s.missing))
	return exitCode(exitFailed)
}

// expected reads the list of serial numbers.
func (o *reportsOptions) expected() ([]string, error) {
	if o.serials == "" {
		return nil, nil
	}
	f, err := os.Open(o.serials)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	serials, err := report.Serials(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.serials, err)
	}
	return serials, nil
}

// read loads the keys.
func (o *reportsOptions) read() (ro report.ReadOptions, err error) {
	if o.openKey != "" {
		if ro.Office, err = report.LoadOfficeKey(o.openKey); err != nil {
			return ro, err
		}
	}
	if len(o.keys) == 0 {
		return ro, nil
	}
	ro.Keys, err = deviceKeys(o.keys)
	return ro, err
}

// deviceKeys returns who verifies reports: the keys of files for every device,
// and those of folders for the device that is named like the file.
func deviceKeys(paths []string) (report.Keys, error) {
	shared, own := &signing.Keyring{}, map[string]*signing.Keyring{}
	for _, path := range paths {
		st, err := os.Stat(path)
		if err == nil && st.IsDir() {
			err = addOwnKeys(own, path)
		} else {
			var ring *signing.Keyring
			if ring, err = signing.LoadKeyring(path); err == nil {
				shared.Keys = append(shared.Keys, ring.Keys...)
			}
		}
		if err != nil {
			return nil, err
		}
	}
	if len(shared.Keys) == 0 && len(own) == 0 {
		return nil, fmt.Errorf("%s: %w", strings.Join(paths, ", "), signing.ErrNoKeys)
	}
	return func(serial string) report.Verifier {
		ring := &signing.Keyring{Keys: slices.Clone(shared.Keys)}
		if k := own[serial]; k != nil {
			ring.Keys = append(ring.Keys, k.Keys...)
		}
		if len(ring.Keys) == 0 {
			return nil
		}
		return ring
	}, nil
}

func addOwnKeys(own map[string]*signing.Keyring, dir string) error {
	paths, err := fs.Glob(os.DirFS(dir), "*.pem")
	if err != nil {
		return err
	}
	for _, name := range paths {
		ring, err := signing.LoadKeyring(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		own[strings.TrimSuffix(name, ".pem")] = ring
	}
	return nil
}

func (a *app) readSticks(dirs []string, ro report.ReadOptions) (found []report.Found, err error) {
	for _, dir := range dirs {
		if _, err := os.Stat(dir); err != nil {
			return nil, err
		}
		r, err := report.Read(dir, ro)
		if errors.Is(err, fs.ErrNotExist) {
			a.out.say("%s: no reports", dir)
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, p := range r.Problems {
			a.out.say("passed over: %v", p)
		}
		found = append(found, r.Reports...)
	}
	return found, nil
}

// shown is what the verb prints.
type shown struct {
	reports []report.Found
	latest  []bool // of each report
	missing []string
	good    int // devices
}

func sorted(devices []report.Device, missing []string, verified, all bool) shown {
	s := shown{missing: missing}
	for _, d := range devices {
		if d.Latest.Good() && (!verified || d.Latest.Trust == report.Verified) {
			s.good++
		}
		rows := []report.Found{d.Latest}
		if all {
			rows = d.Reports
		}
		for _, f := range rows {
			s.reports = append(s.reports, f)
			s.latest = append(s.latest, f.Store == d.Latest.Store && f.Sequence == d.Latest.Sequence)
		}
	}
	return s
}

func (a *app) showReports(s shown, o reportsOptions) error {
	switch {
	case a.out.json:
		return a.reportEvents(s)
	case o.csv:
		return report.CSV(a.stdout, s.reports, s.missing)
	}
	if err := report.Table(a.stdout, s.reports, s.missing); err != nil {
		return err
	}
	for _, f := range s.reports {
		if f.Log != nil {
			fmt.Fprintf(a.stdout, "\n==> log of report %d of %s <==\n%s", f.Sequence, f.Serial, f.LogText())
		}
	}
	return nil
}

// reportEvents prints each report as the device wrote it, and what was found
// out about it.
func (a *app) reportEvents(s shown) error {
	for i, f := range s.reports {
		b, err := json.Marshal(f.Report)
		if err != nil {
			return err
		}
		var all fields
		d := json.NewDecoder(bytes.NewReader(b))
		d.UseNumber()
		if err := d.Decode(&all); err != nil {
			return err
		}
		all["signed"], all["file"], all["latest"], all["good"] = f.Trust, f.Path, s.latest[i], f.Good()
		if f.Log != nil {
			all["log"] = f.LogText()
		}
		a.out.event("report", all)
	}
	return nil
}
