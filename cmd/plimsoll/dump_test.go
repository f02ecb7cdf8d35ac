package main

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/plimsoll-ota/plimsoll/artifact"
)

// What no flag can say is refused, and not left out: a device would clear all where it was to clear nothing.
func TestWriteCommandSays(t *testing.T) {
	t.Parallel()
	header := func(change func(h *artifact.Header)) *artifact.Header {
		h := &artifact.Header{Name: "rel-1", DeviceTypes: []string{"bench"}, Type: "docker", Clears: []string{"a"}, HasClears: true}
		change(h)
		return h
	}
	for name, tt := range map[string]struct {
		h    *artifact.Header
		want string // what the error says; "" is none
	}{
		"plain":             {header(func(*artifact.Header) {}), ""},
		"clears all":        {header(func(h *artifact.Header) { h.Clears, h.HasClears = nil, false }), ""},
		"clears nothing":    {header(func(h *artifact.Header) { h.Clears = []string{} }), "its clears"},
		"blank in the name": {header(func(h *artifact.Header) { h.Name = "rel 1" }), ""},
		"a flag for a name": {header(func(h *artifact.Header) { h.Name = "--signed" }), ""},
		"colon in a value":  {header(func(h *artifact.Header) { h.Provides = map[string]string{"a": "b:c"} }), ""},
		"colon in a key":    {header(func(h *artifact.Header) { h.Provides = map[string]string{"a:b": "c"} }), "its provides"},
		"colon in depends":  {header(func(h *artifact.Header) { h.Depends = map[string][]string{"a:b": {"c"}} }), "its depends"},
		"a module's path":   {header(func(h *artifact.Header) { h.Type = "a/b" }), "--type"},
		"null":              {header(func(h *artifact.Header) { h.Type = "" }), ""},
		"null with a blank": {header(func(h *artifact.Header) { h.Type, h.Name = "", "rel 1" }), "whitespace"},
		"null with scripts": {header(func(h *artifact.Header) {
			h.Type, h.Scripts = "", []artifact.Script{{Name: "ArtifactInstall_Enter_00"}}
		}), "state scripts"},
	} {
		words, err := writeCommand(tt.h, artifact.Gzip, []string{"--file", "f"})
		if tt.want == "" && (err != nil || !slices.Equal(words[len(words)-4:], []string{"--compression", "gzip", "--file", "f"})) {
			t.Errorf("%s: %q, %v", name, words, err)
		}
		if tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %q, %v, want an error with %q", name, words, err, tt.want)
		}
	}
}

// Augmented artifacts are not taken apart: half of one would be left out, or taken for signed.
func TestDumpAugmented(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "files")
	call(nil, "artifact", "dump", "--files", dir, "../../testdata/vectors/c-augmented.mender").want(t, exitRefused, "an augmented artifact: not supported")
	call(nil, "artifact", "read", "../../testdata/vectors/c-augmented.mender").want(t, exitDone)
}
