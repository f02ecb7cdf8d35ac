package artifact

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// A Rewriter makes another artifact of one: with another header, and the payload as it is, of whatever type, compressed as it is. Use
// Open and Create where the payload changes.
//
// Like Inspect it asks nobody whether the artifact is trusted. What it writes is signed by whoever is asked to.
type Rewriter struct {
	a          *archive
	top, ahead bytes.Buffer // what was read up to the end of the header; and of what follows
	scripts    []script     // that are added
	err        error        // sticky
}

// RewriteOptions are how the new artifact differs, beside its header.
type RewriteOptions struct {
	Signer        Signer    // nil: the signature stays if it still holds
	DropSignature bool      // a signature that does not hold any more may go, and with it all that it is worth
	ModTime       time.Time // of the header, in whole seconds; zero is that of the header before
}

// Rewrite reads src up to and including the header, by the rules of Open but for the signature. src is read once, front to back, and
// never closed. An augmented artifact is refused with ErrUnsupported.
func Rewrite(src io.Reader) (*Rewriter, error) {
	r := &Rewriter{a: newArchive(src)}
	if err := r.readTop(); err != nil {
		return nil, fmt.Errorf("rewrite artifact: %w", err)
	}
	return r, nil
}

func (r *Rewriter) readTop() (err error) {
	a := r.a
	a.m.src.tee = &r.top
	if err := a.readSigned(); err != nil {
		return err
	}
	if err := a.parseSigned(); err != nil {
		return err
	}
	if a.at("manifest-augment") {
		return fmt.Errorf("manifest-augment: an augmented artifact: %w", ErrUnsupported)
	}
	if a.header, err = a.takeHeader(a.listed); err != nil {
		return err
	}
	if err := a.checkFiles(); err != nil {
		return err
	}
	return a.peek(&r.ahead)
}

// Header returns a copy of the header, to be changed and handed to Write.
func (r *Rewriter) Header() Header { return r.a.header.clone() }

// Signed reports whether the artifact has a signature, whoever made it.
func (r *Rewriter) Signed() bool { return r.a.sig != nil }

// AddScript adds a state script of exactly size bytes, in place of one of the same name.
func (r *Rewriter) AddScript(name string, size int64, text io.Reader) error {
	w := &Writer{scripts: r.scripts}
	if err := w.addScript(name, size, text); err != nil {
		return fmt.Errorf("add script %.120q: %w", name, err)
	}
	r.scripts = w.scripts
	return nil
}

// Write writes the artifact with the header h, of which Scripts is ignored: they stay, and those of AddScript are added. The payload is
// verified while it is copied, and so is the end of src; after an error there is nothing useful in dst. Where h says the same as the
// header before, and nothing was added, every byte stays; with a Signer, every byte but the signature.
//
// Where the signature would not hold any more and there is no Signer, nothing is written and the error is ErrStale, unless DropSignature
// is set. A Rewriter writes once.
func (r *Rewriter) Write(dst io.Writer, h Header, o RewriteOptions) error {
	if r.err == nil {
		if r.err = r.write(dst, h, o); r.err == nil {
			r.err = errClosed
			return nil
		}
		r.err = fmt.Errorf("rewrite artifact: %w", r.err)
	}
	return r.err
}

func (r *Rewriter) write(dst io.Writer, h Header, o RewriteOptions) error {
	changed, err := r.changed(h)
	if err != nil {
		return err
	}
	switch {
	case changed && r.Signed() && o.Signer == nil && !o.DropSignature:
		return ErrStale
	case !changed && o.Signer == nil:
		_, err = dst.Write(r.top.Bytes())
	default:
		err = r.writeTop(dst, h, o, changed)
	}
	if err != nil {
		return err
	}
	if _, err := dst.Write(r.ahead.Bytes()); err != nil {
		return err
	}
	r.a.m.src.tee = dst
	_, err = r.a.readFiles()
	return err
}

// changed reports whether h says anything else than the header that was read. What is wrong with h is no fault of the artifact, and
// not one of its errors.
func (r *Rewriter) changed(h Header) (bool, error) {
	if h.Type != r.a.header.Type {
		return false, errors.New("another payload type for the same payload")
	}
	if err := h.Check(); err != nil {
		return false, err
	}
	same := len(r.scripts) == 0 && bytes.Equal(h.MetaData, r.a.header.MetaData)
	for _, encode := range []func(*Header) ([]byte, error){(*Header).encodeInfo, (*Header).encodeTypeInfo} {
		b, err := encode(&h)
		if err != nil {
			return false, err
		}
		was, err := encode(r.a.header)
		same = same && err == nil && bytes.Equal(b, was)
	}
	return !same, nil
}

// writeTop writes version, manifest, signature and header, and nothing of an archive's end.
func (r *Rewriter) writeTop(dst io.Writer, h Header, o RewriteOptions, changed bool) error {
	w := &Writer{header: h, o: Options{Compression: compressionOf(r.a.listed.header), ModTime: o.ModTime.Truncate(time.Second)}}
	if o.ModTime.IsZero() {
		w.o.ModTime = r.a.walked[len(r.a.walked)-1].ModTime
		for _, m := range r.a.walked {
			if m.Name == r.a.listed.header {
				w.o.ModTime = m.ModTime
			}
		}
	}
	header, list := r.a.raw, r.a.manifest
	if changed {
		var err error
		if header, err = r.newHeader(w); err != nil {
			return err
		}
		list = r.newManifest(header)
	}
	var sig []byte
	if o.Signer != nil {
		var err error
		if sig, err = sign(o.Signer, list); err != nil {
			return err
		}
	}
	t := tar.NewWriter(dst)
	err := w.put(t, "version", r.a.version)
	if err == nil {
		err = w.put(t, "manifest", list)
	}
	if err == nil && sig != nil {
		err = w.put(t, "manifest.sig", sig)
	}
	if err == nil {
		err = w.put(t, r.a.listed.header, header)
	}
	if err != nil {
		return err
	}
	return t.Flush()
}

// newHeader builds the header with the scripts that were there, and those that were added.
func (r *Rewriter) newHeader(w *Writer) ([]byte, error) {
	all := make(map[string]script)
	err := scripts(r.a.listed.header, r.a.raw, func(s Script, text io.Reader) error {
		b, err := io.ReadAll(text) // of a header, which is bounded
		all[s.Name] = script{s.Name, b}
		return err
	}, r.a.header.Scripts)
	if err != nil {
		return nil, err
	}
	for _, s := range r.scripts {
		all[s.name] = s
	}
	w.scripts = slices.SortedFunc(maps.Values(all), func(a, b script) int { return strings.Compare(a.name, b.name) })
	b, err := w.buildHeader()
	if err != nil {
		return nil, fmt.Errorf("new header: %v", err)
	}
	if len(b) > maxHeader {
		return nil, fmt.Errorf("new header: %d bytes, at most %d", len(b), maxHeader)
	}
	return b, nil
}

// newManifest is the one that was there, with another sum of the header.
func (r *Rewriter) newManifest(header []byte) []byte {
	m := new(manifest)
	for _, e := range r.a.listed.entries {
		n := *e
		if n.name == r.a.listed.header {
			n.sum = sha256.Sum256(header)
		}
		m.entries = append(m.entries, &n)
	}
	return m.encode()
}
