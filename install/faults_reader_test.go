package install_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"testing/iotest"

	"github.com/plimsoll-ota/plimsoll/artifact"
	"github.com/plimsoll-ota/plimsoll/bootloader"
	"github.com/plimsoll-ota/plimsoll/install"
	"github.com/plimsoll-ota/plimsoll/partition"
	"github.com/plimsoll-ota/plimsoll/signing"
)

// errStick is what a stick that was pulled says.
var errStick = errors.New("the stick is gone")

// refusals are what the command exits with 3 for.
var refusals = []error{
	artifact.ErrUnsigned, artifact.ErrUntrusted, artifact.ErrChecksum, artifact.ErrFormat, artifact.ErrTruncated,
	artifact.ErrLimit, artifact.ErrUnsupported, signing.ErrMismatch,
}

func refusal(err error) bool {
	for _, is := range refusals {
		if errors.Is(err, is) {
			return true
		}
	}
	return false
}

// device opens the bench as the command does.
func (d *bench) device(t *testing.T) *install.Device {
	t.Helper()
	var host partition.Host
	pair, err := host.Find(partition.Spec{A: d.path("slot2.img"), B: d.path("slot3.img")})
	must(t, err)
	copies, err := bootloader.ReadConfig(d.path("fw_env.config"))
	must(t, err)
	boot, err := bootloader.OpenUBoot(bootloader.Options{LockPath: d.path("fw.lock")}, copies...)
	must(t, err)
	ring, err := signing.LoadKeyring(d.path("key.pem"))
	must(t, err)
	return &install.Device{
		Type: "bench", Slots: pair, Host: host, Boot: boot, Trust: ring,
		StateDir: d.path("state"), TrialBoots: 3, Bench: true,
	}
}

// sources are what may be wrong with an artifact at position k.
var sources = []struct {
	name  string
	wrong func(rnd *rand.Rand, b []byte, k int) io.Reader
	is    func(error) bool
}{
	{"ends", func(_ *rand.Rand, b []byte, k int) io.Reader { return bytes.NewReader(b[:k]) }, refusal},
	{"fails", func(_ *rand.Rand, b []byte, k int) io.Reader {
		return io.MultiReader(bytes.NewReader(b[:k]), iotest.ErrReader(errStick))
	}, func(err error) bool { return errors.Is(err, errStick) }},
	{"lies", func(rnd *rand.Rand, b []byte, k int) io.Reader {
		b = bytes.Clone(b)
		b[k] ^= 1 << rnd.IntN(8)
		return bytes.NewReader(b)
	}, refusal},
}

// harmless reports whether nothing that is installed depends on byte k, and
// nothing covers it: the checksum field of a tar header, which covers all of
// the header but itself, and can have zeros or spaces before the number and NUL
// or space behind it; and what a gzip stream says about itself (text, time,
// operating system), with the bits that fill up its last byte before the sums.
func harmless(art []byte, k int) bool {
	at := k % 512
	if header := art[k-at:]; bytes.Equal(header[257:262], []byte("ustar")) && at >= 148 && at < 156 {
		return true
	}
	start := bytes.LastIndex(art, []byte("\x1f\x8b\x08"))
	if start < 512 || start%512 != 0 {
		return false
	}
	size, err := strconv.ParseInt(string(art[start-512+124:start-512+135]), 8, 64)
	return err == nil && (k >= start+3 && k < start+10 || k == start+int(size)-9)
}

// TestSourceIsWrong: an artifact that ends, fails or lies at any position is
// refused. The environment stays as it is, byte for byte, and the inactive slot
// cannot be loaded half-written.
func TestSourceIsWrong(t *testing.T) {
	for _, c := range []artifact.Compression{artifact.None, artifact.Gzip, artifact.Zstd} {
		for _, s := range sources {
			t.Run(string(c)+" "+s.name, func(t *testing.T) {
				t.Parallel()
				rnd := seeded(t)
				d := benchOf(t, noise(rnd, 2*block), noise(rnd, 2*block), bytes.Repeat(noise(rnd, 300), 9))
				key, err := signing.Generate("p256")
				must(t, err)
				pub, err := key.Public().MarshalPEM()
				must(t, err)
				d.put(t, "key.pem", pub)
				whole := pack(t, key, d.images["new"], c)
				before, device := d.snapshot(t), d.device(t)
				n := 0
				for k := range len(whole) {
					if !soak && rnd.IntN(len(whole)) >= 40 {
						continue
					}
					n++
					_, err := device.Install(t.Context(), s.wrong(rnd, whole, k), install.Options{})
					if err == nil && s.name == "lies" && harmless(whole, k) && d.holds(t, partB) == "new" {
						d.restore(t, before)
						continue
					}
					if !s.is(err) {
						t.Errorf("at %d of %d: %v", k, len(whole), err)
					}
					if !bytes.Equal(d.get(t, "uboot.env"), before["uboot.env"]) {
						t.Fatalf("at %d of %d: the environment was written", k, len(whole))
					}
					if d.loadable(t, partB, before["slot3.img"]) || !bytes.Equal(d.get(t, "slot2.img"), before["slot2.img"]) {
						t.Fatalf("at %d of %d: the slots", k, len(whole))
					}
					must(t, os.WriteFile(d.path("slot3.img"), before["slot3.img"], 0o600))
				}
				_, err = device.Install(t.Context(), bytes.NewReader(whole), install.Options{})
				must(t, err)
				if u := d.boots(t); !u.onTrial() || d.holds(t, partB) != "new" {
					t.Errorf("the artifact itself: %v", u.vars)
				}
				t.Logf("%d of %d positions", n, len(whole))
			})
		}
	}
}
