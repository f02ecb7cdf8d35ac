package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const menderConf = `{"ServerURL": "https://old.example.com", "Other": [1, {"b": 2, "a": 1}], "tenanttoken": "x"}`

// sbin finds a program where an ordinary user does not look.
func sbin(t testing.TB, name string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	path := filepath.Join("/usr/sbin", name)
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("make need-test installs it: %v", err)
	}
	return path
}

// rootImage is the image of a root file system like a Mender device's, of 8 MiB.
func rootImage(t testing.TB, kind string) []byte {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"etc/mender/artifact_info": "# mine\nartifact_name=rel-1\nartifact_group=g\n", "etc/mender/mender.conf": menderConf,
		"etc/hostname": "device\n", "etc/plimsoll/keys/artifact.pem": "old", "usr/bin/tool": string(picture(1<<20, 4)), "opt/a/b": "deep",
	} {
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	must(t, os.Symlink("/etc/hostname", filepath.Join(dir, "name")))
	path := filepath.Join(t.TempDir(), "root.img")
	const uuid = "00000000-0000-0000-0000-000000000001"
	c := exec.Command(sbin(t, "mke2fs"), "-q", "-F", "-t", kind, "-d", dir, "-U", uuid, "-E", "root_owner=0:0,hash_seed="+uuid, path, "8M")
	c.Env = append(os.Environ(), "E2FSPROGS_FAKE_TIME=1700000000")
	must(t, runProcess(c))
	return []byte(readFile(t, path))
}

// e2fsck must find nothing in an image.
func clean(t *testing.T, image string) {
	t.Helper()
	peer(t, sbin(t, "e2fsck"), "-fn", image)
}

// payloadImage unpacks the image of an artifact with Mender's hands: tar.
func payloadImage(t *testing.T, path string) string {
	t.Helper()
	dir := t.TempDir()
	peer(t, "tar", "-C", dir, "-xf", path)
	data, err := filepath.Glob(filepath.Join(dir, "data", "0000.tar*"))
	must(t, err)
	peer(t, "tar", "-C", dir, "-xf", data[0])
	return filepath.Join(dir, "rootfs.img")
}

// What ours changed, Mender's tool verifies, reads as ours does, and finds the files in.
func TestPeerAfterEdit(t *testing.T) {
	t.Parallel()
	private, public := filepath.Join(keyDir, "p256.pem"), filepath.Join(keyDir, "p256.pub.pem")
	script := filepath.Join(t.TempDir(), "ArtifactInstall_Enter_01_check")
	writeFile(t, script, "#!/bin/sh\nexit 0\n")
	put := filepath.Join(t.TempDir(), "put")
	writeFile(t, put, "put by plimsoll\n")
	image := rootImage(t, "ext4")
	for _, who := range []string{"ours", "theirs"} {
		t.Run(who, func(t *testing.T) {
			t.Parallel()
			var path string
			if who == "ours" {
				path = order{name: "rel-1", image: image, key: "p256", flags: []string{"--compression", "gzip"}}.write(t)
			} else {
				path = peerArtifact(t, "rel-1", image, "gzip", "p256")
			}
			check := func() {
				t.Helper()
				peer(t, "mender-artifact", "validate", "-k", public, path)
				theirs := peer(t, "mender-artifact", "read", "-k", public, path)
				ours := call(nil, "artifact", "read", "-k", public, path).want(t, 0).stdout
				if diff := cmp.Diff(facts(theirs), facts(ours)); diff != "" {
					t.Errorf("they read (-) what we read (+):\n%s\n%s", diff, theirs)
				}
				img := payloadImage(t, path)
				clean(t, img)
				if sum := sha256Hex(t, img); !strings.Contains(ours, "rootfs-image.checksum: "+sum) {
					t.Errorf("the artifact does not provide %s:\n%s", sum, ours)
				}
			}
			theirCat := func(name, want string) {
				t.Helper()
				if have := peer(t, "mender-artifact", "cat", path+":"+name); have != want {
					t.Errorf("their cat of %s: %q, want %q", name, have, want)
				}
			}
			call(nil, "artifact", "modify", "-k", private, "-n", "rel-2", "-g", "fleet", "-N", "rel-0", "-G", "fleet", "-p", "site:harbour", "-d", "site:harbour",
				"--clears-provides", "site.*", "-s", script, "-u", "https://new.example.com", "-t", "token", path).want(t, 0)
			check()
			theirCat("/etc/mender/artifact_info", "# mine\nartifact_name=rel-2\nartifact_group=g\n")
			call(nil, "artifact", "cp", "-k", private, put, path+":/etc/").want(t, 0)
			check()
			theirCat("/etc/put", "put by plimsoll\n")
			call(nil, "artifact", "install", "-k", private, "-m", "755", put, path+":/usr/bin/tool").want(t, 0)
			check()
			theirCat("/usr/bin/tool", "put by plimsoll\n")
			call(nil, "artifact", "rm", "-r", "-k", private, path+":/opt").want(t, 0)
			check()
			if r := call(nil, "artifact", "ls", path+":/").want(t, 0); strings.Contains(r.stdout, "opt") {
				t.Errorf("/opt is there:\n%s", r.stdout)
			}
			// And what theirs changes, ours reads.
			peer(t, "mender-artifact", "cp", put, path+":/etc/theirs")
			if r := call(nil, "artifact", "cat", path+":/etc/theirs").want(t, 0); r.stdout != "put by plimsoll\n" {
				t.Errorf("our cat: %q", r.stdout)
			}
		})
	}
}

func sha256Hex(t *testing.T, path string) string {
	t.Helper()
	sum, _, _ := strings.Cut(peer(t, "sha256sum", path), " ")
	return sum
}

// diskImage is a disk as a device has it: boot partition, two slots, data; slot B
// may be empty.
func diskImage(t testing.TB, table string, slotB bool) string {
	t.Helper()
	const mib = 1 << 20
	path := filepath.Join(t.TempDir(), "a disk: x.img")
	must(t, os.WriteFile(path, nil, 0o644))
	must(t, os.Truncate(path, 64*mib))
	c := exec.Command(sbin(t, "sfdisk"), "-q", path)
	types := map[string][2]string{"dos": {"c", "83"}, "gpt": {"U", "L"}}[table]
	c.Stdin = strings.NewReader("label: " + table + "\n2048,32768," + types[0] + "\n34816,16384," + types[1] + "\n51200,16384," + types[1] + "\n67584,16384," + types[1] + "\n")
	must(t, runProcess(c))
	fat := filepath.Join(t.TempDir(), "fat")
	must(t, runProcess(exec.Command(sbin(t, "mkfs.fat"), "-C", "--invariant", fat, "16384")))
	root, data := rootImage(t, "ext4"), rootImage(t, "ext3")
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	parts := map[int64][]byte{mib: []byte(readFile(t, fat)), 17 * mib: root, 25 * mib: root, 33 * mib: data}
	if !slotB {
		delete(parts, 25*mib)
	}
	for at, b := range parts {
		_, err := f.WriteAt(b, at)
		must(t, err)
	}
	return path
}

// In a disk image a path is where a device has it: in both slots, on the data
// partition, on the boot partition; and Mender's tool finds it there.
func TestDiskImage(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		table string
		slotB bool
	}{{"dos", true}, {"gpt", true}, {"dos", false}} {
		t.Run(tt.table, func(t *testing.T) {
			t.Parallel()
			disk := diskImage(t, tt.table, tt.slotB)
			put := filepath.Join(t.TempDir(), "put")
			writeFile(t, put, "put by plimsoll\n")
			before := []byte(readFile(t, disk))
			for _, to := range []string{"/etc/put", "/data/put", "/uboot/put", "/boot/efi/efi.txt", "/boot/grub/grub.cfg"} {
				to = "//." + to
				call(nil, "artifact", "cp", put, disk+":"+to).want(t, 0)
				if r := call(nil, "artifact", "cat", disk+":"+to).want(t, 0); r.stdout != "put by plimsoll\n" {
					t.Errorf("%s: %q", to, r.stdout)
				}
			}
			call(nil, "artifact", "modify", "-n", "rel-2", disk).want(t, 0)
			call(nil, "artifact", "install", "-d", "-m", "700", disk+":/data/x/y").want(t, 0)
			call(nil, "artifact", "rm", disk+":/usr/bin/tool").want(t, 0)
			after := []byte(readFile(t, disk))
			const mib = 1 << 20
			slots := []int{17 * mib, 25 * mib}
			if !tt.slotB {
				slots = slots[:1]
				if !bytes.Equal(before[25*mib:33*mib], after[25*mib:33*mib]) {
					t.Error("an empty slot was written to")
				}
			}
			if !bytes.Equal(before[:mib], after[:mib]) || !bytes.Equal(before[41*mib:], after[41*mib:]) || len(before) != len(after) {
				t.Error("something beside the partitions changed")
			}
			for _, at := range append(slices.Clone(slots), 33*mib) {
				p := filepath.Join(t.TempDir(), "part")
				must(t, os.WriteFile(p, after[at:at+8*mib], 0o644))
				clean(t, p)
				if at == 33*mib {
					if out := peer(t, sbin(t, "debugfs"), "-R", "cat /put", p); out != "put by plimsoll\n" {
						t.Errorf("data: %q", out)
					}
					continue
				}
				if out := peer(t, sbin(t, "debugfs"), "-R", "cat /etc/put", p); out != "put by plimsoll\n" {
					t.Errorf("slot at %d: %q", at, out)
				}
				if out := peer(t, sbin(t, "debugfs"), "-R", "cat /etc/mender/artifact_info", p); !strings.Contains(out, "artifact_name=rel-2\n") {
					t.Errorf("slot at %d: %q", at, out)
				}
			}
			p := filepath.Join(t.TempDir(), "fat")
			must(t, os.WriteFile(p, after[mib:17*mib], 0o644))
			peer(t, sbin(t, "fsck.fat"), "-n", p)
			for _, name := range []string{"efi.txt", "grub.cfg", "put"} {
				if out := peer(t, "mtype", "-i", p, "::/"+name); out != "put by plimsoll\n" {
					t.Errorf("boot: %s: %q", name, out)
				}
			}
			if entries, err := os.ReadDir(filepath.Dir(disk)); err != nil || len(entries) != 1 {
				t.Errorf("left behind: %v, %v", entries, err)
			}
			// What is of an artifact, and what would be a guess.
			call(nil, "artifact", "modify", "-p", "a:b", disk).want(t, exitFailed, "it is no artifact")
			call(nil, "artifact", "cp", "-k", filepath.Join(keyDir, "p256.pem"), put, disk+":/etc/put").want(t, exitFailed, "it is no artifact")
			call(nil, "artifact", "rm", disk+":/none").want(t, exitFailed, "file does not exist")
			if have := []byte(readFile(t, disk)); !bytes.Equal(have, after) {
				t.Error("a refused change changed something")
			}
		})
	}
}

// TestPeerDisk: Mender's tool finds our files in a disk image where ours says
// that they are.
func TestPeerDisk(t *testing.T) {
	t.Parallel()
	sbin(t, "parted")
	disk := filepath.Join(t.TempDir(), "disk.img")
	must(t, os.Rename(diskImage(t, "dos", true), disk))
	put := filepath.Join(t.TempDir(), "put")
	writeFile(t, put, "put\n")
	for _, to := range []string{"/etc/put", "/data/put", "/uboot/put.txt", "/boot/efi/efi.txt", "/boot/grub/grub.cfg"} {
		call(nil, "artifact", "cp", put, disk+":"+to).want(t, 0)
		if have := peer(t, "mender-artifact", "cat", disk+":"+to); have != "put\n" {
			t.Errorf("their cat of %s: %q", to, have)
		}
	}
}

// TestEditKilled kills the command at moments all over its work. The image is the
// old one or the new one, byte for byte, and beside it is nothing, or once in a
// while a file with a dot in front.
func TestEditKilled(t *testing.T) {
	t.Parallel()
	image := rootImage(t, "ext4")
	path := order{name: "rel-1", image: image, key: "p256", flags: []string{"--compression", "gzip"}}.write(t)
	old := readFile(t, path)
	put := filepath.Join(t.TempDir(), "put")
	writeFile(t, put, strings.Repeat("put by plimsoll\n", 1000))
	dir, tmp := t.TempDir(), t.TempDir()
	target := filepath.Join(dir, "a.mender")
	start := func() *exec.Cmd {
		writeFile(t, target, old)
		c := plimsoll("artifact", "cp", "-k", filepath.Join(keyDir, "p256.pem"), put, target+":/etc/hostname")
		c.Env = append(os.Environ(), "TMPDIR="+tmp)
		forks.Lock()
		defer forks.Unlock()
		must(t, c.Start())
		return c
	}
	begun := time.Now()
	must(t, start().Wait())
	took, changed := time.Since(begun), readFile(t, target)
	if changed == old {
		t.Fatal("nothing changed")
	}
	const moments = 24
	kept, killed := 0, 0
	for k := range moments {
		c := start()
		time.Sleep(took * time.Duration(k) / (moments - 4))
		c.Process.Kill()
		if c.Wait() != nil {
			killed++
		}
		switch readFile(t, target) {
		case old:
			kept++
		case changed:
		default:
			t.Errorf("killed at %d of %d: neither the old artifact nor the new one", k, moments)
		}
		for _, d := range []string{dir, tmp} {
			entries, err := os.ReadDir(d)
			must(t, err)
			for _, e := range entries {
				if e.Name() != "a.mender" && !strings.HasPrefix(e.Name(), ".a.mender.") {
					t.Errorf("killed at %d of %d: %s is left", k, moments, e.Name())
				}
			}
		}
	}
	if killed < moments/8 || kept < moments/8 { // on a busy machine the clock is a poor guide
		t.Errorf("of %d only %d were killed, and %d left the old one: the moments are wrong", moments, killed, kept)
	}
	t.Logf("%d of %d killed, %d left the old artifact", killed, moments, kept)
}
