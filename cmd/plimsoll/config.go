package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"github.com/plimsoll-ota/plimsoll/bootloader"
	"github.com/plimsoll-ota/plimsoll/bootloader/board"
	"github.com/plimsoll-ota/plimsoll/install"
	"github.com/plimsoll-ota/plimsoll/install/data"
	"github.com/plimsoll-ota/plimsoll/install/module"
	"github.com/plimsoll-ota/plimsoll/install/script"
	"github.com/plimsoll-ota/plimsoll/partition"
	"github.com/plimsoll-ota/plimsoll/signing"
)

// errConfig is a configuration that cannot be used.
var errConfig = errors.New("configuration")

// defaultConfig is where a device has its configuration.
const defaultConfig = "/etc/plimsoll/plimsoll.toml"

// A config is the device's one file, as docs/configuration.md describes it.
type config struct {
	DeviceType string `toml:"device_type"`
	StateDir   string `toml:"state_dir"`
	Trust      struct {
		Keys          []string `toml:"keys"`
		AllowUnsigned bool     `toml:"allow_unsigned"`
	} `toml:"trust"`
	Slots struct {
		A       place  `toml:"a"`
		B       place  `toml:"b"`
		APart   int    `toml:"a_part"`
		BPart   int    `toml:"b_part"`
		Running string `toml:"running"`
	} `toml:"slots"`
	Trial struct {
		Boots int `toml:"boots"`
	} `toml:"trial"`
	Bootloader struct {
		Kind        string `toml:"kind"`
		FwEnvConfig string `toml:"fw_env_config"`
		SingleCopy  bool   `toml:"single_copy"`
		Counter     string `toml:"counter"`
		Lock        string `toml:"lock"`
		Board       string `toml:"board"`
		Commands    string `toml:"commands"`
	} `toml:"bootloader"`
	Health  healthConfig `toml:"health"`
	Scripts struct {
		Dirs          []string `toml:"dirs"`
		Timeout       duration `toml:"timeout"`
		RetryWindow   duration `toml:"retry_window"`
		RetryInterval duration `toml:"retry_interval"`
	} `toml:"scripts"`
	Modules struct {
		Dirs    []string `toml:"dirs"`
		Timeout duration `toml:"timeout"`
	} `toml:"modules"`
	Data struct {
		Carry      []string   `toml:"carry"`
		CarryLimit board.Size `toml:"carry_limit"`
		Snapshot   []string   `toml:"snapshot"`
	} `toml:"data"`
	Stick  stickConfig  `toml:"stick"`
	Policy policyConfig `toml:"policy"`
	Report reportConfig `toml:"report"`
}

// A place is a slot as the file names it: a partition number, or a string.
type place string

// UnmarshalTOML takes an integer or a string.
func (p *place) UnmarshalTOML(v any) error {
	switch v := v.(type) {
	case int64:
		*p = place(strconv.FormatInt(v, 10))
	case string:
		*p = place(v)
	default:
		return fmt.Errorf("a slot is a partition number or a string, not %v", v)
	}
	return nil
}

// loadConfig reads the device's configuration: the file that --config names;
// else the default one; else what a Mender client left.
func (a *app) loadConfig() (*config, error) {
	if a.load != nil {
		return a.load()
	}
	path := a.config
	if path == "" {
		path = filepath.Join(a.env.root, defaultConfig)
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			if c, err := loadMenderConfig(defaultMenderFiles(a.env.root), a.env.root); !errors.Is(err, fs.ErrNotExist) {
				return c, err
			}
		}
	}
	c, err := parseConfig(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errConfig, err)
	}
	return c, nil
}

// usual is what holds where no file says otherwise.
func usual() *config {
	c := &config{StateDir: "/data/plimsoll", Health: defaultHealth(), Stick: defaultStick(), Policy: defaultPolicy()}
	c.Data.CarryLimit = data.DefaultLimit
	return c
}

// parseConfig reads a plimsoll.toml. An unknown key is an error: a misspelt
// one would silently not be in force.
func parseConfig(path string) (*config, error) {
	c := usual()
	c.Trial.Boots = 3
	c.Bootloader.Kind = "uboot"
	c.Bootloader.FwEnvConfig = "/etc/fw_env.config"
	c.Bootloader.Counter = bootloader.CounterNative
	c.Slots.Running = "mount"
	meta, err := toml.DecodeFile(path, c)
	if no := (*fs.PathError)(nil); errors.As(err, &no) {
		err = no.Err // the path is said below
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return nil, fmt.Errorf("%s: unknown key %s", path, unknown[0])
	}
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	c.relativeTo(filepath.Dir(path))
	if err := c.checkData(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// checkData refuses declared paths that could not be taken across an update.
func (c *config) checkData() error {
	if err := data.CheckPaths(c.Data.Carry, c.StateDir); err != nil {
		return fmt.Errorf("[data] carry: %w", err)
	}
	if err := data.CheckPaths(c.Data.Snapshot, c.StateDir); err != nil {
		return fmt.Errorf("[data] snapshot: %w", err)
	}
	if c.bench() && len(c.Data.Carry)+len(c.Data.Snapshot) > 0 {
		return errors.New("[data] is not for a bench: its paths would be those of the machine that it is on")
	}
	if c.Data.CarryLimit <= 0 {
		return fmt.Errorf("[data] carry_limit is a size, such as 16MiB, not %v", c.Data.CarryLimit)
	}
	return nil
}

func (c *config) check() error {
	switch {
	case c.DeviceType == "":
		return errors.New("device_type is missing")
	case c.Slots.A == "" || c.Slots.B == "":
		return errors.New("[slots] a and b are needed")
	case c.Slots.Running != "mount" && c.Slots.Running != "bootloader":
		return fmt.Errorf(`[slots] running is "mount" or "bootloader", not %q`, c.Slots.Running)
	case c.Trial.Boots < 1 || c.Trial.Boots > 100:
		return fmt.Errorf("[trial] boots is 1 to 100, not %d", c.Trial.Boots)
	case c.Bootloader.Kind != "uboot":
		return fmt.Errorf(`[bootloader] kind is "uboot", not %q`, c.Bootloader.Kind)
	case c.StateDir == "":
		return errors.New("state_dir is empty")
	}
	if err := c.Health.check(); err != nil {
		return fmt.Errorf("[health] %w", err)
	}
	if err := c.Stick.check(); err != nil {
		return fmt.Errorf("[stick] %w", err)
	}
	if err := c.Policy.check(); err != nil {
		return fmt.Errorf("[policy] %w", err)
	}
	for name, d := range map[string]duration{
		"[scripts] timeout": c.Scripts.Timeout, "[scripts] retry_window": c.Scripts.RetryWindow,
		"[scripts] retry_interval": c.Scripts.RetryInterval, "[modules] timeout": c.Modules.Timeout,
	} {
		if d < 0 {
			return fmt.Errorf("%s is %v: it is a time, or 0 for the usual one", name, time.Duration(d))
		}
	}
	switch c.Bootloader.Counter {
	case bootloader.CounterNative:
		return nil
	case bootloader.CounterScript, bootloader.CounterRegister:
		if most := bootloader.MaxScriptBoots; c.Trial.Boots > most {
			return fmt.Errorf("[trial] boots is 1 to %d where our boot script counts, in one digit, and not %d", most, c.Trial.Boots)
		}
		return nil
	}
	return fmt.Errorf(`[bootloader] counter is %q, %q or %q, not %q`,
		bootloader.CounterNative, bootloader.CounterScript, bootloader.CounterRegister, c.Bootloader.Counter)
}

// relativeTo takes relative paths from the folder that holds the file, so that
// a bench can be moved.
func (c *config) relativeTo(dir string) {
	abs := func(p *string) {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
	abs(&c.StateDir)
	abs(&c.Bootloader.FwEnvConfig)
	abs(&c.Bootloader.Lock)
	abs(&c.Stick.SerialFile)
	abs(&c.Report.Key)
	abs(&c.Report.LogKey)
	for i := range c.Trust.Keys {
		abs(&c.Trust.Keys[i])
	}
	for _, dirs := range [][]string{c.Scripts.Dirs, c.Modules.Dirs} {
		for i := range dirs {
			abs(&dirs[i])
			if whole, err := filepath.Abs(dirs[i]); err == nil { // what is in there runs in another folder
				dirs[i] = whole
			}
		}
	}
	for _, p := range []*place{&c.Slots.A, &c.Slots.B} {
		if _, err := strconv.Atoi(string(*p)); err == nil || strings.HasPrefix(string(*p), "PARTUUID=") {
			continue
		}
		abs((*string)(p))
	}
}

// keyring returns the keys that the device trusts.
func (c *config) keyring() (*signing.Keyring, error) {
	ring, err := signing.LoadKeyring(c.Trust.Keys...)
	if err != nil {
		return nil, fmt.Errorf("%w: [trust] keys: %w", errConfig, err)
	}
	ring.AllowUnsigned = c.Trust.AllowUnsigned
	return ring, nil
}

// device opens what the configuration describes.
func (c *config) device() (*install.Device, error) {
	ring, err := c.keyring()
	if err != nil {
		return nil, err
	}
	var host partition.Host
	pair, err := c.slots(host)
	if err != nil {
		return nil, err
	}
	boot, err := c.bootloader()
	if err != nil {
		return nil, err
	}
	d := &install.Device{
		Type: c.DeviceType, Slots: pair, Host: host, Boot: boot, Trust: ring,
		StateDir: c.StateDir, TrialBoots: c.Trial.Boots, Bench: c.bench(),
	}
	d.Scripts = script.Runner{
		Dirs: c.Scripts.Dirs, Timeout: time.Duration(c.Scripts.Timeout),
		RetryWindow: time.Duration(c.Scripts.RetryWindow), RetryInterval: time.Duration(c.Scripts.RetryInterval),
	}
	d.Modules = install.Modules{Dirs: c.Modules.Dirs, Timeout: time.Duration(c.Modules.Timeout)}
	if d.Modules.Dirs == nil {
		d.Modules.Dirs = module.Dirs()
	}
	if d.Bench {
		return d, nil
	}
	if d.Scripts.Dirs == nil { // a bench has not those of the machine that it is on
		d.Scripts.Dirs = script.DeviceDirs()
	}
	d.Data = c.data()
	d.Reboot = install.RebootNow
	return d, nil
}

// data is what updates take across.
func (c *config) data() install.Data {
	return install.Data{Carry: c.Data.Carry, Limit: int64(c.Data.CarryLimit), Snapshot: c.Data.Snapshot}
}

func (c *config) bench() bool { return c.Slots.Running == "bootloader" }

// spec is how the configuration names the slots.
func (c *config) spec() partition.Spec {
	return partition.Spec{A: string(c.Slots.A), B: string(c.Slots.B), APart: c.Slots.APart, BPart: c.Slots.BPart}
}

// slots finds them, and refuses a bench where it must not be.
func (c *config) slots(host partition.Host) (partition.Pair, error) {
	pair, err := host.Find(c.spec())
	if err != nil {
		return pair, fmt.Errorf("[slots]: %w", err)
	}
	if c.bench() {
		return pair, refuseBench(host, pair)
	}
	return pair, nil
}

func (c *config) bootloader() (*bootloader.UBoot, error) {
	copies, err := bootloader.ReadConfig(c.Bootloader.FwEnvConfig)
	if err != nil {
		return nil, fmt.Errorf("%w: [bootloader] fw_env_config: %w", errConfig, err)
	}
	u, err := bootloader.OpenUBoot(bootloader.Options{
		LockPath: c.Bootloader.Lock, SingleCopy: c.Bootloader.SingleCopy, Counter: c.Bootloader.Counter,
	}, copies...)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", install.ErrAttention, err)
	}
	return u, nil
}

// refuseBench keeps a device whose own system is on a slot, or on its disk,
// from believing the bootloader: right after an arm it would call the running
// slot the inactive one. Plain files and loop devices are what benches are
// made of, whatever disk they lie on.
func refuseBench(host partition.Host, pair partition.Pair) error {
	for _, s := range []partition.Slot{pair.A, pair.B} {
		st, err := os.Stat(s.Path)
		if err != nil {
			return fmt.Errorf("%w: %w", errConfig, err)
		}
		on := host.SameDisk
		if st.Mode().IsRegular() || strings.HasPrefix(filepath.Base(s.Path), "loop") {
			on = host.Holds
		}
		refused, err := on(s, "/")
		if err != nil {
			return fmt.Errorf("%w: %w", errConfig, err)
		}
		if refused {
			return fmt.Errorf(`%w: [slots] running = "bootloader" is for a bench: / is on slot %s or its disk`, errConfig, s.Name)
		}
	}
	return nil
}
