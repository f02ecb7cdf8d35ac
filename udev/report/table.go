package report

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
)

// The width of cells of a table, in characters.
const cellWidth = 40

// Table writes reports for people, a line each, and the serial numbers that are
// missing.
func Table(w io.Writer, reports []Found, missing []string) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(cells ...string) {
		for i, c := range cells {
			cells[i] = cut(or(c, "-"), cellWidth)
		}
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	row("SERIAL", "NR", "BEFORE → AFTER", "RESULT", "WHEN", "SIGNED")
	for _, f := range reports {
		result := withCode(f.Result, f.Code)
		if !f.Final {
			result += " (not the end)"
		}
		row(f.Serial, strconv.FormatInt(f.Sequence, 10), or(f.Before.Name, "?")+" → "+or(f.After.Name, "?"), result, f.When(), string(f.Trust))
	}
	for _, s := range missing {
		row(line(s, maxID), "", "", "missing", "", "")
	}
	return t.Flush()
}

// CSV writes reports for a spreadsheet (RFC 4180, every cell in quotes), and
// the serial numbers that are missing with that as their result. No cell is a
// formula, in whatever way a program cuts the line.
func CSV(w io.Writer, reports []Found, missing []string) error {
	rows := [][]string{{
		"serial", "sequence", "revision", "final", "device_type", "before", "before_version", "after", "after_version", "tried", "tried_version",
		"result", "code", "detail", "time", "clock_set", "uptime", "boot_id", "signed", "stick", "plimsoll", "manifest", "store",
	}}
	columns := len(rows[0])
	for _, f := range reports {
		rows = append(rows, []string{
			f.Serial, strconv.FormatInt(f.Sequence, 10), strconv.Itoa(f.Revision), strconv.FormatBool(f.Final), f.DeviceType,
			f.Before.Name, f.Before.Version, f.After.Name, f.After.Version, f.Tried.Name, f.Tried.Version,
			f.Result, f.Code, f.Detail, f.Time, strconv.FormatBool(f.ClockSet), strconv.FormatFloat(f.Uptime, 'f', -1, 64), f.BootID,
			string(f.Trust), f.Stick, f.Plimsoll, f.Manifest, f.Store,
		})
	}
	for _, s := range missing {
		row := make([]string, columns)
		row[0], row[11] = line(s, maxID), "missing"
		rows = append(rows, row)
	}
	for _, row := range rows {
		for i, c := range row {
			row[i] = `"` + strings.ReplaceAll(defused(c), `"`, `""`) + `"`
		}
		if _, err := io.WriteString(w, strings.Join(row, ",")+"\r\n"); err != nil {
			return err
		}
	}
	return nil
}

// defused puts an apostrophe before what a spreadsheet takes for a formula: at
// the beginning of a cell, and after whatever might begin another one where the
// separator or the quotes are read otherwise.
func defused(cell string) string {
	var b strings.Builder
	begins := true
	for _, r := range cell {
		switch {
		case begins && strings.ContainsRune("=+-@＝＋－＠", r):
			b.WriteByte('\'')
			begins = false
		case strings.ContainsRune(",;|\"\t\r\n", r):
			begins = true
		case r != ' ':
			begins = false
		}
		b.WriteRune(r)
	}
	return b.String()
}
