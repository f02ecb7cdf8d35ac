package files

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/plimsoll-ota/plimsoll/partition/internal/program"
)

// An ext is a file system of the family of ext2.
type ext struct {
	f     *os.File
	off   int64
	super []byte
}

// readSuper reads the superblock; nil if there is none.
func readSuper(r io.ReaderAt, off, size int64) []byte {
	b := make([]byte, 1024)
	if size < 2048 {
		return nil
	}
	if n, _ := r.ReadAt(b, off+1024); n < len(b) || binary.LittleEndian.Uint16(b[0x38:]) != 0xef53 {
		return nil
	}
	return b
}

func isExt(r io.ReaderAt, off, size int64) bool { return readSuper(r, off, size) != nil }

func openExt(f *os.File, off, size int64) (*ext, error) {
	e := &ext{f: f, off: off, super: readSuper(f, off, size)}
	shift := binary.LittleEndian.Uint32(e.super[0x18:])
	blocks := uint64(binary.LittleEndian.Uint32(e.super[0x4:]))
	if binary.LittleEndian.Uint32(e.super[0x60:])&0x80 != 0 { // 64bit
		blocks |= uint64(binary.LittleEndian.Uint32(e.super[0x150:])) << 32
	}
	if shift > 6 || blocks > 1<<40 {
		return nil, fmt.Errorf("its superblock is damaged: %w", ErrUnclean)
	}
	if have := int64(blocks) << (10 + shift); have > size {
		return nil, fmt.Errorf("a file system of %d bytes in room for %d, it was cut short: %w", have, size, ErrUnclean)
	}
	return e, nil
}

// last is when the file system was written last, and no earlier than it was made.
func (e *ext) last() time.Time {
	at := func(low, high int) int64 {
		return int64(binary.LittleEndian.Uint32(e.super[low:])) | int64(e.super[high])<<32
	}
	return time.Unix(max(at(0x30, 0x274), at(0x108, 0x276), 1), 0).UTC()
}

// writable returns an error for a file system that a change would damage: what
// its journal holds would be written over the change at the next mount.
func (e *ext) writable() error {
	switch state := binary.LittleEndian.Uint16(e.super[0x3a:]); {
	case binary.LittleEndian.Uint32(e.super[0x60:])&0x4 != 0:
		return fmt.Errorf("%w: it was not unmounted, its journal has changes", ErrUnclean)
	case state&2 != 0:
		return fmt.Errorf("%w: the kernel found errors in it", ErrUnclean)
	}
	return nil
}

// image is what programs call the file system.
func (e *ext) image() string {
	if e.off == 0 {
		return "/proc/self/fd/3"
	}
	return "/proc/self/fd/3?offset=" + strconv.FormatInt(e.off, 10)
}

// ask runs one command that only reads.
func (e *ext) ask(ctx context.Context, stdout io.Writer, command string) (string, error) {
	return e.debugfs(ctx, program.Call{Time: time.Unix(1, 0), Stdout: stdout, Args: []string{"-c", "-R", command, e.image()}})
}

// change runs commands that write, one a line. src, if any, is /proc/self/fd/4.
func (e *ext) change(ctx context.Context, t time.Time, src *os.File, commands string) error {
	if err := e.writable(); err != nil {
		return err
	}
	for line := range strings.Lines(commands) {
		if len(line) > 8000 { // debugfs has room for 8191, and would take the rest for a command
			return fmt.Errorf("%w: too long", ErrName)
		}
	}
	c := program.Call{Time: t, Stdin: strings.NewReader(commands), Args: []string{"-w", "-f", "/dev/stdin", e.image()}}
	if src != nil {
		c.Files = []*os.File{src}
	}
	_, err := e.debugfs(ctx, c)
	return err
}

// debugfs returns what it prints. Its exit code means nothing.
func (e *ext) debugfs(ctx context.Context, c program.Call) (string, error) {
	c.Name, c.Files = "debugfs", append([]*os.File{e.f}, c.Files...)
	out, stderr, err := c.Run(ctx)
	if err != nil {
		return out, err
	}
	_, complaint, _ := strings.Cut(stderr, "\n") // its name and version
	complaint = strings.TrimSpace(complaint)
	switch {
	case complaint == "":
		return out, nil
	case strings.HasSuffix(complaint, ": File not found by ext2_lookup"): // before it stands the name, as it is
		return out, fs.ErrNotExist
	}
	first, _, _ := strings.Cut(complaint, "\n")
	if strings.Contains(first, "Could not allocate") {
		return out, fmt.Errorf("%w (debugfs: %s)", ErrSpace, first)
	}
	return out, &program.Error{Name: "debugfs", Said: first}
}

// quote writes a path as debugfs reads it.
func quote(path string) string { return `"` + strings.ReplaceAll(path, `"`, `""`) + `"` }

// quoteLine is quote for a command that must stand on one line.
func quoteLine(path string) (string, error) {
	if strings.ContainsAny(path, "\r\n") {
		return "", fmt.Errorf("%w: debugfs cannot write a name with a line break", ErrName)
	}
	return quote(path), nil
}

func (e *ext) stat(ctx context.Context, path string) (Info, error) {
	out, err := e.ask(ctx, nil, "stat "+quote(path))
	if err != nil {
		return Info{}, err
	}
	return e.parse(ctx, path, out)
}

// parse reads what debugfs says of an inode.
func (e *ext) parse(ctx context.Context, path, out string) (Info, error) {
	head, target, _ := strings.Cut(out, "\nFast link dest: \"")
	words := map[string]string{}
	fields := strings.Fields(head)
	for k, f := range fields {
		if name, ok := strings.CutSuffix(f, ":"); ok && k+1 < len(fields) && words[name] == "" {
			words[name] = fields[k+1]
		}
	}
	number := func(name string, base int) int64 {
		n, err := strconv.ParseInt(words[name], base, 64)
		if err != nil {
			return -1
		}
		return n
	}
	mode := number("Mode", 8)
	if mode < 0 || number("Inode", 10) < 0 {
		return Info{}, errors.New("debugfs says nothing that is understood")
	}
	i := Info{Path: path, UID: int(number("User", 10)), GID: int(number("Group", 10)), node: number("Inode", 10), Mode: modeOf(words["Type"], mode)}
	if i.Size = number("Size", 10); i.Size < 0 { // folders and devices
		i.Size = 0
	}
	i.ModTime, i.acl = timeOf(words["mtime"]), max(0, number("ACL", 10))
	if i.Mode&fs.ModeSymlink == 0 {
		return i, nil
	}
	if k := strings.LastIndex(target, "\""); k >= 0 {
		i.Target = target[:k]
		return i, nil
	}
	var slow strings.Builder
	if err := e.read(ctx, i, &slow); err != nil {
		return Info{}, err
	}
	i.Target = slow.String()
	return i, nil
}

// timeOf parses seconds and, behind a colon, nanoseconds with two more bits of
// seconds beneath them.
func timeOf(s string) time.Time {
	low, high, _ := strings.Cut(s, ":")
	sec, err := strconv.ParseUint(low, 0, 32)
	if err != nil {
		return time.Time{}
	}
	extra, _ := strconv.ParseUint(high, 16, 32) // an old inode has none
	return time.Unix(int64(int32(sec))+int64(extra&3)<<32, int64(extra>>2)).UTC()
}

// types are debugfs's words.
var types = map[string]fs.FileMode{
	"regular": 0, "directory": fs.ModeDir, "symlink": fs.ModeSymlink, "FIFO": fs.ModeNamedPipe, "socket": fs.ModeSocket,
	"character": fs.ModeDevice | fs.ModeCharDevice, "block": fs.ModeDevice,
}

func modeOf(kind string, mode int64) fs.FileMode {
	m, ok := types[kind]
	if !ok {
		m = fs.ModeIrregular
	}
	m |= fs.FileMode(mode & 0o777)
	for bit, flag := range map[int64]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if mode&bit != 0 {
			m |= flag
		}
	}
	return m
}

// check runs e2fsck, which changes nothing.
func (e *ext) check(ctx context.Context) error {
	out, _, err := program.Call{Name: "e2fsck", Args: []string{"-fn", e.image()}, Files: []*os.File{e.f}, Time: time.Unix(1, 0)}.Run(ctx)
	var failed *exec.ExitError
	if !errors.As(err, &failed) {
		return err
	}
	for line := range strings.Lines(out) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "Pass ") {
			return fmt.Errorf("%w: e2fsck finds errors in it: %s", ErrUnclean, line)
		}
	}
	return err
}

func (e *ext) read(ctx context.Context, file Info, w io.Writer) error {
	_, err := e.ask(ctx, w, fmt.Sprintf("cat <%d>", file.node))
	return err
}
