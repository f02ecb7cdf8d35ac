package main

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plimsoll-ota/plimsoll/install/health"
)

// parseHealth reads a configuration whose end is text.
func parseHealth(t *testing.T, text string) (*config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "plimsoll.toml")
	writeFile(t, path, "device_type = \"x\"\n[slots]\na = 2\nb = 3\n"+text)
	return parseConfig(path)
}

func TestHealthConfig(t *testing.T) {
	c, err := parseHealth(t, `[health]
units = ["app.service"]
command = ["/usr/bin/check", "--quick"]
commands = [["a"], ["b", "c"]]
tcp = ["127.0.0.1:80"]
http = ["http://127.0.0.1/health"]
files = ["/run/app.ready"]
free = {"/data" = "10MiB", "/var.log" = 4096}
compare = false
stable = "1m"
deadline = "10m"
interval = "500ms"
timeout = "20s"
`)
	must(t, err)
	want := health.Config{
		Units: []string{"app.service"}, Commands: [][]string{{"/usr/bin/check", "--quick"}, {"a"}, {"b", "c"}},
		TCP: []string{"127.0.0.1:80"}, HTTP: []string{"http://127.0.0.1/health"}, Files: []string{"/run/app.ready"},
		Free: map[string]int64{"/data": 10 << 20, "/var.log": 4096},
	}
	if diff := cmp.Diff(want, c.Health.checks()); diff != "" {
		t.Error(diff)
	}
	o := c.Health.options()
	if c.Health.Compare || o.Stable != time.Minute || o.Deadline != 10*time.Minute || o.Interval != time.Second/2 || o.Timeout != 20*time.Second {
		t.Errorf("got %+v", c.Health)
	}
}

func TestHealthDefaults(t *testing.T) {
	for _, text := range []string{"", "[health]\n", "[health]\nunits = []\n"} {
		c, err := parseHealth(t, text)
		must(t, err)
		if got, want := c.Health.options(), health.DefaultOptions(); !c.Health.Compare || got.Stable != want.Stable ||
			got.Deadline != want.Deadline || got.Interval != want.Interval || got.Timeout != want.Timeout {
			t.Errorf("%q: got %+v, want %+v", text, c.Health, want)
		}
		if n := len(c.Health.checks().Checks(health.Host{})); n != 0 {
			t.Errorf("%q: %d checks", text, n)
		}
	}
}

func TestHealthRefuses(t *testing.T) {
	for _, c := range []struct{ text, says string }{
		{`unit = ["app.service"]`, "unknown key health.unit"},
		{`units = ["app"]`, "[health] units: "},
		{`units = "app.service"`, "health.units"},
		{`command = "true"`, "health.command"},
		{`command = []`, "[health] commands: one is empty"},
		{`commands = ["true"]`, "health.commands"},
		{`commands = [["./check"]]`, "[health] commands: "},
		{`tcp = ["127.0.0.1"]`, "[health] tcp: "},
		{`http = ["127.0.0.1"]`, "[health] http: "},
		{`files = ["app.ready"]`, "[health] files: "},
		{`free = {"data" = "10MiB"}`, "[health] free: "},
		{`free = {"/data" = "10 apples"}`, "is not a size"},
		{`free = ["/data"]`, "free is a table of paths and sizes"},
		{`free = "10MiB"`, "free is a table of paths and sizes"},
		{`free = {data = {a = 1}}`, "a size is a number or a string"},
		{`stable = 30`, "a duration is a string with a unit"},
		{`stable = "30"`, "a duration is a string with a unit"},
		{`stable = "5m"`, "[health] stable (5m0s) and interval (2s) leave nothing of the deadline (5m0s)"},
		{`deadline = "2h"`, "[health] deadline is 10s to 1h0m0s, not 2h0m0s"},
		{`interval = "0s"`, "[health] interval is "},
		{`timeout = "6m"`, "[health] timeout (6m0s) is not shorter than the deadline (5m0s)"},
		{`compare = "no"`, "health.compare"},
		{`[health.free]` + "\n" + `"/data" = -1`, "[health] free: "},
	} {
		if _, err := parseHealth(t, "[health]\n"+c.text+"\n"); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v, want %q", c.text, err, c.says)
		}
	}
}

// TestHealthManual: every example is one that is read, and each key has its
// line, with its default, in both directions.
func TestHealthManual(t *testing.T) {
	manual := readFile(t, "../../docs/health.md")
	examples := regexp.MustCompile("(?s)```toml\n(.*?)```").FindAllStringSubmatch(manual, -1)
	if len(examples) == 0 {
		t.Error("no example")
	}
	for _, e := range examples {
		if _, err := parseHealth(t, e[1]); err != nil {
			t.Errorf("%v in\n%s", err, e[1])
		}
	}
	values := map[string]string{
		"units": `[]`, "command": `["true"]`, "commands": `[]`, "tcp": `[]`, "http": `[]`, "files": `[]`, "free": `{}`,
	}
	defaults := map[string]string{"compare": "true", "stable": `"30s"`, "deadline": `"5m"`, "interval": `"2s"`, "timeout": `"10s"`}
	lines := regexp.MustCompile("(?m)^\\| `([a-z]+)` \\| (.*?) \\|").FindAllStringSubmatch(manual, -1)
	want := defaultHealth()
	for _, l := range lines {
		key, value := l[1], values[l[1]]
		if d, ok := defaults[key]; ok {
			if value = d; l[2] != "`"+d+"`" {
				t.Errorf("%s: the manual's default is %s, want %s", key, l[2], d)
			}
			delete(defaults, key)
		}
		delete(values, key)
		c, err := parseHealth(t, "[health]\n"+key+" = "+value+"\n")
		if err != nil {
			t.Errorf("the manual's key %s: %v", key, err)
			continue
		}
		if got := c.Health; got.Stable != want.Stable || got.Deadline != want.Deadline || got.Interval != want.Interval || got.Timeout != want.Timeout || got.Compare != want.Compare {
			t.Errorf("%s = %s is not the default", key, value)
		}
	}
	if len(values)+len(defaults) > 0 {
		t.Errorf("no line for %v %v", values, defaults)
	}
}
