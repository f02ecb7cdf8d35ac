package prepare

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/plimsoll-ota/plimsoll/artifact"
	"github.com/plimsoll-ota/plimsoll/udev/scan"
)

var background = context.Background()

func TestPrepare(t *testing.T) {
	dir, src := t.TempDir(), t.TempDir()
	one, two := build(t, "rel-1", 300_000, 1), build(t, "rel-2", 3<<20, 2)
	files := []string{put(t, src, "rel-2.mender", two), put(t, src, "Rel-1.MENDER", one)}
	put(t, dir, "photo.jpg", []byte("x"))
	after := ""
	o := Options{Verifier: ring(t, "p256"), Signer: private(t, "rsa2048"), Serials: []string{"SN 1", "SN2"}, After: func(d string) error {
		after = d
		return os.WriteFile(filepath.Join(d, "plimsoll/after"), nil, 0o644)
	}}
	placed, err := Prepare(background, dir, files, o)
	if err != nil {
		t.Fatal(err)
	}
	entry := func(file, name, version string, b []byte) Entry {
		return Entry{File: file, Artifact: name, Version: version, DeviceTypes: []string{"crane"}, Size: int64(len(b)), SHA256: sumOf(b)}
	}
	want := []Placed{{entry("Rel-1.MENDER", "rel-1", "1.1", one), false}, {entry("rel-2.mender", "rel-2", "1.2", two), false}}
	if diff := cmp.Diff(want, placed); diff != "" {
		t.Error(diff)
	}
	got := listing(t, dir)
	index, sig := got["plimsoll/index.json"], got["plimsoll/index.json.sig"]
	if diff := cmp.Diff(map[string]string{
		"photo.jpg": "x", "plimsoll": "d---------", "plimsoll/Rel-1.MENDER": string(one), "plimsoll/rel-2.mender": string(two), "plimsoll/after": "",
		"plimsoll/only-serials": "SN 1\nSN2\n", "plimsoll/index.json": index, "plimsoll/index.json.sig": sig,
	}, got); diff != "" || after != dir {
		t.Errorf("after: %q\n%s", after, diff)
	}
	var i Index
	if err := json.Unmarshal([]byte(index), &i); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Index{1, []Entry{want[0].Entry, want[1].Entry}}, i); diff != "" {
		t.Error(diff)
	}
	raw, err := base64.StdEncoding.DecodeString(sig)
	if err != nil || ring(t, "rsa2048").Verify([]byte(index), raw) != nil {
		t.Errorf("the index is not signed: %v", err)
	}

	// Again, with one more: what is there is kept and not written, and the index is of all. The signature of the old index is no more.
	before, err := os.Stat(filepath.Join(dir, "plimsoll/rel-2.mender"))
	if err != nil {
		t.Fatal(err)
	}
	three := build(t, "rel-3", 1000, 3)
	placed, err = Prepare(background, dir, []string{files[0], put(t, src, "rel-3.mender", three)}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	want = []Placed{{want[0].Entry, true}, {want[1].Entry, true}, {entry("rel-3.mender", "rel-3", "1.3", three), false}}
	if diff := cmp.Diff(want, placed); diff != "" {
		t.Error(diff)
	}
	now, err := os.Stat(filepath.Join(dir, "plimsoll/rel-2.mender"))
	if err != nil || !os.SameFile(before, now) {
		t.Errorf("rel-2.mender was written again (%v)", err)
	}
	got = listing(t, dir)
	if _, ok := got["plimsoll/index.json.sig"]; ok || !strings.Contains(got["plimsoll/index.json"], "rel-3.mender") || got["plimsoll/only-serials"] == "" {
		t.Errorf("got %v", got)
	}
}

func sumOf(b []byte) artifact.Sum { return sha256.Sum256(b) }

// The index of the same artifacts is the same to the last byte.
func TestIndexIsDeterministic(t *testing.T) {
	src := t.TempDir()
	files := []string{put(t, src, "b.mender", build(t, "b", 1000, 1)), put(t, src, "a.mender", build(t, "<a>&", 1000, 2))}
	var all []string
	for _, list := range [][]string{files, {files[1], files[0]}, {files[0]}} {
		dir := t.TempDir()
		if len(list) == 1 {
			put(t, dir, "plimsoll/a.mender", build(t, "<a>&", 1000, 2))
		}
		if _, err := Prepare(background, dir, list, Options{}); err != nil {
			t.Fatal(err)
		}
		all = append(all, listing(t, dir)["plimsoll/index.json"])
	}
	if all[0] != all[1] || all[0] != all[2] || !strings.Contains(all[0], `"artifact": "<a>&"`) || strings.Index(all[0], "a.mender") > strings.Index(all[0], "b.mender") {
		t.Errorf("got\n%s\n%s\n%s", all[0], all[1], all[2])
	}
}

// What cannot be done is refused before anything is written.
func TestRefused(t *testing.T) {
	good := build(t, "rel-1", 100_000, 1)
	flipped := bytes.Clone(good)
	flipped[50_000] ^= 1
	for _, tt := range []struct {
		name  string
		stick map[string]string // what is there; "->" makes a link
		files map[string]string // what is copied
		o     Options
		want  error
		says  string
	}{
		{"damaged", nil, map[string]string{"a.mender": string(flipped)}, Options{}, artifact.ErrChecksum, "a.mender"},
		{"one of two damaged", nil, map[string]string{"a.mender": string(good), "b.mender": string(flipped)}, Options{}, artifact.ErrChecksum, "b.mender"},
		{"unfinished", nil, map[string]string{"a.mender": string(good[:90_000])}, Options{}, scan.ErrUnfinished, "a.mender"},
		{"a zip", nil, map[string]string{"a.mender": "PK\x03\x04" + string(good)}, Options{}, scan.ErrRenamed, "zip"},
		{"by another key", nil, map[string]string{"a.mender": string(good)}, Options{Verifier: ring(t, "rsa2048")}, artifact.ErrUntrusted, "a.mender"},
		{"empty", nil, map[string]string{"a.mender": ""}, Options{}, artifact.ErrTruncated, "a.mender"},
		{"not the name of an artifact", nil, map[string]string{"a.bin": string(good)}, Options{}, ErrName, "a.bin"},
		{"hidden", nil, map[string]string{".a.mender": string(good)}, Options{}, ErrName, "dot"},
		{"not for FAT", nil, map[string]string{"a:b.mender": string(good)}, Options{}, ErrName, "FAT"},
		{"one name in two spellings", nil, map[string]string{"a.mender": string(good), "A.mender": string(good)}, Options{}, ErrClash, "a.mender"},
		{"other content by that name", map[string]string{"plimsoll/a.mender": string(build(t, "rel-1", 100_000, 2))}, map[string]string{"a.mender": string(good)}, Options{}, ErrClash, "plimsoll/a.mender"},
		{"half of it by that name", map[string]string{"plimsoll/a.mender": string(good[:512])}, map[string]string{"a.mender": string(good)}, Options{}, ErrClash, "plimsoll/a.mender"},
		{"a folder by that name", map[string]string{"plimsoll/a.mender/x": ""}, map[string]string{"a.mender": string(good)}, Options{}, ErrClash, "plimsoll/a.mender"},
		{"a link by that name", map[string]string{"plimsoll/a.mender": "->../b", "b": string(good)}, map[string]string{"a.mender": string(good)}, Options{}, ErrClash, "plimsoll/a.mender"},
		{"plimsoll is a file", map[string]string{"plimsoll": "x"}, map[string]string{"a.mender": string(good)}, Options{}, ErrClash, "want a folder"},
		{"plimsoll is a link", map[string]string{"plimsoll": "->elsewhere", "elsewhere/x": ""}, map[string]string{"a.mender": string(good)}, Options{}, ErrClash, "want a folder"},
		{"plimsoll is a link out", map[string]string{"plimsoll": "->/tmp"}, map[string]string{"a.mender": string(good)}, Options{}, ErrClash, "want a folder"},
		{"a bad one is there", map[string]string{"plimsoll/old.mender": string(flipped)}, map[string]string{"a.mender": string(good)}, Options{}, artifact.ErrChecksum, "remove it"},
		{"a bad serial", nil, map[string]string{"a.mender": string(good)}, Options{Serials: []string{"SN1", "SN2\nSN3"}}, scan.ErrSerials, "SN2"},
		{"more than there is room for", nil, map[string]string{"a.mender": string(good)}, Options{Reserve: 1 << 60}, ErrSpace, "MiB"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir, src := t.TempDir(), t.TempDir()
			for name, text := range tt.stick {
				if to, ok := strings.CutPrefix(text, "->"); ok {
					path := filepath.Join(dir, name)
					if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.Symlink(to, path)); err != nil {
						t.Fatal(err)
					}
					continue
				}
				put(t, dir, name, []byte(text))
			}
			var files []string
			for _, name := range []string{"a.mender", "A.mender", "b.mender", "a.bin", ".a.mender", "a:b.mender"} {
				if text, ok := tt.files[name]; ok {
					files = append(files, put(t, src, name, []byte(text)))
				}
			}
			before := listing(t, dir)
			_, err := Prepare(background, dir, files, tt.o)
			if !errors.Is(err, tt.want) || !strings.Contains(fmt.Sprint(err), tt.says) {
				t.Errorf("got %v, want %v that says %q", err, tt.want, tt.says)
			}
			if diff := cmp.Diff(before, listing(t, dir)); diff != "" {
				t.Errorf("something was written:\n%s", diff)
			}
		})
	}
}

// All that is wrong with what was named is told at once.
func TestTellsAll(t *testing.T) {
	src := t.TempDir()
	files := []string{put(t, src, "a.bin", []byte("x")), put(t, src, ".b.mender", []byte("x")), filepath.Join(src, "missing.mender"), src}
	_, err := Prepare(background, t.TempDir(), files, Options{})
	for _, want := range []string{"a.bin", ".b.mender", "missing.mender", "not a regular file"} {
		if !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("does not say %q: %v", want, err)
		}
	}
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestFits(t *testing.T) {
	const gib = 1 << 30
	file := func(size int64) source { return source{Entry{Size: size}, "x.mender"} }
	for _, tt := range []struct {
		name  string
		space space
		files []source
		extra int64
		want  error
	}{
		{"4 GiB less one on FAT", space{magicFAT, 4096, 2 << 20}, []source{file(4*gib - 1)}, 0, nil},
		{"4 GiB on FAT", space{magicFAT, 4096, 2 << 20}, []source{file(4 * gib)}, 0, ErrFAT},
		{"4 GiB elsewhere", space{0x2011bab0, 4096, 2 << 20}, []source{file(4 * gib)}, 0, nil},
		{"NTFS", space{magicNTFS3, 4096, 1 << 20}, []source{file(1)}, 0, ErrNTFS},
		{"NTFS, the older driver", space{magicNTFS, 4096, 1 << 20}, []source{file(1)}, 0, ErrNTFS},
		{"just", space{0, 4096, 4}, []source{file(4096), file(1)}, 1, nil},
		{"just not", space{0, 4096, 3}, []source{file(4096), file(1)}, 1, ErrSpace},
		{"many small ones in large blocks", space{0, 32768, 10}, make([]source, 10), 1, ErrSpace},
		{"full", space{0, 4096, 0}, nil, 1, ErrSpace},
		{"no size of a block", space{0, 0, 10}, []source{file(5)}, 5, ErrSpace},
	} {
		if err := fits(tt.space, tt.files, tt.extra); !errors.Is(err, tt.want) || tt.want == nil && err != nil {
			t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
		}
	}
}

func TestNames(t *testing.T) {
	for name, good := range map[string]bool{
		"a.mender": true, "A.MENDER": true, "rel 1 (2).mender": true, "größe.mender": true, "con-1.mender": true, strings.Repeat("a", 248) + ".mender": true,
		"": false, ".mender": false, "mender": false, "a.mender ": false, "a.mender.": false, "a\n.mender": false, "a\u202e.mender": false, "a\xff.mender": false,
		"a?.mender": false, `a\b.mender`: false, `a"b.mender`: false, "a|b.mender": false, "CON.mender": false, "nul.x.mender": false,
		strings.Repeat("a", 249) + ".mender": false, strings.Repeat("😀", 125) + ".mender": false, "a.mender.zip": false,
	} {
		if err := checkName(name); (err == nil) != good || err != nil && !errors.Is(err, ErrName) {
			t.Errorf("%q: got %v", name, err)
		}
	}
}

// A stick that is too small is refused before anything is written, and one that fills up meanwhile has no half file.
func TestSpace(t *testing.T) {
	dir, src := mounted(t, "tmpfs", "tmpfs", "size=2m"), t.TempDir()
	large, small := put(t, src, "large.mender", build(t, "rel-1", 3<<20, 1)), put(t, src, "small.mender", build(t, "rel-2", 1<<20, 2))
	if _, err := Prepare(background, dir, []string{large}, Options{}); !errors.Is(err, ErrSpace) {
		t.Errorf("got %v", err)
	}
	if got := listing(t, dir); len(got) != 0 {
		t.Errorf("something was written: %d", len(got))
	}
	full := Options{Progress: func(step string, done, total int64) {
		if step == StepCopy && done > 0 {
			fill := put(t, dir, "photo.jpg", nil)
			if err := os.Truncate(fill, 0); err != nil {
				t.Error(err)
			}
			_ = os.WriteFile(fill, make([]byte, 2<<20), 0o644) // as much as there is room for
		}
	}}
	if _, err := Prepare(background, dir, []string{small}, full); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("got %v", err)
	}
	if got := listing(t, dir); len(got) != 2 { // and the folder
		t.Errorf("something was left: %d", len(got))
	}
	if err := os.Remove(filepath.Join(dir, "photo.jpg")); err != nil {
		t.Fatal(err)
	}
	if _, err := Prepare(background, dir, []string{small}, Options{}); err != nil {
		t.Error(err)
	}
}

// What ends the copying leaves no file that is not whole, and nothing hidden; the call after it finishes.
func TestInterrupted(t *testing.T) {
	stop := errors.New("stopped by a test")
	src := t.TempDir()
	one := build(t, "rel-1", 3<<19, 1)
	files := []string{put(t, src, "a.mender", one), put(t, src, "b.mender", build(t, "rel-2", 3<<19, 2))}
	seen := map[string]bool{}
	for at := 1; ; at++ {
		ctx, cancel := context.WithCancelCause(background)
		n := 0
		dir := t.TempDir()
		_, err := Prepare(ctx, dir, files, Options{Progress: func(step string, done, total int64) {
			if n++; n == at {
				seen[step] = true
				cancel(stop)
			}
		}})
		cancel(nil)
		if n > at+1 { // the next step is announced before it looks
			t.Errorf("stopped at %d, and went on to %d", at, n)
		}
		if n < at {
			if err != nil {
				t.Error(err)
			}
			break
		}
		if err != nil && !errors.Is(err, stop) {
			t.Errorf("stopped at %d: %v", at, err)
		}
		for name, text := range listing(t, dir) {
			switch filepath.Base(name) {
			case "plimsoll", "index.json":
			case "a.mender":
				if text != string(one) {
					t.Errorf("stopped at %d: a.mender is not whole", at)
				}
			case "b.mender":
			default:
				t.Errorf("stopped at %d: %s was left", at, name)
			}
		}
		if _, err := Prepare(background, dir, files, Options{}); err != nil {
			t.Errorf("stopped at %d, and again: %v", at, err)
		}
	}
	if len(seen) != 3 {
		t.Errorf("stopped in %v", seen)
	}
}

// A call that was killed leaves a hidden file, which the next one removes; other hidden files stay.
func TestSweep(t *testing.T) {
	dir, src := t.TempDir(), t.TempDir()
	put(t, dir, "plimsoll/.plimsoll-ABC.part", []byte("half"))
	put(t, dir, "plimsoll/.other", []byte("x"))
	if _, err := Prepare(background, dir, []string{put(t, src, "a.mender", build(t, "rel-1", 1000, 1))}, Options{}); err != nil {
		t.Fatal(err)
	}
	got := listing(t, dir)
	if _, ok := got["plimsoll/.plimsoll-ABC.part"]; ok || got["plimsoll/.other"] != "x" {
		t.Errorf("got %v", got)
	}
}

// A file that changes after it was checked is not given its name.
func TestChanged(t *testing.T) {
	src := t.TempDir()
	good, other := build(t, "rel-1", 100_000, 1), build(t, "rel-1", 100_000, 2)
	damaged := bytes.Clone(good)
	damaged[60_000] ^= 1
	for name, tt := range map[string]struct {
		now  []byte
		want error
	}{"another artifact": {other, ErrChanged}, "damage": {damaged, artifact.ErrChecksum}, "cut": {good[:50_000], artifact.ErrTruncated}} {
		path, dir := put(t, src, "a.mender", good), t.TempDir()
		_, err := Prepare(background, dir, []string{path}, Options{Progress: func(step string, done, total int64) {
			if step == StepCheck && done == total {
				put(t, src, "a.mender", tt.now)
			}
		}})
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v", name, err)
		}
		if got := listing(t, dir); len(got) != 1 {
			t.Errorf("%s: left %d files", name, len(got))
		}
	}
}

// Links on the stick lead nowhere: what is written replaces them.
func TestLinksAreReplaced(t *testing.T) {
	dir, src, outside := t.TempDir(), t.TempDir(), t.TempDir()
	victim := put(t, outside, "victim", []byte("precious"))
	put(t, dir, "plimsoll/x", nil)
	for _, name := range []string{IndexName, SignatureName, SerialsName} {
		if err := os.Symlink(victim, filepath.Join(dir, "plimsoll", name)); err != nil {
			t.Fatal(err)
		}
	}
	o := Options{Signer: private(t, "p256"), Serials: []string{"SN1"}}
	if _, err := Prepare(background, dir, []string{put(t, src, "a.mender", build(t, "rel-1", 1000, 1))}, o); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"victim": "precious"}, listing(t, outside)); diff != "" {
		t.Error(diff)
	}
	if got := listing(t, dir); got["plimsoll/only-serials"] != "SN1\n" {
		t.Errorf("got %v", got)
	}
}

// The folder is that which is there, in its spelling.
func TestSpelling(t *testing.T) {
	dir, src := t.TempDir(), t.TempDir()
	put(t, dir, "PLIMSOLL/x", nil)
	if _, err := Prepare(background, dir, []string{put(t, src, "a.mender", build(t, "rel-1", 1000, 1))}, Options{}); err != nil {
		t.Fatal(err)
	}
	got := listing(t, dir)
	if got["PLIMSOLL/a.mender"] == "" || got["plimsoll"] != "" {
		t.Errorf("got %v", got)
	}
}

// An error of what comes after is not lost.
func TestAfterFails(t *testing.T) {
	full := errors.New("full")
	dir, src := t.TempDir(), t.TempDir()
	_, err := Prepare(background, dir, []string{put(t, src, "a.mender", build(t, "rel-1", 1000, 1))}, Options{After: func(string) error { return full }})
	if !errors.Is(err, full) {
		t.Errorf("got %v", err)
	}
}

// What is read back must be what was written, or the file does not get its name: artifacts and lists alike.
func TestReadBackDiffers(t *testing.T) {
	dir, src := t.TempDir(), t.TempDir()
	file := put(t, src, "a.mender", build(t, "rel-1", 100_000, 1))
	_, err := Prepare(background, dir, []string{file}, Options{Progress: func(step string, done, total int64) {
		if step == StepVerify && done == 0 {
			spoilPart(t, dir)
		}
	}})
	if !errors.Is(err, ErrReadBack) {
		t.Errorf("got %v", err)
	}
	if got := listing(t, dir); len(got) != 1 {
		t.Errorf("left %v", got)
	}
	s, err := open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	if err := s.placeBytes(onErr{background, func() { spoilPart(t, dir) }}, "list", []byte("text")); !errors.Is(err, ErrReadBack) {
		t.Errorf("got %v", err)
	}
}

// onErr is a context that does something when it is asked for the first time.
type onErr struct {
	context.Context
	do func()
}

func (o onErr) Err() error { o.do(); return nil }

// spoilPart changes the file that has no name yet.
func spoilPart(t *testing.T, dir string) {
	t.Helper()
	parts, err := filepath.Glob(filepath.Join(dir, "plimsoll/.plimsoll-*.part"))
	if err != nil || len(parts) != 1 {
		t.Fatalf("hidden files: %v, %v", parts, err)
	}
	b, err := os.ReadFile(parts[0])
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2]++
	if err := os.WriteFile(parts[0], b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// What is on the medium counts, and not what is in memory: the medium beneath the file system changes one bit of what was written to it,
// and the page cache, which has the right one, must not be believed. With O_DIRECT, and where a file system does not have it.
func TestReadsBackPastTheCache(t *testing.T) {
	for _, direct := range []int{unix.O_DIRECT, 0} {
		t.Run(fmt.Sprintf("%#x", direct), func(t *testing.T) {
			medium := put(t, t.TempDir(), "medium.img", nil)
			if err := os.Truncate(medium, 32<<20); err != nil {
				t.Fatal(err)
			}
			run(t, "mkfs.ext4", "-q", "-F", "-E", "nodiscard", medium)
			loop := strings.TrimSpace(run(t, "losetup", "--find", "--show", medium))
			t.Cleanup(func() { run(t, "losetup", "--detach", loop) })
			run(t, "blockdev", "--setrw", loop) // a loop device stays read-only if the one before was made so
			dir := mounted(t, loop, "ext4", "")
			image := build(t, "rel-1", 1<<20, 1)
			put(t, dir, "plimsoll/a.mender", nil)
			s, err := open(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer s.close()
			write := func(w io.Writer) error { _, err := w.Write(image); return err }
			check := func(part string) error {
				have, err := s.sum(background, part, direct, func(int64) {})
				if err != nil || have != sumOf(image) {
					t.Errorf("before: got %v, %v", have, err)
				}
				// The file is in the cache again, as a reader leaves it.
				if b, err := os.ReadFile(filepath.Join(dir, "plimsoll", part)); err != nil || !bytes.Equal(b, image) {
					t.Errorf("not read: %v", err)
				}
				spoil(t, medium, image[len(image)/2:][:64])
				if direct == unix.O_DIRECT {
					return s.readBack(background, part, sumOf(image), func(int64) {})
				}
				have, err = s.sum(background, part, direct, func(int64) {})
				if err == nil && have != sumOf(image) {
					err = ErrReadBack
				}
				return err
			}
			if err := s.place("b.mender", write, check); !errors.Is(err, ErrReadBack) {
				t.Errorf("got %v", err)
			}
			if got := listing(t, filepath.Join(dir, "plimsoll")); len(got) != 1 {
				t.Errorf("left %d files", len(got))
			}
		})
	}
}

// spoil changes one bit in the place of the medium that holds text, which stands there once.
func spoil(t *testing.T, medium string, text []byte) {
	t.Helper()
	b, err := os.ReadFile(medium)
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(b, text); n != 1 {
		t.Fatalf("the medium has it %d times", n)
	}
	f, err := os.OpenFile(medium, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{text[0] ^ 1}, int64(bytes.Index(b, text))); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}
