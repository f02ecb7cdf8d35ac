package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/plimsoll-ota/plimsoll/artifact"
)

// describe prints an artifact as mender-artifact 4.x does: it is valid YAML,
// and scripts read it line by line.
func describe(info *artifact.Info, signature string) string {
	h := info.Header
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("Mender Artifact:")
	line("  Name: %s", h.Name)
	line("  Format: mender")
	line("  Version: 3")
	line("  Signature: %s", signature)
	line("  Compatible types: [%s]", strings.Join(h.DeviceTypes, ", "))
	line("  Provides group: %s", h.Group)
	line("  Depends on one of artifact(s): [%s]", strings.Join(h.DependsNames, ", "))
	line("  Depends on one of group(s): [%s]", strings.Join(h.DependsGroups, ", "))
	if len(h.Scripts) == 0 {
		line("  State scripts: []")
	} else {
		line("  State scripts:")
	}
	for _, s := range h.Scripts {
		line("    - %s", s.Name)
	}
	line("")
	line("Updates:")
	describePayload(line, info)
	return strings.TrimSuffix(b.String(), "\n")
}

func describePayload(line func(string, ...any), info *artifact.Info) {
	h := info.Header
	if info.Augment != nil {
		line("  # augmented: what no signature covers is not shown, and never installed")
	}
	if h.Type == "" {
		line("  - Type: Empty type")
	} else {
		line("  - Type: %s", h.Type)
	}
	describeMap(line, "Provides", h.Provides)
	depends := map[string]string{}
	for k, v := range h.Depends {
		depends[k] = strings.Join(v, ", ")
		if len(v) > 1 {
			depends[k] = "[" + depends[k] + "]"
		}
	}
	describeMap(line, "Depends", depends)
	line("    Clears Provides: [%s]", strings.Join(h.Clears, ", "))
	if len(h.MetaData) == 0 {
		line("    Metadata: {}")
	} else {
		line("    Metadata: %s", h.MetaData)
	}
	if len(info.Files) == 0 {
		line("    Files: []")
		return
	}
	line("    Files:")
	for _, f := range info.Files {
		line("      - checksum: %s", f.Sum)
		line("        modified: %s", f.ModTime.UTC().Format("2006-01-02 15:04:05 +0000 UTC"))
		line("        name: %s", f.Name)
		line("        size: %d", f.Size)
	}
}

func describeMap(line func(string, ...any), name string, m map[string]string) {
	if len(m) == 0 {
		line("    %s: {}", name)
		return
	}
	line("    %s:", name)
	for _, k := range slices.Sorted(maps.Keys(m)) {
		line("      %s: %s", k, m[k])
	}
}

// infoFields is the same for programs, with all that there is.
func infoFields(info *artifact.Info, signature string) fields {
	h := info.Header
	var scripts, members, files []fields
	for _, s := range h.Scripts {
		scripts = append(scripts, fields{"name": s.Name, "size": s.Size, "sha256": s.Sum})
	}
	for _, m := range info.Members {
		members = append(members, fields{"name": m.Name, "size": m.Size, "offset": m.Offset})
	}
	for _, f := range info.Files {
		files = append(files, fields{"name": f.Name, "size": f.Size, "sha256": f.Sum})
	}
	return fields{
		"name": h.Name, "format": "mender", "version": 3, "manifest": info.ManifestSum,
		"signed": info.Signature != nil, "signature": signature, "augmented": info.Augmented,
		"device_types": h.DeviceTypes, "group": h.Group, "depends_artifacts": h.DependsNames, "depends_groups": h.DependsGroups,
		"type": h.Type, "provides": h.Provides, "depends": h.Depends, "clears_provides": h.Clears, "clears_all": !h.HasClears,
		"meta_data": h.MetaData, "scripts": scripts, "files": files, "members": members,
	}
}
