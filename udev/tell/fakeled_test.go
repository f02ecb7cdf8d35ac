package tell

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A fakeLED is a folder of files that behaves as one of the kernel's LED class:
// which attributes there are depends on the trigger, and what the kernel refuses
// is refused. cmd/plimsoll/boards has the kernel itself.
type fakeLED struct {
	dir   string
	most  int
	names []string // of triggers
	began time.Time

	mu       sync.Mutex
	now      string // the trigger
	written  []string
	switched []string         // when, by software, the brightness changed
	broken   map[string]error // by attribute, or by "trigger timer"
}

// attributes are those that come and go with a trigger.
var attributes = map[string][]string{"timer": {"delay_on", "delay_off"}, "pattern": {"pattern", "repeat"}, "oneshot": {"invert"}}

// newLED makes a light with these triggers, which shows the first; with none at
// all the kernel has no triggers.
func newLED(t *testing.T, most, brightness int, triggers ...string) *fakeLED {
	t.Helper()
	k := &fakeLED{dir: t.TempDir(), most: most, names: triggers, began: time.Now(), broken: map[string]error{}}
	k.file("max_brightness", strconv.Itoa(most)+"\n")
	k.file("brightness", strconv.Itoa(brightness)+"\n")
	if len(triggers) > 0 {
		k.trigger(triggers[0])
		k.file("brightness", strconv.Itoa(brightness)+"\n")
	}
	return k
}

// light returns what drives it.
func (k *fakeLED) light() *Light {
	l := LED(k.dir)
	l.write = k.write
	return l
}

func (k *fakeLED) file(name, text string) {
	if err := os.WriteFile(filepath.Join(k.dir, name), []byte(text), 0o644); err != nil {
		panic(err)
	}
}

func (k *fakeLED) read(name string) string {
	b, err := os.ReadFile(filepath.Join(k.dir, name))
	if err != nil {
		return "(" + err.(*os.PathError).Err.Error() + ")"
	}
	return strings.TrimSpace(string(b))
}

// trigger changes the trigger, as led_trigger_set does: what the old one had
// goes, and the light is dark.
func (k *fakeLED) trigger(name string) {
	for _, a := range attributes[k.now] {
		os.Remove(filepath.Join(k.dir, a))
	}
	list := make([]string, len(k.names))
	for i, n := range k.names {
		if list[i] = n; n == name {
			list[i] = "[" + n + "]"
		}
	}
	k.now = name
	k.file("trigger", strings.Join(list, " ")+"\n")
	k.file("brightness", "0\n")
	for _, a := range attributes[name] {
		k.file(a, "\n")
	}
}

func (k *fakeLED) write(path, text string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	name := filepath.Base(path)
	fail := func(err error) error { return &os.PathError{Op: "write", Path: name, Err: err} }
	for _, key := range []string{name, name + " " + text} {
		if err := k.broken[key]; err != nil {
			return fail(err)
		}
	}
	if _, err := os.Stat(path); err != nil {
		return fail(syscall.ENOENT)
	}
	k.written = append(k.written, name+" "+text)
	switch name {
	case "trigger":
		if !slices.Contains(k.names, text) {
			return fail(syscall.EINVAL)
		}
		k.trigger(text)
		return nil
	case "brightness":
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return fail(syscall.EINVAL)
		}
		if n == 0 && len(k.names) > 0 && k.now != none {
			k.trigger(none)
		}
		k.switched = append(k.switched, fmt.Sprintf("%v %d", time.Since(k.began), min(n, k.most)))
		text = strconv.Itoa(min(n, k.most))
	case "pattern":
		if err := k.takes(text); err != nil {
			return fail(err)
		}
	}
	k.file(name, text+"\n")
	return nil
}

// takes checks a pattern as pattern_trig_store_patterns_string does.
func (k *fakeLED) takes(text string) error {
	f := strings.Fields(text)
	if len(f)%2 != 0 || len(f) < 4 || len(f) > 2*1024 || len(text) >= 4096 {
		return syscall.EINVAL
	}
	for i, s := range f {
		n, err := strconv.ParseUint(s, 10, 32)
		if err != nil || i%2 == 0 && n > uint64(k.most) {
			return syscall.EINVAL
		}
	}
	return nil
}

// log returns what was written since the last call.
func (k *fakeLED) log() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	w := k.written
	k.written = nil
	return w
}

// blinks returns when the brightness was changed since the last call.
func (k *fakeLED) blinks() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	w := k.switched
	k.switched = nil
	return w
}
