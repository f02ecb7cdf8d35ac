package tell

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// A queue holds what somebody is still to be told. It never makes the one who
// tells wait: when it is full the oldest is left out.
type queue[T any] struct {
	max  int
	wake chan struct{} // has something in it when there may be something to take

	mu     sync.Mutex
	items  []T
	closed bool
}

func newQueue[T any](most int) *queue[T] {
	return &queue[T]{max: most, wake: make(chan struct{}, 1)}
}

// put adds an item; after close it does nothing.
func (q *queue[T]) put(item T) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	if len(q.items) == q.max {
		q.items = q.items[1:]
	}
	q.items = append(q.items, item)
	q.signal()
}

// take returns the oldest item, if there is one; over is true when none will
// come any more.
func (q *queue[T]) take() (item T, ok, over bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.items) == 0 {
		return item, false, q.closed
	}
	item, q.items = q.items[0], q.items[1:]
	return item, true, false
}

// next waits for an item; without one the queue is closed.
func (q *queue[T]) next() (item T, ok bool) {
	for {
		item, ok, over := q.take()
		if ok || over {
			return item, ok
		}
		<-q.wake
	}
}

// close lets nothing more in. What is in it can still be taken.
func (q *queue[T]) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.signal()
}

func (q *queue[T]) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// maxFaults is how many different things that went wrong are kept.
const maxFaults = 8

// faults are what went wrong on the way, each once.
type faults struct {
	mu   sync.Mutex
	errs []error
}

func (f *faults) add(err error) {
	if err == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.errs {
		if e.Error() == err.Error() {
			return
		}
	}
	if len(f.errs) < maxFaults {
		f.errs = append(f.errs, err)
	}
}

func (f *faults) err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return errors.Join(f.errs...)
}

// ErrSlow is a Teller that had not told everything when Close stopped waiting.
var ErrSlow = errors.New("did not end in time")

// finish waits for a goroutine, but not longer than limit.
func finish(done <-chan struct{}, limit time.Duration, what string) error {
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-done:
		return nil
	case <-t.C:
	}
	select {
	case <-done: // in the same moment
		return nil
	default:
		return fmt.Errorf("tell %s: %w", what, ErrSlow)
	}
}
