package main

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/plimsoll-ota/plimsoll/artifact"
)

// writeCommand returns the words that write an artifact again, in the order of
// mender-artifact 4.x and for that tool as well: of a root file system, too, they
// are those of a module. inputs are the flags with the files.
func writeCommand(h *artifact.Header, c artifact.Compression, inputs []string) ([]string, error) {
	kind := moduleImage
	if h.Type == "" {
		kind = bootstrapArtifact
	}
	words := []string{"write", string(kind)}
	add := func(flag string, values ...string) {
		for _, v := range values {
			words = append(words, flag, v)
		}
	}
	add("--artifact-name", h.Name)
	if h.Group != "" {
		add("--provides-group", h.Group)
	}
	add("--artifact-name-depends", h.DependsNames...)
	add("--compatible-types", h.DeviceTypes...)
	add("--depends-groups", h.DependsGroups...)
	if kind == moduleImage {
		add("--type", h.Type)
		words = append(words, "--no-default-software-version")
	}
	for _, k := range slices.Sorted(maps.Keys(h.Provides)) {
		add("--provides", k+":"+h.Provides[k])
	}
	for _, k := range slices.Sorted(maps.Keys(h.Depends)) {
		for _, v := range h.Depends[k] {
			add("--depends", k+":"+v)
		}
	}
	if kind == moduleImage {
		words = append(words, "--no-default-clears-provides")
	}
	add("--clears-provides", h.Clears...)
	add("--compression", string(c))
	if err := says(kind, words[2:], h); err != nil {
		return nil, fmt.Errorf("no command writes this artifact: %w", err)
	}
	return append(words, inputs...), nil
}

// says returns an error unless the words are understood as the header that they
// were made of. A header can say what no flag can: a list that is there and has
// nothing in it, a colon in a key.
func says(kind writeKind, words []string, h *artifact.Header) error {
	o := newWriteOptions(kind)
	o.sourceDateEpoch = ""
	cmd := &cobra.Command{}
	if o.flags(cmd); kind == moduleImage {
		o.payloadFlags(cmd)
		o.moduleFlags(cmd)
	} else if len(h.Scripts) > 0 {
		return errors.New("it has state scripts, and no payload")
	}
	if err := cmd.ParseFlags(words); err != nil {
		return err
	}
	have, _, err := o.artifact()
	if err != nil {
		return err
	}
	for _, f := range []struct {
		name       string
		have, want any
	}{
		{"name", have.Name, h.Name}, {"group", have.Group, h.Group}, {"type", have.Type, h.Type},
		{"device types", have.DeviceTypes, h.DeviceTypes},
		{"names that it depends on", have.DependsNames, h.DependsNames}, {"groups that it depends on", have.DependsGroups, h.DependsGroups},
		{"provides", have.Provides, h.Provides}, {"depends", have.Depends, h.Depends},
		{"clears", have.Clears, h.Clears}, {"clears", have.HasClears, h.HasClears},
	} {
		if !same(f.have, f.want) {
			return fmt.Errorf("its %s cannot be said by flags: %v", f.name, f.want)
		}
	}
	return nil
}

// same compares, and makes no difference between nothing and an empty list.
func same(a, b any) bool {
	x, y := reflect.ValueOf(a), reflect.ValueOf(b)
	switch x.Kind() {
	case reflect.Slice, reflect.Map:
		return x.Len() == 0 && y.Len() == 0 || reflect.DeepEqual(a, b)
	}
	return a == b
}

// oneLine returns an error if words with blanks between them would be others.
func oneLine(words []string) error {
	for _, w := range words {
		if w == "" || strings.ContainsFunc(w, unicode.IsSpace) {
			return fmt.Errorf("--print-cmdline: a blank in %q: use --print0-cmdline", w)
		}
	}
	return nil
}
