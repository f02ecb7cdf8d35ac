package board

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/plimsoll-ota/plimsoll/bootloader"
)

// ErrUnknown is a board of which there is no profile.
var ErrUnknown = errors.New("no such board")

// How a board starts a slot.
const (
	MethodScript = "script" // our boot script, run by a stock U-Boot
	MethodNative = "native" // U-Boot follows the convention by itself
)

// A Profile is one board. Its file is docs/boards.md's subject.
type Profile struct {
	Name         string      `toml:"-"` // the file's, without its suffix
	Description  string      `toml:"description"`
	DeviceType   string      `toml:"device_type"`  // what artifacts are made for, unless told otherwise
	Arch         string      `toml:"arch"`         // of the kernel, in Go's words
	Experimental bool        `toml:"experimental"` // not seen to work on hardware or in emulation
	Notes        string      `toml:"notes"`        // what an integrator must know
	Disk         Disk        `toml:"disk"`
	Partitions   []Partition `toml:"partition"`
	Environment  Environment `toml:"environment"`
	Boot         Boot        `toml:"boot"`
	Firmware     []Firmware  `toml:"firmware"`
}

// A Disk is the storage that holds everything.
type Disk struct {
	Table string `toml:"table"` // "mbr" or "gpt"
	Align Size   `toml:"align"` // of partitions
	UBoot string `toml:"uboot"` // U-Boot's interface and number: "mmc 0"
	Linux string `toml:"linux"` // the kernel's name: "/dev/mmcblk0"
}

// A Partition is one of the four, numbered from 1 in the order of the file.
type Partition struct {
	Name       string `toml:"name"` // boot, a, b or data
	Start      Size   `toml:"start"`
	Size       Size   `toml:"size"`
	Filesystem string `toml:"filesystem"` // "vfat", "ext4", or "" for none
}

// An Environment is where the bootloader keeps its variables: two copies, raw.
type Environment struct {
	Offsets []Size `toml:"offsets"`
	Size    Size   `toml:"size"`    // of each copy
	Counter string `toml:"counter"` // who counts boots, as bootloader.Options has it
}

// A Boot is how a slot is started.
type Boot struct {
	Method       string   `toml:"method"`        // MethodScript or MethodNative
	Script       string   `toml:"script"`        // the script's name on the boot partition
	Kernels      []Kernel `toml:"kernel"`        // tried in turn
	Initrd       string   `toml:"initrd"`        // in the slot; "" for none. One that is not there is left out
	DeviceTree   string   `toml:"device_tree"`   // in the slot; where it is not there, or "", U-Boot's own or the firmware's
	Console      string   `toml:"console"`       // for console=
	Args         string   `toml:"args"`          // more of the kernel command line
	FirmwareArgs bool     `toml:"firmware_args"` // begin with what the firmware put into the device tree
	Keep         []string `toml:"keep"`          // variables that the script keeps when it saves, beside the convention's
	Address      Address  `toml:"address"`
}

// A Kernel is a file of the slot, and U-Boot's command that starts it.
type Kernel struct {
	File    string `toml:"file"`
	Command string `toml:"command"` // booti, bootz or bootm
}

// An Address is where things are loaded in memory. Scratch is room for four
// copies of the environment.
type Address struct {
	Scratch    Size `toml:"scratch"`
	Kernel     Size `toml:"kernel"`
	DeviceTree Size `toml:"device_tree"`
	Initrd     Size `toml:"initrd"`
}

// A Firmware is a file of the boot partition: with its content, or to be
// supplied, and then with the places it is had from.
type Firmware struct {
	File     string   `toml:"file"`
	Content  string   `toml:"content"`
	From     []string `toml:"from"`     // for people: "Debian package u-boot-rpi: /usr/lib/u-boot/rpi_3/u-boot.bin"
	Optional bool     `toml:"optional"` // the board starts without it
}

//go:embed boards/*.toml
var builtin embed.FS

// Names returns the boards whose profiles are built in, sorted.
func Names() []string {
	entries, err := builtin.ReadDir("boards")
	if err != nil {
		panic("board: " + err.Error())
	}
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".toml"))
	}
	slices.Sort(names) // with the suffix a "-" came before the end of a name
	return names
}

// Load returns the profile of a board: of NAME.toml in one of the folders, the
// first that has it, else the one that is built in. ErrUnknown if none has it.
func Load(name string, dirs ...string) (*Profile, error) {
	if name == "" || strings.ContainsAny(name, "/\\") {
		return nil, fmt.Errorf("board %q: %w", name, ErrUnknown)
	}
	for _, dir := range dirs {
		p, err := read(os.DirFS(dir), name+".toml")
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Join(dir, name+".toml"), err)
		}
		return p, nil
	}
	p, err := read(builtin, "boards/"+name+".toml")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("board %q: %w: there are %s", name, ErrUnknown, strings.Join(Names(), ", "))
	}
	return p, err
}

// read reads one profile. A key that it does not know is an error.
func read(fsys fs.FS, path string) (*Profile, error) {
	b, err := fs.ReadFile(fsys, path)
	if err != nil {
		return nil, err
	}
	p := &Profile{Name: strings.TrimSuffix(filepath.Base(path), ".toml")}
	p.Disk.Align, p.Boot.Script = 4<<20, "boot.scr"
	meta, err := toml.Decode(string(b), p)
	if err != nil {
		return nil, err
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return nil, fmt.Errorf("unknown key %s", unknown[0])
	}
	if p.DeviceType == "" {
		p.DeviceType = p.Name
	}
	return p, p.check()
}

// Number returns the number of a partition by its name, 0 for none.
func (p *Profile) Number(name string) int {
	return 1 + slices.IndexFunc(p.Partitions, func(q Partition) bool { return q.Name == name })
}

// check refuses a profile of which no image could be made, or one that would
// not hold what SAFETY promises. Each check relies on those before it.
func (p *Profile) check() error {
	for _, check := range []func() error{p.checkDisk, p.checkPartitions, p.checkEnvironment, p.checkBoot} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (p *Profile) checkDisk() error {
	switch {
	case p.Disk.Table != "mbr" && p.Disk.Table != "gpt":
		return fmt.Errorf(`disk.table is "mbr" or "gpt", not %q`, p.Disk.Table)
	case p.Disk.Align < 4<<20 || p.Disk.Align&(p.Disk.Align-1) != 0:
		return fmt.Errorf("disk.align is a power of two of at least 4 MiB, not %v: a card rewrites whole erase blocks", p.Disk.Align)
	case !strings.HasPrefix(p.Disk.Linux, "/dev/"):
		return fmt.Errorf("disk.linux is a path in /dev, not %q", p.Disk.Linux)
	}
	return nil
}

func (p *Profile) checkPartitions() error {
	for _, name := range []string{"boot", "a", "b", "data"} {
		n := p.Number(name)
		if n == 0 {
			return fmt.Errorf("there is no partition %q", name)
		}
		if q := p.Partitions[n-1]; q.Size <= 0 || q.Size%p.Disk.Align != 0 || q.Start%p.Disk.Align != 0 {
			return fmt.Errorf("partition %q: start %v and size %v must be multiples of %v", name, q.Start, q.Size, p.Disk.Align)
		}
	}
	switch n := len(p.Partitions); {
	case n != 4:
		return fmt.Errorf("there are %d partitions: boot, a, b and data are needed, each once", n)
	case p.Partitions[3].Name != "data":
		return errors.New("data must be the last partition: it grows on the first boot")
	case p.Partitions[p.Number("a")-1].Size != p.Partitions[p.Number("b")-1].Size:
		return errors.New("slots a and b must have the same size")
	}
	return nil
}

func (p *Profile) checkEnvironment() error {
	e := p.Environment
	if len(e.Offsets) != 2 {
		return fmt.Errorf("environment.offsets has %d entries: two copies are needed, a cut would lose a single one", len(e.Offsets))
	}
	first := p.Partitions[0].Start
	for _, o := range e.Offsets {
		switch {
		case o%(4<<20) != 0 || o < 4<<20:
			return fmt.Errorf("environment at %v: each copy begins at a multiple of 4 MiB, behind the partition table", o)
		case o+e.Size > first:
			return fmt.Errorf("environment at %v, %v long, reaches into the first partition at %v", o, e.Size, first)
		}
	}
	switch d := e.Offsets[1] - e.Offsets[0]; {
	case e.Size < 0x1000 || e.Size > 1<<20 || e.Size%512 != 0:
		return fmt.Errorf("environment.size is 4 KiB to 1 MiB in sectors of 512 bytes, not %v", e.Size)
	case d < e.Size && d > -e.Size:
		return errors.New("the copies of the environment overlap")
	}
	switch e.Counter {
	case bootloader.CounterNative, bootloader.CounterScript, bootloader.CounterRegister:
		return nil
	}
	return fmt.Errorf("environment.counter: %q is not known", e.Counter)
}

func (p *Profile) checkBoot() error {
	b := p.Boot
	switch b.Method {
	case MethodNative:
		return nil
	case MethodScript:
	default:
		return fmt.Errorf("boot.method is %q or %q, not %q", MethodScript, MethodNative, b.Method)
	}
	if len(strings.Fields(p.Disk.UBoot)) != 2 {
		return fmt.Errorf(`disk.uboot is U-Boot's interface and number, such as "mmc 0", not %q`, p.Disk.UBoot)
	}
	if len(b.Kernels) == 0 {
		return errors.New("boot.kernel is missing: the file in the slot, and the command that starts it")
	}
	for _, k := range b.Kernels {
		if !strings.HasPrefix(k.File, "/") || !slices.Contains([]string{"booti", "bootz", "bootm"}, k.Command) {
			return fmt.Errorf("boot.kernel: file %q is a path in the slot, and command %q one of booti, bootz, bootm", k.File, k.Command)
		}
	}
	if b.Address.Scratch == 0 || b.Address.Kernel == 0 || b.Address.DeviceTree == 0 || b.Address.Initrd == 0 {
		return errors.New("boot.address needs scratch, kernel, device_tree and initrd")
	}
	if n := len(p.variables()); n > maxVariables {
		return fmt.Errorf("boot.keep: %d variables are too many: U-Boot's commands take %d", n, maxVariables)
	}
	for _, s := range append([]string{p.Name, b.Initrd, b.DeviceTree, b.Console, b.Args, p.Disk.Linux}, b.Keep...) {
		if strings.ContainsAny(s, "'\";$\\&|\n") {
			return fmt.Errorf("%q has a character that means something to U-Boot's shell", s)
		}
	}
	return nil
}
