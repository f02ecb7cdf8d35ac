package main

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestConfigData(t *testing.T) {
	for name, c := range map[string]struct{ data, want string }{
		"nothing":                 {"", ""},
		"all":                     {`carry = ["/etc/ssh", "/etc/machine-id"]` + "\ncarry_limit = \"1MiB\"\n" + `snapshot = ["/data/app", "/var/lib/x"]`, ""},
		"a number":                {`carry_limit = 4096`, ""},
		"the same in both":        {`carry = ["/etc/x"]` + "\n" + `snapshot = ["/etc/x"]`, ""},
		"unknown":                 {`keep = ["/etc/x"]`, "unknown key data.keep"},
		"relative":                {`carry = ["etc/ssh"]`, "[data] carry"},
		"empty":                   {`carry = [""]`, "[data] carry"},
		"not clean":               {`carry = ["/etc/../data"]`, `write it as "/data"`},
		"a slash at the end":      {`snapshot = ["/data/app/"]`, `[data] snapshot: "/data/app/"`},
		"all of it":               {`snapshot = ["/"]`, "whole root file system"},
		"the state directory":     {`carry = ["/data/plimsoll"]`, "state directory"},
		"in the state directory":  {`snapshot = ["/data/plimsoll/x"]`, "state directory"},
		"round the state folder":  {`snapshot = ["/data"]`, "state directory"},
		"twice":                   {`carry = ["/etc/x", "/etc/y", "/etc/x"]`, "has it already"},
		"one in another":          {`carry = ["/etc/x/y", "/etc/x"]`, "is in it"},
		"a string":                {`carry = "/etc/x"`, "carry"},
		"no limit":                {`carry_limit = 0`, "carry_limit"},
		"a negative limit":        {`carry_limit = -1`, "carry_limit"},
		"a limit that is no size": {`carry_limit = "much"`, "not a size"},
	} {
		path := filepath.Join(t.TempDir(), "plimsoll.toml")
		writeFile(t, path, "device_type = \"x\"\n[slots]\na = 2\nb = 3\n[data]\n"+c.data+"\n")
		conf, err := parseConfig(path)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
		switch {
		case name == "nothing" && (conf.Data.CarryLimit != 16<<20 || len(conf.Data.Carry) > 0):
			t.Errorf("%s: got %+v", name, conf.Data)
		case name == "all" && (conf.Data.CarryLimit != 1<<20 || !slices.Equal(conf.Data.Snapshot, []string{"/data/app", "/var/lib/x"})):
			t.Errorf("%s: got %+v", name, conf.Data)
		}
	}
}
