package board

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestEveryBoard(t *testing.T) {
	for _, name := range Names() {
		p, err := Load(name)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if (p.Script() != "") != (p.Boot.Method == MethodScript) {
			t.Errorf("%s: script %v, method %s", name, p.Script() != "", p.Boot.Method)
		}
		if os.Getenv("SHOW") != "" {
			t.Log(p.Script())
		}
	}
}

// TestScriptImage compares with what Debian's mkimage makes of the same source.
func TestScriptImage(t *testing.T) {
	p, err := Load("qemu-arm64")
	if err != nil {
		t.Fatal(err)
	}
	for _, arch := range []string{"arm64", "arm"} {
		for _, source := range []string{p.Script(), "echo x\n"} {
			dir := t.TempDir()
			src, dst := filepath.Join(dir, "src"), filepath.Join(dir, "dst")
			if err := os.WriteFile(src, []byte(source), 0o644); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command("mkimage", "-A", arch, "-T", "script", "-C", "none", "-n", strings.Repeat("name", 8), "-d", src, dst)
			cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=1700000000")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("mkimage: %v\n%s", err, out)
			}
			want, err := os.ReadFile(dst)
			if err != nil {
				t.Fatal(err)
			}
			got := ScriptImage(source, strings.Repeat("name", 8), arch, time.Unix(1700000000, 0))
			if !bytes.Equal(got, want) {
				t.Errorf("%s, %d bytes: got %d bytes\n%x\nwant %d\n%x", arch, len(source), len(got), got[:72], len(want), want[:min(72, len(want))])
			}
		}
	}
}

// TestRefused breaks a profile in one place at a time.
func TestRefused(t *testing.T) {
	good, err := builtin.ReadFile("boards/qemu-arm64.toml")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, old, new, want string }{
		{"unknown key", `device_type`, `device_typ`, "unknown key"},
		{"table", `"gpt"`, `"bsd"`, "disk.table"},
		{"no size", `"16KiB"`, `"many"`, "not a size"},
		{"one copy", `["8MiB", "16MiB"]`, `["8MiB"]`, "two copies"},
		{"copies overlap", `["8MiB", "16MiB"]`, `["8MiB", "8MiB"]`, "overlap"},
		{"environment in a partition", `["8MiB", "16MiB"]`, `["8MiB", "24MiB"]`, "reaches into"},
		{"environment in the table", `["8MiB", "16MiB"]`, `[0, "16MiB"]`, "behind the partition table"},
		{"unaligned partition", `start      = "64MiB"`, `start      = "65MiB"`, "multiples of"},
		{"slots differ", `size       = "256MiB"`, `size       = "128MiB"`, "same size"},
		{"no slot", `name       = "b"`, `name       = "a"`, `no partition "b"`},
		{"data is not last", `name       = "data"`, `name       = "boot"`, `no partition "data"`},
		{"counter", `"script"` + "\n\n", `"abacus"` + "\n\n", "environment.counter"},
		{"method", `method  = "script"`, `method  = "magic"`, "boot.method"},
		{"kernel", `command = "booti"`, `command = "boot"`, "boot.kernel"},
		{"shell", `rootwait panic=5`, `rootwait; reset`, "U-Boot's shell"},
		{"too many variables", `args    =`, `keep = ["a", "b", "c", "d"]` + "\n" + `args    =`, "too many"},
		{"address", "kernel      = 0x42000000", "kernel      = 0", "boot.address"},
		{"alignment", `table = "gpt"`, `table = "gpt"` + "\n" + `align = "1MiB"`, "disk.align"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := strings.Replace(string(good), c.old, c.new, 1)
			if text == string(good) {
				t.Fatal("the profile does not contain what should be replaced")
			}
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "x.toml"), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			if _, err := Load("x", dir); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestLoad(t *testing.T) {
	for _, name := range []string{"", "no-such", "../board", "a/b"} {
		if _, err := Load(name); !errors.Is(err, ErrUnknown) {
			t.Errorf("%q: got %v, want ErrUnknown", name, err)
		}
	}
	dir := t.TempDir()
	b, err := builtin.ReadFile("boards/raspberrypi3.toml")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "mine.toml"), bytes.Replace(b, []byte(`"raspberrypi3"`), []byte(`"crane"`), 1), 0o644); err != nil {
		t.Fatal(err)
	}
	p, err := Load("mine", t.TempDir(), dir)
	if err != nil || p.DeviceType != "crane" || p.Name != "mine" {
		t.Errorf("got %+v, %v", p, err)
	}
}

// TestScriptKeepsToEveryShell holds the script to what every U-Boot has.
func TestScriptKeepsToEveryShell(t *testing.T) {
	for _, name := range Names() {
		p, err := Load(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(p.Script()) {
			if strings.Contains(line, "setexpr") || strings.Contains(line, "usb") && !strings.HasPrefix(line, "#") || strings.Contains(line, "saveenv") {
				t.Errorf("%s: %s", name, line)
			}
			if words := strings.Fields(line); strings.HasPrefix(line, "setenv") && !strings.Contains(line, "'") && len(words) > 16 {
				t.Errorf("%s: more words than U-Boot takes: %s", name, line)
			}
		}
	}
}

// TestScriptID changes with the script, and is in it.
func TestScriptID(t *testing.T) {
	p, err := Load("qemu-arm64")
	if err != nil {
		t.Fatal(err)
	}
	before := p.ScriptID()
	if !strings.Contains(p.Script(), "plimsoll.script="+before) || len(before) != 16 {
		t.Errorf("the id %q is not passed to the kernel", before)
	}
	p.Boot.Console = "ttyS9"
	if p.ScriptID() == before {
		t.Error("another script has the same id")
	}
}

func TestSize(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Size
		out  string
	}{
		{"0", 0, "0"}, {"512", 512, "512"}, {"0x4000", 0x4000, "16KiB"}, {"64MiB", 64 << 20, "64MiB"}, {"1 GiB", 1 << 30, "1GiB"}, {"1536MiB", 1536 << 20, "1536MiB"},
	} {
		var s Size
		if err := s.Set(c.in); err != nil || s != c.want || s.String() != c.out {
			t.Errorf("%q: got %d, %q, %v; want %d, %q", c.in, s, s, err, c.want, c.out)
		}
	}
	for _, in := range []string{"", "MiB", "-1", "1MB", "1.5GiB", "9999999999GiB"} {
		if err := new(Size).Set(in); err == nil {
			t.Errorf("%q was taken", in)
		}
	}
}
