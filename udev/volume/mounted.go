package volume

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// A Mounted is a volume that is mounted. Its methods are not for concurrent use.
type Mounted struct {
	Volume
	Dir string // where

	node      *os.File // the block device, open for reading: pins its number, and flushes
	root      *os.File // the mounted folder: collects write errors from the beginning
	protected bool     // the block device was read-only before
	written   bool     // mounted for writing now
	damaged   bool     // as was found while it was read
	closed    bool
}

// Explain is [Volume.Explain], and remembers: a file system that was found
// damaged is not written any more.
func (m *Mounted) Explain(err error) error {
	err = m.Volume.Explain(err)
	m.damaged = m.damaged || errors.Is(err, ErrCorrupt)
	return err
}

// lock marks the block device as read-only, for the kernel too, if it is not.
//
// A partition's own flag that the disk has not is what a process left that was
// killed: write-protected is the disk, never a part of it.
func (m *Mounted) lock() error {
	ro, err := unix.IoctlGetInt(int(m.node.Fd()), unix.BLKROGET)
	if m.protected = ro != 0 && (m.Part == 0 || m.Volume.ReadOnly); err == nil && !m.protected {
		err = m.setReadOnly(1)
	}
	if err != nil {
		return fmt.Errorf("mark the device as read-only: %w", m.Explain(err))
	}
	return nil
}

func (m *Mounted) unlock() error {
	if m.protected {
		return nil
	}
	return m.setReadOnly(0)
}

func (m *Mounted) setReadOnly(ro int) error {
	return unix.IoctlSetPointerInt(int(m.node.Fd()), unix.BLKROSET, ro)
}

// Writable mounts the volume for writing, until ReadOnly or Close. It refuses a
// kind that is never written ([KindError]), a write-protected stick
// ([ErrWriteProtected]), a file system that is not clean ([ErrDirty]), which is
// looked up again, and one of which a failed read was explained as damage
// ([ErrCorrupt]). It stays mounted read-only then. Like Close, it does not wait for
// ever: after [ErrStuck] nothing is mounted.
func (m *Mounted) Writable() error {
	if err := m.awaited(m.writable); err != nil {
		return fmt.Errorf("mount %v for writing: %w", m.Volume, err)
	}
	return nil
}

func (m *Mounted) writable() error {
	switch {
	case m.closed:
		return os.ErrClosed
	case m.written:
		return nil
	case m.Stick.Gone():
		return ErrGone
	case !drivers[m.Kind].writes:
		return &KindError{Kind: m.Kind, Why: "it is never written"}
	case m.Volume.ReadOnly || m.protected:
		return ErrWriteProtected
	case m.damaged:
		return ErrCorrupt
	case !m.Clean:
		return fmt.Errorf("%w: %s", ErrDirty, m.Unclean)
	}
	now, err := inspect(m.node, m.Size)
	if err != nil {
		return m.Explain(err)
	}
	if now.kind != m.Kind || now.unclean != "" {
		return fmt.Errorf("%w: now it is %s: %s", ErrDirty, now.kind, now.unclean)
	}
	if err := m.open(); err != nil {
		return errors.Join(err, m.setReadOnly(1))
	}
	m.written = true
	return nil
}

// open lifts the device's flag and remounts.
func (m *Mounted) open() error {
	if err := m.setReadOnly(0); err != nil {
		return m.Explain(err)
	}
	ro, err := unix.IoctlGetInt(int(m.node.Fd()), unix.BLKROGET)
	if err != nil {
		return m.Explain(err)
	}
	if ro != 0 {
		return ErrWriteProtected // the disk's, not ours
	}
	err = unix.Mount("", m.Dir, "", mountFlags|unix.MS_REMOUNT, "")
	if errors.Is(err, unix.EROFS) || errors.Is(err, unix.EACCES) {
		return fmt.Errorf("%w: %w", ErrWriteProtected, err)
	}
	if err != nil {
		return m.Explain(err)
	}
	return nil
}

// ReadOnly ends the writing: when it returns nil, what was written is on the
// stick, and the file system is marked as in order. It fails while a file is
// open for writing. A volume that was not written is left alone.
func (m *Mounted) ReadOnly() error {
	if err := m.bounded(m.readOnly); err != nil {
		return fmt.Errorf("finish writing %v: %w", m.Volume, err)
	}
	return nil
}

func (m *Mounted) readOnly() error {
	if !m.written {
		return nil
	}
	flushed := m.flushed("flush", unix.Syncfs(int(m.root.Fd())))
	if err := unix.Mount("", m.Dir, "", mountFlags|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		return errors.Join(flushed, m.step("remount", err))
	}
	m.written = false
	return errors.Join(flushed, m.flushed("flush the device", m.node.Sync()), m.step("mark as read-only", m.setReadOnly(1)))
}

func (m *Mounted) step(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

// flushed is step of a flush. What is flushed the file system has found room for:
// where there is none for it now, the disk is smaller than it says.
func (m *Mounted) flushed(what string, err error) error {
	if errors.Is(err, unix.ENOSPC) {
		err = fmt.Errorf("%w: %w", ErrMedium, err)
	}
	return m.step(what, err)
}

// Close finishes the writing, unmounts, and flushes the device: when it returns
// nil, every byte is on the stick, and it may be taken. Whatever it returns,
// nothing is mounted at Dir afterwards. It does not wait for a stick that is
// gone ([ErrGone]), and two minutes at most for one that does not answer
// ([ErrStuck]). Closing twice does nothing.
func (m *Mounted) Close() error {
	if m.closed {
		return nil
	}
	m.closed = true
	if m.Stick.Gone() {
		return fmt.Errorf("unmount %v: %w", m.Volume, errors.Join(ErrGone, m.abandon()))
	}
	if err := m.bounded(m.finish); err != nil {
		return fmt.Errorf("unmount %v: %w", m.Volume, err)
	}
	return nil
}

// finish does all of it, in the order in which one needs the other.
func (m *Mounted) finish() error {
	errs := m.readOnly()
	if m.written { // files are open for writing: what they hold now is flushed
		errs = errors.Join(errs, m.flushed("flush", unix.Syncfs(int(m.root.Fd()))))
	}
	errs = errors.Join(errs, m.root.Close(), m.step("unmount", m.unmount()))
	errs = errors.Join(errs,
		m.flushed("flush the device", m.node.Sync()),
		m.step("drop the device's cache", unix.IoctlSetInt(int(m.node.Fd()), unix.BLKFLSBUF, 0)),
		m.step("lift the read-only mark", m.unlock()),
		m.node.Close())
	return errs
}

// unmount waits a moment for those who are just leaving. Who stays longer keeps
// the file system, not the folder.
func (m *Mounted) unmount() error {
	var err error
	for range 10 {
		if err = unix.Unmount(m.Dir, unix.UMOUNT_NOFOLLOW); !errors.Is(err, unix.EBUSY) {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
	return errors.Join(err, unix.Unmount(m.Dir, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW))
}

// abandon lets go of a stick that is gone. Its file system ends when the last
// who has a file open closes it.
func (m *Mounted) abandon() error {
	err := unix.Unmount(m.Dir, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	if errors.Is(err, unix.EINVAL) {
		err = nil // not mounted any more
	}
	return errors.Join(err, m.root.Close(), m.node.Close())
}

// How long the kernel may take: after the stick was pulled out it needs a moment
// to fail what is under way; slow sticks need long for their cache.
const (
	goneGrace  = 5 * time.Second
	stuckLimit = 2 * time.Minute
)

// bounded does what may hang, and lets go of the volume if it does.
func (m *Mounted) bounded(do func() error) error { return m.Explain(m.awaited(do)) }

// awaited is bounded for what explains its errors itself.
func (m *Mounted) awaited(do func() error) error {
	err := await(do, m.Stick.Gone)
	if errors.Is(err, errLeft) {
		// Who hangs has its own references; the folder is freed from here.
		m.closed = true
		err = errors.Join(err, unix.Unmount(m.Dir, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW))
	}
	return err
}

// errLeft: the work goes on, and nobody waits for it.
var errLeft = errors.New("left alone")

// await waits for do, but not for a stick that is gone or does not answer.
func await(do func() error, gone func() bool) error {
	done := make(chan error, 1)
	go func() { done <- do() }()
	var since time.Time
	for start := time.Now(); ; {
		select {
		case err := <-done:
			return err
		case <-time.After(lookAgain):
		}
		switch {
		case !gone():
			since = time.Time{}
		case since.IsZero():
			since = time.Now()
		case time.Since(since) >= goneGrace:
			return fmt.Errorf("%w: %w", ErrGone, errLeft)
		}
		if time.Since(start) >= stuckLimit {
			return fmt.Errorf("%w: %w", ErrStuck, errLeft)
		}
	}
}
