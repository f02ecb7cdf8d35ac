package data

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// asRoot is for what only root can set up: without it these tests fail, and
// skip nothing.
func asRoot(t testing.TB) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("owners, capabilities and mounts need root: run the tests as root")
	}
}

// A thing is what a test puts into a tree, or finds there.
type thing struct {
	kind     string
	content  string // or where a link leads
	mode     uint32
	uid, gid uint32
	attrs    map[string]string
	sec      int64 // 0: not compared
}

func file(content string) thing { return thing{kind: kindFile, content: content, mode: 0o644} }
func folder() thing             { return thing{kind: kindFolder, mode: 0o755} }
func link(to string) thing      { return thing{kind: kindLink, content: to} }

// A forest is things by their path from the root. Folders on the way need not
// be in it.
type forest map[string]thing

// grow makes the things of a forest beneath root.
func grow(t testing.TB, root string, f forest) {
	t.Helper()
	for _, p := range sorted(f) {
		th, path := f[p], filepath.Join(root, p)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		switch th.kind {
		case kindFile:
			must(t, os.WriteFile(path, []byte(th.content), 0o600))
		case kindLink:
			must(t, os.Symlink(th.content, path))
		case kindFolder:
			must(t, os.MkdirAll(path, 0o755))
		}
		must(t, os.Lchown(path, int(th.uid), int(th.gid)))
		for name, v := range th.attrs {
			must(t, unix.Lsetxattr(path, name, []byte(v), 0))
		}
		if th.kind != kindLink {
			must(t, unix.Chmod(path, th.mode))
		}
	}
	for _, p := range sorted(f) {
		if sec := f[p].sec; sec != 0 {
			ts := unix.NsecToTimespec(time.Unix(sec, 123456789).UnixNano())
			must(t, unix.UtimesNanoAt(unix.AT_FDCWD, filepath.Join(root, p), []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW))
		}
	}
}

func sorted(f forest) []string {
	var all []string
	for p := range f {
		all = append(all, p)
	}
	for i := range all { // few
		for j := i; j > 0 && all[j] < all[j-1]; j-- {
			all[j], all[j-1] = all[j-1], all[j]
		}
	}
	return all
}

// survey returns all that is beneath root.
func survey(t testing.TB, root string) forest {
	t.Helper()
	f := forest{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		f["/"+strings.TrimPrefix(path, root+"/")] = thingAt(t, path)
		return nil
	})
	must(t, err)
	return f
}

func thingAt(t testing.TB, path string) thing {
	t.Helper()
	var st unix.Stat_t
	must(t, unix.Lstat(path, &st))
	th := thing{mode: st.Mode & 0o7777, uid: st.Uid, gid: st.Gid, sec: int64(st.Mtim.Sec)}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		b, err := os.ReadFile(path)
		must(t, err)
		th.kind, th.content = kindFile, string(b)
	case unix.S_IFLNK:
		to, err := os.Readlink(path)
		must(t, err)
		th.kind, th.content, th.mode = kindLink, to, 0
	case unix.S_IFDIR:
		th.kind, th.sec = kindFolder, 0
	}
	b := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, b)
	if err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
		t.Fatal(err)
	}
	for name := range bytes.SplitSeq(b[:max(n, 0)], []byte{0}) {
		if len(name) > 0 {
			v := make([]byte, 64<<10)
			n, err := unix.Lgetxattr(path, string(name), v)
			must(t, err)
			if th.attrs == nil {
				th.attrs = map[string]string{}
			}
			th.attrs[string(name)] = string(v[:n])
		}
	}
	return th
}

// same compares what is beneath root with a forest. Where the forest says no
// time, none is compared.
func same(t testing.TB, what, root string, want forest) {
	t.Helper()
	if d := difference(t, root, want); d != "" {
		t.Errorf("%s: have (-) and want (+):\n%s", what, d)
	}
}

func difference(t testing.TB, root string, want forest) string {
	t.Helper()
	have, want := survey(t, root), maps.Clone(want)
	for p := range want { // folders on the way
		for up := filepath.Dir(p); up != "/"; up = filepath.Dir(up) {
			if _, ok := want[up]; !ok {
				want[up] = folder()
			}
		}
	}
	for p, th := range have {
		if want[p].sec == 0 || th.kind == kindFolder {
			th.sec = 0
			have[p] = th
		}
	}
	for p, th := range want {
		if th.kind == kindFolder {
			th.sec = 0
			want[p] = th
		}
	}
	return cmp.Diff(have, want, cmp.AllowUnexported(thing{}))
}

// capability is cap_net_bind_service=ep, as VFS_CAP_REVISION_2.
const capability = "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

// acl is user::rw-, user:1000:r--, group::r--, mask::r--, other::---.
const acl = "\x02\x00\x00\x00" +
	"\x01\x00\x06\x00\xff\xff\xff\xff" + "\x02\x00\x04\x00\xe8\x03\x00\x00" +
	"\x04\x00\x04\x00\xff\xff\xff\xff" + "\x10\x00\x04\x00\xff\xff\xff\xff" + "\x20\x00\x00\x00\xff\xff\xff\xff"

// kept is one of everything that goes with an update.
func kept() forest {
	return forest{
		"/etc/ssh/ssh_host_key": {kind: kindFile, content: "private", mode: 0o600, sec: 1600000000},
		"/etc/ssh/ssh_host.pub": {kind: kindFile, content: "public", mode: 0o644, uid: 7, gid: 8, sec: 1600000001},
		"/etc/machine-id":       {kind: kindFile, content: "0123456789abcdef\n", mode: 0o444, sec: -5},
		"/etc/net":              {kind: kindFolder, mode: 0o2750, uid: 3, gid: 4, attrs: map[string]string{"user.what": "net"}},
		"/etc/net/wlan":         {kind: kindFile, content: "psk", mode: 0o640, attrs: map[string]string{"user.b": "1", "user.a": "", "system.posix_acl_access": acl}},
		"/etc/net/empty":        {kind: kindFile, mode: 0o4711, uid: 5, gid: 6},
		"/etc/net/current":      {kind: kindLink, content: "wlan", uid: 9, gid: 10, sec: 1600000002},
		"/etc/net/away":         link("/nowhere/../../at all"),
		"/etc/net/d":            folder(),
		"/etc/net/d/e":          folder(),
		"/etc/net/d/e/bin":      {kind: kindFile, content: "#!", mode: 0o755, uid: 1, gid: 1, attrs: map[string]string{"security.capability": capability}},
		"/etc/net/odd\nname%00": file("newline"),
		"/etc/net/\xff\xfe":     file("no UTF-8"),
		"/etc/net/big":          file(strings.Repeat("0123456789abcdef", 40_000)),
	}
}

var keptPaths = []string{"/etc/ssh/ssh_host_key", "/etc/ssh/ssh_host.pub", "/etc/machine-id", "/etc/net", "/etc/none", "/var/none/x"}

// A place is an old root, a new one and a state directory.
type place struct{ old, new, state, dir string }

func newPlace(t testing.TB) place {
	t.Helper()
	asRoot(t)
	dir := t.TempDir()
	p := place{filepath.Join(dir, "old"), filepath.Join(dir, "new"), filepath.Join(dir, "state"), filepath.Join(dir, "state", "carry")}
	for _, d := range []string{p.old, p.new, p.state} {
		must(t, os.Mkdir(d, 0o755))
	}
	return p
}

func (p place) request(paths ...string) Request {
	return Request{Root: p.old, Paths: paths, Dir: p.dir}
}

// has complains unless the findings of a report are those: "kind path".
func (r Report) has(t testing.TB, want ...string) {
	t.Helper()
	var have []string
	for _, f := range r.Findings {
		have = append(have, fmt.Sprintf("%s %s", f.Kind, f.Path))
		if f.Why == "" {
			t.Errorf("%s %s: no reason", f.Kind, f.Path)
		}
	}
	if d := cmp.Diff(have, want); d != "" {
		t.Errorf("findings: have (-) and want (+):\n%s%v", d, r.Findings)
	}
}

// seal returns the end of a manifest with these lines.
func seal(lines []byte) []byte {
	sum := sha256.Sum256(lines)
	return fmt.Appendf(nil, `{"end":{"entries":1,"bytes":0,"sha256":"%x"}}`+"\n", sum)
}
