package partition

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"
)

// A Source is a block device whose content can be copied while it is in use.
type Source struct {
	Path string // of the device
	Size int64  // in bytes

	dev  devnum
	host Host
}

// Source finds what is to be copied for the file system that holds path: the
// block device that it is on, beneath an overlay if need be. The path of a block
// device is that device. ErrUnsupported: there is none, or it is a disk with
// partitions.
func (h Host) Source(path string) (Source, error) {
	s, err := h.source(path)
	if err != nil {
		return s, fmt.Errorf("find the device of %s: %w", path, err)
	}
	return s, nil
}

func (h Host) source(path string) (s Source, err error) {
	s.host = h
	if _, err := os.Stat(h.devPath(path)); err != nil {
		return s, err
	}
	st, err := h.beneathPath(path)
	if path == "/" {
		st, err = h.beneathRoot()
	}
	if err != nil {
		return s, err
	}
	for _, d := range st.devs {
		if d.major != 0 {
			s.dev = d
			break
		}
	}
	if s.dev.major == 0 {
		return s, fmt.Errorf("%w: no block device is beneath it", ErrUnsupported)
	}
	b, ok := h.block(s.dev)
	if !ok {
		return s, fmt.Errorf("%w: device %v is unknown", ErrUnsupported, s.dev)
	}
	if len(b.children()) > 0 {
		return s, fmt.Errorf("%w: %s is a disk with partitions", ErrUnsupported, b.name())
	}
	s.Path = h.dev(b.name())
	if _, ok := blockDevice(s.Path); !ok { // by the name that was asked for, if that is one
		s.Path = resolve(h.devPath(path))
	}
	if now, ok := blockDevice(s.Path); !ok || now != s.dev {
		return s, fmt.Errorf("%w: %s is not device %v", ErrNoSlot, s.Path, s.dev)
	}
	f, err := os.Open(s.Path)
	if err != nil {
		return s, err
	}
	defer f.Close() // only read
	s.Size, err = f.Seek(0, io.SeekEnd)
	return s, err
}

// Holds reports whether path is on the file system that will be frozen, or on
// one above it: whoever writes there will wait.
func (s Source) Holds(path string) bool {
	st, err := s.host.beneathPath(path)
	return err == nil && contains(st.devs, s.dev)
}

// CopyOptions say how long a file system may be frozen, and who looks after it.
type CopyOptions struct {
	Limit    time.Duration           // after it the file system is thawed, and Copy fails
	Guard    *exec.Cmd               // a command, not started, that does nothing but call GuardFreeze
	Progress func(done, total int64) // may be nil
}

// Copy writes the content of the device to dst, as the medium has it. The file
// system that is mounted from it, if it is mounted for writing, is frozen
// meanwhile, and thawed however Copy ends: on an error, when ctx is done while dst
// takes no more, when the limit has passed; and by the guard if this process dies.
//
// dst must not be on that file system, see Holds. doubt is why the image may be
// that of no single moment, "" if it is not: not every file system can be frozen.
func (s Source) Copy(ctx context.Context, dst io.Writer, o CopyOptions) (doubt string, err error) {
	dir, doubt, err := s.mounted()
	if err != nil {
		return "", fmt.Errorf("copy %s: %w", s.Path, err)
	}
	if dir == nil {
		err = s.stream(ctx, dst, o.Progress)
	} else {
		defer dir.Close() // it is thawed
		doubt, err = s.copyFrozen(ctx, dst, dir, o)
	}
	if err != nil {
		err = fmt.Errorf("copy %s: %w", s.Path, err)
	}
	return doubt, err
}

func (s Source) copyFrozen(ctx context.Context, dst io.Writer, dir *os.File, o CopyOptions) (doubt string, err error) {
	f, err := freezeGuarded(dir, o.Limit, o.Guard)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return "its file system cannot be frozen", s.stream(ctx, dst, o.Progress)
	}
	if errors.Is(err, unix.EBUSY) {
		return "", fmt.Errorf("%w: somebody else has frozen it: %w", ErrInUse, err)
	}
	if err != nil {
		return "", err
	}
	tooLong := fmt.Errorf("%w: it was frozen for %v, and no longer", ErrThawed, o.Limit)
	ctx, cancel := context.WithTimeoutCause(ctx, o.Limit, tooLong)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.stream(ctx, dst, o.Progress) }()
	select {
	case err = <-done:
	case <-ctx.Done(): // nobody waits for a write that takes for ever
		err = context.Cause(ctx)
	case <-f.lost:
		err = fmt.Errorf("%w: its guard was killed", ErrThawed)
	}
	return "", errors.Join(err, f.thaw())
}

// mounted opens a folder of the file system that is to be frozen; nil, if none
// is mounted for writing.
func (s Source) mounted() (dir *os.File, doubt string, err error) {
	ms, err := s.host.mounts()
	if err != nil {
		return nil, "", err
	}
	var on []Mount
	var fs devnum
	for _, m := range ms {
		d, ok := s.above(m)
		if !ok || has(m.super, "ro") {
			continue
		}
		if len(on) > 0 && d != fs {
			return nil, "", fmt.Errorf("%w: several file systems are on it, at %s and %s", ErrUnsupported, on[0].Point, m.Point)
		}
		on, fs = append(on, m), d
	}
	for _, m := range on {
		if dir, err = open(m); err == nil {
			return dir, "", nil
		}
	}
	if len(on) > 0 {
		return nil, "", fmt.Errorf("%w: it is mounted at %s, which leads elsewhere: %w", ErrAmbiguous, on[0].Point, err)
	}
	return nil, s.unseen(ms), nil
}

// above returns the device that a mounted file system is on, if that is the
// source or mapped to it.
func (s Source) above(m Mount) (devnum, bool) {
	d := m.dev
	if d.major == 0 { // btrfs
		source, ok := blockDevice(s.host.devPath(m.Source))
		if !ok {
			return d, false
		}
		d = source
	}
	return d, s.beneath(d)
}

func (s Source) beneath(d devnum) bool {
	if d == s.dev {
		return true
	}
	b, ok := s.host.block(d)
	if !ok {
		return false
	}
	for _, slave := range b.slaves() {
		if s.beneath(slave) {
			return true
		}
	}
	return false
}

// open opens where a file system is mounted, if nothing is mounted over it.
func open(m Mount) (*os.File, error) {
	f, err := os.Open(m.Point)
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	err = unix.Fstat(int(f.Fd()), &st)
	if dev := uint64(st.Dev); err == nil && m.dev.major != 0 && m.dev != (devnum{unix.Major(dev), unix.Minor(dev)}) {
		err = fmt.Errorf("%s is on another file system", m.Point)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// unseen is the doubt about a device that is in use, and not by anything that is
// mounted where this process sees it.
func (s Source) unseen(ms mountTable) string {
	for _, m := range ms {
		if _, ok := s.above(m); ok {
			return "" // by what is mounted read-only
		}
	}
	f, err := os.OpenFile(s.Path, os.O_RDONLY|unix.O_EXCL|unix.O_CLOEXEC, 0)
	if err == nil {
		f.Close() // only asked
	}
	if errors.Is(err, unix.EBUSY) {
		return "somebody uses it, and it is mounted nowhere that can be seen from here"
	}
	return ""
}

// stream copies the device, past the page cache.
func (s Source) stream(ctx context.Context, dst io.Writer, progress func(done, total int64)) error {
	held, err := os.OpenFile(s.Path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer held.Close() // only read
	m, err := openMedium(held, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer m.f.Close() // only read
	for at := int64(0); at < m.size; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		b, err := m.read(at, int(min(unit, m.size-at)))
		if err != nil {
			return err
		}
		if _, err := dst.Write(b); err != nil {
			return err
		}
		if at += int64(len(b)); progress != nil && ctx.Err() == nil {
			progress(at, m.size)
		}
	}
	return nil
}
