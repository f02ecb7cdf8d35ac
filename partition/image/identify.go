package image

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// Identify feeds everything to h that makes a root file system what it is: the
// bytes of a file; of a folder names, owners, modes, times and contents.
func Identify(ctx context.Context, h hash.Hash, source string) error {
	if st, err := os.Stat(source); err != nil || !st.IsDir() {
		return identifyFile(ctx, h, source)
	}
	return filepath.WalkDir(source, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(source, path)
		if err != nil {
			return err
		}
		st, err := d.Info()
		if err != nil {
			return err
		}
		var owner [3]uint64
		if sys, ok := st.Sys().(*syscall.Stat_t); ok {
			owner = [3]uint64{uint64(sys.Uid), uint64(sys.Gid), uint64(sys.Rdev)}
		}
		if uid := os.Getuid(); uid != 0 && owner[0] == uint64(uid) { // Make gives it to root
			owner[0], owner[1] = 0, 0
		}
		fmt.Fprintf(h, "%q %v %d %v\n", rel, st.Mode(), st.ModTime().Unix(), owner)
		switch {
		case st.Mode().IsRegular():
			return identifyFile(ctx, h, path)
		case st.Mode()&os.ModeSymlink != 0:
			target, err := os.Readlink(path)
			fmt.Fprintf(h, "%q\n", target)
			return err
		}
		return nil
	})
}

func identifyFile(ctx context.Context, h hash.Hash, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	n, err := io.Copy(h, reader{ctx, f})
	binary.Write(h, binary.LittleEndian, n)
	return err
}

// A reader ends with its context.
type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r reader) Read(b []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.r.Read(b)
}
