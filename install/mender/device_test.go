package mender

import (
	"encoding/binary"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// leafStore makes a store whose keys are all in one leaf.
func leafStore(all map[string]string) []byte {
	const page = 4096
	b := make([]byte, 3*page)
	le := binary.LittleEndian
	for i := range 2 {
		m := b[i*page:]
		m[0], m[10] = byte(i), pageMeta
		le.PutUint32(m[16:], magic)
		le.PutUint32(m[20:], dataVersion)
		le.PutUint32(m[40:], page)
		m[94], m[120], m[128], m[136], m[144] = 1, byte(len(all)), 2, 2, byte(i)
	}
	leaf, at := b[2*page:], page
	leaf[0], leaf[10] = 2, pageLeaf
	for i, key := range slices.Sorted(maps.Keys(all)) {
		at -= (nodeHeader + len(key) + len(all[key]) + 1) &^ 1
		le.PutUint16(leaf[16+2*i:], uint16(at))
		le.PutUint16(leaf[at:], uint16(len(all[key])))
		le.PutUint16(leaf[at+6:], uint16(len(key)))
		copy(leaf[at+nodeHeader:], key+all[key])
	}
	le.PutUint16(leaf[12:], uint16(16+2*len(all)))
	le.PutUint16(leaf[14:], uint16(at))
	return b
}

func put(t *testing.T, root string, files map[string]string) Folders {
	t.Helper()
	for name, text := range files {
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755))
		must(t, os.WriteFile(filepath.Join(root, name), []byte(text), 0o644))
	}
	return Under(root)
}

func TestRead(t *testing.T) {
	const store, info = "var/lib/mender/mender-store", "etc/mender/artifact_info"
	keys := func(pairs ...string) string {
		all := map[string]string{}
		for i := 0; i < len(pairs); i += 2 {
			all[pairs[i]] = pairs[i+1]
		}
		return string(leafStore(all))
	}
	const (
		v1 = `{"Version":1,"ArtifactName":"m2","ArtifactGroup":"g","ArtifactTypeInfoProvides":{"a":"b"},"ArtifactClearsProvides":["a.*"],"PayloadTypes":["rootfs-image"]}`
		v2 = `{"Version":2,"ArtifactName":"m2","PayloadTypes":["rootfs-image"],"InState":"ArtifactInstall_Enter","Failed":true,"RolledBack":false}`
	)
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  Device
		says  string // of the error, where there is one
	}{
		{"nothing", nil, Device{}, ""},
		{"a name", map[string]string{store: keys("artifact-name", "m1"), info: "artifact_name=m0\nartifact_group=g"}, Device{Artifact: "m1"}, ""},
		{"all", map[string]string{store: keys("artifact-name", "m1", "artifact-group", "g", "artifact-provides", `{"a":"b","c":""}`, "authtoken", "\xff\x00")},
			Device{Artifact: "m1", Group: "g", Provides: map[string]string{"a": "b", "c": ""}}, ""},
		{"only artifact_info", map[string]string{info: "# mine\n\nartifact_name=m0\nartifact_group=g\n"}, Device{Artifact: "m0", Group: "g"}, ""},
		{"no name in the store", map[string]string{store: keys("artifact-provides", `{"a":"b"}`), info: "artifact_name=m0"},
			Device{Artifact: "m0", Provides: map[string]string{"a": "b"}}, ""},
		{"an empty store", map[string]string{store: "", info: "artifact_name = m0 \r\n"}, Device{Artifact: "m0"}, ""},
		{"version 1", map[string]string{store: keys("artifact-name", "m1", "standalone-state", v1)}, Device{Artifact: "m1", Standalone: &Standalone{
			Version: 1, Artifact: "m2", Group: "g", Provides: map[string]string{"a": "b"}, Clears: []string{"a.*"}, Types: []string{"rootfs-image"},
		}}, ""},
		{"version 2", map[string]string{store: keys("standalone-state", v2)}, Device{Standalone: &Standalone{
			Version: 2, Artifact: "m2", Types: []string{"rootfs-image"}, InState: "ArtifactInstall_Enter", Failed: true,
		}}, ""},
		{"managed", map[string]string{store: keys("state", `{"Version":2,"Name":"update-reboot","UpdateInfo":{"ID":"1"}}`)},
			Device{Managed: &Managed{Version: 2, State: "update-reboot"}}, ""},

		{"no store", map[string]string{store: "artifact_name=m1", info: "artifact_name=m0"}, Device{}, "/mender-store: not an LMDB store"},
		{"a store cut short", map[string]string{store: keys("artifact-name", "m1")[:9000], info: "artifact_name=m0"}, Device{}, "page 2"},
		{"no map", map[string]string{store: keys("artifact-name", "m1", "artifact-provides", `["a"]`)}, Device{Artifact: "m1"}, "artifact-provides: json"},
		{"a number in the map", map[string]string{store: keys("artifact-name", "m1", "artifact-provides", `{"a":"b","c":1}`)}, Device{Artifact: "m1"}, "artifact-provides: json"},
		{"no name", map[string]string{store: keys("artifact-name", "m1\nartifact_group=g", "artifact-group", "g")}, Device{}, "artifact-name: "},
		{"no info", map[string]string{info: "m0"}, Device{}, "artifact_info: \"m0\" is not"},
		{"version 3", map[string]string{store: keys("artifact-name", "m1", "standalone-state", `{"Version":3,"ArtifactName":"m2","PayloadTypes":["x"]}`)},
			Device{Artifact: "m1", Standalone: &Standalone{Version: 3, Artifact: "m2", Types: []string{"x"}}}, "standalone-state: version 3"},
		{"an update to nothing", map[string]string{store: keys("standalone-state", `{"Version":1,"PayloadTypes":["x"]}`)},
			Device{Standalone: &Standalone{Version: 1, Types: []string{"x"}}}, "standalone-state: an update to"},
		{"two payloads", map[string]string{store: keys("standalone-state", `{"Version":1,"ArtifactName":"m2","PayloadTypes":["x","y"]}`)},
			Device{Standalone: &Standalone{Version: 1, Artifact: "m2", Types: []string{"x", "y"}}}, "with 2 payloads"},
		{"an update that is no JSON", map[string]string{store: keys("standalone-state", "{", "state", "x")}, Device{Standalone: &Standalone{}, Managed: &Managed{}}, "state: invalid"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := put(t, t.TempDir(), tt.files).Read()
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if (err == nil) != (tt.says == "") || err != nil && !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want an error that says %q", err, tt.says)
			}
		})
	}
}

// What either generation of clients accepts, and nothing that could be read in
// two ways.
func TestDeviceType(t *testing.T) {
	for text, want := range map[string]string{
		"device_type=bench\n":                                  "bench",
		"device_type=bench":                                    "bench",
		"device_type=bench\n\n\n":                              "bench",
		"device_type=bench=2\r\n":                              "bench=2",
		" device_type = bench \n":                              "bench",
		"# ours\n\nserial=7\ndevice_type=bench\n":              "bench",
		"#device_type=other\ndevice_type=bench\n":              "bench",
		"device_type=bench\ndevice_type=other\n":               "",
		"device_type=bench\ndevice_type=bench\n":               "",
		"device_type=bench\nother\n":                           "",
		"device_type=bench\nserial=1\nserial=2\n":              "",
		"device_type=\n":                                       "",
		"":                                                     "",
		"bench\n":                                              "",
		"device_type=be\x00nch\n":                              "",
		"device_type=\xff\n":                                   "",
		"=bench\ndevice_type=bench\n":                          "",
		"device_type=bench\n" + strings.Repeat("\n", maxPairs): "",
	} {
		path := filepath.Join(t.TempDir(), "device_type")
		must(t, os.WriteFile(path, []byte(text), 0o644))
		got, err := DeviceType(path)
		if got != want || (err == nil) != (want != "") || err != nil && !strings.Contains(err.Error(), path) {
			t.Errorf("%.60q: got %q, %v, want %q", text, got, err, want)
		}
	}
}
