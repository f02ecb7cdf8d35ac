package bootloader_test

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/plimsoll-ota/plimsoll/bootloader"
)

// A board as it leaves the bench, with its environment in two files, installs a
// system into partition 3, tries it, and keeps it.
func Example() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)

	env := bootloader.Env{"mender_boot_part": "2", "upgrade_available": "0", "bootlimit": "1", "altbootcmd": "run mender_altbootcmd"}
	text := ""
	for i := range 2 {
		path := filepath.Join(dir, fmt.Sprint("env", i))
		raw, err := env.Encode(0x4000, true, byte(i))
		if err != nil {
			panic(err)
		}
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			panic(err)
		}
		text += path + " 0x0 0x4000\n"
	}
	config := filepath.Join(dir, "fw_env.config")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		panic(err)
	}

	copies, err := bootloader.ReadConfig(config)
	if err != nil {
		panic(err)
	}
	u, err := bootloader.OpenUBoot(bootloader.Options{LockPath: filepath.Join(dir, "lock")}, copies...)
	if err != nil {
		panic(err)
	}
	show := func() {
		s, err := u.State()
		fmt.Printf("partition %d, trial %v, id %q, %v\n", s.Part, s.Trial, s.ID, err)
	}
	show()
	fmt.Println(u.Try(bootloader.Trial{Part: 3, ID: "8d1f00c2a4b39e57", Limit: 3}))
	show()
	fmt.Println(u.Try(bootloader.Trial{Part: 3, ID: "another", Limit: 3}))
	fmt.Println(u.Commit(3, "1.1"))
	show()
	// Output:
	// partition 2, trial false, id "", <nil>
	// <nil>
	// partition 3, trial true, id "8d1f00c2a4b39e57", <nil>
	// an update is armed or on trial already
	// <nil>
	// partition 3, trial false, id "", <nil>
}

// A variable of one's own is changed like plimsoll's: all of them in one write,
// or none.
func ExampleUBoot_Update() {
	u, err := bootloader.OpenUBoot(bootloader.Options{},
		bootloader.Location{Path: "/dev/mmcblk0", Offset: 0x800000, Size: 0x20000},
		bootloader.Location{Path: "/dev/mmcblk0", Offset: 0x1000000, Size: 0x20000})
	if err != nil {
		fmt.Println(err)
		return
	}
	err = u.Update(func(e bootloader.Env) error {
		e["bootdelay"] = "0"
		delete(e, "silent")
		return nil
	})
	fmt.Println(err)
}
