package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/partition"

	"github.com/plimsoll-ota/plimsoll/cmd/internal/machine"
)

// slowly is how many bytes the emulated board's disk takes each second, as a
// card does.
const slowly = 20_000_000

// installSlowly lets the plimsoll of an emulated board install the image on a
// disk that writes slowly. Slot B holds other data, so that all of the image
// must be written. The times are the board's own.
func (b *bench) installSlowly() (s sample, err error) {
	ctx, cancel := context.WithTimeout(b.ctx, 10*time.Minute)
	defer cancel()
	debian, err := machine.Fetch(ctx)
	if err != nil {
		return s, err
	}
	disk, err := b.boardDisk(ctx, debian)
	if err != nil {
		return s, err
	}
	stick, err := b.boardStick()
	if err != nil {
		return s, err
	}
	// Two processors, of the four that a Raspberry Pi 3 has.
	m, err := debian.Start(ctx, machine.Config{
		Disks: []machine.Disk{{Path: disk, WriteRate: slowly}, {Path: stick, ReadOnly: true}}, Args: []string{"-smp", "2"},
	})
	if err != nil {
		return s, err
	}
	defer m.Cut()
	if _, err := m.Expect(ctx, machine.Ready); err != nil {
		return s, err
	}
	const install = `set -o pipefail; mount -t ext4 -o ro /dev/vdb /mnt; sync
now() { read -r up idle < /proc/uptime; echo "$up $1"; }
now begin; plimsoll --json install /mnt/slow.mender | while read -r line; do now "$line"; done && now end`
	out, code, err := m.Run(ctx, strings.ReplaceAll(install, "\n", "; "))
	if err != nil {
		return s, err
	}
	if code != 0 {
		return s, fmt.Errorf("on the board, plimsoll install: exit %d:\n%s", code, tail(out))
	}
	return timeline(out)
}

// timeline reads lines that begin with the board's uptime in seconds: begin, the
// events of an installation, end.
func timeline(out string) (s sample, err error) {
	type moment struct {
		at   float64
		done int64
	}
	var begin, verify, end float64
	var writing []moment
	for line := range strings.Lines(out) {
		var at float64
		first, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		if _, err := fmt.Sscan(first, &at); err != nil {
			return s, fmt.Errorf("no time in %q", line)
		}
		var e struct {
			Step string
			Done int64
		}
		switch {
		case rest == "begin":
			begin = at
		case rest == "end":
			end = at
		case json.Unmarshal([]byte(rest), &e) != nil:
			return s, fmt.Errorf("no event in %q", line)
		case e.Step == "write":
			writing = append(writing, moment{at, e.Done})
		case e.Step == "verify" && verify == 0:
			verify = at
		}
	}
	if begin == 0 || end == 0 || verify == 0 || len(writing) < 3 {
		return s, fmt.Errorf("an installation without its events:\n%s", tail(out))
	}
	since := func(at float64) time.Duration { return time.Duration((at - begin) * float64(time.Second)) }
	s.Wall, s.Settled = since(end), since(verify)
	first, last := writing[0], writing[len(writing)-1]
	if last.at == first.at {
		return s, errors.New("written within a hundredth of a second: there is no rate to look at")
	}
	// What an event tells is the rate since the writing began.
	mean := float64(last.done-first.done) / (last.at - first.at)
	for _, w := range writing[1 : len(writing)-1] {
		if w.at == first.at { // too early for a rate, and none was told
			continue
		}
		rate := float64(w.done-first.done) / (w.at - first.at)
		s.Uneven = max(s.Uneven, rate/mean-1, 1-rate/mean)
	}
	return s, nil
}

// boardDisk returns the disk of a board that runs from slot A and has other data
// in slot B.
func (b *bench) boardDisk(ctx context.Context, debian *machine.Debian) (string, error) {
	disk, tree := b.path("board.img"), b.path("board")
	command, err := machine.Command(ctx, "arm64")
	if err != nil {
		return "", err
	}
	if err := os.RemoveAll(tree); err != nil {
		return "", err
	}
	if err := debian.WriteGuest(tree, machine.Guest{Version: "1.0.0", Plimsoll: command}); err != nil {
		return "", err
	}
	if err := b.do(b.plimsoll, "--quiet", "image", "build", "--board", "qemu-arm64", "--rootfs", tree, "--key", b.key("public.pem"),
		"--slot-size", fmt.Sprint(b.size), "--data-size", "32MiB", "--no-bmap", "-o", disk); err != nil {
		return "", err
	}
	return disk, fillSlotB(disk)
}

// fillSlotB writes what is like no block of an image.
func fillSlotB(disk string) (err error) {
	f, err := os.OpenFile(disk, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	table, err := partition.Read(file.New(f, false), 512, 512)
	if err != nil {
		return err
	}
	all := table.GetPartitions()
	if len(all) < 3 {
		return fmt.Errorf("%s: %d partitions, and the third is to be slot B", disk, len(all))
	}
	b := all[2]
	random, buf := rand.NewChaCha8([32]byte{2}), make([]byte, piece)
	for at := int64(0); at < b.GetSize(); at += piece {
		random.Read(buf)
		if _, err := f.WriteAt(buf[:min(piece, b.GetSize()-at)], b.GetStart()+at); err != nil {
			return err
		}
	}
	return f.Sync()
}

// boardStick returns a file system with the image as an artifact for the board.
func (b *bench) boardStick() (string, error) {
	dir, stick := b.path("stick"), b.path("stick.img")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	path := filepath.Join(dir, "slow.mender")
	if err := b.do(b.plimsoll, "--quiet", "artifact", "write", "rootfs-image", "-f", b.image, "-n", "release-2", "-c", "qemu-arm64",
		"-k", b.key("private.pem"), "-o", path); err != nil {
		return "", err
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	return stick, b.do("mke2fs", "-q", "-F", "-t", "ext4", "-d", dir, stick, fmt.Sprintf("%dM", info.Size()>>20+32))
}

// pace is how long the slow disk takes for the image at the least.
func (b *bench) pace() (sample, error) {
	return sample{Wall: time.Duration(float64(b.size) / slowly * float64(time.Second))}, nil
}
