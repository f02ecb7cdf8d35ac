package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// A bench is one run of this program.
type bench struct {
	options
	ctx    context.Context
	kept   string // what is made once for this image
	work   string // what is made anew
	root   string // the peers' root file system
	slot   *slot
	device device
	size   int64 // the image's
	sum    string
	load   string              // how busy the machine was
	anew   map[string]struct{} // what takes minutes and was measured in this run
}

// patience is after how long a contender is not run once more.
const patience = 2 * time.Minute

func run(ctx context.Context, o options) (err error) {
	b := &bench{options: o, ctx: ctx, anew: make(map[string]struct{})}
	if err := b.begin(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.end()) }()
	rows := chosen(b.rows(), o.jobs)
	figures, err := b.measure(needed(rows))
	if err != nil {
		return err
	}
	r, err := b.report(rows, figures)
	if err != nil {
		return err
	}
	fmt.Print(r)
	if o.output != "" {
		if err := os.WriteFile(o.output, []byte(r), 0o644); err != nil {
			return err
		}
	}
	for name, f := range figures {
		if f.err != nil && !errors.Is(f.err, errLong) {
			err = errors.Join(err, fmt.Errorf("%s: %w", name, f.err))
		}
	}
	return err
}

// begin makes what every job needs.
func (b *bench) begin() (err error) {
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return err
	}
	b.load, _, _ = strings.Cut(string(load), " ")
	if b.size, b.sum, err = fingerprint(b.image); err != nil {
		return err
	}
	b.kept = filepath.Join(b.cache, b.sum[:16])
	if err := os.MkdirAll(b.kept, 0o755); err != nil {
		return err
	}
	if b.work, err = os.MkdirTemp(b.cache, "work"); err != nil {
		return err
	}
	for _, f := range []func() error{b.makeSlot, b.makeRoot, b.makeKeys, b.makeDevice} {
		if err := f(); err != nil {
			return errors.Join(err, b.end())
		}
	}
	return nil
}

func (b *bench) makeSlot() (err error) {
	file, err := os.CreateTemp(b.slotDir, "slot")
	if err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	if b.slot, err = newSlot(file.Name(), b.size); err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return nil
}

func (b *bench) end() error {
	var err error
	if b.root != "" {
		for _, m := range slices.Backward(b.mounts()) {
			if e := syscall.Unmount(m, syscall.MNT_DETACH); e != nil && !errors.Is(e, syscall.EINVAL) && !errors.Is(e, syscall.ENOENT) {
				err = errors.Join(err, fmt.Errorf("unmount %s: %w", m, e))
			}
		}
	}
	if b.slot != nil {
		err = errors.Join(err, b.slot.close())
	}
	if err != nil {
		return err // rather leave a folder behind than look into what is still mounted
	}
	return os.RemoveAll(b.work)
}

// measure lets the contenders take turns.
func (b *bench) measure(names []string) (map[string]*figure, error) {
	figures := make(map[string]*figure)
	all := b.contenders()
	for round := range b.rounds {
		for _, name := range names {
			i := slices.IndexFunc(all, func(c contender) bool { return c.name == name })
			if i < 0 {
				panic("bench: no contender " + name)
			}
			f := figures[name]
			if f == nil {
				f = &figure{note: all[i].note}
				figures[name] = f
			}
			if f.err != nil || round > 0 && (all[i].once || f.spent() > patience) {
				continue
			}
			s, err := b.one(all[i])
			if b.ctx.Err() != nil {
				return nil, context.Cause(b.ctx)
			}
			if err != nil {
				f.err = err
				first, _, _ := strings.Cut(err.Error(), "\n") // the rest is told at the end
				fmt.Fprintf(os.Stderr, "%d  %-44s %s\n", round+1, name, first)
				continue
			}
			f.samples = append(f.samples, s)
			if _, anew := b.anew[name]; all[i].long && !anew {
				f.note = "kept from an earlier run"
			}
			fmt.Fprintf(os.Stderr, "%d  %-44s %8.3f s\n", round+1, name, s.Wall.Seconds())
		}
	}
	return figures, nil
}

func (f figure) spent() (d time.Duration) {
	for _, s := range f.samples {
		d += s.Wall
	}
	return d
}

// one runs a contender once, and counts what the slot was told to write.
func (b *bench) one(c contender) (sample, error) {
	if c.long {
		return b.remembered(c)
	}
	return b.once(c)
}

func (b *bench) once(c contender) (sample, error) {
	if c.before != nil {
		if err := c.before(); err != nil {
			return sample{}, err
		}
	}
	was, err := b.slot.written()
	if err != nil {
		return sample{}, err
	}
	s, err := c.run()
	if err != nil {
		return s, err
	}
	is, err := b.slot.written()
	if err != nil {
		return s, err
	}
	s.Written = is - was
	if c.after != nil {
		err = c.after()
	}
	return s, err
}

// errLong is why a figure is missing that takes minutes.
var errLong = errors.New("not measured; BENCH_LONG=1 does")

// remembered returns the sample of a contender that takes minutes. It is
// measured only when asked for, and kept for as long as the image and the
// program stay as they are.
func (b *bench) remembered(c contender) (s sample, err error) {
	name := filepath.Join(b.kept, strings.ReplaceAll(c.name, " ", "-")+"-"+c.version+".json")
	if _, anew := b.anew[c.name]; anew || !b.long {
		j, err := os.ReadFile(name)
		if err != nil {
			return s, errLong
		}
		err = json.Unmarshal(j, &s)
		return s, err
	}
	if s, err = b.once(c); err != nil {
		return s, err
	}
	b.anew[c.name] = struct{}{}
	j, err := json.Marshal(s)
	if err != nil {
		return s, err
	}
	return s, os.WriteFile(name, j, 0o644)
}

// make returns where a file is that is made at most once, by f.
func (b *bench) make(dir, name string, f func(path string) error) (string, error) {
	path := filepath.Join(dir, name)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	fmt.Fprintln(os.Stderr, "   making", name)
	if err := f(path + ".part"); err != nil {
		return "", fmt.Errorf("make %s: %w", name, err)
	}
	return path, os.Rename(path+".part", path)
}

// A command is one to be timed.
type command struct {
	args []string
	line func(string) // told each line of standard output as it comes
}

// timed runs a command under GNU time, which is small: what a process held
// before its exec would count as its peak.
func (b *bench) timed(c command) (s sample, err error) {
	took := filepath.Join(b.work, "took")
	args := append([]string{"-q", "-o", took, "-f", "%U %S %M"}, c.args...)
	var out, said bytes.Buffer
	cmd := b.command("/usr/bin/time", args...)
	cmd.Stdout, cmd.Stderr = &out, &said
	if c.line != nil {
		cmd.Stdout = &lines{f: c.line, all: &out}
	}
	begun := time.Now()
	err = cmd.Run()
	s.Wall = time.Since(begun)
	if err != nil {
		return s, fmt.Errorf("%s: %w\n%s", strings.Join(c.args, " "), err, tail(out.String()+said.String()))
	}
	text, err := os.ReadFile(took)
	if err != nil {
		return s, err
	}
	var user, system float64
	if _, err := fmt.Sscan(string(text), &user, &system, &s.Peak); err != nil {
		return s, fmt.Errorf("time: %q: %w", text, err)
	}
	s.CPU, s.Peak = time.Duration((user+system)*float64(time.Second)), s.Peak<<10
	return s, nil
}

// lines hands on lines.
type lines struct {
	f    func(string)
	rest []byte
	all  io.Writer
}

func (l *lines) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	for {
		line, rest, ok := bytes.Cut(l.rest, []byte("\n"))
		if !ok {
			break
		}
		l.f(string(line))
		l.rest = rest
	}
	return l.all.Write(p)
}

func tail(s string) string {
	if len(s) > 2000 {
		s = "…" + s[len(s)-2000:]
	}
	return strings.TrimSpace(s)
}

// command is one that ends, with all that it started, when this program does.
func (b *bench) command(name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(b.ctx, name, args...)
	cmd.Dir = b.work
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // a stopped one hears nothing else
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// do runs a command that is not timed.
func (b *bench) do(name string, args ...string) error {
	out, err := b.command(name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, tail(string(out)))
	}
	return nil
}

// warm reads a file, so that reading it is no part of what is measured.
func warm(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(io.Discard, f)
	return err
}

func fingerprint(path string) (int64, string, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, "", err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	return n, hex.EncodeToString(h.Sum(nil)), err
}
