package machine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// packageOf names the Debian package of each command that is run on the host.
var packageOf = map[string]string{
	"apt-get":             "apt",
	"apt-cache":           "apt",
	"dpkg-deb":            "dpkg",
	"depmod":              "kmod",
	"qemu-system-aarch64": "qemu-system-arm",
}

// tool returns where a command is. On Debian those for root are not in the
// PATH of others.
func tool(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if path, e := exec.LookPath(filepath.Join(dir, name)); e == nil {
			return path, nil
		}
	}
	if pkg, ok := packageOf[name]; ok {
		return "", fmt.Errorf("%w; it is in the Debian package %s", err, pkg)
	}
	return "", err
}

// need finds all of the commands, or names all that are missing.
func need(names ...string) error {
	var missing []error
	for _, name := range names {
		if _, err := tool(name); err != nil {
			missing = append(missing, err)
		}
	}
	return errors.Join(missing...)
}

// run runs a command of the host in a folder and returns its standard output.
// What it said on standard error is in the error.
func run(ctx context.Context, dir, name string, args ...string) ([]byte, error) {
	path, err := tool(name)
	if err != nil {
		return nil, err
	}
	var out, said bytes.Buffer
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &said
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	if err := cmd.Run(); err != nil {
		if c := context.Cause(ctx); c != nil {
			err = c
		}
		return nil, fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(said.String()))
	}
	return out.Bytes(), nil
}
