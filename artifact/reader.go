package artifact

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// What may be read before it is trusted.
const (
	maxVersion   = 1 << 10
	maxManifest  = 64 << 10
	maxSignature = 8 << 10
	maxHeader    = 16 << 20 // compressed as well as decompressed
)

// An archive is an artifact as far as it has been read.
type archive struct {
	m    *members
	next *tar.Header // the member that the walk stands at

	version, manifest, sig []byte // sig is raw; nil if there is none
	listed, augmented      *manifest
	header, augment        *Header
	raw                    []byte // the header as it came
	walked                 []Member
}

func newArchive(src io.Reader) *archive { return &archive{m: newMembers(src)} }

// advance goes to the next member; a.next is nil and there is no error at the end.
func (a *archive) advance() error {
	t, err := a.m.next()
	if err == io.EOF {
		a.next = nil
		return nil
	}
	if err == nil {
		a.walked = append(a.walked, Member{Name: t.Name, Size: t.Size, Offset: a.m.src.n, ModTime: t.ModTime})
	}
	a.next = t
	return err
}

// take reads the member that the walk stands at, which must be name.
func (a *archive) take(name string, limit int64) ([]byte, error) {
	if a.next == nil {
		return nil, malformed("want %s, have the end", name)
	}
	if a.next.Name != name {
		return nil, malformed("want %s, have %.120q", name, a.next.Name)
	}
	return a.m.all(a.next, limit)
}

// at reports whether the walk stands at the member of that name.
func (a *archive) at(name string) bool { return a.next != nil && a.next.Name == name }

// readSigned reads version, manifest and signature, and parses nothing but the base64.
func (a *archive) readSigned() (err error) {
	if err := a.advance(); err != nil {
		return err
	}
	if a.version, err = a.take("version", maxVersion); err != nil {
		return err
	}
	if err := a.advance(); err != nil {
		return err
	}
	if a.manifest, err = a.take("manifest", maxManifest); err != nil {
		return err
	}
	if err := a.advance(); err != nil || !a.at("manifest.sig") {
		return err
	}
	return a.readSignature()
}

func (a *archive) readSignature() error {
	b, err := a.take("manifest.sig", maxSignature)
	if err != nil {
		return err
	}
	if a.sig, err = decodeSignature(b); err != nil {
		return fmt.Errorf("manifest.sig: %w", err)
	}
	return a.advance()
}

// parseSigned parses the manifest, which the caller trusts if anybody does, and then the version that it has the sum of.
func (a *archive) parseSigned() (err error) {
	if a.listed, err = parseManifest(a.manifest, "header.tar", true); err != nil {
		return fmt.Errorf("manifest: %w", err)
	}
	want, _ := a.listed.take("version") // a manifest lists it
	if err = matches(sha256.Sum256(a.version), want); err == nil {
		err = parseVersion(a.version)
	}
	if err != nil {
		return fmt.Errorf("version: %w", err)
	}
	return nil
}

// readHeader reads the header that m lists, and goes on.
func (a *archive) readHeader(m *manifest) (*Header, error) {
	h, err := a.takeHeader(m)
	if err != nil {
		return nil, err
	}
	return h, a.advance()
}

// takeHeader reads the header that m lists: as a whole, then its sum is compared, then it is parsed.
func (a *archive) takeHeader(m *manifest) (*Header, error) {
	b, err := a.take(m.header, maxHeader)
	if err != nil {
		return nil, err
	}
	want, err := m.take(m.header)
	if err == nil {
		err = matches(sha256.Sum256(b), want)
	}
	var h *Header
	if err == nil {
		h, err = parseHeader(m.header, b, m == a.augmented)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.header, err)
	}
	if m == a.listed {
		a.raw = b
	}
	return h, nil
}

// checkFiles compares how many files are listed with what the payload type has.
func (a *archive) checkFiles() error {
	n, t := a.listed.files(), a.header.Type
	if a.augmented != nil {
		n += a.augmented.files()
	}
	if a.augment != nil {
		t = a.augment.Type
	}
	if t == RootFS && n != 1 {
		return malformed("manifest: %d payload files, a root file system has one", n)
	}
	if t == "" && n != 0 {
		return malformed("manifest: %d payload files, a null payload has none", n)
	}
	return nil
}

// file returns the sum of a payload file that is there now.
func (a *archive) file(name string) (Sum, error) {
	if a.augmented != nil && a.augmented.find(dataPrefix+name) != nil {
		return a.augmented.take(dataPrefix + name)
	}
	return a.listed.take(dataPrefix + name)
}

// complete returns an error if anything that is listed was not there.
func (a *archive) complete() error {
	if a.augmented != nil {
		if err := a.augmented.complete(); err != nil {
			return err
		}
	}
	return a.listed.complete()
}

// A Reader hands out the payload of a trusted artifact.
type Reader struct {
	a    *archive
	data *members // the payload's own archive, once Next was there
	cur  *Payload
	err  error // sticky
}

// Open reads src up to and including the header. It returns a Reader only if v trusts the manifest and all of it was right:
// the Header is then trusted, and payload files are trusted once read to io.EOF. v is called exactly once, whether or not there is a
// signature; a nil v is a bug and panics. An augmented artifact is refused with ErrUnsupported.
//
// Open reads no further than it has to, and never closes src.
func Open(src io.Reader, v Verifier) (*Reader, error) {
	if v == nil {
		panic("artifact: nil Verifier")
	}
	a := newArchive(src)
	if err := a.open(v); err != nil {
		return nil, fmt.Errorf("open artifact: %w", err)
	}
	return &Reader{a: a}, nil
}

func (a *archive) open(v Verifier) error {
	if err := a.readSigned(); err != nil {
		return err
	}
	if err := trust(v, a.manifest, a.sig); err != nil {
		return err
	}
	if err := a.parseSigned(); err != nil {
		return err
	}
	if a.at("manifest-augment") {
		return fmt.Errorf("manifest-augment: an augmented artifact: %w", ErrUnsupported)
	}
	var err error
	if a.header, err = a.readHeader(a.listed); err != nil {
		return err
	}
	return a.checkFiles()
}

// Header returns the header, which is trusted. It belongs to the Reader; do not change it.
func (r *Reader) Header() *Header { return r.a.header }

// Compression returns how the payload is compressed, or the header where there is no payload.
func (r *Reader) Compression() Compression {
	if r.a.next != nil {
		return compressionOf(r.a.next.Name)
	}
	return compressionOf(r.a.listed.header)
}

// Scripts calls f for each state script of the header, in the order in which they stand, with a reader of what it says, which is good
// until f returns. An error of f ends it and is returned.
func (r *Reader) Scripts(f func(s Script, text io.Reader) error) error {
	if len(r.a.header.Scripts) == 0 {
		return nil
	}
	return scripts(r.a.listed.header, r.a.raw, f, r.a.header.Scripts)
}

// HeaderInfo and TypeInfo return the JSON of these members of the header, as it came, for a module that wants to see it.
func (r *Reader) HeaderInfo() (json.RawMessage, error) { return r.headerMember("header-info") }

// TypeInfo is what HeaderInfo says.
func (r *Reader) TypeInfo() (json.RawMessage, error) { return r.headerMember("headers/0000/type-info") }

func (r *Reader) headerMember(name string) ([]byte, error) {
	m, err := openHeader(r.a.listed.header, r.a.raw)
	if err != nil {
		return nil, err
	}
	for {
		t, err := m.next()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if t.Name == name {
			return m.all(t, maxHeader)
		}
	}
}

// Members returns those of the outer archive that were read so far, in order.
func (r *Reader) Members() []Member { return slices.Clone(r.a.walked) }

// ManifestSum returns the SHA-256 of the manifest: two artifacts with the same one hold the same, signed by the same key or not.
func (r *Reader) ManifestSum() Sum { return sha256.Sum256(r.a.manifest) }

// Next returns the next file of the payload. What is left of the one before is read and verified first. After the last one it returns
// io.EOF, and only after it has seen the end of both archives, nothing but zeros behind them, and everything that was listed.
// Any other error is final.
func (r *Reader) Next() (*Payload, error) {
	if r.err != nil {
		return nil, r.err
	}
	p, err := r.next()
	if err != nil && err != io.EOF {
		err = fmt.Errorf("read payload: %w", err)
	}
	r.cur, r.err = p, err
	return p, err
}

func (r *Reader) next() (*Payload, error) {
	if r.data == nil {
		if r.a.next == nil {
			return nil, r.noData()
		}
		if err := r.openData(); err != nil {
			return nil, err
		}
	}
	if r.cur != nil {
		if _, err := io.Copy(io.Discard, r.cur); err != nil {
			return nil, err
		}
	}
	t, err := r.data.next()
	if err == io.EOF {
		return nil, r.finish()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.a.next.Name, err)
	}
	sum, err := r.a.file(t.Name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.a.next.Name, err)
	}
	p := &Payload{Type: r.a.header.Type, Name: t.Name, Size: t.Size, Sum: sum, ModTime: t.ModTime, r: r.data, h: sha256.New()}
	if p.portion = portionSize; strings.HasSuffix(r.a.next.Name, ".xz") {
		p.portion = portionSizeXZ
	}
	return p, nil
}

// openData goes into data/0000.tar.
func (r *Reader) openData() error {
	t := r.a.next
	if !validHeader(t.Name, "data/0000.tar") {
		return malformed("want data/0000.tar, have %.120q", t.Name)
	}
	d, err := newDecoder(t.Name, r.a.m, r.a.m.fault)
	if err != nil {
		return fmt.Errorf("%s: %w", t.Name, err)
	}
	r.data = newMembers(d)
	return nil
}

// noData accepts that there is no payload member where there is nothing to be in it.
func (r *Reader) noData() error {
	if err := r.a.complete(); err != nil {
		return err
	}
	if r.a.header.Type != "" {
		return malformed("data/0000.tar is missing")
	}
	return io.EOF
}

// finish returns io.EOF if the artifact is whole and ends here.
func (r *Reader) finish() error {
	name := r.a.next.Name
	if err := r.a.advance(); err != nil {
		return err
	}
	if r.a.next != nil {
		return malformed("%.120q after %s, which is the last member", r.a.next.Name, name)
	}
	if err := r.a.complete(); err != nil {
		return err
	}
	return io.EOF
}

func errVersion(v int) error {
	return fmt.Errorf("version %d of the format, want 3: %w", v, ErrUnsupported)
}

func errPayloads(n int) error {
	return fmt.Errorf("%d payloads, want 1: %w", n, ErrUnsupported)
}
