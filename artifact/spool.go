package artifact

import (
	"archive/tar"
	"errors"
	"os"
)

// A spool is the payload member while its size is not known.
type spool struct {
	f   *os.File
	z   compressor
	tar *tar.Writer
}

// startSpool makes the spool if there is none. The file has no name: nothing is left behind, however the process ends.
func (w *Writer) startSpool() error {
	if w.spool != nil {
		return nil
	}
	f, err := os.CreateTemp(w.o.TempDir, ".plimsoll-*")
	if err != nil {
		return err
	}
	if err := os.Remove(f.Name()); err != nil {
		return errors.Join(err, f.Close())
	}
	z, err := w.o.Compression.writer(f)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	w.spool = &spool{f: f, z: z, tar: tar.NewWriter(z)}
	return nil
}

// finish writes the ends of archive and stream.
func (s *spool) finish() error {
	if err := s.tar.Close(); err != nil {
		return err
	}
	z := s.z
	s.z = nil
	return z.Close()
}

// remove gives the space back. A compressor that is still at work is ended first.
func (s *spool) remove() {
	if s.z != nil {
		s.z.abort()
		s.z.Close()
	}
	s.f.Close()
}
