package main

import (
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plimsoll-ota/plimsoll/install"
	"github.com/plimsoll-ota/plimsoll/install/mender"
)

func TestProgram(t *testing.T) {
	for name, want := range map[string]any{
		"mender": runMenderClient, "/usr/bin/mender": runMenderClient, "./mender-update": runMenderClient,
		"plimsoll": run, "/usr/bin/plimsoll": run, "": run, "mender-auth": run,
	} {
		if reflect.ValueOf(program(name)).Pointer() != reflect.ValueOf(want).Pointer() {
			t.Errorf("%q is another program", name)
		}
	}
}

// menderStore is a store of Debian's client.
func menderStore(t testing.TB, name string) string {
	t.Helper()
	f, err := os.Open(filepath.Join("../../install/mender/testdata", name+".mdb.gz"))
	must(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	must(t, err)
	b, err := io.ReadAll(z)
	must(t, err)
	return string(b)
}

// What is in Mender's files is what the device begins with; an update of
// Mender's is named; and a bench does not look at the computer that it is on.
func TestMenderOrigin(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(root, "var/lib/mender"), 0o755))
	folders := mender.Under(root)
	a := &app{env: &env{root: root}}
	if a.origin(true) != nil {
		t.Error("a bench has an origin")
	}
	writeFile(t, folders.Store(), menderStore(t, "mender-committed"))
	want := install.Origin{
		Artifact: "rel-3", Group: "fleet", Bootstrap: filepath.Join(root, "var/lib/mender/bootstrap.mender"),
		Provides: map[string]string{"rootfs-image.nothing.version": "rel-3", "site": "harbour-3"},
	}
	got, err := a.origin(false)()
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}

	writeFile(t, folders.Store(), menderStore(t, "mender-installed"))
	got, err = a.origin(false)()
	if err != nil || got.Artifact != "" || !strings.Contains(got.Update, `"rel-1"`) {
		t.Errorf("got %+v, %v", got, err)
	}

	writeFile(t, folders.Store(), "torn")
	got, err = a.origin(false)()
	if err == nil || got.Artifact != "" || got.Update != "" || !strings.Contains(err.Error(), folders.Store()) {
		t.Errorf("got %+v, %v", got, err)
	}
	a.folders = &mender.Folders{Conf: t.TempDir(), Data: t.TempDir()}
	if got, err := a.origin(true)(); err != nil || got.Artifact != "" {
		t.Errorf("got %+v, %v", got, err)
	}
}

// The options of Mender's client name its files; without them plimsoll's own
// configuration counts, and then Mender's.
func TestMenderClientConfig(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	in := func(name string) string { return filepath.Join(root, name) }
	for name, text := range map[string]string{
		"a.conf":                     `{"RootfsPartA": "/dev/a"}`,
		"b.conf":                     `{"RootfsPartA": "/dev/no", "RootfsPartB": "/dev/b"}`,
		"data/device_type":           "device_type=theirs\n",
		"var/lib/mender/mender.conf": `{"RootfsPartA": "/dev/a", "RootfsPartB": "/dev/c"}`,
		"var/lib/mender/device_type": "device_type=usual\n",
		"ours.toml":                  "device_type = \"ours\"\n[slots]\na = \"/dev/a\"\nb = \"/dev/d\"\n",
	} {
		must(t, os.MkdirAll(filepath.Dir(in(name)), 0o755))
		writeFile(t, in(name), text)
	}
	for _, tt := range []struct {
		args  []string
		typ   string
		b     place
		store string // that is asked; "" is the usual one
	}{
		{nil, "usual", "/dev/c", ""},
		{[]string{"-c", in("a.conf"), "-b", in("b.conf"), "-d", in("data")}, "theirs", "/dev/b", in("data")},
		{[]string{"--config", in("a.conf"), "--datastore", in("data")}, "theirs", "/dev/c", in("data")},
		{[]string{"-b", in("b.conf")}, "usual", "/dev/b", ""},
		{[]string{"-c", in("ours.toml"), "--data=" + in("data")}, "ours", "/dev/d", in("data")},
	} {
		m := &menderClient{app: &app{env: &env{root: root}, out: &output{}}}
		cmd := m.root()
		must(t, cmd.ParseFlags(tt.args))
		must(t, m.begin())
		c, err := m.config()
		if err != nil {
			t.Errorf("%q: %v", tt.args, err)
			continue
		}
		if c.DeviceType != tt.typ || c.Slots.B != tt.b || (m.folders != nil) != (tt.store != "") || m.folders != nil && m.folders.Data != tt.store {
			t.Errorf("%q: type %q, b %q, %+v", tt.args, c.DeviceType, c.Slots.B, m.folders)
		}
	}
}

func TestMenderArgs(t *testing.T) {
	m := &menderClient{app: &app{env: &env{}, out: &output{}}}
	for args, want := range map[string]string{
		"-config f -data=d install x":     "--config f --data=d install x",
		"-c f -d d -l info install x":     "-c f -d d -l info install x",
		"install -reboot-exit-code x":     "install --reboot-exit-code x",
		"install --stop-before=Cleanup -": "install --stop-before=Cleanup -",
		"-v":                              "-v",
		"-cf install":                     "-cf install",
		"install -- -config":              "install -- -config",
		"-commit":                         "",
		"-install x":                      "",
		"-show-artifact":                  "",
		"--commit":                        "--commit",
	} {
		got, err := menderArgs(m.root(), strings.Fields(args))
		if (err == nil) != (want != "") || err == nil && !slices.Equal(got, strings.Fields(want)) {
			t.Errorf("%q: got %q, %v, want %q", args, got, err, want)
		}
	}
}
