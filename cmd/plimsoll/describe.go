package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/plimsoll-ota/plimsoll/artifact"
)

// describe prints an artifact as mender-artifact 4.x does: scripts read it line
// by line, and it is YAML. That tool quotes nothing; here what would not be read
// as the text that it is stands in quotes.
func describe(info *artifact.Info, signature string) string {
	h := info.Header
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("Mender Artifact:")
	line("  Name: %s", yamlText(h.Name))
	line("  Format: mender")
	line("  Version: 3")
	line("  Signature: %s", signature)
	line("  Compatible types: %s", yamlList(h.DeviceTypes))
	line("  Provides group: %s", yamlText(h.Group))
	line("  Depends on one of artifact(s): %s", yamlList(h.DependsNames))
	line("  Depends on one of group(s): %s", yamlList(h.DependsGroups))
	if len(h.Scripts) == 0 {
		line("  State scripts: []")
	} else {
		line("  State scripts:")
	}
	for _, s := range h.Scripts {
		line("    - %s", yamlText(s.Name))
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
		line("  - Type: %s", yamlText(h.Type))
	}
	provides, depends := map[string]string{}, map[string]string{}
	for k, v := range h.Provides {
		provides[k] = yamlText(v)
	}
	for k, v := range h.Depends {
		if depends[k] = yamlList(v); len(v) == 1 {
			depends[k] = yamlText(v[0])
		}
	}
	describeMap(line, "Provides", provides)
	describeMap(line, "Depends", depends)
	line("    Clears Provides: %s", yamlList(h.Clears))
	if meta := yamlObject(h.MetaData, "      "); meta == "{}" {
		line("    Metadata: {}")
	} else {
		line("    Metadata:\n      %s", meta)
	}
	if len(info.Files) == 0 {
		line("    Files: []")
		return
	}
	line("    Files:")
	for _, f := range info.Files {
		line("      - checksum: %s", f.Sum)
		line("        modified: %s", f.ModTime.UTC().Format("2006-01-02 15:04:05 +0000 UTC"))
		line("        name: %s", yamlText(f.Name))
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
		line("      %s: %s", yamlText(k), m[k])
	}
}

// infoFields is the same for programs, with all that there is.
func infoFields(info *artifact.Info) fields {
	h := info.Header
	var scripts, files []fields
	for _, s := range h.Scripts {
		scripts = append(scripts, fields{"name": s.Name, "size": s.Size, "sha256": s.Sum})
	}
	for _, f := range info.Files {
		files = append(files, fields{"name": f.Name, "size": f.Size, "sha256": f.Sum, "modified": f.ModTime.UTC(), "augmented": f.Augmented})
	}
	f := fields{
		"name": h.Name, "format": "mender", "version": 3, "manifest": info.ManifestSum,
		"signed": info.Signature != nil, "augmented": info.Augmented,
		"device_types": h.DeviceTypes, "group": h.Group, "depends_artifacts": h.DependsNames, "depends_groups": h.DependsGroups,
		"type": h.Type, "provides": h.Provides, "depends": h.Depends, "clears_provides": h.Clears, "clears_all": !h.HasClears,
		"meta_data": h.MetaData, "scripts": scripts, "files": files,
	}
	if info.Signature != nil {
		f["signature_bytes"] = len(info.Signature)
	}
	return f
}
