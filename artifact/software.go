package artifact

import "maps"

// Software names what a payload is a version of, for the provides that are set by default. The zero value is what Mender's tool does
// without flags.
type Software struct {
	Filesystem string // "" is rootfs-image
	Name       string // of a part of it; mostly ""
	Version    string // "" is the artifact's name

	NoVersion      bool // neither a version nor anything to clear
	NoClears       bool // nothing to clear
	NoChecksum     bool // no checksum of the image
	LegacyChecksum bool // the checksum by the name it had before 2020
}

// RootfsDefaults adds to the provides and clears of h those that a root file system image has: its checksum, its version, and globs that
// clear what an earlier image provided. A key that h provides already is left as it is; clears are appended.
func (h *Header) RootfsDefaults(image Sum, s Software) {
	*h = h.clone()
	defaults := make(map[string]string)
	if !s.NoChecksum {
		key := "rootfs-image.checksum"
		if s.LegacyChecksum {
			key = "rootfs_image_checksum"
		}
		defaults[key] = image.String()
	}
	if !s.NoVersion {
		defaults[s.prefix()+".version"] = s.version(h.Name)
	}
	maps.Copy(defaults, h.Provides)
	h.Provides = defaults
	if s.NoVersion || s.NoClears {
		return
	}
	if s.prefix() == RootFS {
		h.Clears = append(h.Clears, "artifact_group", "rootfs_image_checksum")
	}
	h.Clears = append(h.Clears, s.prefix()+".*")
	h.HasClears = true
}

func (s Software) prefix() string {
	p := s.Filesystem
	if p == "" {
		p = RootFS
	}
	if s.Name != "" {
		p += "." + s.Name
	}
	return p
}

func (s Software) version(artifact string) string {
	if s.Version != "" {
		return s.Version
	}
	return artifact
}
