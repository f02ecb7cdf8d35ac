package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The peers run in a Debian root file system of their own, on a loop device
// that they see as /dev/mmcblk0p2, slot A; the slot is their /dev/mmcblk0p3.
// Folders of the bench have the same paths inside as outside.

const (
	peerRelease  = "bookworm"
	peerPackages = "mender-client,mender-artifact,libubootenv-tool,rauc,squashfs-tools,mount,swupdate,dbus-daemon,openssl,cpio,zstd"
	slotA        = "/dev/mmcblk0p2"
	slotB        = "/dev/mmcblk0p3"
)

// peerFiles are what the peers are configured with.
var peerFiles = map[string]string{
	"/etc/fw_env.config":        "/data/uboot.env 0x0 0x4000\n/data/uboot.env 0x4000 0x4000\n",
	"/etc/hwrevision":           "bench 1.0\n",
	"/etc/mender/artifact_info": "artifact_name=release-1\n",
	"/etc/mender/mender.conf": `{"RootfsPartA": "` + slotA + `", "RootfsPartB": "` + slotB + `",
 "ArtifactVerifyKey": "/etc/mender/public.pem", "ServerURL": "https://server.invalid"}` + "\n",
	"/data/mender/device_type": "device_type=bench\n",
	"/etc/rauc/system.conf": `[system]
compatible=bench
bootloader=noop
mountprefix=/mnt
statusfile=/data/rauc.status
[keyring]
path=/etc/rauc/certificate.pem
[slot.rootfs.0]
device=` + slotA + `
type=ext4
bootname=A
[slot.rootfs.1]
device=` + slotB + `
type=ext4
bootname=B
`,
}

// mounts are where the peers' root has something mounted, in order.
func (b *bench) mounts() []string {
	m := []string{b.root}
	for _, dir := range append([]string{"/proc", "/sys", "/dev", "/tmp", "/run"}, b.shared()...) {
		m = append(m, b.root+dir)
	}
	return m
}

// shared are the folders that have the same path inside.
func (b *bench) shared() []string {
	dirs := []string{b.cache}
	if image := filepath.Dir(b.image); image != b.cache {
		dirs = append(dirs, image)
	}
	return dirs
}

// makeRoot makes the peers' root file system and mounts it.
func (b *bench) makeRoot() error {
	tar, err := b.make(b.cache, "peers.tar", b.fetchPeers)
	if err != nil {
		return err
	}
	b.root = b.path("root")
	if err := os.Mkdir(b.root, 0o755); err != nil {
		return err
	}
	if err := b.mountRoot(); err != nil {
		return err
	}
	if err := b.do("tar", "xf", tar, "-C", b.root, "--exclude=./dev/*"); err != nil {
		return err
	}
	for name, text := range peerFiles {
		if err := os.MkdirAll(filepath.Dir(b.root+name), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(b.root+name, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return b.mountRest()
}

// fetchPeers lets apt's own mirror and mmdebstrap make the root file system.
func (b *bench) fetchPeers(path string) error {
	out, err := b.command("apt-get", "indextargets", "--format", "$(SITE) $(RELEASE)", "Created-By: Packages").Output()
	if err != nil {
		return fmt.Errorf("apt-get indextargets: %w", err)
	}
	for line := range strings.Lines(string(out)) {
		if site, release, _ := strings.Cut(strings.TrimSpace(line), " "); release == peerRelease {
			return b.do("mmdebstrap", "--quiet", "--variant=minbase", "--format=tar", "--dpkgopt=force-unsafe-io", "--include="+peerPackages,
				peerRelease, path, fmt.Sprintf("deb %s %s main", site, peerRelease))
		}
	}
	return fmt.Errorf("apt has no mirror of %s", peerRelease)
}

func (b *bench) mountRoot() (err error) {
	f, err := os.OpenFile(b.path("root.ext4"), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Truncate(2 << 30); err != nil {
		return err
	}
	if err := b.do("mke2fs", "-q", "-F", "-t", "ext4", f.Name()); err != nil {
		return err
	}
	dev, err := loop(f, unix.LO_FLAGS_AUTOCLEAR)
	if err != nil {
		return err
	}
	defer dev.Close() // the mount keeps it, and ends it
	if err := unix.Mount(dev.Name(), b.root, "ext4", 0, ""); err != nil {
		return fmt.Errorf("mount %s: %w", f.Name(), err)
	}
	return nil
}

func (b *bench) mountRest() error {
	for dir, kind := range map[string]string{"/proc": "proc", "/sys": "sysfs", "/dev": "tmpfs", "/tmp": "tmpfs", "/run": "tmpfs"} {
		if err := unix.Mount(kind, b.root+dir, kind, 0, ""); err != nil {
			return fmt.Errorf("mount %s: %w", b.root+dir, err)
		}
	}
	for _, dir := range b.shared() {
		if err := os.MkdirAll(b.root+dir, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(dir, b.root+dir, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount %s: %w", b.root+dir, err)
		}
	}
	return b.makeNodes()
}

// makeNodes makes the devices that the peers may see: RAUC looks for the one
// that its bundle lies on.
func (b *bench) makeNodes() error {
	as := map[string]string{"null": "", "zero": "", "random": "", "urandom": "", "loop-control": ""}
	all, err := os.ReadDir("/sys/class/block")
	if err != nil {
		return err
	}
	for _, dev := range all {
		as[strings.ReplaceAll(dev.Name(), "!", "/")] = ""
	}
	as[filepath.Base(b.slot.path)] = filepath.Base(slotB)
	var root unix.Stat_t
	if err := unix.Stat(b.root, &root); err != nil {
		return err
	}
	if err := unix.Mknod(b.root+slotA, unix.S_IFBLK|0o600, int(root.Dev)); err != nil {
		return fmt.Errorf("make %s: %w", slotA, err)
	}
	for n, name := range as {
		var s unix.Stat_t
		if err := unix.Stat("/dev/"+n, &s); err != nil || s.Rdev == root.Dev {
			continue // not there, or it has its name
		}
		node := filepath.Join(b.root, "dev", cmp.Or(name, n))
		if err := os.MkdirAll(filepath.Dir(node), 0o755); err != nil {
			return err
		}
		if err := unix.Mknod(node, s.Mode|0o666, int(s.Rdev)); err != nil {
			return fmt.Errorf("make %s: %w", node, err)
		}
	}
	return nil
}

// peer is a command of the peers' root.
func (b *bench) peer(args ...string) []string { return append([]string{"chroot", b.root}, args...) }

// doPeer runs one that is not timed.
func (b *bench) doPeer(args ...string) error {
	args = b.peer(args...)
	return b.do(args[0], args[1:]...)
}

// version returns the version of a package that the peers come from.
func (b *bench) version(pkg string) (string, error) {
	out, err := b.command("chroot", b.root, "dpkg-query", "-W", "-f", "${Version}", pkg).Output()
	return string(out), err
}

// resetMender makes the mender-client one that never saw an update.
func (b *bench) resetMender() error {
	if err := os.WriteFile(b.root+"/data/uboot.env", b.device.env, 0o644); err != nil {
		return err
	}
	key, err := os.ReadFile(b.key("public.pem"))
	if err != nil {
		return err
	}
	stores, err := filepath.Glob(b.root + "/data/mender/mender-store*")
	if err != nil {
		return err
	}
	for _, s := range stores {
		if err := os.Remove(s); err != nil {
			return err
		}
	}
	return os.WriteFile(b.root+"/etc/mender/public.pem", key, 0o644)
}

func (b *bench) mender(artifact string) (sample, error) {
	if err := warm(artifact); err != nil {
		return sample{}, err
	}
	return b.timed(command{args: b.peer("mender", "--data", "/data/mender", "install", artifact)})
}

// menderArtifact makes an artifact with Mender's tool.
func (b *bench) menderArtifact(compression, to string) (sample, error) {
	if err := warm(b.image); err != nil {
		return sample{}, err
	}
	s, err := b.timed(command{args: b.peer("mender-artifact", "--compression", compression, "write", "rootfs-image", "-f", b.image,
		"-n", "release-2", "-t", "bench", "-k", b.key("private.pem"), "-o", to)})
	return measured(s, err, to)
}

// bundle makes RAUC's kind of artifact.
func (b *bench) bundle(path string) error {
	return b.doPeer("sh", "-euc", `
rm -rf /data/bundle; mkdir /data/bundle
cp --sparse=always "$1" /data/bundle/rootfs.ext4
printf '[update]\ncompatible=bench\nversion=2\n[image.rootfs]\nfilename=rootfs.ext4\n' > /data/bundle/manifest.raucm
rauc --cert="$2/certificate.pem" --key="$2/certificate.key" bundle /data/bundle "$0"
rm -r /data/bundle`, path, b.image, b.kept)
}

// swu makes SWUpdate's kind of artifact, of the payload that the limit has.
func (b *bench) swu(path string) error {
	payload, err := b.payload()
	if err != nil {
		return err
	}
	_, sum, err := fingerprint(payload)
	if err != nil {
		return err
	}
	description := fmt.Sprintf(`software = {
  version = "2";
  hardware-compatibility: [ "1.0" ];
  images: ( { filename = "payload.zst"; sha256 = "%s"; device = "%s"; type = "raw"; compressed = "zstd"; installed-directly = true; } );
}
`, sum, slotB)
	if err := os.WriteFile(filepath.Join(b.kept, "sw-description"), []byte(description), 0o644); err != nil {
		return err
	}
	return b.doPeer("sh", "-euc", `
cd "$1"
openssl cms -sign -in sw-description -out sw-description.sig -signer certificate.pem -inkey certificate.key -outform DER -nosmimecap -binary
printf '%s\n' sw-description sw-description.sig payload.zst | cpio -o -H crc --quiet > "$0"
rm sw-description sw-description.sig`, path, b.kept)
}

func (b *bench) swupdate(swu string) (sample, error) {
	if err := warm(swu); err != nil {
		return sample{}, err
	}
	return b.timed(command{args: b.peer("swupdate", "-k", b.key("certificate.pem"), "-H", "bench:1.0", "-i", swu)})
}

// rauc installs a bundle through RAUC's service, which has a bus of its own.
// The time is that of the command that asks; the memory is the service's.
func (b *bench) rauc(bundle string) (s sample, err error) {
	if err := warm(bundle); err != nil {
		return s, err
	}
	if err := b.doPeer("sh", "-euc", `cp "$0" /etc/rauc/; rm -f /data/rauc.status`, b.key("certificate.pem")); err != nil {
		return s, err
	}
	ctx, cancel := context.WithCancel(b.ctx)
	own := *b
	own.ctx = ctx
	const bus = "DBUS_SESSION_BUS_ADDRESS=unix:path=/run/bench-bus"
	daemon := own.command("chroot", b.root, "dbus-daemon", "--session", "--nofork", "--nopidfile", "--address=unix:path=/run/bench-bus")
	service := own.command("chroot", b.root, "env", bus, "DBUS_STARTER_BUS_TYPE=session", "rauc", "--override-boot-slot=A", "service")
	var said bytes.Buffer
	service.Stdout, service.Stderr = &said, &said
	defer func() {
		cancel()
		for _, c := range []*exec.Cmd{service, daemon} {
			if c.Process != nil {
				_ = c.Wait() // it was told to end
			}
		}
		if err != nil {
			err = fmt.Errorf("%w\n%s", err, tail(said.String()))
		}
	}()
	if err := daemon.Start(); err != nil {
		return s, err
	}
	if err := await(ctx, func() error { _, err := os.Stat(b.root + "/run/bench-bus"); return err }); err != nil {
		return s, fmt.Errorf("dbus-daemon: %w", err)
	}
	if err := service.Start(); err != nil {
		return s, err
	}
	ask := func(args ...string) []string {
		return b.peer(append([]string{"env", bus, "DBUS_STARTER_BUS_TYPE=session", "rauc"}, args...)...)
	}
	if err := await(ctx, func() error { a := ask("status"); return b.do(a[0], a[1:]...) }); err != nil {
		return s, fmt.Errorf("rauc service: %w", err)
	}
	if s, err = b.timed(command{args: ask("install", bundle)}); err != nil {
		return s, err
	}
	s.CPU = 0 // the service's is not known
	s.Peak, err = highWater(service.Process.Pid)
	return s, err
}

// await tries until it works.
func await(ctx context.Context, f func() error) (err error) {
	for range 100 {
		if err = f(); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
	return err
}

// highWater returns the most memory that a process held.
func highWater(pid int) (int64, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "VmHWM:" {
			n, err := strconv.ParseInt(f[1], 10, 64)
			return n << 10, err
		}
	}
	return 0, errors.New("no VmHWM")
}
