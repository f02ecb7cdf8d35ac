package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestConfigStick(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"nothing":                 {"", ""},
		"all of it":               {"[stick]\nenable = false\nunversioned = \"allow\"\nreboot = \"when-unplugged\"\nled = \"status:green\"\nconsole = []\nhook = [\"/usr/bin/beep\", \"-l\"]\nserial = \"SN-1\"\n[policy]\nbefore_install = [\"/usr/bin/idle\"]\nbefore_reboot = [\"/usr/bin/idle\", \"now\"]\ninterval = \"10s\"\ntimeout = \"5s\"\n[report]\nkey = \"device.pem\"\nlog_key = \"office.pem\"", ""},
		"a misspelt word":         {"[stick]\nunversioned = \"alow\"", `"refuse" or "allow", not "alow"`},
		"a reboot at some time":   {"[stick]\nreboot = \"later\"", `not "later"`},
		"an LED elsewhere":        {"[stick]\nled = \"../../proc\"", "/sys/class/leds"},
		"two serials":             {"[stick]\nserial = \"1\"\nserial_file = \"/x\"", "exclude each other"},
		"a hook to be found":      {"[stick]\nhook = [\"beep\"]", "whole path"},
		"a gate to be found":      {"[policy]\nbefore_install = [\"idle\"]", "whole path"},
		"a gate without patience": {"[policy]\ninterval = \"0s\"", "times"},
		"unknown":                 {"[report]\nkeys = []", "unknown key report.keys"},
	} {
		path := filepath.Join(t.TempDir(), "plimsoll.toml")
		writeFile(t, path, "device_type = \"x\"\n[slots]\na = 2\nb = 3\n"+c.text+"\n")
		conf, err := parseConfig(path)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
		if name == "nothing" && (!conf.Stick.Enable || conf.Stick.Reboot != rebootNow || conf.Stick.Unversioned != "refuse") {
			t.Errorf("%s: got %+v", name, conf.Stick)
		}
		if name == "all of it" && conf.Report.Key != filepath.Join(filepath.Dir(path), "device.pem") {
			t.Errorf("%s: got %+v", name, conf.Report)
		}
	}
}

func TestSerial(t *testing.T) {
	root := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		writeFile(t, path, text)
		return path
	}
	if serial, err := (stickConfig{}).serial(root); err == nil {
		t.Errorf("a device without a serial number has %q", serial)
	}
	file("etc/machine-id", "0123456789abcdef\n")
	own := file("own", "  SN 7 \r\nmore\n")
	for _, c := range []struct {
		stick stickConfig
		want  string
	}{
		{stickConfig{}, "0123456789abcdef"},
		{stickConfig{Serial: "SN-1"}, "SN-1"},
		{stickConfig{SerialFile: own}, "SN 7"},
	} {
		if serial, err := c.stick.serial(root); err != nil || serial != c.want {
			t.Errorf("%+v: %q, %v", c.stick, serial, err)
		}
	}
	file("sys/firmware/devicetree/base/serial-number", "10000000abcdef\x00")
	if serial, err := (stickConfig{}).serial(root); err != nil || serial != "10000000abcdef" {
		t.Errorf("of a device tree: %q, %v", serial, err)
	}
	for _, text := range []string{"", "\n", strings.Repeat("x", maxSerial+1)} {
		if serial, err := (stickConfig{SerialFile: file("own", text)}).serial(root); err == nil {
			t.Errorf("from %q: %q", text, serial)
		}
	}
	if _, err := (stickConfig{SerialFile: filepath.Join(root, "gone")}).serial(root); err == nil {
		t.Error("from a file that is not there")
	}
}
