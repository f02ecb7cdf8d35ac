package data

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// What a folder of copies holds. The manifest is one JSON object a line: a
// header, an entry for each thing that was taken, and an end.
const (
	manifestName = "manifest.jsonl"
	filesPrefix  = "files-" // and the header's id: the content of the files
	journalName  = "journal.json"
	schema       = 1
	maxLine      = 1 << 20 // of a manifest; an entry's attributes are the most of it
)

// What copies are for.
const (
	useCarry    = "carry"
	useSnapshot = "snapshot"
)

type header struct {
	Schema int    `json:"schema"`
	ID     string `json:"id"` // of these copies, 16 hex digits
	Use    string `json:"use"`
	Paths  []text `json:"paths"`
}

// An entry is one thing that was taken.
type entry struct {
	Path   text            `json:"path"`
	Kind   string          `json:"kind"`
	Way    bool            `json:"way,omitempty"` // made where it is missing, and never changed
	Mode   uint16          `json:"mode"`          // permissions, set-id and sticky bits
	UID    uint32          `json:"uid"`
	GID    uint32          `json:"gid"`
	Sec    int64           `json:"mtime"` // of the last change, since 1970
	Nsec   uint32          `json:"mtime_ns,omitempty"`
	Size   int64           `json:"size,omitempty"`
	Stored int64           `json:"stored,omitempty"` // bytes that are not holes, if it has holes
	SHA256 string          `json:"sha256,omitempty"`
	Blob   int             `json:"blob,omitempty"` // which of the files holds its content
	Target text            `json:"target,omitempty"`
	Attrs  map[text][]byte `json:"attrs,omitempty"`
}

type end struct {
	Entries int    `json:"entries"`
	Bytes   int64  `json:"bytes"`
	SHA256  string `json:"sha256"` // of the lines before this one
}

// newID names copies.
func newID() string {
	b := make([]byte, 8)
	rand.Read(b) // never fails (crypto/rand)
	return hex.EncodeToString(b)
}

// blobName is where the content of a file is, a thousand in a folder.
func blobName(n int) (folder, name string) {
	return fmt.Sprintf("%d", n/1000), fmt.Sprintf("%03d", n%1000)
}

// A manifestWriter writes a manifest beside the one that is there.
type manifestWriter struct {
	dir *os.File
	f   *os.File
	b   *bufio.Writer
	sum hash.Hash
	end end
}

const manifestTemp = manifestName + ".tmp"

func newManifest(dir *os.File, h header) (*manifestWriter, error) {
	f, err := openAt(dir, manifestTemp, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	w := &manifestWriter{dir: dir, f: f, sum: sha256.New()}
	w.b = bufio.NewWriter(io.MultiWriter(f, w.sum))
	return w, w.line(h)
}

func (w *manifestWriter) line(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(b) >= maxLine {
		return fmt.Errorf("%w: %d bytes about one of them, at most %d", ErrLimit, len(b), maxLine)
	}
	_, err = w.b.Write(append(b, '\n'))
	return err
}

func (w *manifestWriter) add(e entry) error {
	w.end.Entries++
	w.end.Bytes += e.Size
	if err := w.line(e); err != nil {
		return fmt.Errorf("%s: %w", e.Path, err)
	}
	return nil
}

// commit puts the manifest in its place: from here on its copies are the ones.
func (w *manifestWriter) commit() error {
	if err := w.b.Flush(); err != nil {
		return err
	}
	w.end.SHA256 = hex.EncodeToString(w.sum.Sum(nil))
	if err := w.line(map[string]end{"end": w.end}); err != nil {
		return err
	}
	if err := errors.Join(w.b.Flush(), w.f.Sync()); err != nil {
		return err
	}
	if err := renameAt(w.dir, manifestTemp, w.dir, manifestName, 0); err != nil {
		return err
	}
	return w.dir.Sync()
}

func renameAt(from *os.File, old string, to *os.File, name string, flags uint) error {
	err := again(func() error {
		if flags == 0 { // file systems and kernels without renameat2
			return unix.Renameat(int(from.Fd()), old, int(to.Fd()), name)
		}
		return unix.Renameat2(int(from.Fd()), old, int(to.Fd()), name, flags)
	})
	if err != nil {
		return &os.LinkError{Op: "rename", Old: from.Name() + "/" + old, New: to.Name() + "/" + name, Err: err}
	}
	return nil
}

// Copies are what a folder holds, with a manifest that was seen to be whole.
type copies struct {
	header
	end
	dir   *os.File
	files *os.File
	f     *os.File // the manifest
}

// openCopies opens the copies in a folder. ErrNone: it has none.
func openCopies(path, use string) (*copies, error) {
	fd, err := openFD(unix.AT_FDCWD, path, unix.O_DIRECTORY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", path, ErrNone)
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	c := &copies{dir: os.NewFile(uintptr(fd), path)}
	err = c.open(use)
	if err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

func (c *copies) open(use string) (err error) {
	c.f, err = openAt(c.dir, manifestName, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", c.dir.Name(), ErrNone)
	}
	if err != nil {
		return err
	}
	if err := c.check(use); err != nil {
		return fmt.Errorf("%s: %w", c.f.Name(), err)
	}
	c.files, err = openDir(c.dir, filesPrefix+c.ID)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return err
}

func (c *copies) close() error {
	var errs []error
	for _, f := range []*os.File{c.f, c.files, c.dir} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

// check reads the manifest once, to its end: nothing is done on the word of a
// part of it.
func (c *copies) check(use string) error {
	sum, last := sha256.New(), []byte(nil)
	err := c.lines(func(n int, line []byte) error {
		if last != nil {
			sum.Write(last)
		}
		last = append(last[:0], line...)
		if n == 1 {
			return json.Unmarshal(line, &c.header)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if c.Schema != schema || c.Use != use || len(c.ID) != 16 || strings.ContainsAny(c.ID, "/.") {
		return fmt.Errorf("%w: schema %d for %q, and not %d for %q", ErrDamaged, c.Schema, c.Use, schema, use)
	}
	var e struct{ End *end }
	if err := json.Unmarshal(last, &e); err != nil || e.End == nil {
		return fmt.Errorf("%w: it has no end", ErrDamaged)
	}
	if have := hex.EncodeToString(sum.Sum(nil)); have != e.End.SHA256 {
		return fmt.Errorf("%w: it has the sum %s, and says %s", ErrDamaged, have, e.End.SHA256)
	}
	c.end = *e.End
	return nil
}

// lines calls f for each line, with its newline.
func (c *copies) lines(f func(n int, line []byte) error) error {
	if _, err := c.f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	r := bufio.NewReaderSize(c.f, maxLine)
	for n := 1; ; n++ {
		line, err := r.ReadSlice('\n')
		switch {
		case err == io.EOF && len(line) == 0 && n > 1:
			return nil
		case err == io.EOF || err == bufio.ErrBufferFull:
			return fmt.Errorf("%w: line %d does not end", ErrDamaged, n)
		case err != nil:
			return err
		}
		if err := f(n, line); err != nil {
			if syntax := (*json.SyntaxError)(nil); errors.As(err, &syntax) {
				err = fmt.Errorf("%w: line %d: %w", ErrDamaged, n, err)
			}
			return err
		}
	}
}

// each calls f for each entry, folders before what is in them.
func (c *copies) each(f func(entry) error) error {
	return c.lines(func(n int, line []byte) error {
		if n == 1 || bytes.HasPrefix(line, []byte(`{"end":`)) {
			return nil
		}
		var e entry
		if err := json.Unmarshal(line, &e); err != nil {
			return err
		}
		return f(e)
	})
}

// stored is what the content of an entry takes on a medium, about.
func (e *entry) stored() int64 {
	if e.Stored > 0 {
		return e.Stored
	}
	return e.Size
}

// blob opens the content of a file.
func (c *copies) blob(e entry) (*os.File, error) {
	folder, name := blobName(e.Blob)
	d, err := openDir(c.files, folder)
	if err == nil {
		defer d.Close() // only looked in
		var f *os.File
		if f, err = openAt(d, name, os.O_RDONLY, 0); err == nil {
			return f, nil
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return nil, err
}

// A journal is what was done with copies.
type journal struct {
	ID     string `json:"id"`   // of the copies
	Done   bool   `json:"done"` // and not only begun
	Report Report `json:"report"`
}

// journal reads what was done with these copies; nothing, if it was with others.
func (c *copies) journal() (j journal, err error) {
	f, err := openAt(c.dir, journalName, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return j, nil
	}
	if err != nil {
		return j, err
	}
	defer f.Close() // only read
	b, err := io.ReadAll(f)
	if err != nil {
		return j, err
	}
	if json.Unmarshal(b, &j) != nil || j.ID != c.ID { // it is replaced whole: it was never ours
		return journal{}, nil
	}
	return j, nil
}

// note replaces the journal.
func (c *copies) note(done bool, r Report) (err error) {
	b, err := json.MarshalIndent(journal{c.ID, done, r}, "", "  ")
	if err != nil {
		return err
	}
	f, err := openAt(c.dir, journalName+".tmp", unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := renameAt(c.dir, journalName+".tmp", c.dir, journalName, 0); err != nil {
		return err
	}
	return c.dir.Sync()
}
