package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
)

// FuzzConfiguration: a configuration that is accepted is complete, and keeps its meaning when it is written and read again.
func FuzzConfiguration(f *testing.F) {
	f.Add([]byte(benchConfig))
	f.Add([]byte("device_type = \"a\"\n[slots]\na = 2\nb = 3\n[trust]\nallow_unsigned = true\n[stick]\nstore = \"s\"\n[health]\ndisk_free = {\"/\" = \"1MiB\"}\n"))
	f.Add([]byte("device_type = \"a\"\n[slots]\na = \"/dev/a\"\nb = \"PARTUUID=1\"\n[data]\ncarry = [\"/etc/a\"]\n[policy]\nmin_age = \"1h\"\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), "plimsoll.toml")
		must(t, os.WriteFile(path, b, 0o600))
		c, err := parseConfig(path)
		if err != nil {
			return
		}
		if c.DeviceType == "" || c.Slots.A == "" || c.Slots.B == "" || c.Slots.A == c.Slots.B || c.Trial.Boots < 1 {
			t.Errorf("accepted, and it is %+v", c)
		}
		var keys map[string]any
		if _, err := toml.Decode(string(b), &keys); err != nil {
			t.Fatal(err)
		}
		var again bytes.Buffer
		if err := toml.NewEncoder(&again).Encode(keys); err != nil {
			return // the encoder has no word for an array of two types
		}
		must(t, os.WriteFile(path, again.Bytes(), 0o600))
		if second, err := parseConfig(path); err != nil || !reflect.DeepEqual(c, second) {
			t.Errorf("%+v became %+v, %v", c, second, err)
		}
	})
}

// FuzzMenderConf: a mender.conf that is accepted gives a configuration that is, and the same one again.
func FuzzMenderConf(f *testing.F) {
	f.Add([]byte(`{"RootfsPartA":"/dev/mmcblk0p2","RootfsPartB":"/dev/mmcblk0p3","ArtifactVerifyKey":"/k","StateScriptTimeoutSeconds":60}`), []byte(`{}`))
	f.Add([]byte(`{"rootfsparta":"/dev/a2","ROOTFSPARTB":"/dev/a3","ArtifactVerifyKeys":["a","b"]}`), []byte(`{"RootfsPartA":"/dev/b","ModuleTimeoutSeconds":4294967295}`))
	f.Fuzz(func(t *testing.T, conf, fallback []byte) {
		dir := t.TempDir()
		files := menderFiles{conf: filepath.Join(dir, "conf"), fallback: filepath.Join(dir, "fallback"), data: dir}
		must(t, os.WriteFile(files.conf, conf, 0o600))
		must(t, os.WriteFile(files.fallback, fallback, 0o600))
		must(t, os.WriteFile(filepath.Join(dir, "device_type"), []byte("device_type=a\n"), 0o600))
		c, err := loadMenderConfig(files, dir)
		if err != nil {
			return
		}
		if c.DeviceType == "" || c.Slots.A == "" || c.Slots.B == "" || c.Slots.A == c.Slots.B || c.Scripts.Timeout < 0 || c.Modules.Timeout < 0 {
			t.Errorf("accepted, and it is %+v", c)
		}
		var compact bytes.Buffer
		must(t, json.Compact(&compact, conf))
		must(t, os.WriteFile(files.conf, compact.Bytes(), 0o600))
		if second, err := loadMenderConfig(files, dir); err != nil || !reflect.DeepEqual(c, second) {
			t.Errorf("%+v became %+v, %v", c, second, err)
		}
	})
}

// fuzzed are the parsers of foreign bytes, and their targets. A target that is not here is not missed when it goes.
var fuzzed = map[string][]string{
	"artifact":         {"FuzzManifest", "FuzzHeader", "FuzzOpen", "FuzzCodecs", "FuzzMembers", "FuzzGzip", "FuzzXZ", "FuzzZstd"},
	"signing":          {"FuzzParsePrivateKey", "FuzzParsePublicKeys", "FuzzVerify", "FuzzAccept"},
	"signing/external": {"FuzzWords", "FuzzParseToken", "FuzzSlots", "FuzzObjects"},
	"bootloader":       {"FuzzParseEnv", "FuzzConfig"},
	"bootloader/board": {"FuzzProfile"},
	"install":          {"FuzzVersions", "FuzzState"},
	"install/data":     {"FuzzManifest"},
	"install/mender":   {"FuzzStore", "FuzzPairs", "FuzzRecords"},
	"install/script":   {"FuzzParseName"},
	"partition":        {"FuzzParseTable", "FuzzParseMount", "FuzzBootArgs"},
	"partition/image":  {"FuzzGrowing"},
	"udev/report":      {"FuzzParse", "FuzzRead", "FuzzOpen"},
	"udev/scan":        {"FuzzPrintable", "FuzzParseSerials", "FuzzLook"},
	"udev/tell":        {"FuzzMessage"},
	"udev/volume":      {"FuzzIdentify", "FuzzReadTable"},
	"cmd/plimsoll":     {"FuzzConfiguration", "FuzzMenderConf", "FuzzPackages"},
	"partition/files":  {"FuzzTree"},
}

// TestFuzzed: each target that should be there is.
func TestFuzzed(t *testing.T) {
	target := regexp.MustCompile(`(?m)^func (Fuzz\w+)\(f \*testing\.F\)`)
	for folder, want := range fuzzed {
		paths, err := filepath.Glob(filepath.Join("../..", folder, "*_test.go"))
		must(t, err)
		var have []string
		for _, path := range paths {
			for _, m := range target.FindAllStringSubmatch(readFile(t, path), -1) {
				have = append(have, m[1])
			}
		}
		for _, name := range want {
			if !slices.Contains(have, name) {
				t.Errorf("%s has no %s, only %s", folder, name, strings.Join(have, ", "))
			}
		}
	}
}
