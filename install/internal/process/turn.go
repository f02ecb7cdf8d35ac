package process

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// turns has a place for the one program that runs. It is a variable of the
// package as what it guards is an attribute of the process.
var turns = make(chan struct{}, 1)

// A turn is the time in which this process adopts.
type turn struct {
	before map[int]bool // sessions of what was adopted earlier and lives on
}

// takeTurn waits for its turn.
func takeTurn(ctx context.Context) (*turn, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	select {
	case turns <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	t := &turn{before: make(map[int]bool)}
	if err := t.begin(); err != nil {
		<-turns
		return nil, err
	}
	return t, nil
}

func (t *turn) begin() error {
	children, err := processes()
	if err != nil {
		return err
	}
	for _, m := range below(children, adopted(children)) {
		t.before[m.session] = true
	}
	return adopt(1)
}

// end lets the next have its turn. Adopted processes that live on are reaped
// when they end.
func (t *turn) end() {
	_ = adopt(0)
	if children, err := processes(); err == nil {
		for _, m := range adopted(children) {
			if !reap(m.pid) {
				wards.add(m.pid)
			}
		}
	}
	<-turns
}

// wards are adopted processes that live on.
var wards custody

// A custody reaps children that end at some time, with one goroutine, which
// ends with the last of them.
type custody struct {
	mu   sync.Mutex
	pids map[int]bool
}

func (c *custody) add(pid int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.pids) == 0 {
		c.pids = make(map[int]bool)
		go c.keep()
	}
	c.pids[pid] = true
}

func (c *custody) keep() {
	for c.sweep() > 0 {
		time.Sleep(time.Second)
	}
}

// sweep returns how many there still are.
func (c *custody) sweep() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	for pid := range c.pids {
		if got, err := unix.Wait4(pid, nil, unix.WNOHANG, nil); got != 0 && err != unix.EINTR {
			delete(c.pids, pid)
		}
	}
	return len(c.pids)
}

// adopt says whether this process gets the descendants that lose their parent.
func adopt(yes uintptr) error { return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, yes, 0, 0, 0) }
