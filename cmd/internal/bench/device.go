package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// environment is that of a board that follows Mender's convention and runs
// from slot A.
const environment = `mender_boot_part=2
mender_boot_part_hex=2
upgrade_available=0
bootcount=0
bootlimit=3
altbootcmd=run mender_altbootcmd
mender_check_saveenv_canary=1
mender_saveenv_canary=1
`

// A device is one of files that runs from slot A; slot B is real.
type device struct {
	dir string
	env []byte // both copies, as they were at first
}

func (b *bench) makeDevice() (err error) {
	b.device, err = b.newDevice("device", b.slot)
	return err
}

func (b *bench) newDevice(name string, s *slot) (d device, err error) {
	d.dir = filepath.Join(b.work, name)
	if err := os.MkdirAll(d.path("state"), 0o755); err != nil {
		return d, err
	}
	for name, text := range map[string]string{
		"env.txt":       environment,
		"fw_env.config": fmt.Sprintf("%[1]s 0x0 0x4000\n%[1]s 0x4000 0x4000\n", d.path("uboot.env")),
		"plimsoll.toml": fmt.Sprintf("device_type = \"bench\"\nstate_dir = \"state\"\n[trust]\nkeys = [%q]\n"+
			"[slots]\na = \"slotA.img\"\na_part = 2\nb = %q\nb_part = 3\nrunning = \"bootloader\"\n[bootloader]\nfw_env_config = \"fw_env.config\"\nlock = \"lock\"\n",
			b.key("public.pem"), s.path),
		"slotA.img": "",
	} {
		if err := os.WriteFile(d.path(name), []byte(text), 0o644); err != nil {
			return d, err
		}
	}
	if err := os.Truncate(d.path("slotA.img"), s.size); err != nil {
		return d, err
	}
	if err := b.do("mkenvimage", "-r", "-s", "0x4000", "-o", d.path("env.bin"), d.path("env.txt")); err != nil {
		return d, err
	}
	one, err := os.ReadFile(d.path("env.bin"))
	d.env = append(one, one...)
	return d, err
}

func (d device) path(name string) string { return filepath.Join(d.dir, name) }

// reset makes the device one that never saw an update.
func (d device) reset() error {
	if err := os.RemoveAll(d.path("state")); err != nil {
		return err
	}
	if err := os.Mkdir(d.path("state"), 0o755); err != nil {
		return err
	}
	return os.WriteFile(d.path("uboot.env"), d.env, 0o644)
}

// install lets plimsoll install an artifact, and notes when it began to read
// back.
func (b *bench) install(d device, artifact string) (sample, error) {
	if err := warm(artifact); err != nil {
		return sample{}, err
	}
	var until time.Duration
	begun := time.Now()
	s, err := b.timed(command{
		args: []string{b.plimsoll, "--json", "--config", d.path("plimsoll.toml"), "install", artifact},
		line: func(line string) {
			var e struct{ Event, Step string }
			if json.Unmarshal([]byte(line), &e) == nil && e.Step == "verify" && until == 0 {
				until = time.Since(begun)
			}
		},
	})
	if err == nil && until == 0 {
		return s, fmt.Errorf("install %s: no event says when the read-back began", filepath.Base(artifact))
	}
	s.Settled = until
	return s, err
}

// path is one in the folder of what is made anew.
func (b *bench) path(name string) string { return filepath.Join(b.work, name) }

// write lets plimsoll write an artifact.
func (b *bench) write(image, compression, to string) (sample, error) {
	if err := warm(image); err != nil {
		return sample{}, err
	}
	s, err := b.timed(command{args: []string{b.plimsoll, "--quiet", "artifact", "write", "rootfs-image", "-f", image, "-n", "release-2",
		"-c", "bench", "-k", b.key("private.pem"), "--compression", compression, "-o", to}})
	return measured(s, err, to)
}

// measured adds the size of the file that was made.
func measured(s sample, err error, path string) (sample, error) {
	if err != nil {
		return s, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return s, err
	}
	s.Size = info.Size()
	return s, nil
}

// key is a file of the keys, which what is kept is signed with.
func (b *bench) key(name string) string { return filepath.Join(b.kept, name) }

// makeKeys makes a P-256 key for artifacts, and a certificate for the peers
// that want one.
func (b *bench) makeKeys() error {
	for _, k := range []struct{ name, line string }{
		{"private.pem", "openssl ecparam -genkey -name prime256v1 -noout -out $0"},
		{"public.pem", "openssl ec -in ${0%/*}/private.pem -pubout -out $0"},
		{"certificate.key", "openssl genrsa -out $0 2048"},
		{"certificate.pem", "openssl req -x509 -new -key ${0%/*}/certificate.key -out $0 -subj /CN=bench -days 3650 -addext extendedKeyUsage=emailProtection"},
	} {
		if _, err := b.make(b.kept, k.name, func(path string) error { return b.doPeer("sh", "-euc", k.line, path) }); err != nil {
			return err
		}
	}
	return nil
}
