package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const modulePath = "github.com/plimsoll-ota/plimsoll/"

// arrows is the picture of docs/design.md: which of our packages a folder may
// import. Nothing points back, and what is not here imports none of ours.
var arrows = map[string][]string{
	"artifact":            nil,
	"signing":             nil,
	"signing/external":    {"signing"},
	"partition":           nil,
	"partition/image":     {"partition"},
	"partition/files":     {"partition"},
	"bootloader":          nil,
	"bootloader/board":    {"bootloader"},
	"install":             {"artifact", "partition", "bootloader", "install/data", "install/health", "install/script", "install/module"},
	"install/data":        nil,
	"install/health":      nil,
	"install/mender":      nil,
	"install/script":      {"install/internal/process"},
	"install/module":      {"install/internal/process"},
	"install/doctor":      {"install", "partition", "bootloader"},
	"udev":                {"artifact", "udev/report", "udev/scan", "udev/tell", "udev/volume"},
	"udev/report":         {"udev/tell"},
	"udev/scan":           {"artifact"},
	"udev/prepare":        {"artifact", "udev/scan"},
	"udev/tell":           nil,
	"udev/volume":         nil,
	"remote":              {"artifact"},
	"remote/server":       {"artifact", "remote"},
	"cmd/plimsoll":        {"artifact", "signing", "signing/external", "partition", "partition/files", "partition/image", "bootloader", "bootloader/board", "install", "install/data", "install/health", "install/doctor", "install/mender", "install/module", "install/script", "udev", "udev/prepare", "udev/report", "udev/scan", "udev/tell", "udev/volume", "remote"},
	"cmd/plimsoll-server": {"remote/server"},
}

// folders are all that may hold code at the top.
var folders = []string{"cmd", "artifact", "install", "bootloader", "partition", "signing", "remote", "udev", "testdata"}

func TestArrows(t *testing.T) {
	root := filepath.Join("..", "..")
	seen := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if top, _, _ := strings.Cut(rel, "/"); !slices.Contains(folders, top) {
			t.Errorf("%s: code in a folder of its own at the top", rel)
		}
		for _, problem := range badImports(t, root, rel) {
			t.Error(problem)
		}
		seen++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 50 {
		t.Errorf("saw %d files: looked in the wrong place", seen)
	}
}

// badImports returns what a file imports against the arrows. An internal
// folder belongs to the one that holds it, unless the picture names it, and
// tests of a package may use what they need of those that stand beside it.
func badImports(t *testing.T, root, rel string) (problems []string) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, rel), nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	folder, _, _ := strings.Cut(filepath.Dir(rel), "/internal")
	test := strings.HasSuffix(rel, "_test.go")
	for _, spec := range f.Imports {
		path, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		full, ours := strings.CutPrefix(path, modulePath)
		of, _, _ := strings.Cut(full, "/internal")
		if !ours || of == folder || slices.Contains(arrows[folder], of) || slices.Contains(arrows[folder], full) || test && !strings.HasPrefix(of, "cmd/") {
			continue
		}
		problems = append(problems, rel+" imports "+of+", against the arrows")
	}
	return problems
}

func TestArrowsSeesABadImport(t *testing.T) {
	saved := arrows["install"]
	defer func() { arrows["install"] = saved }()
	arrows["install"] = []string{"artifact", "partition"}
	if len(badImports(t, filepath.Join("..", ".."), "install/act.go")) == 0 {
		t.Error("an import that is not in the picture was not seen")
	}
}
