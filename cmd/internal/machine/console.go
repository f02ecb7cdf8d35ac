package machine

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// A console is the log of a serial line, and the place up to which it was read.
type console struct {
	mu    sync.Mutex
	log   []byte        // all that came, without \r and NUL
	mark  int           // what was met before is not looked at again
	grown chan struct{} // closed when there is more, or the end
	end   error         // why nothing more will come
}

func newConsole() *console { return &console{grown: make(chan struct{})} }

// Write takes what comes from the line.
func (c *console) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, char := range b {
		if char != '\r' && char != 0 {
			c.log = append(c.log, char)
		}
	}
	c.wake()
	return len(b), nil
}

// finish makes all waiters fail, once they have seen what came.
func (c *console) finish(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end = err
	c.wake()
}

func (c *console) wake() {
	close(c.grown)
	c.grown = make(chan struct{})
}

// wait calls look with the log after the mark until it returns where the mark
// is to be moved, relative to the old one, or -1 if there is not enough.
func (c *console) wait(ctx context.Context, what string, look func(text []byte) int) error {
	for {
		c.mu.Lock()
		n, grown, end := look(c.log[c.mark:]), c.grown, c.end
		if n >= 0 {
			c.mark += n
		}
		c.mu.Unlock()
		if n >= 0 {
			return nil
		}
		if end == nil {
			select {
			case <-grown:
				continue
			case <-ctx.Done():
				end = context.Cause(ctx)
			}
		}
		return fmt.Errorf("wait for %s: %w\nthe console's last lines:\n%s", what, end, c.tail(30))
	}
}

// tail returns the last lines of the log, marked so that they stand out.
func (c *console) tail(lines int) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := strings.Split(strings.TrimRight(string(c.log), "\n"), "\n")
	all = all[max(0, len(all)-lines):]
	return "  | " + strings.Join(all, "\n  | ")
}

func (c *console) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return string(c.log)
}

// expect waits for a match and returns its first group, or all of it.
func (c *console) expect(ctx context.Context, pattern string) (string, error) {
	re, err := regexp.Compile("(?m)" + pattern)
	if err != nil {
		return "", err
	}
	var met string
	err = c.wait(ctx, strconv.Quote(pattern), func(text []byte) int {
		m := re.FindSubmatchIndex(unfinished(text))
		if m == nil || m[1] > len(text) {
			return -1
		}
		from, to := m[0], m[1]
		if len(m) > 2 && m[2] >= 0 {
			from, to = m[2], m[3]
		}
		met = string(text[from:to])
		return m[1]
	})
	return met, err
}

// unfinished appends a character to a line that has not ended: what matches it
// as well, such as .*, is to wait for the rest of the line, and so is $.
func unfinished(text []byte) []byte {
	if n := len(text); n == 0 || text[n-1] == '\n' {
		return text
	}
	return append(text[:len(text):len(text)], 0)
}

// commandLine returns what is typed so that a shell runs a command and prints
// its output between two marks. What is typed comes back as an echo, perhaps
// twice: each mark is typed in two pieces, so that only what is printed has it
// whole. The command is a word of its own to the shell: whatever is in it, the
// second mark is printed.
func commandLine(n int, command string) string {
	quoted := "'" + strings.ReplaceAll(command, "'", `'\''`) + "'"
	return fmt.Sprintf("echo '@@''B%[1]d@@'; sh -c %[2]s </dev/null; echo '@@''E%[1]d='$?'@@'\n", n, quoted)
}

// kernelMessage is a line that the kernel wrote to the console, wherever it
// cut another one in two. What dmesg -r prints has a < > before it.
var kernelMessage = regexp.MustCompile(`(?m)(^|[^>])\[ *\d+\.\d{6}\] .*\n`)

// output finds the output of a command in what was printed, without what the
// kernel put in between.
func output(n int, text []byte) (out string, code int, ok bool) {
	clean := kernelMessage.ReplaceAllString(string(text), "$1")
	_, rest, ok := strings.Cut(clean, fmt.Sprintf("@@B%d@@\n", n))
	if !ok {
		return "", 0, false
	}
	out, rest, ok = strings.Cut(rest, fmt.Sprintf("@@E%d=", n))
	if !ok {
		return "", 0, false
	}
	digits, _, ok := strings.Cut(rest, "@@\n")
	if !ok {
		return "", 0, false
	}
	code, err := strconv.Atoi(digits)
	return out, code, err == nil
}

// run types a command and waits for its end.
func (c *console) run(ctx context.Context, line io.Writer, n int, command string) (out string, code int, err error) {
	typed := commandLine(n, command)
	for l := range strings.Lines(typed) {
		if len(l) > longestLine {
			return "", 0, fmt.Errorf("run a command: a line of %d bytes is too long for the console", len(l))
		}
	}
	c.mu.Lock()
	c.mark = len(c.log)
	c.mu.Unlock()
	if _, err := io.WriteString(line, typed); err != nil {
		return "", 0, fmt.Errorf("type on the console: %w", err)
	}
	err = c.wait(ctx, "the end of "+strconv.Quote(command), func(text []byte) int {
		var ok bool
		if out, code, ok = output(n, text); !ok {
			return -1
		}
		return end(n, text)
	})
	return out, code, err
}

// end returns where the output of a command ends: there the mark goes. If the
// kernel has cut the second mark in two, what came is all taken as read.
func end(n int, text []byte) int {
	loc := regexp.MustCompile(fmt.Sprintf(`@@E%d=\d+@@\n`, n)).FindIndex(text)
	if loc == nil {
		return len(text)
	}
	return loc[1]
}

// longestLine is what busybox's shell reads as one line.
const longestLine = 1000
