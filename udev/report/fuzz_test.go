package report

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
)

// harmless: whatever was read can be shown, kept and written again.
func harmless(t *testing.T, s *Signed) {
	t.Helper()
	checkText(t, s.Text())
	b, err := Encode(s.Report, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) > fileSize {
		t.Errorf("%d bytes", len(b))
	}
	again, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	want := s.Report
	want.Schema = Schema
	if !again.Shortened {
		if d := cmp.Diff(want, again.Report); d != "" {
			t.Errorf("read -, written and read again +\n%s", d)
		}
	}
	if !holds(padded(b), &again.Report) || !holds(b[:max(len(b)-1, 0)], &again.Report) {
		t.Error("it does not know its own")
	}
	found := []Found{{Report: s.Report, Trust: Unsigned}}
	var out strings.Builder
	if err := Table(&out, found, nil); err != nil {
		t.Fatal(err)
	}
	if err := CSV(&out, found, nil); err != nil {
		t.Fatal(err)
	}
	if i := strings.IndexFunc(out.String(), func(r rune) bool { return !unicode.IsPrint(r) && r != '\n' && r != '\r' }); i >= 0 {
		t.Errorf("%q is not printable", out.String()[i:])
	}
	if name := folderName(s.Serial); strings.ContainsAny(name, "/\\\x00") || strings.Trim(name, ".") == "" || len(name) > 64 {
		t.Errorf("%q is the folder %q", s.Serial, name)
	}
}

// FuzzParse is given the object beneath the checksum, or none would get there.
func FuzzParse(f *testing.F) {
	for _, r := range []Report{sample(), largest(), {Sequence: 1, Result: "x"}} {
		b, err := encodeReport(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, []byte("c2ln"))
	}
	f.Add([]byte(`{"schema":1,"sequence":1,"result":"a","uptime":1e999}`), []byte(""))
	f.Fuzz(func(t *testing.T, object, signature []byte) {
		if _, err := Parse(object); err == nil && !bytes.Contains(object, []byte("sha256")) {
			t.Error("an object without an envelope was read")
		}
		b := fmt.Appendf(nil, `{"report":%s,"sha256":"%x","signature":"%s"}`, object, sha256.Sum256(object), signature)
		if s, err := Parse(b); err == nil {
			harmless(t, s)
		}
		b = fmt.Appendf(nil, `{"report":%s,"sha256":"%x"}`, object, sha256.Sum256(object))
		if s, err := Parse(b); err == nil {
			harmless(t, s)
		}
	})
}

// FuzzRead is given a file as it lies on a stick.
func FuzzRead(f *testing.F) {
	b, err := Encode(sample(), newKey(1))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b, "12.json")
	f.Add(padded(b), "01.json")
	f.Add(b[:100], "x.JSON")
	f.Fuzz(func(t *testing.T, b []byte, name string) {
		if name == "" || len(name) > 200 || strings.ContainsAny(name, "/\x00") || name == "." || name == ".." {
			return
		}
		dir := t.TempDir()
		put(t, b, dir, "plimsoll/reports/SN", name)
		put(t, b, dir, "plimsoll/reports", name)
		r, err := Read(dir, ReadOptions{Keys: func(string) Verifier { return newKey(1) }})
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range r.Problems {
			if s := p.Error(); s != line(s, maxDetail) {
				t.Errorf("problem %q", s)
			}
		}
		for _, f := range r.Reports {
			if f.Trust == Verified && f.Report.Serial != "SN-0042" {
				t.Errorf("verified %+v", f)
			}
			if f.Path != line(f.Path, maxName) {
				t.Errorf("path %q", f.Path)
			}
		}
	})
}

// FuzzOpen is given a sealed log.
func FuzzOpen(f *testing.F) {
	k, public := office(f)
	sealed, err := public.Seal(sample(), []byte("a log\n"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed)
	f.Add([]byte("-----BEGIN " + typeSealed + "-----\nKey: " + public.Fingerprint() + "\n\nAAAA\n-----END " + typeSealed + "-----\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if log, err := k.Open(sample(), b); err == nil && string(log) != "a log\n" {
			t.Errorf("opened as %q", log)
		}
		r := sample()
		sealedFor(b, &r)
	})
}
