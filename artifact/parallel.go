package artifact

import (
	"bytes"
	"context"
	"errors"
	"io"
	"runtime"
	"slices"
	"sync"
)

// A packer compresses data to dst. before is what stands in front of it, as much as newParallel was asked to keep. stopped says
// why nobody waits for the result any more; a packer that takes long asks now and then.
type packer func(dst *sink, before, data []byte, stopped func() error) error

// A parallel compressor cuts what is written into pieces of one size, has them packed side by side, and writes what comes of it in the
// order of the pieces. A fixed ring of pieces bounds the memory: one for each packer, one that is being filled, and one that is being
// written. The first error ends all.
//
// A piece of nothing but zeros after zeros is packed once; most of an image may be of that kind.
type parallel struct {
	w       io.Writer
	size    int // of a piece
	overlap int // of one piece into the next
	pack    func() packer

	cur     *piece // being filled
	last    []byte // overlap bytes of the piece before
	any     bool   // was there a piece?
	made    int    // pieces
	packers int    // of at most limit
	limit   int

	free, todo, order chan *piece
	wg                sync.WaitGroup
	ctx               context.Context // its cause is the first error
	stop              context.CancelCauseFunc

	zeros   sync.Once
	packed  sink // piece of zeros
	problem error
}

type piece struct {
	before, data []byte
	packed       sink
	done         chan error // one for each turn
}

// A sink is a slice that can be written to.
type sink struct{ b []byte }

func (s *sink) Write(b []byte) (int, error) {
	s.b = append(s.b, b...)
	return len(b), nil
}

// packers returns how many work side by side. Each holds memory, so there are at most eight.
func packers() int { return min(runtime.GOMAXPROCS(0), 8) }

var errAborted = errors.New("compress: aborted")

func newParallel(w io.Writer, size, overlap int, pack func() packer) *parallel {
	limit := packers()
	ring := limit + 2
	p := &parallel{w: w, size: size, overlap: overlap, pack: pack, limit: limit,
		free: make(chan *piece, ring), todo: make(chan *piece, ring), order: make(chan *piece, ring)}
	p.ctx, p.stop = context.WithCancelCause(context.Background())
	p.wg.Go(p.write)
	return p
}

func (p *parallel) stopped() error { return context.Cause(p.ctx) }

func (p *parallel) Write(b []byte) (n int, err error) {
	for n < len(b) {
		if p.cur == nil {
			p.begin()
		}
		if err := p.stopped(); err != nil {
			return n, err
		}
		k := min(len(b)-n, p.size-len(p.cur.data))
		p.cur.data = append(p.cur.data, b[n:n+k]...)
		if n += k; len(p.cur.data) == p.size {
			p.send()
		}
	}
	return n, nil
}

// begin takes a piece off the ring. Pieces come back also after an error.
func (p *parallel) begin() {
	if len(p.free) == 0 && p.made < cap(p.free) {
		p.made++
		p.cur = &piece{done: make(chan error, 1)}
	} else {
		p.cur = <-p.free
	}
	p.cur.before = append(p.cur.before[:0], p.last...)
	if p.cur.data = p.cur.data[:0]; p.any {
		p.cur.data = slices.Grow(p.cur.data, p.size) // the first may be the only one, and small
	}
}

// send gives the piece to the packers, of which there are no more than pieces.
func (p *parallel) send() {
	c := p.cur
	p.cur, p.any = nil, true
	p.last = append(p.last[:0], c.data[max(0, len(c.data)-p.overlap):]...)
	if p.packers < p.limit {
		p.packers++
		p.wg.Go(p.work)
	}
	p.todo <- c // never blocks, nor does order: there is room for the whole ring
	p.order <- c
}

// work packs pieces until there are no more.
func (p *parallel) work() {
	pack := p.pack()
	for c := range p.todo {
		c.packed.b = c.packed.b[:0]
		err := p.stopped()
		switch {
		case err != nil:
		case len(c.data) == p.size && len(c.before) == p.overlap && zero(c.before) && zero(c.data):
			p.zeros.Do(func() { p.problem = pack(&p.packed, c.before, c.data, p.stopped) })
			c.packed.b, err = append(c.packed.b, p.packed.b...), p.problem
		default:
			err = pack(&c.packed, c.before, c.data, p.stopped)
		}
		c.done <- err
	}
}

// write writes what was packed until there is no more.
func (p *parallel) write() {
	for c := range p.order {
		err := <-c.done
		if err == nil && p.stopped() == nil {
			_, err = p.w.Write(c.packed.b)
		}
		if err != nil {
			p.stop(err)
		}
		p.free <- c
	}
}

// Close packs what is left, which is a piece of its own even if it is empty and the only one, and waits for the last byte to be written.
func (p *parallel) Close() error {
	if p.cur == nil && !p.any {
		p.begin()
	}
	if p.cur != nil {
		p.send()
	}
	close(p.todo)
	close(p.order)
	p.wg.Wait()
	err := p.stopped()
	p.stop(nil) // frees the context
	return err
}

func (p *parallel) abort() { p.stop(errAborted) }

// zero reports whether b is nothing but zeros.
func zero(b []byte) bool { return len(b) == 0 || b[0] == 0 && bytes.Equal(b[1:], b[:len(b)-1]) }
