package external

import (
	"slices"
	"strings"
	"testing"
)

func TestWords(t *testing.T) {
	tests := []struct {
		command string
		want    []string // nil: an error
	}{
		{"sign", []string{"sign"}},
		{"  sign\t-k  key\n", []string{"sign", "-k", "key"}},
		{`sign 'two words' "and two"`, []string{"sign", "two words", "and two"}},
		{`sh -c 'a | b > "$C"'`, []string{"sh", "-c", `a | b > "$C"`}},
		{`/opt/our\ tools/sign`, []string{"/opt/our tools/sign"}},
		{`sign --name="a b"c'd'`, []string{"sign", "--name=a bcd"}},
		{`sign ''`, []string{"sign", ""}},
		{`sign "a\"b" 'a\b' a\\b`, []string{"sign", `a"b`, `a\b`, `a\b`}},
		{`sign $KEY *.pem ~ ; # a|b`, []string{"sign", "$KEY", "*.pem", "~", ";", "#", "a|b"}},
		{`sign schlüssel`, []string{"sign", "schlüssel"}},
		{"", nil},
		{" \t", nil},
		{"''", nil},
		{"sign 'open", nil},
		{`sign "open`, nil},
		{`sign \`, nil},
	}
	for _, tt := range tests {
		got, err := Words(tt.command)
		if (err != nil) != (tt.want == nil) || !slices.Equal(got, tt.want) {
			t.Errorf("%q: got %q, %v, want %q", tt.command, got, err, tt.want)
		}
	}
}

// FuzzWords: words that are quoted are the same words again.
func FuzzWords(f *testing.F) {
	for _, s := range []string{"sign", `sh -c 'a | b'`, `a\ b "c d" ''`, `'`, `\`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		words, err := Words(s)
		if err != nil {
			return
		}
		var quoted []string
		for _, w := range words {
			quoted = append(quoted, "'"+strings.ReplaceAll(w, "'", `'\''`)+"'")
		}
		again, err := Words(strings.Join(quoted, " "))
		if err != nil || !slices.Equal(again, words) {
			t.Fatalf("%q: %q, and quoted %q, %v", s, words, again, err)
		}
	})
}
