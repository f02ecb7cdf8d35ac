package install

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/plimsoll-ota/plimsoll/artifact"
)

// Keys of the provides database that order releases. plimsoll.version and
// plimsoll.floor are ours; Mender's tool can write them too, since an artifact
// may provide any key.
const (
	keyVersion       = "plimsoll.version"
	keyRootfsVersion = "rootfs-image.version"
	keyFloor         = "plimsoll.floor"
)

// versionOf returns the version that provides names, if it is a number.
func versionOf(provides map[string]string) (text string, v version, ok bool) {
	text, ok = provides[keyVersion]
	if !ok {
		text = provides[keyRootfsVersion]
	}
	v, ok = parseVersion(text)
	return text, v, ok
}

// depends checks what an artifact asks of the device before anything is
// touched: its type, what is installed, and what that provides. (Mender
// Artifact format v3, artifact_depends; an absent group does not satisfy.)
func (f Facts) depends(h *artifact.Header) error {
	if !slices.Contains(h.DeviceTypes, f.Type) {
		return fmt.Errorf("%w: it is for %s, this is %q", ErrDeviceType, quoted(h.DeviceTypes), f.Type)
	}
	if len(h.DependsNames) > 0 && !slices.Contains(h.DependsNames, f.Artifact) {
		return fmt.Errorf("%w: it needs artifact %s installed, and %s is", ErrDepends, quoted(h.DependsNames), orNone(f.Artifact))
	}
	if len(h.DependsGroups) > 0 && !slices.Contains(h.DependsGroups, f.Group) {
		return fmt.Errorf("%w: it needs group %s, and this device is in %s", ErrDepends, quoted(h.DependsGroups), orNone(f.Group))
	}
	for _, key := range slices.Sorted(maps.Keys(h.Depends)) {
		if have, ok := f.Provides[key]; !ok || !slices.Contains(h.Depends[key], have) {
			return fmt.Errorf("%w: it needs %s to be %s, and it is %s", ErrDepends, key, quoted(h.Depends[key]), orNone(have))
		}
	}
	return nil
}

func quoted(list []string) string {
	q := make([]string, len(list))
	for i, s := range list {
		q[i] = fmt.Sprintf("%q", s)
	}
	return strings.Join(q, " or ")
}

func orNone(s string) string {
	if s == "" {
		return "unknown"
	}
	return fmt.Sprintf("%q", s)
}

// provide takes a committed trial into the database: first what it clears,
// then what it provides. An artifact without a list of what it clears clears
// all. (Mender Artifact format v3, clears_artifact_provides.)
func (s *State) provide(t *Trial) {
	clears := []string{"*"}
	if t.Clears != nil {
		clears = *t.Clears
	}
	cleared := func(key string) bool {
		return slices.ContainsFunc(clears, func(glob string) bool { return match(glob, key) })
	}
	provides := maps.Clone(s.Provides)
	maps.DeleteFunc(provides, func(key, _ string) bool { return cleared(key) })
	if provides == nil {
		provides = map[string]string{}
	}
	if t.Payload == "" {
		delete(provides, keyVersion) // of the image before, which another tool's artifact knows nothing of
	}
	maps.Copy(provides, t.Provides)
	s.keepProvides(t.Source) // for a way back
	s.Provides = provides

	s.Artifact = t.Artifact
	if t.Group != "" || cleared("artifact_group") {
		s.Group = t.Group
	}
	s.keepProvides(t.Target)
}

// keepProvides notes in a slot what is installed while it runs.
func (s *State) keepProvides(slot string) {
	if s.Artifact == "" || slot == "" {
		return // not known: what was noted when it was written is better; or no slot has to do with it
	}
	have := s.Slots[slot]
	have.Artifact, have.Group, have.Provides = s.Artifact, s.Group, s.Provides
	if s.Slots == nil {
		s.Slots = map[string]SlotState{}
	}
	s.Slots[slot] = have
}

// returnTo takes the database back to what a slot provides, as far as it was
// noted when that slot ran.
func (s *State) returnTo(slot string) {
	have := s.Slots[slot]
	s.Artifact, s.Group, s.Provides = have.Artifact, have.Group, have.Provides
}

// match reports whether key is what glob describes: "*" is any run of
// characters, and everything else is itself.
func match(glob, key string) bool {
	parts := strings.Split(glob, "*")
	if len(parts) == 1 {
		return glob == key
	}
	first, last := parts[0], parts[len(parts)-1]
	rest, ok := strings.CutPrefix(key, first)
	if !ok {
		return false
	}
	for _, part := range parts[1 : len(parts)-1] {
		_, after, found := strings.Cut(rest, part)
		if !found {
			return false
		}
		rest = after
	}
	return strings.HasSuffix(rest, last)
}

// raiseFloor returns the higher of two floors. One that is not a version
// number is no floor.
func raiseFloor(a, b string) string {
	va, okA := parseVersion(a)
	vb, okB := parseVersion(b)
	switch {
	case !okB:
		return a
	case !okA || va.compare(vb) < 0:
		return b
	}
	return a
}
