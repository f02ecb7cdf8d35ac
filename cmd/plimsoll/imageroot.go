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
	keys, err := b.keyFiles()
	if err != nil {
		return err
	}
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
	if ours && len(keys) == 0 {
		if err := b.lookForKeys(ctx, img); err != nil {
			return err
		}
	}
	return image.AddFiles(ctx, img, b.time, append(files, keys...)...)
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
counter = %q
`, b.board.Name, b.deviceType, rootKeys+"/*.pem", b.board.Number("a"), b.board.Number("b"), b.board.Environment.Counter)
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

// lookForKeys says so where a device will trust nobody.
func (b *build) lookForKeys(ctx context.Context, img string) error {
	names, err := image.ReadDir(ctx, img, rootKeys)
	if err != nil {
		return err
	}
	for _, n := range names {
		if strings.HasSuffix(n, ".pem") {
			return nil
		}
	}
	b.out.say("note: no public key was given, and none is in %s: the device will refuse every update", rootKeys)
	return nil
}
