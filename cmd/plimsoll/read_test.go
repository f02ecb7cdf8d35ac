package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/plimsoll-ota/plimsoll/artifact"
)

// hard are texts that YAML could take for something else.
var hard = []string{
	"rel-1", "2.0", "1e3", "true", "null", "~", "", "-", "- a", "-a", "---", "...", "...a", "?", "? a", ":", "a:", "a: b", "a:b", "#a", "a #b", "a#b", "&a", "*a", "*",
	"rootfs-image.*", "!a", "|", ">", "'a'", `"a"`, `a "b"`, "%a", "@a", "`a", "a, b", "[a]", "a]", "{a}", "a}", " a", "a ", "a\\b", "a\nb", "a\tb", "a\x01b", "a\u007fb", "a\u0085b", "\ufeff",
	"a\u2028b", "ä", "日本", "😀", "<<", "<", "=", "0x10", "2026-11-23", "12:30", ".5", "a\u00a0b", "a=b c",
}

// What read prints is YAML, and every text in it is the one of the artifact.
func TestReadIsYAML(t *testing.T) {
	t.Parallel()
	for i, text := range hard {
		key := cmp.Or(text, "e") // the format has no empty keys
		h := artifact.Header{
			Name: text, Group: text, DeviceTypes: []string{text, "b", text}, DependsNames: []string{text}, DependsGroups: []string{text}, Type: key,
			Provides: map[string]string{key: text, "b": text}, Depends: map[string][]string{key: {text}, "c": {text, text}}, Clears: []string{text},
			Scripts: []artifact.Script{{Name: text}}, MetaData: object(t, text),
		}
		info := &artifact.Info{Header: h, Files: []artifact.FileInfo{{Name: "f_,-.1", Size: 7, ModTime: time.Unix(0, 0)}}}
		have := parseYAML(t, describe(info, signedUnknown))
		want := fmt.Sprint(map[string]any{
			"Mender Artifact": map[string]any{
				"Name": text, "Format": "mender", "Version": "3", "Signature": signedUnknown, "Compatible types": []any{text, "b", text}, "Provides group": text,
				"Depends on one of artifact(s)": []any{text}, "Depends on one of group(s)": []any{text}, "State scripts": []any{text},
			},
			"Updates": []any{map[string]any{
				"Type": key, "Provides": map[string]any{key: text, "b": text}, "Depends": map[string]any{key: text, "c": []any{text, text}},
				"Clears Provides": []any{text}, "Metadata": map[string]any{"k" + text: []any{text, "12345678901234567890", map[string]any{}}},
				"Files": []any{map[string]any{"checksum": strings.Repeat("0", 64), "modified": "1970-01-01 00:00:00 +0000 UTC", "name": "f_,-.1", "size": "7"}},
			}},
		})
		if diff := gocmp.Diff(want, fmt.Sprint(have)); diff != "" {
			t.Errorf("%d, %q (-want +have):\n%s", i, text, diff)
		}
	}
	empty := parseYAML(t, describe(&artifact.Info{Header: artifact.Header{Name: "rel-1", DeviceTypes: []string{"a"}}}, signedNot))
	if have := fmt.Sprint(empty["Updates"]); have != "[map[Clears Provides:[] Depends:map[] Files:[] Metadata:map[] Provides:map[] Type:Empty type]]" {
		t.Errorf("nothing in it: %s", have)
	}
}

// Only what must be quoted is: scripts look for the rest line by line.
func TestYAMLText(t *testing.T) {
	quoted := []string{}
	for _, s := range hard {
		if yamlText(s) != s {
			quoted = append(quoted, s)
		}
		var n yaml.Node
		err := yaml.Unmarshal([]byte("k: "+s), &n)
		if read := err == nil && n.Content[0].Content[1].Kind == yaml.ScalarNode && n.Content[0].Content[1].Value == s; read != (yamlText(s) == s) {
			if !slices.Contains([]string{"...a", "---", "...", "<<", "a\u00a0b", "a\u2028b", "a\tb", "\ufeff", ":", "-", "?", "%a"}, s) { // quoted out of caution, or for where it is a key
				t.Errorf("%q: read back without quotes: %v; %v", s, read, err)
			}
		}
	}
	if len(quoted) == 0 || len(quoted) > 40 {
		t.Errorf("quoted: %q", quoted)
	}
	if have := yamlList([]string{"a", "a, b", "*", ""}); have != `[a, "a, b", "*", ""]` {
		t.Error(have)
	}
}

// Meta-data of any depth is shown, and ends nothing.
func TestYAMLObjectDeep(t *testing.T) {
	deep := `{"a":` + strings.Repeat("[", 9999) + strings.Repeat("]", 9999) + "}"
	for _, s := range []string{deep, `{"a":` + strings.Repeat("[", 10000) + strings.Repeat("]", 10000) + "}"} {
		if have := yamlObject(json.RawMessage(s), "  "); !strings.Contains(have, "[") {
			t.Errorf("%.100s", have)
		}
	}
}

func object(t *testing.T, text string) json.RawMessage {
	t.Helper()
	b, err := json.Marshal(map[string]any{"k" + text: []any{text, json.Number("12345678901234567890"), map[string]any{}}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// parseYAML returns the document with every scalar as its text.
func parseYAML(t *testing.T, text string) map[string]any {
	t.Helper()
	var n yaml.Node
	d := yaml.NewDecoder(bytes.NewReader([]byte(text)))
	if err := d.Decode(&n); err != nil {
		t.Fatalf("%v:\n%s", err, text)
	}
	return texts(n.Content[0]).(map[string]any)
}

func texts(n *yaml.Node) any {
	switch n.Kind {
	case yaml.MappingNode:
		m := map[string]any{}
		for i := 0; i < len(n.Content); i += 2 {
			m[n.Content[i].Value] = texts(n.Content[i+1])
		}
		return m
	case yaml.SequenceNode:
		all := []any{}
		for _, c := range n.Content {
			all = append(all, texts(c))
		}
		return all
	case yaml.ScalarNode:
		return n.Value
	}
	return fmt.Sprintf("a node of kind %d", n.Kind)
}
