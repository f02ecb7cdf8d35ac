package tell

import (
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// HookTime is how long a hook may take if nothing else is said.
const HookTime = 10 * time.Second

// hookEnd is how long somebody outside of its process group may hold its output.
const hookEnd = time.Second

// maxSaid is how much is kept of what a hook said last.
const maxSaid = 200

// A Program is the integrator's, and shows messages in its own way.
type Program struct {
	argv     []string
	timeout  time.Duration
	messages *queue[Message]
	done     chan struct{}
	faults   faults

	mu   sync.Mutex // what is told first is run first
	pace pace
}

// Hook returns a Teller that runs a program for each message, with its
// arguments, and with this environment and no other:
//
//	PATH               /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
//	PLIMSOLL_STATE     a State
//	PLIMSOLL_CODE      E12, or empty
//	PLIMSOLL_ARTIFACT  its name, or empty
//	PLIMSOLL_DETAIL    one line for people, or empty
//	PLIMSOLL_PERCENT   1 to 100, or empty
//
// It runs in /, without input, in a process group of its own, which is killed
// when it ends or when the time-out (0 is HookTime) is over. It does not run
// twice at once: while it runs, of the messages that come the latest waits for it
// and the others are left out. How it ends changes nothing. It is told progress
// as seldom as a Console.
func Hook(argv []string, timeout time.Duration) *Program {
	if timeout <= 0 {
		timeout = HookTime
	}
	p := &Program{argv: argv, timeout: timeout, messages: newQueue[Message](1), done: make(chan struct{})}
	go p.run()
	return p
}

// Tell has the program run.
func (p *Program) Tell(m Message) {
	m = m.clean()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pace.due(m, time.Now()) {
		p.messages.put(m)
	}
}

// Close returns when the program has been told the last message, and what went
// wrong since the beginning. It waits for two runs at most: one that has begun,
// and the last.
func (p *Program) Close() error {
	p.messages.close()
	return errors.Join(finish(p.done, 2*(p.timeout+hookEnd)+hookEnd, "hook"), p.faults.err())
}

func (p *Program) run() {
	defer close(p.done)
	for {
		m, ok := p.messages.next()
		if !ok {
			return
		}
		if err := p.call(m); err != nil {
			p.faults.add(fmt.Errorf("tell hook: %w", err))
		}
	}
}

// call runs the program once.
func (p *Program) call(m Message) error {
	if len(p.argv) == 0 {
		return errors.New("no program is named")
	}
	said := &tail{}
	cmd := exec.Command(p.argv[0], p.argv[1:]...)
	cmd.Dir, cmd.Env, cmd.Stderr = "/", environment(m), said
	// Its own group, but not its own session: whoever looks for orphans among the
	// children of this process knows them by a session that is not its own.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = hookEnd
	if err := cmd.Start(); err != nil {
		return err
	}
	t := time.NewTimer(p.timeout)
	defer t.Stop()
	inTime := true
	select {
	case <-ended(cmd.Process.Pid):
	case <-t.C:
		inTime = false
	}
	// It is not waited for yet, so that the number is still its own.
	killed := unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
	err := cmd.Wait()
	switch {
	case !inTime:
		return errors.Join(fmt.Errorf("%s: killed after %v", p.argv[0], p.timeout), killed)
	case err == nil, errors.Is(err, exec.ErrWaitDelay): // only its output was held on to
		return nil
	}
	return fmt.Errorf("%s: %w: %s", p.argv[0], err, line(string(said.b), maxSaid))
}

// ended returns what is closed when a child has ended. It is not reaped.
func ended(pid int) <-chan struct{} {
	c := make(chan struct{})
	go func() {
		defer close(c)
		for {
			err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
			if !errors.Is(err, unix.EINTR) {
				return
			}
		}
	}()
	return c
}

func environment(m Message) []string {
	percent := ""
	if m.Percent != 0 {
		percent = strconv.Itoa(m.Percent)
	}
	return []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"PLIMSOLL_STATE=" + string(m.State),
		"PLIMSOLL_CODE=" + m.Code.String(),
		"PLIMSOLL_ARTIFACT=" + m.Artifact,
		"PLIMSOLL_DETAIL=" + m.Detail,
		"PLIMSOLL_PERCENT=" + percent,
	}
}

// A tail keeps the end of what is written to it.
type tail struct {
	b []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p[max(0, len(p)-maxSaid):]...)
	t.b = append(t.b[:0], t.b[max(0, len(t.b)-maxSaid):]...)
	return len(p), nil
}
