package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
)

// yamlText returns s so that a YAML parser reads it back: as it stands where that
// is possible, and else in quotes. Numbers, and words like true, stay as they
// are: their text is the same.
func yamlText(s string) string {
	if yamlPlain(s) {
		return s
	}
	return yamlString(s)
}

// yamlList returns a list on one line, in which commas and brackets mean more
// than elsewhere.
func yamlList(all []string) string {
	texts := make([]string, len(all))
	for i, s := range all {
		if texts[i] = yamlText(s); s == "" || strings.ContainsAny(s, ",[]{}") {
			texts[i] = yamlString(s)
		}
	}
	return "[" + strings.Join(texts, ", ") + "]"
}

// yamlPlain reports whether s is itself without quotes.
func yamlPlain(s string) bool {
	if s == "" {
		return true
	}
	for _, r := range s {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return false
		}
	}
	switch {
	case strings.ContainsAny(s[:1], " ?:,[]{}#&*!|>'\"%@`"), // what begins something else
		strings.HasPrefix(s, "- "), s == "-", strings.HasPrefix(s, "---"), strings.HasPrefix(s, "..."), s == "<<",
		strings.Contains(s, ": "), strings.Contains(s, " #"), // what ends a key, or the text
		strings.HasSuffix(s, ":"), strings.HasSuffix(s, " "):
		return false
	}
	return true
}

// yamlString quotes s as JSON does, which is YAML but for characters that YAML
// has only by their number.
func yamlString(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic("plimsoll: " + err.Error()) // for a string there is none
	}
	return printableJSON(b)
}

// yamlObject returns an object with its keys sorted, indented: the lines after
// the first begin with prefix.
func yamlObject(object json.RawMessage, prefix string) string {
	if len(object) == 0 {
		return "{}"
	}
	var v map[string]any
	d := json.NewDecoder(bytes.NewReader(object))
	d.UseNumber() // a float64 would lose digits
	err := d.Decode(&v)
	if err != nil {
		return yamlString(string(object)) // so deep that nobody unfolds it
	}
	text, err := json.MarshalIndent(v, prefix, "  ")
	if err != nil {
		return yamlString(string(object))
	}
	return printableJSON(text)
}

// printableJSON writes the characters that a YAML parser refuses by their number;
// in JSON they can only be in a string.
func printableJSON(b []byte) string {
	var out strings.Builder
	for _, r := range string(b) {
		if r >= 0x7f && r <= 0x9f || r == 0xfeff || r == 0xfffe || r == 0xffff {
			fmt.Fprintf(&out, `\u%04x`, r)
		} else {
			out.WriteRune(r)
		}
	}
	return out.String()
}
