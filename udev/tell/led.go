package tell

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Light is one light of the kernel's LED class.
//
// It is left to the kernel wherever that can blink by itself: slow and fast by
// the trigger timer (ledtrig-timer), or else pattern; codes by the trigger
// pattern (ledtrig-pattern). Such a light goes on after Close, and after this
// process has ended in whatever way, until somebody says something else. Where a
// trigger is missing this process blinks, and Close leaves the light dark, since
// a steady one would say that all is well. Reading the list of triggers does not
// load their modules: load them before.
//
// A light that is not there, or cannot be written, is tried again at the next
// Tell.
type Light struct {
	// Memory is a file in which is kept what the light showed before the
	// first Tell, so that another process can Reset it; it must not outlive
	// the boot: /run/plimsoll/led. "" is for this process only. It is set
	// before the first Tell.
	Memory string

	dir    string
	orders *queue[order]
	done   chan struct{}
	faults faults
	write  func(path, text string) error // of a file in dir

	// Of the goroutine alone:
	shown  signal    // zero if it is not certain what the light shows
	soft   []step    // what this process blinks, if it must
	at     int       // in soft
	due    time.Time // of the next step
	before *display  // what was shown before us, once known
}

// An order is what the light is to do next.
type order struct {
	show  signal
	reset bool
}

// closeTime is how long Close waits for what is quick by nature.
const closeTime = 3 * time.Second

// LED returns the light of a folder of the kernel's: /sys/class/leds/NAME.
func LED(dir string) *Light {
	l := &Light{dir: dir, orders: newQueue[order](1), done: make(chan struct{}), write: writeFile}
	go l.run()
	return l
}

// Tell shows a message. What is shown already goes on without a break.
func (l *Light) Tell(m Message) { l.orders.put(order{show: m.signal()}) }

// Reset gives the light back to what it showed before the first Tell: to its
// trigger, or else to its brightness. It is for when the business with a stick is
// over and the stick was pulled; Close does not do it, since a technician may
// look at the light long after this process has ended.
func (l *Light) Reset() { l.orders.put(order{reset: true}) }

// Close returns when the light shows what was told last, after three seconds at
// most, and what went wrong since the beginning.
func (l *Light) Close() error {
	l.orders.close()
	return errors.Join(finish(l.done, closeTime, l.dir), l.faults.err())
}

func (l *Light) run() {
	defer close(l.done)
	for {
		switch o, ok, over := l.orders.take(); {
		case ok:
			l.note(l.obey(o))
		case over:
			l.note(l.leave())
			return
		default:
			l.wait()
		}
	}
}

// wait returns when there may be an order. Until then this process blinks, if it
// must.
func (l *Light) wait() {
	if len(l.soft) == 0 {
		<-l.orders.wake
		return
	}
	t := time.NewTimer(time.Until(l.due))
	defer t.Stop()
	select {
	case <-l.orders.wake:
	case <-t.C:
		l.note(l.blink())
	}
}

// blink goes on to the next step.
func (l *Light) blink() error {
	l.at = (l.at + 1) % len(l.soft)
	l.due = time.Now().Add(l.soft[l.at].lasts)
	return l.lit(l.soft[l.at].on)
}

func (l *Light) obey(o order) error {
	switch {
	case o.reset:
		return l.restore()
	case o.show == l.shown:
		return nil
	}
	l.shown, l.soft = signal{}, nil
	if err := l.show(o.show); err != nil {
		return fmt.Errorf("show %s: %w", o.show.pattern, err)
	}
	l.shown = o.show
	return nil
}

// show makes the light show a signal: by the kernel, or else by this process.
func (l *Light) show(s signal) error {
	l.note(l.remember())
	if s.pattern == Steady {
		return l.lit(true)
	}
	names, _, err := l.triggers()
	if err != nil {
		return err
	}
	if s.pattern != Blinks && slices.Contains(names, "timer") && l.took(l.byTimer(s)) {
		return nil
	}
	if slices.Contains(names, "pattern") && l.took(l.byPattern(s)) {
		return nil
	}
	l.soft, l.at = s.steps(), -1
	return l.blink()
}

// took tells whether the kernel took it. If not, the reason is kept and somebody
// else blinks.
func (l *Light) took(err error) bool {
	l.note(err)
	return err == nil
}

// byTimer lights it first: the timer blinks as brightly as the light was.
func (l *Light) byTimer(s signal) error {
	if err := l.lit(true); err != nil {
		return err
	}
	half := strconv.FormatInt(s.steps()[0].lasts.Milliseconds(), 10)
	for _, w := range [][2]string{{"trigger", "timer"}, {"delay_on", half}, {"delay_off", half}} {
		if err := l.put(w[0], w[1]); err != nil {
			return err
		}
	}
	return nil
}

func (l *Light) byPattern(s signal) error {
	most, err := l.number("max_brightness")
	if err != nil {
		return err
	}
	for _, w := range [][2]string{{"trigger", "pattern"}, {"repeat", "-1"}, {"pattern", kernelPattern(s.steps(), most)}} {
		if err := l.put(w[0], w[1]); err != nil {
			return err
		}
	}
	return nil
}

// lit takes the light away from any trigger, and switches it on or off.
func (l *Light) lit(on bool) error {
	brightness := 0
	if on {
		var err error
		if brightness, err = l.number("max_brightness"); err != nil {
			return err
		}
	}
	if err := l.untrigger(); err != nil {
		return err
	}
	return l.put("brightness", strconv.Itoa(brightness))
}

// untrigger leaves a light alone that has no trigger: the write of one would
// switch it off for a moment.
func (l *Light) untrigger() error {
	_, now, err := l.triggers()
	if err != nil || now == none {
		return err
	}
	return l.put("trigger", none)
}

// leave is what this process does last. What it blinked itself becomes dark.
func (l *Light) leave() error {
	if len(l.soft) == 0 {
		return nil
	}
	return l.lit(false)
}

func (l *Light) note(err error) {
	if err != nil {
		l.faults.add(fmt.Errorf("tell %s: %w", l.dir, err))
	}
}

func (l *Light) put(name, text string) error {
	if err := l.write(filepath.Join(l.dir, name), text); err != nil {
		return fmt.Errorf("write %q: %w", text, err)
	}
	return nil
}

func (l *Light) number(name string) (int, error) {
	b, err := os.ReadFile(filepath.Join(l.dir, name))
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%s: %q is no brightness", name, b)
	}
	return n, nil
}

// none is the trigger of a light that has none.
const none = "none"

// triggers returns what the kernel could let blink this light, and what does so
// now. A kernel without triggers has no such file.
func (l *Light) triggers() (names []string, now string, err error) {
	b, err := os.ReadFile(filepath.Join(l.dir, "trigger"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, none, nil
	}
	if err != nil {
		return nil, "", err
	}
	names, now = parseTriggers(string(b))
	return names, now, nil
}

// parseTriggers reads what the kernel says: none [timer] pattern.
func parseTriggers(s string) (names []string, now string) {
	now = none
	for _, name := range strings.Fields(s) {
		if in, ok := strings.CutPrefix(name, "["); ok {
			name = strings.TrimSuffix(in, "]")
			now = name
		}
		names = append(names, name)
	}
	return names, now
}

// writeFile writes an attribute: in one write, and nothing is created.
func writeFile(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}
