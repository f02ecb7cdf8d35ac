package artifact

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
)

// A Header is what an artifact says of itself. From a Reader it is trusted, from Info it is what somebody wrote.
type Header struct {
	Name  string // of the artifact: what the device provides as artifact_name once it is installed
	Group string // what it provides as artifact_group; mostly ""

	DeviceTypes   []string // the device's type must be one of them
	DependsNames  []string // if any: the installed artifact's name must be one of them
	DependsGroups []string // if any: the device's group must be one of them

	Type     string              // of the payload, "rootfs-image" or a module's name; "" is the null payload, which has no files
	Provides map[string]string   // what the device provides once it is installed
	Depends  map[string][]string // what the device must provide: for each key one of the values

	// Clears has globs of what the device no longer provides once it is installed. An artifact that does not have them at all, which
	// is HasClears false, clears everything.
	Clears    []string
	HasClears bool

	MetaData json.RawMessage // a JSON object for the module that installs the payload; nil if there is none

	// Unknown has the keys of type-info that nobody knows. All readers let them through, and a Writer writes them as they are.
	Unknown map[string]json.RawMessage

	Scripts []Script // in the order in which they stand; a Writer sorts them and ignores what is here
}

// A Script is a state script that the artifact carries.
type Script struct {
	Name string
	Size int64
	Sum  Sum
}

// RootFS is the payload type of a root file system image.
const RootFS = "rootfs-image"

// The states whose scripts an artifact may carry; those of other states belong to the device.
var scriptName = pattern(
	`^Artifact(Install|Reboot|Commit|Rollback|RollbackReboot|Failure)_(Enter|Leave|Error)_[0-9][0-9](_[^\s/\x00-\x1f]{1,64})?$`)

// parseVersion accepts version 3 of the format.
func parseVersion(b []byte) error {
	o, err := parseObject(b, "format", "version")
	if err != nil {
		return err
	}
	format, err := o.string("format")
	if err != nil {
		return err
	}
	if format != "mender" {
		return malformed("format is %.40q, want mender", format)
	}
	v, err := strconv.Atoi(string(o["version"]))
	if err != nil {
		return malformed("version is %.40q, want a whole number", o["version"])
	}
	if v != 3 {
		return errVersion(v)
	}
	return nil
}

// parseInfo takes name, depends and payload type from header-info. That of an augmented header needs only the payload type.
func (h *Header) parseInfo(b []byte, augment bool) error {
	o, err := parseObject(b, "payloads", "artifact_provides", "artifact_depends")
	if err != nil {
		return err
	}
	if err := h.parsePayloads(o); err != nil {
		return err
	}
	if err := h.parseProvides(o, augment); err != nil {
		return err
	}
	return h.parseDepends(o, augment)
}

func (h *Header) parsePayloads(o object) error {
	list, err := o.list("payloads")
	if err != nil {
		return err
	}
	if len(list) > 1 {
		return errPayloads(len(list))
	}
	if len(list) == 0 {
		return malformed("payloads: want one")
	}
	p, err := parseObject(list[0], "type")
	if err != nil {
		return malformed("payloads: %w", err)
	}
	if string(p["type"]) == "null" {
		return nil
	}
	if h.Type, err = p.string("type"); err != nil {
		return malformed("payloads: %w", err)
	}
	return printable("payload type", h.Type)
}

func (h *Header) parseProvides(o object, augment bool) error {
	p, err := o.object("artifact_provides", "artifact_name", "artifact_group")
	if err != nil || p == nil && augment {
		return err
	}
	if h.Name, err = p.string("artifact_name"); err != nil {
		return err
	}
	if h.Group, err = p.string("artifact_group"); err != nil {
		return err
	}
	if h.Group != "" {
		err = printable("artifact_group", h.Group)
	}
	if err != nil {
		return err
	}
	return printable("artifact_name", h.Name)
}

func (h *Header) parseDepends(o object, augment bool) error {
	// A dependency that is not understood is not met: unknown keys are refused.
	d, err := o.object("artifact_depends", "device_type", "artifact_name", "artifact_group")
	if err != nil || d == nil && augment {
		return err
	}
	for key, to := range map[string]*[]string{
		"device_type": &h.DeviceTypes, "artifact_name": &h.DependsNames, "artifact_group": &h.DependsGroups,
	} {
		if *to, err = d.strings(key); err != nil {
			return err
		}
		if err := printable(key, *to...); err != nil {
			return err
		}
	}
	if len(h.DeviceTypes) == 0 {
		return malformed("artifact_depends: device_type is missing")
	}
	return nil
}

var typeInfoKeys = []string{"type", "artifact_depends", "artifact_provides", "clears_artifact_provides"}

// parseTypeInfo takes what belongs to the payload. Unknown keys are let through, as all readers do.
func (h *Header) parseTypeInfo(b []byte) error {
	o, err := parseObject(b)
	if err != nil {
		return err
	}
	if err := h.parseType(o); err != nil {
		return err
	}
	if h.Provides, err = parseProvides(o); err != nil {
		return err
	}
	if h.Depends, err = parseDepends(o); err != nil {
		return err
	}
	for key, v := range o {
		if !slices.Contains(typeInfoKeys, key) {
			if h.Unknown == nil {
				h.Unknown = make(map[string]json.RawMessage)
			}
			h.Unknown[key] = v
		}
	}
	h.HasClears = o["clears_artifact_provides"] != nil
	if h.Clears, err = o.strings("clears_artifact_provides"); err != nil {
		return err
	}
	return printable("clears_artifact_provides", h.Clears...)
}

// parseType compares the type with that of header-info. Mender's tools before 4.3.1 wrote "" for a root file system.
func (h *Header) parseType(o object) error {
	if o["type"] == nil {
		return malformed("type is missing")
	}
	have := ""
	if null := string(o["type"]) == "null"; null != (h.Type == "") {
		return malformed("type is %.80s, header-info has %q", o["type"], h.Type)
	} else if null {
		return nil
	}
	have, err := o.string("type")
	if err != nil {
		return err
	}
	if have != h.Type && !(have == "" && h.Type == RootFS) {
		return malformed("type is %.80q, header-info has %q", have, h.Type)
	}
	return nil
}

// The keys that header-info speaks of mean something else there.
var reserved = []string{"artifact_name", "artifact_group", "device_type"}

func parseProvides(o object) (map[string]string, error) {
	p, err := o.object("artifact_provides")
	if len(p) == 0 || err != nil {
		return nil, err
	}
	provides := make(map[string]string)
	for key := range p {
		if slices.Contains(reserved, key) {
			return nil, malformed("artifact_provides: %s belongs in header-info", key)
		}
		v, err := p.string(key)
		if err != nil {
			return nil, malformed("artifact_provides: %w", err)
		}
		if err := printable("artifact_provides", key); err != nil {
			return nil, err
		}
		provides[key] = v
	}
	return provides, nil
}

func parseDepends(o object) (map[string][]string, error) {
	d, err := o.object("artifact_depends")
	if len(d) == 0 || err != nil {
		return nil, err
	}
	depends := make(map[string][]string)
	for key, raw := range d {
		if slices.Contains(reserved, key) {
			return nil, malformed("artifact_depends: %s belongs in header-info", key)
		}
		values := []string{""}
		if raw[0] == '[' {
			values, err = d.strings(key)
		} else {
			values[0], err = d.string(key)
		}
		if err != nil {
			return nil, malformed("artifact_depends: %w", err)
		}
		if len(values) == 0 {
			return nil, malformed("artifact_depends: %q can never be met", key)
		}
		if err := printable("artifact_depends", key); err != nil {
			return nil, err
		}
		depends[key] = values
	}
	return depends, nil
}

// parseMetaData keeps the object as it is. No bytes are no meta-data: what a root file system has.
func (h *Header) parseMetaData(b []byte) error {
	if h.Type == "" {
		return malformed("a null payload has no meta-data")
	}
	if len(b) == 0 {
		return nil
	}
	if _, err := parseObject(b); err != nil {
		return err
	}
	h.MetaData = b
	return nil
}

// clone returns a copy that shares no memory with h that anybody writes to.
func (h Header) clone() Header {
	h.DeviceTypes, h.DependsNames, h.DependsGroups = slices.Clone(h.DeviceTypes), slices.Clone(h.DependsNames), slices.Clone(h.DependsGroups)
	h.Provides, h.Depends, h.Unknown = maps.Clone(h.Provides), maps.Clone(h.Depends), maps.Clone(h.Unknown)
	h.Clears, h.Scripts = slices.Clone(h.Clears), slices.Clone(h.Scripts)
	return h
}
