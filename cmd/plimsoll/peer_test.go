package main

import (
	"bytes"
	"maps"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The peers are Debian's: mender-artifact 3.9 and libubootenv's fw_printenv and fw_setenv.

// peer runs a peer, which must succeed, and returns what it printed on standard output.
func peer(t testing.TB, name string, args ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	c := exec.Command(name, args...)
	c.Stdout, c.Stderr = &stdout, &stderr
	if err := runProcess(c); err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, &stdout, &stderr)
	}
	return stdout.String()
}

// runProcess is c.Run while no call of the command is at work.
func runProcess(c *exec.Cmd) error {
	forks.Lock()
	err := c.Start()
	forks.Unlock()
	if err != nil {
		return err
	}
	return c.Wait()
}

// allFlags are those of both tools, for every field of the header.
var allFlags = []string{"-g", "fleet", "-N", "rel-0", "-G", "fleet", "-p", "site:harbour", "-d", "site:harbour", "--clears-provides", "site.*"}

// What ours writes, Mender's tool verifies and reads as ours does.
func TestPeerReadsOurs(t *testing.T) {
	t.Parallel()
	image := picture(300000, 5)
	for _, compression := range []string{"none", "gzip", "lzma"} {
		for _, key := range []string{"", "rsa2048", "rsa3072", "p256"} {
			t.Run(compression+" "+key, func(t *testing.T) {
				t.Parallel()
				path := order{name: "rel-1", image: image, key: key, flags: append(slices.Clone(allFlags), "--compression", compression)}.write(t)
				sig := []string{}
				if key != "" {
					sig = []string{"-k", filepath.Join(keyDir, key+".pub.pem")}
				}
				peer(t, "mender-artifact", append(append([]string{"validate"}, sig...), path)...)
				theirs := peer(t, "mender-artifact", append(append([]string{"read"}, sig...), path)...)
				ours := call(nil, append(append([]string{"artifact", "read"}, sig...), path)...).want(t, 0).stdout
				if diff := cmp.Diff(facts(theirs), facts(ours)); diff != "" {
					t.Errorf("they read (-) what we read (+):\n%s\n%s", diff, theirs)
				}
				if key != "" && !strings.Contains(theirs, "signed and verified correctly") {
					t.Errorf("not verified:\n%s", theirs)
				}
			})
		}
	}
}

// facts are the names, numbers and sums in the text of read, whose layout differs between the tool's versions. Times are left out: ours
// are printed in UTC.
func facts(text string) []string {
	text = strings.NewReplacer("Compatible devices", "", "Compatible types", "", "Mender artifact", "", "Mender Artifact", "").Replace(text)
	var all []string
	for line := range strings.Lines(text) {
		if strings.Contains(line, "modified:") {
			continue
		}
		for _, w := range regexp.MustCompile(`[\w.*-]*[\w*][\w.*-]*`).FindAllString(line, -1) {
			if w != "0" && w != "Nothing" { // the payload's number, and an empty list: newer versions print neither
				all = append(all, w)
			}
		}
	}
	slices.Sort(all)
	return all
}

// peerArtifact makes an artifact with Mender's tool.
func peerArtifact(t *testing.T, name string, image []byte, compression, key string, flags ...string) string {
	t.Helper()
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "rootfs.img"), string(image))
	path := filepath.Join(dir, name+".mender")
	args := []string{"--compression", compression, "write", "rootfs-image", "-f", filepath.Join(dir, "rootfs.img"), "-n", name, "-t", benchType, "-o", path}
	if key != "" {
		args = append(args, "-k", filepath.Join(keyDir, key+".pem"))
	}
	peer(t, "mender-artifact", append(args, flags...)...)
	return path
}

// What Mender's tool writes, ours verifies and reads as it does.
func TestPeerWritesForUs(t *testing.T) {
	t.Parallel()
	image := picture(300000, 6)
	script := filepath.Join(t.TempDir(), "ArtifactInstall_Enter_01_check")
	writeFile(t, script, "#!/bin/sh\nexit 0\n")
	for _, compression := range []string{"none", "gzip", "lzma"} {
		for _, key := range []string{"", "rsa2048", "p256"} {
			for _, flags := range [][]string{nil, append(slices.Clone(allFlags), "-s", script)} {
				t.Run(strings.Join([]string{compression, key, strings.Join(flags, " ")}, " "), func(t *testing.T) {
					t.Parallel()
					path := peerArtifact(t, "rel-1", image, compression, key, flags...)
					sig := []string{}
					if key != "" {
						sig = []string{"-k", filepath.Join(keyDir, key+".pub.pem")}
					}
					call(nil, append(append([]string{"artifact", "validate"}, sig...), path)...).want(t, 0)
					theirs := peer(t, "mender-artifact", append(append([]string{"read"}, sig...), path)...)
					ours := call(nil, append(append([]string{"artifact", "read"}, sig...), path)...).want(t, 0).stdout
					if diff := cmp.Diff(facts(theirs), facts(ours)); diff != "" {
						t.Errorf("they read (-) what we read (+):\n%s\n%s", diff, theirs)
					}
				})
			}
		}
	}
}

// The image comes into the slot byte for byte, from either tool's artifact, in each compression.
func TestInstallByteForByte(t *testing.T) {
	t.Parallel()
	image := append(picture(1<<20, 7), bytes.Repeat([]byte("plimsoll"), 50001)...)
	paths := map[string]string{}
	for _, c := range []string{"none", "gzip", "lzma", "zstd", "zstd_fastest", "zstd_fast", "zstd_better", "zstd_best"} {
		paths["ours "+c] = order{name: "rel-1", image: image, key: "p256", flags: []string{"--compression", c}}.write(t)
	}
	for _, c := range []string{"none", "gzip", "lzma"} {
		paths["theirs "+c] = peerArtifact(t, "rel-1", image, c, "p256")
	}
	for _, name := range slices.Sorted(maps.Keys(paths)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			rest := readFile(t, b.path("slot3.img"))[len(image):]
			active := readFile(t, b.path("slot2.img"))
			b.run("install", paths[name]).want(t, 0)
			if have := readFile(t, b.path("slot3.img")); have != string(image)+rest {
				t.Error("slot B is not the image, followed by what was there")
			}
			if readFile(t, b.path("slot2.img")) != active {
				t.Error("slot A changed")
			}
			b.run("commit").want(t, 0)
			b.hasEnv(t, "mender_boot_part", "3", "upgrade_available", "0")
		})
	}
}

// printenv reads the boot environment as libubootenv does.
func (b bench) printenv(t *testing.T) map[string]string {
	t.Helper()
	vars := map[string]string{}
	for line := range strings.Lines(peer(t, "fw_printenv", "-c", b.path("fw_env.config"))) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		vars[name] = value
	}
	return vars
}

// fw_printenv reads our environment after each verb, and finds every variable that is not ours as it was.
func TestPeerReadsEnvironment(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	first := order{name: "rel-1", image: picture(300000, 7), key: "p256"}.write(t)
	second := order{name: "rel-2", image: picture(300000, 8), key: "p256", flags: []string{"-p", "plimsoll.floor:2.0"}}.write(t)
	expect := func(changes map[string]string) {
		t.Helper()
		want := maps.Clone(map[string]string(benchEnv))
		maps.Copy(want, changes)
		maps.DeleteFunc(want, func(_, v string) bool { return v == "" })
		got := b.printenv(t)
		if want["plimsoll_trial"] == "ID" && regexp.MustCompile(`^[0-9a-f]{16}$`).MatchString(got["plimsoll_trial"]) {
			got["plimsoll_trial"] = "ID"
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	expect(nil)
	b.run("install", first).want(t, 0)
	expect(map[string]string{"mender_boot_part": "3", "mender_boot_part_hex": "3", "upgrade_available": "1", "bootlimit": "3", "plimsoll_trial": "ID"})
	b.run("commit").want(t, 0)
	expect(map[string]string{"mender_boot_part": "3", "mender_boot_part_hex": "3", "bootlimit": "3"})
	b.run("install", second).want(t, 0)
	expect(map[string]string{"upgrade_available": "1", "bootlimit": "3", "plimsoll_trial": "ID"})
	b.run("rollback").want(t, 0)
	expect(map[string]string{"mender_boot_part": "3", "mender_boot_part_hex": "3", "bootlimit": "3"})
	b.run("install", second).want(t, 0)
	b.run("resume").want(t, 0)
	expect(map[string]string{"bootlimit": "3", "plimsoll_floor": "2.0"})
}

// status reads what fw_setenv wrote, whichever copy it went to, and what is written after it counts.
func TestPeerWritesEnvironment(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for _, part := range []string{"3", "2", "3", "3", "2"} {
		peer(t, "fw_setenv", "-c", b.path("fw_env.config"), "mender_boot_part", part)
		slot := map[string]string{"2": "running:   slot A\n", "3": "running:   slot B\n"}[part]
		if r := b.run("status").want(t, 0); !strings.Contains(r.stdout, slot) {
			t.Errorf("after fw_setenv mender_boot_part %s:\n%s", part, r.stdout)
		}
	}
	b.run("install", order{name: "rel-1", image: picture(300000, 7), key: "p256"}.write(t)).want(t, 0)
	peer(t, "fw_setenv", "-c", b.path("fw_env.config"), "upgrade_available", "0")
	if r := b.run("status").want(t, 0); !strings.Contains(r.stdout, "(row D6)") {
		t.Errorf("committed by fw_setenv:\n%s", r.stdout)
	}
	b.run("resume").want(t, 0)
	if have := b.printenv(t); have["mender_boot_part"] != "3" || have["plimsoll_trial"] != "" {
		t.Errorf("got %v", have)
	}
}

// The peers must be there, and what is missing has a name.
func TestPeersAreInstalled(t *testing.T) {
	for _, name := range []string{"mender-artifact", "fw_printenv", "fw_setenv", "openssl"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Errorf("%v: apt-get install mender-artifact libubootenv-tool openssl", err)
		}
	}
}
