package partition

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Requests of linux/fs.h, on every architecture that we build for.
const (
	fiFreeze = 0xc0045877
	fiThaw   = 0xc0045878
)

// ErrThawed: a file system did not stay frozen until its image was complete.
var ErrThawed = errors.New("the file system was thawed before its image was complete")

// freeze stops all writes to the file system of an open folder: whoever writes
// waits. What was written is on the medium then, and the journal is empty.
func freeze(dir *os.File) error { return unix.IoctlSetInt(int(dir.Fd()), fiFreeze, 0) }

// thaw lets the writers go on. EINVAL: the file system is not frozen.
func thaw(dir *os.File) error { return unix.IoctlSetInt(int(dir.Fd()), fiThaw, 0) }

// A frozen is a file system that nobody can write to. Were it left so, the device
// would hang: a second process, the guard, thaws it when this one dies, however
// it dies, and when the limit has passed, whatever this one does. If the guard
// dies this one thaws.
type frozen struct {
	dir   *os.File
	guard *exec.Cmd
	tell  *os.File      // the guard reads; its end is the end of this process
	lost  chan struct{} // closed when the guard has ended
	once  sync.Once
	err   error // of the thawing
}

// grace is how much later than this process the guard thaws.
const grace = 5 * time.Second

// freezeGuarded freezes the file system of dir, and keeps dir. guard is a
// command, not started, that calls GuardFreeze.
func freezeGuarded(dir *os.File, limit time.Duration, guard *exec.Cmd) (*frozen, error) {
	ear, tell, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	answer, mouth, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, ear.Close(), tell.Close())
	}
	guard.ExtraFiles = []*os.File{dir, ear, mouth}
	guard.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // what stops our terminal or group does not stop it
	err = guard.Start()
	err = errors.Join(err, ear.Close(), mouth.Close())
	if err != nil {
		return nil, fmt.Errorf("start the guard of a frozen file system: %w", errors.Join(err, tell.Close(), answer.Close()))
	}
	f := &frozen{dir: dir, guard: guard, tell: tell, lost: make(chan struct{})}
	go func() {
		guard.Wait() // how it ended says nothing
		close(f.lost)
	}()
	if err := errors.Join(f.arm(limit, answer), answer.Close()); err != nil {
		return nil, errors.Join(fmt.Errorf("the guard of a frozen file system: %w", err), f.dismiss())
	}
	if err := freeze(dir); err != nil {
		return nil, errors.Join(&os.PathError{Op: "freeze", Path: dir.Name(), Err: err}, f.dismiss())
	}
	return f, nil
}

// arm tells the guard how long to wait, and waits until it is on its post.
func (f *frozen) arm(limit time.Duration, answer *os.File) error {
	if err := binary.Write(f.tell, binary.LittleEndian, int64(limit+grace)); err != nil {
		return err
	}
	if err := answer.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return err
	}
	_, err := io.ReadFull(answer, make([]byte, 1))
	return err
}

// dismiss tells the guard that there is nothing to thaw any more.
func (f *frozen) dismiss() error {
	_, err := f.tell.Write([]byte{1})
	if errors.Is(err, unix.EPIPE) {
		err = nil // it has ended already
	}
	err = errors.Join(err, f.tell.Close())
	<-f.lost
	return err
}

// thaw lets the writers go on. It may be called again, by anybody. ErrThawed: it
// was not frozen any more.
func (f *frozen) thaw() error {
	f.once.Do(func() {
		f.err = thaw(f.dir)
		if errors.Is(f.err, unix.EINVAL) {
			f.err = ErrThawed
		}
		f.err = errors.Join(f.err, f.dismiss())
	})
	return f.err
}

// GuardFreeze is all that the guard of a frozen file system does: a process of
// its own, started by [Source.Copy] and by nobody else. It returns when the file
// system is thawed.
func GuardFreeze() error {
	signal.Ignore(unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGPIPE)
	dir, ear, mouth := os.NewFile(3, "frozen"), os.NewFile(4, "ear"), os.NewFile(5, "mouth")
	if dir == nil || ear == nil || mouth == nil {
		return errors.New("guard: it is not for people to call")
	}
	if f, err := os.OpenFile("/proc/self/oom_score_adj", os.O_WRONLY, 0); err == nil {
		f.WriteString("-1000") // best effort: it is small, and not the one to kill
		f.Close()
	}
	var limit int64
	if err := binary.Read(ear, binary.LittleEndian, &limit); err != nil {
		return fmt.Errorf("guard: %w", err)
	}
	word := make(chan error, 1)
	go func() {
		_, err := io.ReadFull(ear, make([]byte, 1))
		word <- err
	}()
	if _, err := mouth.Write([]byte{1}); err != nil {
		return fmt.Errorf("guard: %w", err)
	}
	return stand(dir, word, time.Duration(limit))
}

// stand thaws when there is nobody any more to do it, or the limit has passed.
// It stays until it is told that all is done, or finds itself alone: a freezing
// that waits for a writer can come about after the limit.
func stand(dir *os.File, word <-chan error, limit time.Duration) error {
	alarm := time.After(limit)
	for {
		select {
		case err := <-word:
			if err == nil {
				return nil
			}
			if err := thaw(dir); err != nil && !errors.Is(err, unix.EINVAL) { // it was not frozen yet, or is not any more
				return fmt.Errorf("guard: thaw: %w", err)
			}
			return nil
		case <-alarm:
			if alarm = nil; thaw(dir) != nil {
				alarm = time.After(time.Second)
			}
		}
	}
}
