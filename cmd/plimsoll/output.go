package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"time"

	"github.com/plimsoll-ota/plimsoll/install"
)

// An output is how a verb speaks: results on standard output, everything else
// on standard error; with --json all of it as one object a line on standard
// output.
type output struct {
	*env
	json, quiet bool
	bar         bar
}

// fields are the members of a JSON event. Members are added, never changed.
type fields map[string]any

// event prints a JSON event; without --json it prints nothing.
func (o *output) event(name string, f fields) {
	if !o.json {
		return
	}
	all := fields{"event": name}
	maps.Copy(all, f)
	b, err := json.Marshal(all)
	if err != nil {
		panic("plimsoll: event " + name + ": " + err.Error())
	}
	fmt.Fprintf(o.stdout, "%s\n", b)
}

// result prints what was asked for.
func (o *output) result(name string, f fields, format string, args ...any) {
	o.bar.end(o.stderr)
	if o.json {
		o.event(name, f)
		return
	}
	fmt.Fprintf(o.stdout, format+"\n", args...)
}

// say prints a sentence of the conversation.
func (o *output) say(format string, args ...any) {
	o.bar.end(o.stderr)
	if o.json {
		o.event("note", fields{"text": fmt.Sprintf(format, args...)})
		return
	}
	if !o.quiet {
		fmt.Fprintf(o.stderr, format+"\n", args...)
	}
}

// finish reports err, if any, and returns the exit code.
func (o *output) finish(err error) int {
	o.bar.end(o.stderr)
	if err == nil {
		return exitDone
	}
	if c, ok := err.(ran); ok {
		if code, ok := c.error.(exitCode); ok {
			return int(code)
		}
	}
	code, hint := explain(err)
	device := deviceSays(err)
	if o.json {
		f := fields{"error": err.Error(), "exit": code}
		if hint != "" {
			f["hint"] = hint
		}
		if device != "" {
			f["device"] = device
		}
		o.event("error", f)
		return code
	}
	if code == exitNothing {
		fmt.Fprintf(o.stderr, "plimsoll: %v\n", err)
		return code
	}
	fmt.Fprintf(o.stderr, "plimsoll: error: %v\n", err)
	if hint != "" {
		fmt.Fprintf(o.stderr, "plimsoll: hint: %s\n", hint)
	}
	if device != "" {
		fmt.Fprintf(o.stderr, "plimsoll: %s\n", device)
	}
	return code
}

// progress shows how far an installation is.
func (o *output) progress(p install.Progress) {
	if p.Note != "" {
		o.say("%s", p.Note)
		return
	}
	o.count(p.Step.String(), p.Done, p.Total)
}

// count shows that done of total bytes of a step are through.
func (o *output) count(step string, done, total int64) {
	if !o.bar.due(step, done, total, o.terminal && !o.json) {
		return
	}
	if o.json {
		f := fields{"step": step, "done": done, "total": total}
		if rate := o.bar.rate(done); rate > 0 {
			f["bytes_per_second"] = int64(rate)
			f["seconds_left"] = o.bar.left(done, total).Seconds()
		}
		o.event("progress", f)
		return
	}
	if o.quiet {
		return
	}
	if o.terminal {
		o.bar.draw(o.stderr, done, total)
	} else {
		fmt.Fprintln(o.stderr, o.bar.line(done, total))
	}
}

// A bar is the progress of one step: at most four lines a second on a terminal;
// elsewhere one for each tenth, and one after ten seconds.
type bar struct {
	step    string
	begun   time.Time
	shown   time.Time
	tenth   int64
	pending bool // a line on the terminal has no newline yet
}

// due reports whether progress is worth showing now.
func (b *bar) due(step string, done, total int64, terminal bool) bool {
	if step != b.step {
		*b = bar{step: step, begun: time.Now(), shown: time.Now(), pending: b.pending}
		return true
	}
	switch {
	case total == 0:
		return false
	case terminal:
		if done < total && time.Since(b.shown) < 250*time.Millisecond {
			return false
		}
	case done*10/total <= b.tenth && time.Since(b.shown) < 10*time.Second:
		return false
	}
	b.shown, b.tenth = time.Now(), done*10/total
	return true
}

// rate returns bytes per second since the step began, 0 while too early to say.
func (b *bar) rate(done int64) float64 {
	spent := time.Since(b.begun).Seconds()
	if spent < 0.05 {
		return 0
	}
	return float64(done) / spent
}

// left is how long the rest will take at the rate so far, to the second.
func (b *bar) left(done, total int64) time.Duration {
	return time.Duration(float64(total-done) / b.rate(done) * float64(time.Second)).Round(time.Second)
}

// line is one line of progress: step, bytes, rate and time left.
func (b *bar) line(done, total int64) string {
	if total == 0 {
		return b.step
	}
	s := fmt.Sprintf("%-6s %3d %%  %s of %s", b.step, done*100/total, size(done), size(total))
	if rate := b.rate(done); rate > 0 {
		s += fmt.Sprintf("  %s/s", size(int64(rate)))
		if done < total {
			s += fmt.Sprintf("  %s left", b.left(done, total))
		}
	}
	return s
}

func (b *bar) draw(w io.Writer, done, total int64) {
	fmt.Fprintf(w, "\r\x1b[K%s", b.line(done, total))
	b.pending = true
}

// end finishes a line that was being rewritten.
func (b *bar) end(w io.Writer) {
	if b.pending {
		fmt.Fprintln(w)
	}
	b.pending = false
}

// size formats bytes in binary units.
func size(n int64) string {
	if n < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	f, units := float64(n)/(1<<10), "KMGTP"
	for f >= 1<<10 && len(units) > 1 {
		f, units = f/(1<<10), units[1:]
	}
	return fmt.Sprintf("%.1f %ciB", f, units[0])
}
