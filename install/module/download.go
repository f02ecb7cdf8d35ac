package module

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/plimsoll-ota/plimsoll/install/internal/process"
)

// ErrUnread is a module that started to read the payload and did not read all
// of it.
var ErrUnread = errors.New("the module did not read all of the payload")

// A File is one of the payload. Content returns io.EOF only if all of it was
// what it should be.
type File struct {
	Name    string
	Size    int64
	Content io.Reader
}

// Download gives the module the files that next returns, until that returns
// io.EOF: as streams, or in files/. Content of a file that was not read to its
// end is not asked for after next is called again.
//
// It reads in the calling goroutine, and cannot end before a Read does: next
// and the readers are expected to fail when ctx is done.
func (m *Module) Download(ctx context.Context, next func() (*File, error)) error {
	sizes, err := m.wantsSizes(ctx)
	if err != nil {
		return err
	}
	state := "Download"
	if sizes {
		state = "DownloadWithFileSizes"
	}
	s := &source{next: next}
	started, err := m.stream(ctx, state, sizes, s)
	if err == nil && !started {
		err = store(ctx, m.Tree, s)
	}
	return err
}

// stream runs the module and offers it the files. It returns whether the module
// accepted the offer; if not, and without an error, all files are still there
// to be had from s.
func (m *Module) stream(ctx context.Context, state string, sizes bool, s *source) (started bool, err error) {
	f, err := newFeed(m.Tree, sizes, s)
	if err != nil {
		return false, fmt.Errorf("%s: %w", m.name(state), err)
	}
	defer f.remove()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	p, err := m.start(ctx, state)
	if err != nil {
		m.report(state, nil, err)
		return false, err
	}
	fed := f.feed(p.Ended())
	m.dismiss(p, fed, stop)
	result, err := p.Wait()
	err = m.outcome(state, err, fed, f)
	m.report(state, result, err)
	return f.told > 0, err
}

// dismiss ends the module after an error. If it is the module's own, that may
// be about to say why and is given time for it.
func (m *Module) dismiss(p *process.Process, fed error, stop context.CancelCauseFunc) {
	if fed == nil || fed == errEnded {
		return
	}
	if errors.Is(fed, ErrUnread) {
		timer := time.NewTimer(m.grace())
		defer timer.Stop()
		select {
		case <-p.Ended():
			return
		case <-timer.C:
		}
	}
	stop(fed)
}

// outcome returns what was wrong first.
func (m *Module) outcome(state string, err, fed error, f *feed) error {
	switch {
	case err != nil && (fed == nil || fed == errEnded || errors.Is(err, fed) || errors.Is(fed, ErrUnread)):
		return err
	case err != nil:
		return fmt.Errorf("%w; %w", fed, err)
	case fed == nil || fed == errEnded && f.told == 0:
		return nil
	case fed == errEnded:
		fed = fmt.Errorf("%w: it started downloading, but did not finish: %s", ErrUnread, f.at)
	}
	return fmt.Errorf("%s: %w", m.name(state), fed)
}

// A source hands out files, and takes back the last one.
type source struct {
	next func() (*File, error)
	seen map[string]bool
	back *File // was handed out, and not used
	over bool  // there are no more
}

// take returns the next file, whose name is a plain one that was not there
// before.
func (s *source) take() (*File, error) {
	if f := s.back; f != nil {
		s.back = nil
		return f, nil
	}
	if s.over {
		return nil, io.EOF
	}
	f, err := s.next()
	if err != nil {
		s.over = err == io.EOF
		return nil, err
	}
	if !plain(f.Name) || f.Size < 0 {
		return nil, fmt.Errorf("%.120q, %d bytes, cannot be a file of a payload", f.Name, f.Size)
	}
	if s.seen[f.Name] {
		return nil, fmt.Errorf("%s: stands twice in the payload", f.Name)
	}
	if s.seen == nil {
		s.seen = make(map[string]bool)
	}
	s.seen[f.Name] = true
	return f, nil
}

// plain reports whether a name is that of a file in a folder, and can stand in
// a line with a number behind it. Artifacts have no others.
func plain(name string) bool {
	if name == "" || name == "." || name == ".." || len(name) > 255 {
		return false
	}
	for _, c := range []byte(name) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == ',', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

// copyAll copies a file. It returns an error of w as it is, and says that any
// other is the file's.
func copyAll(w *sink, f *File) error {
	n, err := io.Copy(w, f.Content)
	switch {
	case w.err != nil:
		return w.err
	case err != nil:
		return err
	case n != f.Size:
		return fmt.Errorf("%s: %d bytes, want %d", f.Name, n, f.Size)
	}
	return nil
}

// A sink remembers the error of a Writer, and how much went there.
type sink struct {
	w   io.Writer
	n   int64
	err error
}

func (s *sink) Write(b []byte) (int, error) {
	n, err := s.w.Write(b)
	s.n += int64(n)
	s.err = err
	return n, err
}
