package cuts

import "golang.org/x/sys/unix"

// older are the calls that take a path without a directory.
var older = map[uint64]rule{
	unix.SYS_CREAT:   {"creat", byPath, 0, 0, 0},
	unix.SYS_RENAME:  {"rename", byPath, 1, 0, 0},
	unix.SYS_UNLINK:  {"unlink", byPath, 0, 0, 0},
	unix.SYS_LINK:    {"link", byPath, 1, 0, 0},
	unix.SYS_SYMLINK: {"symlink", byPath, 1, 0, 0},
	unix.SYS_MKDIR:   {"mkdir", byPath, 0, 0, 0},
	unix.SYS_RMDIR:   {"rmdir", byPath, 0, 0, 0},
	unix.SYS_CHMOD:   {"chmod", byPath, 0, 0, 0},
}

// setArgument changes an argument of the call that tid is about to make. Only
// lengths are changed: the third and the fourth.
func setArgument(tid, index int, value uint64) error {
	return change(tid, func(r *unix.PtraceRegs) {
		switch index {
		case 2:
			r.Rdx = value
		case 3:
			r.R10 = value
		case 4:
			r.R8 = value
		}
	})
}

// skipCall makes the call that tid is about to make none at all.
func skipCall(tid int) error {
	return change(tid, func(r *unix.PtraceRegs) { r.Orig_rax = ^uint64(0) })
}

// setResult changes what the call that tid has made returns.
func setResult(tid int, value int64) error {
	return change(tid, func(r *unix.PtraceRegs) { r.Rax = uint64(value) })
}

func change(tid int, f func(*unix.PtraceRegs)) error {
	var r unix.PtraceRegs
	if err := unix.PtraceGetRegs(tid, &r); err != nil {
		return err
	}
	f(&r)
	return unix.PtraceSetRegs(tid, &r)
}
