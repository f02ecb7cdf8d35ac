package artifact

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// rewrite rewrites an artifact with another name.
func rewrite(dst io.Writer, src io.Reader, s Signer) error {
	r, err := Rewrite(src)
	if err != nil {
		return err
	}
	h := r.Header()
	h.Name = "rel-2"
	return r.Write(dst, h, RewriteOptions{Signer: s, DropSignature: true})
}

// TestRewriteNothing: what nobody changes stays, every byte of it; with a Signer, all but the signature.
func TestRewriteNothing(t *testing.T) {
	for _, c := range []Compression{None, Gzip, LZMA, Zstd} {
		for _, tail := range []int{0, 8 * block} {
			unsigned, _ := written(t, c, nil, 5000)
			signed, _ := written(t, c, testKey("p256"), 5000)
			other, _ := written(t, c, testKey("rsa3072"), 5000)
			for name, tt := range map[string]struct {
				src, want []byte
				s         Signer
			}{
				"unsigned": {unsigned, unsigned, nil}, "signed": {signed, signed, nil},
				"is signed": {unsigned, signed, testKey("p256")}, "is signed anew": {other, signed, testKey("p256")},
			} {
				var b bytes.Buffer
				r, err := Rewrite(iotest.OneByteReader(bytes.NewReader(append(bytes.Clone(tt.src), make([]byte, tail)...))))
				if err != nil {
					t.Fatal(err)
				}
				if err := r.Write(&b, r.Header(), RewriteOptions{Signer: tt.s}); err != nil {
					t.Errorf("%s, %s: %v", c, name, err)
				}
				if !bytes.Equal(b.Bytes(), append(bytes.Clone(tt.want), make([]byte, tail)...)) {
					t.Errorf("%s, %s: other bytes", c, name)
				}
				if err := r.Write(&b, r.Header(), RewriteOptions{}); err == nil {
					t.Errorf("%s: written twice", name)
				}
			}
		}
	}
}

// TestRewrite: the new header is there, and the payload member is the bytes that it was.
func TestRewrite(t *testing.T) {
	for _, c := range []Compression{None, Gzip, LZMA, Zstd} {
		a, img := written(t, c, testKey("rsa3072"), 5000)
		r, err := Rewrite(bytes.NewReader(a))
		if err != nil {
			t.Fatal(err)
		}
		h := r.Header()
		h.Name, h.Group, h.Provides = "rel-2", "g", map[string]string{"a": "b"}
		script := "#!/bin/sh\n"
		if err := r.AddScript("ArtifactInstall_Enter_00", int64(len(script)), strings.NewReader(script)); err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		when := time.Unix(1700000000, 0)
		if err := r.Write(&b, h, RewriteOptions{Signer: testKey("p256"), ModTime: when}); err != nil {
			t.Fatal(err)
		}
		info := inspect(t, b.Bytes())
		if err := info.Verify(testKey("p256")); err != nil {
			t.Error(err)
		}
		want := h.clone()
		want.Scripts = []Script{{"ArtifactInstall_Enter_00", int64(len(script)), mustSum(script)}}
		if diff := cmp.Diff(want, info.Header); diff != "" {
			t.Errorf("%s (-want +have)\n%s", c, diff)
		}
		was := inspect(t, a)
		if data := func(i *Info, b []byte) []byte {
			m := i.Members[len(i.Members)-1]
			return b[m.Offset-block : m.Offset+m.Size]
		}; !bytes.Equal(data(was, a), data(info, b.Bytes())) {
			t.Errorf("%s: the payload member is another", c)
		}
		for _, m := range info.Members[:len(info.Members)-1] {
			if !m.ModTime.Equal(when) {
				t.Errorf("%s: %s of %v", c, m.Name, m.ModTime)
			}
		}
		if got, err := readAll(&b, testKey("p256")); err != nil || !bytes.Equal(got, img) {
			t.Errorf("%s: %v", c, err)
		}
	}
}

func mustSum(s string) Sum {
	sum, err := ParseSum(sumOf(s))
	if err != nil {
		panic(err)
	}
	return sum
}

// TestRewriteStale: no signature goes unless that is asked for, and then nothing was written.
func TestRewriteStale(t *testing.T) {
	a, _ := written(t, Gzip, testKey("p256"), 10)
	r, err := Rewrite(bytes.NewReader(a))
	if err != nil || !r.Signed() {
		t.Fatal(err)
	}
	h := r.Header()
	h.Name = "rel-2"
	var b bytes.Buffer
	if err := r.Write(&b, h, RewriteOptions{}); !errors.Is(err, ErrStale) || b.Len() > 0 {
		t.Errorf("%v, want ErrStale; %d bytes", err, b.Len())
	}
	if err := rewrite(&b, bytes.NewReader(a), nil); err != nil {
		t.Error(err)
	}
	if info := inspect(t, b.Bytes()); info.Signature != nil || info.Header.Name != "rel-2" {
		t.Errorf("%+v", info.Header)
	}
}

// TestRewriteScripts: those that are there stay, and one of the same name is replaced.
func TestRewriteScripts(t *testing.T) {
	var a, b bytes.Buffer
	if err := write(&a, Options{Compression: Zstd, TempDir: t.TempDir()}, []string{"ArtifactInstall_Enter_00", "ArtifactInstall_Leave_00"}, strings.NewReader("x"), 1); err != nil {
		t.Fatal(err)
	}
	r, err := Rewrite(&a)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ArtifactInstall_Enter_00", "ArtifactCommit_Enter_00"} {
		if err := r.AddScript(name, 3, strings.NewReader("new")); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.AddScript("Idle_Enter_00", 3, strings.NewReader("new")); !errors.Is(err, ErrFormat) {
		t.Errorf("not a script: %v", err)
	}
	if err := r.Write(&b, r.Header(), RewriteOptions{}); err != nil {
		t.Fatal(err)
	}
	want := []Script{{"ArtifactCommit_Enter_00", 3, mustSum("new")}, {"ArtifactInstall_Enter_00", 3, mustSum("new")},
		{"ArtifactInstall_Leave_00", 24, mustSum("ArtifactInstall_Leave_00")}}
	if diff := cmp.Diff(want, inspect(t, b.Bytes()).Header.Scripts); diff != "" {
		t.Error(diff)
	}
}

// TestRewriteUnknown: a key that nobody knows stays, in a payload of any type, and what Mender's tool wrote otherwise is let through.
func TestRewriteUnknown(t *testing.T) {
	src := parts{
		info: moduleInfo, typeInfo: `{"type":"files","x-mine": {"b": 1, "a" : [2]},"artifact_provides":{"k":"v"}}`, version: `{"version": 3, "format": "mender"}`,
		data: []file{{name: "one", body: "1"}, {name: "two", body: "22"}}, packData: gz, dataName: "data/0000.tar.gz",
	}.build()
	var b bytes.Buffer
	if err := rewrite(&b, bytes.NewReader(src), nil); err != nil {
		t.Fatal(err)
	}
	info := inspect(t, b.Bytes())
	if have := string(info.Header.Unknown["x-mine"]); have != `{"b": 1, "a" : [2]}` || info.Header.Name != "rel-2" || info.Header.Provides["k"] != "v" || len(info.Files) != 2 {
		t.Errorf("%+v", info)
	}
	h := Header{Name: "n", DeviceTypes: []string{"x"}, Unknown: map[string]json.RawMessage{"type": []byte("1")}}
	if err := Create(new(bytes.Buffer), h, Options{}).Close(); !errors.Is(err, ErrFormat) {
		t.Errorf("a known key: %v", err)
	}
}

// TestRewriteWrongHeader: what is wrong with the new header is not the artifact's fault.
func TestRewriteWrongHeader(t *testing.T) {
	a, _ := written(t, Gzip, nil, 10)
	for name, spoil := range map[string]func(*Header){
		"a control character": func(h *Header) { h.Name = "a\x01" }, "no name": func(h *Header) { h.Name = "" }, "another type": func(h *Header) { h.Type = "files" },
		"too large": func(h *Header) { h.MetaData = []byte(`{"a":"` + strings.Repeat("x", maxHeader) + `"}`) },
	} {
		r, err := Rewrite(bytes.NewReader(a))
		if err != nil {
			t.Fatal(err)
		}
		h := r.Header()
		spoil(&h)
		if err := r.Write(io.Discard, h, RewriteOptions{}); err == nil || isOurs(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestRewriteVerifies: what is not a good artifact does not become one by another name.
func TestRewriteVerifies(t *testing.T) {
	for _, v := range vectors() {
		want := outcomes[v.expect]
		if errors.Is(want, ErrUntrusted) || errors.Is(want, ErrUnsigned) {
			want = outcomes[v.inspect] // nobody is asked
		}
		var b bytes.Buffer
		err := rewrite(&b, bytes.NewReader(v.data), testKey("p256"))
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", v.name, err, want)
		}
		if want == nil && err == nil {
			if err := inspect(t, b.Bytes()).Verify(testKey("p256")); err != nil {
				t.Errorf("%s: %v", v.name, err)
			}
		}
	}
}

// TestRewriteFails: a destination that fills up, a source that fails or ends, at every number of bytes.
func TestRewriteFails(t *testing.T) {
	broken := errors.New("the stick is gone")
	for _, c := range []Compression{None, Gzip, LZMA, Zstd} {
		a, _ := written(t, c, testKey("p256"), 2000)
		var whole bytes.Buffer
		if err := rewrite(&whole, bytes.NewReader(a), testKey("p256")); err != nil {
			t.Fatal(err)
		}
		for n := 0; n < len(a); n += 37 {
			if err := rewrite(&tight{min(n, whole.Len()-1)}, bytes.NewReader(a), testKey("p256")); !errors.Is(err, errFull) {
				t.Errorf("%s: full after %d bytes: %v", c, n, err)
			}
			if err := rewrite(io.Discard, bytes.NewReader(a[:n]), testKey("p256")); !errors.Is(err, ErrTruncated) {
				t.Errorf("%s: cut at %d of %d: %v", c, n, len(a), err)
			}
			err := rewrite(io.Discard, io.MultiReader(bytes.NewReader(a[:n]), iotest.ErrReader(broken)), testKey("p256"))
			if !errors.Is(err, broken) || isOurs(err) {
				t.Errorf("%s: fails after %d bytes: %v", c, n, err)
			}
		}
		for name, src := range map[string]io.Reader{"half": iotest.HalfReader(bytes.NewReader(a)), "data with error": iotest.DataErrReader(bytes.NewReader(a))} {
			var b bytes.Buffer
			if err := rewrite(&b, src, testKey("p256")); err != nil || !bytes.Equal(b.Bytes(), whole.Bytes()) {
				t.Errorf("%s, %s: %v", c, name, err)
			}
		}
	}
}
