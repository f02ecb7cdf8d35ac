//go:build lights

package tell

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// These tests are of the kernel's own lights. cmd/plimsoll/boards runs them on
// an emulated board, which has uinput: a keyboard made here has a light of its
// own, and what the kernel does to that is read back, with its times.

// A keyboard is one that was made by software, with one light.
type keyboard struct {
	dir    string // of the light
	file   *os.File
	events chan event
}

// An event is the light going on or off.
type event struct {
	on bool
	at time.Duration // of the kernel's clock
}

// Of linux/uinput.h and linux/input-event-codes.h.
const (
	uiSetEvBit  = 0x40045564
	uiSetLEDBit = 0x40045569
	uiDevCreate = 0x5501
	evLED       = 0x11
	ledCapsLock = 0x01
	userDevSize = 80 + 8 + 4 + 4*64*4 // struct uinput_user_dev, which begins with the name
	eventSize   = 24                  // struct input_event where a long has 64 bits
)

func newKeyboard(t *testing.T) *keyboard {
	t.Helper()
	before := lights(t)
	f, err := os.OpenFile("/dev/uinput", os.O_RDWR|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	fd := int(f.Fd())
	for _, bit := range [][2]int{{uiSetEvBit, evLED}, {uiSetLEDBit, ledCapsLock}} {
		if err := unix.IoctlSetInt(fd, uint(bit[0]), bit[1]); err != nil {
			t.Fatal(err)
		}
	}
	dev := make([]byte, userDevSize)
	copy(dev, "plimsoll's test")
	if _, err := f.Write(dev); err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetInt(fd, uiDevCreate, 0); err != nil {
		t.Fatal(err)
	}
	k := &keyboard{file: f, events: make(chan event, 1000)}
	waitUntil(t, func() bool {
		for name := range lights(t) {
			if !before[name] {
				k.dir = name
			}
		}
		return k.dir != ""
	})
	go k.listen()
	return k
}

func lights(t *testing.T) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	names, err := filepath.Glob("/sys/class/leds/*::capslock")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		all[name] = true
	}
	return all
}

func (k *keyboard) listen() {
	b := make([]byte, eventSize)
	for {
		if _, err := io.ReadFull(k.file, b); err != nil {
			close(k.events)
			return
		}
		if binary.NativeEndian.Uint16(b[16:]) != evLED {
			continue
		}
		at := time.Duration(binary.NativeEndian.Uint64(b))*time.Second + time.Duration(binary.NativeEndian.Uint64(b[8:]))*time.Microsecond
		k.events <- event{binary.NativeEndian.Uint32(b[20:]) != 0, at}
	}
}

// watch returns what the light does for a time, as steps; what was on or off
// when it began or ended is left out.
func (k *keyboard) watch(t *testing.T, d time.Duration) (all []step) {
	t.Helper()
	for len(k.events) > 0 {
		<-k.events
	}
	end := time.After(d)
	var last *event
	for {
		select {
		case e, ok := <-k.events:
			if !ok {
				t.Fatal("the keyboard is gone")
			}
			if last != nil {
				all = append(all, step{last.on, e.at - last.at})
			}
			last = &e
		case <-end:
			return all
		}
	}
}

func (k *keyboard) read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(k.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

func (k *keyboard) trigger(t *testing.T) string {
	t.Helper()
	_, now := parseTriggers(k.read(t, "trigger"))
	return now
}

// tell tells one message in a process of its own, as far as the light can see.
func (k *keyboard) tell(t *testing.T, m Message) {
	t.Helper()
	l := LED(k.dir)
	l.Memory = filepath.Join(os.TempDir(), "plimsoll-lights")
	l.Tell(m)
	if err := l.Close(); err != nil {
		t.Errorf("%v: %v", m, err)
	}
}

// What a technician takes for a pause, and for the long one. An emulated board's
// timers are late, and so are the kernel's, by an eighth of what is long.
const (
	pauseFrom = 900 * time.Millisecond
	gapFrom   = 2250 * time.Millisecond
)

// expect tells whether a technician would see the signal in what was seen.
func expect(t *testing.T, s signal, seen []step) {
	t.Helper()
	switch s.pattern {
	case Blinks:
		// One of them, since a board that is emulated stands still at times.
		if codes := counted(seen); !slices.Contains(codes, s.code) {
			t.Errorf("%v: counted %v in %v", s.code, codes, seen)
		}
	default:
		var all time.Duration
		for _, st := range seen[min(1, len(seen)):] { // setting the light cuts the first one short
			all += st.lasts
		}
		half, n := s.steps()[0].lasts, time.Duration(len(seen)-1)
		if len(seen) < 4 || all/n < half*9/10 || all/n > half*3 {
			t.Errorf("%s: seen %v", s.pattern, seen)
		}
	}
}

// counted returns the codes that lie between two long pauses.
func counted(seen []step) (codes []Code) {
	digits := []int(nil) // of a code that was seen from its beginning
	for _, st := range seen {
		switch {
		case !st.on && st.lasts >= gapFrom:
			if len(digits) == 2 {
				codes = append(codes, Code(10*digits[0]+digits[1]))
			} else if digits != nil {
				codes = append(codes, -1)
			}
			digits = []int{0}
		case digits == nil:
		case !st.on && st.lasts >= pauseFrom:
			digits = append(digits, 0)
		case st.on:
			digits[len(digits)-1]++
		}
	}
	return codes
}

// watchTime is long enough to see what is to be seen once from its beginning to
// its end: of a code, from one long pause to the next but one.
var watchTime = map[Pattern]time.Duration{Slow: 8 * time.Second, Fast: 3 * time.Second, Blinks: 17 * time.Second}

// TestLightsOfTheKernel needs the triggers timer and pattern.
func TestLightsOfTheKernel(t *testing.T) {
	k := newKeyboard(t)
	first := k.trigger(t)
	t.Logf("%s: trigger %s, max_brightness %s", k.dir, first, k.read(t, "max_brightness"))
	for _, m := range []Message{
		{State: Working},
		{State: Waiting},
		{State: Failed, Code: WrongType},
		{State: Testing},
	} {
		k.tell(t, m)
		want := map[Pattern]string{Slow: "timer", Fast: "timer", Blinks: "pattern"}[m.State.pattern()]
		if got := k.trigger(t); got != want {
			t.Errorf("%v: trigger %s, want %s", m, got, want)
		}
		s := m.signal()
		seen := k.watch(t, watchTime[s.pattern])
		t.Logf("%v: %v", m, seen)
		expect(t, s, seen)
	}
	k.tell(t, Message{State: Updated})
	if seen := k.watch(t, 3*time.Second); len(seen) > 0 || k.read(t, "brightness") != "1" || k.trigger(t) != none {
		t.Errorf("steady: %v, brightness %s, trigger %s", seen, k.read(t, "brightness"), k.trigger(t))
	}
	l := LED(k.dir)
	l.Memory = filepath.Join(os.TempDir(), "plimsoll-lights")
	l.Reset()
	if err := l.Close(); err != nil || k.trigger(t) != first {
		t.Errorf("reset: %v, trigger %s, want %s", err, k.trigger(t), first)
	}
}

// TestLightsBySoftware needs a kernel without these triggers.
func TestLightsBySoftware(t *testing.T) {
	k := newKeyboard(t)
	if list := k.read(t, "trigger"); strings.Contains(list, "timer") || strings.Contains(list, "pattern") {
		t.Fatalf("they are loaded: %s", list)
	}
	l := LED(k.dir)
	for _, m := range []Message{{State: Working}, {State: Failed, Code: WrongType}} {
		l.Tell(m)
		seen := k.watch(t, watchTime[m.signal().pattern])
		t.Logf("%v: %v", m, seen)
		expect(t, m.signal(), seen)
	}
	if err := l.Close(); err != nil || k.read(t, "brightness") != "0" {
		t.Errorf("left with brightness %s, %v", k.read(t, "brightness"), err)
	}
}

func (s step) String() string {
	on := "-"
	if s.on {
		on = "+"
	}
	return fmt.Sprintf("%s%d", on, s.lasts.Milliseconds())
}
