package machine

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"os"
	"path"
	"strings"
)

//go:embed guest/initramfs-init
var initramfsInit []byte

// initramfs makes what the kernel runs until the root file system is mounted:
// busybox, a script and the modules that the disks of both boards need. The
// lists say in which order they are loaded.
func (d *Debian) initramfs() ([]byte, error) {
	busybox, names, err := d.busybox()
	if err != nil {
		return nil, err
	}
	tree, err := d.modules()
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	c := &cpioWriter{w: zip}
	for _, dir := range []string{"bin", "dev", "lib", "proc", "root", "sys"} {
		c.dir(dir)
	}
	c.file("bin/busybox", 0o755, busybox)
	for _, name := range names {
		c.link("bin/"+name, "busybox")
	}
	c.file("init", 0o755, initramfsInit)
	seen := map[string]bool{}
	for _, list := range []struct {
		file  string
		names []string
	}{{"modules.virt", virtModules}, {"modules.pi3", pi3Modules}} {
		files, err := tree.closure(list.names...)
		if err != nil {
			return nil, err
		}
		var text strings.Builder
		for _, file := range files {
			text.WriteString(path.Base(file) + "\n")
			if seen[file] {
				continue
			}
			seen[file] = true
			b, err := os.ReadFile(d.kernel("lib/modules/%s/" + file))
			if err != nil {
				return nil, err
			}
			c.file("lib/"+path.Base(file), 0o644, b)
		}
		c.file(list.file, 0o644, []byte(text.String()))
	}
	if err := c.Close(); err != nil {
		return nil, err
	}
	if err := zip.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
