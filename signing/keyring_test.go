package signing

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const keyDir = "../testdata/keys"

var manifest = []byte("aa2ba2ab5a2ee2a8d8c2b7ad9a3bcd6c1f0fb41a3cd45a9e2b0f0c9d8f0c6f3a  version\n")

func load(t testing.TB, name string) *PrivateKey {
	t.Helper()
	key, err := LoadPrivateKey(filepath.Join(keyDir, name+".pem"))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func sign(t testing.TB, key *PrivateKey, manifest []byte) []byte {
	t.Helper()
	sig, err := key.Sign(manifest)
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(keyDir, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestVerify is the table of Keyring.Verify, and more signatures than it has columns.
func TestVerify(t *testing.T) {
	rsa, p256 := load(t, "rsa2048"), load(t, "p256")
	right, wrong := sign(t, p256, manifest), sign(t, rsa, manifest)
	type keys = []PublicKey
	none, one, both, zero := keys(nil), keys{p256.Public()}, keys{load(t, "rsa3072").Public(), p256.Public()}, keys{{}}
	tests := []struct {
		name  string
		keys  keys
		allow bool
		sig   []byte
		want  error
	}{
		{"no keys, no signature", none, false, nil, ErrNoKeys},
		{"no keys, a signature", none, false, right, ErrNoKeys},
		{"a key, no signature", one, false, nil, errUnsigned},
		{"a key, the right signature", one, false, right, nil},
		{"a key, a signature by another", one, false, wrong, ErrMismatch},
		{"a key, an empty signature is not none", one, false, []byte{}, ErrMismatch},
		{"the wrong key and the right one", both, false, right, nil},
		{"two wrong keys", both, false, wrong, ErrMismatch},
		{"a key that is the zero value", zero, false, right, ErrMismatch},
		{"a key that is the zero value, no signature", zero, false, nil, errUnsigned},
		{"unsigned allowed, no keys, no signature", none, true, nil, nil},
		{"unsigned allowed, no keys, a signature", none, true, wrong, nil},
		{"unsigned allowed, a key, no signature", one, true, nil, nil},
		{"unsigned allowed, a key, the right signature", one, true, right, nil},
		{"unsigned allowed, a key, a signature by another", one, true, wrong, ErrMismatch},
		{"unsigned allowed, a key, an empty signature", one, true, []byte{}, ErrMismatch},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ring := Keyring{Keys: tt.keys, AllowUnsigned: tt.allow}
			if got := ring.Verify(manifest, tt.sig); !errors.Is(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
	var zeroRing Keyring
	if err := zeroRing.Verify(manifest, nil); !errors.Is(err, ErrNoKeys) {
		t.Errorf("the zero value: got %v, want %v", err, ErrNoKeys)
	}
}

// keyFiles fills a folder with every kind of file that may lie among keys.
func keyFiles(t *testing.T) string {
	dir := t.TempDir()
	p256, rsa := read(t, "p256.pub.pem"), read(t, "rsa2048.pub.pem")
	files := map[string][]byte{
		"good/a.pem":           p256,
		"good/b.pem":           rsa,
		"good/.b.pem.swp":      {0},
		"good/.hidden.pem":     {0},
		"good/readme.txt":      []byte("keys"),
		"two/both.pem":         concat(p256, rsa),
		"text/commented.pem":   concat([]byte("# ours, since 2024\n"), p256, []byte("# theirs\r\n"), rsa, []byte("# end\n")),
		"crlf/a.pem":           bytes.ReplaceAll(p256, []byte("\n"), []byte("\r\n")),
		"brackets[1]/k[1].pem": p256,
		"empty/a.pem":          p256,
		"empty/b.pem":          {},
		"garbage/a.pem":        p256,
		"garbage/b.pem":        []byte("hello\n"),
		"cut/a.pem":            concat(p256, rsa[:len(rsa)/2]),
		"middle/a.pem":         concat(p256[:len(p256)/2], rsa),
		"begin/a.pem":          concat(p256, rsa[1:]),
		"base64/a.pem":         concat(p256, bytes.Replace(rsa, []byte("MIIB"), []byte("MI!B"), 1)),
		"der/a.pem":            concat(p256, bytes.Replace(rsa, []byte("MIIB"), []byte("MIIC"), 1)),
		"private/a.pem":        read(t, "p256.pem"),
		"large/a.pem":          concat(p256, bytes.Repeat([]byte("#"), maxKeyFile)),
		"folder/a.pem/b.pem":   p256,
	}
	for name, b := range files {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, b, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	links := map[string]string{
		"linked/a.pem":   "../good/a.pem",
		"dangling/a.pem": "nowhere",
		"eio/a.pem":      "/proc/self/mem", // opens, and fails to read, for root too
		"loop":           "loop",
	}
	for name, to := range links {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.Symlink(to, path)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func concat(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func TestLoadKeyring(t *testing.T) {
	dir := keyFiles(t)
	tests := []struct {
		name     string
		patterns []string
		want     int // keys; -1 for an error
	}{
		{"no patterns", nil, 0},
		{"a path", []string{"good/a.pem"}, 1},
		{"a link", []string{"linked/*"}, 1},
		{"wildcards, hidden files apart", []string{"good/*.pem"}, 2},
		{"other wildcards", []string{"good/[ab].p?m"}, 2},
		{"an escaped name", []string{`good/\a.pem`}, 1},
		{"wildcards match what is no key", []string{"good/*"}, -1},
		{"hidden files when asked for", []string{"good/.*.pem"}, -1},
		{"several patterns", []string{"good/a.pem", "two/*.pem"}, 3},
		{"two keys in a file", []string{"two/both.pem"}, 2},
		{"text around keys", []string{"text/*.pem"}, 2},
		{"line ends of another system", []string{"crlf/*.pem"}, 1},
		{"a name with brackets", []string{"brackets[1]/k[1].pem"}, 1},
		{"wildcards in a folder with brackets", []string{"brackets[1]/*.pem"}, -1},
		{"wildcards without a match", []string{"good/*.key"}, 0},
		{"wildcards in a folder that is not there", []string{"nowhere/*.pem"}, 0},
		{"a path that is not there", []string{"good/c.pem"}, -1},
		{"a path in a folder that is not there", []string{"nowhere/a.pem"}, -1},
		{"one path of two is not there", []string{"good/a.pem", "good/c.pem"}, -1},
		{"an empty path", []string{""}, -1},
		{"a folder", []string{"good"}, -1},
		{"a folder with a slash", []string{"good/"}, -1},
		{"a folder among the files", []string{"folder/*.pem"}, -1},
		{"wildcards beneath a file", []string{"good/a.pem/*.pem"}, -1},
		{"wildcards beneath a folder that cannot be read", []string{"loop/*.pem"}, -1},
		{"wildcards before the last element", []string{"*/a.pem"}, -1},
		{"wildcards that are not well formed", []string{"good/[.pem"}, -1},
		{"an empty file", []string{"empty/*.pem"}, -1},
		{"a file of something else", []string{"garbage/*.pem"}, -1},
		{"the second key is cut short", []string{"cut/*.pem"}, -1},
		{"the first key is cut short", []string{"middle/*.pem"}, -1},
		{"the second key lost a dash", []string{"begin/*.pem"}, -1},
		{"the second key is not base64", []string{"base64/*.pem"}, -1},
		{"the second key is not DER", []string{"der/*.pem"}, -1},
		{"a private key", []string{"private/*.pem"}, -1},
		{"a file too large for a key", []string{"large/*.pem"}, -1},
		{"a link to nothing", []string{"dangling/*.pem"}, -1},
		{"a file that fails to read", []string{"eio/*.pem"}, -1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var patterns []string
			for _, p := range tt.patterns {
				if p != "" {
					p = dir + "/" + p
				}
				patterns = append(patterns, p)
			}
			ring, err := LoadKeyring(patterns...)
			switch {
			case tt.want < 0:
				if err == nil || ring != nil {
					t.Errorf("got %v, %v, want an error and no keyring", ring, err)
				}
			case err != nil:
				t.Error(err)
			case len(ring.Keys) != tt.want || ring.AllowUnsigned:
				t.Errorf("got %d keys, unsigned allowed: %v; want %d, false", len(ring.Keys), ring.AllowUnsigned, tt.want)
			}
		})
	}
}

// TestLoadKeyringHere has patterns without a folder: they are of the working directory.
func TestLoadKeyringHere(t *testing.T) {
	t.Chdir(keyDir)
	for _, pattern := range []string{"p256.pub.pem", "p*.pub.pem", "./p256.pub.*"} {
		if ring, err := LoadKeyring(pattern); err != nil || len(ring.Keys) != 1 {
			t.Errorf("%s: got %v, %v, want one key", pattern, ring, err)
		}
	}
}

// TestLoadErrors: an error says which file it is about, and which file is missing can be asked.
func TestLoadErrors(t *testing.T) {
	dir := keyFiles(t)
	for _, name := range []string{"garbage/b.pem", "eio/a.pem", "large/a.pem", "nowhere.pem", "folder/a.pem"} {
		path := filepath.Join(dir, name)
		_, public := LoadKeyring(path)
		_, private := LoadPrivateKey(path)
		for _, err := range []error{public, private} {
			if err == nil || strings.Count(err.Error(), path) != 1 {
				t.Errorf("%s: got %v, want an error that names the file once", name, err)
			}
			if missing := name == "nowhere.pem"; errors.Is(err, fs.ErrNotExist) != missing {
				t.Errorf("%s: got %v; is it missing: want %v", name, err, missing)
			}
		}
	}
}
