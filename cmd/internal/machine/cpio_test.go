package machine

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// The judge is cpio itself.
func TestCpio(t *testing.T) {
	packageOf["cpio"] = "cpio"
	var archive bytes.Buffer
	c := &cpioWriter{w: &archive}
	c.dir("bin")
	c.file("bin/busybox", 0o755, []byte("program"))
	c.link("bin/sh", "busybox")
	c.file("empty", 0o600, nil)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if archive.Len()%4 != 0 {
		t.Errorf("%d bytes, want a multiple of four", archive.Len())
	}
	dir := t.TempDir()
	cmd := hostCommand(t, "cpio", "-i", "--quiet", "--no-preserve-owner")
	cmd.Dir, cmd.Stdin = dir, &archive
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("cpio: %v: %s", err, out)
	}
	for name, want := range map[string]string{"bin/busybox": "program", "bin/sh": "program", "empty": ""} {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || string(got) != want {
			t.Errorf("%s: got %q, %v; want %q", name, got, err, want)
		}
	}
	info, err := os.Lstat(filepath.Join(dir, "bin/busybox"))
	if err != nil || info.Mode() != 0o755 {
		t.Errorf("bin/busybox: got %v, %v; want mode 0755", info.Mode(), err)
	}
	if target, err := os.Readlink(filepath.Join(dir, "bin/sh")); err != nil || target != "busybox" {
		t.Errorf("bin/sh: got %q, %v; want a link to busybox", target, err)
	}
}

func TestCpioFullDisk(t *testing.T) {
	c := &cpioWriter{w: &full{150}}
	c.file("a", 0o644, make([]byte, 100))
	c.file("b", 0o644, nil)
	if c.Close() == nil {
		t.Error("no error from a writer that is full")
	}
}

type full struct{ left int }

func (f *full) Write(b []byte) (int, error) {
	if len(b) > f.left {
		return 0, os.ErrInvalid
	}
	f.left -= len(b)
	return len(b), nil
}
