package machine

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Command returns the plimsoll command of this source tree, built for the Linux
// of a device: GOARCH, such as "arm64". It is built as releases are, statically
// and stripped. The working directory must be within the tree, as it is in a
// test. An unchanged tree costs half a second.
func Command(ctx context.Context, goarch string) ([]byte, error) {
	b, err := build(ctx, goarch)
	if err != nil {
		return nil, fmt.Errorf("build plimsoll for %s: %w", goarch, err)
	}
	return b, nil
}

func build(ctx context.Context, goarch string) ([]byte, error) {
	base, err := cacheDir()
	if err != nil {
		return nil, err
	}
	mod, err := run(ctx, "", "go", "env", "GOMOD")
	if err != nil {
		return nil, err
	}
	root := filepath.Dir(strings.TrimSpace(string(mod)))
	// Where it was built last, for this tree: go relinks what is not there.
	key := sha256.Sum256([]byte(root))
	dir := filepath.Join(base, fmt.Sprintf("command-%s-%x", goarch, key[:6]))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	unlock, err := lock(ctx, filepath.Join(dir, "lock"))
	if err != nil {
		return nil, err
	}
	defer unlock()
	out := filepath.Join(dir, "plimsoll")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", out, "./cmd/plimsoll")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH="+goarch, "CGO_ENABLED=0")
	if said, err := cmd.CombinedOutput(); err != nil {
		return nil, errors.Join(err, errors.New(string(said)))
	}
	return os.ReadFile(out)
}
