package report

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Bounds of the text.
const (
	maxLines     = 60
	textWidth    = 78 // characters
	textPhases   = 16
	textProblems = 8
)

// Text returns r for people: at most 60 lines and 8 KiB of UTF-8, with the
// line ends of Windows, where most sticks are opened. The last line says that
// it is the last: a text without it was cut.
func (r Report) Text() string {
	r.clean()
	var t text
	t.head(&r)
	t.phases(r.Phases)
	end := []string{"", fmt.Sprintf("End of report %d.", r.Sequence)}
	return t.join(end)
}

// A text is what will be joined to lines.
type text struct{ lines []string }

func (t *text) head(r *Report) {
	t.add("plimsoll report %d of device %s", r.Sequence, or(r.Serial, "without a serial number"))
	t.add("")
	t.field("Result", or(withCode(r.Result, r.Code), "not known"))
	if !r.Final {
		t.field("", "This is not the end of it: the next stick carries home what became of it.")
	}
	t.field("Detail", r.Detail)
	t.field("Device type", r.DeviceType)
	t.field("Before", r.Before.String())
	t.field("After", r.After.String())
	t.field("Tried", r.Tried.String())
	t.field("Manifest", r.Manifest)
	t.field("When", r.When())
	t.field("Boot", strings.TrimPrefix(fmt.Sprintf("%s, %s after its start", r.BootID, seconds(r.Uptime)), ", "))
	t.health(r.Health)
	t.field("Stick", r.Stick)
	t.field("plimsoll", r.Plimsoll)
	t.field("Revision", fmt.Sprintf("%d", r.Revision))
}

func (t *text) health(h *Health) {
	if h == nil {
		return
	}
	if h.Healthy {
		t.field("Health", "healthy")
		return
	}
	t.field("Health", fmt.Sprintf("problems: %d", len(h.Problems)+h.More))
	shown := h.Problems[:min(len(h.Problems), textProblems)]
	for _, p := range shown {
		t.add("    - %s", cut(p, textWidth-6))
	}
	if more := len(h.Problems) + h.More - len(shown); more > 0 {
		t.add("    and %d more", more)
	}
}

func (t *text) phases(all []Phase) {
	if len(all) == 0 {
		return
	}
	t.add("")
	t.add("What it went through (seconds since the start of the device):")
	if over := len(all) - textPhases; over > 0 {
		t.add("    %d earlier ones are in the other file", over)
		all = all[over:]
	}
	boot := all[0].BootID
	for _, p := range all {
		if p.BootID != boot {
			t.add("    (the device started again)")
			boot = p.BootID
		}
		t.add("    %10s  %s", seconds(p.Uptime), cut(p.Name, textWidth-20))
	}
}

func (t *text) add(format string, args ...any) {
	t.lines = append(t.lines, fmt.Sprintf(format, args...))
}

// field adds a value beside its name, on as many lines as it takes.
func (t *text) field(name, value string) {
	const column = 14
	if value == "" {
		return
	}
	if name != "" {
		name += ":"
	}
	for i, l := range wrap(value, textWidth-column) {
		if i > 0 {
			name = ""
		}
		t.add("%-*s%s", column, name, l)
	}
}

// join gives what fits, and the end in any case.
func (t *text) join(end []string) string {
	const sep = "\r\n"
	tail := sep + strings.Join(end, sep) + sep
	lines := t.lines[:min(len(t.lines), maxLines-len(end))]
	for {
		s := strings.Join(lines, sep) + tail
		if len(s) <= fileSize {
			return s
		}
		lines = lines[:len(lines)-1]
	}
}

// wrap breaks a line at blanks, and within a word that is too long.
func wrap(s string, width int) (lines []string) {
	for utf8.RuneCountInString(s) > width {
		head := string([]rune(s)[:width])
		if i := strings.LastIndexByte(head, ' '); i > 0 {
			head = head[:i]
		}
		lines = append(lines, head)
		s = strings.TrimPrefix(s[len(head):], " ")
	}
	return append(lines, s)
}

// cut shortens a line to a number of characters.
func cut(s string, width int) string {
	if utf8.RuneCountInString(s) <= width {
		return s
	}
	return string([]rune(s)[:width-1]) + "…"
}

// String is what people call an artifact: its name, and its version beside it.
func (a Artifact) String() string {
	if a.Version == "" || a.Version == a.Name {
		return a.Name
	}
	return strings.TrimSpace(fmt.Sprintf("%s (%s)", a.Name, a.Version))
}

// When says when the report was last written, or that nobody knows.
func (r Report) When() string {
	if !r.ClockSet || r.Time == "" {
		return "clock not set"
	}
	return r.Time
}

// withCode is how a result is shown: "went back to the old version: E51".
func withCode(result, code string) string {
	if code == "" {
		return result
	}
	return result + ": " + code
}

func seconds(s float64) string { return fmt.Sprintf("%.1f s", s) }

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// LogText returns an opened log for people: printable lines.
func (f Found) LogText() string {
	var b strings.Builder
	for l := range strings.Lines(string(f.Log)) {
		b.WriteString(strings.TrimRight(strings.Map(printable, strings.ToValidUTF8(l, " ")), " "))
		b.WriteByte('\n')
	}
	return b.String()
}
