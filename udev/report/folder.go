package report

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// errInTheWay is something of that name which is not what it should be.
var errInTheWay = errors.New("something else is in the way")

// A folder is one on a stick. What is in it is reached through its descriptor,
// by a name without a slash, and no symbolic link is followed: no path is ever
// looked up that the stick could have an influence on.
type folder struct{ *os.File }

// openFolder opens a folder by path: the one that the caller named.
func openFolder(root *os.Root) (folder, error) {
	f, err := root.Open(".")
	return folder{f}, err
}

// sub opens a folder in d, and makes it first if create says so.
func (d folder) sub(name string, create bool) (folder, error) {
	if create {
		switch err := unix.Mkdirat(int(d.Fd()), name, 0o755); err {
		case nil:
			if err := d.Sync(); err != nil {
				return folder{}, err
			}
		case unix.EEXIST:
		default:
			return folder{}, d.problem("mkdir", name, err)
		}
	}
	f, err := d.openat(name, unix.O_RDONLY|unix.O_DIRECTORY)
	return folder{f}, err
}

// file opens a regular file. Anything else is errInTheWay, and is not opened.
func (d folder) file(name string, flags int) (*os.File, error) {
	if flags&unix.O_EXCL == 0 {
		var st unix.Stat_t
		if err := unix.Fstatat(int(d.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return nil, d.problem("open", name, err)
		}
		if st.Mode&unix.S_IFMT != unix.S_IFREG {
			return nil, d.problem("open", name, errInTheWay)
		}
	}
	f, err := d.openat(name, flags)
	if err != nil {
		return nil, err
	}
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return nil, errors.Join(d.problem("open", name, errInTheWay), err, f.Close())
	}
	return f, nil
}

// isOther reports whether err says that a file of that name is there and is
// not one of ours, rather than that the stick does not answer.
func isOther(err error) bool { return errors.Is(err, errInTheWay) || errors.Is(err, ErrReport) }

func (d folder) openat(name string, flags int) (*os.File, error) {
	for {
		fd, err := unix.Openat(int(d.Fd()), name, flags|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0o644)
		switch err {
		case nil:
			return os.NewFile(uintptr(fd), d.Name()+"/"+name), nil
		case unix.EINTR:
		case unix.ENOTDIR, unix.ELOOP:
			return nil, d.problem("open", name, errInTheWay)
		default:
			return nil, d.problem("open", name, err)
		}
	}
}

func (d folder) problem(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: line(path.Join(d.Name(), name), maxName), Err: err}
}

// read returns what a regular file holds, which must be at most limit bytes.
func (d folder) read(name string, limit int) ([]byte, error) {
	f, err := d.file(name, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	if err == nil && len(b) > limit {
		err = d.problem("read", name, fmt.Errorf("%w: more than %d bytes", ErrReport, limit))
	}
	return b, err
}

// make writes a file that is not there yet. When it cannot be written whole
// it is removed.
func (d folder) make(name string, b []byte) error {
	f, err := d.file(name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = errors.Join(d.Sync(), d.compare(name, b))
	}
	if err == nil {
		return nil
	}
	if gone := unix.Unlinkat(int(d.Fd()), name, 0); gone != nil {
		err = errors.Join(err, d.problem("remove", name, gone))
	}
	return err
}

// overwrite writes b over the beginning of a file, in place: where the file is
// as large as b, no block is allocated and none is freed. What was there is
// blanked first, so that old and new are never side by side.
func (d folder) overwrite(name string, b []byte) error {
	f, err := d.file(name, unix.O_RDWR)
	if err != nil {
		return err
	}
	old := make([]byte, len(b)+1)
	n, err := io.ReadFull(f, old)
	if err != io.ErrUnexpectedEOF && err != io.EOF {
		if err == nil {
			err = d.problem("write", name, fmt.Errorf("%w: it is larger than %d bytes", errInTheWay, len(b)))
		}
		return errors.Join(err, f.Close())
	}
	if old = old[:n]; bytes.Equal(old, b) {
		return f.Close()
	}
	err = nil
	if !isBlank(old) {
		_, err = f.WriteAt(blank(n), 0)
		err = errors.Join(err, f.Sync())
	}
	if err == nil {
		_, err = f.WriteAt(b, 0)
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return d.compare(name, b)
}

// compare reads a file back from the medium: the cache has been asked to
// forget it.
func (d folder) compare(name string, want []byte) error {
	f, err := d.file(name, unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		return d.problem("read back", name, err)
	}
	got, err := io.ReadAll(io.LimitReader(f, int64(len(want))+1))
	if err == nil && !bytes.Equal(got, want) {
		err = d.problem("read back", name, fmt.Errorf("%w: the stick does not hold what was written to it", ErrTorn))
	}
	return err
}

// blank is what an allocated file holds until it is used.
func blank(size int) []byte { return bytes.Repeat([]byte{' '}, size) }

func isBlank(b []byte) bool { return len(bytes.Trim(b, " ")) == 0 }

// padded fills b up with blanks to the size of every file, and a last newline.
func padded(b []byte) []byte {
	p := append(append(make([]byte, 0, fileSize), b...), blank(fileSize-len(b))...)
	if len(b) < fileSize {
		p[fileSize-1] = '\n'
	}
	return p
}

// folderName makes a name of a serial number that every file system holds and
// nobody can climb out of. Most serial numbers are one already; others keep
// what can be read of them, and get a checksum.
func folderName(serial string) string {
	safe := strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '_' || r == '.' {
			return r
		}
		return '_'
	}, serial)
	if safe == serial && serial != "" && len(serial) <= 64 && !misread(serial) {
		return serial
	}
	sum := sha256.Sum256([]byte(serial))
	return fmt.Sprintf("_%.40s-%x", strings.Trim(safe, "."), sum[:4])
}

// misread reports whether a system takes a name for something else: hidden, a
// device of DOS, one that ends earlier, or a file of ours.
func misread(name string) bool {
	if strings.Trim(name, ".") != name || strings.HasPrefix(name, "_") {
		return true
	}
	lower := strings.ToLower(name)
	stem, _, _ := strings.Cut(lower, ".")
	switch stem {
	case "con", "prn", "aux", "nul":
		return true
	}
	if len(stem) == 4 && (strings.HasPrefix(stem, "com") || strings.HasPrefix(stem, "lpt")) {
		return true
	}
	return strings.HasSuffix(lower, ".json") || strings.HasSuffix(lower, ".txt")
}
