package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A stickConfig is the section [stick], as docs/stick.md describes it.
type stickConfig struct {
	Enable      bool     `toml:"enable"`
	Unversioned string   `toml:"unversioned"`
	Reboot      string   `toml:"reboot"`
	LED         string   `toml:"led"`
	Console     []string `toml:"console"`
	Hook        []string `toml:"hook"`
	Serial      string   `toml:"serial"`
	SerialFile  string   `toml:"serial_file"`
}

// When a device reboots into what a stick brought.
const (
	rebootNow       = "now"            // the stick stays in: the verdict is written onto it
	rebootUnplugged = "when-unplugged" // armed at the unplug, not before
	rebootNever     = "never"          // armed; somebody else reboots
)

// A policyConfig is the section [policy]: whether now is the time, for updates
// that nobody watches.
type policyConfig struct {
	BeforeInstall []string `toml:"before_install"`
	BeforeReboot  []string `toml:"before_reboot"`
	Timeout       duration `toml:"timeout"`
	Interval      duration `toml:"interval"`
}

// A reportConfig is the section [report].
type reportConfig struct {
	Key    string `toml:"key"`     // the device's private key, which signs
	LogKey string `toml:"log_key"` // the office's public key, to which a log is encrypted
}

func defaultStick() stickConfig {
	return stickConfig{Enable: true, Unversioned: "refuse", Reboot: rebootNow, Console: []string{"/dev/console", "/dev/tty1"}}
}

func defaultPolicy() policyConfig {
	return policyConfig{Timeout: duration(time.Minute), Interval: duration(time.Minute)}
}

func (s stickConfig) check() error {
	switch {
	case s.Unversioned != "refuse" && s.Unversioned != "allow":
		return fmt.Errorf(`unversioned is "refuse" or "allow", not %q`, s.Unversioned)
	case s.Reboot != rebootNow && s.Reboot != rebootUnplugged && s.Reboot != rebootNever:
		return fmt.Errorf(`reboot is %q, %q or %q, not %q`, rebootNow, rebootUnplugged, rebootNever, s.Reboot)
	case strings.Contains(s.LED, "/") || s.LED == "." || s.LED == "..":
		return fmt.Errorf("led is a name in /sys/class/leds, not %q", s.LED)
	case s.Serial != "" && s.SerialFile != "":
		return errors.New("serial and serial_file exclude each other")
	}
	return wholePaths(map[string][]string{"hook": s.Hook})
}

func (p policyConfig) check() error {
	if p.Timeout <= 0 || p.Interval <= 0 {
		return errors.New("timeout and interval are times, such as \"1m\"")
	}
	return wholePaths(map[string][]string{"before_install": p.BeforeInstall, "before_reboot": p.BeforeReboot})
}

// wholePaths refuses a program that would be looked for.
func wholePaths(commands map[string][]string) error {
	for key, command := range commands {
		if len(command) > 0 && !filepath.IsAbs(command[0]) {
			return fmt.Errorf("%s is a program with its whole path, and its arguments, not %q", key, command[0])
		}
	}
	return nil
}

// serialFiles are where a device is likely to have its serial number.
var serialFiles = []string{"/sys/firmware/devicetree/base/serial-number", "/etc/machine-id"}

// maxSerial bounds a serial number.
const maxSerial = 128

// serial is what this device is called in reports.
func (s stickConfig) serial(root string) (string, error) {
	if s.Serial != "" {
		return s.Serial, nil
	}
	if s.SerialFile != "" {
		return readSerial(s.SerialFile)
	}
	var problems []error
	for _, file := range serialFiles {
		serial, err := readSerial(filepath.Join(root, file))
		if err == nil {
			return serial, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			problems = append(problems, err)
		}
	}
	return "", fmt.Errorf("%w: [stick] serial: this device has none: %w", errConfig, errors.Join(problems...))
}

// readSerial reads the first line of a file; a device tree ends it with NUL.
func readSerial(file string) (string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(b), "\n")
	serial := strings.Trim(line, " \t\r\x00")
	if serial == "" || len(serial) > maxSerial {
		return "", fmt.Errorf("%s: a serial number has 1 to %d bytes", file, maxSerial)
	}
	return serial, nil
}
