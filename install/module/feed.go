package module

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// errEnded is a module that ended while something was expected of it.
var errEnded = errors.New("the module has ended")

// A feed gives the files to a module that runs.
//
// A named pipe is opened for writing without waiting, again and again until the
// module has it open for reading: an open that waits could only be ended by
// opening the other end, and then nobody knew who is there. The name of a
// pipe is told when the pipe is there, and a module that waits in its open is
// seen by the next try. Once open, a write waits for the module to read and
// fails when nobody can any more; the end of the module ends it as well, since
// somebody else may have got the pipe from it.
type feed struct {
	tree  string
	sizes bool
	s     *source

	told int      // names that the module has read, or could have
	at   string   // what is expected of the module
	held *os.File // the pipe that was not read as it should: its end would look like the file's
}

func newFeed(tree string, sizes bool, s *source) (*feed, error) {
	f := &feed{tree: tree, sizes: sizes, s: s}
	f.remove() // of a download that was cut
	return f, mkfifo(f.nextPath())
}

func (f *feed) nextPath() string             { return filepath.Join(f.tree, "stream-next") }
func (f *feed) streams() string              { return filepath.Join(f.tree, "streams") }
func (f *feed) streamPath(file *File) string { return filepath.Join(f.streams(), file.Name) }

// remove removes the pipes, when the module has ended.
func (f *feed) remove() {
	if f.held != nil {
		_ = f.held.Close()
	}
	_ = os.Remove(f.nextPath())
	_ = os.RemoveAll(f.streams())
}

// feed returns nil if the module was given all there is, errEnded if it ended
// before it was, ErrUnread for what it did not read, and otherwise what is wrong
// with the files.
func (f *feed) feed(ended <-chan struct{}) error {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	go func() {
		select {
		case <-ended:
			cancel(errEnded)
		case <-ctx.Done():
		}
	}()
	for {
		file, err := f.s.take()
		if err == io.EOF {
			return f.finish(ctx)
		}
		if err != nil {
			return err
		}
		if err := f.tell(ctx, file); err != nil {
			f.s.back = file
			return err
		}
		if err := f.send(ctx, file); err != nil {
			return err
		}
	}
}

// tell makes the pipe of a file and tells its name.
func (f *feed) tell(ctx context.Context, file *File) error {
	f.at = "it did not ask for " + file.Name
	if err := os.Mkdir(f.streams(), 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	if err := mkfifo(f.streamPath(file)); err != nil {
		return err
	}
	line := "streams/" + file.Name
	if f.sizes {
		line = fmt.Sprintf("%s %d", line, file.Size)
	}
	for {
		p, err := openPipe(ctx, f.nextPath())
		if err != nil {
			return err
		}
		// An empty pipe has room for a line.
		if _, err = p.Write([]byte(line + "\n")); err == nil {
			err = drained(ctx, p)
		}
		closed := p.Close()
		switch {
		case errors.Is(err, syscall.EPIPE):
			continue // it only had a look
		case err != nil:
			return err
		}
		f.told++
		return closed
	}
}

// send gives the content of a file to the module, which has read all of it when
// this returns nil.
func (f *feed) send(ctx context.Context, file *File) error {
	f.at = "it did not open streams/" + file.Name
	p, err := openPipe(ctx, f.streamPath(file))
	if err != nil {
		return err
	}
	f.held = p
	defer context.AfterFunc(ctx, func() { _ = p.SetWriteDeadline(time.Now()) })()
	out := &sink{w: p}
	err = copyAll(out, file)
	if err == nil {
		out.err = drained(ctx, p)
		err = out.err
	}
	if out.err != nil {
		return fmt.Errorf("%w: it stopped reading streams/%s of %d bytes, %d were sent: %w", ErrUnread, file.Name, file.Size, out.n, reason(out.err))
	}
	if err != nil {
		return err
	}
	f.held = nil
	return errors.Join(p.Close(), os.Remove(f.streamPath(file)))
}

// reason puts an error of a pipe into words.
func reason(err error) error {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errEnded
	}
	return err
}

// finish tells the module that there is no more. A module that knows, and has
// ended with all files read, is right.
func (f *feed) finish(ctx context.Context) error {
	f.at = "it did not ask whether there is more"
	p, err := openPipe(ctx, f.nextPath())
	if err == errEnded && f.told > 0 {
		return nil
	}
	if err != nil {
		return err
	}
	return p.Close()
}

// drained waits until all that was written to a pipe was read.
func drained(ctx context.Context, p *os.File) error {
	raw, err := p.SyscallConn()
	if err != nil {
		return err
	}
	for pause := newPause(); ; {
		ended := context.Cause(ctx) // before the look, so that what it did last is seen
		var left int
		var gone bool
		var looked error
		err := raw.Control(func(fd uintptr) { gone, left, looked = look(int(fd)) })
		if err == nil {
			err = looked
		}
		switch {
		case err != nil:
			return err
		case left == 0:
			return nil
		case gone:
			return fmt.Errorf("%d bytes are left: %w", left, syscall.EPIPE)
		case ended != nil:
			return ended
		}
		pause.wait(ctx)
	}
}

// look tells whether nobody has a pipe open for reading any more, and how many
// bytes are in it.
func look(fd int) (gone bool, left int, err error) {
	fds := []unix.PollFd{{Fd: int32(fd)}}
	if _, err := unix.Poll(fds, 0); err != nil && err != unix.EINTR {
		return false, 0, err
	}
	left, err = unix.IoctlGetInt(fd, unix.TIOCINQ)
	return fds[0].Revents&unix.POLLERR != 0, left, err
}

func mkfifo(path string) error {
	if err := unix.Mkfifo(path, 0o600); err != nil {
		return &os.PathError{Op: "mkfifo", Path: path, Err: err}
	}
	return nil
}

// openPipe opens a named pipe for writing, as soon as somebody has it open for
// reading. It returns errEnded if the module ended before.
func openPipe(ctx context.Context, path string) (*os.File, error) {
	for pause := newPause(); ; {
		ended := context.Cause(ctx)
		p, err := tryPipe(path)
		if err != unix.ENXIO {
			return p, err
		}
		if ended != nil {
			return nil, ended
		}
		pause.wait(ctx)
	}
}

// tryPipe returns ENXIO, as it is, if nobody has the pipe open for reading.
func tryPipe(path string) (*os.File, error) {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err == unix.ENXIO || err == unix.EINTR {
		return nil, unix.ENXIO
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFIFO {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("%s: not the pipe that it was", path)
	}
	return os.NewFile(uintptr(fd), path), nil
}

// A pause is short at first.
type pause struct{ d time.Duration }

func newPause() *pause { return &pause{time.Millisecond} }

func (p *pause) wait(ctx context.Context) {
	select {
	case <-time.After(p.d):
	case <-ctx.Done():
	}
	p.d = min(2*p.d, 50*time.Millisecond)
}
