package artifact

import (
	"archive/tar"
	"crypto/sha256"
	"errors"
	"io"
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

// add adds a file, which must end where t says. The caller's goroutine reads and hashes; another compresses.
func (s *spool) add(t *tar.Header, r io.Reader) (Sum, error) {
	if err := s.tar.WriteHeader(t); err != nil {
		return Sum{}, err
	}
	free, full, done := make(chan []byte, copyBuffers), make(chan []byte, copyBuffers), make(chan error, 1)
	for range copyBuffers {
		free <- make([]byte, copyBuffer)
	}
	go func() {
		defer close(free)
		for b := range full {
			if _, err := s.tar.Write(b); err != nil {
				done <- err
				return
			}
			free <- b[:copyBuffer]
		}
		done <- nil
	}()
	sum := sha256.New()
	err := readInto(full, free, io.TeeReader(r, sum), t.Size)
	close(full)
	if err != nil {
		s.z.abort() // it may be at work for long
		<-done
		return Sum{}, err
	}
	return Sum(sum.Sum(nil)), <-done
}

// readInto fills buffers with size bytes of r, and expects its end after them. It ends early, without an error, when free is closed.
func readInto(full chan<- []byte, free <-chan []byte, r io.Reader, size int64) error {
	var n int64
	for n < size {
		b, ok := <-free
		if !ok {
			return nil
		}
		k, err := io.ReadFull(r, b[:min(int64(len(b)), size-n)])
		if n += int64(k); err == io.EOF || err == io.ErrUnexpectedEOF {
			break
		}
		if err != nil {
			return err
		}
		full <- b[:k]
	}
	return endsAt(r, n, size)
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

// remove gives the space back. A compressor that is still at work is ended first; what it says no longer matters.
func (s *spool) remove() {
	if s.z != nil {
		s.z.abort()
		s.z.Close()
	}
	s.f.Close()
}
