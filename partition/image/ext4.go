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

	"golang.org/x/sys/unix"

	"github.com/plimsoll-ota/plimsoll/partition/internal/program"
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
		return e.fill(ctx, path, nil)
	}
	s, err := openSource(e.Source)
	if err != nil {
		return err
	}
	defer s.Close()
	if s.kind == kindImage {
		return e.take(ctx, path, s)
	}
	return e.fill(ctx, path, s)
}

// take copies an image.
func (e Ext4) take(ctx context.Context, path string, s *source) error {
	size, err := ext4Size(s.File)
	if err != nil {
		return err
	}
	if size > e.Size {
		return fmt.Errorf("a file system of %d bytes, room for %d: %w", size, e.Size, ErrSize)
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
	if err := dst.Close(); err != nil {
		return err
	}
	return checked(ctx, path)
}

// What a superblock says in s_feature_incompat.
const (
	incompatRecover = 0x4
	incompatExtents = 0x40
	incompat64bit   = 0x80
)

// superblock reads that of an ext4; ErrSource if there is none.
func superblock(f *os.File) ([]byte, error) {
	b := make([]byte, 1024)
	if n, _ := f.ReadAt(b, 1024); n < len(b) || binary.LittleEndian.Uint16(b[0x38:]) != 0xef53 {
		return nil, fmt.Errorf("%w: no ext4 in it", ErrSource)
	}
	return b, nil
}

// ext4Bytes returns how large a file system is.
func ext4Bytes(f *os.File) (int64, error) {
	b, err := superblock(f)
	if err != nil {
		return 0, err
	}
	blocks := uint64(binary.LittleEndian.Uint32(b[0x4:]))
	if binary.LittleEndian.Uint32(b[0x60:])&incompat64bit != 0 {
		blocks |= uint64(binary.LittleEndian.Uint32(b[0x150:])) << 32
	}
	shift := binary.LittleEndian.Uint32(b[0x18:])
	if shift > 6 || blocks > 1<<40 {
		return 0, fmt.Errorf("%w: its superblock is damaged", ErrSource)
	}
	return int64(blocks) << (10 + shift), nil
}

// ext4Size returns the size of the file system in a file, and refuses one that
// is not whole or was not unmounted.
func ext4Size(f *os.File) (int64, error) {
	b, err := superblock(f)
	if err != nil {
		return 0, err
	}
	incompat := binary.LittleEndian.Uint32(b[0x60:])
	switch {
	case incompat&incompatExtents == 0:
		return 0, fmt.Errorf("%w: ext2 or ext3, not ext4", ErrSource)
	case incompat&incompatRecover != 0:
		return 0, fmt.Errorf("%w: it was not unmounted: its journal has changes", ErrSource)
	}
	size, err := ext4Bytes(f)
	if err != nil {
		return 0, err
	}
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if st.Size() < size {
		return 0, fmt.Errorf("%w: a file system of %d bytes in a file of %d: it was cut short", ErrSource, size, st.Size())
	}
	return size, nil
}

// What runs under fakeroot, as sh FOLDER MKE2FS-ARGUMENT….
const (
	tarScript = `umask 022
tar -x -p -f - -C "$1" --numeric-owner --same-owner --delay-directory-restore || exit
shift
exec mke2fs "$@"`
	folderScript = `find "$1" -user "$CALLER" -exec chown -h 0:0 {} + || exit
shift
exec mke2fs "$@"`
)

// fill makes the file system, and under fakeroot what it is filled from.
func (e Ext4) fill(ctx context.Context, path string, s *source) error {
	work, err := os.MkdirTemp(filepath.Dir(path), ".ext4-*")
	if err != nil {
		return err
	}
	defer removeAll(work)
	conf := filepath.Join(work, "mke2fs.conf")
	if err := os.WriteFile(conf, []byte(settings), 0o644); err != nil {
		return err
	}
	p := program.Call{Name: "mke2fs", Args: e.arguments(path), Time: e.Time, Env: []string{"MKE2FS_CONFIG=" + conf}}
	if s == nil {
		if _, _, err := p.Run(ctx); err != nil {
			return err
		}
		return e.settle(ctx, path, nil)
	}
	dir := e.Source
	if s.kind == kindTar {
		dir = filepath.Join(work, "root")
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
		p.Stdin = s.content()
	}
	if err := e.fillFrom(ctx, p, s, dir); err != nil {
		return err
	}
	if err := setAttributes(ctx, path, work, e.Time, s.attributes); err != nil {
		return err
	}
	return e.settle(ctx, path, s.listed)
}

// fillFrom runs mke2fs with what the file system is filled from.
func (e Ext4) fillFrom(ctx context.Context, p program.Call, s *source, dir string) error {
	p, err := fakeroot(p, s.kind, dir)
	if err != nil {
		return err
	}
	_, _, err = p.Run(ctx)
	if bad := s.finish(); bad != nil && ctx.Err() == nil {
		return bad
	}
	if program.Said(err, "Could not allocate") {
		if s.kind == kindFolder {
			s.files, s.bytes = weigh(dir)
		}
		return fmt.Errorf("%d bytes in %d files and folders, a file system of %d bytes with its own tables: %w", s.bytes, s.files, e.Size, ErrSize)
	}
	if line := program.Complaint(err, "tar: "); line != "" && !errors.Is(err, unix.ENOSPC) {
		return fmt.Errorf("%w: %s", ErrSource, line)
	}
	return err
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

// fakeroot makes a call of mke2fs one that fills the file system from dir, in a
// session in which owners and device nodes are what they should be. Root needs
// none for a folder, and whoever is in a session already has made the folder
// in it.
func fakeroot(p program.Call, kind int, dir string) (program.Call, error) {
	p.Args = append([]string{"-d", dir}, p.Args...)
	inside := os.Getenv("FAKEROOTKEY") != ""
	if kind == kindFolder && (inside || os.Geteuid() == 0) {
		return p, nil
	}
	mke2fs, err := program.Find("mke2fs")
	if err != nil {
		return p, err
	}
	script := tarScript
	if kind == kindFolder {
		script = folderScript
	}
	p.Env = append(p.Env, "CALLER="+strconv.Itoa(os.Geteuid()))
	p.Name, p.Args = "sh", append([]string{"-c", strings.Replace(script, "exec mke2fs", "exec "+mke2fs, 1), "sh", dir}, p.Args...)
	if !inside {
		p.Name, p.Args = "fakeroot", append([]string{"-u", "--", "sh"}, p.Args...)
	}
	return p, nil
}

// settle gives every inode times that do not depend on when and where the
// image was made: time of change and of access are the moment of that. So is
// the time of folders that a tar does not list.
func (e Ext4) settle(ctx context.Context, path string, listed map[string]bool) error {
	u, err := readUsage(ctx, path)
	if err != nil {
		return err
	}
	var b strings.Builder
	for name, is := range listed {
		if is {
			continue
		}
		q, err := quote(name)
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "sif %s mtime @%d\n", q, e.Time.Unix())
	}
	for _, r := range u.inodes {
		for n := r.start; n < r.end; n++ {
			fmt.Fprintf(&b, "sif <%d> ctime @%d\nsif <%d> atime @%d\n", n, e.Time.Unix(), n, e.Time.Unix())
		}
	}
	return edit(ctx, path, e.Time, b.String())
}

// weigh counts what is in a folder.
func weigh(dir string) (files, bytes int64) {
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
	return files, bytes
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
