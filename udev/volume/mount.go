package volume

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// A driver is how a kind is mounted.
type driver struct {
	fstype string
	writes bool // it may be written, too
	// options are tried in this order. A FAT needs a table of characters for
	// the names, and which of them a kernel has is not to be seen: that of its
	// configuration, then those that are often built in.
	options []string
}

const (
	// Nobody but root sees the files; nothing that is found to be wrong stops
	// the kernel.
	fatOptions = "umask=0077,errors=remount-ro"
	// No journal is replayed. errors= overrides what the superblock asks for,
	// which may be a panic.
	extOptions = "errors=remount-ro,noinit_itable"
)

var drivers = map[Kind]driver{
	VFAT: {"vfat", true, []string{
		fatOptions + ",utf8", fatOptions + ",utf8,iocharset=utf8", fatOptions + ",utf8,iocharset=iso8859-1",
		fatOptions + ",utf8,codepage=850", fatOptions + ",utf8,codepage=850,iocharset=iso8859-1",
	}},
	ExFAT: {"exfat", true, []string{fatOptions + ",iocharset=utf8"}},
	Ext4:  {"ext4", true, []string{extOptions}},
	NTFS:  {"ntfs3", false, []string{"umask=0077,iocharset=utf8", "umask=0077"}},
}

// mountFlags hold for every mount. Kernels before 5.10 know no MS_NOSYMFOLLOW
// and take no notice of it.
const mountFlags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_NOATIME | unix.MS_NOSYMFOLLOW

// Mount mounts the volume read-only at dir, a folder that exists. The caller
// closes it. The block device is read-only as long as the mount is, so that no
// driver repairs what it finds.
//
// The mount is seen wherever this process's mounts are: for it to be private,
// the process must have its own namespace.
//
// The error is a [KindError], [ErrCorrupt], [ErrMedium], [ErrInUse] or
// [ErrGone], if it is of these; nothing is mounted then.
func (v Volume) Mount(dir string) (*Mounted, error) {
	m, err := v.mount(dir)
	if err != nil {
		return nil, fmt.Errorf("mount %v at %s: %w", v, dir, err)
	}
	return m, nil
}

func (v Volume) mount(dir string) (*Mounted, error) {
	d, ok := drivers[v.Kind]
	switch {
	case v.Err != nil:
		return nil, v.Err
	case !ok:
		return nil, &KindError{Kind: v.Kind, Why: "it is never mounted"}
	case v.refused != "":
		return nil, &KindError{Kind: v.Kind, Why: v.refused}
	case v.Stick.Gone():
		return nil, ErrGone
	}
	node, err := v.claim()
	if err != nil {
		return nil, err
	}
	m := &Mounted{Volume: v, Dir: dir, node: node}
	if err := m.lock(); err != nil {
		node.Close()
		return nil, err
	}
	if err := m.attachInTime(d); err != nil {
		return nil, errors.Join(err, m.unlock(), node.Close())
	}
	return m, nil
}

// attachInTime is attach, but does not wait for ever. A mount that comes about
// when nobody waits for it any more is undone.
func (m *Mounted) attachInTime(d driver) error {
	var over atomic.Bool
	late := *m
	err := await(func() error {
		err := late.attach(d)
		if over.Swap(true) && err == nil {
			err = late.abandon()
		}
		return err
	}, m.Stick.Gone)
	switch {
	case !errors.Is(err, errLeft):
		m.root, m.damaged = late.root, late.damaged
	case over.Swap(true) && late.root != nil: // in this very moment
		err = errors.Join(err, late.abandon())
	}
	return err
}

// claim opens the volume, and makes sure that nobody else uses it: a mount that
// is there already would be shared, with whatever options it has.
func (v Volume) claim() (*os.File, error) {
	sole, err := os.OpenFile(v.Device, os.O_RDONLY|unix.O_EXCL|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.EBUSY) {
		return nil, ErrInUse
	}
	if err == nil {
		err = sole.Close()
	}
	if err != nil {
		return nil, v.Explain(err)
	}
	node, err := v.Stick.host.open(v.block)
	if err != nil {
		return nil, err
	}
	// The node is open now, so its number stays this stick's.
	if v.Stick.Gone() {
		node.Close()
		return nil, ErrGone
	}
	return node, nil
}

// attach mounts the volume, and makes sure of what was mounted.
func (m *Mounted) attach(d driver) error {
	var err error
	for _, o := range d.options {
		if m.Unclean != "" && m.Kind == Ext4 {
			o += ",noload"
		}
		err = unix.Mount(m.Device, m.Dir, d.fstype, mountFlags|unix.MS_RDONLY, o)
		if !errors.Is(err, unix.EINVAL) {
			break
		}
	}
	if err != nil {
		return m.refusal(err)
	}
	if err := m.check(); err != nil {
		return errors.Join(err, unix.Unmount(m.Dir, unix.MNT_DETACH))
	}
	return nil
}

// check opens the mounted folder, which must be on this very device.
func (m *Mounted) check() error {
	root, err := os.Open(m.Dir)
	if err != nil {
		return m.Explain(err)
	}
	var st, dev unix.Stat_t
	err = errors.Join(unix.Fstat(int(root.Fd()), &st), unix.Fstat(int(m.node.Fd()), &dev))
	if err == nil && uint64(st.Dev) != uint64(dev.Rdev) {
		err = fmt.Errorf("%w: another device was mounted", ErrGone)
	}
	if err != nil {
		root.Close()
		return err
	}
	m.root = root
	return nil
}

// refusal says what it means that the kernel does not mount.
func (m *Mounted) refusal(err error) error {
	switch {
	case m.Stick.Gone():
		return fmt.Errorf("%w: %w", ErrGone, err)
	case errors.Is(err, unix.ENODEV):
		return &KindError{Kind: m.Kind, NoDriver: true, Why: "the kernel has no driver " + drivers[m.Kind].fstype}
	case errors.Is(err, unix.EINVAL) && m.Kind == VFAT: // nothing else of what was checked already would be
		return &KindError{Kind: m.Kind, NoDriver: true, Why: "the kernel has no table of characters for it, such as nls_cp437"}
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("%w: %w", ErrInUse, err)
	case errors.Is(err, unix.EIO) && (m.Stick.Errors >= 0 || m.unreadable()):
		return m.Explain(err)
	}
	if isAny(err, corrupt) {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return m.Explain(err)
}

// corrupt is what drivers say of a file system that they do not understand.
var corrupt = []error{
	unix.EINVAL, unix.EUCLEAN, unix.EBADMSG, unix.EIO, unix.EFBIG, unix.EOVERFLOW, unix.ERANGE, unix.ESTALE, unix.ENOTBLK,
}

// unreadable reports whether the first bytes cannot be read, past every cache.
func (m *Mounted) unreadable() bool {
	_ = unix.IoctlSetInt(int(m.node.Fd()), unix.BLKFLSBUF, 0) // else what is cached is read, which is no harm
	_, err := inspect(m.node, m.Size)
	return err != nil
}
