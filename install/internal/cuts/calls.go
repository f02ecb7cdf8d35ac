//go:build linux && (amd64 || arm64)

package cuts

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// A Call is one system call that changes a file.
type Call struct {
	N    int    // 1 is the first of the run
	Name string // of the system call: "pwrite64"
	Path string // what it changes; for a rename, the new name
	Len  int64  // bytes that it writes; 0 if it is not a write that can be torn
	Off  int64  // where, for a pwrite64
}

// Writes reports whether the call writes bytes, and can be torn.
func (c Call) Writes() bool { return c.Len > 0 }

func (c Call) String() string {
	s := fmt.Sprintf("%d: %s %s", c.N, c.Name, filepath.Base(c.Path))
	if c.Writes() {
		s += fmt.Sprintf(", %d bytes at %d", c.Len, c.Off)
	}
	return s
}

// A rule says how to read the arguments of a system call.
type rule struct {
	name  string
	where argument
	index int // of the argument that names the file
	len   int // of the argument that is a length; 0 for none: no call has it first
	off   int // of the argument that is an offset; 0 for none
}

// An argument is how a call names its file.
type argument int

const (
	byFD   argument = iota // an open file
	byPath                 // a path, from the working directory
	byAt                   // a path, from the directory that the argument before it has open
	byOpen                 // the same, of openat: it changes a file only with O_CREAT or O_TRUNC
	byCtl                  // an open file, of ioctl: few requests change anything
)

// rules are the calls that change files, beside those in older of each
// architecture, which arm64 never had.
var rules = map[uint64]rule{
	unix.SYS_WRITE:           {"write", byFD, 0, 2, 0},
	unix.SYS_PWRITE64:        {"pwrite64", byFD, 0, 2, 3},
	unix.SYS_WRITEV:          {"writev", byFD, 0, 0, 0},
	unix.SYS_PWRITEV:         {"pwritev", byFD, 0, 0, 0},
	unix.SYS_PWRITEV2:        {"pwritev2", byFD, 0, 0, 0},
	unix.SYS_COPY_FILE_RANGE: {"copy_file_range", byFD, 2, 4, 0},
	unix.SYS_SENDFILE:        {"sendfile", byFD, 0, 3, 0},
	unix.SYS_SPLICE:          {"splice", byFD, 2, 4, 0},
	unix.SYS_FSYNC:           {"fsync", byFD, 0, 0, 0},
	unix.SYS_FDATASYNC:       {"fdatasync", byFD, 0, 0, 0},
	unix.SYS_SYNC_FILE_RANGE: {"sync_file_range", byFD, 0, 0, 0},
	unix.SYS_SYNCFS:          {"syncfs", byFD, 0, 0, 0},
	unix.SYS_FTRUNCATE:       {"ftruncate", byFD, 0, 0, 0},
	unix.SYS_FALLOCATE:       {"fallocate", byFD, 0, 0, 0},
	unix.SYS_FCHMOD:          {"fchmod", byFD, 0, 0, 0},
	unix.SYS_FCHOWN:          {"fchown", byFD, 0, 0, 0},
	unix.SYS_TRUNCATE:        {"truncate", byPath, 0, 0, 0},
	unix.SYS_OPENAT:          {"openat", byOpen, 1, 0, 0},
	unix.SYS_MKDIRAT:         {"mkdirat", byAt, 1, 0, 0},
	unix.SYS_MKNODAT:         {"mknodat", byAt, 1, 0, 0},
	unix.SYS_UNLINKAT:        {"unlinkat", byAt, 1, 0, 0},
	unix.SYS_FCHMODAT:        {"fchmodat", byAt, 1, 0, 0},
	unix.SYS_FCHOWNAT:        {"fchownat", byAt, 1, 0, 0},
	unix.SYS_UTIMENSAT:       {"utimensat", byAt, 1, 0, 0},
	unix.SYS_RENAMEAT:        {"renameat", byAt, 3, 0, 0},
	unix.SYS_RENAMEAT2:       {"renameat2", byAt, 3, 0, 0},
	unix.SYS_LINKAT:          {"linkat", byAt, 3, 0, 0},
	unix.SYS_SYMLINKAT:       {"symlinkat", byAt, 2, 0, 0},
	unix.SYS_FSETXATTR:       {"fsetxattr", byFD, 0, 0, 0},
	unix.SYS_SETXATTR:        {"setxattr", byPath, 0, 0, 0},
	unix.SYS_LSETXATTR:       {"lsetxattr", byPath, 0, 0, 0},
	unix.SYS_FREMOVEXATTR:    {"fremovexattr", byFD, 0, 0, 0},
	unix.SYS_REMOVEXATTR:     {"removexattr", byPath, 0, 0, 0},
	unix.SYS_LREMOVEXATTR:    {"lremovexattr", byPath, 0, 0, 0},
	unix.SYS_IOCTL:           {"ioctl", byCtl, 0, 0, 0},
}

// Requests that write to a block device, change how it may be written, or give a
// file the content of another (linux/fs.h).
var requests = map[uint64]bool{
	unix.FICLONE:    true,
	unix.BLKDISCARD: true, unix.BLKSECDISCARD: true, unix.BLKZEROOUT: true,
	unix.BLKFLSBUF: true, unix.BLKROSET: true, unix.BLKRRPART: true,
}

// call returns what the system call nr is about to change, and false if that
// is no file.
func call(tid int, nr uint64, args [6]uint64) (Call, bool) {
	r, known := rules[nr]
	if !known {
		r, known = older[nr]
	}
	if !known {
		return Call{}, false
	}
	c := Call{Name: r.name}
	switch r.where {
	case byCtl:
		if !requests[args[1]] {
			return Call{}, false
		}
		fallthrough
	case byFD:
		if fd := int32(args[r.index]); fd == 1 || fd == 2 || !changeable(tid, fd) {
			return Call{}, false
		}
		c.Path, _ = os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", tid, int32(args[r.index])))
		if strings.HasPrefix(c.Path, "anon_inode:") { // an eventfd, with which the runtime wakes itself
			return Call{}, false
		}
	case byOpen:
		if args[2]&(unix.O_CREAT|unix.O_TRUNC) == 0 {
			return Call{}, false
		}
		fallthrough
	case byAt:
		c.Path = pathAt(tid, int32(args[r.index-1]), text(tid, args[r.index]))
	case byPath:
		c.Path = pathAt(tid, unix.AT_FDCWD, text(tid, args[r.index]))
	}
	if r.where == byOpen && strings.HasPrefix(c.Path, "/dev/") && !changes(os.Stat(c.Path)) {
		return Call{}, false // /dev/null, opened as the shell does
	}
	if r.len > 0 {
		c.Len = int64(args[r.len])
	}
	if r.off > 0 {
		c.Off = int64(args[r.off])
	}
	return c, true
}

// changeable reports whether an open file is one whose changes count.
func changeable(tid int, fd int32) bool {
	return changes(os.Stat(fmt.Sprintf("/proc/%d/fd/%d", tid, fd)))
}

func changes(st os.FileInfo, err error) bool {
	if err != nil {
		return false
	}
	m := st.Mode()
	return m.IsRegular() || m.IsDir() || m&os.ModeDevice != 0 && m&os.ModeCharDevice == 0
}

// pathAt resolves a path as the call will.
func pathAt(tid int, dir int32, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	at := fmt.Sprintf("/proc/%d/cwd", tid)
	if dir != unix.AT_FDCWD {
		at = fmt.Sprintf("/proc/%d/fd/%d", tid, dir)
	}
	base, _ := os.Readlink(at)
	return filepath.Join(base, path)
}

// text reads a string of the command's memory.
func text(tid int, addr uint64) string {
	var s []byte
	var word [8]byte
	for len(s) < unix.PathMax {
		n, err := unix.PtracePeekData(tid, uintptr(addr), word[:])
		if err != nil {
			break
		}
		if before, _, ended := strings.Cut(string(word[:n]), "\x00"); ended {
			return string(s) + before
		}
		s, addr = append(s, word[:n]...), addr+uint64(n)
	}
	return string(s)
}
