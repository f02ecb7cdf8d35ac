package machine

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestOutput(t *testing.T) {
	const kernel = "[   12.345678] usb 1-1: new high-speed USB device number 2\n"
	tests := []struct {
		name, text, out string
		code            int
		unfinished      bool
	}{
		{name: "plain", text: "@@B7@@\nhello\nworld\n@@E7=0@@\n", out: "hello\nworld\n"},
		{name: "no output", text: "@@B7@@\n@@E7=0@@\n", out: ""},
		{name: "exit code", text: "@@B7@@\n@@E7=127@@\n/ # ", code: 127},
		{name: "output without an end of line", text: "@@B7@@\nhello@@E7=0@@\n", out: "hello"},
		{name: "after a prompt", text: "/ # @@B7@@\nhello\n@@E7=0@@\n", out: "hello\n"},
		{
			name: "echoed twice",
			text: strings.Repeat("/ # "+commandLine(7, "echo hello"), 2) + "@@B7@@\nhello\n@@E7=0@@\n", out: "hello\n",
		},
		{name: "another one's marks before", text: "@@E6=0@@\n/ # @@B7@@\nhello\n@@E7=0@@\n", out: "hello\n"},
		{name: "kernel between lines", text: "@@B7@@\n" + kernel + "hello\n" + kernel + "@@E7=0@@\n", out: "hello\n"},
		{name: "kernel within a line", text: "@@B7@@\nhel" + kernel + "lo\n@@E7=0@@\n", out: "hello\n"},
		{name: "kernel within the first mark", text: "@@" + kernel + "B7@@\nhello\n@@E7=0@@\n", out: "hello\n"},
		{name: "kernel within the second mark", text: "@@B7@@\nhello\n@@E7=1" + kernel + "2@@\n", out: "hello\n", code: 12},
		{name: "kernel before the end of a mark's line", text: "@@B7@@" + kernel + "\nhello\n@@E7=0@@\n", out: "hello\n"},
		{name: "log of the kernel, asked for", text: "@@B7@@\n<6>" + kernel + "@@E7=0@@\n", out: "<6>" + kernel},
		{name: "unfinished line of the kernel", text: "@@B7@@\nhello\n@@E7=1[   12.34", unfinished: true},
		{name: "half an exit code", text: "@@B7@@\nhello\n@@E7=1", unfinished: true},
		{name: "echo only", text: commandLine(7, "echo hello"), unfinished: true},
		{name: "nothing", unfinished: true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			out, code, ok := output(7, []byte(test.text))
			if ok == test.unfinished || ok && (out != test.out || code != test.code) {
				t.Errorf("got %q, %d, %v; want %q, %d, %v", out, code, ok, test.out, test.code, !test.unfinished)
			}
		})
	}
}

// A pipe has an answer to what is typed.
type pipe struct {
	typed  strings.Builder
	answer func()
}

func (p *pipe) Write(b []byte) (int, error) {
	go p.answer()
	return p.typed.Write(b)
}

func TestRunOnConsole(t *testing.T) {
	c := newConsole()
	io.WriteString(c, "@@B1@@\nold\n@@E1=5@@\n/ # ")
	p := &pipe{answer: func() {
		for _, piece := range []string{"@@B1@", "@\r\nnew", "\r\n\x00", "@@E1=0@", "@\r\nU-Boot 2023\n"} {
			io.WriteString(c, piece)
		}
	}}
	out, code, err := c.run(t.Context(), p, 1, "it's\n# two lines")
	if err != nil || out != "new\n" || code != 0 {
		t.Errorf("got %q, %d, %v; want the new output", out, code, err)
	}
	const typed = `echo '@@''B1@@'; sh -c 'it'\''s` + "\n" + `# two lines' </dev/null; echo '@@''E1='$?'@@'` + "\n"
	if p.typed.String() != typed {
		t.Errorf("typed %q, want %q", p.typed.String(), typed)
	}
	if _, err := c.expect(t.Context(), "^U-Boot"); err != nil {
		t.Errorf("what came after the output was passed over: %v", err)
	}
	if _, _, err := c.run(t.Context(), p, 2, strings.Repeat("x", 2000)); err == nil {
		t.Error("a line that the shell would cut off was typed")
	}
}

func TestExpectMovesOn(t *testing.T) {
	c := newConsole()
	io.WriteString(c, "one 1\none 2\n")
	for _, want := range []string{"1", "2"} {
		if got, err := c.expect(t.Context(), `^one (\d)$`); err != nil || got != want {
			t.Errorf("got %q, %v; want %q", got, err, want)
		}
	}
	go io.WriteString(c, "three\n")
	if got, err := c.expect(t.Context(), "th..e"); err != nil || got != "three" {
		t.Errorf("got %q, %v; want three", got, err)
	}
	for _, pattern := range []string{"^exit=.*", `^exit=\d+$`, `exit=\S+`} {
		io.WriteString(c, "exit=1")
		go func() {
			time.Sleep(time.Millisecond)
			io.WriteString(c, "2\n")
		}()
		if got, err := c.expect(t.Context(), pattern); err != nil || got != "exit=12" {
			t.Errorf("%s: got %q, %v; want the whole line", pattern, got, err)
		}
	}
	io.WriteString(c, "=> ")
	if _, err := c.expect(t.Context(), "^=> "); err != nil {
		t.Errorf("a prompt: %v", err)
	}
	if _, err := c.expect(t.Context(), "("); err == nil {
		t.Error("a bad expression is no error")
	}
}

func TestExpectEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &Machine{console: newConsole()}
		io.WriteString(m.console, strings.Repeat("line\n", 40)+"last words\n")
		began := time.Now()
		_, err := m.Expect(t.Context(), "never")
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Minute {
			t.Errorf("got %v after %v, want the deadline after a minute", err, time.Since(began))
		}
		if lines := strings.Count(err.Error(), "\n  | "); lines != 30 || !strings.HasSuffix(err.Error(), "| last words") {
			t.Errorf("the error has %d lines of the console, want the last 30: %v", lines, err)
		}
		reason := errors.New("out of sparks")
		go func() {
			time.Sleep(time.Second)
			io.WriteString(m.console, "now\n")
			m.console.finish(reason)
		}()
		if _, err := m.Expect(t.Context(), "never"); !errors.Is(err, reason) {
			t.Errorf("got %v, want why the machine ended", err)
		}
		if _, err := m.Expect(t.Context(), "now"); err != nil {
			t.Errorf("what came before the end was not met: %v", err)
		}
	})
}
