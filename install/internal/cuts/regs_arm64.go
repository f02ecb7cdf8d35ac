package cuts

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// older is empty: arm64 began after the calls without a directory.
var older map[uint64]rule

// Register sets (linux/elf.h).
const (
	ntPrstatus      = 1
	ntArmSystemCall = 0x404
)

// setArgument changes an argument of the call that tid is about to make.
func setArgument(tid, index int, value uint64) error {
	return change(tid, func(r *unix.PtraceRegsArm64) { r.Regs[index] = value })
}

// skipCall makes the call that tid is about to make none at all.
func skipCall(tid int) error {
	none := int32(-1)
	iov := unix.Iovec{Base: (*byte)(unsafe.Pointer(&none))}
	iov.SetLen(int(unsafe.Sizeof(none)))
	return ptrace(unix.PTRACE_SETREGSET, tid, ntArmSystemCall, unsafe.Pointer(&iov))
}

// setResult changes what the call that tid has made returns.
func setResult(tid int, value int64) error {
	return change(tid, func(r *unix.PtraceRegsArm64) { r.Regs[0] = uint64(value) })
}

func change(tid int, f func(*unix.PtraceRegsArm64)) error {
	var r unix.PtraceRegsArm64
	if err := unix.PtraceGetRegSetArm64(tid, ntPrstatus, &r); err != nil {
		return err
	}
	f(&r)
	return unix.PtraceSetRegSetArm64(tid, ntPrstatus, &r)
}
