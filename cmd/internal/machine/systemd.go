package machine

import (
	"context"
	"crypto/sha256"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// systemdWanted are the packages that a guest with systemd is made of, beside
// what they depend on. Nothing that they only recommend is taken.
var systemdWanted = []string{"e2fsprogs", "mount", "systemd", "systemd-sysv", "udev", "util-linux"}

// A Systemd is Debian's systemd, unmodified, and what it depends on, in one
// tree of files in which /bin, /sbin and /lib are links to those in /usr. No
// package was configured: what their scripts would do, a guest has in its files.
type Systemd struct {
	dir string
}

// FetchSystemd returns systemd as Fetch returns the rest.
func FetchSystemd(ctx context.Context) (*Systemd, error) {
	if err := need("apt-get", "dpkg-deb"); err != nil {
		return nil, fmt.Errorf("fetch systemd: %w", err)
	}
	key := sha256.Sum256([]byte(strings.Join(slices.Concat(systemdWanted, unwanted, []string{generators}), " ")))
	dir, err := cached(ctx, fmt.Sprintf("systemd-%x", key[:6]), func(dir string) error { return unpackSystemd(ctx, dir) })
	if err != nil {
		return nil, fmt.Errorf("fetch systemd: %w", err)
	}
	return &Systemd{dir: dir}, nil
}

func unpackSystemd(ctx context.Context, dir string) error {
	work := filepath.Join(dir, "work")
	a, err := newApt(ctx, filepath.Join(work, "apt"))
	if err != nil {
		return err
	}
	debs, err := a.closure(systemdWanted)
	if err != nil {
		return err
	}
	w := &treeWriter{dir: dir}
	for _, deb := range debs {
		pkg, _, _ := strings.Cut(filepath.Base(deb), "_")
		from := filepath.Join(work, pkg)
		if _, err := run(ctx, dir, "dpkg-deb", "-x", deb, from); err != nil {
			return err
		}
		w.tree(from, merged)
	}
	return errors.Join(w.err, os.RemoveAll(work))
}

// unwanted is what nobody reads in a guest, half of what there is.
var unwanted = []string{
	"etc/pam.d", "etc/security", "usr/lib/aarch64-linux-gnu/gconv", "usr/lib/aarch64-linux-gnu/security",
	"usr/lib/udev/hwdb.d", "usr/sbin/pam_", "usr/share", "var",
}

// merged is where a file of a package is in the tree; "" for nowhere.
func merged(name string) string {
	top, _, _ := strings.Cut(name, "/")
	if slices.Contains(usrMerged, top) {
		name = "usr/" + name
	}
	if strings.HasPrefix(name, generators) && path.Base(name) != "systemd-fstab-generator" {
		return ""
	}
	if slices.ContainsFunc(unwanted, func(prefix string) bool { return strings.HasPrefix(name, prefix) }) {
		return ""
	}
	return name
}

// usrMerged are the folders of the root that are links into usr.
var usrMerged = []string{"bin", "lib", "sbin"}

//go:embed guest/systemd
var guestSystemd embed.FS

// masked is what a guest does without, to start sooner: each of them is a
// program to be loaded, which takes the emulated processor most of a second.
// There is no D-Bus and no login, and nothing lasts but /data.
var masked = []string{
	"cryptsetup.target", "dev-hugepages.mount", "dev-mqueue.mount", "getty.target", "integritysetup.target",
	"kmod-static-nodes.service", "proc-sys-fs-binfmt_misc.automount",
	"sys-fs-fuse-connections.mount", "sys-kernel-config.mount", "sys-kernel-debug.mount", "sys-kernel-tracing.mount",
	"systemd-ask-password-console.path", "systemd-ask-password-wall.path",
	"systemd-binfmt.service", "systemd-firstboot.service", "systemd-initctl.socket", "systemd-journal-flush.service",
	"systemd-journald-audit.socket", "systemd-logind.service", "systemd-machine-id-commit.service",
	"systemd-modules-load.service", "systemd-pcrphase.service", "systemd-pcrphase-sysinit.service",
	"systemd-random-seed.service", "systemd-remount-fs.service", "systemd-repart.service", "systemd-sysctl.service",
	"systemd-sysusers.service", "systemd-tmpfiles-clean.timer", "systemd-tmpfiles-setup-dev.service",
	"systemd-update-utmp.service", "systemd-update-utmp-runlevel.service", "systemd-user-sessions.service",
	"veritysetup.target",
}

// generators are programs that make units; a guest has the one that reads fstab.
const generators = "usr/lib/systemd/system-generators/"

// write writes systemd and what makes it the guest's process 1, over what is
// there.
func (s *Systemd) write(w *treeWriter) {
	w.tree(s.dir, func(name string) string { return name })
	const etc = "etc/systemd/system/"
	for _, unit := range masked {
		w.link(etc+unit, "/dev/null")
	}
	w.link(etc+"default.target", "/lib/systemd/system/multi-user.target")
	w.link(etc+"multi-user.target.wants/guest-shell.service", "../guest-shell.service")
	const own = "guest/systemd"
	w.fail(fs.WalkDir(guestSystemd, own, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := guestSystemd.ReadFile(name)
		mode := fs.FileMode(0o644)
		if strings.HasPrefix(string(b), "#!") {
			mode = 0o755
		}
		w.file(strings.TrimPrefix(name, own+"/"), mode, b)
		return err
	}))
}

// tree copies files and links, each to where the function says that its name
// belongs. What is a link to a folder there, stays one.
func (w *treeWriter) tree(from string, where func(name string) string) {
	w.fail(filepath.WalkDir(from, func(file string, e fs.DirEntry, err error) error {
		if err != nil || file == from {
			return err
		}
		rel, err := filepath.Rel(from, file)
		if err != nil {
			return err
		}
		name := where(filepath.ToSlash(rel))
		info, err := e.Info()
		switch {
		case err != nil || name == "":
			return err
		case e.IsDir():
			w.mkdir(name)
		case e.Type() == fs.ModeSymlink:
			target, err := os.Readlink(file)
			w.fail(err)
			w.link(name, target)
		case e.Type() == 0:
			w.copy(name, info.Mode().Perm(), file)
		default:
			return fmt.Errorf("%s is no file: %v", path.Clean(file), e.Type())
		}
		return w.err
	}))
}
