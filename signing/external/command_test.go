package external

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/plimsoll-ota/plimsoll/signing"
)

const keyDir = "../../testdata/keys"

var manifest = []byte("6f2a  data/0000/rootfs.ext4\n")

func privateKey(t testing.TB, name string) *signing.PrivateKey {
	t.Helper()
	k, err := signing.LoadPrivateKey(filepath.Join(keyDir, name+".pem"))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func keyPath(t testing.TB, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(keyDir, name+".pem"))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// shell is a signer that a shell runs.
func shell(t testing.TB, key, script string) *Command {
	t.Helper()
	return &Command{Args: []string{"sh", "-c", script}, Key: keyPath(t, key), Public: privateKey(t, key).Public(), Timeout: 20 * time.Second}
}

// TestCommand: openssl signs, in each form, by the manifest and by the digest.
func TestCommand(t *testing.T) {
	const digest = `printf %s "$PLIMSOLL_SHA256_BASE64" | base64 -d | openssl pkeyutl -sign -inkey "$PLIMSOLL_KEY" -pkeyopt digest:sha256`
	tests := []struct{ name, key, script string }{
		{"DER", "p256", `openssl dgst -sha256 -sign "$PLIMSOLL_KEY"`},
		{"RSA", "rsa2048", `openssl dgst -sha256 -sign "$PLIMSOLL_KEY"`},
		{"RSA, 3072", "rsa3072", `openssl dgst -sha256 -sign "$PLIMSOLL_KEY"`},
		{"base64 in lines", "rsa3072", `openssl dgst -sha256 -sign "$PLIMSOLL_KEY" | base64`},
		{"base64 in a line", "p256", `openssl dgst -sha256 -sign "$PLIMSOLL_KEY" | openssl base64 -A`},
		{"the digest, base64", "p256", digest},
		{"the digest, RSA", "rsa2048", digest},
		{"Ed25519", "ed25519", `t=$(mktemp) && cat > "$t" && openssl pkeyutl -sign -rawin -in "$t" -inkey "$PLIMSOLL_KEY"; rm "$t"`},
		{"what it leaves behind", "p256", `openssl dgst -sha256 -sign "$PLIMSOLL_KEY"; sleep 5 >&- 2>&- &`},
		{"what it leaves behind with its pipes", "p256", `openssl dgst -sha256 -sign "$PLIMSOLL_KEY"; sleep 5 &`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := shell(t, tt.key, tt.script)
			sig, err := c.Sign(t.Context(), manifest)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Public.Verify(manifest, sig); err != nil || tt.key == "p256" && len(sig) != 64 {
				t.Errorf("%d bytes: %v", len(sig), err)
			}
		})
	}
}

// TestCommandEnvironment: what the program is told, and what it is given.
func TestCommandEnvironment(t *testing.T) {
	dir := t.TempDir()
	c := shell(t, "p256", `cat > "$1/stdin"; env | grep ^PLIMSOLL_ | sort > "$1/env"; printf %s "$2" > "$1/arg"`)
	c.Args = append(c.Args, "sh", dir, "two words")
	c.Key = "projects/x/keys/y"
	if _, err := c.Sign(t.Context(), manifest); !errors.Is(err, signing.ErrMismatch) || !strings.Contains(err.Error(), "nothing was given") {
		t.Errorf("got %v", err)
	}
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if got := read("stdin"); got != string(manifest) {
		t.Errorf("standard input: got %q", got)
	}
	if got := read("arg"); got != "two words" {
		t.Errorf("argument: got %q", got)
	}
	want := "PLIMSOLL_ALGORITHM=p256\nPLIMSOLL_KEY=projects/x/keys/y\n" +
		"PLIMSOLL_SHA256=a5d570c6ac3acbe06e3aa97da8511fc8235e9ce63ac7987e9f40e7f6f509867f\nPLIMSOLL_SHA256_BASE64=pdVwxqw6y+BuOql9qFEfyCNenOY6x5h+n0Dn9vUJhn8=\n"
	if got := read("env"); got != want {
		t.Errorf("environment: got\n%swant\n%s", got, want)
	}
}

// TestCommandFails: whatever a program does wrong, there is no signature, and
// the error says why.
func TestCommandFails(t *testing.T) {
	tests := []struct {
		name, script string
		is           error
		says         string
	}{
		{"says nothing", `cat > /dev/null`, signing.ErrMismatch, "nothing was given"},
		{"fails", `echo before >&2; printf '\033[1mno such key\n\n' >&2; exit 3`, nil, "exit status 3: [1mno such key"},
		{"fails silently", `exit 7`, nil, "sh: exit status 7"},
		{"signs and fails", `openssl dgst -sha256 -sign "$PLIMSOLL_KEY"; exit 1`, nil, "exit status 1"},
		{"is killed", `kill -9 $$`, nil, "signal: killed"},
		{"another key", `openssl dgst -sha256 -sign ` + keyPath(t, "rsa2048"), signing.ErrMismatch, "what sh gave"},
		{"another manifest", `echo x | openssl dgst -sha256 -sign "$PLIMSOLL_KEY"`, signing.ErrMismatch, "another manifest"},
		{"a word before", `echo signature:; openssl dgst -sha256 -sign "$PLIMSOLL_KEY"`, signing.ErrMismatch, "bytes"},
		{"says too much", `cat /dev/zero`, nil, "more than 4096 bytes"},
		{"says one byte too much", `head -c 4097 /dev/zero`, nil, "more than 4096 bytes"},
		{"says just not too much", `head -c 4096 /dev/zero`, signing.ErrMismatch, "4096 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			sig, err := shell(t, "p256", tt.script).Sign(t.Context(), manifest)
			if sig != nil || err == nil || tt.is != nil && !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %x, %v, want %q", sig, err, tt.says)
			}
		})
	}
	c := &Command{Args: []string{"no-such-program"}, Public: privateKey(t, "p256").Public()}
	if _, err := c.Sign(t.Context(), manifest); err == nil || !strings.Contains(err.Error(), "not found") {
		t.Errorf("a missing program: got %v", err)
	}
}

// TestCommandNoKey: without a public key nothing is accepted.
func TestCommandNoKey(t *testing.T) {
	c := shell(t, "p256", `openssl dgst -sha256 -sign "$PLIMSOLL_KEY"`)
	c.Public = signing.PublicKey{}
	if sig, err := c.Sign(t.Context(), manifest); sig != nil || !errors.Is(err, signing.ErrMismatch) {
		t.Errorf("got %x, %v", sig, err)
	}
}

// TestCommandIgnoresInput: a large manifest that the program does not read is
// no error of the pipe.
func TestCommandIgnoresInput(t *testing.T) {
	big := bytes.Repeat([]byte("x"), 1<<20)
	c := shell(t, "p256", `printf %s "$PLIMSOLL_SHA256_BASE64" | base64 -d | openssl pkeyutl -sign -inkey "$PLIMSOLL_KEY" -pkeyopt digest:sha256`)
	if _, err := c.Sign(t.Context(), big); err != nil {
		t.Error(err)
	}
}

// TestCommandStderr is passed on as it comes.
func TestCommandStderr(t *testing.T) {
	var said bytes.Buffer
	c := shell(t, "p256", `echo touch the key >&2; openssl dgst -sha256 -sign "$PLIMSOLL_KEY"`)
	c.Stderr = &said
	if _, err := c.Sign(t.Context(), manifest); err != nil || said.String() != "touch the key\n" {
		t.Errorf("got %q, %v", said.String(), err)
	}
}

// TestCommandIsEnded: by its time and by ctx, with all that it started, even
// what does not want to.
func TestCommandIsEnded(t *testing.T) {
	want := errors.New("interrupted by a test")
	for _, stubborn := range []string{"", "trap '' TERM; "} {
		for _, how := range []string{"cancel", "timeout"} {
			t.Run(how+" "+stubborn, func(t *testing.T) {
				pids := filepath.Join(t.TempDir(), "pids")
				c := shell(t, "p256", stubborn+`sh -c '`+strings.ReplaceAll(stubborn, "'", `'\''`)+`echo $$ >> "$1"; while :; do sleep 60; done' sh "$1" & echo $$ >> "$1"; while :; do sleep 60; done`)
				c.Args = append(c.Args, "sh", pids)
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				var list []int
				started := make(chan struct{})
				go func() {
					defer close(started)
					for end := time.Now().Add(10 * time.Second); len(list) < 2 && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
						list = readPids(pids)
					}
					if how == "cancel" {
						cancel(want)
					}
				}()
				if how == "timeout" {
					c.Timeout = time.Second
				}
				_, err := c.Sign(ctx, manifest)
				<-started
				switch {
				case how == "cancel" && !errors.Is(err, want), how == "timeout" && !errors.Is(err, ErrTimeout):
					t.Errorf("got %v", err)
				}
				if len(list) < 2 {
					t.Fatalf("only %d processes were started", len(list))
				}
				for _, pid := range list {
					for end := time.Now().Add(2 * time.Second); alive(pid); time.Sleep(5 * time.Millisecond) {
						if time.Now().After(end) {
							_ = syscall.Kill(pid, syscall.SIGKILL)
							t.Fatalf("process %d lives on", pid)
						}
					}
				}
			})
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(want)
	if _, err := shell(t, "p256", "exit 0").Sign(ctx, manifest); !errors.Is(err, want) {
		t.Errorf("cancelled before: got %v", err)
	}
}
