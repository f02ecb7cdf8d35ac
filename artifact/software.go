package artifact

import (
	"cmp"
	"slices"
)

// Software names what a payload is a version of, for the provides that are set by default. The zero value is what Mender's tool does
// without flags.
type Software struct {
	Filesystem string // "" is rootfs-image
	Name       string // of a part of it; mostly ""
	Version    string // "" is the artifact's name

	NoVersion      bool // nothing by default: neither a version nor anything to clear
	NoClears       bool // nothing to clear
	NoChecksum     bool // no checksum of the image
	LegacyChecksum bool // the checksum by the name it had before 2020
}

// RootfsDefaults adds to the provides and clears of h those that a root file system image has: its checksum, its version, and globs that
// clear what an earlier image provided. A key that h provides already is left as it is; clears are appended, and none stands twice.
func (h *Header) RootfsDefaults(image Sum, s Software) {
	*h = h.clone()
	if !s.NoChecksum {
		key := "rootfs-image.checksum"
		if s.LegacyChecksum {
			key = "rootfs_image_checksum"
		}
		h.provide(key, image.String())
	}
	globs := []string{s.prefix("") + ".*"}
	if s.prefix("") == RootFS {
		globs = append([]string{"artifact_group", "rootfs_image_checksum"}, globs...)
	}
	h.softwareDefaults("", s, globs)
}

// ModuleDefaults adds to the provides and clears of h those that the payload of a module has: a version, and a glob that clears what an
// earlier one of its kind provided. Without a name of the software it is that of the module. What is there already is left as it is.
func (h *Header) ModuleDefaults(s Software) {
	*h = h.clone()
	h.softwareDefaults(h.Type, s, []string{s.prefix(h.Type) + ".*"})
}

// softwareDefaults adds a version, and globs to clear.
func (h *Header) softwareDefaults(name string, s Software, globs []string) {
	if key := s.VersionKey(name); key != "" {
		h.provide(key, cmp.Or(s.Version, h.Name))
	}
	if s.NoVersion || s.NoClears {
		return
	}
	for _, g := range globs {
		if !slices.Contains(h.Clears, g) {
			h.Clears = append(h.Clears, g)
		}
	}
	h.HasClears = true
}

// provide adds a key, unless it is there.
func (h *Header) provide(key, value string) {
	if h.Provides == nil {
		h.Provides = make(map[string]string)
	}
	if _, ok := h.Provides[key]; !ok {
		h.Provides[key] = value
	}
}

// VersionKey returns the key that the version is provided by, "" if none is. name is what the software is called by default: a module's
// type, and "" for a root file system. NoVersion does without the defaults, and a Version that is given is no default.
func (s Software) VersionKey(name string) string {
	switch {
	case !s.NoVersion:
		return s.prefix(name) + ".version"
	case s.Version != "":
		return s.prefix("") + ".version"
	}
	return ""
}

func (s Software) prefix(name string) string {
	p := cmp.Or(s.Filesystem, RootFS)
	if name = cmp.Or(s.Name, name); name != "" {
		p += "." + name
	}
	return p
}
