package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"github.com/plimsoll-ota/plimsoll/bootloader"
)

// loadMenderConfig makes a configuration of what a Mender client has, so that
// a device can change over in place: mender.conf (the one in /var/lib/mender
// is overridden by the one in /etc/mender; keys without regard to case) and
// the device_type file. Without a mender.conf the error is fs.ErrNotExist.
func loadMenderConfig(root string) (*config, error) {
	settings := map[string]json.RawMessage{}
	found := false
	for _, path := range []string{"/var/lib/mender/mender.conf", "/etc/mender/mender.conf"} {
		b, err := os.ReadFile(filepath.Join(root, path))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			found = true
			err = mergeMenderConfig(settings, b)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %w", errConfig, path, err)
		}
	}
	if !found {
		return nil, fmt.Errorf("%s: %w", defaultConfig, fs.ErrNotExist)
	}
	c, err := menderConfig(settings, root)
	if err != nil {
		return nil, fmt.Errorf("%w: mender.conf: %w", errConfig, err)
	}
	return c, nil
}

func mergeMenderConfig(into map[string]json.RawMessage, b []byte) error {
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(b, &keys); err != nil {
		return err
	}
	lower := map[string]json.RawMessage{}
	for k, v := range keys {
		lower[strings.ToLower(k)] = v
	}
	maps.Copy(into, lower)
	return nil
}

func menderConfig(settings map[string]json.RawMessage, root string) (*config, error) {
	var key, typeFile, a, b string
	var keys []string
	for name, v := range map[string]any{
		"rootfsparta": &a, "rootfspartb": &b, "devicetypefile": &typeFile,
		"artifactverifykey": &key, "artifactverifykeys": &keys,
	} {
		if raw, ok := settings[name]; ok {
			if err := json.Unmarshal(raw, v); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	if key != "" {
		keys = append(keys, key)
	}
	if typeFile == "" {
		typeFile = "/var/lib/mender/device_type"
	}
	c := &config{StateDir: "/data/plimsoll", Health: defaultHealth()}
	c.Slots.A, c.Slots.B, c.Slots.Running = place(a), place(b), "mount"
	c.Trust.Keys = keys
	c.Trial.Boots = 3
	c.Bootloader.Kind, c.Bootloader.FwEnvConfig, c.Bootloader.Counter = "uboot", "/etc/fw_env.config", bootloader.CounterNative
	var err error
	if c.DeviceType, err = menderDeviceType(filepath.Join(root, typeFile)); err != nil {
		return nil, err
	}
	return c, c.check()
}

// menderDeviceType reads "device_type=TYPE".
func menderDeviceType(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	for line := range bytes.Lines(b) {
		if t, ok := bytes.CutPrefix(bytes.TrimSpace(line), []byte("device_type=")); ok {
			return string(t), nil
		}
	}
	return "", fmt.Errorf("%s: no device_type", path)
}
