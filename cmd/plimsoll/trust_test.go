package main

import (
	"os"
	"path/filepath"
	"testing"
)

// Who may sign what is installed: each row is a [trust] section, and what becomes of an artifact that is signed with the P-256 key, with
// another one, and not at all.
func TestTrust(t *testing.T) {
	t.Parallel()
	image := picture(300000, 4)
	artifacts := []string{
		order{name: "right", image: image, key: "p256"}.write(t),
		order{name: "wrong", image: image, key: "rsa3072"}.write(t),
		order{name: "unsigned", image: image}.write(t),
	}
	none := [3]int{3, 3, 3}
	broken := [3]int{5, 5, 5}
	for _, tt := range []struct {
		name, trust string
		want        [3]int
		says        string
	}{
		{"one key", `keys = ["p256.pub.pem"]`, [3]int{0, 3, 3}, ""},
		{"a pattern", `keys = ["*.pub.pem"]`, [3]int{0, 3, 3}, ""},
		{"one wrong and one right", `keys = ["rsa2048.pub.pem", "p256.pub.pem"]`, [3]int{0, 3, 3}, ""},
		{"both in one file", `keys = ["both.keys"]`, [3]int{0, 3, 3}, ""},
		{"only a wrong one", `keys = ["rsa2048.pub.pem"]`, none, ""},
		{"no keys", `keys = []`, none, "no key is trusted"},
		{"nothing said", ``, none, "no key is trusted"},
		{"a pattern without a match", `keys = ["*.nothing"]`, none, "no key is trusted"},
		{"unsigned allowed, with keys", "keys = [\"p256.pub.pem\"]\nallow_unsigned = true", [3]int{0, 3, 0}, ""},
		{"unsigned allowed, without keys", "allow_unsigned = true", [3]int{0, 0, 0}, ""},
		{"a missing key", `keys = ["p256.pub.pem", "missing.pem"]`, broken, "missing.pem"},
		{"a missing key, unsigned allowed", "keys = [\"missing.pem\"]\nallow_unsigned = true", broken, "missing.pem"},
		{"garbage", `keys = ["p256.pub.pem", "garbage.pem"]`, broken, "garbage.pem"},
		{"garbage, unsigned allowed", "keys = [\"garbage.pem\"]\nallow_unsigned = true", broken, "garbage.pem"},
		{"an empty file", `keys = ["empty.pem"]`, broken, "empty.pem"},
		{"a folder", `keys = ["folder.pem"]`, broken, "folder.pem"},
		{"a link to nowhere", `keys = ["dangling.pem"]`, broken, "dangling.pem"},
		{"a private key", `keys = ["private.pem"]`, broken, "private.pem"},
		{"a pattern that also matches garbage", `keys = ["*.pem"]`, broken, ".pem"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for i, path := range artifacts {
				b := newBench(t)
				b.placeKeys(t)
				b.configure(t, `keys = ["*.pub.pem"]`, tt.trust)
				if tt.name == "a pattern" {
					if err := os.Remove(b.path("rsa2048.pub.pem")); err != nil {
						t.Fatal(err)
					}
				}
				unchanged := b.before(t)
				r := b.run("install", path).want(t, tt.want[i])
				if r.code == 0 {
					b.holds(t, "slot3.img", image)
					continue
				}
				unchanged()
				r.want(t, r.code, tt.says)
			}
		})
	}
}

// placeKeys puts good and bad keys beside the configuration.
func (b bench) placeKeys(t *testing.T) {
	t.Helper()
	rsa, p256 := readFile(t, filepath.Join(keyDir, "rsa2048.pub.pem")), readFile(t, filepath.Join(keyDir, "p256.pub.pem"))
	writeFile(t, b.path("rsa2048.pub.pem"), rsa)
	writeFile(t, b.path("both.keys"), rsa+p256)
	writeFile(t, b.path("garbage.pem"), "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")
	writeFile(t, b.path("empty.pem"), "")
	writeFile(t, b.path("private.pem"), readFile(t, filepath.Join(keyDir, "p256.pem")))
	if err := os.Mkdir(b.path("folder.pem"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("nowhere", b.path("dangling.pem")); err != nil {
		t.Fatal(err)
	}
}
