package report

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// sample is a report as a device leaves it.
func sample() Report {
	const first, second = "0b9b1a3e-5b1c-4f0a-8a53-2f3c5a3b1d20", "6c1f62c0-3d5e-4d4e-9c38-1f0f5ad7a001"
	return Report{
		Schema: 1, Serial: "SN-0042", Store: "ab12cd34", Sequence: 12, Revision: 3, Final: true,
		DeviceType: "raspberrypi4", Before: Artifact{"rel-7", "1.7.0"}, After: Artifact{"rel-7", "1.7.0"}, Tried: Artifact{"rel-8", "1.8.0"},
		Manifest: strings.Repeat("5e", 32), Result: "went back to the old version", Code: "E51", Detail: "the application did not answer on port 8080 within 120 s",
		Health: &Health{Problems: []string{"service app.service: failed", "http://localhost:8080/: no answer"}},
		Phases: []Phase{
			{"looking", "2026-11-25T12:50:01Z", 812.4, first}, {"working, do not remove", "2026-11-25T12:50:03Z", 814.061, first},
			{"restarting", "2026-11-25T12:52:40Z", 971.2, first}, {"testing the new version, do not switch off", "2026-11-25T12:53:20Z", 9.8, second},
		},
		Time: "2026-11-25T12:56:42Z", ClockSet: true, Uptime: 42.5, BootID: second, Stick: "1A2B-3C4D", Plimsoll: "0.4.0",
	}
}

// largest is a report with every field at its bound, of characters that take
// the most room.
func largest() Report {
	full := func(n int) string { return strings.Repeat(`"\`, n) }
	a := Artifact{full(maxName), full(maxVersion)}
	r := Report{
		Serial: full(maxID), Store: strings.Repeat("f", 16), Sequence: math.MaxInt64, Revision: math.MaxInt32, DeviceType: full(maxID),
		Before: a, After: a, Tried: a, Manifest: full(maxWord), Result: full(maxWord), Code: full(maxWord), Detail: full(maxDetail),
		Health: &Health{More: math.MaxInt32}, Time: "2026-11-25T12:56:42Z", ClockSet: true, Uptime: 1e300, BootID: full(maxWord),
		Stick: full(maxID), Plimsoll: full(maxVersion), LogSHA256: full(maxWord),
	}
	for range 100 {
		r.Phases = append(r.Phases, Phase{full(maxWord), "2026-11-25T12:56:42Z", 1e300, full(maxWord)})
		r.Health.Problems = append(r.Health.Problems, full(maxProblem))
	}
	return r
}

type edKey struct{ ed25519.PrivateKey }

func newKey(seed byte) edKey { return edKey{ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, 32))} }

func (k edKey) Sign(b []byte) ([]byte, error) { return ed25519.Sign(k.PrivateKey, b), nil }

func (k edKey) Verify(b, sig []byte) error {
	if !ed25519.Verify(k.Public().(ed25519.PublicKey), b, sig) {
		return errors.New("another key")
	}
	return nil
}

// sizedSigner gives signatures of some size.
type sizedSigner int

func (n sizedSigner) Sign([]byte) ([]byte, error) { return make([]byte, n), nil }

func encode(t testing.TB, r Report, s Signer) []byte {
	t.Helper()
	b, err := Encode(r, s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestEncodeAndParse(t *testing.T) {
	for name, r := range map[string]Report{
		"a report": sample(), "the least": {Schema: 1, Sequence: 1, Revision: 1, Result: "failed"},
	} {
		for _, padding := range []int{0, 3000} {
			b := encode(t, r, newKey(1))
			s, err := Parse(append(b, blank(padding)...))
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if d := cmp.Diff(r, s.Report); d != "" {
				t.Errorf("%s: wrote -, read +\n%s", name, d)
			}
			if newKey(1).Verify(s.Message, s.Signature) != nil || newKey(2).Verify(s.Message, s.Signature) == nil {
				t.Errorf("%s: the signature is not of its bytes", name)
			}
			if !bytes.Contains(b, s.Message) {
				t.Errorf("%s: what is verified is not what is there", name)
			}
		}
	}
}

// TestEncodeBounds: whatever is in it, an envelope fits a file with room for the
// largest signature, and reads as what it was shortened to.
func TestEncodeBounds(t *testing.T) {
	r := largest()
	b := encode(t, r, sizedSigner(maxSignature))
	if len(b) > fileSize {
		t.Errorf("%d bytes, at most %d", len(b), fileSize)
	}
	s, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	if !s.Shortened || len(s.Message) > maxJSON {
		t.Errorf("shortened: %v, %d bytes", s.Shortened, len(s.Message))
	}
	if again := encode(t, s.Report, nil); !bytes.Contains(again, s.Message) {
		t.Errorf("what was read is written otherwise")
	}
	if len(r.Phases) != 100 || len(r.Health.Problems) != 100 {
		t.Error("the caller's report was changed")
	}
	if r := sample(); bytes.Contains(encode(t, r, nil), []byte("shortened")) {
		t.Error("an ordinary report is shortened")
	}
}

// TestShortenedMiddle: how an attempt began and ended is kept.
func TestShortenedMiddle(t *testing.T) {
	r := sample()
	r.Phases = nil
	for i := range maxPhases {
		r.Phases = append(r.Phases, Phase{Name: fmt.Sprintf("%d %s", i, strings.Repeat("x", maxWord)), BootID: strings.Repeat("y", maxWord)})
	}
	r.Detail, r.Tried.Name = strings.Repeat("z", maxDetail), strings.Repeat(`"`, maxName)
	s, err := Parse(encode(t, r, nil))
	if err != nil {
		t.Fatal(err)
	}
	n := len(s.Phases)
	if n < 5 || n == maxPhases || !strings.HasPrefix(s.Phases[0].Name, "0 ") || !strings.HasPrefix(s.Phases[n-1].Name, "31 ") {
		t.Errorf("%d phases, from %.5q", n, s.Phases[0].Name)
	}
	if len(s.Health.Problems) != 2 {
		t.Errorf("problems went before phases: %v", s.Health.Problems)
	}
}

func TestEncodeRefuses(t *testing.T) {
	for name, change := range map[string]func(*Report){
		"no sequence": func(r *Report) { r.Sequence = 0 }, "a negative one": func(r *Report) { r.Sequence = -1 },
		"no result": func(r *Report) { r.Result = "\x1b\n" },
	} {
		r := sample()
		change(&r)
		if _, err := Encode(r, nil); !errors.Is(err, ErrReport) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	for _, n := range []int{0, maxSignature + 1} {
		if _, err := Encode(sample(), sizedSigner(n)); err == nil {
			t.Errorf("a signature of %d bytes was taken", n)
		}
	}
}

func TestParse(t *testing.T) {
	b := string(encode(t, sample(), newKey(1)))
	// resum gives an object its checksum: what is beneath it is then looked at.
	resum := func(object string) string { return envelope(object) }
	tests := []struct {
		name, in string
		want     error
	}{
		{"as it is", b, nil},
		{"nothing", "", ErrTorn},
		{"blank", string(blank(fileSize)), ErrTorn},
		{"zeros", string(make([]byte, fileSize)), ErrTorn},
		{"something after it", b + "x", ErrTorn},
		{"another after it", b + b, ErrTorn},
		{"zeros after it", b + "\x00", ErrTorn},
		{"no checksum", `{"report":{"schema":1,"sequence":1,"result":"failed"}}`, ErrTorn},
		{"one letter is another", strings.Replace(b, "rel-8", "rel-9", 1), ErrTorn},
		{"a blank more", strings.Replace(b, `"schema":1`, `"schema": 1`, 1), ErrTorn},
		{"null", "null", ErrTorn},
		{"a report of null", resum("null"), ErrReport},
		{"a list", "[]", ErrTorn},
		{"a report that is a list", resum("[]"), ErrReport},
		{"a checksum of nothing", `{"sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}`, ErrReport},
		{"no schema", resum(`{"sequence":1,"result":"failed"}`), ErrReport},
		{"no sequence", resum(`{"schema":1,"result":"failed"}`), ErrReport},
		{"a fraction for a sequence", resum(`{"schema":1,"sequence":1.5,"result":"failed"}`), ErrReport},
		{"a sequence without end", resum(`{"schema":1,"sequence":` + strings.Repeat("9", 60) + `,"result":"failed"}`), ErrReport},
		{"no result", resum(`{"schema":1,"sequence":1}`), ErrReport},
		{"deep", resum(strings.Repeat("[", 20000) + strings.Repeat("]", 20000)), ErrTorn},
		{"a later schema and unknown fields", resum(`{"schema":9,"sequence":1,"result":"failed","mood":{"good":[1]}}`), nil},
		{"an empty signature", strings.TrimSuffix(resum(`{"schema":1,"sequence":1,"result":"failed"}`), "}") + `,"signature":""}`, ErrReport},
		{"a signature that is not base64", strings.TrimSuffix(resum(`{"schema":1,"sequence":1,"result":"failed"}`), "}") + `,"signature":"?"}`, ErrReport},
	}
	for _, tt := range tests {
		s, err := Parse([]byte(tt.in))
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
		}
		if tt.want == nil && (s == nil || s.Sequence == 0) {
			t.Errorf("%s: got %v", tt.name, s)
		}
	}
}

// TestParseCleans: what anybody wrote is harmless as soon as it is read.
func TestParseCleans(t *testing.T) {
	s, err := Parse([]byte(envelope(`{"schema":1,"sequence":1,"serial":"\u001b[2JSN\n1\u202e","store":"../..","result":"up to date\r\nE51","uptime":1e308,
		"time":"2026-11-25T13:56:42+01:00","revision":-7,"phases":[{"name":"\u0000\u0007","time":"yesterday","uptime":-1}],"health":{"more":-5,"problems":["a\u2028b"]}}`)))
	if err != nil {
		t.Fatal(err)
	}
	want := Report{
		Schema: 1, Sequence: 1, Revision: 1, Serial: "[2JSN 1", Result: "up to date E51", Uptime: maxUptime, Time: "2026-11-25T12:56:42Z",
		Phases: []Phase{{}}, Health: &Health{Problems: []string{"a b"}},
	}
	if d := cmp.Diff(want, s.Report); d != "" {
		t.Errorf("want -, got +\n%s", d)
	}
}

func TestLine(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"", ""},
		{"plain", "plain"},
		{"  two \t words\r\n", "two words"},
		{"\x1b[31mred", "[31mred"},
		{"caf\xe9", "caf"},
		{"Größe µ 漢字", "Größe µ 漢字"},
		{"a\u202eb\u2066c\ufeffd\u00a0e", "a b c d e"},
		{strings.Repeat("x", 21), strings.Repeat("x", 17) + "…"},
		{strings.Repeat("ß", 11), strings.Repeat("ß", 8) + "…"},
		{strings.Repeat(" ", 1e6) + "x", ""},
	} {
		got := line(tt.in, 20)
		if got != tt.want || line(got, 20) != got {
			t.Errorf("%.30q: got %q, then %q; want %q", tt.in, got, line(got, 20), tt.want)
		}
	}
}

const golden = `plimsoll report 12 of device SN-0042

Result:       went back to the old version: E51
Detail:       the application did not answer on port 8080 within 120 s
Device type:  raspberrypi4
Before:       rel-7 (1.7.0)
After:        rel-7 (1.7.0)
Tried:        rel-8 (1.8.0)
Manifest:     5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e
When:         2026-11-25T12:56:42Z
Boot:         6c1f62c0-3d5e-4d4e-9c38-1f0f5ad7a001, 42.5 s after its start
Health:       problems: 2
    - service app.service: failed
    - http://localhost:8080/: no answer
Stick:        1A2B-3C4D
plimsoll:     0.4.0
Revision:     3

What it went through (seconds since the start of the device):
       812.4 s  looking
       814.1 s  working, do not remove
       971.2 s  restarting
    (the device started again)
         9.8 s  testing the new version, do not switch off

End of report 12.
`

func TestText(t *testing.T) {
	if d := cmp.Diff(strings.ReplaceAll(golden, "\n", "\r\n"), sample().Text()); d != "" {
		t.Errorf("want -, got +\n%s", d)
	}
	r := Report{Sequence: 1, Result: "restarting"}
	for _, want := range []string{"device without a serial number\r\n", "This is not the end of it", "When:         clock not set\r\n", "Boot:         0.0 s after its start\r\n"} {
		if !strings.Contains(r.Text(), want) {
			t.Errorf("no %q in\n%s", want, r.Text())
		}
	}
}

// checkText: what holds for every text.
func checkText(t *testing.T, s string) {
	t.Helper()
	lines := strings.Split(s, "\r\n")
	last := lines[len(lines)-1]
	if n := len(lines) - 1; n > maxLines || len(s) > fileSize || last != "" || !strings.HasPrefix(lines[n-1], "End of report ") {
		t.Errorf("%d lines, %d bytes, the last is %q", n, len(s), lines[n-1])
	}
	for _, l := range lines {
		if utf8.RuneCountInString(l) > textWidth+2 || strings.ContainsFunc(l, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("line %q", l)
		}
	}
}

func TestTextBounds(t *testing.T) {
	wide := largest()
	for _, s := range []*string{&wide.Detail, &wide.Result, &wide.Serial, &wide.Tried.Name} {
		*s = strings.Repeat("漢", 5000)
	}
	for i := range wide.Phases {
		wide.Phases[i].Name, wide.Phases[i].BootID = strings.Repeat("漢", 5000), fmt.Sprint(i)
		wide.Health.Problems[i] = strings.Repeat("漢", 5000)
	}
	for _, r := range []Report{sample(), largest(), wide, {Detail: strings.Repeat("\n", 100)}} {
		checkText(t, r.Text())
	}
	r := sample()
	r.Phases = slices.Repeat(r.Phases, 8)
	if s := r.Text(); !strings.Contains(s, "16 earlier ones") || !strings.Contains(s, "testing the new version") {
		t.Errorf("the end of the phases is missing:\n%s", s)
	}
}

func TestFolderName(t *testing.T) {
	seen := map[string]string{}
	for _, tt := range []struct {
		serial string
		asIs   bool
	}{
		{"SN-0042", true}, {"10000000a1b2c3d4", true}, {"a.b_c", true}, {strings.Repeat("x", 64), true},
		{"", false}, {".", false}, {"..", false}, {"../../etc", false}, {"a/b", false}, {`a\b`, false}, {"a:b", false}, {".hidden", false}, {"ends.", false},
		{"CON", false}, {"nul.txt", false}, {"Com1", false}, {"07.json", false}, {"x.TXT", false}, {"spa ce", false}, {"über", false}, {"_mine", false},
		{strings.Repeat("x", 65), false}, {"a\x00b", false}, {"-rf", true}, {"*", false}, {"?", false},
	} {
		got := folderName(tt.serial)
		if (got == tt.serial) != tt.asIs {
			t.Errorf("%q: got %q", tt.serial, got)
		}
		if len(got) == 0 || len(got) > 64 || strings.ContainsAny(got, "/\\:*?\"<>|\x00 ") || strings.Trim(got, ".") != got {
			t.Errorf("%q: got %q, which not every file system holds", tt.serial, got)
		}
		if other, ok := seen[strings.ToLower(got)]; ok {
			t.Errorf("%q and %q are both %q", tt.serial, other, got)
		}
		seen[strings.ToLower(got)] = tt.serial
	}
}
