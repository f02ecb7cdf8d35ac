package module

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestCreateTree(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	top := t.TempDir()
	dir := filepath.Join(top, "payloads", "0000", "tree")
	info := Info{
		CurrentName: "release-1", DeviceType: "beaglebone", Name: "release-2", Group: "all", Type: "single-file",
		HeaderInfo: json.RawMessage(`{ "payloads" : [ {"type":"single-file"} ], "artifact_provides": {"artifact_name":"<release & 2>"} }`),
		TypeInfo:   json.RawMessage("{\"type\": \"single-file\",\n \"n\": 12345678901234567890.10}\n"),
	}
	folder := os.ModeDir.String()
	want := map[string]string{
		"version": "3\n", "current_artifact_name": "release-1\n", "current_artifact_group": "", "current_device_type": "beaglebone\n",
		"header": folder, "header/artifact_name": "release-2", "header/artifact_group": "all", "header/payload_type": "single-file",
		"header/header-info": `{"artifact_provides":{"artifact_name":"<release & 2>"},"payloads":[{"type":"single-file"}]}`,
		"header/type-info":   `{"n":12345678901234567890.10,"type":"single-file"}`,
		"header/meta-data":   "null",
		"tmp":                folder,
	}
	for range 2 { // the second time, over what a module and a power cut left
		if err := CreateTree(dir, info); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, contents(t, dir)); d != "" {
			t.Error(d)
		}
		if n := len(contents(t, filepath.Dir(dir))); n != len(want)+1 {
			t.Errorf("%d files beside the tree", n-len(want)-1)
		}
		for name, mode := range map[string]os.FileMode{"": 0o700, "tmp": 0o700, "header": 0o700, "version": 0o600, "header/meta-data": 0o600} {
			if i, err := os.Stat(filepath.Join(dir, name)); err != nil || i.Mode().Perm() != mode {
				t.Errorf("%s: %v, %v, want %v", name, i.Mode(), err, mode)
			}
		}
		for _, left := range []string{"tree.new/header", "tree.old/files", "tree/files"} {
			if err := os.MkdirAll(filepath.Join(filepath.Dir(dir), left, "more"), 0o100); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := RemoveTree(dir); err != nil {
		t.Error(err)
	}
	if left := contents(t, filepath.Dir(dir)); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	if err := RemoveTree(dir); err != nil {
		t.Errorf("once more: %v", err)
	}
}

func TestMetaData(t *testing.T) {
	for raw, want := range map[string]string{"": "null", " ": "null", "null": "null", "{}": "{}", `{"b":[1,{"a":"\u003c"}],"a":null}`: `{"a":null,"b":[1,{"a":"<"}]}`} {
		dir := filepath.Join(t.TempDir(), "tree")
		if err := CreateTree(dir, Info{MetaData: json.RawMessage(raw)}); err != nil {
			t.Fatal(err)
		}
		if got := contents(t, dir)["header/meta-data"]; got != want {
			t.Errorf("%q: got %q, want %q", raw, got, want)
		}
	}
	dir := filepath.Join(t.TempDir(), "tree")
	if err := CreateTree(dir, Info{MetaData: json.RawMessage("{")}); err == nil {
		t.Error("half an object was accepted")
	}
	if left := contents(t, filepath.Dir(dir)); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestRemoveTreeRefuses(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, dir := range []string{"", "/", ".", "tree", "/tmp/../tmp/x", "/tmp/x/"} {
		if err := RemoveTree(dir); err == nil {
			t.Errorf("%q was removed", dir)
		}
	}
}

// TestMountInTree: what a module mounted and left is not the tree's.
func TestMountInTree(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tree")
	if err := CreateTree(dir, Info{}); err != nil {
		t.Fatal(err)
	}
	data := t.TempDir()
	if err := os.WriteFile(filepath.Join(data, "precious"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	at := filepath.Join(dir, "tmp", "with a blank")
	if err := os.Mkdir(at, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(data, at, "", unix.MS_BIND, ""); errors.Is(err, unix.EPERM) {
		t.Skip("only root mounts")
	} else if err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(at, unix.MNT_DETACH)
	if err := RemoveTree(dir); err != nil {
		t.Error(err)
	}
	if len(contents(t, data)) != 1 {
		t.Error("what was mounted in the tree was removed")
	}
	if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the tree: %v", err)
	}
}

func TestMountPoints(t *testing.T) {
	const info = `22 1 8:2 / / rw - ext4 /dev/sda2 rw
30 22 0:25 / /data/tree rw shared:1 - ext4 /dev/sda3 rw
31 30 0:26 / /data/tree/a\040b\134c rw - tmpfs tmpfs rw
32 22 0:27 / /data/tree2/x rw - tmpfs tmpfs rw
33 31 0:28 / /data/tree/a\040b\134c/d rw - tmpfs tmpfs rw
`
	want := []string{`/data/tree/a b\c`, `/data/tree/a b\c/d`}
	if d := cmp.Diff(want, mountPoints(info, "/data/tree")); d != "" {
		t.Error(d)
	}
}
