package module

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// ErrSpace is a payload for which there is no room.
var ErrSpace = errors.New("not enough space")

// store puts the files into files/. On nil they are on the medium.
func store(ctx context.Context, tree string, s *source) error {
	dir := filepath.Join(tree, "files")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("store payload: %w", err)
	}
	for {
		f, err := s.take()
		if err == io.EOF {
			break
		}
		if err == nil {
			err = storeFile(ctx, dir, f)
		}
		if err != nil {
			return fmt.Errorf("store payload: %w", err)
		}
	}
	return errors.Join(syncDir(dir), syncDir(tree))
}

func storeFile(ctx context.Context, dir string, f *File) error {
	if err := checkSpace(dir, f); err != nil {
		return err
	}
	file, err := os.OpenFile(filepath.Join(dir, f.Name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := copyAll(&sink{w: whileWanted{ctx, file}}, f); err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close())
}

func checkSpace(dir string, f *File) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fmt.Errorf("free space of %s: %w", dir, err)
	}
	if free := st.Bavail * uint64(st.Frsize); uint64(f.Size) > free {
		return fmt.Errorf("%s: %w in %s: %d bytes are needed, %d are free", f.Name, ErrSpace, dir, f.Size, free)
	}
	return nil
}

// whileWanted writes until the context is done.
type whileWanted struct {
	ctx context.Context // of the one call that it is for
	w   io.Writer
}

func (w whileWanted) Write(b []byte) (int, error) {
	if w.ctx.Err() != nil {
		return 0, context.Cause(w.ctx)
	}
	return w.w.Write(b)
}
