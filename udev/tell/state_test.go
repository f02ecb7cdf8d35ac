package tell

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// TestLines are the lines as people know them. They are not changed.
func TestLines(t *testing.T) {
	for want, m := range map[string]Message{
		"looking":                            {State: Looking},
		"waiting for permission (release-8)": {State: Waiting, Artifact: "release-8"},
		"waiting for permission (release-8): the crane is moving": {State: Waiting, Artifact: "release-8", Detail: "the crane is moving"},
		"working, do not remove (release-8)":                      {State: Working, Artifact: "release-8"},
		"working, do not remove (release-8), 30 %":                {State: Working, Artifact: "release-8", Percent: 30},
		"you may remove the stick":                                {State: Remove},
		"restarting (release-8)":                                  {State: Restarting, Artifact: "release-8"},
		"testing the new version, do not switch off (release-8)":  {State: Testing, Artifact: "release-8"},
		"updated and confirmed (release-8)":                       {State: Updated, Artifact: "release-8"},
		"up to date":                                              {State: UpToDate},
		"went back to the old version: E51 (release-8): New version did not work on this device: unit app.service is failed": {
			State: WentBack, Code: Unhealthy, Artifact: "release-8", Detail: "unit app.service is failed"},
		"failed: E31: Stick is formatted with NTFS":                               {State: Failed, Code: NTFS},
		"nothing here for this device: E21: Update is for another type of device": {State: Nothing, Code: WrongType},
		"nothing here for this device: E28: No update on the stick":               {State: Nothing},
		"failed: E99: Something else went wrong":                                  {State: Failed},
		"failed: E99: Something else went wrong: ":                                {State: Failed, Code: 77, Detail: " \x00\n"},
		"went back to the old version: E99: Something else went wrong":            {State: WentBack, Code: -1},
		"updated and confirmed":                                                   {State: Updated, Code: NTFS},
		"a state of tomorrow: E99: Something else went wrong":                     {State: "a state\nof tomorrow"},
		"working, do not remove, 100 %":                                           {State: Working, Percent: 1 << 20},
		"working, do not remove ([31mred ]0;title ?? plain moc.live): one two": {
			State: Working, Percent: -3, Artifact: "\x1b[31mred\x1b]0;title\a\xff\xc3 plain \u202emoc.live", Detail: "one\r\n\ttwo\u200b"},
	} {
		if got := m.String(); got != strings.TrimSuffix(want, ": ") {
			t.Errorf("%+q:\n got %q\nwant %q", m, got, want)
		}
	}
}

func TestLongTexts(t *testing.T) {
	m := Message{State: Failed, Code: NTFS, Artifact: strings.Repeat("ä", 10_000), Detail: strings.Repeat("\x00", 1<<20) + "x"}.clean()
	if got := utf8.RuneCountInString(m.Artifact); got != maxArtifact || !strings.HasSuffix(m.Artifact, "ä…") {
		t.Errorf("artifact has %d characters: %q", got, m.Artifact)
	}
	if m.Detail != "" {
		t.Errorf("detail %q was looked for behind a million controls", m.Detail)
	}
}

func FuzzMessage(f *testing.F) {
	f.Add("failed", 31, "release-8", "a stick")
	f.Add("looking\x1b[2J", -5, "\x9b1m", "\u202e\u0000\xff")
	f.Fuzz(func(t *testing.T, state string, code int, artifact, detail string) {
		m := Message{State(state), Code(code), artifact, detail, 0}
		s := m.String()
		if n := utf8.RuneCountInString(s); n > 600 || !utf8.ValidString(s) {
			t.Errorf("%d characters: %q", n, s)
		}
		for _, r := range s {
			if !unicode.IsPrint(r) {
				t.Errorf("%q has %U", s, r)
			}
		}
		for _, b := range []byte(ascii(s)) {
			if b < ' ' || b > '~' {
				t.Errorf("%q has byte %#x", ascii(s), b)
			}
		}
		if again := m.clean().clean(); again != m.clean() {
			t.Errorf("clean twice is %+q, once %+q", again, m.clean())
		}
	})
}
