package module

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plimsoll-ota/plimsoll/artifact"
)

// anyone trusts all artifacts.
type anyone struct{}

func (anyone) Verify(_, _ []byte) error { return nil }

// generate has one of Mender's generators make an artifact.
func generate(t *testing.T, tool string, args ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "it.mender")
	args = append([]string{debianTool(t, tool), "-n", "release-2", "-t", "beaglebone", "-o", path}, args...)
	cmd := exec.Command("bash", args...)
	cmd.Dir = t.TempDir()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v; apt-get install mender-artifact\n%s", tool, err, out)
	}
	return path
}

// moduleImage has mender-artifact make an artifact of files.
func moduleImage(t *testing.T, payload string, files ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "it.mender")
	args := []string{"write", "module-image", "-T", payload, "-n", "release-2", "-t", "beaglebone", "-o", path}
	for _, f := range files {
		args = append(args, "-f", f)
	}
	if out, err := exec.Command("mender-artifact", args...).CombinedOutput(); err != nil {
		t.Fatalf("mender-artifact: %v\n%s", err, out)
	}
	return path
}

// prepare has a module download an artifact to a tree.
func prepare(t *testing.T, path, file string) *Module {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := artifact.Open(f, anyone{})
	if err != nil {
		t.Fatal(err)
	}
	h := r.Header()
	m := &Module{Path: path, Tree: filepath.Join(t.TempDir(), "tree"), Timeout: time.Minute}
	m.Report = func(r Report) { t.Logf("%s: %d, %v\n%s%s", r.Call, r.Code, r.Err, r.Stdout, r.Stderr) }
	if err := CreateTree(m.Tree, Info{Name: h.Name, Type: h.Type, MetaData: json.RawMessage(h.MetaData)}); err != nil {
		t.Fatal(err)
	}
	err = m.Download(t.Context(), func() (*File, error) {
		p, err := r.Next()
		if err != nil {
			return nil, err
		}
		return &File{Name: p.Name, Size: p.Size, Content: p}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func (m *Module) must(t *testing.T, state string) {
	t.Helper()
	var err error
	if state == "Cleanup" {
		err = m.Cleanup(t.Context())
	} else {
		err = m.Call(t.Context(), state)
	}
	if err != nil {
		t.Errorf("%s: %v", state, err)
	}
}

// ours are the modules of this project, on this host and on a BusyBox.
func ours(t *testing.T, name string) map[string]string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("../../packaging/modules", name))
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{"ours": path, "ours on BusyBox": onBusyBox(t, path)}
}

// onBusyBox returns a copy of a module that finds nothing but BusyBox.
func onBusyBox(t *testing.T, path string) string {
	t.Helper()
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatalf("%v: apt-get install busybox-static", err)
	}
	body, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, tool := range []string{"cat", "chmod", "cp", "mkdir", "mv", "rm", "rmdir", "sync", "tar"} {
		if err := os.Symlink(busybox, filepath.Join(dir, tool)); err != nil {
			t.Fatal(err)
		}
	}
	_, rest, _ := strings.Cut(string(body), "\n")
	script := "#!" + busybox + " sh\nPATH=" + dir + "\n" + rest
	copied := filepath.Join(dir, filepath.Base(path))
	if err := os.WriteFile(copied, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return copied
}

func modules(t *testing.T, name string) map[string]string {
	all := ours(t, name)
	all["Debian's"] = debianModule(t, name)
	return all
}

// snapshot is all that can be told of a folder and what is in it. Parts of a
// second are what tar has not, and the cp of BusyBox.
func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		what := info.Mode().String()
		switch {
		case info.Mode().IsRegular():
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			what += info.ModTime().UTC().Format(" 15:04:05 ") + string(b)
		case info.Mode()&os.ModeSymlink != 0:
			to, err := os.Readlink(path)
			if err != nil {
				return err
			}
			what += " to " + to
		}
		name, err := filepath.Rel(dir, path)
		all[name] = what
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func same(t *testing.T, when string, want map[string]string, dir string) {
	t.Helper()
	if d := cmp.Diff(want, snapshot(t, dir)); d != "" {
		t.Errorf("%s: %s", when, d)
	}
}

func put(t *testing.T, path, content string, mode os.FileMode) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// TestSingleFile runs Mender's module and ours with what Mender's generator
// makes.
func TestSingleFile(t *testing.T) {
	for whose, path := range modules(t, "single-file") {
		t.Run(whose, func(t *testing.T) {
			clean(t)
			root := t.TempDir()
			dir := filepath.Join(root, "etc", "app")
			file := filepath.Join(dir, "app.conf")
			art := generate(t, "single-file-artifact-gen", "-d", dir, put(t, filepath.Join(t.TempDir(), "app.conf"), "new\n", 0o751))
			for _, there := range []bool{true, false} {
				if there {
					put(t, file, "old\n", 0o640)
				} else if err := os.RemoveAll(filepath.Join(root, "etc")); err != nil {
					t.Fatal(err)
				}
				before := snapshot(t, root)
				m := prepare(t, path, art)
				same(t, "after Download", before, root)
				if yes, err := m.SupportsRollback(t.Context()); !yes || err != nil {
					t.Errorf("rollback: %v, %v", yes, err)
				}
				m.must(t, ArtifactInstall)
				if info, err := os.Stat(file); err != nil || read(file) != "new\n" || info.Mode() != 0o751 {
					t.Errorf("installed: %q, %v, %v", read(file), info.Mode(), err)
				}
				if needs, err := m.NeedsReboot(t.Context()); needs != NoReboot || err != nil {
					t.Errorf("reboot: %v, %v", needs, err)
				}
				after := snapshot(t, root)
				m.must(t, ArtifactRollback)
				if there || whose != "Debian's" { // which leaves what was not there before
					same(t, "after ArtifactRollback", before, root)
				}
				m.must(t, ArtifactFailure)
				m.must(t, ArtifactInstall)
				m.must(t, ArtifactCommit)
				m.must(t, "Cleanup")
				same(t, "after Cleanup", after, root)
			}
		})
	}
}

func TestDirectory(t *testing.T) {
	for whose, path := range modules(t, "directory") {
		t.Run(whose, func(t *testing.T) {
			clean(t)
			root, from := t.TempDir(), t.TempDir()
			dir := filepath.Join(root, "opt", "site")
			put(t, filepath.Join(from, "index.html"), "new\n", 0o644)
			put(t, filepath.Join(from, "cgi", "run"), "#!/bin/sh\n", 0o755)
			if err := os.Symlink("index.html", filepath.Join(from, "home.html")); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(from, 0o750); err != nil {
				t.Fatal(err)
			}
			art := generate(t, "directory-artifact-gen", "-d", dir, from)
			for _, there := range []bool{true, false} {
				if there {
					put(t, filepath.Join(dir, "index.html"), "old\n", 0o600)
					put(t, filepath.Join(dir, "gone", "later"), "old\n", 0o600)
				} else if err := os.RemoveAll(filepath.Join(root, "opt")); err != nil {
					t.Fatal(err)
				}
				before := snapshot(t, root)
				m := prepare(t, path, art)
				same(t, "after Download", before, root)
				m.must(t, ArtifactInstall)
				installed := snapshot(t, from)
				same(t, "after ArtifactInstall", installed, dir)
				m.must(t, ArtifactRollback)
				if there || whose != "Debian's" { // which leaves an empty folder
					same(t, "after ArtifactRollback", before, root)
				}
				m.must(t, ArtifactFailure)
				m.must(t, "Cleanup")
				m = prepare(t, path, art)
				m.must(t, ArtifactInstall)
				m.must(t, ArtifactCommit)
				m.must(t, "Cleanup")
				same(t, "after Cleanup", installed, dir)
				if left := snapshot(t, filepath.Dir(dir)); len(left) != len(installed)+1 {
					t.Errorf("left beside it: %v", left)
				}
			}
		})
	}
}

// TestDebianScript runs Mender's module script.
func TestDebianScript(t *testing.T) {
	clean(t)
	dir := t.TempDir()
	script := put(t, filepath.Join(dir, "it.sh"), "#!/bin/sh\necho \"$PWD\" > "+dir+"/ran\n", 0o644)
	m := prepare(t, debianModule(t, "script"), moduleImage(t, "script", script))
	if yes, err := m.SupportsRollback(t.Context()); yes || err != nil {
		t.Errorf("rollback: %v, %v", yes, err)
	}
	m.must(t, ArtifactInstall)
	if got := read(filepath.Join(dir, "ran")); got != m.Tree+"\n" {
		t.Errorf("the script left %q", got)
	}
	m.must(t, "Cleanup")
}

// TestDebianDeb runs Mender's module deb, with a dpkg that only tells of itself.
func TestDebianDeb(t *testing.T) {
	clean(t)
	bin := t.TempDir()
	put(t, filepath.Join(bin, "dpkg"), "#!/bin/sh\necho \"$*\"; cat \"$2\"\n", 0o755)
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	m := prepare(t, debianModule(t, "deb"), moduleImage(t, "deb", put(t, filepath.Join(t.TempDir(), "it_1.0_all.deb"), "package", 0o644)))
	said := ""
	m.Report = func(r Report) { said = r.Stdout.String() }
	m.must(t, ArtifactInstall)
	if want := "-i " + m.Tree + "/files/it_1.0_all.deb\npackage"; said != want {
		t.Errorf("got %q, want %q", said, want)
	}
}
