package image_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/plimsoll-ota/plimsoll/partition"
	"github.com/plimsoll-ota/plimsoll/partition/image"
)

// A disk with two empty partitions and some bytes in front of them.
func ExampleDisk() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	d := image.Disk{
		Table: image.GPT, Size: 64 << 20, ID: image.ID{1, 2, 3}, Bmap: true,
		Areas: []image.Area{{Name: "bootloader", Offset: 4 << 20, Data: []byte("code")}},
		Partitions: []image.Partition{
			{Name: "a", Start: 8 << 20, Size: 24 << 20},
			{Name: "b", Start: 32 << 20, Size: 24 << 20},
		},
	}
	if err := d.Write(context.Background(), filepath.Join(dir, "disk.img")); err != nil {
		log.Fatal(err)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		log.Fatal(err)
	}
	for _, f := range files {
		fmt.Println(f.Name())
	}

	d.Partitions[0].Size = 25 << 20
	fmt.Println(d.Check())
	// Output:
	// disk.img
	// disk.img.bmap
	// bad layout: partition 1 (a) (8388608 to 34603008) reaches into partition 2 (b) (33554432 to 58720256)
}

// The file system of a slot from a tar, with one more file.
func ExampleExt4() {
	ctx, epoch := context.Background(), time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	e := image.Ext4{Source: "rootfs.tar.zst", Size: 512 << 20, ID: image.ID{1}, Time: epoch}
	if err := e.Make(ctx, "slot.ext4"); err != nil {
		log.Fatal(err)
	}
	hostname := image.File{Name: "/etc/hostname", Data: []byte("device\n"), Mode: 0o644}
	if err := image.AddFiles(ctx, "slot.ext4", epoch, hostname); err != nil {
		log.Fatal(err)
	}
}

// The disk that the running system was started from.
func ExampleGrow() {
	var host partition.Host
	disk, err := host.RootDisk()
	if err != nil {
		log.Fatal(err)
	}
	g, err := image.Grow(disk, host)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(g.Changed, g.Is)
}
