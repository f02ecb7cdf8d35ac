package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What a Mender client left is configuration enough.
func TestMenderConfig(t *testing.T) {
	t.Parallel()
	const (
		etc    = "etc/mender/mender.conf"
		shared = "var/lib/mender/mender.conf"
		typ    = "var/lib/mender/device_type"
		ours   = "etc/plimsoll/plimsoll.toml"
	)
	want := func(change func(*config)) *config {
		c := &config{DeviceType: "rpi3", StateDir: "/data/plimsoll"}
		c.Slots.A, c.Slots.B, c.Slots.Running = "/dev/mmcblk0p2", "/dev/mmcblk0p3", "mount"
		c.Trial.Boots = 3
		c.Bootloader.Kind, c.Bootloader.FwEnvConfig, c.Bootloader.Counter = "uboot", "/etc/fw_env.config", "native"
		change(c)
		return c
	}
	parts := `{"RootfsPartA": "/dev/mmcblk0p2", "RootfsPartB": "/dev/mmcblk0p3"}`
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  *config
		says  string // of the error, where there is one
	}{
		{"one file", map[string]string{etc: parts, typ: "device_type=rpi3\n"}, want(func(*config) {}), ""},
		{"the other file", map[string]string{shared: parts, typ: "device_type=rpi3"}, want(func(*config) {}), ""},
		{"/etc overrides", map[string]string{
			shared: parts, typ: "device_type=rpi3\n",
			etc: `{"RootfsPartB": "/dev/mmcblk0p5", "ServerURL": "https://example.com", "UpdatePollIntervalSeconds": 1800}`,
		}, want(func(c *config) { c.Slots.B = "/dev/mmcblk0p5" }), ""},
		{"case does not matter", map[string]string{etc: strings.ToLower(parts), typ: "# a comment\ndevice_type=rpi3\n"}, want(func(*config) {}), ""},
		{"one key", map[string]string{
			etc: `{"ArtifactVerifyKey": "/etc/mender/key.pem"}`, shared: parts, typ: "device_type=rpi3\n",
		}, want(func(c *config) { c.Trust.Keys = []string{"/etc/mender/key.pem"} }), ""},
		{"several keys", map[string]string{
			etc: `{"ArtifactVerifyKeys": ["/a.pem", "/b.pem"]}`, shared: parts, typ: "device_type=rpi3\n",
		}, want(func(c *config) { c.Trust.Keys = []string{"/a.pem", "/b.pem"} }), ""},
		{"the type elsewhere", map[string]string{
			etc: `{"DeviceTypeFile": "/elsewhere"}`, shared: parts, "elsewhere": "device_type=rpi3\n",
		}, want(func(*config) {}), ""},
		{"ours comes first", map[string]string{
			etc: parts, typ: "device_type=rpi4\n",
			ours: "device_type = \"rpi3\"\n[slots]\na = \"/dev/mmcblk0p2\"\nb = \"/dev/mmcblk0p3\"\n",
		}, want(func(*config) {}), ""},

		{"nothing", nil, nil, "plimsoll.toml"},
		{"no slots", map[string]string{etc: `{}`, typ: "device_type=rpi3\n"}, nil, "a and b are needed"},
		{"one slot", map[string]string{etc: `{"RootfsPartA": "/dev/mmcblk0p2"}`, typ: "device_type=rpi3\n"}, nil, "a and b are needed"},
		{"no device type file", map[string]string{etc: parts}, nil, "device_type"},
		{"no device type", map[string]string{etc: parts, typ: "\n"}, nil, "device_type"},
		{"empty device type", map[string]string{etc: parts, typ: "device_type=\n"}, nil, "device_type"},
		{"not JSON", map[string]string{etc: `RootfsPartA=2`, typ: "device_type=rpi3\n"}, nil, "/etc/mender/mender.conf"},
		{"not a string", map[string]string{etc: `{"RootfsPartA": 2}`, shared: parts, typ: "device_type=rpi3\n"}, nil, "rootfsparta"},
		{"a broken file of ours", map[string]string{etc: parts, typ: "device_type=rpi3\n", ours: "x ="}, nil, "plimsoll.toml"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			for name, content := range tt.files {
				must(t, os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755))
				writeFile(t, filepath.Join(root, name), content)
			}
			got, err := (&app{env: &env{root: root}}).loadConfig()
			if tt.want == nil {
				if !errors.Is(err, errConfig) || !strings.Contains(err.Error(), tt.says) {
					t.Errorf("got %v, want errConfig that says %q", err, tt.says)
				}
				callIn(t.Context(), &env{root: root}, "status").want(t, 5, tt.says)
				return
			}
			want := *tt.want
			u := usual() // Mender's configuration has no such thing as these
			want.Health, want.Data, want.Stick, want.Policy = u.Health, u.Data, u.Stick, u.Policy
			if diff := cmp.Diff(&want, got); diff != "" || err != nil {
				t.Errorf("%v\n%s", err, diff)
			}
		})
	}
}
