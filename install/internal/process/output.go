package process

import (
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// keep is how much is kept of the start of an output, and how much of its end.
const keep = 8 << 10

// An Output is what a program said: all of it, or its two ends.
type Output struct {
	Head, Tail []byte
	Dropped    int64 // how many bytes were between them
}

func (o Output) String() string {
	if o.Dropped == 0 {
		return string(o.Head) + string(o.Tail)
	}
	return fmt.Sprintf("%s\n[%d bytes left out]\n%s", o.Head, o.Dropped, o.Tail)
}

// A capture keeps the two ends of what is written to it.
type capture struct {
	head, tail []byte
	n          int64
}

func (c *capture) Write(b []byte) (int, error) {
	c.n += int64(len(b))
	k := min(len(b), keep-len(c.head))
	c.head = append(c.head, b[:k]...)
	c.tail = append(c.tail, b[k:]...)
	if over := len(c.tail) - keep; over > keep {
		c.tail = c.tail[:copy(c.tail, c.tail[over:])]
	}
	return len(b), nil
}

func (c *capture) output() Output {
	tail := c.tail[max(0, len(c.tail)-keep):]
	return Output{Head: c.head, Tail: tail, Dropped: c.n - int64(len(c.head)+len(tail))}
}

// A pipe takes what a program says, as fast as it comes.
type pipe struct {
	r    *os.File
	got  capture
	done chan struct{}
}

func (p *pipe) read() {
	defer close(p.done)
	b := make([]byte, keep)
	for {
		n, err := p.r.Read(b)
		p.got.Write(b[:n])
		if err != nil {
			return
		}
	}
}

// finish closes the pipe of a program that has ended. All that it said is in
// there; whoever else has the other end is not waited for.
func (p *pipe) finish() Output {
	_ = p.r.SetReadDeadline(time.Now())
	<-p.done
	_ = p.r.SetReadDeadline(time.Time{})
	if raw, err := p.r.SyscallConn(); err == nil {
		_ = raw.Read(func(fd uintptr) bool { p.drain(int(fd)); return true })
	}
	_ = p.r.Close()
	return p.got.output()
}

// maxPipe is what a pipe holds at most, unless root made it larger.
const maxPipe = 1 << 20

// drain reads what is there now, and no more than a pipe holds: somebody may
// still be writing.
func (p *pipe) drain(fd int) {
	b := make([]byte, keep)
	for left := maxPipe; left > 0; {
		n, err := unix.Read(fd, b)
		if err == unix.EINTR {
			continue
		}
		if n <= 0 {
			return
		}
		p.got.Write(b[:n])
		left -= n
	}
}

// Summary says in a line or more how a program ended, and what it said.
func Summary(err error, stdout, stderr Output) string {
	ended := "done"
	if err != nil {
		ended = err.Error()
	}
	said := strings.TrimSpace(stdout.String() + stderr.String())
	if said == "" {
		return ended
	}
	return ended + ": " + said
}
