package tell

import (
	"encoding/xml"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// vocabulary is the whole of it, in the order of the manual.
var vocabulary = []State{Looking, Waiting, Working, Remove, Restarting, Testing, Updated, UpToDate, Nothing, WentBack, Failed}

func TestVocabulary(t *testing.T) {
	if len(vocabulary) != len(patterns) {
		t.Errorf("%d states, %d of them with a pattern", len(vocabulary), len(patterns))
	}
	page := rows(manual(t, "stick-codes.md"), "`.*`")
	var have [][]string
	for _, r := range page {
		have = append(have, r[:2])
	}
	var want [][]string
	for _, s := range vocabulary {
		text := "`" + string(s) + "`"
		if s.pattern() == Blinks {
			text = "`" + string(s) + ": CODE`"
		}
		want = append(want, []string{text, string(patterns[s])})
	}
	if d := cmp.Diff(want, have); d != "" {
		t.Errorf("docs/stick-codes.md (-program +manual):\n%s", d)
	}
}

// TestOnlySuccessIsSteady: a technician who sees a steady light leaves.
func TestOnlySuccessIsSteady(t *testing.T) {
	good := map[State]bool{Remove: true, Updated: true, UpToDate: true}
	touch := map[State]bool{Looking: true, Working: true, Restarting: true, Testing: true}
	for s, p := range patterns {
		if (p == Steady) != good[s] || (p == Fast) != touch[s] {
			t.Errorf("%s is %s", s, p)
		}
	}
	if p := State("of tomorrow").pattern(); p != Blinks {
		t.Errorf("an unknown state is %s", p)
	}
	if got := (Message{State: Nothing}).signal(); got != (signal{Blinks, NoArtifact}) {
		t.Errorf("nothing blinks %+v", got)
	}
	if got := (Message{State: Updated, Code: NTFS}).signal(); got != (signal{Steady, 0}) {
		t.Errorf("updated shows %+v", got)
	}
}

// count counts blinks as a technician does: a long pause begins the code, a
// shorter one its second digit.
func count(steps []step) (tens, units int) {
	digit := &tens
	for _, s := range steps {
		switch {
		case s.on:
			*digit++
		case s.lasts == codePause:
			digit = &units
		}
	}
	return tens, units
}

func TestEveryCodeCanBeCounted(t *testing.T) {
	for _, e := range Codes() {
		steps := signal{Blinks, e.Code}.steps()
		if tens, units := count(steps); Code(10*tens+units) != e.Code {
			t.Errorf("%v blinks %d, %d", e.Code, tens, units)
		}
		for i, s := range steps {
			if s.lasts <= 0 || i > 0 && s.on == steps[i-1].on {
				t.Errorf("%v: step %d is %+v after %+v", e.Code, i, s, steps[i-1])
			}
		}
		if text := kernelPattern(steps, 255); len(text) >= 4096 {
			t.Errorf("%v is %d bytes, more than the kernel takes", e.Code, len(text))
		}
	}
	if codePause < 3*codeOff || codeGap < 2*codePause {
		t.Error("the pauses cannot be told from each other")
	}
	if fastHalf < 120*time.Millisecond {
		t.Error("more than four flashes a second")
	}
}

func TestKernelPattern(t *testing.T) {
	got := kernelPattern(signal{Blinks, 21}.steps(), 7)
	want := "0 3000 0 0 7 300 7 0 0 300 0 0 7 300 7 0 0 1500 0 0 7 300 7 0"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got, want := kernelPattern(signal{pattern: Fast}.steps(), 1), "1 125 1 0 0 125 0 0"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// A box of the picture: when the light is on, in pixels.
type box struct {
	X     int `xml:"x,attr"`
	Width int `xml:"width,attr"`
}

// Of the picture: where a row begins, how long it is, and how much time a pixel is.
const (
	pictureLeft  = 120
	pictureWidth = 768
	picturePixel = 12500 * time.Microsecond
)

// drawn is how a signal is drawn: round after round, to the end of the row.
func drawn(s signal) (all []box) {
	steps := s.steps()
	if len(steps) == 0 {
		return []box{{pictureLeft, pictureWidth}}
	}
	for x := 0; x < pictureWidth; {
		for _, st := range steps {
			w := int(st.lasts / picturePixel)
			if st.on && x < pictureWidth {
				all = append(all, box{pictureLeft + x, min(w, pictureWidth-x)})
			}
			x += w
		}
	}
	return all
}

// TestPicture compares the picture of the manual with what the light does.
func TestPicture(t *testing.T) {
	type rect struct {
		Class string `xml:"class,attr"`
		box
	}
	var picture struct {
		Groups []struct {
			ID    string `xml:"id,attr"`
			Rects []rect `xml:"rect"`
		} `xml:"g"`
	}
	if err := xml.Unmarshal([]byte(manual(t, "stick-lights.svg")), &picture); err != nil {
		t.Fatal(err)
	}
	have := map[string][]box{}
	for _, g := range picture.Groups {
		for _, r := range g.Rects {
			if r.Class == "on" {
				have[g.ID] = append(have[g.ID], r.box)
			}
		}
	}
	want := map[string][]box{}
	for id, s := range map[string]signal{"steady": {pattern: Steady}, "slow": {pattern: Slow}, "fast": {pattern: Fast}, "code": {Blinks, Unversioned}} {
		want[id] = drawn(s)
	}
	if d := cmp.Diff(want, have); d != "" {
		t.Errorf("docs/stick-lights.svg (-light +picture):\n%s", d)
	}
	if page := manual(t, "stick-codes.md"); !strings.Contains(page, "(stick-lights.svg)") {
		t.Error("docs/stick-codes.md does not show the picture")
	}
}
