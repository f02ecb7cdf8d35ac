// Package cuts runs a command and cuts it at its writes: it stops the command
// at the entry of every system call that changes a file, counted over all of
// its threads, and asks what is to become of that call.
//
//	Go      it acts
//	Kill    the process dies before the call acts: a power cut between two writes
//	Tear    the call writes some of its bytes, and the process dies: a torn write
//	Fail    the call does nothing and returns an error: a bad medium, a full disk
//	Short   the call writes some of its bytes and says so: a disk that fills up
//
// It exists because strace counts and injects per thread, and the Go runtime
// moves a goroutine between threads as it likes. The order of the calls is the
// command's own; that another thread is within a call which was let go, while
// the process is killed, is possible and is what a power cut does as well.
//
// What counts are calls that change the content, the name, the mode, the
// attributes or the existence of a regular file, a directory or a block device,
// and those that flush one. What goes to the standard output and error does not,
// and neither do pipes, sockets and character devices. Processes that the
// command starts are not followed.
//
// It needs Linux 5.3 (PTRACE_GET_SYSCALL_INFO) on amd64 or arm64, and no
// privilege.
package cuts
