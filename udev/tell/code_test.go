package tell

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// golden is what has left the house: manuals, stickers and programs have these
// numbers. A line may be added and none may be changed.
var golden = map[Code]int{
	Unsigned: 11, Untrusted: 12, Damaged: 13, Unfinished: 14, Renamed: 15, Unsupported: 16,
	WrongType: 21, Depends: 22, Unversioned: 23, Older: 24, BelowFloor: 25, FailedBefore: 26, NotListed: 27, NoArtifact: 28,
	NTFS: 31, ExFAT: 32, Locked: 33, Encrypted: 34, Apple: 35, UnknownFS: 36, CorruptFS: 37, StickErrors: 38, TooMuch: 39,
	TooLarge: 41, DeviceMedium: 42, StateDir: 43, BootEnv: 44, Busy: 45, Config: 46, DeviceFull: 47,
	Unhealthy: 51, NeverStarted: 52, BootIgnored: 53, Deadline: 54, TakenBack: 55, Migration: 56,
	Refused: 61, Removed: 62, Off: 63, Interrupted: 64,
	Other: 99,
}

func TestCodesAreStable(t *testing.T) {
	have := map[Code]int{}
	last := Code(0)
	for _, e := range Codes() {
		if e.Code <= last {
			t.Errorf("%v stands after %v", e.Code, last)
		}
		last = e.Code
		have[e.Code] = int(e.Code)
		if tens, units := e.Code/10, e.Code%10; tens < 1 || tens > 9 || units < 1 {
			t.Errorf("%v cannot be blinked: its digits are 1 to 9", e.Code)
		}
	}
	if d := cmp.Diff(golden, have); d != "" {
		t.Errorf("codes (-published +here):\n%s", d)
	}
	for c, n := range golden {
		if int(c) != n || c.String() != fmt.Sprintf("E%d", n) {
			t.Errorf("%v is %d, and was published as E%d", c, int(c), n)
		}
	}
	if s := Code(0).String(); s != "" {
		t.Errorf("no code is %q", s)
	}
}

// jargon is what a technician need not know.
var jargon = regexp.MustCompile(`(?i)\b(artifact|bootloader|checksum|environment|file ?system|kernel|manifest|medium|mount|partition|payload|reboot|rollback|root|shell|slot|state_dir|verify)`)

func TestCodesAreForTechnicians(t *testing.T) {
	titles := map[string]Code{}
	for _, e := range Codes() {
		sentences := regexp.MustCompile(`[.!?]( |$)`).FindAllString(e.Do, -1)
		switch {
		case len(e.Title) > 45, len(e.Do) > 160:
			t.Errorf("%v is too long: %d and %d characters", e.Code, len(e.Title), len(e.Do))
		case len(sentences) < 1 || len(sentences) > 2:
			t.Errorf("%v has %d sentences: %s", e.Code, len(sentences), e.Do)
		case strings.HasSuffix(e.Title, ".") || !strings.HasSuffix(e.Do, "."):
			t.Errorf("%v: %q, %q: the first has no full stop, the second has", e.Code, e.Title, e.Do)
		case titles[e.Title] != 0:
			t.Errorf("%v has the title of %v", e.Code, titles[e.Title])
		case jargon.MatchString(e.Title + " " + e.Do):
			t.Errorf("%v says %q: %s: %s", e.Code, jargon.FindString(e.Title+" "+e.Do), e.Title, e.Do)
		}
		titles[e.Title] = e.Code
	}
}

func TestCodesCopies(t *testing.T) {
	Codes()[0].Title = "something else"
	if Codes()[0].Title == "something else" {
		t.Error("a caller changed the table")
	}
}

func manual(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile("../../docs/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// rows returns the cells of the rows of tables whose first cell matches.
func rows(page, first string) (all [][]string) {
	match := regexp.MustCompile("^" + first + "$")
	for l := range strings.Lines(page) {
		l = strings.TrimSpace(l)
		if !strings.HasPrefix(l, "|") || !strings.HasSuffix(l, "|") {
			continue
		}
		var cells []string
		for cell := range strings.SplitSeq(l[1:len(l)-1], "|") {
			cells = append(cells, strings.TrimSpace(cell))
		}
		if match.MatchString(cells[0]) {
			all = append(all, cells)
		}
	}
	return all
}

func TestManualHasCodes(t *testing.T) {
	var want [][]string
	for _, e := range Codes() {
		want = append(want, []string{e.Code.String(), e.Title, e.Do})
	}
	if d := cmp.Diff(want, rows(manual(t, "stick-codes.md"), `E\d+`)); d != "" {
		t.Errorf("docs/stick-codes.md (-program +manual):\n%s", d)
	}
}
