package bootloader

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// Debian's libubootenv is the peer: what it writes we read, what we write it
// reads, and both write to the same copy.

// config writes an fw_env.config for the peer.
func config(t *testing.T, copies ...Location) string {
	t.Helper()
	text := ""
	for _, l := range copies {
		text += fmt.Sprintf("%s %#x %#x\n", l.Path, l.Offset, l.Size)
	}
	path := filepath.Join(t.TempDir(), "fw_env.config")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// printenv is the environment as fw_printenv reads it.
func printenv(t *testing.T, config string) Env {
	t.Helper()
	e := Env{}
	for line := range strings.Lines(run(t, "fw_printenv", "-c", config) + "\n") {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		if value != "" {
			e[name] = value
		}
	}
	return e
}

func TestPeerAgreesOnTheCurrentCopy(t *testing.T) {
	for _, v := range []struct {
		a, b byte
		bad  int
		want int
	}{
		{5, 6, -1, 1}, {6, 5, -1, 0}, {255, 0, -1, 1}, {0, 255, -1, 0}, {7, 7, -1, 0}, {254, 255, -1, 1}, {255, 254, -1, 0}, {1, 255, -1, 1},
		{5, 6, 1, 0}, {6, 5, 0, 1}, {255, 0, 1, 0}, {0, 255, 0, 1}, {7, 7, 0, 1},
	} {
		t.Run(fmt.Sprintf("%d,%d bad %d", v.a, v.b, v.bad), func(t *testing.T) {
			copies := [][]byte{encode(t, Env{"is": "0"}, true, v.a), encode(t, Env{"is": "1"}, true, v.b)}
			if v.bad >= 0 {
				copies[v.bad] = damaged(copies[v.bad])
			}
			u := newBench(t, Options{}, copies...)
			cfg := config(t, u.Locations()...)
			want := Env{"is": fmt.Sprint(v.want)}
			both := func(want Env) {
				t.Helper()
				ours, err := u.Env()
				if d := cmp.Diff(want, ours); d != "" || err != nil {
					t.Errorf("ours: %v\n%s", err, d)
				}
				if d := cmp.Diff(want, printenv(t, cfg)); d != "" {
					t.Errorf("theirs: %s", d)
				}
			}
			both(want)

			// Each writes from the same beginning: to the same copy, with the same flags.
			if err := u.Update(set("new", "1")); err != nil {
				t.Fatal(err)
			}
			both(Env{"is": want["is"], "new": "1"})
			ours := [][]byte{u.get(0), u.get(1)}
			u.put(0, copies[0])
			u.put(1, copies[1])
			run(t, "fw_setenv", "-c", cfg, "new", "1")
			both(Env{"is": want["is"], "new": "1"})
			for i := range ours {
				theirs := u.get(i)
				if ours[i][4] != theirs[4] || bytes.Equal(ours[i], copies[i]) != bytes.Equal(theirs, copies[i]) {
					t.Errorf("copy %d: our flags %d, their flags %d, or only one of us wrote it", i, ours[i][4], theirs[4])
				}
			}

			// And one after the other, through the wrap and back.
			for i := range 4 {
				run(t, "fw_setenv", "-c", cfg, "theirs", fmt.Sprint(i))
				if err := u.Update(set("ours", fmt.Sprint(i))); err != nil {
					t.Fatal(err)
				}
				both(Env{"is": want["is"], "new": "1", "theirs": fmt.Sprint(i), "ours": fmt.Sprint(i)})
			}
		})
	}
}

// fw_printenv reads what each verb leaves.
func TestPeerReadsEachVerb(t *testing.T) {
	for _, redundant := range []bool{true, false} {
		start := with(board(), "plimsoll_future", "kept = as it is")
		copies := [][]byte{encode(t, start, redundant, 255)}
		if redundant {
			copies = append(copies, encode(t, Env{"old": "1"}, true, 254))
		}
		u := newBench(t, Options{SingleCopy: !redundant}, copies...)
		cfg := config(t, u.Locations()...)
		for _, step := range []struct {
			name string
			f    func() error
			want []string
		}{
			{"read", func() error { return nil }, nil},
			{"try", func() error { return u.Try(Trial{11, "0123", 3}) },
				[]string{varPart, "11", varPartHex, "b", varTrial, "1", varCount, "0", varLimit, "3", varID, "0123"}},
			{"rollback", func() error { return u.Rollback(2) }, []string{varPart, "2", varPartHex, "2", varTrial, "0", varID, ""}},
			{"try again", func() error { return u.Try(Trial{3, "4567", 2}) },
				[]string{varPart, "3", varPartHex, "3", varTrial, "1", varLimit, "2", varID, "4567"}},
			{"commit", func() error { return u.Commit(3, "1.2.3") }, []string{varTrial, "0", varID, "", varFloor, "1.2.3"}},
		} {
			if err := step.f(); err != nil {
				t.Fatalf("%s: %v", step.name, err)
			}
			start = with(start, step.want...)
			if d := cmp.Diff(start, printenv(t, cfg)); d != "" {
				t.Errorf("redundant %v, %s: %s", redundant, step.name, d)
			}
		}
		// And theirs by us, in one batch.
		cmd := exec.Command("fw_setenv", "-c", cfg, "-s", "-")
		cmd.Stdin = strings.NewReader(varTrial + "=1\n" + varPart + "=2\n" + varID + "=89ab\n" + varFloor + "=\n")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		st, err := u.State()
		if err != nil || !st.Trial || st.Part != 2 || st.ID != "89ab" || st.Floor != "" {
			t.Errorf("redundant %v: %+v, %v", redundant, st, err)
		}
	}
}

func TestPeerReadsARestoredEnvironment(t *testing.T) {
	good := encode(t, board(), true, 255)
	u := newBench(t, Options{}, damaged(good), damaged(good))
	if err := u.Restore(good, 3); err != nil {
		t.Fatal(err)
	}
	want := with(board(), varPart, "3", varPartHex, "3")
	cfg := config(t, u.Locations()...)
	for _, lost := range []int{-1, 0} {
		if lost >= 0 {
			u.put(lost, damaged(u.get(lost)))
		}
		if d := cmp.Diff(want, printenv(t, cfg)); d != "" {
			t.Errorf("copy %d lost: %s", lost, d)
		}
	}
}

// Numbers in fw_env.config mean to us what they mean to the peer, which counts
// from the end of block devices only.
func TestPeerReadsNumbersAsWeDo(t *testing.T) {
	dir := t.TempDir()
	path, cfg := filepath.Join(dir, "env"), filepath.Join(dir, "fw_env.config")
	image := make([]byte, 0x1000)
	copy(image[0x400:], encode(t, board(), true, 1))
	copy(image[0x800:], encode(t, with(board(), "is", "second"), true, 2))
	if err := os.WriteFile(path, image, 0o600); err != nil {
		t.Fatal(err)
	}
	device := loop(t, path)
	for _, v := range []string{
		"@ 0x400 0x400\n@ 0x800 0x400\n", "@ 1024 400\n@ 2048 0X400\n", "@ 02000 400\n@ 0x800 400\n",
		"# head\n@ 0x400 0x400 0x400 1\n@ 0x800 0x400 400 1\n", "@ -0xc00 0x400\n@ -2048 0x400\n",
	} {
		if err := os.WriteFile(cfg, []byte(strings.ReplaceAll(v, "@", device)), 0o600); err != nil {
			t.Fatal(err)
		}
		copies, err := ReadConfig(cfg)
		if err != nil {
			t.Fatal(err)
		}
		u, err := OpenUBoot(Options{}, copies...)
		if err != nil {
			t.Fatal(err)
		}
		ours, err := u.Env()
		if d := cmp.Diff(printenv(t, cfg), ours); d != "" || err != nil || ours["is"] != "second" {
			t.Errorf("%q: %v\n%s", v, err, d)
		}
	}
}

// The lock is libubootenv's own: whoever comes second waits.
func TestPeerLock(t *testing.T) {
	u := newBench(t, Options{LockPath: defaultLock}, pair(t, board())...)
	cfg := config(t, u.Locations()...)

	// They wait for us.
	started := make(chan *exec.Cmd)
	err := u.Update(func(e Env) error {
		cmd := exec.Command("fw_setenv", "-c", cfg, "theirs", "1")
		if err := cmd.Start(); err != nil {
			return err
		}
		go func() { started <- cmd }()
		time.Sleep(200 * time.Millisecond)
		var info unix.Siginfo
		if err := unix.Waitid(unix.P_PID, cmd.Process.Pid, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil); err != nil {
			return err
		}
		if info.Signo != 0 {
			t.Error("fw_setenv did not wait for our lock")
		}
		e["ours"] = "1"
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := (<-started).Wait(); err != nil {
		t.Fatal(err)
	}
	if e, err := u.Env(); err != nil || e["ours"] != "1" || e["theirs"] != "1" {
		t.Errorf("a write was lost: %v, %v", e, err)
	}

	// And all at once: no write is lost.
	const each = 10
	var all sync.WaitGroup
	for i := range each {
		all.Go(func() {
			if out, err := exec.Command("fw_setenv", "-c", cfg, fmt.Sprint("t", i), "1").CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
		all.Go(func() {
			if err := u.Update(set(fmt.Sprint("o", i), "1")); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	e := printenv(t, cfg)
	for i := range each {
		if e[fmt.Sprint("t", i)] != "1" || e[fmt.Sprint("o", i)] != "1" {
			t.Errorf("write %d was lost: %v", i, e)
		}
	}
}

// We wait for them: for whoever holds an exclusive flock on their file.
func TestPeerLockHeld(t *testing.T) {
	u := newBench(t, Options{LockPath: filepath.Join(t.TempDir(), "lock")}, pair(t, board())...)
	holder := exec.Command("flock", "-x", u.options.LockPath, "sh", "-c", "echo held; sleep 0.5")
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if err := u.Update(set("a", "b")); err != nil || time.Since(start) < 300*time.Millisecond {
		t.Errorf("%v after %v: not waited for", err, time.Since(start))
	}
	if err := holder.Wait(); err != nil {
		t.Fatal(err)
	}
}
