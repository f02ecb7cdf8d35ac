package mender

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The peers are Debian's: mender-client 3.4, and LMDB 0.9.24 in mdb_load and mdb_dump.

// peer runs a peer, which must succeed, and returns its standard output.
func peer(t testing.TB, stdin, name string, args ...string) string {
	t.Helper()
	c := exec.Command(name, args...)
	var stdout, stderr bytes.Buffer
	c.Stdin, c.Stdout, c.Stderr = strings.NewReader(stdin), &stdout, &stderr
	if err := c.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, &stdout, &stderr)
	}
	return stdout.String()
}

// agrees complains unless ours reads what mdb_dump does, and returns it.
func agrees(t *testing.T, path string) map[string]string {
	t.Helper()
	want := dumped(t, peer(t, "", "mdb_dump", "-n", path))
	got, err := ReadStore(path)
	if diff := cmp.Diff(want, texts(got)); diff != "" || err != nil {
		t.Errorf("%v; they read (-) what we read (+):\n%.1000s", err, diff)
	}
	return want
}

// What mdb_load writes, over and over, ours reads as mdb_dump does.
func TestPeerLMDB(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	random := rand.New(rand.NewPCG(1, 2))
	for round := range 8 {
		load := &strings.Builder{}
		load.WriteString("VERSION=3\nformat=bytevalue\ntype=btree\nmapsize=67108864\nHEADER=END\n")
		for range 1500 {
			size := random.IntN(200)
			if random.IntN(20) == 0 {
				size = random.IntN(20000)
			}
			n := random.IntN(3000)
			fmt.Fprintf(load, " %x\n %x\n", strings.Repeat(fmt.Sprint(n, " "), 1+n%80), bytes.Repeat([]byte{byte(round)}, size))
		}
		load.WriteString("DATA=END\n")
		peer(t, load.String(), "mdb_load", "-n", path)
		if keys := agrees(t, path); len(keys) < 1000 {
			t.Errorf("round %d: %d keys", round, len(keys))
		}
	}
}

// What a client says of itself after each verb, ours says too.
func TestPeerClient(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("not root")
		}
		t.Skip("not root: a client needs mounts")
	}
	root := t.TempDir()
	in := func(path string) string { return filepath.Join(root, path) }
	for _, dir := range []string{"etc/mender", "var/lib/mender", "modules"} {
		must(t, os.MkdirAll(in(dir), 0o755))
	}
	for name, text := range map[string]string{
		"etc/mender/artifact_info": "artifact_name=rel-0\nartifact_group=yard\n", "etc/mender/mender.conf": "{}",
		"var/lib/mender/device_type": "device_type=bench\n", "file": "payload",
		"modules/nothing": "#!/bin/sh\n[ \"$1\" != SupportsRollback ] || echo Yes\n",
	} {
		must(t, os.WriteFile(in(name), []byte(text), 0o755))
	}
	client := func(args ...string) string {
		t.Helper()
		const start = `mount --bind "$1/modules" /usr/share/mender/modules/v3; mount --bind "$1/etc/mender" /etc/mender
			d=$1/var/lib/mender; shift; exec mender --no-syslog -b "$d/none" -d "$d" "$@"`
		return peer(t, "", "unshare", append([]string{"-m", "sh", "-ec", start, "sh", root}, args...)...)
	}
	store := in("var/lib/mender/mender-store")
	check := func(standalone string) {
		t.Helper()
		d, err := Under(root).Read()
		must(t, err)
		var lines strings.Builder
		all := map[string]string{"artifact_name": d.Artifact}
		maps.Copy(all, d.Provides)
		if d.Group != "" {
			all["artifact_group"] = d.Group
		}
		for _, key := range slices.Sorted(maps.Keys(all)) {
			fmt.Fprintf(&lines, "%s=%s\n", key, all[key])
		}
		want := client("show-provides")
		if want == "" { // it falls back to artifact_info only for the name
			want = "artifact_group=yard\nartifact_name=rel-0\n"
		}
		if got := lines.String(); got != want {
			t.Errorf("they provide\n%swe read\n%s", want, got)
		}
		if name := strings.TrimSpace(client("show-artifact")); d.Artifact != name {
			t.Errorf("they run %q, we read %q", name, d.Artifact)
		}
		if got := d.Standalone; (got == nil) != (standalone == "") || got != nil && got.Artifact != standalone {
			t.Errorf("in progress is %+v, want %q", got, standalone)
		}
		agrees(t, store)
	}
	write := func(name string, flags ...string) string {
		t.Helper()
		path := in(name + ".mender")
		peer(t, "", "mender-artifact", append([]string{"write", "module-image", "-T", "nothing", "-n", name, "-t", "bench", "-f", in("file"), "-o", path}, flags...)...)
		return path
	}
	check("")
	client("install", write("rel-1", "-g", "fleet", "-p", "site:harbour", "-p", `quote:"<ü>`))
	check("rel-1")
	client("rollback")
	check("")
	client("install", in("rel-1.mender"))
	client("commit")
	check("")
	client("install", write("rel-2", "-p", "site:lighthouse", "--clears-provides", "*"))
	check("rel-2")
	client("commit")
	check("")
}
