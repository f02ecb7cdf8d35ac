package tell

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// A display is what a light shows by itself: a trigger of the kernel's, or a
// brightness.
type display struct {
	trigger    string
	brightness int // of none
}

func (d display) String() string { return fmt.Sprintf("%s %d\n", d.trigger, d.brightness) }

// parseDisplay reads what String wrote.
func parseDisplay(s string) (display, error) {
	trigger, number, ok := strings.Cut(strings.TrimSuffix(s, "\n"), " ")
	n, err := strconv.Atoi(number)
	if !ok || err != nil || n < 0 || trigger == "" || strings.ContainsFunc(trigger, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return display{}, fmt.Errorf("%.40q is not a trigger and a brightness", s)
	}
	return display{trigger, n}, nil
}

// remember finds out, once, what the light showed before us: from Memory if an
// earlier process was here, or else from the light.
func (l *Light) remember() error {
	if l.before != nil {
		return nil
	}
	d, err := l.recall()
	if err == nil {
		l.before = &d
		return nil
	}
	var lost error
	if !errors.Is(err, fs.ErrNotExist) {
		lost = err
	}
	_, d.trigger, err = l.triggers()
	if err != nil {
		return errors.Join(lost, err)
	}
	if d.brightness, err = l.number("brightness"); err != nil {
		return errors.Join(lost, err)
	}
	l.before = &d
	if l.Memory == "" {
		return lost
	}
	return errors.Join(lost, keep(l.Memory, d.String()))
}

func (l *Light) recall() (display, error) {
	if l.Memory == "" {
		return display{}, fs.ErrNotExist
	}
	b, err := os.ReadFile(l.Memory)
	if err != nil {
		return display{}, err
	}
	d, err := parseDisplay(string(b))
	if err != nil {
		return d, fmt.Errorf("%s: %w", l.Memory, err)
	}
	return d, nil
}

// keep writes a small file whole or not at all.
func keep(path, text string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", []byte(text), 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// restore gives the light back. Without anything that was shown before there is
// nothing to do.
func (l *Light) restore() error {
	if l.before == nil {
		d, err := l.recall()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reset: %w", err)
		}
		l.before = &d
	}
	l.shown, l.soft = signal{}, nil
	if err := l.giveBack(*l.before); err != nil {
		return fmt.Errorf("reset: %w", err)
	}
	l.before = nil
	if l.Memory == "" {
		return nil
	}
	if err := os.Remove(l.Memory); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("reset: %w", err)
	}
	return nil
}

func (l *Light) giveBack(d display) error {
	if d.trigger != none {
		return l.put("trigger", d.trigger)
	}
	if err := l.untrigger(); err != nil {
		return err
	}
	return l.put("brightness", strconv.Itoa(d.brightness))
}
