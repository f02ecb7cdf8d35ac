package artifact

import (
	"fmt"
	"hash"
	"io"
	"sync/atomic"
	"time"
)

// A Payload is one file of the payload, and a reader of it.
type Payload struct {
	Type    string // of the payload: that of the Header
	Name    string // a plain name of letters, digits and ".,_-"
	Size    int64  // what the archive says; Read returns no more and no less, or an error
	Sum     Sum    // what the manifest says
	ModTime time.Time

	portion int64 // how much WriteTo hands over at once

	r   io.Reader
	h   hash.Hash
	err error
}

// Read returns bytes that are tentative until it returns io.EOF: it returns ErrChecksum in its place if they were not what the
// manifest says.
func (p *Payload) Read(b []byte) (int, error) {
	if p.err != nil {
		return 0, p.err
	}
	n, err := p.r.Read(b)
	p.h.Write(b[:n])
	p.err = p.verdict(err)
	return n, p.err
}

// verdict makes of an error of the archive one of the file.
func (p *Payload) verdict(err error) error {
	if err == io.EOF {
		sum := matches(Sum(p.h.Sum(nil)), p.Sum)
		if sum == nil {
			return io.EOF
		}
		err = sum
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", p.Name, err)
	}
	return err
}

const (
	portionSize   = 1 << 20         // what WriteTo hands over at once
	portionSizeXZ = portionSize / 4 // beside a dictionary of 64 MiB, and slow anyway
	portions      = 3               // that are under way: one being decoded, one hashed, one written
)

// WriteTo writes the rest of the file to w, and returns nil where Read would return io.EOF. Decoding, hashing and w.Write go on at the
// same time, so that the slowest of them sets the pace. w is given the file in portions of 1 MiB (of xz 256 KiB), only the last being
// smaller, that it may use until Write returns; like the bytes that Read returns they are tentative until WriteTo returns nil.
func (p *Payload) WriteTo(w io.Writer) (n int64, err error) {
	switch p.err {
	case nil:
	case io.EOF:
		return 0, nil
	default:
		return 0, p.err
	}
	f := flow{
		free: make(chan *portion, portions), hashing: make(chan *portion, portions), writing: make(chan *portion, portions),
		hashed: make(chan struct{}),
	}
	for range min(portions, p.Size/p.portion+1) {
		f.free <- &portion{room: make([]byte, min(p.portion, p.Size))}
	}
	go f.decode(p.r)
	go f.hash(p.h)
	n, err = f.write(w)
	<-f.hashed // and with that nobody reads from p.r
	p.r = nil  // the decoder has a window
	if err != nil {
		p.err = err
		return n, err
	}
	if p.err = p.verdict(f.err); p.err != io.EOF {
		return n, p.err
	}
	return n, nil
}

// A flow is the three that pass the portions of a file around: each is decoded, then hashed and written, and is free again.
type flow struct {
	free, hashing, writing chan *portion
	stop                   atomic.Bool // what is decoded is of no use
	err                    error       // of the decoder, io.EOF at the end; read it once hashed is closed
	hashed                 chan struct{}
}

type portion struct {
	room, b []byte
	users   atomic.Int32
}

// done gives back what a user has done with.
func (f *flow) done(b *portion) {
	if b.users.Add(-1) == 0 {
		f.free <- b
	}
}

func (f *flow) decode(r io.Reader) {
	defer close(f.hashing)
	defer close(f.writing)
	for f.err == nil && !f.stop.Load() {
		b := <-f.free
		b.b = b.room[:0]
		for f.err == nil && len(b.b) < len(b.room) {
			var n int
			n, f.err = r.Read(b.room[len(b.b):])
			b.b = b.room[:len(b.b)+n]
		}
		if len(b.b) == 0 {
			break
		}
		b.users.Store(2)
		f.hashing <- b
		f.writing <- b
	}
}

func (f *flow) hash(h hash.Hash) {
	defer close(f.hashed)
	for b := range f.hashing {
		h.Write(b.b)
		f.done(b)
	}
}

// write returns when all is written and the decoder has ended, also after an error.
func (f *flow) write(w io.Writer) (n int64, err error) {
	for b := range f.writing {
		if err == nil {
			var k int
			k, err = w.Write(b.b)
			if n += int64(k); err == nil && k < len(b.b) {
				err = io.ErrShortWrite
			}
			f.stop.Store(err != nil)
		}
		f.done(b)
	}
	return n, err
}
