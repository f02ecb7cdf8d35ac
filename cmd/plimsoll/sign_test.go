package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/plimsoll-ota/plimsoll/artifact"
	"github.com/plimsoll-ota/plimsoll/signing"
)

// Several that sign one file at the same time sign it once, each the file that is there when its turn comes.
func TestSignAtOnce(t *testing.T) {
	t.Parallel()
	path := order{name: "rel-1", image: picture(3000000, 4)}.write(t)
	var wg sync.WaitGroup
	codes := make([]int, 6)
	for i := range codes {
		wg.Go(func() {
			key := []string{"p256", "rsa2048", "rsa3072"}[i%3]
			codes[i] = call(nil, "artifact", "sign", "-k", filepath.Join(keyDir, key+".pem"), path).code
		})
	}
	wg.Wait()
	count := map[int]int{}
	for _, code := range codes {
		count[code]++
	}
	if count[exitDone] != 1 || count[exitNothing] != 1 || count[exitFailed] != 4 {
		t.Errorf("exit codes %v: want one that signs, one with the same key that has nothing to do, and four refused", codes)
	}
	call(nil, "artifact", "verify", "-k", filepath.Join(keyDir, "*.pub.pem"), path).want(t, 0)
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// Who waits for the other one can be interrupted.
func TestSignWaits(t *testing.T) {
	t.Parallel()
	path := order{name: "rel-1", image: picture(30000, 4)}.write(t)
	other, err := openAlone(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	ctx, cancel := context.WithCancelCause(context.Background())
	time.AfterFunc(100*time.Millisecond, func() { cancel(errors.New("interrupted by a test")) })
	callIn(ctx, &env{}, "artifact", "sign", "-k", filepath.Join(keyDir, "p256.pem"), path).want(t, exitInterrupted, "interrupted by a test")
	call(nil, "artifact", "verify", path).want(t, 0)
}

// Interrupted while a program signs: the artifact is as it was, and the program is gone.
func TestSignInterrupted(t *testing.T) {
	t.Parallel()
	path := order{name: "rel-1", image: picture(30000, 4)}.write(t)
	before := readFile(t, path)
	started := filepath.Join(t.TempDir(), "started")
	ctx, cancel := context.WithCancelCause(context.Background())
	go func() {
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			if _, err := os.Stat(started); err == nil {
				break
			}
		}
		cancel(errors.New("interrupted by a test"))
	}()
	callIn(ctx, &env{}, "artifact", "sign", "--signer-command", "sh -c 'touch "+started+"; sleep 300'",
		"--public-key", filepath.Join(keyDir, "p256.pub.pem"), path).want(t, exitInterrupted, "interrupted by a test")
	if readFile(t, path) != before {
		t.Error("the artifact changed")
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// The owner and the permissions stay; who may not give a file away says so.
func TestSignKeepsOwner(t *testing.T) {
	if os.Getuid() != 0 {
		t.Fatal("only root gives files away: run it as root")
	}
	t.Parallel()
	for _, through := range []string{"", "link"} {
		path := order{name: "rel-1", image: picture(30000, 4)}.write(t)
		if err := errors.Join(os.Chown(path, 1234, 4321), os.Chmod(path, 0o640)); err != nil {
			t.Fatal(err)
		}
		name := path
		if through != "" {
			name = filepath.Join(t.TempDir(), through)
			if err := os.Symlink(path, name); err != nil {
				t.Fatal(err)
			}
		}
		call(nil, "artifact", "sign", "-k", filepath.Join(keyDir, "p256.pem"), name).want(t, 0)
		st, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		if s := st.Sys().(*syscall.Stat_t); s.Uid != 1234 || s.Gid != 4321 || st.Mode() != 0o640 {
			t.Errorf("owner %d:%d, mode %v", s.Uid, s.Gid, st.Mode())
		}
		if st, err := os.Lstat(name); err != nil || through != "" && st.Mode()&os.ModeSymlink == 0 {
			t.Errorf("%s is no link any more: %v, %v", name, st, err)
		}
	}
}

// Somebody else's file, in a folder of one's own.
func TestSignSomebodyElsesFile(t *testing.T) {
	if os.Getuid() != 0 {
		t.Fatal("only root becomes another user: run it as root")
	}
	t.Parallel()
	dir, err := os.MkdirTemp("", "plimsoll-sign")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "a.mender")
	writeFile(t, path, readFile(t, order{name: "rel-1", image: picture(30000, 4)}.write(t)))
	writeFile(t, filepath.Join(dir, "key.pem"), readFile(t, filepath.Join(keyDir, "p256.pem")))
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	exe := filepath.Join(dir, "plimsoll")
	if err := errors.Join(os.Chown(dir, 65534, 65534), os.Chmod(path, 0o644), os.Chmod(filepath.Join(dir, "key.pem"), 0o644), os.WriteFile(exe, self, 0o755)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "artifact", "sign", "-k", "key.pem", "a.mender")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "TMPDIR="+dir, "HOME="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := runProcess(cmd); err != nil || !strings.Contains(out.String(), "a.mender belongs to you now") {
		t.Errorf("%v: %s", err, &out)
	}
	call(nil, "artifact", "verify", "-k", filepath.Join(keyDir, "p256.pub.pem"), path).want(t, 0)
}

// asked counts how often it is asked to sign.
type asked int

func (a *asked) Sign([]byte) ([]byte, error) { *a++; return []byte("signature"), nil }

// Nobody is asked for a signature that is refused anyhow.
func TestSignAsksLate(t *testing.T) {
	t.Parallel()
	signed := readFile(t, order{name: "rel-1", image: picture(30000, 4), key: "p256"}.write(t))
	var n asked
	if err := artifact.Sign(io.Discard, strings.NewReader(signed), &n, false); !errors.Is(err, artifact.ErrSigned) || n != 0 {
		t.Errorf("got %v, and %d signatures", err, n)
	}
	if err := artifact.Sign(io.Discard, strings.NewReader(signed), &n, true); err != nil || n != 1 {
		t.Errorf("by force: got %v, and %d signatures", err, n)
	}
}

// A signer that the public key contradicts is an error that refuses no artifact.
func TestSignerIsVerified(t *testing.T) {
	t.Parallel()
	key, err := signing.LoadPrivateKey(filepath.Join(keyDir, "p256.pem"))
	if err != nil {
		t.Fatal(err)
	}
	s := &signer{key.Public(), func([]byte) ([]byte, error) { return key.Sign([]byte("something else")) }}
	if sig, err := s.Sign([]byte("manifest")); sig != nil || !errors.Is(err, errBadSignature) || errors.Is(err, signing.ErrMismatch) {
		t.Errorf("got %x, %v", sig, err)
	}
}
