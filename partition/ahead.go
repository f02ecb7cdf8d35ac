package partition

// An ahead reads a medium from beginning to end, one unit before it is asked for.
type ahead struct {
	come chan read
	free chan []byte
	last []byte // what next returned
}

type read struct {
	b   []byte
	err error
}

// ahead reads from one offset, a multiple of 4 KiB, to another. end must be
// called, and nothing else be done with the medium before that.
func (m *medium) ahead(from, to int64) *ahead {
	a := &ahead{come: make(chan read, 1), free: make(chan []byte, 2)}
	a.free <- m.buf
	a.free <- aligned(unit)
	go func() {
		defer close(a.come)
		for off := from; off < to; {
			buf, more := <-a.free
			if !more {
				return
			}
			n := int(min(unit, to-off))
			b, err := m.readTo(buf, off, n)
			a.come <- read{b, err}
			if err != nil {
				return
			}
			off += int64(n)
		}
	}()
	return a
}

// next returns the next unit, or less at the end, valid until the next call.
func (a *ahead) next() ([]byte, error) {
	if a.last != nil {
		a.free <- a.last[:cap(a.last)]
	}
	r := <-a.come
	a.last = r.b
	return r.b, r.err
}

// end returns when nothing is being read any more.
func (a *ahead) end() {
	close(a.free)
	for range a.come {
	}
}
