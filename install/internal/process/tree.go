package process

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A member is one process of a tree.
type member struct {
	pid, parent, group, session int
	state                       byte
	start                       uint64 // in ticks since the boot; with pid, it means one process for ever
	name                        string
}

// readMember returns what /proc says of a process.
func readMember(pid int) (member, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return member{}, err
	}
	return parseMember(pid, b)
}

// parseMember parses a stat file: the number, the name, which is what the
// process likes and therefore ends at the last parenthesis, and then fields,
// of which the first is number 3 of proc(5).
func parseMember(pid int, stat []byte) (member, error) {
	from, to := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	if from < 0 || to < from {
		return member{}, fmt.Errorf("/proc/%d/stat: no name in %.80q", pid, stat)
	}
	f := strings.Fields(string(stat[to+1:]))
	if len(f) < 20 {
		return member{}, fmt.Errorf("/proc/%d/stat: %d fields behind the name, want 20", pid, len(f))
	}
	m := member{pid: pid, state: f[0][0], name: string(stat[from+1 : to])}
	var err error
	for i, to := range []*int{&m.parent, &m.group, &m.session} {
		if *to, err = strconv.Atoi(f[1+i]); err != nil {
			return member{}, fmt.Errorf("/proc/%d/stat: %w", pid, err)
		}
	}
	if m.start, err = strconv.ParseUint(f[19], 10, 64); err != nil {
		return member{}, fmt.Errorf("/proc/%d/stat: %w", pid, err)
	}
	return m, nil
}

// processes returns all there are, by the number of their parent.
func processes() (map[int][]member, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	children := make(map[int][]member)
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if m, err := readMember(pid); err == nil { // it may have ended meanwhile
			children[m.parent] = append(children[m.parent], m)
		}
	}
	return children, nil
}

// adopted returns those children of this process that it got by adoption, and
// those of this package: what is started otherwise is in the session of this
// process, which nobody can enter from outside.
func adopted(children map[int][]member) (found []member) {
	self := os.Getpid()
	session, _ := unix.Getsid(0)
	for _, m := range children[self] {
		if m.session != session {
			found = append(found, m)
		}
	}
	return found
}

// below returns from and all their descendants.
func below(children map[int][]member, from []member) []member {
	all := append([]member(nil), from...)
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i].pid]...)
	}
	return all
}

// reap removes an ended child, and reports whether it was one.
func reap(pid int) bool {
	for {
		got, err := unix.Wait4(pid, nil, unix.WNOHANG, nil)
		if err != unix.EINTR {
			return got == pid
		}
	}
}

// kill kills one process: that one, and not another that got its number.
func (m member) kill() {
	p, err := os.FindProcess(m.pid)
	if err != nil {
		return
	}
	defer p.Release()
	if now, err := readMember(m.pid); err == nil && now.start == m.start {
		_ = p.Kill()
	}
}

// left returns what there is of the program's tree and is not yet reaped. It
// reaps what it can, but never the program itself.
func (p *Process) left() ([]member, error) {
	children, err := processes()
	if err != nil {
		return nil, err
	}
	var tops []member
	for _, m := range adopted(children) {
		if !p.turn.before[m.session] {
			tops = append(tops, m)
		}
	}
	ended := p.hasEnded()
	var left []member
	for _, m := range below(children, tops) {
		own := m.pid == p.pid()
		if own && ended || !own && m.parent == os.Getpid() && m.state == 'Z' && reap(m.pid) {
			continue
		}
		left = append(left, m)
	}
	return left, nil
}

// Which of those that are left.
func (p *Process) anybody(member) bool   { return true }
func (p *Process) inGroup(m member) bool { return m.group == p.pid() }

// signal sends a signal to the group, whose number is the program's as long as
// that is not reaped.
func (p *Process) signal(s unix.Signal) { _ = unix.Kill(-p.pid(), s) }

// terminate asks the group to end, and kills all that has not after the grace.
func (p *Process) terminate() error {
	if p.command.Grace > 0 {
		p.signal(unix.SIGTERM)
		p.signal(unix.SIGCONT) // who is stopped does not hear
		p.grant(p.command.Grace)
	}
	return p.kill(p.anybody)
}

// grant waits for the group to end, but no longer than d.
func (p *Process) grant(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-p.ended:
	case <-timer.C:
		return
	}
	for pause := newPause(); ; {
		left, err := p.left()
		if err != nil || !some(left, p.inGroup) {
			return
		}
		select {
		case <-timer.C:
			return
		case <-pause.next():
		}
	}
}

// killLimit is for how long a process that was killed may go on: it is in the
// kernel, and waits for a device.
const killLimit = 10 * time.Second

// kill kills those of which is true, again and again until there are none: they
// may have children meanwhile.
func (p *Process) kill(which func(member) bool) error {
	deadline := time.Now().Add(killLimit)
	for pause := newPause(); ; <-pause.next() {
		p.signal(unix.SIGKILL)
		all, err := p.left()
		if err != nil {
			return p.blind(err)
		}
		var left []member
		for _, m := range all {
			if which(m) {
				m.kill()
				left = append(left, m)
			}
		}
		if len(left) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("killed and still there: process %d (%s)", left[0].pid, left[0].name)
		}
	}
}

// blind waits for the program itself, where others cannot be seen.
func (p *Process) blind(err error) error {
	select {
	case <-p.ended:
	case <-time.After(killLimit):
	}
	return fmt.Errorf("what it started may still be there: %w", err)
}

func some(all []member, which func(member) bool) bool {
	for _, m := range all {
		if which(m) {
			return true
		}
	}
	return false
}

// A pause is short at first.
type pause struct{ d time.Duration }

func newPause() *pause { return &pause{time.Millisecond} }

func (p *pause) next() <-chan time.Time {
	d := p.d
	p.d = min(2*d, 50*time.Millisecond)
	return time.After(d)
}
