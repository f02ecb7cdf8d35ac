package artifact

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The peer is Mender's own tool, from Debian's package.

// peer runs mender-artifact, which must succeed unless fails is set, and returns what it printed on stdout.
func peer(t *testing.T, fails bool, args ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	c := exec.Command("mender-artifact", args...)
	c.Stdout, c.Stderr = &stdout, &stderr
	if err := c.Run(); (err != nil) != fails {
		t.Fatalf("mender-artifact %s: %v\n%s%s", strings.Join(args, " "), err, &stdout, &stderr)
	}
	return stdout.String()
}

var image = bytes.Repeat([]byte("a small root file system that compresses well\n"), 3000)

// A trial is one header, in our words and in the flags of the peer.
type trial struct {
	name   string
	header Header
	rootfs Software
	flags  []string
}

var trials = []trial{
	{name: "plain"},
	{name: "all", header: Header{Group: "blue", DependsNames: []string{"rel-0", "rel 0"}, DependsGroups: []string{"blue", "green"},
		Provides: map[string]string{"site": "harbour"}, Depends: map[string][]string{"rootfs-image.checksum": {"0123"}}, Clears: []string{"site.*"}},
		flags: []string{"-g", "blue", "-N", "rel-0", "-N", "rel 0", "-G", "blue", "-G", "green", "-p", "site:harbour", "-d", "rootfs-image.checksum:0123", "--clears-provides", "site.*"}},
	{name: "software name", rootfs: Software{Name: "foo"}, flags: []string{"--software-name", "foo"}},
	{name: "software filesystem", rootfs: Software{Filesystem: "data"}, flags: []string{"--software-filesystem", "data"}},
	{name: "software all", rootfs: Software{Filesystem: "data", Name: "foo", Version: "7"}, flags: []string{"--software-filesystem", "data", "--software-name", "foo", "--software-version", "7"}},
	{name: "no version", rootfs: Software{NoVersion: true}, flags: []string{"--no-default-software-version"}},
	{name: "no clears", rootfs: Software{NoClears: true}, flags: []string{"--no-default-clears-provides"}},
	{name: "no clears but one", header: Header{Clears: []string{"site.*"}}, rootfs: Software{NoClears: true}, flags: []string{"--no-default-clears-provides", "--clears-provides", "site.*"}},
	{name: "no checksum", rootfs: Software{NoChecksum: true}, flags: []string{"--no-checksum-provide"}},
	{name: "legacy checksum", rootfs: Software{LegacyChecksum: true}, flags: []string{"--legacy-rootfs-image-checksum"}},
	{name: "own version", header: Header{Provides: map[string]string{"rootfs-image.version": "9"}}, flags: []string{"-p", "rootfs-image.version:9"}},
}

var testScripts = map[string]string{"ArtifactInstall_Enter_01_check": "#!/bin/sh\nexit 0\n", "ArtifactCommit_Leave_90": "#!/bin/sh\nexit 1\n"}

// ours writes the trial's artifact to path.
func (tr trial) ours(t *testing.T, path string, o Options) {
	t.Helper()
	h := tr.header
	h.Name, h.DeviceTypes, h.Type = "rel-1", []string{"rpi3", "bbb"}, RootFS
	o.Rootfs, o.TempDir = &tr.rootfs, t.TempDir()
	var b bytes.Buffer
	w := Create(&b, h, o)
	for name, body := range testScripts {
		if err := w.AddScript(name, int64(len(body)), strings.NewReader(body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Add("rootfs.ext4", int64(len(image)), bytes.NewReader(image)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// theirs has the peer write the same.
func (tr trial) theirs(t *testing.T, path string, flags ...string) {
	t.Helper()
	dir := t.TempDir()
	for name, body := range testScripts {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(body), 0o755); err != nil {
			t.Fatal(err)
		}
		flags = append(flags, "-s", filepath.Join(dir, name))
	}
	rootfs := filepath.Join(dir, "rootfs.ext4")
	if err := os.WriteFile(rootfs, image, 0o644); err != nil {
		t.Fatal(err)
	}
	args := append([]string{"write", "rootfs-image", "--no-progress", "-n", "rel-1", "-t", "rpi3", "-t", "bbb", "-f", rootfs, "-o", path}, flags...)
	peer(t, false, append(args, tr.flags...)...)
}

func inspectFile(t *testing.T, path string) *Info {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := Inspect(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// TestPeerHeaders writes each header with both tools, and reads both with both.
func TestPeerHeaders(t *testing.T) {
	for _, tr := range trials {
		t.Run(tr.name, func(t *testing.T) {
			dir := t.TempDir()
			ours, theirs := filepath.Join(dir, "ours.mender"), filepath.Join(dir, "theirs.mender")
			tr.ours(t, ours, Options{Compression: Gzip})
			tr.theirs(t, theirs, "--compression", "gzip")

			have, want := inspectFile(t, ours), inspectFile(t, theirs)
			if diff := cmp.Diff(byName(want.Header), byName(have.Header)); diff != "" {
				t.Errorf("our reader sees a difference (-theirs +ours):\n%s", diff)
			}
			if have.Files[0].Sum != want.Files[0].Sum {
				t.Errorf("sum of the image is %v, theirs has %v", have.Files[0].Sum, want.Files[0].Sum)
			}
			for _, path := range []string{ours, theirs} {
				if diff := cmp.Diff(testScripts, scriptsOf(t, path)); diff != "" {
					t.Errorf("%s: the scripts (-want +have):\n%s", path, diff)
				}
			}
			if diff := cmp.Diff(readable(peer(t, false, "read", theirs)), readable(peer(t, false, "read", ours))); diff != "" {
				t.Errorf("their reader sees a difference (-theirs +ours):\n%s", diff)
			}
		})
	}
}

// scriptsOf returns what the scripts of an artifact say. Not all of one is read before the next.
func scriptsOf(t *testing.T, path string) map[string]string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := Open(f, anybody{})
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	if err := r.Scripts(func(Script, io.Reader) error { return nil }); err != nil {
		t.Fatal(err)
	}
	err = r.Scripts(func(s Script, text io.Reader) error {
		b, err := io.ReadAll(text)
		all[s.Name] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	stop := errors.New("enough")
	if err := r.Scripts(func(Script, io.Reader) error { return stop }); err != stop {
		t.Errorf("an error of the caller: have %v", err)
	}
	return all
}

// byName sorts the scripts, which the peer writes in random order.
func byName(h Header) string {
	m := make(map[string]Script)
	for _, s := range h.Scripts {
		m[s.Name] = s
	}
	h.Scripts = nil
	b, err := json.MarshalIndent([]any{h, m}, "", "\t")
	if err != nil {
		return err.Error()
	}
	return string(b)
}

var modified = regexp.MustCompile(`modified: .*`)

// readable takes the times out of what read prints, and sorts its lines: the scripts are in random order.
func readable(s string) string {
	lines := strings.Split(modified.ReplaceAllString(s, "modified"), "\n")
	m := make(map[string]int)
	for _, l := range lines {
		m[l]++
	}
	return fmt.Sprint(m)
}

// TestPeerSignatures has each tool validate what the other signed: while it wrote, and afterwards.
func TestPeerSignatures(t *testing.T) {
	for _, c := range []Compression{None, Gzip, LZMA} {
		for _, k := range []testKey{"rsa2048", "rsa3072", "p256"} {
			t.Run(string(c)+" "+string(k), func(t *testing.T) {
				private, public := filepath.Join("../testdata/keys", string(k)+".pem"), filepath.Join("../testdata/keys", string(k)+".pub.pem")
				other := "../testdata/keys/rsa2048.pub.pem"
				if k == "rsa2048" {
					other = "../testdata/keys/rsa3072.pub.pem"
				}
				path := filepath.Join(t.TempDir(), "a.mender")
				tr := trials[0]

				tr.ours(t, path, Options{Compression: c, Signer: k})
				peer(t, false, "validate", "-k", public, path)
				peer(t, true, "validate", "-k", other, path)

				tr.ours(t, path, Options{Compression: c})
				signFile(t, path, k, false)
				peer(t, false, "validate", "-k", public, path)

				tr.theirs(t, path, "--compression", string(c), "-k", private)
				if err := inspectFile(t, path).Verify(k); err != nil {
					t.Error(err)
				}
				tr.theirs(t, path, "--compression", string(c), "-k", "../testdata/keys/rsa2048.pem")
				signFile(t, path, k, true)
				peer(t, false, "validate", "-k", public, path)
			})
		}
	}
}

func signFile(t *testing.T, path string, k testKey, force bool) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var signed bytes.Buffer
	if err := Sign(&signed, bytes.NewReader(b), k, force); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, signed.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestPeerPieces has the peer validate what is longer than one of the pieces in which it was compressed.
func TestPeerPieces(t *testing.T) {
	for c, piece := range map[Compression]int64{Gzip: gzipPiece, LZMA: xzPiece} {
		path := filepath.Join(t.TempDir(), "a.mender")
		var b bytes.Buffer
		size := 2*piece + int64(len(image))
		src := io.MultiReader(io.LimitReader(zeros{}, 2*piece), bytes.NewReader(image))
		if err := write(&b, Options{Compression: c, Signer: testKey("p256"), TempDir: t.TempDir()}, nil, src, size); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		peer(t, false, "validate", "-k", "../testdata/keys/p256.pub.pem", path)
		if have, err := readAll(bytes.NewReader(b.Bytes()), testKey("p256")); err != nil || int64(len(have)) != size {
			t.Errorf("%s: our reader: %d bytes, %v, want %d", c, len(have), err, size)
		}
	}
}

// TestPeerSign shows that what Sign writes is what the peer's sign writes, but for the mode of the signature's member.
func TestPeerSign(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.mender")
	trials[0].ours(t, path, Options{Compression: Gzip})
	unsigned, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	peer(t, false, "sign", "-k", "../testdata/keys/rsa2048.pem", path)
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var have bytes.Buffer
	if err := Sign(&have, bytes.NewReader(unsigned), testKey("rsa2048"), false); err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(want, []byte("manifest.sig"))
	copy(want[at+100:at+156], have.Bytes()[at+100:at+156]) // mode, owner, size, time and checksum
	if !bytes.Equal(have.Bytes(), want) {
		t.Error("other bytes than the peer's")
	}
}
