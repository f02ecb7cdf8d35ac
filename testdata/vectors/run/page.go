package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// A reading is the results of one reader, from a file that -json made.
type reading struct {
	sum     summary
	results []result
}

// writePage makes tables in Markdown of what readers did: the counts, and each vector that not all of them agree on.
func writePage(w io.Writer, paths []string) error {
	if len(paths) == 0 {
		return errors.New("-page: no results given")
	}
	var readings []reading
	for _, path := range paths {
		r, err := readResults(path)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if len(readings) > 0 && !sameVectors(readings[0], r) {
			return fmt.Errorf("%s: other vectors than in %s", path, paths[0])
		}
		readings = append(readings, r)
	}
	var b strings.Builder
	b.WriteString("| reader | vectors | agrees | stricter | laxer | crashes | hangs | of these permitted | wrong |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, r := range readings {
		s := r.sum
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d | %d | %d | %d | %d |\n", s.Reader, s.Vectors, s.Agrees, s.Stricter, s.Laxer, s.Crashes, s.Hangs, s.Permitted, s.Wrong)
	}
	b.WriteString("\n| vector | expected |")
	for _, r := range readings {
		fmt.Fprintf(&b, " %s |", r.sum.Reader)
	}
	b.WriteString(" about | rule |\n|---|---|---|---|" + strings.Repeat("---|", len(readings)) + "\n")
	for i, first := range readings[0].results {
		row := row(readings, i)
		if row != "" {
			fmt.Fprintf(&b, "| %s | %s |%s %s | %s |\n", first.Vector, first.Expect, row, cell(first.About), cell(first.Rule))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// row is what each made of vector i, or "" if all agree.
func row(readings []reading, i int) string {
	var b strings.Builder
	all := true
	for _, r := range readings {
		v := r.results[i]
		all = all && v.Verdict == agrees
		switch {
		case v.Verdict == agrees:
			b.WriteString(" |")
		case v.Permitted:
			fmt.Fprintf(&b, " %s, permitted |", v.Verdict)
		default:
			fmt.Fprintf(&b, " **%s** |", v.Verdict)
		}
	}
	if all {
		return ""
	}
	return b.String()
}

func cell(s string) string { return strings.NewReplacer("|", `\|`, "<", "&lt;", "*", `\*`).Replace(s) }

func sameVectors(a, b reading) bool {
	if len(a.results) != len(b.results) {
		return false
	}
	for i := range a.results {
		if a.results[i].Vector != b.results[i].Vector {
			return false
		}
	}
	return true
}

func readResults(path string) (r reading, err error) {
	f, err := os.Open(path)
	if err != nil {
		return r, err
	}
	defer f.Close()
	for d := json.NewDecoder(f); ; {
		var line json.RawMessage
		if err := d.Decode(&line); err == io.EOF {
			break
		} else if err != nil {
			return r, err
		}
		var kind struct{ Event string }
		var one result
		err := json.Unmarshal(line, &kind)
		if err == nil && kind.Event == "vector" {
			err = json.Unmarshal(line, &one)
			r.results = append(r.results, one)
		} else if err == nil {
			err = json.Unmarshal(line, &r.sum)
		}
		if err != nil {
			return r, err
		}
	}
	if len(r.results) == 0 || r.sum.Event != "summary" || r.sum.Vectors != len(r.results) {
		return r, errors.New("not the results of a whole run")
	}
	return r, nil
}
