package image

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// An Ext4 is a file system to be made as a file.
type Ext4 struct {
	Source string // a folder, a tar, or an ext4 image that is taken as it is; "" for an empty file system
	Size   int64  // of the file system and the file; an ext4 image may be smaller
	Label  string
	ID     ID
	Time   time.Time // of all that has no time of its own; not before 1970-01-01 00:00:01
	Inode  int64     // bytes of the file system for each inode; 0 is 8 KiB
}

// features are what the kernels and bootloaders of ten years can read; U-Boot
// knows neither metadata_csum_seed nor orphan_file, which newer mke2fs set.
const features = "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg," +
	"sparse_super,large_file,huge_file,dir_nlink,extra_isize,metadata_csum"

// settings replace those of the machine that the image is made on.
const settings = `[defaults]
	base_features = none
	default_mntopts = acl,user_xattr
	enable_periodic_fsck = 0
[fs_types]
	ext4 = {
	}
	small = {
	}
	floppy = {
	}
	big = {
	}
	huge = {
	}
`

// Make makes the file at path, which must not be there. From a folder or a tar
// it takes owners, device nodes, links, modes and extended attributes; of a
// folder what belongs to an ordinary user who calls is root's. After an error
// the file is not to be used.
func (e Ext4) Make(ctx context.Context, path string) error {
	if err := e.make(ctx, path); err != nil {
		what := "an empty file system"
		if e.Source != "" {
			what = e.Source
		}
		return fmt.Errorf("make ext4 from %s: %w", what, err)
	}
	return nil
}

func (e Ext4) make(ctx context.Context, path string) error {
	if e.Source == "" {
		return e.fill(ctx, path, "", nil)
	}
	s, err := openSource(e.Source)
	if err != nil {
		return err
	}
	defer s.Close()
	switch s.kind {
	case kindImage:
		return e.take(ctx, path, s)
	case kindFolder:
		return e.fill(ctx, path, folderScript, s)
	}
	return e.fill(ctx, path, tarScript, s)
}

// take copies an image.
func (e Ext4) take(ctx context.Context, path string, s *source) error {
	size, err := ext4Size(s.File)
	if err != nil {
		return err
	}
	if size > e.Size {
		return fmt.Errorf("a file system of %d bytes, a slot of %d: %w", size, e.Size, ErrSize)
	}
	dst, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer dst.Close()
	if err := dst.Truncate(size); err != nil {
		return err
	}
	if err := (copier{ctx: ctx, dst: dst}).copy(s.File, size); err != nil {
		return err
	}
	return dst.Close()
}

// ext4Size returns the size of the file system in f, and refuses what is none
// or was not unmounted.
func ext4Size(f *os.File) (int64, error) {
	var b [1024]byte
	if n, _ := f.ReadAt(b[:], 1024); n < len(b) || binary.LittleEndian.Uint16(b[0x38:]) != 0xef53 {
		return 0, fmt.Errorf("%w: no ext4 in it", ErrSource)
	}
	const needsRecovery, extents, wide = 0x4, 0x40, 0x80
	incompat := binary.LittleEndian.Uint32(b[0x60:])
	switch {
	case incompat&extents == 0:
		return 0, fmt.Errorf("%w: ext2 or ext3, not ext4", ErrSource)
	case incompat&needsRecovery != 0:
		return 0, fmt.Errorf("%w: it was not unmounted: its journal has changes", ErrSource)
	}
	blocks := uint64(binary.LittleEndian.Uint32(b[0x4:]))
	if incompat&wide != 0 {
		blocks |= uint64(binary.LittleEndian.Uint32(b[0x150:])) << 32
	}
	shift := binary.LittleEndian.Uint32(b[0x18:])
	if shift > 6 || blocks > 1<<40 {
		return 0, fmt.Errorf("%w: its superblock is damaged", ErrSource)
	}
	size := int64(blocks) << (10 + shift)
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if st.Size() < size {
		return 0, fmt.Errorf("%w: a file system of %d bytes in a file of %d", ErrSource, size, st.Size())
	}
	return size, nil
}

// What runs under fakeroot, as $0 FOLDER IMAGE MKE2FS-ARGUMENT…. Folders that a
// tar does not list are made now, and get a time that does not depend on it.
const (
	tarScript = `set -e
umask 022
dir=$1; stamp=$2; shift 2
: > "$stamp"
tar -x -p -f - -C "$dir" --numeric-owner --same-owner --xattrs --xattrs-include='*' --delay-directory-restore
find "$dir" -newer "$stamp" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
exec mke2fs "$@"`
	folderScript = `set -e
dir=$1; stamp=$2; shift 2
[ "$CALLER" = 0 ] || find "$dir" -user "$CALLER" -exec chown -h 0:0 {} +
exec mke2fs "$@"`
)

// fill makes the file system, and under fakeroot what it is filled from.
func (e Ext4) fill(ctx context.Context, path, script string, s *source) error {
	work, err := os.MkdirTemp(filepath.Dir(path), ".ext4-*")
	if err != nil {
		return err
	}
	defer removeAll(work)
	conf := filepath.Join(work, "mke2fs.conf")
	if err := os.WriteFile(conf, []byte(settings), 0o644); err != nil {
		return err
	}
	p := program{name: "mke2fs", args: e.arguments(path), time: e.Time, env: []string{"MKE2FS_CONFIG=" + conf}}
	dir := e.Source
	if s != nil {
		if s.kind == kindTar {
			dir = filepath.Join(work, "root")
			if err := os.Mkdir(dir, 0o755); err != nil {
				return err
			}
			p.stdin = s.content()
		}
		if p, err = p.fakeroot(script, dir, filepath.Join(work, "stamp")); err != nil {
			return err
		}
	}
	_, _, err = p.run(ctx)
	if s != nil && s.kind == kindTar {
		err = errors.Join(err, s.err)
	}
	if said(err, "Could not allocate", "No space left in", "while populating file system") && said(err, "allocate") {
		return fmt.Errorf("%s in a file system of %d bytes, with its own tables: %w", weight(dir), e.Size, ErrSize)
	}
	if err != nil {
		return err
	}
	return e.settle(ctx, path)
}

// arguments are mke2fs's for an empty file system. Nothing is left to be
// written at the first mount, and nothing to chance.
func (e Ext4) arguments(path string) []string {
	inode := e.Inode
	if inode == 0 {
		inode = 8192
	}
	return []string{
		"-q", "-F", "-t", "ext4", "-b", strconv.Itoa(block), "-I", "256", "-i", strconv.FormatInt(inode, 10),
		"-O", features, "-L", e.Label, "-U", e.ID.UUID(), "-e", "remount-ro",
		"-E", "hash_seed=" + e.ID.Sub("hash seed").UUID() + ",root_owner=0:0,lazy_itable_init=0,lazy_journal_init=0",
		path, strconv.FormatInt(e.Size/1024, 10) + "k",
	}
}

// fakeroot makes a call of mke2fs one that fills the file system from dir, as
// part of a session in which owners and device nodes are what they should be.
func (p program) fakeroot(script, dir, stamp string) (program, error) {
	mke2fs, err := find("mke2fs")
	if err != nil {
		return p, err
	}
	args := append([]string{"-c", strings.Replace(script, "exec mke2fs", "exec "+mke2fs, 1), "sh", dir, stamp, "-d", dir}, p.args...)
	p.env = append(p.env, "CALLER="+strconv.Itoa(os.Getuid()))
	if os.Getenv("FAKEROOTKEY") != "" { // we are in one already
		p.name, p.args = "sh", args
		return p, nil
	}
	p.name, p.args = "fakeroot", append([]string{"-u", "--", "sh"}, args...)
	return p, nil
}

// settle gives every inode times that do not depend on when and where the
// image was made: the time of change and of access are the moment of that.
func (e Ext4) settle(ctx context.Context, path string) error {
	u, err := readUsage(ctx, path)
	if err != nil {
		return err
	}
	var b strings.Builder
	for _, r := range u.inodes {
		for n := r.start; n < r.end; n++ {
			fmt.Fprintf(&b, "sif <%d> ctime @%d\nsif <%d> atime @%d\n", n, e.Time.Unix(), n, e.Time.Unix())
		}
	}
	return edit(ctx, path, e.Time, b.String())
}

// weight says how much there is in a folder.
func weight(dir string) string {
	var files, bytes int64
	filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		files++
		if st, err := d.Info(); err == nil && st.Mode().IsRegular() {
			bytes += (st.Size() + block - 1) / block * block
		}
		return nil
	})
	return fmt.Sprintf("%d bytes in %d files", bytes, files)
}

// removeAll removes a folder, with folders in it that nobody may write.
func removeAll(dir string) {
	if os.RemoveAll(dir) == nil {
		return
	}
	filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if d != nil && d.IsDir() {
			os.Chmod(path, 0o700)
		}
		return nil
	})
	os.RemoveAll(dir)
}
