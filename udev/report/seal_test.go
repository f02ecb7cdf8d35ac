package report

import (
	"bytes"
	"crypto/ecdh"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func office(t testing.TB) (*OfficeKey, LogKey) {
	t.Helper()
	k, err := GenerateOfficeKey()
	must(t, err)
	return k, k.Public()
}

func TestOfficeKeyFiles(t *testing.T) {
	k, public := office(t)
	dir := t.TempDir()
	private, err := k.MarshalPEM()
	must(t, err)
	text, err := public.MarshalPEM()
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "private"), private, 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "public"), text, 0o600))
	k2, err := LoadOfficeKey(filepath.Join(dir, "private"))
	must(t, err)
	public2, err := LoadLogKey(filepath.Join(dir, "public"))
	must(t, err)
	if k2.Public() != public || *public2 != public {
		t.Error("what was written is read otherwise")
	}
	if bytes.Contains(private, []byte("-----BEGIN PRIVATE KEY")) {
		t.Error("it could be taken for a key to sign with")
	}

	block, _ := pem.Decode(text)
	low := bytes.Clone(block.Bytes)
	copy(low[len(low)-32:], make([]byte, 32)) // the point 0, of low order
	relabelled := func(typ string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: der}))
	}
	p256, err := ecdh.P256().GenerateKey(bytes.NewReader(bytes.Repeat([]byte{7}, 1000)))
	must(t, err)
	p256DER, err := x509.MarshalPKCS8PrivateKey(p256)
	must(t, err)
	p256Public, err := x509.MarshalPKIXPublicKey(p256.PublicKey())
	must(t, err)
	tests := []struct {
		name, private, public string // the text for either, "" for none
	}{
		{"empty", " ", " "},
		{"the other half", string(text), string(private)},
		{"of another type", relabelled("PRIVATE KEY", nil), relabelled("PUBLIC KEY", block.Bytes)},
		{"damaged", relabelled(typePrivate, []byte("x")), relabelled(typePublic, block.Bytes[1:])},
		{"of another curve", relabelled(typePrivate, p256DER), relabelled(typePublic, p256Public)},
		{"two", string(private) + string(private), string(text) + string(text)},
		{"cut", string(private[:len(private)/2]), string(text[:len(text)/2])},
		{"one that hides nothing", "", relabelled(typePublic, low)},
	}
	for _, tt := range tests {
		if _, err := ParseOfficeKey([]byte(tt.private)); tt.private != "" && !errors.Is(err, ErrOfficeKey) {
			t.Errorf("%s, private: got %v", tt.name, err)
		}
		if _, err := ParseLogKey([]byte(tt.public)); !errors.Is(err, ErrOfficeKey) {
			t.Errorf("%s, public: got %v", tt.name, err)
		}
	}
	must(t, os.Truncate(filepath.Join(dir, "private"), maxKey+1))
	if _, err := LoadOfficeKey(filepath.Join(dir, "private")); err == nil || !strings.Contains(err.Error(), "private") {
		t.Errorf("a file too large: got %v", err)
	}
}

func TestSeal(t *testing.T) {
	k, public := office(t)
	other, _ := office(t)
	log := []byte("first\nsecond \x1b[31m\xff\n")
	sealed, err := public.Seal(sample(), log)
	must(t, err)
	if bytes.Contains(sealed, []byte("second")) || !bytes.Contains(sealed, []byte("Serial: SN-0042\n")) {
		t.Errorf("got\n%s", sealed)
	}
	got, err := k.Open(sample(), sealed)
	if err != nil || !bytes.Equal(got, log) {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := other.Open(sample(), sealed); !errors.Is(err, ErrSealed) || !strings.Contains(err.Error(), public.Fingerprint()) {
		t.Errorf("with another key: %v", err)
	}
	for name, change := range map[string]func(*Report){
		"serial": func(r *Report) { r.Serial = "SN-1" }, "sequence": func(r *Report) { r.Sequence++ }, "store": func(r *Report) { r.Store = "1" },
	} {
		r := sample()
		change(&r)
		if _, err := k.Open(r, sealed); !errors.Is(err, ErrSealed) {
			t.Errorf("another %s: got %v", name, err)
		}
	}
	for n := range sealed {
		if _, err := k.Open(sample(), sealed[:n]); !errors.Is(err, ErrSealed) && n < len(sealed)-1 {
			t.Fatalf("cut at %d: %v", n, err)
		}
		flipped := bytes.Clone(sealed)
		flipped[n] ^= 1
		if b, err := k.Open(sample(), flipped); err == nil && !bytes.Equal(b, log) {
			t.Fatalf("changed at %d: opened as %q", n, b)
		}
	}
	if _, err := k.Open(sample(), nil); !errors.Is(err, ErrSealed) {
		t.Errorf("nothing: %v", err)
	}
}

// TestSealBounds: of a log that is too long the end is sealed, from a line on.
func TestSealBounds(t *testing.T) {
	k, public := office(t)
	log := []byte(strings.Repeat("a line of some length\n", 10000) + "the end\n")
	r := largest()
	r.Serial = strings.Repeat("漢", maxID)
	sealed, err := public.Seal(r, log)
	must(t, err)
	if len(sealed) > maxSealed {
		t.Errorf("%d bytes, at most %d", len(sealed), maxSealed)
	}
	r.clean()
	got, err := k.Open(r, sealed)
	if err != nil || len(got) > maxLog || len(got) < maxLog-100 || !bytes.HasPrefix(got, []byte("a line of")) || !bytes.HasSuffix(got, []byte("the end\n")) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	binary := bytes.Repeat([]byte{7}, 2*maxLog)
	sealed, err = public.Seal(sample(), binary)
	must(t, err)
	if got, err := k.Open(sample(), sealed); err != nil || len(got) != maxLog {
		t.Errorf("without lines: %d bytes, %v", len(got), err)
	}
}

// TestWriteLog: the log goes beside the report, is bound to it, and is replaced
// with it.
func TestWriteLog(t *testing.T) {
	k, public := office(t)
	for _, allocated := range []bool{false, true} {
		dir, root := opened(t, t.TempDir())
		if allocated {
			must(t, Allocate(dir, 1))
		}
		var log string
		o := Options{Signer: newKey(1), Office: &public, Log: func(Report) []byte { return []byte(log) }}
		for _, log = range []string{"restarting\n", strings.Repeat("went back\n", 1000), "short\n"} {
			written, err := Write(root, []Report{sample()}, o)
			if err != nil || len(written) != 1 {
				t.Fatal(err)
			}
			r, err := Read(dir, ReadOptions{Office: k})
			if err != nil || len(r.Problems) > 0 || len(r.Reports) != 1 || string(r.Reports[0].Log) != log {
				t.Fatalf("%v, %+v", err, r)
			}
		}
		path := filepath.Join(dir, "plimsoll/reports/SN-0042/12.log.sealed")
		sealed := readFile(t, path)
		for name, damage := range map[string]func() error{
			"cut":    func() error { return os.Truncate(path, int64(len(sealed)/2)) },
			"gone":   func() error { return os.Remove(path) },
			"a link": func() error { return errors.Join(os.Remove(path), os.Symlink("/etc/passwd", path)) },
			"sealed anew": func() error {
				b, err := public.Seal(sample(), []byte("lies\n"))
				return errors.Join(err, os.WriteFile(path, b, 0o644))
			},
		} {
			must(t, damage())
			r, err := Read(dir, ReadOptions{Office: k})
			if err != nil || len(r.Reports) != 1 || r.Reports[0].Log != nil || len(r.Problems) != 1 || !strings.Contains(r.Problems[0].Error(), "log that it speaks of") {
				t.Errorf("%s: %v, %+v", name, err, r)
			}
			must(t, os.RemoveAll(path))
			must(t, os.WriteFile(path, []byte(sealed), 0o644))
		}

		// Without a log, or an office, nothing leaves the device.
		log = ""
		if _, err := Write(root, []Report{sample()}, o); err != nil {
			t.Error(err)
		}
		if r, err := Read(dir, ReadOptions{Office: k}); err != nil || r.Reports[0].LogSHA256 != "" || r.Reports[0].Log != nil {
			t.Errorf("%v, %+v", err, r)
		}
		if _, err := Write(root, []Report{sample()}, Options{Log: func(Report) []byte { t.Error("asked for the log"); return nil }}); err != nil {
			t.Error(err)
		}
	}
}

// TestWriteLogFull: there is no room for the log. The report counts.
func TestWriteLogFull(t *testing.T) {
	asRoot(t)
	_, public := office(t)
	dir := t.TempDir()
	mount(t, "tmpfs", dir, "tmpfs", 0, "size=64k")
	_, root := opened(t, dir)
	o := Options{Office: &public, Log: func(Report) []byte { return bytes.Repeat([]byte("x\n"), maxLog) }}
	written, err := Write(root, []Report{sample()}, o)
	if err == nil || len(written) != 1 || written[0].LogSHA256 != "" {
		t.Errorf("wrote %+v, %v", written, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "plimsoll/reports/SN-0042/12.log.sealed")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("half a log is left: %v", err)
	}
	if all := readAll(t, dir); len(all) != 1 {
		t.Errorf("read %d", len(all))
	}
}
