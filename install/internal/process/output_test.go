package process

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestCapture(t *testing.T) {
	all := make([]byte, 5*keep)
	for i := range all {
		all[i] = byte(rand.Uint32())
	}
	for _, size := range []int{0, 1, keep - 1, keep, keep + 1, 2*keep - 1, 2 * keep, 2*keep + 1, 3 * keep, 3*keep + 1, 5 * keep} {
		for _, piece := range []int{1, 7, keep - 1, keep, keep + 1, 5 * keep} {
			var c capture
			for b := all[:size]; len(b) > 0; b = b[min(piece, len(b)):] {
				if n, err := c.Write(b[:min(piece, len(b))]); err != nil || n != min(piece, len(b)) {
					t.Fatalf("wrote %d, %v", n, err)
				}
			}
			o, dropped := c.output(), max(0, size-2*keep)
			want := append(append([]byte(nil), all[:min(size, keep)]...), all[min(size, keep)+dropped:size]...)
			if have := append(append([]byte(nil), o.Head...), o.Tail...); !bytes.Equal(have, want) || o.Dropped != int64(dropped) {
				t.Errorf("%d bytes in pieces of %d: have %d, dropped %d, want %d", size, piece, len(have), o.Dropped, dropped)
			}
		}
	}
}

// TestFlood has a program say more than there is memory for.
func TestFlood(t *testing.T) {
	clean(t)
	mib := 200
	if os.Getenv("PLIMSOLL_SOAK") != "" {
		mib = 1 << 10
	}
	cmd := sh(fmt.Sprintf("echo first; head -c %dM /dev/zero; echo last; echo why >&2; exit 1", mib))
	before := heap()
	r, err := Run(t.Context(), cmd)
	if got, want := fmt.Sprint(err), "it: exit code 1: why"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if !bytes.HasPrefix(r.Stdout.Head, []byte("first\n")) || !bytes.HasSuffix(r.Stdout.Tail, []byte("last\n")) {
		t.Error("the ends of the output are not there")
	}
	if want := int64(mib)<<20 + int64(len("first\nlast\n")) - 2*keep; r.Stdout.Dropped != want {
		t.Errorf("dropped %d bytes, want %d", r.Stdout.Dropped, want)
	}
	if !strings.Contains(r.Stdout.String(), fmt.Sprintf("\n[%d bytes left out]\n", r.Stdout.Dropped)) {
		t.Error("what is shown does not say how much is left out")
	}
	if grown := heap() - before; grown > 1<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
}

// TestFloodFromBehind has an orphan that floods the output of a program that
// has ended: nobody waits for it.
func TestFloodFromBehind(t *testing.T) {
	clean(t)
	r, err := Run(t.Context(), sh(`setsid sh -c 'while :; do echo y; done' 2>/dev/null & sleep 0.3`))
	if err != nil || len(r.Stdout.Head) == 0 || r.Took > 5*time.Second {
		t.Errorf("got %v, %d bytes after %v", err, len(r.Stdout.Head), r.Took)
	}
	waitFor(t, "the orphan to notice", func() bool {
		children, err := processes()
		return err == nil && len(children[os.Getpid()]) == 0
	})
}

// TestAllIsRead: what a program says last is never lost, however soon it ends.
func TestAllIsRead(t *testing.T) {
	clean(t)
	said := strings.Repeat("x", 60000)
	for range 20 {
		r, err := Run(t.Context(), sh(`sleep 1000 >&1 & printf %s "$1" >&2; exit 1`, said))
		if n := int64(len(r.Stderr.Head)+len(r.Stderr.Tail)) + r.Stderr.Dropped; n != int64(len(said)) {
			t.Errorf("read %d bytes, want %d", n, len(said))
		}
		var e *Error
		if !errors.As(err, &e) || len(e.Said) > saidBytes+len("…") {
			t.Errorf("got %v", err)
		}
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestParseMember(t *testing.T) {
	const rest = " 4194304 1 2 3 4 5 6 7 8 20 0 1 0 98765 0 0"
	for stat, want := range map[string]member{
		"12 (sh) S 3 4 5 0 -1" + rest:            {12, 3, 4, 5, 'S', 98765, "sh"},
		"12 (a) R 9 9 9 (b) Z 3 4 5 0 -1" + rest: {12, 3, 4, 5, 'Z', 98765, "a) R 9 9 9 (b"},
		"12 () S 3 4 5 0 -1" + rest:              {12, 3, 4, 5, 'S', 98765, ""},
	} {
		if got, err := parseMember(12, []byte(stat)); err != nil || got != want {
			t.Errorf("%q: got %+v, %v", stat, got, err)
		}
	}
	for _, stat := range []string{"", "12 sh S 3", "12 )sh( S 3 4 5", "12 (sh) S 3 4 5", "12 (sh) S x 4 5 0 -1" + rest} {
		if got, err := parseMember(12, []byte(stat)); err == nil {
			t.Errorf("%q: got %+v", stat, got)
		}
	}
}

// TestFinish: what is in the pipe when the program has ended counts, and that
// somebody holds the other end does not.
func TestFinish(t *testing.T) {
	clean(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	said := strings.Repeat("x", 50000)
	if _, err := w.WriteString(said); err != nil {
		t.Fatal(err)
	}
	p := &pipe{r: r, done: make(chan struct{})}
	close(p.done) // it never was this goroutine's turn
	if o := p.finish(); o.Dropped+2*keep != int64(len(said)) {
		t.Errorf("have %d bytes and %d left out", len(o.Head)+len(o.Tail), o.Dropped)
	}
}
