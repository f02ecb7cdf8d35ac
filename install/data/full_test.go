package data

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestFullStateDirectory stages, and takes a snapshot, where there is room for
// so many pages. It fits, or is refused, and then the copies of before are there.
func TestFullStateDirectory(t *testing.T) {
	for pages := 2; pages <= 26; pages += 3 {
		t.Run(fmt.Sprint(pages), func(t *testing.T) {
			p := newPlace(t)
			tmpfs(t, p.state, fmt.Sprint(pages*os.Getpagesize()))
			grow(t, p.old, forest{"/etc/x": file("old x"), "/etc/y": file(strings.Repeat("y", 30_000))})
			_, err := Stage(t.Context(), p.request("/etc/x"))
			if errors.Is(err, ErrSpace) || errors.Is(err, unix.ENOSPC) {
				if pages > 8 {
					t.Fatal(err)
				}
				return
			}
			must(t, err)
			_, err = Stage(t.Context(), p.request("/etc/x", "/etc/y"))
			want := forest{"/etc/x": file("old x")}
			switch {
			case err == nil:
				want["/etc/y"] = file(strings.Repeat("y", 30_000))
			case !errors.Is(err, ErrSpace) && !errors.Is(err, unix.ENOSPC):
				t.Errorf("got %v", err)
			case errors.Is(err, ErrSpace) && !strings.Contains(err.Error(), "are free"):
				t.Errorf("no numbers: %v", err)
			}
			if pages == 26 && err != nil {
				t.Error(err)
			}
			onlyCopies(t, p.dir)
			applied(t, p)
			same(t, "applied", p.new, want)
		})
	}
}

// TestFullOnTheWay fills the disk while it is copied: what was counted before
// does not fit any more.
func TestFullOnTheWay(t *testing.T) {
	p := newPlace(t)
	tmpfs(t, p.state, "512k")
	grow(t, p.old, forest{"/etc/a": file("a"), "/etc/b": file(strings.Repeat("b", 100_000))})
	stage(t, p, "/etc/a")
	r := p.request("/etc/a", "/etc/b")
	r.Progress = func(int64, int64) { // after the first file
		f, err := os.Create(filepath.Join(p.state, "filler"))
		must(t, err)
		defer f.Close()
		for err == nil {
			_, err = f.Write(make([]byte, 4096))
		}
	}
	if _, err := Stage(t.Context(), r); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("got %v, want ENOSPC", err)
	}
	onlyCopies(t, p.dir)
	must(t, os.Remove(filepath.Join(p.state, "filler")))
	applied(t, p)
	same(t, "the copies before", p.new, forest{"/etc/a": file("a")})
}

// TestFullRoot: a root without room for all is not begun.
func TestFullRoot(t *testing.T) {
	p := newPlace(t)
	grow(t, p.old, forest{"/etc/a": file("a"), "/etc/b": file(strings.Repeat("b", 100_000))})
	stage(t, p, "/etc/a", "/etc/b")
	tmpfs(t, p.new, "64k")
	if _, err := Apply(t.Context(), p.dir, p.new); !errors.Is(err, ErrSpace) {
		t.Errorf("got %v, want ErrSpace", err)
	}
	if have := survey(t, p.new); len(have) > 0 {
		t.Errorf("it was begun: %v", have)
	}
	must(t, unix.Mount("", p.new, "", unix.MS_REMOUNT, "size=1m"))
	applied(t, p)
}

// TestNoInodes: files can be too many before they are too large.
func TestNoInodes(t *testing.T) {
	p := newPlace(t)
	tmpfs(t, p.state, "4m,nr_inodes=20")
	f := forest{}
	for i := range 30 {
		f[fmt.Sprintf("/etc/d/%d", i)] = file("")
	}
	grow(t, p.old, f)
	if _, err := Stage(t.Context(), p.request("/etc/d")); !errors.Is(err, ErrSpace) {
		t.Errorf("got %v, want ErrSpace", err)
	}
}
