package tell

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// all are the triggers of a kernel that has what is wanted.
var all = []string{"none", "mmc0", "heartbeat", "timer", "pattern", "oneshot"}

// show tells a message and waits until the light shows it.
func show(t *testing.T, k *fakeLED, m Message) []string {
	t.Helper()
	l := k.light()
	l.Tell(m)
	if err := l.Close(); err != nil {
		t.Errorf("%v: %v", m, err)
	}
	return k.log()
}

func TestByTheKernel(t *testing.T) {
	for _, c := range []struct {
		name string
		m    Message
		want []string
		// what goes on when this process has ended
		trigger, on, off, pattern, brightness string
	}{
		{"steady", Message{State: Updated}, []string{"brightness 9"}, "none", "", "", "", "9"},
		{"fast", Message{State: Working}, []string{"brightness 9", "trigger timer", "delay_on 125", "delay_off 125"}, "timer", "125", "125", "", "0"},
		{"slow", Message{State: Waiting}, []string{"brightness 9", "trigger timer", "delay_on 1000", "delay_off 1000"}, "timer", "1000", "1000", "", "0"},
		{"code", Message{State: Failed, Code: Unsigned},
			[]string{"trigger pattern", "repeat -1", "pattern 0 3000 0 0 9 300 9 0 0 1500 0 0 9 300 9 0"},
			"pattern", "", "", "0 3000 0 0 9 300 9 0 0 1500 0 0 9 300 9 0", "0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := newLED(t, 9, 0, all...)
			if d := cmp.Diff(c.want, show(t, k, c.m)); d != "" {
				t.Errorf("written (-want +got):\n%s", d)
			}
			if k.now != c.trigger || k.read("brightness") != c.brightness {
				t.Errorf("trigger %s, brightness %s", k.now, k.read("brightness"))
			}
			if c.on != "" && (k.read("delay_on") != c.on || k.read("delay_off") != c.off) {
				t.Errorf("on %s, off %s", k.read("delay_on"), k.read("delay_off"))
			}
			if c.pattern != "" && (k.read("pattern") != c.pattern || k.read("repeat") != "-1") {
				t.Errorf("pattern %s, repeat %s", k.read("pattern"), k.read("repeat"))
			}
		})
	}
}

// TestFromAnyToAny: what was shown before leaves nothing behind.
func TestFromAnyToAny(t *testing.T) {
	each := []State{Updated, Waiting, Working, Failed}
	for _, from := range each {
		for _, to := range each {
			k := newLED(t, 1, 1, all...)
			show(t, k, Message{State: from, Code: NTFS})
			show(t, k, Message{State: to, Code: Older})
			want := map[Pattern]string{Steady: none, Slow: "timer", Fast: "timer", Blinks: "pattern"}[to.pattern()]
			if k.now != want || to.pattern() == Steady && k.read("brightness") != "1" {
				t.Errorf("from %s to %s: trigger %s, brightness %s", from, to, k.now, k.read("brightness"))
			}
		}
	}
}

// TestNoBreak: what is told again, and what looks the same, does not start the
// blinking anew.
func TestNoBreak(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newLED(t, 1, 0, all...)
		l := k.light()
		l.Tell(Message{State: Working, Percent: 1})
		settle()
		k.log()
		for i := range 100 {
			l.Tell(Message{State: Working, Percent: i})
			settle()
		}
		l.Tell(Message{State: Testing})
		settle()
		if w := k.log(); len(w) != 0 {
			t.Errorf("written again: %q", w)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
}

// settle lets the goroutines do what they have to do now.
func settle() { time.Sleep(time.Microsecond); synctest.Wait() }

// TestBySoftware: a kernel that cannot blink has this process do it.
func TestBySoftware(t *testing.T) {
	const us = time.Microsecond
	for _, c := range []struct {
		name     string
		triggers []string
		m        Message
		runs     time.Duration
		want     []string
	}{
		{"fast without timer and pattern", []string{"none", "heartbeat"}, Message{State: Working}, 400 * time.Millisecond,
			[]string{"0s 5", "125ms 0", "250ms 5", "375ms 0", "400.001ms 0"}},
		{"slow without any trigger", nil, Message{State: Waiting}, 2100 * time.Millisecond,
			[]string{"0s 5", "1s 0", "2s 5", "2.100001s 0"}},
		{"code without pattern", []string{"none", "timer"}, Message{State: Failed, Code: ExFAT}, 14 * time.Second,
			[]string{"0s 0", "3s 5", "3.3s 0", "3.6s 5", "3.9s 0", "4.2s 5", "4.5s 0", "6s 5", "6.3s 0", "6.6s 5", "6.9s 0", // 3, 2
				"9.9s 5", "10.2s 0", "10.5s 5", "10.8s 0", "11.1s 5", "11.4s 0", "12.9s 5", "13.2s 0", "13.5s 5", "13.8s 0", "14.000001s 0"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newLED(t, 5, 0, c.triggers...)
				l := k.light()
				l.Tell(c.m)
				time.Sleep(c.runs + us)
				l.Tell(c.m) // which does not disturb it
				synctest.Wait()
				if err := l.Close(); err != nil {
					t.Error(err)
				}
				got := k.blinks()
				// A code begins dark, and where one round ends the next is dark already.
				if d := cmp.Diff(c.want, changes(got)); d != "" {
					t.Errorf("(-want +got):\n%s", d)
				}
				time.Sleep(time.Minute)
				if late := k.blinks(); len(late) != 0 {
					t.Errorf("after Close: %q", late)
				}
			})
		})
	}
}

// changes leaves out what sets the brightness that is set already, but for the
// first and the last.
func changes(all []string) (kept []string) {
	level := ""
	for i, s := range all {
		_, now, _ := strings.Cut(s, " ")
		if now != level || i == len(all)-1 {
			kept = append(kept, s)
		}
		level = now
	}
	return kept
}

// TestPatternForTimer: one trigger can stand in for the other.
func TestPatternForTimer(t *testing.T) {
	k := newLED(t, 3, 0, "none", "pattern")
	want := []string{"trigger pattern", "repeat -1", "pattern 3 1000 3 0 0 1000 0 0"}
	if d := cmp.Diff(want, show(t, k, Message{State: Waiting})); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// TestBrokenTrigger: what the kernel lists and then refuses is told, and
// somebody else blinks.
func TestBrokenTrigger(t *testing.T) {
	for _, broken := range []string{"trigger timer", "delay_on", "delay_off"} {
		t.Run(broken, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newLED(t, 1, 0, all...)
				k.broken[broken] = syscall.EIO
				l := k.light()
				l.Tell(Message{State: Working})
				settle()
				if k.now != "pattern" || k.read("pattern") != "1 125 1 0 0 125 0 0" {
					t.Errorf("trigger %s, pattern %s", k.now, k.read("pattern"))
				}
				k.broken["repeat"] = syscall.EACCES
				l.Tell(Message{State: Failed, Code: Unsigned})
				settle()
				k.blinks()
				time.Sleep(3 * time.Second)
				synctest.Wait()
				if got := k.blinks(); k.now != none || len(got) != 1 || !strings.HasSuffix(got[0], " 1") {
					t.Errorf("trigger %s, by software %q", k.now, got)
				}
				if err := l.Close(); !errors.Is(err, syscall.EIO) || !errors.Is(err, syscall.EACCES) {
					t.Errorf("Close said %v", err)
				}
				if k.now != none || k.read("brightness") != "0" {
					t.Errorf("left with %s, %s: a light that nobody blinks must be dark", k.now, k.read("brightness"))
				}
			})
		})
	}
}

// TestUnwritableLight: it is told, and tried again.
func TestUnwritableLight(t *testing.T) {
	for _, attribute := range []string{"brightness", "trigger", "max_brightness", ""} {
		t.Run(attribute, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newLED(t, 1, 0, "mmc0", "none", "timer", "pattern")
				path := filepath.Join(k.dir, attribute)
				if attribute == "max_brightness" || attribute == "" {
					rename(t, path, k.dir+"-away")
				} else {
					k.broken[attribute] = syscall.EACCES
				}
				l := k.light()
				l.Tell(Message{State: Updated})
				settle()
				if attribute == "max_brightness" || attribute == "" {
					rename(t, k.dir+"-away", path)
				} else {
					delete(k.broken, attribute)
				}
				l.Tell(Message{State: Updated})
				settle()
				if k.now != none || k.read("brightness") != "1" {
					t.Errorf("not tried again: %s, %s", k.now, k.read("brightness"))
				}
				err := l.Close()
				if !errors.Is(err, syscall.EACCES) && !errors.Is(err, syscall.ENOENT) || !strings.Contains(fmt.Sprint(err), "tell "+k.dir) {
					t.Errorf("Close said %v", err)
				}
			})
		})
	}
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

// TestReadOnly is a light that this process may not write at all.
func TestReadOnly(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"brightness", "trigger", "max_brightness"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil { // neither read nor written, not even by root
			t.Fatal(err)
		}
	}
	l := LED(dir)
	l.Tell(Message{State: Working})
	if err := l.Close(); !errors.Is(err, syscall.EISDIR) {
		t.Errorf("Close said %v", err)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 3 {
		t.Errorf("%d files in %s, %v", len(files), dir, err)
	}
}

// TestWriteFile: an attribute is written at once, and none is ever created.
func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	if err := writeFile(filepath.Join(dir, "brightness"), "1"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	path := filepath.Join(dir, "trigger")
	if err := os.WriteFile(path, []byte("none [timer] pattern"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := writeFile(path, "none"); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(path); string(b) != "none" {
		t.Errorf("have %q, %v", b, err)
	}
}

// TestReset gives the light back, in this process or in another.
func TestReset(t *testing.T) {
	for _, c := range []struct{ trigger, brightness string }{{"mmc0", "0"}, {"none", "3"}, {"none", "0"}, {"heartbeat", "0"}} {
		for _, other := range []bool{false, true} {
			t.Run(fmt.Sprint(c.trigger, " ", c.brightness, " ", other), func(t *testing.T) {
				k := newLED(t, 7, 0, all...)
				k.trigger(c.trigger)
				k.file("brightness", c.brightness+"\n")
				memory := filepath.Join(t.TempDir(), "run", "led")
				l := k.light()
				l.Memory = memory
				if other {
					l.Tell(Message{State: Working})
					if err := l.Close(); err != nil {
						t.Error(err)
					}
					l = k.light() // which finds our own pattern, and knows better
					l.Memory = memory
					l.Tell(Message{State: Updated})
					if err := l.Close(); err != nil || k.read("brightness") != "7" {
						t.Errorf("brightness %s, %v", k.read("brightness"), err)
					}
					l = k.light()
					l.Memory = memory
				} else {
					l.Tell(Message{State: Failed, Code: NTFS})
					waitUntil(t, func() bool { k.mu.Lock(); defer k.mu.Unlock(); return k.now == "pattern" })
				}
				l.Reset()
				if err := l.Close(); err != nil {
					t.Error(err)
				}
				if k.now != c.trigger || k.read("brightness") != c.brightness {
					t.Errorf("trigger %s, brightness %s", k.now, k.read("brightness"))
				}
				if _, err := os.Stat(memory); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("the memory is still there: %v", err)
				}
			})
		}
	}
}

func waitUntil(t *testing.T, is func() bool) {
	t.Helper()
	for until := time.Now().Add(10 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("it did not come to that in ten seconds")
		}
	}
}

// TestResetOfNothing: who has told nothing takes nothing away.
func TestResetOfNothing(t *testing.T) {
	k := newLED(t, 1, 0, "mmc0", "none")
	l := k.light()
	l.Memory = filepath.Join(t.TempDir(), "led")
	l.Reset()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if w := k.log(); len(w) != 0 {
		t.Errorf("written: %q", w)
	}
}

// TestDamagedMemory: it is told, and replaced by what can be seen.
func TestDamagedMemory(t *testing.T) {
	for _, text := range []string{"", "\n", "mmc0", "mmc0 x", "mmc0 -1", " 3", "a\x1bb 3", "mmc0 0 0", strings.Repeat("x", 1<<16)} {
		k := newLED(t, 1, 0, "mmc0", "none")
		l := k.light()
		l.Memory = filepath.Join(t.TempDir(), "led")
		if err := os.WriteFile(l.Memory, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		l.Tell(Message{State: Updated})
		if err := l.Close(); err == nil || len(err.Error()) > 300 {
			t.Errorf("%.20q: Close said %v", text, err)
		}
		if b, err := os.ReadFile(l.Memory); string(b) != "mmc0 0\n" {
			t.Errorf("%.20q: have %q, %v", text, b, err)
		}
		if k.now != none || k.read("brightness") != "1" {
			t.Errorf("%.20q: shows %s, %s", text, k.now, k.read("brightness"))
		}
	}
}

func TestParseTriggers(t *testing.T) {
	for text, want := range map[string]struct {
		names string
		now   string
	}{
		"[none] usb-gadget timer\n":  {"none usb-gadget timer", "none"},
		"none kbd-capslock [timer] ": {"none kbd-capslock timer", "timer"},
		"":                           {"", "none"},
		"none timer":                 {"none timer", "none"},
		"[":                          {"", ""},
	} {
		names, now := parseTriggers(text)
		if got := strings.TrimSpace(strings.Join(names, " ")); got != want.names || now != want.now {
			t.Errorf("%q: got %q, %q", text, got, now)
		}
	}
}

// TestStuckLight is a driver that does not return: Tell does, and Close.
func TestStuckLight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newLED(t, 1, 0, all...)
		l, stuck := k.light(), make(chan struct{})
		l.write = func(string, string) error { <-stuck; return syscall.ETIMEDOUT }
		began := time.Now()
		for range 1000 {
			l.Tell(Message{State: Working})
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("Tell took %v", took)
		}
		if err := l.Close(); !errors.Is(err, ErrSlow) || time.Since(began) != closeTime {
			t.Errorf("Close said %v after %v", err, time.Since(began))
		}
		close(stuck)
		synctest.Wait()
	})
}

// TestLightTogether is for the race detector.
func TestLightTogether(t *testing.T) {
	k := newLED(t, 1, 0, "none", "timer")
	l := k.light()
	l.Memory = filepath.Join(t.TempDir(), "led")
	var wait sync.WaitGroup
	for i := range 8 {
		wait.Go(func() {
			for j := range 50 {
				l.Tell(Message{State: vocabulary[(i+j)%len(vocabulary)], Code: NTFS})
				if j%10 == 0 {
					l.Reset()
				}
			}
		})
	}
	wait.Wait()
	l.Tell(Message{State: Updated})
	if err := l.Close(); err != nil || k.read("brightness") != "1" || k.now != none {
		t.Errorf("shows %s, %s; %v", k.now, k.read("brightness"), err)
	}
	l.Tell(Message{State: Failed}) // after Close: nothing
}
