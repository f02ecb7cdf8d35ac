package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/plimsoll-ota/plimsoll/artifact"
	"github.com/plimsoll-ota/plimsoll/partition/image"
)

// editOptions are what every verb has that changes an image.
type editOptions struct {
	signer          signerFlags
	dropSignature   bool
	compression     string
	output          string // "" is in place
	sourceDateEpoch string // of the environment
}

// newEditOptions reads the environment.
func newEditOptions() editOptions {
	return editOptions{sourceDateEpoch: os.Getenv("SOURCE_DATE_EPOCH")}
}

func (o *editOptions) add(cmd *cobra.Command) {
	o.signer.add(cmd)
	f := cmd.Flags()
	f.BoolVar(&o.dropSignature, "drop-signature", false, "leave a signed artifact unsigned")
	f.StringVar(&o.compression, "compression", "", "compress the artifact anew, as write does (default: as it is)")
}

// An imageEdit is what becomes of an image. Of a disk or a file system there are
// only its files.
type imageEdit struct {
	files    func(context.Context, *vessel) error // nil: they stay
	optional bool                                 // where there is no file system that is known, they stay
	mayStay  bool                                 // they may be what they should be already
	header   func(*artifact.Header) error         // nil: it stays
	scripts  []string
	artifact bool // it is one of an artifact, and of nothing else
}

// edit makes the change. The image stays as it is until the new one is durable.
func (a *app) edit(ctx context.Context, path string, o editOptions, e imageEdit) error {
	if o.signer.given() && o.dropSignature {
		return errors.New("--drop-signature, and a key to sign with: one of the two")
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close() // only read
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() {
		return fmt.Errorf("%s is not a plain file", path)
	}
	t, err := sourceTime(o.sourceDateEpoch)
	if err != nil {
		return err
	}
	out := o.output
	if out == "" {
		out = path
	}
	c := change{a, ctx, path, out, st.Mode().Perm(), t, o, e}
	switch {
	case !isArtifact(f):
		err = c.disk(f)
	case e.files != nil:
		err = c.payload(f)
	default:
		err = c.headerOnly(f)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// sourceTime is SOURCE_DATE_EPOCH; zero if it is not set.
func sourceTime(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	sec, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
	}
	return time.Unix(sec, 0).UTC(), nil
}

// A change is one call of edit.
type change struct {
	*app
	ctx       context.Context
	path, out string
	mode      fs.FileMode
	time      time.Time
	o         editOptions
	e         imageEdit
}

// work is where there is room for what is unpacked and compressed.
func (c change) work() string {
	if c.out == "-" {
		return os.TempDir()
	}
	return filepath.Dir(c.out)
}

// disk changes a copy of a disk or file system image.
func (c change) disk(f *os.File) error {
	if _, err := openVessel(f, time.Time{}); err != nil {
		return err // before all of it is copied
	}
	if c.e.artifact || c.o.compression != "" || c.o.signer.given() || c.o.dropSignature {
		return errors.New("it is no artifact: it has files that can be changed, and neither a header nor a signature")
	}
	if c.out == "-" {
		return errors.New("only an artifact is written to standard output")
	}
	r, err := replace(c.out, c.mode)
	if err != nil {
		return err
	}
	if err := c.copyAndEdit(f, r.File); err != nil {
		return errors.Join(err, r.abort())
	}
	return r.commit()
}

func (c change) copyAndEdit(f, to *os.File) error {
	if err := image.Copy(c.ctx, to, f); err != nil {
		return err
	}
	v, err := openVessel(to, c.time)
	if err == nil {
		err = c.e.files(c.ctx, v)
	}
	if err == nil {
		err = v.check(c.ctx)
	}
	return err
}

// signs returns who signs; nil for nobody.
func (c change) signs() (artifact.Signer, error) {
	if !c.o.signer.given() {
		return nil, nil
	}
	s, err := c.signer(c.ctx, c.o.signer)
	if err != nil {
		return nil, err // and no signer that is one of nil
	}
	return s, nil
}

// headerOnly leaves the payload as it is.
func (c change) headerOnly(f *os.File) error {
	if c.o.compression != "" {
		return c.payload(f)
	}
	r, err := artifact.Rewrite(untilDone{c.ctx, f})
	if err != nil {
		return err
	}
	h := r.Header()
	if err := c.newHeader(&h); err != nil {
		return err
	}
	if err := putScripts(r, c.e.scripts); err != nil {
		return err
	}
	s, err := c.signs()
	if err != nil {
		return err
	}
	o := artifact.RewriteOptions{Signer: s, DropSignature: c.o.dropSignature, ModTime: c.time}
	return c.create(c.out, c.mode, func(w io.Writer) error { return r.Write(w, h, o) })
}

// payload makes another artifact with the same files, or the same image changed.
func (c change) payload(f *os.File) error {
	seal := new(anyone)
	r, err := artifact.Open(untilDone{c.ctx, f}, seal)
	if err != nil {
		return err
	}
	h := *r.Header()
	if err := c.newHeader(&h); err != nil {
		return err
	}
	stale := seal.signed && !c.o.signer.given() && !c.o.dropSignature
	if stale && !(c.e.mayStay && c.o.compression == "" && reflect.DeepEqual(h, *r.Header())) {
		return artifact.ErrStale // said before anything is unpacked
	}
	if c.e.files == nil {
		return c.write(r, h, nil)
	}
	u, changed, err := c.image(r)
	if u != nil {
		defer u.Close() // it is gone with that
	}
	if err != nil && !(c.e.optional && errors.Is(err, errNotImage)) {
		return err
	}
	if changed && stale {
		return artifact.ErrStale
	}
	if changed {
		return c.write(r, h, u)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil { // a payload that nobody changed stays byte for byte
		return err
	}
	c.e.files = nil
	return c.headerOnly(f)
}

// newHeader changes h, and says what is wrong with it before anything is read.
func (c change) newHeader(h *artifact.Header) error {
	if c.e.header == nil {
		return nil
	}
	if err := c.e.header(h); err != nil {
		return err
	}
	return h.Check()
}

// image unpacks the image and changes it.
func (c change) image(r *artifact.Reader) (u *unpacked, changed bool, err error) {
	if u, err = c.unpack(c.ctx, r, c.work()); err != nil {
		return nil, false, err
	}
	v, err := u.vessel(c.time)
	if err == nil {
		err = c.e.files(c.ctx, v)
	}
	if err == nil {
		err = v.check(c.ctx)
	}
	return u, err == nil && len(v.changed) > 0, err
}

// write writes the artifact, with the image u or the files that r has.
func (c change) write(r *artifact.Reader, h artifact.Header, u *unpacked) error {
	o := artifact.Options{Compression: r.Compression(), TempDir: c.work(), ModTime: c.time}
	var err error
	if c.o.compression != "" {
		if o.Compression, err = artifact.ParseCompression(c.o.compression); err != nil {
			return err
		}
	}
	if o.Signer, err = c.signs(); err != nil {
		return err
	}
	if u != nil {
		if o.ModTime.IsZero() {
			o.ModTime = u.modTime
		}
		if o.Rootfs, err = trueSum(&h); err != nil {
			return err
		}
	}
	return c.create(c.out, c.mode, func(dst io.Writer) error {
		w := artifact.Create(dst, h, o)
		defer w.Abort()
		return c.fill(w, r, u)
	})
}

func (c change) fill(w *artifact.Writer, r *artifact.Reader, u *unpacked) error {
	if err := copyScripts(w, r, c.e.scripts); err != nil {
		return err
	}
	if u != nil {
		size, err := u.Seek(0, io.SeekEnd)
		if err != nil {
			return err
		}
		src := &counted{r: untilDone{c.ctx, io.NewSectionReader(u, 0, size)}, report: func(n int64) { c.app.out.count("pack", n, size) }}
		if err := w.Add(u.name, size, src); err != nil {
			return err
		}
		return w.Close()
	}
	for {
		p, err := r.Next()
		if err == io.EOF {
			return w.Close()
		}
		if err != nil {
			return err
		}
		if err := w.Add(p.Name, p.Size, p); err != nil {
			return err
		}
	}
}

// trueSum takes the checksum of the image out of what an artifact provides, so
// that it is put in anew.
func trueSum(h *artifact.Header) (*artifact.Software, error) {
	const key, old = "rootfs-image.checksum", "rootfs_image_checksum"
	_, has := h.Provides[key]
	_, hasOld := h.Provides[old]
	if has && hasOld {
		return nil, fmt.Errorf("the artifact provides both %s and %s: remove one of them first", key, old)
	}
	if !has && !hasOld {
		return nil, nil
	}
	provides := map[string]string{}
	for k, v := range h.Provides {
		if k != key && k != old {
			provides[k] = v
		}
	}
	h.Provides = provides
	return &artifact.Software{NoVersion: true, LegacyChecksum: hasOld}, nil
}
