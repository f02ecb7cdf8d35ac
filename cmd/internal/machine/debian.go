package machine

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// wanted are the packages of which files are used, beside the kernel's, whose
// name bears its version. The native architecture of the private root is arm64.
var wanted = []string{
	"busybox-static",
	"libc6", "libubootenv-tool", "libubootenv0.1", "zlib1g",
	"u-boot-omap:armhf", "u-boot-qemu", "u-boot-rpi",
}

// kernelPackage is the one that depends on the current kernel.
const kernelPackage = "linux-image-arm64"

// Debian is a set of Debian's packages, unpacked: kernel, U-Boot and a little
// user space, none of it modified.
type Debian struct {
	dir     string
	release string // of the kernel: 6.1.0-50-arm64
}

// Fetch returns Debian's packages, which it downloads at the first call: from
// the sources that apt on this host is configured with, signed as they demand.
// The host is left alone: apt gets a private root, nothing is installed, no
// architecture is added, and root is not needed. Later calls of any process
// use the same files, as old as they may be.
func Fetch(ctx context.Context) (*Debian, error) {
	if err := need("apt-get", "apt-cache", "dpkg-deb", "depmod"); err != nil {
		return nil, fmt.Errorf("fetch Debian packages: %w", err)
	}
	key := sha256.Sum256([]byte(strings.Join(wanted, " ") + " " + kernelPackage))
	dir, err := cached(ctx, fmt.Sprintf("debian-%x", key[:6]), func(dir string) error { return unpackAll(ctx, dir) })
	if err != nil {
		return nil, fmt.Errorf("fetch Debian packages: %w", err)
	}
	release, err := os.ReadFile(filepath.Join(dir, "release"))
	if err != nil {
		return nil, fmt.Errorf("fetch Debian packages: %w", err)
	}
	return &Debian{dir: dir, release: string(release)}, nil
}

// File returns where a file of a package is; the kernel's package is
// "linux-image".
func (d *Debian) File(pkg, name string) string {
	return filepath.Join(d.dir, pkg, filepath.FromSlash(name))
}

// KernelRelease returns what uname -r says in the guest.
func (d *Debian) KernelRelease() string { return d.release }

// kernel returns a file of the kernel's package; %s in its name is the release.
func (d *Debian) kernel(name string) string {
	return d.File("linux-image", strings.ReplaceAll(name, "%s", d.release))
}

func unpackAll(ctx context.Context, dir string) error {
	work := filepath.Join(dir, "apt")
	a, err := newApt(ctx, work)
	if err != nil {
		return err
	}
	debs, err := a.download(wanted, kernelPackage)
	if err != nil {
		return err
	}
	release := ""
	for _, deb := range debs {
		pkg, _, _ := strings.Cut(filepath.Base(deb), "_")
		if r, ok := strings.CutPrefix(pkg, "linux-image-"); ok {
			pkg, release = "linux-image", r
		}
		if _, err := run(ctx, dir, "dpkg-deb", "-x", deb, filepath.Join(dir, pkg)); err != nil {
			return err
		}
	}
	// The package has no list of what depends on what: it is made when installed.
	if _, err := run(ctx, dir, "depmod", "-b", filepath.Join(dir, "linux-image"), release); err != nil {
		return err
	}
	return errors.Join(os.WriteFile(filepath.Join(dir, "release"), []byte(release), 0o644), os.RemoveAll(work))
}

// An apt is apt-get with a root of its own.
type apt struct {
	ctx     context.Context
	dir     string
	updated error // of the lists; those that could be had can be used
}

// aptConf replaces what of the host's configuration would act on the host.
const aptConf = `#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear APT::Architectures;
APT::Architecture "arm64";
APT::Architectures { "arm64"; "armhf"; };
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "3";
Dir::State "%[1]s/state";
Dir::State::status "%[1]s/status";
Dir::Cache "%[1]s/cache";
`

func newApt(ctx context.Context, dir string) (*apt, error) {
	for _, d := range []string{"state/lists/partial", "cache/archives/partial", "debs"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return nil, err
		}
	}
	err := errors.Join(
		os.WriteFile(filepath.Join(dir, "status"), nil, 0o644),
		os.WriteFile(filepath.Join(dir, "conf"), fmt.Appendf(nil, aptConf, dir), 0o644),
	)
	if err != nil {
		return nil, err
	}
	a := &apt{ctx: ctx, dir: dir}
	_, a.updated = a.run("apt-get", "update")
	return a, nil
}

func (a *apt) run(name string, args ...string) ([]byte, error) {
	return run(a.ctx, filepath.Join(a.dir, "debs"), name, append([]string{"-q", "-c", filepath.Join(a.dir, "conf")}, args...)...)
}

// download returns the files of the packages, and of what meta depends on. A
// mirror of which one list is out of step has, as a rule, all that is needed;
// if it has not, the reason is told.
func (a *apt) download(pkgs []string, meta string) ([]string, error) {
	out, err := a.run("apt-cache", "depends", meta)
	if err != nil {
		return nil, errors.Join(err, a.updated)
	}
	kernel := ""
	for line := range strings.Lines(string(out)) {
		if pkg, ok := strings.CutPrefix(strings.TrimSpace(line), "Depends: linux-image-"); ok {
			kernel = "linux-image-" + pkg
		}
	}
	if kernel == "" {
		return nil, errors.Join(fmt.Errorf("%s depends on no kernel: %s", meta, out), a.updated)
	}
	if _, err := a.run("apt-get", append([]string{"download", kernel}, pkgs...)...); err != nil {
		return nil, errors.Join(err, a.updated)
	}
	debs, err := filepath.Glob(filepath.Join(a.dir, "debs", "*.deb"))
	if err == nil && len(debs) != len(pkgs)+1 {
		err = fmt.Errorf("apt-get download left %d packages, want %d", len(debs), len(pkgs)+1)
	}
	return debs, err
}

// closure returns the files of the packages and of all that they depend on, as
// apt resolves it for a system on which nothing is installed yet.
func (a *apt) closure(pkgs []string) ([]string, error) {
	if _, err := a.run("apt-get", append([]string{"-y", "--no-install-recommends", "--download-only", "install"}, pkgs...)...); err != nil {
		return nil, errors.Join(err, a.updated)
	}
	return filepath.Glob(filepath.Join(a.dir, "cache/archives", "*.deb"))
}
