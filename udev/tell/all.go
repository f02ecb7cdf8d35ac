package tell

import (
	"errors"
	"io"
	"sync"
)

// Several are Tellers that are told the same.
type Several struct {
	tellers []Teller
}

// All returns the Teller that tells each of them. Nil ones are left out.
func All(tellers ...Teller) *Several {
	s := &Several{}
	for _, t := range tellers {
		if t != nil {
			s.tellers = append(s.tellers, t)
		}
	}
	return s
}

// Tell tells each of them.
func (s *Several) Tell(m Message) {
	for _, t := range s.tellers {
		t.Tell(m)
	}
}

// Reset gives back the lights among them.
func (s *Several) Reset() {
	for _, t := range s.tellers {
		if r, ok := t.(interface{ Reset() }); ok {
			r.Reset()
		}
	}
}

// Close closes those that can be closed, all at once, and returns what went
// wrong with any of them.
func (s *Several) Close() error {
	errs := make([]error, len(s.tellers))
	var wait sync.WaitGroup
	for i, t := range s.tellers {
		if c, ok := t.(io.Closer); ok {
			wait.Go(func() { errs[i] = c.Close() })
		}
	}
	wait.Wait()
	return errors.Join(errs...)
}
