package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/plimsoll-ota/plimsoll/partition/image"
	"github.com/plimsoll-ota/plimsoll/signing"
)

// Where a root file system has what a device must know.
const (
	rootFwEnv  = "/etc/fw_env.config"
	rootConfig = "/etc/plimsoll/plimsoll.toml"
	rootKeys   = "/etc/plimsoll/keys"
)

// makeSlot makes slot A's file system, with the files that a device needs.
func (b *build) makeSlot(ctx context.Context) error {
	b.step("make the root file system")
	img := b.path("slot.ext4")
	e := image.Ext4{Source: b.rootfs, Size: int64(b.partition("a").Size), ID: b.id.Sub("slot"), Time: b.time}
	if err := e.Make(ctx, img); err != nil {
		return err
	}
	files, ours, err := b.settings(ctx, img)
	if err != nil {
		return err
	}
	if ours {
		more, err := b.lookAround(ctx, img)
		if err != nil {
			return err
		}
		files = append(files, more...)
	}
	return image.AddFiles(ctx, img, b.time, append(files, b.trust...)...)
}

// settings returns the configuration files that the root file system needs and
// does not have, and whether plimsoll.toml is ours.
func (b *build) settings(ctx context.Context, img string) (files []image.File, ours bool, err error) {
	for _, f := range []image.File{
		{Name: rootFwEnv, Data: []byte(b.board.FwEnvConfig()), Mode: 0o644},
		{Name: rootConfig, Data: []byte(b.config()), Mode: 0o644},
	} {
		there, err := image.ReadFile(ctx, img, f.Name)
		found := !errors.Is(err, fs.ErrNotExist)
		if err != nil && found {
			return nil, false, err
		}
		same := found && bytes.Equal(there, f.Data)
		if f.Name == rootConfig {
			ours = !found || same
		}
		switch {
		case same:
			continue
		case found && f.Name == rootConfig:
			b.out.say("note: %s is in the root file system already and is kept as it is", f.Name)
			continue
		case found:
			b.out.say("note: %s is replaced: it says something else than the board's profile", f.Name)
		}
		files = append(files, f)
	}
	return files, ours, nil
}

// config is the device's configuration.
func (b *build) config() string {
	return fmt.Sprintf(`# Written by plimsoll image build for the board %s.
device_type = %q
state_dir   = "/data/plimsoll"

[trust]
keys = [%q]

[slots]
a = %d
b = %d

[bootloader]
board   = %q
counter = %q
`, b.board.Name, b.deviceType, rootKeys+"/*.pem", b.board.Number("a"), b.board.Number("b"), b.board.Name, b.board.Environment.Counter)
}

var plainName = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)

// keyFiles returns the public keys, each checked to be one.
func (b *build) keyFiles() (files []image.File, err error) {
	seen := map[string]string{}
	for _, path := range b.keys {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		if _, err := signing.ParsePublicKeys(text); err != nil {
			return nil, fmt.Errorf("--key %s: %w", path, err)
		}
		name := strings.TrimSuffix(filepath.Base(path), ".pem") + ".pem"
		if !plainName.MatchString(name) {
			return nil, fmt.Errorf("--key %s: a name of letters, digits, dots and dashes is needed", path)
		}
		if other, ok := seen[name]; ok {
			return nil, fmt.Errorf("--key %s and %s: two keys of one name", other, path)
		}
		seen[name] = path
		files = append(files, image.File{Name: rootKeys + "/" + name, Data: text, Mode: 0o644})
	}
	return files, nil
}

// lookAround says where a device will trust nobody, or have no state, and
// returns the folder that the data partition is mounted at.
func (b *build) lookAround(ctx context.Context, img string) ([]image.File, error) {
	names, err := image.ReadDir(ctx, img, rootKeys)
	if err != nil {
		return nil, err
	}
	if len(b.trust) == 0 && !slices.ContainsFunc(names, func(n string) bool { return strings.HasSuffix(n, ".pem") }) {
		b.out.say("note: no public key was given, and none is in %s: the device will refuse every update", rootKeys)
	}
	fstab, err := image.ReadFile(ctx, img, "/etc/fstab")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	units, err := image.ReadDir(ctx, img, "/etc/systemd/system")
	if err != nil {
		return nil, err
	}
	if !mountsData.Match(fstab) && !slices.Contains(units, "data.mount") {
		b.out.say("note: nothing in /etc/fstab mounts the data partition: LABEL=data /data ext4 defaults,nofail 0 2")
	}
	return []image.File{{Name: "/data", Mode: fs.ModeDir | 0o755}}, nil
}

var mountsData = regexp.MustCompile(`(?m)^[^#\s]\S*\s+/data\s`)
