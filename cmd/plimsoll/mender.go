package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/plimsoll-ota/plimsoll/bootloader"
	"github.com/plimsoll-ota/plimsoll/install"
	"github.com/plimsoll-ota/plimsoll/install/mender"
)

// menderFiles are what a Mender client is configured with. Its options name
// other ones.
type menderFiles struct {
	conf     string // mender.conf, whose keys override
	fallback string // those of another one
	data     string // folder with the store and device_type
}

func defaultMenderFiles(root string) menderFiles {
	f := mender.Under(root)
	return menderFiles{conf: filepath.Join(f.Conf, "mender.conf"), fallback: filepath.Join(f.Data, "mender.conf"), data: f.Data}
}

// loadMenderConfig makes a configuration of what a Mender client has, so that
// a device can change over in place: mender.conf (keys without regard to case)
// and the device_type file, which it may name in root. Without a mender.conf
// the error is fs.ErrNotExist.
func loadMenderConfig(files menderFiles, root string) (*config, error) {
	settings := map[string]json.RawMessage{}
	found := false
	for _, path := range []string{files.fallback, files.conf} {
		b, err := os.ReadFile(path)
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
	c, err := menderConfig(settings, files.data, root)
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

func menderConfig(settings map[string]json.RawMessage, data, root string) (*config, error) {
	var key, typeFile, a, b string
	var keys []string
	var scriptTimeout, retryWindow, retryInterval, moduleTimeout uint32 // seconds
	for name, v := range map[string]any{
		"rootfsparta": &a, "rootfspartb": &b, "devicetypefile": &typeFile,
		"artifactverifykey": &key, "artifactverifykeys": &keys,
		"statescripttimeoutseconds": &scriptTimeout, "statescriptretrytimeoutseconds": &retryWindow,
		"statescriptretryintervalseconds": &retryInterval, "moduletimeoutseconds": &moduleTimeout,
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
		typeFile = filepath.Join(data, "device_type")
	} else {
		typeFile = filepath.Join(root, typeFile)
	}
	c := usual()
	c.Slots.A, c.Slots.B, c.Slots.Running = place(a), place(b), "mount"
	c.Trust.Keys = keys
	seconds := func(n uint32) duration { return duration(time.Duration(n) * time.Second) }
	c.Scripts.Timeout, c.Scripts.RetryWindow = seconds(scriptTimeout), seconds(retryWindow)
	c.Scripts.RetryInterval, c.Modules.Timeout = seconds(retryInterval), seconds(moduleTimeout)
	c.Trial.Boots = 3
	c.Bootloader.Kind, c.Bootloader.FwEnvConfig, c.Bootloader.Counter = "uboot", "/etc/fw_env.config", bootloader.CounterNative
	var err error
	if c.DeviceType, err = mender.DeviceType(typeFile); err != nil {
		return nil, err
	}
	return c, c.check()
}

// menderOrigin is what a Mender client knows of the device.
func menderOrigin(f mender.Folders) (install.Origin, error) {
	d, err := f.Read()
	o := install.Origin{Artifact: d.Artifact, Group: d.Group, Provides: d.Provides, Bootstrap: f.Bootstrap()}
	switch {
	case d.Standalone != nil:
		o.Update = fmt.Sprintf("%s records an update to %q that was neither committed nor rolled back", f.Store(), d.Standalone.Artifact)
	case d.Managed != nil:
		o.Update = fmt.Sprintf("%s records a server's update, in state %q", f.Store(), d.Managed.State)
	}
	return o, err
}
