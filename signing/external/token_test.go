package external

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plimsoll-ota/plimsoll/signing"
)

// module is where Debian's softhsm2 has its module.
const module = "/usr/lib/softhsm/libsofthsm2.so"

// softHSM makes a set of tokens of its own for a test: office, which has keys,
// office2 and twin, of which there are two.
func softHSM(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	config := filepath.Join(dir, "softhsm2.conf")
	text := "directories.tokendir = " + dir + "\nobjectstore.backend = file\nlog.level = ERROR\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOFTHSM2_CONF", config)
	for _, label := range []string{"office2", "office", "twin", "twin"} {
		run(t, "softhsm2-util", "--init-token", "--free", "--label", label, "--pin", "1234", "--so-pin", "5678")
	}
	for _, key := range [][2]string{{"p256", "01"}, {"rsa2048", "02"}, {"rsa3072", "03"}} {
		run(t, "softhsm2-util", "--import", pkcs8(t, key[0]), "--token", "office", "--label", key[0], "--id", key[1], "--pin", "1234")
	}
	run(t, "softhsm2-util", "--import", pkcs8(t, "rsa2048"), "--token", "office", "--label", "p256", "--id", "04", "--pin", "1234")
}

func run(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// pkcs8 returns a test key in the form that softhsm2-util reads.
func pkcs8(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	run(t, "openssl", "pkcs8", "-topk8", "-nocrypt", "-in", keyPath(t, name), "-out", path)
	return path
}

func token(t *testing.T, path string, query ...string) *Token {
	t.Helper()
	k, err := ParseToken("pkcs11:" + path + "?" + strings.Join(append(query, "module-path="+module), "&"))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestToken: the public key is that of the file that was put in, and the token
// signs as the file does.
func TestToken(t *testing.T) {
	softHSM(t)
	for path, name := range map[string]string{
		"token=office;id=%01":                                                   "p256",
		"token=office;object=rsa2048":                                           "rsa2048",
		"token=office;object=rsa3072;type=private":                              "rsa3072",
		"model=SoftHSM%20v2;token=office;manufacturer=SoftHSM%20project;id=%02": "rsa2048",
		"token=office;object=p256;id=%01":                                       "p256",
		"token=office;object=p256;id=%04":                                       "rsa2048",
	} {
		t.Run(path, func(t *testing.T) {
			k := token(t, path, "pin-value=1234")
			public, err := k.PublicKey(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got, want := public.Fingerprint(), privateKey(t, name).Public().Fingerprint(); got != want {
				t.Fatalf("got key %s, want that of %s, %s", got, name, want)
			}
			sig, err := k.Sign(t.Context(), public, manifest)
			if err != nil {
				t.Fatal(err)
			}
			if err := privateKey(t, name).Public().Verify(manifest, sig); err != nil || name == "p256" && len(sig) != 64 {
				t.Errorf("%d bytes: %v", len(sig), err)
			}
		})
	}
	t.Run("PIN", testPIN)
	t.Run("PIN is no argument", testPINIsNoArgument)
	t.Run("errors", testTokenErrors)
	t.Run("p11-kit", testProxy)
	t.Run("cancelled", func(t *testing.T) {
		want := errors.New("interrupted by a test")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(want)
		if _, err := token(t, "token=office;id=%01").PublicKey(ctx); !errors.Is(err, want) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("certificate", testCertificate)
}

// testPIN: where it may come from, and that a wrong one is an error.
func testPIN(t *testing.T) {
	public := privateKey(t, "p256").Public()
	file := filepath.Join(t.TempDir(), "pin")
	if err := os.WriteFile(file, []byte("1234\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const key = "token=office;id=%01"
	for _, source := range []string{"file:" + file, "file://" + file, file} {
		if _, err := token(t, key, "pin-source="+source).Sign(t.Context(), public, manifest); err != nil {
			t.Errorf("%s: %v", source, err)
		}
	}
	given := token(t, key)
	given.PIN = "1234"
	if _, err := given.Sign(t.Context(), public, manifest); err != nil {
		t.Error(err)
	}
	if _, err := token(t, key).Sign(t.Context(), public, manifest); !errors.Is(err, ErrNoPIN) {
		t.Errorf("no PIN: got %v", err)
	}
	if _, err := token(t, key, "pin-value=4321").Sign(t.Context(), public, manifest); err == nil || !strings.Contains(err.Error(), "CKR_PIN_INCORRECT") {
		t.Errorf("a wrong PIN: got %v", err)
	}
	if _, err := token(t, key, "pin-source=/no/such/file").Sign(t.Context(), public, manifest); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: got %v", err)
	}
	if _, err := token(t, key, "pin-source=/dev/null").Sign(t.Context(), public, manifest); err == nil || !strings.Contains(err.Error(), "one line with a PIN") {
		t.Errorf("an empty file: got %v", err)
	}
}

// testPINIsNoArgument: arguments are seen by everybody on the machine.
func testPINIsNoArgument(t *testing.T) {
	dir := t.TempDir()
	real, err := exec.LookPath(tool)
	if err != nil {
		t.Fatal(err)
	}
	seen := filepath.Join(dir, "seen")
	wrapper := "#!/bin/sh\necho \"$*\" >> '" + seen + "'\nexec " + real + " \"$@\"\n"
	if err := os.WriteFile(filepath.Join(dir, tool), []byte(wrapper), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	if _, err := token(t, "token=office;id=%01", "pin-value=1234").Sign(t.Context(), privateKey(t, "p256").Public(), manifest); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(seen)
	if err != nil || !strings.Contains(string(b), "--sign ") || strings.Contains(string(b), "1234") {
		t.Errorf("the tool was run with\n%s%v", b, err)
	}
}

func testTokenErrors(t *testing.T) {
	for _, tt := range []struct{ path, says string }{
		{"token=offi;id=%01", `there are "`},
		{"token=twin;id=%01", "2 tokens are what the URI means"},
		{"id=%01", "4 tokens are what the URI means"},
		{"token=office;serial=00;id=%01", "no token is the one"},
		{"token=office;slot-id=1;id=%01", "no token is the one"},
		{"token=office;object=none", "no key that the URI means"},
		{"token=office;object=rsa", "no key that the URI means"},
		{"token=office2;id=%01", "no key that the URI means"},
		{"token=office;object=p256", "2 keys that the URI means (id 01, 04)"},
	} {
		k := token(t, tt.path, "pin-value=1234")
		if _, err := k.PublicKey(t.Context()); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: got %v, want %q", tt.path, err, tt.says)
		}
		if _, err := k.Sign(t.Context(), privateKey(t, "p256").Public(), manifest); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: sign: got %v, want %q", tt.path, err, tt.says)
		}
	}
	k := token(t, "token=office;id=%01", "pin-value=1234")
	if _, err := k.Sign(t.Context(), privateKey(t, "rsa2048").Public(), manifest); err == nil {
		t.Error("signed with a key of another kind")
	}
	if _, err := k.Sign(t.Context(), privateKey(t, "ed25519").Public(), manifest); err == nil || !strings.Contains(err.Error(), "not supported") {
		t.Errorf("Ed25519: got %v", err)
	}
	k = token(t, "token=office;id=%02", "pin-value=1234")
	if _, err := k.Sign(t.Context(), privateKey(t, "rsa3072").Public(), manifest); !errors.Is(err, signing.ErrMismatch) {
		t.Errorf("another RSA key: got %v", err)
	}
	k.uri.module = "/no/such/module.so"
	if _, err := k.PublicKey(t.Context()); err == nil || !strings.Contains(err.Error(), "Failed to load pkcs11 module") {
		t.Errorf("no module: got %v", err)
	}
	k.Timeout = 1
	if _, err := k.PublicKey(t.Context()); !errors.Is(err, ErrTimeout) {
		t.Errorf("no time: got %v", err)
	}
	k.Timeout = 0
	t.Setenv("PATH", t.TempDir())
	if _, err := k.PublicKey(t.Context()); !errors.Is(err, ErrNoTool) {
		t.Errorf("no tool: got %v", err)
	}
}

// testProxy: without module-path p11-kit's modules are asked.
func testProxy(t *testing.T) {
	k, err := ParseToken("pkcs11:token=office;id=%01?pin-value=1234")
	if err != nil {
		t.Fatal(err)
	}
	public, err := k.PublicKey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Sign(t.Context(), public, manifest); err != nil {
		t.Fatal(err)
	}
}

// testCertificate: a token that has a certificate in place of a public key.
func testCertificate(t *testing.T) {
	dir := t.TempDir()
	cert := filepath.Join(dir, "cert.der")
	run(t, "openssl", "req", "-x509", "-key", keyPath(t, "p256"), "-subj", "/CN=x", "-days", "1", "-outform", "DER", "-out", cert)
	run(t, "softhsm2-util", "--import", pkcs8(t, "p256"), "--token", "office2", "--label", "only-cert", "--id", "07", "--pin", "1234")
	listing := run(t, "pkcs11-tool", "--module", module, "--list-token-slots")
	office2, err := (&uri{path: map[string]string{"token": "office2"}}).choose(parseSlots([]byte(listing)))
	if err != nil {
		t.Fatal(err)
	}
	at := []string{"pkcs11-tool", "--module", module, "--slot", office2.id, "--login", "--pin", "1234"}
	run(t, append(at, "--write-object", cert, "--type", "cert", "--id", "07", "--label", "only-cert")...)
	run(t, append(at, "--delete-object", "--type", "pubkey", "--id", "07")...)
	k := token(t, "token=office2;object=only-cert", "pin-value=1234")
	public, err := k.PublicKey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if public.Fingerprint() != privateKey(t, "p256").Public().Fingerprint() {
		t.Fatal("another key")
	}
	if _, err := k.Sign(t.Context(), public, manifest); err != nil {
		t.Fatal(err)
	}
}
