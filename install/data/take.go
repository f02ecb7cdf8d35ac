package data

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Stage copies the declared paths from the root file system that runs into a
// folder of the state directory, for Apply. Declared paths that are not there,
// or on another file system than the root, are reported and left out.
//
// The folder then holds these copies or, after an error or a cut, those that it
// held before: whoever goes on after an error carries what is out of date.
// ErrPath, ErrLimit, ErrSpace; the last two before anything is written, unless
// the tree grows meanwhile.
func Stage(ctx context.Context, r Request) (Report, error) { return take(ctx, r, useCarry) }

// Snapshot copies the declared paths for Restore. They may be on any file
// system, and each whole on one: a mount point is refused, and so is one within.
// What is being written to is copied as it is at some moment of the copying, file
// by file: a database should rest meanwhile.
func Snapshot(ctx context.Context, r Request) (Report, error) { return take(ctx, r, useSnapshot) }

// A taker copies declared paths into a folder.
type taker struct {
	Request
	copier
	use    string
	from   *tree
	dir    *os.File
	files  *os.File // of these copies
	shard  *os.File // the folder in files that is being filled
	room   room
	w      *manifestWriter
	report Report
	blobs  int
	bytes  int64 // taken so far
	total  int64
	done   int64
	clones map[[2]uint32]bool // by device: whether blocks can be shared with it
}

func take(ctx context.Context, r Request, use string) (Report, error) {
	return newTaker(ctx, r, use).run()
}

func newTaker(ctx context.Context, r Request, use string) *taker {
	t := &taker{Request: r, use: use, clones: map[[2]uint32]bool{}}
	t.ctx, t.clone = ctx, use == useSnapshot
	t.defaults()
	return t
}

func (t *taker) run() (Report, error) {
	err := CheckPaths(t.Paths, "")
	if err == nil {
		err = t.open()
	}
	if err == nil {
		err = t.take()
	}
	err = errors.Join(err, t.close())
	if err != nil {
		err = fmt.Errorf("copy data to %s: %w", t.Dir, err)
	}
	return t.report.short(), err
}

func (t *taker) defaults() {
	if t.use == useCarry {
		t.Bytes, t.Entries = cmp.Or(t.Bytes, DefaultLimit), cmp.Or(t.Entries, DefaultEntries)
		return
	}
	t.Bytes, t.Entries = cmp.Or(t.Bytes, math.MaxInt64), cmp.Or(t.Entries, SnapshotEntries)
}

// open opens both sides, and makes the folder if need be.
func (t *taker) open() (err error) {
	if t.from, err = openTree(t.Root); err != nil {
		return err
	}
	if err := os.Mkdir(t.Dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := syncDir(filepath.Dir(t.Dir)); err != nil {
		return err
	}
	fd, err := openFD(unix.AT_FDCWD, t.Dir, unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return &fs.PathError{Op: "open", Path: t.Dir, Err: err}
	}
	t.dir = os.NewFile(uintptr(fd), t.Dir)
	return t.dir.Chmod(0o700) // keys are in it
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (t *taker) close() error {
	var errs []error
	if t.w != nil {
		errs = append(errs, t.w.f.Close())
	}
	for _, f := range []*os.File{t.shard, t.files, t.dir} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	if t.from != nil {
		errs = append(errs, t.from.close())
	}
	return errors.Join(errs...)
}

func (t *taker) take() error {
	t.sweep()
	if err := t.measure(); err != nil {
		return err
	}
	err := t.fill()
	t.sweep()
	return err
}

// sweep removes what no manifest names: what a cut left, and after a new
// manifest the files of the one before.
func (t *taker) sweep() {
	keep := ""
	c, err := openCopies(t.Dir, t.use)
	switch {
	case err == nil:
		keep = filesPrefix + c.ID
		c.close() // only read
	case !errors.Is(err, ErrNone):
		return // nobody knows what is needed
	}
	old, err := siblings(t.dir, filesPrefix)
	for _, name := range append(old, manifestTemp, journalName+".tmp") {
		if name != keep {
			err = errors.Join(err, remove(t.dir, name))
		}
	}
	if err != nil {
		t.report.find(Left, t.Dir, err.Error())
	}
}

func (t *taker) walk(find func(Kind, string, string), each func(node) error) error {
	self, err := lookInto(t.dir)
	if err != nil {
		return err
	}
	w := &walker{ctx: t.ctx, from: t.from, entries: t.Entries, over: t.use == useSnapshot, self: &self, each: each, find: find}
	return w.all(t.Paths)
}

// measure goes through everything once and refuses what is too much, before
// anything is written.
func (t *taker) measure() (err error) {
	if t.room, err = roomOf(t.dir); err != nil {
		return err
	}
	var n need
	n.add(2*t.room.block, t.room.block) // the folder and the manifest begin
	err = t.walk(func(Kind, string, string) {}, func(at node) error {
		n.bytes += 1 << 10 // its entry
		if at.kind != kindFile {
			return nil
		}
		t.total += int64(at.st.Size)
		size, err := t.takes(at)
		n.add(size, t.room.block)
		return err
	})
	if err != nil {
		return err
	}
	if t.total > t.Bytes {
		return fmt.Errorf("%w: %d bytes are declared, and at most %d taken", ErrLimit, t.total, t.Bytes)
	}
	return t.room.fits(n, t.Dir)
}

// takes returns what the content of a file will take.
func (t *taker) takes(at node) (int64, error) {
	size := int64(at.st.Size)
	if size == 0 || !t.clone && int64(at.st.Blocks)*512 >= size {
		return size, nil
	}
	f, err := openAt(at.dir, at.name, os.O_RDONLY, 0)
	if err != nil {
		return 0, gone(err)
	}
	defer f.Close() // only read
	if t.clone {
		dev := [2]uint32{at.st.Dev_major, at.st.Dev_minor}
		can, known := t.clones[dev]
		if !known {
			can = canClone(f, t.dir)
			t.clones[dev] = can
		}
		if can {
			return 0, nil
		}
	}
	return stored(f, size), nil
}

// fill makes the copies, and their manifest when they are on the medium.
func (t *taker) fill() (err error) {
	h := header{Schema: schema, ID: newID(), Use: t.use}
	for _, p := range t.Paths {
		h.Paths = append(h.Paths, text(p))
	}
	if t.w, err = newManifest(t.dir, h); err != nil {
		return err
	}
	name := filesPrefix + h.ID
	if err := mkdirAt(t.dir, name); err != nil {
		return err
	}
	if t.files, err = openDir(t.dir, name); err != nil {
		return err
	}
	if err := t.walk(t.report.find, t.node); err != nil {
		return err
	}
	if err := t.flush(); err != nil {
		return err
	}
	if err := t.w.commit(); err != nil {
		return err
	}
	t.report.Entries, t.report.Bytes = t.w.end.Entries, t.w.end.Bytes
	return nil
}

func mkdirAt(dir *os.File, name string) error {
	err := again(func() error { return unix.Mkdirat(int(dir.Fd()), name, 0o700) })
	if err != nil {
		return &fs.PathError{Op: "mkdir", Path: filepath.Join(dir.Name(), name), Err: err}
	}
	return nil
}

// flush brings the content and the names of the files to the medium. Of a
// snapshot the file system does all in one go: file by file is a commit of its
// journal for each.
func (t *taker) flush() error {
	if t.use == useSnapshot {
		return again(func() error { return unix.Syncfs(int(t.dir.Fd())) })
	}
	if err := t.leave(); err != nil {
		return err
	}
	return errors.Join(t.files.Sync(), t.dir.Sync())
}

// leave is the end of a folder of a thousand files.
func (t *taker) leave() (err error) {
	if t.shard == nil {
		return nil
	}
	if t.use != useSnapshot {
		err = t.shard.Sync()
	}
	err = errors.Join(err, t.shard.Close())
	t.shard = nil
	return err
}

// node takes one thing.
func (t *taker) node(n node) (err error) {
	e := entry{Path: text(n.path), Kind: n.kind, Way: n.way}
	switch n.kind {
	case kindFile:
		err = t.file(n, &e)
	case kindLink:
		err = t.link(n, &e)
	case kindFolder:
		err = t.folder(n, &e)
	}
	if err != nil {
		return err
	}
	return t.w.add(e)
}

func (t *taker) folder(n node, e *entry) error {
	d, err := openDir(n.dir, n.name)
	if err != nil {
		return gone(err)
	}
	defer d.Close() // only looked in
	return e.describe(&n.st, handle{f: d})
}

func (t *taker) link(n node, e *entry) error {
	target, err := readLink(n.dir, n.name)
	if err != nil {
		return gone(err)
	}
	e.Target = text(target)
	return e.describe(&n.st, handle{f: n.dir, name: n.name})
}

// tries is how often a file that is being written to is copied.
const tries = 3

func (t *taker) file(n node, e *entry) error {
	src, err := openAt(n.dir, n.name, os.O_RDONLY, 0)
	if err != nil {
		return gone(err)
	}
	defer src.Close() // only read
	dst, err := t.blob(e)
	if err != nil {
		return err
	}
	err = t.content(dst, src, e)
	if err == nil && t.use != useSnapshot {
		err = dst.Sync()
	}
	return errors.Join(err, dst.Close())
}

// content copies until nobody has written to the file meanwhile.
func (t *taker) content(dst, src *os.File, e *entry) error {
	for try := 1; ; try++ {
		before, err := lookInto(src)
		if err != nil {
			return err
		}
		if kindOf(&before) != kindFile {
			return fmt.Errorf("%s: %w", src.Name(), errGone)
		}
		e.Size = int64(before.Size)
		if t.bytes+e.Size > t.Bytes {
			return fmt.Errorf("%s: %w: at most %d bytes, and it has grown", e.Path, ErrLimit, t.Bytes)
		}
		if err := e.describe(&before, handle{f: src}); err != nil {
			return err
		}
		if err := dst.Truncate(0); err != nil {
			return err
		}
		e.SHA256, err = t.copy(dst, src, e.Size)
		if err != nil && (!errors.Is(err, errShort) || try == tries) {
			return err
		}
		after, look := lookInto(src)
		if look != nil {
			return look
		}
		if err == nil && unchanged(&before, &after) {
			break
		}
		if try == tries {
			t.report.find(Changing, string(e.Path), fmt.Sprintf("it was written to whenever it was copied, %d times: the copy may be torn", tries))
			break
		}
	}
	if e.Stored = stored(dst, e.Size); e.Stored == e.Size {
		e.Stored = 0
	}
	t.bytes += e.Size
	t.done += e.Size
	if t.Progress != nil {
		t.Progress(min(t.done, t.total), t.total)
	}
	return nil
}

func unchanged(a, b *unix.Statx_t) bool {
	return a.Size == b.Size && a.Mtime == b.Mtime && a.Ctime == b.Ctime
}

// blob makes the file that will hold a content.
func (t *taker) blob(e *entry) (*os.File, error) {
	e.Blob = t.blobs
	t.blobs++
	folder, name := blobName(e.Blob)
	if name == "000" {
		if err := t.leave(); err != nil {
			return nil, err
		}
		if err := mkdirAt(t.files, folder); err != nil {
			return nil, err
		}
		var err error
		if t.shard, err = openDir(t.files, folder); err != nil {
			return nil, err
		}
	}
	return openAt(t.shard, name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL, 0o600)
}

// find adds a finding.
func (r *Report) find(kind Kind, path, why string) {
	if len(r.Findings) >= maxFindings {
		r.more++
		return
	}
	r.Findings = append(r.Findings, Finding{kind, path, why})
}

// short closes a report that had more to say than anybody reads.
func (r Report) short() Report {
	if r.more > 0 {
		r.Findings = append(r.Findings, Finding{r.Findings[len(r.Findings)-1].Kind, "…", fmt.Sprintf("and %d more", r.more)})
		r.more = 0
	}
	return r
}

// Taken reports whether a folder holds copies, be they whole or damaged.
func Taken(dir string) bool {
	_, err := os.Lstat(filepath.Join(dir, manifestName))
	return !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR)
}

// Discard forgets the copies in a folder, with the folder. It is no error if
// there are none.
func Discard(dir string) error {
	up, err := os.Open(filepath.Dir(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("discard copies of data: %w", err)
	}
	defer up.Close() // flushed
	// Without its manifest what is left after a cut is nothing.
	d, err := openDir(up, filepath.Base(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = errors.Join(remove(d, manifestName), d.Sync(), d.Close())
	}
	if err = errors.Join(err, remove(up, filepath.Base(dir)), up.Sync()); err != nil {
		return fmt.Errorf("discard copies of data: %w", err)
	}
	return nil
}
