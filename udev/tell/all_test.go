package tell

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A listener remembers what it was told.
type listener struct {
	heard []Message
	slow  time.Duration
	fault error
	reset int
}

func (l *listener) Reset() { l.reset++ }

func (l *listener) Tell(m Message) { l.heard = append(l.heard, m) }

func (l *listener) Close() error {
	time.Sleep(l.slow)
	return l.fault
}

// deaf cannot be closed.
type deaf struct{ told int }

func (d *deaf) Tell(Message) { d.told++ }

func TestAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := errors.New("one"), errors.New("two")
		a, b, c := &listener{slow: time.Minute, fault: one}, &listener{slow: time.Minute, fault: two}, &deaf{}
		s := All(a, nil, b, c, All())
		want := []Message{{State: Looking}, {State: Nothing, Code: WrongType, Artifact: "a\x00", Detail: "b", Percent: 3}}
		for _, m := range want {
			s.Tell(m)
		}
		for _, l := range []*listener{a, b} {
			if d := cmp.Diff(want, l.heard); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		}
		if c.told != len(want) {
			t.Errorf("told %d times", c.told)
		}
		if s.Reset(); a.reset != 1 || b.reset != 1 {
			t.Errorf("reset %d and %d times", a.reset, b.reset)
		}
		began := time.Now()
		if err := s.Close(); !errors.Is(err, one) || !errors.Is(err, two) || time.Since(began) != time.Minute {
			t.Errorf("Close said %v after %v", err, time.Since(began))
		}
	})
}

func TestPace(t *testing.T) {
	at := time.Unix(0, 0)
	p := &pace{}
	for i, c := range []struct {
		after time.Duration
		m     Message
		due   bool
	}{
		{0, Message{State: Working}, true},
		{0, Message{State: Working}, false},
		{time.Hour, Message{State: Working}, false}, // it is known
		{0, Message{State: Working, Percent: 1}, true},
		{9 * time.Second, Message{State: Working, Percent: 2}, false},
		{time.Second, Message{State: Working, Percent: 3}, true},
		{0, Message{State: Working, Percent: 10}, true},
		{time.Second, Message{State: Working, Percent: 19}, false},
		{0, Message{State: Working, Percent: 20}, true},
		{0, Message{State: Working, Percent: 3}, true}, // it begins again
		{0, Message{State: Working, Percent: 3, Detail: "another"}, true},
		{0, Message{State: Updated}, true},
		{0, Message{State: Updated}, false},
	} {
		at = at.Add(c.after)
		if got := p.due(c.m, at); got != c.due {
			t.Errorf("%d: %+v at %v: %v", i, c.m, at.Unix(), got)
		}
	}
}

func TestQueue(t *testing.T) {
	q := newQueue[int](3)
	for i := range 5 {
		q.put(i)
	}
	for _, want := range []int{2, 3, 4} {
		if got, ok, over := q.take(); got != want || !ok || over {
			t.Errorf("took %d, %v, %v; want %d", got, ok, over, want)
		}
	}
	if _, ok, over := q.take(); ok || over {
		t.Error("took what is not there")
	}
	q.put(5)
	q.close()
	q.put(6)
	if got, ok := q.next(); got != 5 || !ok {
		t.Errorf("took %d, %v", got, ok)
	}
	if got, ok := q.next(); ok {
		t.Errorf("took %d, which came after close", got)
	}
}

func TestFaults(t *testing.T) {
	var f faults
	if f.add(nil); f.err() != nil {
		t.Error(f.err())
	}
	for i := range 100 {
		f.add(errors.New(string(rune('a' + i/2%26))))
	}
	if got, want := f.err().Error(), "a\nb\nc\nd\ne\nf\ng\nh"; got != want {
		t.Errorf("got %q", got)
	}
}
