// Run runs a reader of Mender artifacts on every vector in a folder, and says where it agrees with them.
//
//	go run ./testdata/vectors/run -- mender-artifact validate -k {key} {file}
//
// It needs nothing but the standard library and Linux. See README.md beside the vectors.
package main

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"
)

const usage = `usage: run [flags] -- COMMAND [ARGUMENT...]
       run -page RESULTS.json... > PAGE.md

In the arguments {file} is the artifact and {key} the public key to verify it with. Where
a vector needs no key, an argument with {key} is left out, and the flag before it.

Exit code: 0 if the reader agrees with all vectors, or does what they let tolerant readers
do; 1 if it does not; 2 if it could not be run.

`

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

func run(args []string, stdout, stderr io.Writer) int {
	f := flag.NewFlagSet("run", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Usage = func() { fmt.Fprint(stderr, usage); f.PrintDefaults() }
	dir := f.String("dir", "testdata/vectors", "folder of the vectors")
	keys := f.String("keys", "testdata/keys", "folder of the keys")
	only := f.String("only", "", "only vectors whose name begins so")
	asJSON := f.Bool("json", false, "one object per vector, and one at the end")
	page := f.Bool("page", false, "make a page of the results of readers, made with -json")
	name := f.String("name", "", "what to call the reader (default: the command)")
	var c command
	f.DurationVar(&c.timeout, "timeout", 20*time.Second, "it hangs if it takes longer")
	f.Int64Var(&c.memory, "memory", 512, "it hangs if it holds more MiB")
	jobs := f.Int("jobs", runtime.NumCPU(), "how many at once")
	if err := f.Parse(args); err != nil {
		return 2
	}
	if *page {
		return done(stderr, writePage(stdout, f.Args()))
	}
	if c.args = f.Args(); len(c.args) == 0 {
		f.Usage()
		return 2
	}
	vectors, err := readVectors(*dir, *keys, *only)
	if err != nil {
		return done(stderr, err)
	}
	results, err := c.all(vectors, *jobs)
	if err != nil {
		return done(stderr, err)
	}
	s := summarise(cmp.Or(*name, strings.Join(c.args, " ")), results)
	if *asJSON {
		err = writeJSON(stdout, results, s)
	} else {
		err = writeTable(stdout, results, s)
	}
	if err == nil && s.Wrong > 0 {
		return 1
	}
	return done(stderr, err)
}

// done says what went wrong with the run itself.
func done(stderr io.Writer, err error) int {
	if err != nil {
		fmt.Fprintln(stderr, "run:", err)
		return 2
	}
	return 0
}

// all runs the command on all vectors, jobs at once. A command that cannot be started ends it.
func (c command) all(vectors []vector, jobs int) ([]result, error) {
	results, errs := make([]result, len(vectors)), make([]error, len(vectors))
	var wait sync.WaitGroup
	free := make(chan struct{}, max(jobs, 1))
	for i, v := range vectors {
		free <- struct{}{}
		wait.Go(func() {
			results[i], errs[i] = c.on(v)
			<-free
		})
	}
	wait.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return results, nil
}

// A summary counts verdicts. Wrong are those that no vector permits.
type summary struct {
	Event     string `json:"event"`
	Reader    string `json:"reader"`
	Vectors   int    `json:"vectors"`
	Agrees    int    `json:"agrees"`
	Stricter  int    `json:"stricter"`
	Laxer     int    `json:"laxer"`
	Crashes   int    `json:"crashes"`
	Hangs     int    `json:"hangs"`
	Permitted int    `json:"permitted"`
	Wrong     int    `json:"wrong"`
}

func summarise(reader string, results []result) summary {
	s := summary{Event: "summary", Reader: reader, Vectors: len(results)}
	count := map[string]*int{agrees: &s.Agrees, stricter: &s.Stricter, laxer: &s.Laxer, crashes: &s.Crashes, hangs: &s.Hangs}
	for _, r := range results {
		*count[r.Verdict]++
		if r.Permitted {
			s.Permitted++
		} else if r.Verdict != agrees {
			s.Wrong++
		}
	}
	return s
}

func writeJSON(w io.Writer, results []result, s summary) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	for _, r := range results {
		if err := e.Encode(r); err != nil {
			return err
		}
	}
	return e.Encode(s)
}

func writeTable(w io.Writer, results []result, s summary) error {
	var b strings.Builder
	for _, r := range results {
		note := ""
		if r.Permitted {
			note = "permitted; "
		}
		fmt.Fprintf(&b, "%-10s %-26s exit %4d  expect %-11s %s%s\n", r.Verdict, r.Vector, r.Exit, r.Expect, note, r.About)
	}
	fmt.Fprintf(&b, "\n%s: %d vectors: agrees %d, stricter %d, laxer %d, crashes %d, hangs %d; %d of these are permitted, %d wrong\n",
		s.Reader, s.Vectors, s.Agrees, s.Stricter, s.Laxer, s.Crashes, s.Hangs, s.Permitted, s.Wrong)
	_, err := io.WriteString(w, b.String())
	return err
}
