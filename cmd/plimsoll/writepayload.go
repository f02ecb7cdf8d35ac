package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/plimsoll-ota/plimsoll/artifact"
)

// writeArtifact writes the artifact to dst and returns its size.
func (a *app) writeArtifact(ctx context.Context, dst io.Writer, h artifact.Header, opts artifact.Options, o writeOptions) (int64, error) {
	names, err := o.payloadNames()
	if err != nil {
		return 0, err
	}
	open := func(path string) (*payload, error) { return a.openPayload(ctx, path, opts.TempDir) }
	if o.kind == rootfsImage && isSSH(o.files[0]) {
		image, err := a.fetchSnapshot(ctx, o.files[0], o.ssh, opts.TempDir)
		if err != nil {
			return 0, err
		}
		defer image.Close() // gone with it
		o.takeOver(&h, image.provides)
		open = func(string) (*payload, error) { return &image.payload, nil }
	}
	w := artifact.Create(dst, h, opts)
	defer w.Abort()
	if err := putScripts(w, o.scripts); err != nil {
		return 0, err
	}
	through := progress{total: regularSizes(o.files)}
	for i, path := range o.files {
		p, err := open(path)
		if err == nil {
			err = a.addPayload(ctx, w, names[i], p, &through)
		}
		if err != nil {
			return 0, err
		}
	}
	err = w.Close()
	return w.Size(), err
}

// A progress is how much of all files was read.
type progress struct{ done, total int64 }

func (a *app) addPayload(ctx context.Context, w *artifact.Writer, name string, p *payload, through *progress) error {
	defer p.Close() // only read
	before := through.done
	through.done += p.size
	through.total = max(through.total, through.done)
	src := &counted{r: untilDone{ctx, p}, report: func(n int64) { a.out.count("build", before+n, through.total) }}
	return w.Add(name, p.size, src)
}

// regularSizes is the sum of what is known beforehand.
func regularSizes(paths []string) (sum int64) {
	for _, path := range paths {
		if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() {
			sum += st.Size()
		}
	}
	return sum
}

// payloadNames returns what the files are called in the artifact: as they are
// called here, or as it was asked for.
func (o *writeOptions) payloadNames() ([]string, error) {
	names := o.names
	for _, path := range o.files[len(names):] {
		name := filepath.Base(path)
		if nameless(path) {
			if o.kind != rootfsImage {
				return nil, fmt.Errorf("%s has no name that a module would know it by: give it one with --file-name", path)
			}
			name = "rootfs.img"
		}
		names = append(names, name)
	}
	return names, nil
}

// nameless reports whether a path says where to read, and not what.
func nameless(path string) bool {
	return isStdin(path) || isSSH(path) || strings.HasPrefix(path, "/dev/fd/") || strings.HasPrefix(path, "/proc/self/fd/")
}

func isStdin(path string) bool { return path == "-" || path == "/dev/stdin" }

// openRegular opens a file whose size is known before it is read.
func openRegular(path string) (*os.File, int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", path)
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, st.Size(), nil
}

// counted is a reader that reports how far it is.
type counted struct {
	r      io.Reader
	n      int64
	report func(int64)
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += int64(n)
	c.report(c.n)
	return n, err
}
