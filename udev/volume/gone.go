package volume

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Gone reports whether there is no disk of that name, or no medium in it. Where
// sysfs cannot be read nothing is known, and it is not said to be gone.
func Gone(name string) bool { return Stick{Name: name}.Gone() }

// WaitGone waits until the stick that is there now is pulled out; another one
// of the same name does not hide that where the kernel numbers disks (Linux
// 5.15). It returns nil at once if there is none, and the context's cause if
// that ends first.
func WaitGone(ctx context.Context, name string) error {
	s, err := Find("", name)
	if errors.Is(err, ErrGone) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("wait for %s to be pulled out: %w", name, err)
	}
	return s.WaitGone(ctx)
}

// Gone reports whether this very stick is not there any more.
func (s Stick) Gone() bool {
	h := s.host
	if h.sys == "" {
		h = hostAt("", "")
	}
	if _, err := os.Stat(filepath.Join(h.sys, "block")); err != nil {
		return false
	}
	b, err := h.disk(s.Name)
	if err != nil {
		return errors.Is(err, ErrGone) || errors.Is(err, ErrName)
	}
	return b.bytes() == 0 || s.Seq != 0 && b.number("diskseq") != s.Seq
}

// lookAgain is how often sysfs is looked at when the kernel says nothing.
const lookAgain = time.Second

// WaitGone waits until this very stick is pulled out, or the context ends; then
// it returns the context's cause.
func (s Stick) WaitGone(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	news := listen(ctx)
	for !s.Gone() {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-news:
		case <-time.After(lookAgain):
		}
	}
	return nil
}

// listen tells when the kernel says anything about any device, until the
// context ends. What it says is not looked at: sysfs is. Without the socket (a
// unit may not be allowed to have one) nothing comes, and polling remains.
func listen(ctx context.Context) <-chan struct{} {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return nil
	}
	f := os.NewFile(uintptr(fd), "uevents")
	const kernelGroup = 1
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: kernelGroup}); err != nil {
		f.Close()
		return nil
	}
	news := make(chan struct{}, 1)
	stop := context.AfterFunc(ctx, func() { f.Close() })
	go func() {
		defer stop()
		defer f.Close()
		b := make([]byte, 8<<10)
		for {
			_, err := f.Read(b)
			if err != nil && !errors.Is(err, unix.ENOBUFS) { // overrun: something happened, whatever it was
				return
			}
			select {
			case news <- struct{}{}:
			default:
			}
		}
	}()
	return news
}
