package image

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plimsoll-ota/plimsoll/partition/internal/program"
)

// A fat is a FAT file system to be made as a file.
type fat struct {
	files []File
	start int64 // of the partition, which the boot sector names
	size  int64
	label string
	id    ID
	time  time.Time
}

// make makes the file at path. --invariant sets a serial too, and stands before
// ours. The width of the FAT is mkfs.fat's choice: 32
// bits from 512 MiB on.
func (f fat) make(ctx context.Context, path string) error {
	if err := f.check(); err != nil {
		return err
	}
	mkfs := program.Call{Name: "mkfs.fat", Time: f.time, Args: []string{
		"-C", "--invariant", "-i", fmt.Sprintf("%08x", binary.LittleEndian.Uint32(f.id[:])), "-n", strings.ToUpper(f.label),
		"-h", strconv.FormatInt(f.start/sector, 10), path, strconv.FormatInt(f.size/1024, 10),
	}}
	if _, _, err := mkfs.Run(ctx); err != nil {
		return err
	}
	return f.fill(ctx, path)
}

// check refuses names of which FAT would make one, and more than there is room for.
func (f fat) check() error {
	seen := map[string]string{}
	var sum int64
	for _, file := range f.files {
		lower := strings.ToLower(path.Clean(file.Name))
		if other, ok := seen[lower]; ok {
			return fmt.Errorf("%s and %s are one name in a FAT file system", other, file.Name)
		}
		seen[lower] = file.Name
		n := int64(len(file.Data))
		if file.From != "" {
			st, err := os.Stat(file.From)
			if err != nil {
				return err
			}
			if !st.Mode().IsRegular() {
				return fmt.Errorf("%s is not a plain file", file.From)
			}
			n = st.Size()
		}
		sum += n
	}
	if sum > f.size {
		return f.tooLarge(sum)
	}
	return nil
}

func (f fat) tooLarge(sum int64) error {
	return fmt.Errorf("%d bytes in %d files in a FAT of %d bytes, with its own tables: %w", sum, len(f.files), f.size, ErrSize)
}

// fill copies folder by folder, in the order of their names: the order in which
// a folder is read would be another each time.
func (f fat) fill(ctx context.Context, img string) error {
	work, err := os.MkdirTemp(filepath.Dir(img), ".fat-*")
	if err != nil {
		return err
	}
	defer removeAll(work)
	folders := map[string][]string{} // what goes into each, by the path here
	var sum int64
	for i, file := range f.files {
		name := path.Clean(file.Name)
		dir := path.Dir(name)
		for d := dir; ; d = path.Dir(d) {
			folders[d] = append(folders[d], nil...)
			if d == "." {
				break
			}
		}
		here := filepath.Join(work, strconv.Itoa(i), path.Base(name)) // mcopy takes the name from it
		if err := stage(here, file); err != nil {
			return err
		}
		folders[dir] = append(folders[dir], here)
		if st, err := os.Stat(here); err == nil {
			sum += st.Size()
		}
	}
	names := make([]string, 0, len(folders))
	for d := range folders {
		names = append(names, d)
	}
	slices.Sort(names) // a folder stands before what is in it
	for _, d := range names {
		if err := f.folder(ctx, img, d, folders[d]); err != nil {
			if program.Said(err, "Disk full") && !errors.Is(err, unix.ENOSPC) {
				return f.tooLarge(sum)
			}
			return err
		}
	}
	return nil
}

func (f fat) folder(ctx context.Context, img, dir string, files []string) error {
	if dir != "." {
		if _, _, err := (program.Call{Name: "mmd", Args: []string{"-i", img, "::/" + dir}, Time: f.time}).Run(ctx); err != nil {
			return err
		}
	}
	slices.SortFunc(files, func(a, b string) int { return strings.Compare(filepath.Base(a), filepath.Base(b)) })
	if len(files) == 0 {
		return nil
	}
	args := append([]string{"-Q", "-i", img}, files...)
	_, _, err := program.Call{Name: "mcopy", Args: append(args, "::/"+dir), Time: f.time}.Run(ctx)
	return err
}

// stage makes a file that bears the name it will have.
func stage(here string, f File) error {
	if err := os.MkdirAll(filepath.Dir(here), 0o755); err != nil {
		return err
	}
	if f.From == "" {
		return os.WriteFile(here, f.Data, 0o644)
	}
	from, err := filepath.Abs(f.From)
	if err != nil {
		return err
	}
	return os.Symlink(from, here)
}

// fatUsed returns the bytes of a FAT file system up to the end of the last
// cluster that is in use.
func fatUsed(r io.ReaderAt) (span, error) {
	var b [sector]byte
	if _, err := r.ReadAt(b[:], 0); err != nil {
		return span{}, err
	}
	u16 := func(off int) int64 { return int64(binary.LittleEndian.Uint16(b[off:])) }
	u32 := func(off int) int64 { return int64(binary.LittleEndian.Uint32(b[off:])) }
	reserved, copies, root := u16(14), int64(b[16]), u16(17)*32
	length, entry := u16(22)*u16(11), 2
	if length == 0 {
		length, entry = u32(36)*u16(11), 4
	}
	front := reserved*u16(11) + copies*length
	table := make([]byte, length)
	if _, err := r.ReadAt(table, reserved*u16(11)); err != nil {
		return span{}, err
	}
	clusters := int64(len(table) / entry)
	for zero := make([]byte, entry); clusters > 2 && string(table[(clusters-1)*int64(entry):clusters*int64(entry)]) == string(zero); {
		clusters--
	}
	return span{0, front + root + (clusters-2)*int64(b[13])*u16(11)}, nil
}
