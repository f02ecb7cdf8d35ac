package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plimsoll-ota/plimsoll/bootloader"
)

// A trouble is something wrong with a device that keeps an artifact from being installed.
type trouble struct {
	name    string
	breaks  func(t *testing.T, b bench)
	code    int
	says    []string
	status  int  // exit code of status, if it is not 0
	rebuilt bool // the trouble took slots or environment away: what is there is not compared
}

// configured makes a trouble of a line of the configuration.
func configured(old, new string) func(*testing.T, bench) {
	return func(t *testing.T, b bench) { t.Helper(); b.configure(t, old, new) }
}

// environment makes a trouble of variables; "" deletes one.
func environment(changes map[string]string) func(*testing.T, bench) {
	return func(t *testing.T, b bench) {
		t.Helper()
		e := bootloader.Env{}
		for k, v := range benchEnv {
			e[k] = v
		}
		for k, v := range changes {
			if e[k] = v; v == "" {
				delete(e, k)
			}
		}
		if err := b.writeEnv(e); err != nil {
			t.Fatal(err)
		}
	}
}

// corrupt damages copies of the environment.
func corrupt(copies ...int) func(*testing.T, bench) {
	return func(t *testing.T, b bench) {
		t.Helper()
		raw := []byte(readFile(t, b.path("uboot.env")))
		for _, c := range copies {
			raw[c*benchEnvSize+100] ^= 1
		}
		writeFile(t, b.path("uboot.env"), string(raw))
	}
}

// must fails the test on an error.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var troubles = []trouble{
	{"unknown key", configured(`device_type`, "devicetype = 1\ndevice_type"), 5, []string{"plimsoll.toml: unknown key devicetype"}, 5, false},
	{"unknown key in a section", configured(`[trust]`, "[trust]\nkey = \"x\""), 5, []string{"unknown key trust.key"}, 5, false},
	{"bad TOML", configured(`[trust]`, "[trust"), 5, []string{"plimsoll.toml"}, 5, false},
	{"no device type", configured(`device_type = "bench"`, ""), 5, []string{"device_type is missing"}, 5, false},
	{"wrong kind of value", configured(`device_type = "bench"`, "device_type = 7"), 5, []string{"plimsoll.toml"}, 5, false},
	{"slot is a float", configured(`a = "slot2.img"`, "a = 2.5"), 5, []string{"a slot is a partition number or a string"}, 5, false},
	{"slot is missing", configured(`a = "slot2.img"`, ""), 5, []string{"[slots] a and b are needed"}, 5, false},
	{"running is neither", configured(`running = "bootloader"`, `running = "guess"`), 5, []string{`not "guess"`}, 5, false},
	{"too many boots", configured(`[bootloader]`, "[trial]\nboots = 1000\n[bootloader]"), 5, []string{"1 to 100, not 1000"}, 5, false},
	{"no boots", configured(`[bootloader]`, "[trial]\nboots = 0\n[bootloader]"), 5, []string{"1 to 100, not 0"}, 5, false},
	{"unknown bootloader", configured(`[bootloader]`, "[bootloader]\nkind = \"lilo\""), 5, []string{`not "lilo"`}, 5, false},
	{"unknown counter", configured(`[bootloader]`, "[bootloader]\ncounter = \"abacus\""), 5, []string{`not "abacus"`}, 5, false},
	{"state_dir empty", configured(`state_dir = "state"`, `state_dir = ""`), 5, []string{"state_dir is empty"}, 5, false},

	{"state_dir missing", configured(`"state"`, `"nowhere"`), 5, []string{"nowhere", "hint: mount a writable partition"}, 5, false},
	{"state_dir is a file", configured(`"state"`, `"fw_env.config"`), 5, []string{"fw_env.config"}, 5, false},

	{"slot B is not there", func(t *testing.T, b bench) { must(t, os.Remove(b.path("slot3.img"))) }, 5, []string{"find slot B", "no such slot", "[slots]"}, 5, true},
	{"slot has no number", configured("slot2.img", "plimsoll.toml"), 5, []string{"no number is configured"}, 5, false},
	{"slot is a folder", configured(`"slot2.img"`, `"state"`), 5, []string{"a folder"}, 5, false},
	{"slot is a pipe", func(t *testing.T, b bench) {
		must(t, unix.Mkfifo(b.path("pipe4"), 0o600))
		b.configure(t, "slot2.img", "pipe4")
	}, 5, []string{"neither a block device nor a plain file"}, 5, false},
	{"slot is raw flash", configured("slot3.img", "/dev/ubi0_1"), 5, []string{"raw flash"}, 5, false},
	{"PARTUUID of nothing", configured("slot3.img", "PARTUUID=12345678-9a"), 5, []string{"12345678-9a"}, 5, false},
	{"both slots the same", configured("slot3.img", "slot2.img"), 5, []string{"both slots are the same"}, 5, false},
	{"same number", configured(`running =`, "b_part = 2\nrunning ="), 5, []string{"both slots are the same", "number 2"}, 5, false},
	{"both the same by a symbolic link", func(t *testing.T, b bench) {
		must(t, os.Symlink("slot2.img", b.path("slot9.img")))
		b.configure(t, "slot3.img", "slot9.img")
	}, 5, []string{"both slots are the same"}, 5, false},
	{"both the same by a hard link", func(t *testing.T, b bench) {
		must(t, os.Link(b.path("slot2.img"), b.path("slot9.img")))
		b.configure(t, "slot3.img", "slot9.img")
	}, 5, []string{"both slots are the same"}, 5, false},
	{"slot is locked", func(t *testing.T, b bench) { flock(t, b.path("slot3.img")) }, 1, []string{"slot is in use", "the device is unchanged"}, 0, false},
	{"slot is too small", func(t *testing.T, b bench) { must(t, os.Truncate(b.path("slot3.img"), 299999)) }, 1, []string{"image does not fit", "300000", "299999", "the device is unchanged"}, 0, false},

	{"fw_env.config missing", configured("fw_env.config", "nowhere.config"), 5, []string{"nowhere.config"}, 5, false},
	{"fw_env.config empty", func(t *testing.T, b bench) { writeFile(t, b.path("fw_env.config"), "# nothing\n") }, 5, []string{"no environment is configured"}, 5, false},
	{"environment is not there", func(t *testing.T, b bench) { must(t, os.Remove(b.path("uboot.env"))) }, 5, []string{"uboot.env"}, 5, true},
	{"environment lost", corrupt(0, 1), 5, []string{"needs attention"}, 5, false},
	{"single copy", func(t *testing.T, b bench) {
		writeFile(t, b.path("fw_env.config"), fmt.Sprintf("%s 0x0 %#x\n", b.path("uboot.env"), benchEnvSize))
		single, err := benchEnv.Encode(benchEnvSize, false, 0)
		must(t, err)
		writeFile(t, b.path("uboot.env"), string(single))
	}, 5, []string{"single copy", "hint: configure a redundant environment"}, 0, false},
	{"one copy configured of two", func(t *testing.T, b bench) {
		writeFile(t, b.path("fw_env.config"), fmt.Sprintf("%s 0x0 %#x\n", b.path("uboot.env"), benchEnvSize))
	}, 5, nil, 5, false},
	{"copies overlap", func(t *testing.T, b bench) {
		writeFile(t, b.path("fw_env.config"), fmt.Sprintf("%[1]s 0x0 %#[2]x\n%[1]s 0x2000 %#[2]x\n", b.path("uboot.env"), benchEnvSize))
	}, 5, []string{"overlap"}, 5, false},
	{"bootloader cannot save", environment(map[string]string{"mender_check_saveenv_canary": "1", "mender_saveenv_canary": ""}), 5, []string{"can save its environment"}, 0, false},
	{"bootlimit 0", environment(map[string]string{"bootlimit": "0"}), 5, []string{"would never fall back"}, 0, false},
	{"no bootlimit", environment(map[string]string{"bootlimit": ""}), 5, []string{"would never fall back"}, 0, false},
	{"another client's trial", environment(map[string]string{"upgrade_available": "1"}), 1, []string{"another client's update", "the device is unchanged"}, 0, false},
	{"another client's arm", environment(map[string]string{"upgrade_available": "1", "mender_boot_part": "3"}), 1, []string{"another client's update"}, 0, false},
	{"boot part is neither", environment(map[string]string{"mender_boot_part": "9"}), 5, []string{"needs attention"}, 5, false},

	{"another plimsoll is at work", func(t *testing.T, b bench) { flock(t, b.path("state/lock")) }, 1, []string{"another plimsoll is at work", "hint: wait", "the device is unchanged"}, 0, false},
	{"another device type", configured(`"bench"`, `"toaster"`), 3, []string{`it is for "bench", this is "toaster"`, "the device is unchanged"}, 0, false},
}

// flock locks a file for as long as the test runs.
func flock(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	must(t, err)
	must(t, unix.Flock(int(f.Fd()), unix.LOCK_EX))
	t.Cleanup(func() { f.Close() })
}

// TestTroubles breaks a device in each way, and tries to install. Nothing changes, the message and the code say what is wrong, and status
// does too, with the same code where the device needs attention.
func TestTroubles(t *testing.T) {
	t.Parallel()
	path := order{name: "rel-1", image: picture(300000, 4), key: "p256"}.write(t)
	for _, tt := range troubles {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			tt.breaks(t, b)
			unchanged := func() {}
			if !tt.rebuilt {
				unchanged = b.before(t)
			}
			b.run("status").want(t, tt.status)
			b.run("install", path).want(t, tt.code, tt.says...)
			b.run("install", "--allow-downgrade", "--retry", path).want(t, tt.code, tt.says...)
			r := b.run("--json", "install", path)
			if events, err := r.events(); err != nil || events[len(events)-1]["exit"] != float64(tt.code) || r.stderr != "" {
				t.Errorf("--json: %v\n%s%s", err, r.stdout, r.stderr)
			}
			unchanged()
		})
	}
}

// One copy of the environment is enough: that is what the other is for. It is the damaged one that is written.
func TestOneCopyLost(t *testing.T) {
	t.Parallel()
	path := order{name: "rel-1", image: picture(300000, 4), key: "p256"}.write(t)
	for lost := range 2 {
		b := newBench(t)
		corrupt(lost)(t, b)
		good := readFile(t, b.path("uboot.env"))[(1-lost)*benchEnvSize:][:benchEnvSize]
		b.run("status").want(t, 0)
		b.run("install", path).want(t, 0)
		b.hasEnv(t, "mender_boot_part", "3", "upgrade_available", "1")
		if readFile(t, b.path("uboot.env"))[(1-lost)*benchEnvSize:][:benchEnvSize] != good {
			t.Error("the good copy was written")
		}
	}
}

// Forward only, and not what failed, unless a person says so.
func TestPolicy(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	image := picture(300000, 4)
	version := func(name, v string, flags ...string) string {
		return order{name: name, image: image, key: "p256", flags: append([]string{"--software-version", v}, flags...)}.write(t)
	}
	refused := func(code int, path string, says ...string) {
		t.Helper()
		unchanged := b.before(t)
		b.run("install", path).want(t, code, append(says, "the device is unchanged")...)
		unchanged()
	}
	accepted := func(args ...string) {
		t.Helper()
		b.run(append([]string{"install"}, args...)...).want(t, 0)
		b.run("commit").want(t, 0)
	}
	two, three, ten := version("two", "2.0"), version("three", "3.0"), version("ten", "10.0", "-p", "plimsoll.floor:3.0", "-p", "site:harbour", "-g", "fleet")
	refused(3, version("late", "4.0", "-N", "three"), "depends on", `needs artifact "three"`, "unknown")
	refused(3, version("grouped", "4.0", "-G", "fleet"), `needs group "fleet"`)
	refused(3, version("sited", "4.0", "-d", "site:harbour"), `needs site to be "harbour"`)
	accepted(three)
	refused(3, two, "older than what is installed", "version 2.0, and 3.0 is installed", "hint: if going back is what you want: --allow-downgrade")
	accepted("--allow-downgrade", two)
	accepted(version("late", "4.0", "-N", "three", "-N", "two"))
	accepted(ten) // and not "older" by its first digit
	accepted(version("sited", "10.1", "-d", "site:harbour", "-G", "fleet"))
	accepted("--allow-downgrade", three)
	refused(3, two, "the floor is 3.0")
	accepted("--allow-downgrade", two)
	accepted(version("named", "release-8")) // no version number: a person may
}

// The same image again: the slot is not written.
func TestSameImageAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	path := order{name: "rel-1", image: picture(1500000, 4), key: "p256"}.write(t)
	b.run("install", path).want(t, 0)
	b.run("rollback").want(t, 0)
	st, err := os.Stat(b.path("slot3.img"))
	must(t, err)
	b.run("install", path).want(t, 0)
	again, err := os.Stat(b.path("slot3.img"))
	must(t, err)
	if !again.ModTime().Equal(st.ModTime()) {
		t.Error("the slot was written again")
	}
}

// loop makes a loop device of a file until the test ends.
func loop(t testing.TB, file string, flags ...string) string {
	t.Helper()
	dev := strings.TrimSpace(peer(t, "losetup", append(flags, "-f", "--show", file)...))
	t.Cleanup(func() { peer(t, "losetup", "-d", dev) })
	return dev
}

// mount mounts until the test ends.
func mount(t testing.TB, source, target, kind string, flags uintptr, data string) {
	t.Helper()
	must(t, unix.Mount(source, target, kind, flags, data))
	t.Cleanup(func() { must(t, unix.Unmount(target, 0)) })
}

var leftOut sync.Once

// asRoot reports whether mounts and loop devices can be made. Where everything is to be tested they must.
func asRoot(t *testing.T) bool {
	if os.Geteuid() == 0 {
		return true
	}
	if os.Getenv("CI") == "true" {
		t.Error("not root")
	}
	leftOut.Do(func() { t.Log("not root: what needs loop devices and mounts is left out") })
	return false
}

// Troubles that only the kernel can make.
func TestTroublesOfBlockDevices(t *testing.T) {
	t.Parallel()
	if !asRoot(t) {
		return
	}
	path := order{name: "rel-1", image: picture(300000, 4), key: "p256"}.write(t)
	refuses := func(t *testing.T, b bench, code int, says ...string) {
		t.Helper()
		unchanged := b.before(t)
		b.run("install", path).want(t, code, says...)
		unchanged()
	}
	onLoop := func(t *testing.T, b bench, slot, part string) string {
		t.Helper()
		dev := loop(t, b.path(slot))
		b.configure(t, `"`+slot+`"`, `"`+dev+"\"\n"+part)
		return dev
	}
	t.Run("slot is mounted", func(t *testing.T) {
		b := newBench(t)
		peer(t, "mkfs.ext4", "-q", b.path("slot3.img"))
		mount(t, onLoop(t, b, "slot3.img", "b_part = 3"), t.TempDir(), "ext4", unix.MS_RDONLY, "")
		refuses(t, b, 1, "slot is in use", "hint: unmount the inactive slot", "the device is unchanged")
	})
	t.Run("file is shown by a loop device", func(t *testing.T) {
		b := newBench(t)
		loop(t, b.path("slot3.img"))
		refuses(t, b, 1, "slot is in use")
	})
	t.Run("both slots are loop devices of one file", func(t *testing.T) {
		b := newBench(t)
		onLoop(t, b, "slot2.img", "a_part = 2")
		b.configure(t, `"slot3.img"`, `"`+loop(t, b.path("slot2.img"))+"\"\nb_part = 3")
		refuses(t, b, 5, "both slots are the same")
	})
	t.Run("one slot is the file behind the other", func(t *testing.T) {
		b := newBench(t)
		onLoop(t, b, "slot2.img", "a_part = 2")
		b.configure(t, `"slot3.img"`, "\"slot2.img\"\nb_part = 3")
		refuses(t, b, 5, "both slots are the same")
	})
	t.Run("write-protected", func(t *testing.T) {
		b := newBench(t)
		dev := loop(t, b.path("slot3.img"), "-r")
		b.configure(t, `"slot3.img"`, `"`+dev+"\"\nb_part = 3")
		refuses(t, b, 1, "read-only file system", "the device is unchanged")
	})
	t.Run("loop devices", func(t *testing.T) {
		b := newBench(t)
		onLoop(t, b, "slot2.img", "a_part = 2")
		dev := onLoop(t, b, "slot3.img", "b_part = 3")
		b.run("install", path).want(t, 0)
		if peer(t, "head", "-c", "300000", dev) != string(picture(300000, 4)) {
			t.Errorf("%s does not hold the image", dev)
		}
	})
	t.Run("state_dir is read-only", func(t *testing.T) {
		b := newBench(t)
		mount(t, "none", b.path("state"), "tmpfs", unix.MS_RDONLY, "")
		refuses(t, b, 5, "read-only file system", "hint: mount a writable partition")
	})
	t.Run("state_dir is full", func(t *testing.T) {
		b := newBench(t)
		mount(t, "none", b.path("state"), "tmpfs", 0, "size=64k")
		fill(t, b.path("state/filler"))
		refuses(t, b, 1, "no space left on device", "hint: the disk is full", "the device is unchanged")
	})
	t.Run("the disk of a new artifact is full", func(t *testing.T) {
		dir := t.TempDir()
		mount(t, "none", dir, "tmpfs", 0, "size=256k")
		out := filepath.Join(dir, "rel-1.mender")
		image := filepath.Join(t.TempDir(), "image")
		writeFile(t, image, string(picture(300000, 4)))
		call(nil, "artifact", "write", "rootfs-image", "-f", image, "-n", "x", "-c", "y", "-o", out).want(t, 1, "no space left on device", "hint: the disk is full")
		if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
			t.Errorf("%v is left (%v)", left, err)
		}
	})
}

// fill writes until the disk is full.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	must(t, err)
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
}
