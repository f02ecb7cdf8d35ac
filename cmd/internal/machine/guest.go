package machine

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// A Guest is a root file system to be made: Debian's kernel and busybox, a
// script as process 1, and what is given here.
type Guest struct {
	Version  string          // printed at each start
	Systemd  *Systemd        // is process 1, and starts what the units say; nil: the script
	Plimsoll []byte          // the command, see [Command]; nil: none
	Files    map[string]File // more files by absolute path; they replace what is there
	Fault    Fault           // how it is broken
}

// A File is the content of a file; mode 0 is 0644. With [fs.ModeSymlink] it is
// a link, and the content its target.
type File struct {
	Data []byte
	Mode fs.FileMode
}

// A Fault is a way in which a guest is broken.
type Fault int

const (
	Sound         Fault = iota
	KernelMissing       // U-Boot finds nothing to load
	KernelCorrupt       // what U-Boot loads is no kernel
	InitMissing         // the kernel panics
	InitExits           // the kernel panics, a moment later
	InitHangs           // nothing happens, and nobody feeds the watchdog
)

var (
	//go:embed guest/init
	guestInit []byte
	//go:embed guest/shutdown
	guestShutdown []byte
)

const (
	initExits = "#!/bin/sh\necho GUEST-INIT exits\nexit 1\n"
	initHangs = "#!/bin/sh\necho GUEST-INIT hangs\nwhile :; do sleep 3600; done\n"
)

// shutdownNames are the commands that are not busybox's own.
var shutdownNames = []string{"reboot", "poweroff", "halt"}

// WriteGuest makes the root file system of a guest as a tree of files, for
// mke2fs -d, in a folder that need not exist. The tree takes 50 MB, with systemd
// 85. Its owner
// is whoever calls: under fakeroot, root.
func (d *Debian) WriteGuest(dir string, g Guest) error {
	w := &treeWriter{dir: dir}
	for _, name := range []string{"boot/firmware", "data", "dev", "etc", "mnt", "proc", "root", "run", "sys", "tmp", "usr/bin", "usr/sbin", "var"} {
		w.mkdir(name)
	}
	if g.Systemd != nil {
		for _, name := range usrMerged {
			w.link(name, "usr/"+name)
			w.mkdir("usr/" + name)
		}
	}
	d.writeBusybox(w)
	d.writeBoot(w)
	d.writeModules(w)
	d.writeEnvTools(w)
	if g.Systemd != nil {
		g.Systemd.write(w)
	} else {
		writeInit(w)
	}
	w.file("etc/version", 0o644, []byte(g.Version+"\n"))
	if g.Plimsoll != nil {
		w.file("usr/bin/plimsoll", 0o755, g.Plimsoll)
	}
	for name, f := range g.Files {
		f.write(w, strings.TrimPrefix(name, "/"))
	}
	g.Fault.inject(w)
	if w.err != nil {
		return fmt.Errorf("make guest %s: %w", g.Version, w.err)
	}
	return nil
}

func (f File) write(w *treeWriter, name string) {
	switch {
	case f.Mode&fs.ModeSymlink != 0:
		w.link(name, string(f.Data))
	case f.Mode == 0:
		w.file(name, 0o644, f.Data)
	default:
		w.file(name, f.Mode, f.Data)
	}
}

func writeInit(w *treeWriter) {
	w.link("var/lock", "../run/lock")
	w.file("sbin/init", 0o755, guestInit)
	for _, name := range shutdownNames {
		w.file("sbin/"+name, 0o755, guestShutdown)
	}
}

func (f Fault) inject(w *treeWriter) {
	switch f {
	case KernelMissing:
		w.remove("boot/Image")
	case KernelCorrupt:
		noise := make([]byte, 4<<20)
		rand.NewChaCha8([32]byte{}).Read(noise)
		w.file("boot/Image", 0o644, noise)
	case InitMissing:
		w.remove("sbin/init")
	case InitExits:
		w.file("sbin/init", 0o755, []byte(initExits))
	case InitHangs:
		w.file("sbin/init", 0o755, []byte(initHangs))
	}
}

// writeBusybox writes busybox and a link for each of its applets.
func (d *Debian) writeBusybox(w *treeWriter) {
	b, names, err := d.busybox()
	w.fail(err)
	w.file("bin/busybox", 0o755, b)
	for _, name := range names {
		if !slices.Contains(shutdownNames, name) {
			w.link("bin/"+name, "busybox")
		}
	}
	w.link("sbin/modprobe", "../bin/busybox") // where the kernel looks for it
}

// busybox returns the program and the names of its applets.
func (d *Debian) busybox() (program []byte, names []string, err error) {
	program, err = os.ReadFile(d.File("busybox-static", "bin/busybox"))
	if err != nil {
		return nil, nil, err
	}
	names, err = applets(program)
	return program, names, err
}

// applets returns the names under which busybox can be called. It has them as
// one sorted list of strings that end with NUL; this machine cannot run it.
func applets(busybox []byte) ([]string, error) {
	const first = "\x00[\x00[[\x00"
	i := bytes.Index(busybox, []byte(first))
	if i < 0 {
		return nil, errors.New("busybox: no list of applets")
	}
	list, _, _ := bytes.Cut(busybox[i+1:], []byte("\x00\x00"))
	names := strings.Split(string(list), "\x00")
	names = slices.DeleteFunc(names, func(name string) bool { return name == "busybox" })
	if len(names) < 100 {
		return nil, fmt.Errorf("busybox: a list of only %d applets", len(names))
	}
	return names, nil
}

// writeBoot writes what U-Boot loads.
func (d *Debian) writeBoot(w *treeWriter) {
	w.copy("boot/Image", 0o644, d.kernel("boot/vmlinuz-%s"))
	w.copy("boot/bcm2837-rpi-3-b.dtb", 0o644, d.pi3DeviceTree())
	initrd, err := d.initramfs()
	w.fail(err)
	w.file("boot/initrd", 0o644, initrd)
}

func (d *Debian) pi3DeviceTree() string {
	return d.kernel("usr/lib/linux-image-%s/broadcom/bcm2837-rpi-3-b.dtb")
}

func (d *Debian) writeModules(w *treeWriter) {
	tree, err := d.modules()
	if err != nil {
		w.fail(err)
		return
	}
	var files []string
	for _, names := range [][]string{virtModules, pi3Modules, laterModules} {
		f, err := tree.closure(names...)
		w.fail(err)
		files = append(files, f...)
	}
	files = append(files, "modules.builtin", "modules.builtin.modinfo", "modules.order")
	in := "lib/modules/" + d.release
	for _, file := range files {
		w.copy(path.Join(in, file), 0o644, d.kernel(path.Join("lib/modules/%s", file)))
	}
	if w.err == nil {
		_, err = run(context.Background(), w.dir, "depmod", "-b", w.dir, d.release)
		w.fail(err)
	}
}

// writeEnvTools writes fw_printenv and fw_setenv with their libraries.
func (d *Debian) writeEnvTools(w *treeWriter) {
	const lib = "lib/aarch64-linux-gnu"
	w.copy("usr/bin/fw_printenv", 0o755, d.File("libubootenv-tool", "usr/bin/fw_printenv"))
	w.link("usr/bin/fw_setenv", "fw_printenv")
	w.copy(lib+"/libubootenv.so.0", 0o644, d.File("libubootenv0.1", "usr/"+lib+"/libubootenv.so.0"))
	w.copy(lib+"/libz.so.1", 0o644, d.File("zlib1g", lib+"/libz.so.1"))
	w.copy(lib+"/libc.so.6", 0o755, d.File("libc6", lib+"/libc.so.6"))
	w.copy("lib/ld-linux-aarch64.so.1", 0o755, d.File("libc6", lib+"/ld-linux-aarch64.so.1"))
}

// A treeWriter writes files beneath a folder and keeps the first error.
type treeWriter struct {
	dir string
	err error
}

func (w *treeWriter) fail(err error) {
	if w.err == nil {
		w.err = err
	}
}

func (w *treeWriter) mkdir(name string) {
	w.fail(os.MkdirAll(filepath.Join(w.dir, name), 0o755))
}

// fresh makes room for a file: what is there may be a link to busybox.
func (w *treeWriter) fresh(name string) string {
	w.mkdir(path.Dir(name))
	w.remove(name)
	return filepath.Join(w.dir, name)
}

func (w *treeWriter) file(name string, mode fs.FileMode, data []byte) {
	full := w.fresh(name)
	if w.err == nil {
		w.fail(os.WriteFile(full, data, mode))
	}
	if w.err == nil {
		w.fail(os.Chmod(full, mode)) // whatever the umask is
	}
}

func (w *treeWriter) link(name, target string) {
	full := w.fresh(name)
	if w.err == nil {
		w.fail(os.Symlink(target, full))
	}
}

func (w *treeWriter) copy(name string, mode fs.FileMode, from string) {
	if w.err != nil {
		return
	}
	b, err := os.ReadFile(from)
	w.fail(err)
	w.file(name, mode, b)
}

func (w *treeWriter) remove(name string) {
	if err := os.Remove(filepath.Join(w.dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		w.fail(err)
	}
}
