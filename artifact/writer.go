package artifact

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Options are how an artifact is written. The zero value is an unsigned one without compression, of 1970.
type Options struct {
	Compression Compression // "" is None
	Signer      Signer      // nil leaves the artifact unsigned
	TempDir     string      // where the compressed payload waits for Close, as large as it gets; "" is os.TempDir
	ModTime     time.Time   // of every member, in whole seconds; zero is 1970. It is what SOURCE_DATE_EPOCH is for

	// MaxSize is how large the artifact may be; 0 is no limit. A larger one is ErrSize, and nothing of it is written.
	MaxSize int64

	// Rootfs asks for RootfsDefaults of the one file, by the sum of the bytes that Add read.
	Rootfs *Software
}

// A Writer writes one artifact. Sums and sizes stand before the data they are of, so nothing is written before Close; until then the
// payload waits, compressed, in an unlinked temporary file, which is gone even if the process is killed.
type Writer struct {
	dst    io.Writer
	header Header
	o      Options
	suffix string

	scripts []script
	size    int64 // of scripts
	spool   *spool
	files   []FileInfo
	written int64 // what Size returns
	err     error // sticky
}

type script struct {
	name string
	body []byte
}

// errClosed is a bug of the caller that is not worth a panic.
var errClosed = errors.New("write artifact: already closed")

// Create returns a Writer of an artifact with the header h, of which Scripts is ignored: AddScript adds them. What is wrong with h or o is
// reported by the first Add, AddScript or Close. dst is written to in Close only, and not closed.
func Create(dst io.Writer, h Header, o Options) *Writer {
	if o.Compression == "" {
		o.Compression = None
	}
	w := &Writer{dst: dst, header: h.clone(), o: o}
	w.suffix, w.err = o.Compression.suffix()
	if w.err == nil {
		w.err = w.header.check()
	}
	if w.err == nil && o.Rootfs != nil && h.Type != RootFS {
		w.err = fmt.Errorf("root file system defaults for a payload of type %q", h.Type)
	}
	if w.o.ModTime = o.ModTime.Truncate(time.Second); o.ModTime.IsZero() {
		w.o.ModTime = time.Unix(0, 0)
	}
	if w.err == nil && w.o.ModTime.Unix() < 0 {
		w.err = fmt.Errorf("time %v is before 1970", w.o.ModTime)
	}
	if w.err != nil {
		w.err = fmt.Errorf("create artifact: %w", w.err)
	}
	return w
}

// AddScript adds a state script of exactly size bytes. Scripts are sorted by name, whatever the order in which they are added.
func (w *Writer) AddScript(name string, size int64, r io.Reader) error {
	if w.err == nil {
		if err := w.addScript(name, size, r); err != nil {
			w.fail(fmt.Errorf("add script %.120q: %w", name, err))
		}
	}
	return w.err
}

func (w *Writer) addScript(name string, size int64, r io.Reader) error {
	if !scriptName().MatchString(name) {
		return malformed("not the name of a state script")
	}
	i, found := slices.BinarySearchFunc(w.scripts, name, func(s script, name string) int { return strings.Compare(s.name, name) })
	if found {
		return malformed("added twice")
	}
	if w.size += size; size < 0 || w.size > maxHeader {
		return fmt.Errorf("%w: all scripts may have %d bytes", ErrLimit, maxHeader)
	}
	var body bytes.Buffer
	if err := copyExactly(&body, r, size); err != nil {
		return err
	}
	w.scripts = slices.Insert(w.scripts, i, script{name, body.Bytes()})
	return nil
}

// Add adds a payload file. It reads r once, to its end, which must come after exactly size bytes.
func (w *Writer) Add(name string, size int64, r io.Reader) error {
	if w.err == nil {
		if err := w.add(name, size, r); err != nil {
			w.fail(fmt.Errorf("add %.120q: %w", name, err))
		}
	}
	return w.err
}

func (w *Writer) add(name string, size int64, r io.Reader) error {
	if !validFile(name) {
		return malformed(`want a name of 1 to %d letters, digits and ".,_-"`, maxFileName)
	}
	if w.header.Type == "" || w.header.Type == RootFS && len(w.files) > 0 {
		return malformed("too many files for payload type %q", w.header.Type)
	}
	for _, f := range w.files {
		if f.Name == name {
			return malformed("added twice")
		}
	}
	if err := w.startSpool(); err != nil {
		return err
	}
	sum, err := w.spool.add(w.member(name, size), r)
	if err != nil {
		return err
	}
	w.files = append(w.files, FileInfo{Name: name, Size: size, Sum: sum, ModTime: w.o.ModTime})
	return nil
}

// Close writes the artifact. Only nil says that dst has all of it; after an error there is nothing useful in dst. The temporary file is
// gone in either case.
func (w *Writer) Close() error {
	if w.err != nil {
		return w.err
	}
	defer w.Abort()
	if err := w.close(); err != nil {
		w.fail(fmt.Errorf("write artifact: %w", err))
		return w.err
	}
	return nil
}

// Abort gives up what was added. After Close it does nothing.
func (w *Writer) Abort() { w.fail(errClosed) }

// fail keeps the first error and removes the spool.
func (w *Writer) fail(err error) {
	if w.err == nil {
		w.err = err
	}
	if w.spool != nil {
		w.spool.remove()
		w.spool = nil
	}
}

func (w *Writer) close() error {
	if w.header.Type == RootFS && len(w.files) != 1 {
		return malformed("%d payload files, a root file system has one", len(w.files))
	}
	if err := w.startSpool(); err != nil {
		return err
	}
	if err := w.spool.finish(); err != nil {
		return err
	}
	if w.o.Rootfs != nil {
		w.header.RootfsDefaults(w.files[0].Sum, *w.o.Rootfs)
	}
	header, err := w.buildHeader()
	if err != nil {
		return err
	}
	return w.assemble(header)
}

// assemble writes the members. All that stands before the payload is made in memory, and then the size of the artifact is known before
// its first byte is written.
func (w *Writer) assemble(header []byte) error {
	var front bytes.Buffer
	out := &switched{&front}
	t := tar.NewWriter(out)
	if err := w.writeTop(t, w.buildManifest(header)); err != nil {
		return err
	}
	if err := w.put(t, "header.tar"+w.suffix, header); err != nil {
		return err
	}
	size, err := w.rewindSpool()
	if err != nil {
		return err
	}
	if err := t.WriteHeader(w.member("data/0000.tar"+w.suffix, size)); err != nil {
		return err
	}
	w.written = int64(front.Len()) + (size+block-1)&^(block-1) + trailer
	if w.o.MaxSize > 0 && w.written > w.o.MaxSize {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrSize, w.written, w.o.MaxSize)
	}
	out.Writer = w.dst
	if _, err := out.Write(front.Bytes()); err != nil {
		return err
	}
	if err := copyExactly(t, w.spool.f, size); err != nil {
		return err
	}
	return t.Close()
}

// A switched writer writes now here, now there.
type switched struct{ io.Writer }

// Size returns how many bytes the artifact has, once Close returned nil or ErrSize.
func (w *Writer) Size() int64 { return w.written }

// buildHeader returns the header member.
func (w *Writer) buildHeader() ([]byte, error) {
	info, err := w.header.encodeInfo()
	if err != nil {
		return nil, err
	}
	typeInfo, err := w.header.encodeTypeInfo()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	z, err := w.o.Compression.writer(&b)
	if err != nil {
		return nil, err
	}
	limited := &limitWriter{w: z, left: maxHeader}
	t := tar.NewWriter(limited)
	err = w.put(t, "header-info", info)
	for _, s := range w.scripts {
		err = errors.Join(err, w.put(t, "scripts/"+s.name, s.body))
	}
	err = errors.Join(err, w.put(t, "headers/0000/type-info", typeInfo))
	// A root file system has it, empty; for modules there is none rather than an empty one.
	if w.header.Type == RootFS || w.header.MetaData != nil {
		err = errors.Join(err, w.put(t, "headers/0000/meta-data", w.header.MetaData))
	}
	err = errors.Join(err, t.Close(), z.Close())
	return b.Bytes(), err
}

// buildManifest returns the manifest, in the order of Mender's writer.
func (w *Writer) buildManifest(header []byte) []byte {
	m := new(manifest)
	for _, f := range w.files {
		m.entries = append(m.entries, &entry{name: dataPrefix + f.Name, sum: f.Sum})
	}
	m.entries = append(m.entries,
		&entry{name: "header.tar" + w.suffix, sum: sha256.Sum256(header)},
		&entry{name: "version", sum: sha256.Sum256([]byte(versionMember))})
	return m.encode()
}

// writeTop writes version, manifest and signature.
func (w *Writer) writeTop(t *tar.Writer, manifest []byte) error {
	if len(manifest) > maxManifest {
		return fmt.Errorf("manifest: %w: %d bytes, at most %d", ErrLimit, len(manifest), maxManifest)
	}
	var sig []byte
	if w.o.Signer != nil {
		var err error
		if sig, err = sign(w.o.Signer, manifest); err != nil {
			return err
		}
	}
	if err := w.put(t, "version", []byte(versionMember)); err != nil {
		return err
	}
	if err := w.put(t, "manifest", manifest); err != nil {
		return err
	}
	if sig == nil {
		return nil
	}
	return w.put(t, "manifest.sig", sig)
}

// rewindSpool goes back to the front of the payload member, and returns its size.
func (w *Writer) rewindSpool() (int64, error) {
	size, err := w.spool.f.Seek(0, io.SeekCurrent)
	if err != nil {
		return 0, err
	}
	_, err = w.spool.f.Seek(0, io.SeekStart)
	return size, err
}

// put writes one member.
func (w *Writer) put(t *tar.Writer, name string, content []byte) error {
	if err := t.WriteHeader(w.member(name, int64(len(content)))); err != nil {
		return err
	}
	_, err := t.Write(content)
	return err
}

// member returns a tar header in which nothing tells of the machine or the user. archive/tar makes it plain ustar as long as the size
// fits, and adds a PAX record from 8 GiB on.
func (w *Writer) member(name string, size int64) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o600, ModTime: w.o.ModTime}
}

// copyExactly copies size bytes, and expects the end of r after them.
func copyExactly(dst io.Writer, r io.Reader, size int64) error {
	n, err := io.CopyBuffer(struct{ io.Writer }{dst}, io.LimitReader(r, size), make([]byte, copyBuffer))
	if err != nil {
		return err
	}
	return endsAt(r, n, size)
}

// endsAt returns an error unless n bytes of r were all, and size.
func endsAt(r io.Reader, n, size int64) error {
	if n != size {
		return fmt.Errorf("read %d bytes, want %d: %w", n, size, io.ErrUnexpectedEOF)
	}
	switch n, err := io.ReadFull(r, make([]byte, 1)); {
	case n > 0:
		return fmt.Errorf("more than the %d bytes that were announced", size)
	case err != io.EOF:
		return err
	}
	return nil
}

const (
	copyBuffer  = 1 << 20
	copyBuffers = 3
	trailer     = 2 * block // of an archive
)

// A limitWriter keeps our own header within what a reader takes.
type limitWriter struct {
	w    io.Writer
	left int64
}

func (l *limitWriter) Write(b []byte) (int, error) {
	if l.left -= int64(len(b)); l.left < 0 {
		return 0, fmt.Errorf("header: %w: more than %d bytes", ErrLimit, maxHeader)
	}
	return l.w.Write(b)
}
