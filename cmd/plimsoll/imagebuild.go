package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/plimsoll-ota/plimsoll/bootloader"
	"github.com/plimsoll-ota/plimsoll/bootloader/board"
	"github.com/plimsoll-ota/plimsoll/partition/image"
)

// oldest is the time of everything that has none of its own: the oldest that a
// FAT knows. The clock of no device is before it for long.
var oldest = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

// A build is a disk image in the making.
type build struct {
	imageOptions
	out    *output
	board  *board.Profile
	layout []board.Partition
	time   time.Time
	id     image.ID
	work   string       // a folder beside the output
	trust  []image.File // the public keys
}

func (a *app) runImageBuild(ctx context.Context, o imageOptions) error {
	b := &build{imageOptions: o, out: a.out, time: oldest}
	if o.sourceDateEpoch != "" {
		n, err := strconv.ParseInt(o.sourceDateEpoch, 10, 64)
		if err != nil {
			return fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
		}
		b.time = time.Unix(max(n, oldest.Unix()), 0)
	}
	var err error
	if b.board, err = board.Load(o.board, o.boardDirs...); err != nil {
		return err
	}
	if b.deviceType == "" {
		b.deviceType = b.board.DeviceType
	}
	if err := b.make(ctx); err != nil {
		return fmt.Errorf("build %s: %w", o.output, err)
	}
	return nil
}

func (b *build) make(ctx context.Context) (err error) {
	disk, boot, err := b.plan()
	if err != nil {
		return err
	}
	b.introduce()
	if b.work, err = os.MkdirTemp(filepath.Dir(b.output), "."+filepath.Base(b.output)+".*"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.work)) }()
	if disk.ID, err = b.identify(ctx, boot, disk.Areas); err != nil {
		return err
	}
	b.id = disk.ID
	if err := b.fill(ctx, disk, boot); err != nil {
		return err
	}
	if err := disk.Write(ctx, b.output); err != nil {
		return err
	}
	if b.slotImage != "" {
		if err := b.keepSlot(ctx); err != nil {
			return err
		}
	}
	b.report(disk)
	return nil
}

// introduce says what the board's profile wants a person to know.
func (b *build) introduce() {
	if b.board.Experimental {
		b.out.say("note: the board %s is experimental", b.board.Name)
	}
	if notes := strings.TrimSpace(b.board.Notes); notes != "" {
		b.out.say("%s", notes)
	}
}

// plan lays the disk out and looks for everything that is needed, before
// anything that takes time.
func (b *build) plan() (*image.Disk, []image.File, error) {
	if err := b.arrange(); err != nil {
		return nil, nil, err
	}
	disk := &image.Disk{Table: b.board.Disk.Table, Size: b.diskSize(), Time: b.time, Bmap: !b.noBmap}
	for _, p := range b.layout {
		disk.Partitions = append(disk.Partitions, image.Partition{
			Name: p.Name, Boot: p.Name == "boot", Start: int64(p.Start), Size: int64(p.Size),
		})
	}
	boot, err := b.bootFiles()
	if err != nil {
		return nil, nil, err
	}
	if b.trust, err = b.keyFiles(); err != nil {
		return nil, nil, err
	}
	if disk.Areas, err = b.environment(); err != nil {
		return nil, nil, err
	}
	disk.Report = func(done, total int64) { b.out.count("write", done, total) }
	return disk, boot, disk.Check()
}

// back is what a disk image has behind its last partition: the second table of
// a GPT, and no more than that.
func (b *build) back() board.Size {
	if b.board.Disk.Table == image.GPT {
		return 1 << 20
	}
	return 0
}

func (b *build) diskSize() int64 {
	if b.size != 0 {
		return int64(b.size)
	}
	last := b.layout[len(b.layout)-1]
	return int64(last.Start + last.Size + b.back())
}

// arrange gives the partitions the sizes that were asked for, each behind the
// one before it.
func (b *build) arrange() error {
	shift := board.Size(0)
	for _, p := range b.board.Partitions {
		old := p.Size
		p.Start += shift
		switch {
		case b.slot != 0 && (p.Name == "a" || p.Name == "b"):
			p.Size = b.slot
		case b.data != 0 && p.Name == "data":
			p.Size = b.data
		case b.size != 0 && p.Name == "data":
			p.Size = max((b.size-b.back()-p.Start)/b.board.Disk.Align*b.board.Disk.Align, 0)
			if p.Size < minimalData {
				return fmt.Errorf("a disk of %v leaves %v for the data partition behind %v: %w: %v at least", b.size, p.Size, p.Start, image.ErrSize, board.Size(minimalData))
			}
		}
		if p.Size <= 0 || p.Size%b.board.Disk.Align != 0 {
			return fmt.Errorf("partition %s of %v: its size must be a multiple of %v", p.Name, p.Size, b.board.Disk.Align)
		}
		shift += p.Size - old
		b.layout = append(b.layout, p)
	}
	return nil
}

// minimalData is what an ext4 with a journal needs to hold some state.
const minimalData = 16 << 20

// partition returns one by its name, as it is laid out.
func (b *build) partition(name string) board.Partition { return b.layout[b.board.Number(name)-1] }

// bootFiles returns what goes on the boot partition: script and firmware.
func (b *build) bootFiles() ([]image.File, error) {
	files := []image.File{}
	if b.board.Boot.Method == board.MethodScript {
		script := board.ScriptImage(b.board.Script(), "plimsoll "+b.board.Name, b.board.Arch, b.time)
		files = append(files, image.File{Name: b.board.Boot.Script, Data: script})
	}
	var missing []string
	for _, f := range b.board.Firmware {
		switch from, err := b.findFirmware(f.File); {
		case err != nil:
			return nil, err
		case from != "":
			files = append(files, image.File{Name: f.File, From: from})
		case f.Content != "":
			files = append(files, image.File{Name: f.File, Data: []byte(f.Content)})
		case !f.Optional:
			missing = append(missing, fmt.Sprintf("%s (%s)", f.File, strings.Join(f.From, "; ")))
		}
	}
	if len(missing) > 0 && !b.allowMissing {
		return nil, fmt.Errorf("firmware is missing; name its folders with --firmware, or leave it out with --allow-missing-firmware: %s", strings.Join(missing, ", "))
	}
	for _, m := range missing {
		b.out.say("note: left out, and the board will not start without it: %s", m)
	}
	return files, nil
}

func (b *build) findFirmware(name string) (string, error) {
	for _, dir := range b.firmware {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	return "", nil
}

// environment returns what stands where the boot environment is: its first
// content, or zeros, so that no environment of the medium's past is found.
func (b *build) environment() ([]image.Area, error) {
	e := b.board.FirstEnvironment()
	if b.initialEnv != "" {
		if e != nil {
			return nil, fmt.Errorf("--initial-env %s: the environment of %s is its boot script's", b.initialEnv, b.board.Name)
		}
		text, err := os.ReadFile(b.initialEnv)
		if err != nil {
			return nil, err
		}
		if e, err = parseEnvironment(string(text)); err != nil {
			return nil, fmt.Errorf("%s: %w", b.initialEnv, err)
		}
	}
	size := int64(b.board.Environment.Size)
	copies := [2][]byte{make([]byte, size), make([]byte, size)}
	if e != nil {
		var err error
		if copies, err = b.board.EnvironmentCopies(e); err != nil {
			return nil, err
		}
	}
	var areas []image.Area
	for i, offset := range b.board.Environment.Offsets {
		areas = append(areas, image.Area{Name: fmt.Sprintf("boot environment, copy %d", i+1), Offset: int64(offset), Data: copies[i]})
	}
	return areas, nil
}

// parseEnvironment reads name=value a line; a line that begins with # is none.
func parseEnvironment(text string) (bootloader.Env, error) {
	e := bootloader.Env{}
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimRight(line, "\r")
		if line == "" || line[0] == '#' {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("line %d: %q is not name=value", i+1, line)
		}
		if _, twice := e[name]; twice {
			return nil, fmt.Errorf("line %d: %s is there twice", i+1, name)
		}
		e[name] = value
	}
	return e, nil
}

// identify derives the identity of the disk from everything that goes in.
func (b *build) identify(ctx context.Context, boot []image.File, areas []image.Area) (image.ID, error) {
	b.step("read the root file system")
	h := sha256.New()
	profile, err := json.Marshal(b.board)
	if err != nil {
		return image.ID{}, err
	}
	fmt.Fprintf(h, "plimsoll disk image 1\n%s\n%v %d %q %v %d\n%v\n", profile, b.layout, b.diskSize(), b.deviceType, b.fillB, b.time.Unix(), areas)
	var from []string
	for _, f := range boot {
		fmt.Fprintf(h, "%s %q\n", f.Name, f.Data)
		if f.From != "" {
			from = append(from, f.From)
		}
	}
	for _, path := range append(append(from, b.keys...), b.rootfs) {
		if err := image.Identify(ctx, h, path); err != nil {
			return image.ID{}, err
		}
	}
	return image.ID(h.Sum(nil)[:16]), nil
}

// step names what is done next.
func (b *build) step(what string) { b.out.count(what, 0, 0) }

// fill makes the contents of the partitions.
func (b *build) fill(ctx context.Context, disk *image.Disk, boot []image.File) error {
	if err := b.makeSlot(ctx); err != nil {
		return err
	}
	if err := b.makeData(ctx); err != nil {
		return err
	}
	for i := range disk.Partitions {
		switch p := &disk.Partitions[i]; {
		case p.Name == "boot":
			p.FAT, p.Label = boot, "boot"
		case p.Name == "a", p.Name == "b" && b.fillB:
			p.Image = b.path("slot.ext4")
		case p.Name == "data":
			p.Image = b.path("data.ext4")
		}
	}
	return nil
}

// path is where a part of the image is made.
func (b *build) path(name string) string { return filepath.Join(b.work, name) }

func (b *build) makeData(ctx context.Context) error {
	b.step("make the data partition")
	e := image.Ext4{Size: int64(b.partition("data").Size), Label: "data", ID: b.id.Sub("data"), Time: b.time, Inode: 16384}
	if err := e.Make(ctx, b.path("data.ext4")); err != nil {
		return err
	}
	return image.AddFiles(ctx, b.path("data.ext4"), b.time, image.File{Name: "plimsoll", Mode: fs.ModeDir | 0o700})
}

// keepSlot gives slot A's image its name.
func (b *build) keepSlot(ctx context.Context) error {
	src, err := os.Open(b.path("slot.ext4"))
	if err != nil {
		return err
	}
	defer src.Close()
	r, err := replace(b.slotImage, 0o644)
	if err != nil {
		return err
	}
	if err := image.Copy(ctx, r.File, src); err != nil {
		return errors.Join(err, r.abort())
	}
	return r.commit()
}

func (b *build) report(disk *image.Disk) {
	f := fields{
		"file": b.output, "board": b.board.Name, "device_type": b.deviceType, "id": b.id.UUID(), "size": disk.Size,
		"slot_size": int64(b.partition("a").Size), "data_size": int64(b.partition("data").Size),
	}
	if disk.Bmap {
		f["bmap"] = b.output + ".bmap"
	}
	if b.slotImage != "" {
		f["slot_image"] = b.slotImage
	}
	b.out.result("image", f, "%s: %v for %s, slots of %v, data partition of %v", b.output,
		board.Size(disk.Size), b.board.Name, b.partition("a").Size, b.partition("data").Size)
}
