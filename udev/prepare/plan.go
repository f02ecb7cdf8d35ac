package prepare

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/plimsoll-ota/plimsoll/artifact"
	"github.com/plimsoll-ota/plimsoll/udev/scan"
)

// A source is an artifact that is to be copied.
type source struct {
	Entry
	path string
}

// plan checks everything that can be checked before anything is written. Of what is wrong it tells all, not the first.
func (s *stick) plan(ctx context.Context, files []string, o Options) (plan, error) {
	for _, serial := range o.Serials {
		if err := scan.CheckSerial(serial); err != nil {
			return plan{}, err
		}
	}
	sources, err := list(files)
	if err != nil {
		return plan{}, err
	}
	others, err := s.others(sources)
	if err != nil {
		return plan{}, err
	}
	if n := len(sources) + len(others); n > scan.MaxFiles {
		return plan{}, fmt.Errorf("%w: %d, at most %d", ErrTooMany, n, scan.MaxFiles)
	}
	if err := s.fits(sources, len(others), o); err != nil {
		return plan{}, err
	}
	return s.check(ctx, sources, others, o)
}

// list looks at the files that were named, and reads none.
func list(files []string) ([]source, error) {
	var all []source
	var errs []error
	for _, path := range files {
		st, err := os.Stat(path)
		if err == nil && !st.Mode().IsRegular() {
			err = &fs.PathError{Op: "copy", Path: path, Err: errors.New("not a regular file")}
		}
		if err == nil {
			err = checkName(filepath.Base(path))
		}
		for _, other := range all {
			if err == nil && compareNames(other.File, filepath.Base(path)) == 0 {
				err = fmt.Errorf("%s: %w: %s", path, ErrClash, other.path)
			}
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		all = append(all, source{Entry{File: filepath.Base(path), Size: st.Size()}, path})
	}
	return all, errors.Join(errs...)
}

// others returns the artifacts in the folder that are none of sources.
func (s *stick) others(sources []source) ([]scan.File, error) {
	t, err := scan.Open(s.dir)
	if err != nil {
		return nil, err
	}
	defer t.Close() // only read
	tree, err := t.Tree()
	if err != nil {
		return nil, err
	}
	if tree.Truncated {
		return nil, fmt.Errorf("%w: remove what does not belong on it", ErrTooMany)
	}
	var others []scan.File
	for _, f := range tree.Files {
		name, in := strings.CutPrefix(f.Path, s.name+"/")
		if in && !named(sources, name) {
			others = append(others, f)
		}
	}
	return others, nil
}

func named(sources []source, name string) bool {
	for _, src := range sources {
		if src.File == name {
			return true
		}
	}
	return false
}

// check reads all artifacts: those that are to be copied, those that are there by the same name, and all others, which the index is to tell
// of.
func (s *stick) check(ctx context.Context, sources []source, others []scan.File, o Options) (p plan, err error) {
	c := &checker{ctx: ctx, o: o}
	for _, src := range sources {
		c.total += src.Size
	}
	for _, f := range others {
		c.total += f.Size
	}
	var errs []error
	for _, src := range sources {
		kept, err := s.checkSource(c, &src)
		switch {
		case err != nil:
			errs = append(errs, err)
		case kept:
			p.kept = append(p.kept, src.Entry)
		default:
			p.copies = append(p.copies, src)
		}
		if ctx.Err() != nil {
			return plan{}, context.Cause(ctx)
		}
	}
	for _, f := range others {
		e, err := s.checkOther(c, f)
		if err != nil {
			errs = append(errs, fmt.Errorf("%w: it is on the stick: remove it, or replace it", err))
		}
		p.kept = append(p.kept, e)
	}
	return p, errors.Join(errs...)
}

// checkSource reads a file that was named, and says whether the stick has the same one.
func (s *stick) checkSource(c *checker, src *source) (kept bool, err error) {
	f, err := os.Open(src.path)
	if err != nil {
		return false, err
	}
	defer f.Close() // only read
	if src.Entry, err = c.entry(src.File, f); err != nil {
		return false, fmt.Errorf("%s: %w", src.path, err)
	}
	return s.has(c.ctx, src)
}

func (s *stick) checkOther(c *checker, f scan.File) (Entry, error) {
	name := strings.TrimPrefix(f.Path, s.name+"/")
	file, err := s.folder.Open(name)
	if err != nil {
		return Entry{}, err
	}
	defer file.Close() // only read
	e, err := c.entry(name, file)
	if err != nil {
		err = fmt.Errorf("%s: %w", f.Name, err)
	}
	return e, err
}

// has reports whether the stick has the artifact by its name already, read from the medium; something else by that name is ErrClash.
func (s *stick) has(ctx context.Context, src *source) (bool, error) {
	if s.folder == nil {
		return false, nil
	}
	st, err := s.folder.Lstat(src.File)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	clash := fmt.Errorf("%s/%s: %w, and it is not the same: remove it, or rename yours", s.name, src.File, ErrClash)
	if !st.Mode().IsRegular() || st.Size() != src.Size {
		return false, clash
	}
	if err := s.readBack(ctx, src.File, src.SHA256, func(int64) {}); errors.Is(err, ErrReadBack) {
		return false, clash
	} else if err != nil {
		return false, err
	}
	return true, nil
}

// A checker reads artifacts one after the other.
type checker struct {
	ctx         context.Context
	o           Options
	done, total int64
}

// entry reads the artifact in f to its end and returns what the index says of it.
func (c *checker) entry(name string, f *os.File) (Entry, error) {
	sum := sha256.New()
	n := int64(0)
	src := io.TeeReader(bufio.NewReaderSize(watch{c.ctx, f, func(k int) {
		n += int64(k)
		c.done += int64(k)
		c.o.Progress(StepCheck, c.done, c.total)
	}}, unit), sum)
	h, _, err := scan.Read(src, c.o.Verifier)
	if err != nil {
		if st, e := f.Stat(); e == nil && c.ctx.Err() == nil {
			err = scan.Explain(f, st.Size(), err)
		}
		return Entry{}, err
	}
	return entryOf(name, h, n, artifact.Sum(sum.Sum(nil))), nil
}

// watch is a reader that counts, and that ends with its context.
type watch struct {
	ctx   context.Context
	r     io.Reader
	count func(int)
}

func (w watch) Read(b []byte) (int, error) {
	if w.ctx.Err() != nil {
		return 0, context.Cause(w.ctx)
	}
	n, err := w.r.Read(b)
	w.count(n)
	return n, err
}
