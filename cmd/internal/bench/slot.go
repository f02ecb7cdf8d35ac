package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	mib    = 1 << 20
	block4 = 4 << 10
	piece  = 4 * mib
)

// A slot is a loop device over a file on the medium. The device goes to the
// file past the page cache, so that what it says it has written is on the
// medium, and reading it is reading the medium.
type slot struct {
	path string // /dev/loopN; nobody holds it, so that the last one's close flushes it, as on a device
	size int64
	file *os.File // what is beneath it, past the page cache
	buf  []byte   // one piece, aligned
}

// newSlot makes a slot of size bytes in the file name, which holds zeros.
func newSlot(name string, size int64) (*slot, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC|unix.O_DIRECT, 0o600)
	if errors.Is(err, unix.EINVAL) {
		f, err = os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	}
	if err != nil {
		return nil, err
	}
	if err := f.Truncate(size); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	dev, err := loop(f, unix.LO_FLAGS_DIRECT_IO)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	s := &slot{path: dev.Name(), size: size, file: f}
	s.buf, err = unix.Mmap(-1, 0, piece, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err = errors.Join(err, dev.Close()); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// loop returns a loop device over f.
func loop(f *os.File, flags uint32) (*os.File, error) {
	ctl, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer ctl.Close()
	for range 10 { // somebody else may be faster
		n, err := unix.IoctlRetInt(int(ctl.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, fmt.Errorf("find a loop device: %w", err)
		}
		dev, err := os.OpenFile("/dev/loop"+strconv.Itoa(n), os.O_RDWR, 0)
		if err != nil {
			return nil, err
		}
		c := unix.LoopConfig{Fd: uint32(f.Fd()), Info: unix.LoopInfo64{Flags: flags}}
		copy(c.Info.File_name[:len(c.Info.File_name)-1], f.Name())
		err = unix.IoctlLoopConfigure(int(dev.Fd()), &c)
		if err == nil {
			return dev, nil
		}
		dev.Close()
		if !errors.Is(err, unix.EBUSY) {
			return nil, fmt.Errorf("%s: %w", dev.Name(), err)
		}
	}
	return nil, errors.New("find a loop device: all are taken")
}

// close ends the slot. Whoever still has the device open keeps it.
func (s *slot) close() error {
	return errors.Join(s.with(func(dev *os.File) error { return unix.IoctlSetInt(int(dev.Fd()), unix.LOOP_CLR_FD, 0) }),
		s.file.Close(), os.Remove(s.file.Name()))
}

// with opens the device for as long as f takes.
func (s *slot) with(f func(dev *os.File) error) error {
	dev, err := os.OpenFile(s.path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err := f(dev); err != nil {
		return errors.Join(fmt.Errorf("%s: %w", s.path, err), dev.Close())
	}
	return dev.Close()
}

// other fills the slot with data in which no block is like another, and none
// like one of an image. It rewrites the file past the page cache.
func (s *slot) other() error {
	random := rand.NewChaCha8([32]byte{1})
	if _, err := random.Read(s.buf); err != nil {
		return err
	}
	return s.fill(func(off int64) error {
		for at := 0; at < len(s.buf); at += block4 {
			binary.LittleEndian.PutUint64(s.buf[at:], uint64(off)+uint64(at)+1)
		}
		return nil
	})
}

// hold fills the slot with the image in the file name.
func (s *slot) hold(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return s.fill(func(off int64) error {
		n, err := f.ReadAt(s.buf, off)
		clear(s.buf[n:])
		if err == io.EOF {
			err = nil
		}
		return err
	})
}

func (s *slot) fill(next func(off int64) error) error {
	for off := int64(0); off < s.size; off += piece {
		if err := next(off); err != nil {
			return err
		}
		if _, err := s.file.WriteAt(s.buf[:min(piece, s.size-off)], off); err != nil {
			return err
		}
	}
	return errors.Join(s.file.Sync(), s.forget())
}

// forget empties the page cache of the device and of the file.
func (s *slot) forget() error {
	if err := s.with(func(dev *os.File) error { return unix.IoctlSetInt(int(dev.Fd()), unix.BLKFLSBUF, 0) }); err != nil {
		return err
	}
	return unix.Fadvise(int(s.file.Fd()), 0, 0, unix.FADV_DONTNEED)
}

// holds returns an error unless the slot holds the image in the file name.
// With sparse, pieces of 64 KiB that are zero in the image may hold anything.
func (s *slot) holds(name string, sparse bool) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := s.forget(); err != nil {
		return err
	}
	return s.with(func(dev *os.File) error { return same(f, dev, sparse) })
}

func same(image, dev io.ReaderAt, sparse bool) error {
	want, have, zero := make([]byte, 64<<10), make([]byte, 64<<10), make([]byte, 64<<10)
	for off := int64(0); ; off += int64(len(want)) {
		n, err := image.ReadAt(want, off)
		if err != nil && err != io.EOF {
			return err
		}
		if n == 0 {
			return nil
		}
		if _, err := dev.ReadAt(have[:n], off); err != nil {
			return err
		}
		if !bytes.Equal(want[:n], have[:n]) && !(sparse && bytes.Equal(want[:n], zero[:n])) {
			return fmt.Errorf("it differs from the image in the 64 KiB at %d", off)
		}
	}
}

// written returns how many bytes the device was told to write since it began.
func (s *slot) written() (int64, error) {
	b, err := os.ReadFile("/sys/block/" + strings.TrimPrefix(s.path, "/dev/") + "/stat")
	if err != nil {
		return 0, err
	}
	f := strings.Fields(string(b))
	if len(f) < 7 {
		return 0, fmt.Errorf("%s: stat has %d fields", s.path, len(f))
	}
	sectors, err := strconv.ParseInt(f[6], 10, 64)
	return sectors * 512, err
}

// differing returns how many blocks of 4 KiB differ in place, of how many.
func differing(a, b string) (n, of int64, err error) {
	fa, err := os.Open(a)
	if err != nil {
		return 0, 0, err
	}
	defer fa.Close()
	fb, err := os.Open(b)
	if err != nil {
		return 0, 0, err
	}
	defer fb.Close()
	pa, pb := make([]byte, mib), make([]byte, mib)
	for {
		na, err := io.ReadFull(fa, pa)
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return 0, 0, err
		}
		nb, err := io.ReadFull(fb, pb)
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return 0, 0, err
		}
		if na != nb {
			return 0, 0, fmt.Errorf("%s and %s are not of one size", a, b)
		}
		if na == 0 {
			return n, of, nil
		}
		for at := 0; at < na; at += block4 {
			end := min(at+block4, na)
			of++
			if !bytes.Equal(pa[at:end], pb[at:end]) {
				n++
			}
		}
	}
}
