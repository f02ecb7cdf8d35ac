package artifact

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// again is a stick without an end: it repeats some bytes. It counts what was read of them, and fails the reader that would read on for
// ever.
type again struct {
	b  []byte
	at int
	n  int64
}

var errEndless = errors.New("it reads without end")

func (a *again) Read(b []byte) (n int, err error) {
	if a.n > 64<<20 {
		return 0, errEndless
	}
	for n < len(b) {
		k := copy(b[n:], a.b[a.at:])
		n, a.at = n+k, (a.at+k)%len(a.b)
	}
	a.n += int64(n)
	return n, nil
}

// without is the artifact that p makes, up to and including body in its payload member, of which the header says that it is endless.
func without(p parts, body string) []byte {
	p.packData = func(string) string { return body }
	p.members = func(all []file) []file {
		all[len(all)-1].size = strings.Repeat("7", 11)
		return all
	}
	p.cut = len(end) + -len(body)&(block-1)
	return p.build()
}

// TestEndless: no signature covers what stands between the members of an archive, and a compressed stream makes terabytes of it from
// nothing. A reader that was given a header of ours with such a stream behind it gives up after little, wherever it stands.
func TestEndless(t *testing.T) {
	payload := ustar(file{name: "rootfs.ext4", body: goodImage})
	record := "27 comment=nothing to see.\n"
	fillers := map[string]string{
		"PAX records":         ustar(file{name: "x", kind: 'x', body: record}),
		"large PAX records":   ustar(file{name: "x", kind: 'x', body: "60000 comment=" + strings.Repeat("x", 60000-15) + "\n"}),
		"empty PAX records":   ustar(file{name: "x", kind: 'x'}),
		"a GNU name":          ustar(file{name: "././@LongLink", kind: 'L', body: "rootfs.ext4\x00"}),
		"a GNU link":          ustar(file{name: "././@LongLink", kind: 'K', body: "rootfs.ext4\x00"}),
		"GNU sparse":          ustar(file{name: "x", kind: 'S', spoil: func(h []byte) { h[482] = 1 }}),
		"an old sparse block": string(append(bytes.Repeat([]byte{0}, 504), append([]byte{1}, make([]byte, 7)...)...)),
	}
	for name, filler := range fillers {
		for place, before := range map[string][]byte{
			"before the first member": nil,
			"after the version":       []byte(ustar(file{name: "version", body: versionMember})),
			"before the payload":      without(parts{}, ""),
			"after the payload":       without(parts{}, payload),
			"in the old sparse map":   without(parts{}, fillers["GNU sparse"]),
		} {
			src := &again{b: []byte(filler)}
			_, err := Inspect(io.MultiReader(bytes.NewReader(before), src))
			if !isOurs(err) || src.n > 1<<20 {
				t.Errorf("%s %s: %v, after %d bytes; want one of ours, soon", name, place, err, src.n)
			}
			if strings.Contains(name, "PAX") && place != "in the old sparse map" && !errors.Is(err, ErrLimit) {
				t.Errorf("%s %s: %v, want ErrLimit", name, place, err)
			}
		}
	}
}

// TestEndlessTail has zeros follow what is complete.
func TestEndlessTail(t *testing.T) {
	payload := ustar(file{name: "rootfs.ext4", body: goodImage})
	for place, before := range map[string][]byte{"of the payload": without(parts{}, payload+end), "of the artifact": parts{}.build()} {
		src := &again{b: make([]byte, block)}
		if _, err := Inspect(io.MultiReader(bytes.NewReader(before), src)); !errors.Is(err, ErrLimit) || src.n > 4<<20 {
			t.Errorf("%s: %v, after %d bytes; want ErrLimit, soon", place, err, src.n)
		}
	}
}

// TestEndlessStream has a compressed stream go on without anything coming of it.
func TestEndlessStream(t *testing.T) {
	payload := ustar(file{name: "rootfs.ext4", body: goodImage})
	var flushed bytes.Buffer
	z := gzip.NewWriter(&flushed)
	z.Write([]byte(payload))
	z.Flush()
	open := flushed.Len()
	z.Flush()
	for _, tt := range []struct{ name, suffix, body, filler string }{
		{"empty members", ".gz", gz(payload + end), gz("")},
		{"empty members before the payload", ".gz", "", gz("")},
		{"empty blocks", ".gz", flushed.String()[:open], flushed.String()[open:]},
		{"skippable frames", ".zst", rawZstdOf(t, payload+end), "\x50\x2a\x4d\x18\x04\x00\x00\x00skip"},
		{"padding", ".xz", xzOf(t, payload+end), "\x00\x00\x00\x00"},
	} {
		src := &again{b: []byte(tt.filler)}
		_, err := Inspect(io.MultiReader(bytes.NewReader(without(parts{dataName: "data/0000.tar" + tt.suffix}, tt.body)), src))
		if !errors.Is(err, ErrLimit) || src.n > 4<<20 {
			t.Errorf("%s (%s): %v, after %d bytes; want ErrLimit, soon", tt.name, tt.suffix, err, src.n)
		}
	}
}

func rawZstdOf(t *testing.T, s string) string {
	t.Helper()
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	return string(z.EncodeAll([]byte(s), nil))
}

func xzOf(t *testing.T, s string) string {
	t.Helper()
	var b bytes.Buffer
	z, err := LZMA.writer(&b)
	if err == nil {
		_, err = z.Write([]byte(s))
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestBetweenMembers: what real tools write between members is let through.
func TestBetweenMembers(t *testing.T) {
	for name, before := range map[string]string{
		"a PAX record": ustar(file{name: "x", kind: 'x', body: "27 comment=nothing to see.\n"}),
		"the longest extended attribute of Linux": ustar(file{name: "x", kind: 'x', body: "65571 SCHILY.xattr.user.plimsoll=" + strings.Repeat("x", 65571-34) + "\n"}),
	} {
		p := parts{packData: func(s string) string { return before + s }}
		if _, err := Inspect(bytes.NewReader(p.build())); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	tail := parts{end: strings.Repeat("\x00", 1<<20), dataEnd: strings.Repeat("\x00", 1<<20)}
	if _, err := Inspect(bytes.NewReader(tail.build())); err != nil {
		t.Errorf("1 MiB of zeros behind: %v", err)
	}
}
