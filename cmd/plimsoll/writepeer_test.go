package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plimsoll-ota/plimsoll/artifact"
)

// A written is what one of the two tools is asked to write, by the same flags.
type written struct {
	name string
	args []string // but for the name, the device type and the output
}

// payloadsToWrite are a few of each type of payload, in the folder dir.
func payloadsToWrite(t *testing.T, dir string) []written {
	t.Helper()
	for name, content := range map[string]string{
		"one.txt": "one\n", "two.txt": strings.Repeat("two\n", 100000), "empty.txt": "", "meta.json": `{"b": "x <&> y", "a": "1", "n": 2}`,
		"rootfs.img": string(picture(200000, 3)), "ArtifactInstall_Enter_01_check": "#!/bin/sh\n", "ArtifactCommit_Leave_02": "#!/bin/sh\n",
	} {
		writeFile(t, filepath.Join(dir, name), content)
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	all := append(slices.Clone(allFlags), "-G", "lab", "-N", "rel-00", "-p", "b:c:d")
	return []written{
		{name: "module", args: []string{"module-image", "-T", "docker", "-f", at("one.txt")}},
		{name: "module, all flags", args: slices.Concat([]string{"module-image", "-T", "docker", "-f", at("two.txt"), "-f", at("one.txt"), "-f", at("empty.txt"), "-m", at("meta.json"),
			"-s", at("ArtifactInstall_Enter_01_check"), "-s", at("ArtifactCommit_Leave_02"), "--software-name", "app", "--software-filesystem", "data", "--software-version", "3"}, all)},
		{name: "module without files", args: []string{"module-image", "-T", "deb"}},
		{name: "module without defaults", args: []string{"module-image", "-T", "deb", "-f", at("one.txt"), "--no-default-software-version", "--no-default-clears-provides"}},
		{name: "module, a version all the same", args: []string{"module-image", "-T", "deb", "-f", at("one.txt"), "--no-default-software-version", "--software-version", "4"}},
		{name: "module that clears its own", args: []string{"module-image", "-T", "deb", "--clears-provides", "rootfs-image.deb.*"}},
		{name: "module, provided before", args: []string{"module-image", "-T", "deb", "-p", "rootfs-image.deb.version:1", "--software-version", "2"}},
		{name: "module, provided after", args: []string{"module-image", "-T", "deb", "--software-version", "2", "-p", "rootfs-image.deb.version:1"}},
		{name: "root file system as a module", args: []string{"module-image", "-T", "rootfs-image", "-f", at("rootfs.img")}},
		{name: "root file system", args: append([]string{"rootfs-image", "-f", at("rootfs.img"), "-s", at("ArtifactInstall_Enter_01_check")}, all...)},
		{name: "root file system, provided before", args: []string{"rootfs-image", "-f", at("rootfs.img"), "-p", "rootfs-image.version:1", "--software-version", "2"}},
		{name: "bootstrap", args: []string{"bootstrap-artifact"}},
		{name: "bootstrap, all flags", args: append([]string{"bootstrap-artifact"}, all...)},
	}
}

// Both tools, told the same, write artifacts that say the same to either; and what is dumped of theirs makes one that does, too.
func TestPeerPayloads(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, w := range payloadsToWrite(t, dir) {
		for _, compression := range []string{"none", "gzip", "lzma"} {
			if compression != "gzip" && !strings.HasSuffix(w.name, "all flags") {
				continue
			}
			t.Run(w.name+" "+compression, func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				ours, theirs, again := filepath.Join(dir, "ours.mender"), filepath.Join(dir, "theirs.mender"), filepath.Join(dir, "again.mender")
				more := []string{"-n", "rel-1", "-t", benchType, "--compression", compression, "-k", filepath.Join(keyDir, "rsa2048.pem")}
				args := slices.Concat([]string{"write"}, w.args, more)
				call(nil, slices.Concat([]string{"artifact"}, args, []string{"-o", ours})...).want(t, 0)
				peer(t, "mender-artifact", append(args, "-o", theirs)...)

				public := filepath.Join(keyDir, "rsa2048.pub.pem")
				peer(t, "mender-artifact", "validate", "-k", public, ours)
				call(nil, "artifact", "verify", "-k", public, theirs).want(t, 0)
				if diff := cmp.Diff(facts(peer(t, "mender-artifact", "read", theirs)), facts(peer(t, "mender-artifact", "read", ours))); diff != "" {
					t.Errorf("they read of theirs (-) and of ours (+):\n%s", diff)
				}
				if diff := cmp.Diff(said(t, theirs), said(t, ours)); diff != "" {
					t.Errorf("we read of theirs (-) and of ours (+):\n%s", diff)
				}
				note := "the command makes" // and if it is in other bytes; without compression they may be the same
				if compression == "gzip" {
					note = "another tool wrote"
				}
				command := call(nil, "artifact", "dump", "--files", filepath.Join(dir, "files"), "--scripts", filepath.Join(dir, "scripts"),
					"--meta-data", filepath.Join(dir, "meta"), "--print0-cmdline", theirs).want(t, 0, note).stdout
				words := strings.Split(strings.TrimSuffix(command, "\x00"), "\x00")
				call(nil, slices.Concat([]string{"artifact"}, words, []string{"-o", again})...).want(t, 0)
				if diff := cmp.Diff(said(t, theirs), said(t, again)); diff != "" {
					t.Errorf("we read of theirs (-) and of what was written again (+):\n%s", diff)
				}
			})
		}
	}
}

// said is all that an artifact says that is not of the tool or of the day.
func said(t *testing.T, path string) (all struct {
	Header artifact.Header
	Files  []artifact.FileInfo
}) {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	info, err := artifact.Inspect(f)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	all.Header, all.Files = info.Header, info.Files
	slices.SortFunc(all.Header.Scripts, func(a, b artifact.Script) int { return strings.Compare(a.Name, b.Name) })
	for i := range all.Files {
		all.Files[i].ModTime = time.Time{}
	}
	if len(all.Header.MetaData) > 0 {
		all.Header.MetaData = []byte(yamlObject(all.Header.MetaData, ""))
	}
	return all
}

// Mender's tool writes what our dump of ours says, if it has the flags: 3.9 calls the device types otherwise.
func TestPeerRunsOurCommand(t *testing.T) {
	t.Parallel()
	for _, w := range payloadsToWrite(t, t.TempDir()) {
		if w.name != "module, all flags" && w.name != "root file system" && w.name != "bootstrap, all flags" {
			continue
		}
		dir := t.TempDir()
		ours, theirs := filepath.Join(dir, "ours.mender"), filepath.Join(dir, "theirs.mender")
		call(nil, slices.Concat([]string{"artifact", "write"}, w.args, []string{"-n", "rel-1", "-c", benchType, "--compression", "gzip", "-o", ours})...).want(t, 0)
		command := call(nil, "artifact", "dump", "--files", filepath.Join(dir, "files"), "--scripts", filepath.Join(dir, "scripts"),
			"--meta-data", filepath.Join(dir, "meta"), "--print-cmdline", ours).want(t, 0, "makes the same manifest").stdout
		words := strings.Fields(strings.ReplaceAll(command, "--compatible-types", "--device-type"))
		peer(t, "mender-artifact", append(words, "-o", theirs)...)
		if diff := cmp.Diff(said(t, ours), said(t, theirs)); diff != "" {
			t.Errorf("%s: we read of ours (-) and of what they wrote (+):\n%s", w.name, diff)
		}
	}
}

// Version 2 of the format is refused by a sentence, wherever one is read.
func TestPeerVersion2(t *testing.T) {
	t.Parallel()
	path := peerArtifact(t, "old", picture(1000, 1), "gzip", "", "-v", "2")
	for _, verb := range []string{"read", "verify", "dump"} {
		call(nil, "artifact", verb, path).want(t, exitRefused, "version 2 of the format, want 3: not supported")
	}
}
