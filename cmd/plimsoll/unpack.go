package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/plimsoll-ota/plimsoll/artifact"
)

// anyone lets every artifact be opened, at a workbench where it is looked at or
// made into another one, and notes whether it is signed. Nothing is installed.
type anyone struct{ signed bool }

func (a *anyone) Verify(_, sig []byte) error {
	a.signed = sig != nil
	return nil
}

// isArtifact looks at the first member's name: an image may be called anything.
func isArtifact(f io.ReaderAt) bool {
	b := make([]byte, 512)
	n, _ := f.ReadAt(b, 0)
	return n == len(b) && bytes.HasPrefix(b, []byte("version\x00")) && string(b[257:262]) == "ustar"
}

// An unpacked is the image of an artifact, in a file without a name.
type unpacked struct {
	*os.File
	name    string // of the payload file
	modTime time.Time
}

// errNotImage is an artifact whose files are not in a file system.
var errNotImage = errors.New("its payload is not a root file system image")

// unpack reads an artifact to its end, and verifies all of it. What is zero
// becomes a hole.
func (a *app) unpack(ctx context.Context, r *artifact.Reader, dir string) (*unpacked, error) {
	if t := r.Header().Type; t != artifact.RootFS {
		return nil, fmt.Errorf("%w: its type is %q", errNotImage, t)
	}
	p, err := r.Next()
	if err != nil {
		return nil, err
	}
	f, err := spoolFile(dir)
	if err != nil {
		return nil, err
	}
	u := &unpacked{f, p.Name, p.ModTime}
	w := &sparseWriter{ctx: ctx, f: f, report: func(n int64) { a.out.count("unpack", n, p.Size) }}
	if _, err = p.WriteTo(w); err == nil {
		err = f.Truncate(p.Size)
	}
	if err == nil {
		if _, err = r.Next(); err == io.EOF {
			return u, nil
		}
	}
	return nil, errors.Join(err, f.Close())
}

// spoolFile makes a file that is gone when it is closed, or the process is.
func spoolFile(dir string) (*os.File, error) {
	if f, err := unnamedFile(dir); err == nil {
		return f, nil
	}
	f, err := os.CreateTemp(dir, ".plimsoll-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// A sparseWriter leaves out what is zero.
type sparseWriter struct {
	ctx    context.Context
	f      *os.File
	n      int64
	report func(int64)
}

var zeroBlock [4096]byte

func (s *sparseWriter) Write(b []byte) (int, error) {
	if s.ctx.Err() != nil {
		return 0, context.Cause(s.ctx)
	}
	zero := func(at int) bool {
		n := min(len(b)-at, len(zeroBlock))
		return bytes.Equal(b[at:at+n], zeroBlock[:n])
	}
	for at := 0; at < len(b); {
		from := at
		for at < len(b) && !zero(at) {
			at += len(zeroBlock)
		}
		if at = min(at, len(b)); at > from {
			if n, err := s.f.WriteAt(b[from:at], s.n+int64(from)); err != nil {
				return from + n, err
			}
		}
		for at < len(b) && zero(at) {
			at = min(at+len(zeroBlock), len(b))
		}
	}
	s.n += int64(len(b))
	s.report(s.n)
	return len(b), nil
}

// withVessel opens an image, of whatever kind, for reading.
func (a *app) withVessel(ctx context.Context, image string, body func(*vessel) error) error {
	f, err := os.Open(image)
	if err != nil {
		return err
	}
	defer f.Close() // only read
	if err = a.inVessel(ctx, f, body); err != nil {
		return fmt.Errorf("%s: %w", image, err)
	}
	return nil
}

func (a *app) inVessel(ctx context.Context, f *os.File, body func(*vessel) error) error {
	if !isArtifact(f) {
		v, err := openVessel(f, time.Time{})
		if err != nil {
			return err
		}
		return body(v)
	}
	r, err := artifact.Open(untilDone{ctx, f}, &anyone{})
	if err != nil {
		return err
	}
	u, err := a.unpack(ctx, r, os.TempDir())
	if err != nil {
		return err
	}
	defer u.Close() // it is gone with that
	v, err := u.vessel(time.Time{})
	if err != nil {
		return err
	}
	return body(v)
}

// vessel is the file system in the payload.
func (u *unpacked) vessel(t time.Time) (*vessel, error) {
	v, err := openVessel(u.File, t)
	if errors.Is(err, errVessel) || err == nil && v.all == nil {
		return nil, fmt.Errorf("%w: neither ext2, ext3, ext4 nor FAT", errNotImage)
	}
	if err != nil {
		return nil, err
	}
	v.payload = true
	return v, nil
}
