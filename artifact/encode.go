package artifact

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// The JSON that is written: the key order of Mender's writer, and nothing that is empty, as there.

const versionMember = `{"format":"mender","version":3}`

type infoJSON struct {
	Payloads []payloadJSON `json:"payloads"`
	Provides struct {
		Name  string `json:"artifact_name"`
		Group string `json:"artifact_group,omitempty"`
	} `json:"artifact_provides"`
	Depends struct {
		Names       []string `json:"artifact_name,omitempty"`
		DeviceTypes []string `json:"device_type"`
		Groups      []string `json:"artifact_group,omitempty"`
	} `json:"artifact_depends"`
}

type payloadJSON struct {
	Type *string `json:"type"`
}

type typeInfoJSON struct {
	Type     *string           `json:"type"`
	Depends  map[string]any    `json:"artifact_depends,omitempty"`
	Provides map[string]string `json:"artifact_provides,omitempty"`
	Clears   *[]string         `json:"clears_artifact_provides,omitempty"`
}

// payloadType is nil for the null payload.
func (h *Header) payloadType() *string {
	if h.Type == "" {
		return nil
	}
	return &h.Type
}

// encodeInfo returns header-info, which parses: what this package writes it reads.
func (h *Header) encodeInfo() ([]byte, error) {
	var j infoJSON
	j.Payloads = []payloadJSON{{h.payloadType()}}
	j.Provides.Name, j.Provides.Group = h.Name, h.Group
	j.Depends.Names, j.Depends.DeviceTypes, j.Depends.Groups = h.DependsNames, h.DeviceTypes, h.DependsGroups
	b, err := json.Marshal(j)
	if err == nil {
		err = new(Header).parseInfo(b, false)
	}
	if err != nil {
		return nil, fmt.Errorf("header-info: %w", err)
	}
	return b, nil
}

// encodeTypeInfo returns type-info, which parses. A single value is written as a string: the C++ client knows no lists there.
func (h *Header) encodeTypeInfo() ([]byte, error) {
	j := typeInfoJSON{Type: h.payloadType(), Depends: make(map[string]any), Provides: h.Provides}
	for key, values := range h.Depends {
		if j.Depends[key] = values; len(values) == 1 {
			j.Depends[key] = values[0]
		}
	}
	if h.HasClears || len(h.Clears) > 0 {
		clears := append([]string{}, h.Clears...)
		j.Clears = &clears
	}
	b, err := json.Marshal(j)
	if err == nil {
		b, err = h.appendUnknown(b)
	}
	if err == nil {
		err = (&Header{Type: h.Type}).parseTypeInfo(b)
	}
	if err != nil {
		return nil, fmt.Errorf("type-info: %w", err)
	}
	return b, nil
}

// appendUnknown adds to the object b what nobody knows, as it came.
func (h *Header) appendUnknown(b []byte) ([]byte, error) {
	for _, key := range slices.Sorted(maps.Keys(h.Unknown)) {
		name, err := json.Marshal(key)
		if err != nil {
			return nil, err
		}
		b = append(append(b[:len(b)-1], ','), name...)
		b = append(append(append(b, ':'), h.Unknown[key]...), '}')
	}
	return b, nil
}

// Check returns an error if h cannot be written, which an artifact that was read is not to blame for.
func (h *Header) Check() error {
	if err := h.check(); err != nil {
		return fmt.Errorf("header: %v", err)
	}
	return nil
}

// check returns an error if h cannot be written.
func (h *Header) check() error {
	if _, err := h.encodeInfo(); err != nil {
		return err
	}
	if _, err := h.encodeTypeInfo(); err != nil {
		return err
	}
	if h.MetaData != nil {
		if err := (&Header{Type: h.Type}).parseMetaData(h.MetaData); err != nil {
			return fmt.Errorf("meta-data: %w", err)
		}
	}
	return nil
}
