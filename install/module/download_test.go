package module

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plimsoll-ota/plimsoll/install/internal/process"
)

var errSum = errors.New("checksum is wrong")

// files is what the modules of the tests get: an empty one, one that fits a
// pipe, and one that does not.
var files = map[string][]byte{"a": []byte("hello"), "b": nil, "c": bytes.Repeat([]byte("0123456789abcdef"), 20000)}

// payload returns files in their order, and then err.
func payload(err error, names ...string) func() (*File, error) {
	return func() (*File, error) {
		if len(names) == 0 {
			return nil, err
		}
		name := names[0]
		names = names[1:]
		b, bad := files[strings.TrimPrefix(name, "bad-")], error(nil)
		if strings.HasPrefix(name, "bad-") {
			bad = errSum
		}
		return &File{Name: name, Size: int64(len(b)), Content: &content{bytes.NewReader(b), bad}}, nil
	}
}

// content ends with an error in place of io.EOF, if there is one.
type content struct {
	r   *bytes.Reader
	bad error
}

func (c *content) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	if err == io.EOF && c.bad != nil {
		err = c.bad
	}
	return n, err
}

// loop is how a module reads streams: it copies them to tmp/.
const loop = `while line=$(cat stream-next); [ -n "$line" ]; do
	echo "$line" >> tmp/lines
	cat "${line%% *}" > "tmp/$(basename "${line%% *}")"
	echo whole >> tmp/lines
done
echo end >> tmp/lines`

func download(body string) string { return `case "$1" in Download*) ` + body + "\n;; esac" }

func TestDownload(t *testing.T) {
	all := []string{"a", "b", "c"}
	const told = "streams/a\nwhole\nstreams/b\nwhole\nstreams/c\nwhole\n"
	for _, c := range []struct {
		name, body string
		names      []string
		dir        string // where the files are in the end
		lines      string // what the module was told
	}{
		{"it ignores the streams", `exit 0`, all, "files", ""},
		{"it ignores that there is nothing", `exit 0`, nil, "files", ""},
		{"it knows no states", "", all, "files", ""},
		{"it streams", loop, all, "tmp", told + "end\n"},
		{"it streams nothing", loop, nil, "tmp", "end\n"},
		{"it streams one", loop, []string{"c"}, "tmp", "streams/c\nwhole\nend\n"},
		{"it reads lines", strings.ReplaceAll(loop, `line=$(cat stream-next)`, `read -r line < stream-next`), all, "tmp", told + "end\n"},
		{"it has a look first", `: < stream-next; : < stream-next; ` + loop, all, "tmp", told + "end\n"},
		{"it keeps stream-next open", `exec 3< stream-next; for i in 1 2 3; do until read -r line <&3; do sleep 0.01; done; cat "$line" > "tmp/${line#*/}"; done`, all, "tmp", ""},
		{"it does not ask for more", `for i in 1 2 3; do read -r line < stream-next; cat "$line" > "tmp/${line#*/}"; done`, all, "tmp", ""},
		{"it is slow to open", strings.ReplaceAll(loop, "cat ", "sleep 0.3; cat "), all, "tmp", told + "end\n"},
		{"it is slow to read", strings.ReplaceAll(loop, `cat "`, `dd status=none bs=3000 < "`), all, "tmp", told + "end\n"},
		{"it is slow to start and to end", "sleep 0.5; " + loop + "; sleep 0.5", all, "tmp", told + "end\n"},
		{"it floods meanwhile", "head -c 1000000 /dev/zero; " + loop + "; head -c 1000000 /dev/zero >&2", all, "tmp", told + "end\n"},
		{"it reads with little pieces", strings.ReplaceAll(loop, `cat "`, `dd status=none bs=1 < "`), []string{"a", "b"}, "tmp", "streams/a\nwhole\nstreams/b\nwhole\nend\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			clean(t)
			m := write(t, download(c.body))
			if err := m.Download(t.Context(), payload(io.EOF, c.names...)); err != nil {
				t.Error(err)
			}
			have := contents(t, filepath.Join(m.Tree, c.dir))
			if have["lines"] != c.lines {
				t.Errorf("it was told %q, want %q", have["lines"], c.lines)
			}
			delete(have, "lines")
			for _, name := range c.names {
				if have[name] != string(files[name]) {
					t.Errorf("%s: %d bytes, want %d", name, len(have[name]), len(files[name]))
				}
			}
			if len(have) != len(c.names) {
				t.Errorf("have %q, want %q", sorted(have), c.names)
			}
			tree := contents(t, m.Tree)
			if tree["stream-next"] != "" || tree["streams"] != "" || (tree["files"] != "") != (c.dir == "files" || len(c.names) == 0) {
				t.Errorf("left in the tree: %q", sorted(tree))
			}
		})
	}
}

func TestSizes(t *testing.T) {
	for answer, want := range map[string]string{"Yes": "DownloadWithFileSizes\nstreams/a 5\nstreams/c 320000\n", "No": "Download\nstreams/a\nstreams/c\n", "": "Download\nstreams/a\nstreams/c\n"} {
		clean(t)
		m := write(t, `case "$1" in ProvidePayloadFileSizes) echo `+answer+` ;; Download*) echo "$1" >> tmp/lines; `+strings.ReplaceAll(loop, "echo whole", ": ")+` ;; esac`)
		if err := m.Download(t.Context(), payload(io.EOF, "a", "c")); err != nil {
			t.Error(err)
		}
		if got := contents(t, m.Tree)["tmp/lines"]; got != want+"end\n" {
			t.Errorf("%s: got %q, want %q", answer, got, want)
		}
	}
	m := write(t, download(loop)+"\nexit 1")
	if err := m.Download(t.Context(), payload(io.EOF, "a")); err == nil {
		t.Error("a module that fails when asked")
	}
}

// TestDownloadFails is all that a module can do wrong, and what is said of it.
func TestDownloadFails(t *testing.T) {
	const prefix = "update module mod Download: "
	const unread = prefix + "the module did not read all of the payload: "
	const unfinished = unread + "it started downloading, but did not finish: "
	all := []string{"a", "c", "b"}
	first := `read -r line < stream-next; `
	for _, c := range []struct {
		name, body string
		want       error
		text       string // how the error begins
	}{
		{"it fails at once", `echo no >&2; exit 3`, nil, prefix + "exit code 3: no"},
		{"it fails after a stream", first + `cat streams/a; echo no >&2; exit 3`, nil, prefix + "exit code 3: no"},
		{"it is killed in a stream", first + `cat streams/a >/dev/null; ` + first + `head -c 10 streams/c >/dev/null; kill -9 $$`, nil, prefix + "ended by signal 9 (killed)"},
		{"it opens no stream", first, ErrUnread, unfinished + "it did not open streams/a"},
		{"it does not ask for the second", first + `cat streams/a`, ErrUnread, unfinished + "it did not ask for c"},
		{"it does not open the second", first + `cat streams/a >/dev/null; ` + first, ErrUnread, unfinished + "it did not open streams/c"},
		{"it does not ask for the last", first + `cat streams/a >/dev/null; ` + first + `cat streams/c >/dev/null`, ErrUnread, unfinished + "it did not ask for b"},
		{"it reads nothing of a small one", first + `: < streams/a; ` + loop, ErrUnread, unread + "it stopped reading streams/a of 5 bytes"},
		{"it reads half of a small one", first + `dd status=none bs=1 count=2 < streams/a; exit 0`, ErrUnread, unread + "it stopped reading streams/a of 5 bytes, 5 were sent: 3 bytes are left: "},
		{"it reads half of a large one", first + `cat streams/a; ` + first + `head -c 160000 streams/c >/dev/null; exit 0`, ErrUnread, unread + "it stopped reading streams/c of 320000 bytes, "},
		{"it reads half of one, and waits for more", first + `head -c 2 streams/a; sleep 1000`, ErrUnread, unread + "it stopped reading streams/a of 5 bytes"},
		{"it reads half of one, and fails", first + `cat streams/a >/dev/null; ` + first + `head -c 160000 streams/c >/dev/null; sleep 0.5; echo disk full >&2; exit 1`, nil, prefix + "exit code 1: disk full"},
		{"it removes stream-next", `rm stream-next; sleep 1000`, os.ErrNotExist, ""},
		{"it replaces stream-next", `rm stream-next; echo > stream-next; sleep 1000`, nil, prefix},
		{"it links stream-next elsewhere", `rm stream-next; ln -s version stream-next; sleep 1000`, nil, prefix},
		{"it ends with a loose stream", first + `setsid sh -c 'echo $$ > tmp/pid; exec sleep 1000' < streams/a & while ! [ -s tmp/pid ]; do sleep 0.01; done`, ErrUnread, unread + "it stopped reading streams/a of 5 bytes"},
		{"it ends with a loose stream that is full", first + `cat streams/a; ` + first + `setsid sh -c 'echo $$ > tmp/pid; exec sleep 1000' < streams/c & while ! [ -s tmp/pid ]; do sleep 0.01; done`, ErrUnread, unread + "it stopped reading streams/c of 320000 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			clean(t)
			m := write(t, download(c.body))
			m.Grace = 2 * time.Second
			var told error
			m.Report = func(r Report) {
				if r.Call == "Download" {
					told = r.Err
				}
			}
			start := time.Now()
			err := m.Download(t.Context(), payload(io.EOF, all...))
			if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.HasPrefix(err.Error(), c.text) {
				t.Errorf("got  %v\nwant %s", err, c.text)
			}
			if !errors.Is(err, told) {
				t.Errorf("reported %v", told)
			}
			if took := time.Since(start); took > 30*time.Second {
				t.Errorf("took %v", took)
			}
			tree := contents(t, m.Tree)
			if strings.Contains(c.name, "loose") {
				end(t, readInt(t, filepath.Join(m.Tree, "tmp/pid")))
			}
			if len(tree["stream-next"]) == 10 || tree["streams"] != "" || tree["files"] != "" {
				t.Errorf("left in the tree: %q", tree)
			}
		})
	}
}

// TestDownloadEnded ends modules that wait for ever.
func TestDownloadEnded(t *testing.T) {
	for name, body := range map[string]string{
		"it never opens stream-next":                  `sleep 1000`,
		"it never opens its stream":                   `read -r line < stream-next; sleep 1000`,
		"it never reads its stream":                   `read -r line < stream-next; sleep 1000 < streams/c`,
		"it never reads its stream, hears no signal":  `trap "" TERM; read -r line < stream-next; (sleep 1000; sleep 1000) < streams/c`,
		"its orphan never reads its stream":           `read -r line < stream-next; (setsid sleep 1000 < streams/c &); sleep 1000`,
		"it reads half of its stream":                 `read -r line < stream-next; (head -c 9; sleep 1000) < streams/c`,
		"it asks for the second and does not read it": `read -r line < stream-next; cat "$line" >/dev/null; read -r line < stream-next; sleep 1000`,
	} {
		for _, how := range []string{"time-out", "cancel"} {
			t.Run(name+"/"+how, func(t *testing.T) {
				clean(t)
				m := write(t, download(body))
				m.Grace = 500 * time.Millisecond
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				want := process.ErrTimeout
				if how == "time-out" {
					m.Timeout = time.Second
				} else {
					want = errors.New("not today")
					time.AfterFunc(time.Second, func() { cancel(want) })
				}
				start := time.Now()
				if err := m.Download(ctx, payload(io.EOF, "c", "b")); !errors.Is(err, want) {
					t.Errorf("got %v", err)
				}
				if took := time.Since(start); took > 30*time.Second {
					t.Errorf("took %v", took)
				}
			})
		}
	}
}

// TestBadPayload is what is wrong with the files: it is what is returned, and
// the module never sees the end of a file that is.
func TestBadPayload(t *testing.T) {
	broken := errors.New("broken")
	short := func() (*File, error) {
		return &File{Name: "a", Size: 6, Content: strings.NewReader("hello")}, nil
	}
	named := func(name string, size int64) func() (*File, error) {
		return func() (*File, error) { return &File{Name: name, Size: size, Content: strings.NewReader("hello")}, nil }
	}
	for _, c := range []struct {
		name  string
		next  func() func() (*File, error)
		want  error
		text  string
		lines string // what a module that streams may have seen
	}{
		{"a wrong sum", func() func() (*File, error) { return payload(io.EOF, "a", "bad-c", "b") }, errSum, "", "streams/a\nwhole\nstreams/bad-c\n"},
		{"a wrong sum of a small one", func() func() (*File, error) { return payload(io.EOF, "bad-a") }, errSum, "", "streams/bad-a\n"},
		{"a wrong sum of an empty one", func() func() (*File, error) { return payload(io.EOF, "a", "bad-b") }, errSum, "", "streams/a\nwhole\nstreams/bad-b\n"},
		{"nothing but an error", func() func() (*File, error) { return payload(broken) }, broken, "", ""},
		{"an error behind the last", func() func() (*File, error) { return payload(broken, "a", "b") }, broken, "", "streams/a\nwhole\nstreams/b\nwhole\n"},
		{"one that is too short", func() func() (*File, error) { return short }, nil, "a: 5 bytes, want 6", "streams/a\n"},
		{"one twice", func() func() (*File, error) { return payload(io.EOF, "a", "a") }, nil, "a: stands twice", "streams/a\nwhole\n"},
		{"a bad name", func() func() (*File, error) { return named("../a", 5) }, nil, `"../a", 5 bytes, cannot be`, ""},
		{"no name", func() func() (*File, error) { return named("", 5) }, nil, `"", 5 bytes, cannot be`, ""},
		{"the name of a folder", func() func() (*File, error) { return named("..", 5) }, nil, `"..", 5 bytes, cannot be`, ""},
		{"a name of two words", func() func() (*File, error) { return named("a b", 5) }, nil, `"a b", 5 bytes, cannot be`, ""},
		{"a negative size", func() func() (*File, error) { return named("a", -1) }, nil, `"a", -1 bytes, cannot be`, ""},
	} {
		for how, body := range map[string]string{"streams": "sleep 0.1; " + loop + "; sleep 1000", "stores": "exit 0"} {
			t.Run(c.name+"/"+how, func(t *testing.T) {
				clean(t)
				m := write(t, download(body))
				err := m.Download(t.Context(), c.next())
				if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
					t.Errorf("got %v", err)
				}
				if got := contents(t, m.Tree)["tmp/lines"]; how == "streams" && !strings.HasPrefix(c.lines, got) {
					t.Errorf("it has seen %q, want no more than %q", got, c.lines)
				}
			})
		}
	}
}

// TestLazySource: the payload is read no sooner than it is wanted.
func TestLazySource(t *testing.T) {
	clean(t)
	m := write(t, download(`exit 1`))
	read := 0
	next := func() (*File, error) {
		return &File{Name: "a", Size: 5, Content: reader(func([]byte) (int, error) { read++; return 0, errSum })}, nil
	}
	if err := m.Download(t.Context(), next); err == nil || read != 0 {
		t.Errorf("got %v after %d reads", err, read)
	}
}

type reader func([]byte) (int, error)

func (r reader) Read(b []byte) (int, error) { return r(b) }

// TestWriterTo has content that writes itself, as that of an artifact does.
func TestWriterTo(t *testing.T) {
	for _, body := range []string{loop, "exit 0"} {
		clean(t)
		m := write(t, download(body))
		names := []string{"a", "c"}
		next := func() (*File, error) {
			if len(names) == 0 {
				return nil, io.EOF
			}
			name := names[0]
			names = names[1:]
			return &File{Name: name, Size: int64(len(files[name])), Content: bytes.NewReader(files[name])}, nil
		}
		if err := m.Download(t.Context(), next); err != nil {
			t.Error(err)
		}
		dir := map[string]string{loop: "tmp", "exit 0": "files"}[body]
		if d := cmp.Diff(string(files["c"]), contents(t, m.Tree)[dir+"/c"]); d != "" {
			t.Error("c is another")
		}
	}
}

func TestNoSpace(t *testing.T) {
	clean(t)
	m := write(t, download("exit 0"))
	huge := func() (*File, error) {
		return &File{Name: "huge", Size: 1 << 60, Content: reader(func([]byte) (int, error) { t.Error("it was read"); return 0, io.EOF })}, nil
	}
	err := m.Download(t.Context(), huge)
	if !errors.Is(err, ErrSpace) || !strings.Contains(err.Error(), fmt.Sprintf("%d bytes are needed, ", int64(1)<<60)) || !strings.HasSuffix(err.Error(), " are free") {
		t.Errorf("got %v", err)
	}
}

// TestCancelStore cancels while the files are stored.
func TestCancelStore(t *testing.T) {
	clean(t)
	m := write(t, download("exit 0"))
	ctx, cancel := context.WithCancelCause(t.Context())
	mine := errors.New("not today")
	endless := func() (*File, error) {
		return &File{Name: "a", Size: 1 << 20, Content: reader(func(b []byte) (int, error) { cancel(mine); return len(b), nil })}, nil
	}
	if err := m.Download(ctx, endless); !errors.Is(err, mine) {
		t.Errorf("got %v", err)
	}
}

// TestModes: what is stored is for root only, as the artifact may be.
func TestModes(t *testing.T) {
	m := write(t, download("exit 0"))
	if err := m.Download(t.Context(), payload(io.EOF, "a")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]os.FileMode{"files": os.ModeDir | 0o700, "files/a": 0o600} {
		if info, err := os.Stat(filepath.Join(m.Tree, name)); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v, want %v", name, info.Mode(), err, want)
		}
	}
}
