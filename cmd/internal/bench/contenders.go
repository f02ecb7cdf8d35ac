package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// A contender does one job in one way.
type contender struct {
	name          string
	note          string
	before, after func() error // outside the timing
	run           func() (sample, error)
	once          bool // one run says it all
	long          bool // takes minutes: run only when asked for
	version       string
}

// big is the size of the image that shows that memory does not grow with it.
const big = 16 << 30

// payload returns the image as one zstd frame at the level that is the default
// of everybody.
func (b *bench) payload() (string, error) {
	return b.make(b.kept, "payload.zst", func(path string) error {
		return b.doPeer("zstd", "-q", "-3", "-T1", b.image, "-o", path)
	})
}

// ours returns the image in an artifact that plimsoll makes.
func (b *bench) ours(image, name string) (string, error) {
	return b.make(b.work, name, func(path string) error {
		_, err := b.write(image, "zstd", path)
		return err
	})
}

// theirs returns the image in an artifact that Mender's tool makes. The xz one
// takes minutes and is there once it was measured.
func (b *bench) theirs(compression string) (string, error) {
	path := filepath.Join(b.kept, compression+".mender")
	if compression != "lzma" {
		return b.make(b.kept, compression+".mender", func(path string) error {
			_, err := b.menderArtifact(compression, path)
			return err
		})
	}
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	_, err := b.remembered(b.writesXZ())
	return path, err
}

// writesXZ is Mender's tool making the artifact that theirs keeps.
func (b *bench) writesXZ() contender {
	return contender{
		name: "mender-artifact write xz", once: true, long: true, version: b.sumOf(b.root + "/usr/bin/mender-artifact"),
		run: func() (sample, error) {
			path := filepath.Join(b.kept, "lzma.mender")
			s, err := b.menderArtifact("lzma", path+".part")
			if err != nil {
				return s, err
			}
			return s, os.Rename(path+".part", path)
		},
	}
}

// bigArtifact returns an artifact of an image of 16 GiB: the real one, and
// zeros.
func (b *bench) bigArtifact() (string, error) {
	image := b.path("big.img")
	_, err := os.Stat(image)
	if err != nil {
		err = b.do("cp", "--sparse=always", b.image, image)
	}
	if err == nil {
		err = os.Truncate(image, big)
	}
	if err != nil {
		return "", err
	}
	return b.ours(image, "big.mender")
}

func (b *bench) contenders() []contender {
	all := []contender{
		{name: "limit: zstd -dc to dd conv=sparse,fsync", note: "leaves what was there where the image has zeros", before: b.slot.other,
			run: b.limit, after: func() error { return b.slot.holds(b.image, true) }},
		{name: "limit: dd iflag=direct", note: "reads the slot once", run: func() (sample, error) {
			return b.timed(command{args: b.peer("dd", "if="+slotB, "of=/dev/null", "bs=1M", "iflag=direct")})
		}},
		b.installed("plimsoll install zstd", b.slot.other, b.image, func() (string, error) { return b.ours(b.image, "zstd.mender") }),
		b.installed("plimsoll install gzip", b.slot.other, b.image, func() (string, error) { return b.theirs("gzip") }),
		b.installed("plimsoll install xz", b.slot.other, b.image, func() (string, error) { return b.theirs("lzma") }),
		b.installed("plimsoll install zstd again", func() error { return b.slot.hold(b.image) }, b.image,
			func() (string, error) { return b.ours(b.image, "zstd.mender") }),
		b.installed("plimsoll install zstd, B over A", func() error { return b.slot.hold(b.image) }, b.updated,
			func() (string, error) { return b.ours(b.updated, "updated.mender") }),
		b.peerInstalls("mender-client install gzip", b.resetMender, func() (string, error) { return b.theirs("gzip") }, b.mender),
		b.peerInstalls("mender-client install xz", b.resetMender, func() (string, error) { return b.theirs("lzma") }, b.mender),
		b.peerInstalls("rauc install", nil, func() (string, error) { return b.make(b.kept, "image.raucb", b.bundle) }, b.rauc),
		b.peerInstalls("swupdate install zstd", b.resetMender, func() (string, error) { return b.make(b.kept, "image.swu", b.swu) }, b.swupdate),
		{name: "blocks that differ, B and A", once: true, run: b.differing},
	}
	all = append(all, b.workbench()...)
	return append(all, b.memory()...)
}

// limit is what nobody can beat who writes the same bytes.
func (b *bench) limit() (sample, error) {
	payload, err := b.payload()
	if err != nil {
		return sample{}, err
	}
	if err := warm(payload); err != nil {
		return sample{}, err
	}
	return b.timed(command{args: b.peer("sh", "-c", "zstd -dcq $0 | dd of="+slotB+" bs=1M iflag=fullblock conv=sparse,fsync", payload)})
}

// installed is plimsoll installing an artifact, after which the slot holds the
// image.
func (b *bench) installed(name string, fill func() error, image string, artifact func() (string, error)) contender {
	return contender{
		name: name,
		before: func() error {
			if image == "" {
				return errors.New("there is no such image")
			}
			if _, err := artifact(); err != nil {
				return err
			}
			return errors.Join(fill(), b.device.reset())
		},
		run: func() (sample, error) {
			path, err := artifact()
			if err != nil {
				return sample{}, err
			}
			return b.install(b.device, path)
		},
		after: func() error { return b.slot.holds(image, false) },
	}
}

func (b *bench) peerInstalls(name string, reset func() error, artifact func() (string, error), install func(string) (sample, error)) contender {
	return contender{
		name: name,
		before: func() error {
			if _, err := artifact(); err != nil {
				return err
			}
			if reset != nil {
				if err := reset(); err != nil {
					return err
				}
			}
			return b.slot.other()
		},
		run: func() (sample, error) {
			path, err := artifact()
			if err != nil {
				return sample{}, err
			}
			return install(path)
		},
		after: func() error { return b.slot.holds(b.image, false) },
	}
}

func (b *bench) differing() (sample, error) {
	if b.updated == "" {
		return sample{}, errors.New("there is no such image")
	}
	n, of, err := differing(b.image, b.updated)
	fmt.Fprintf(os.Stderr, "   %d of %d blocks differ\n", n, of)
	return sample{Size: n * block4}, err
}

// workbench are the contenders that write and verify artifacts.
func (b *bench) workbench() (all []contender) {
	for _, compression := range []string{"zstd", "zstd_best", "gzip", "lzma"} {
		c := contender{name: "plimsoll write " + compression, run: func() (sample, error) { return b.write(b.image, compression, b.path("out.mender")) }}
		if compression == "lzma" {
			c.once, c.long, c.version = true, true, b.sumOf(b.plimsoll)
		}
		all = append(all, c)
	}
	verify := func(artifact func() (string, error), command func(path string) []string) func() (sample, error) {
		return func() (sample, error) {
			path, err := artifact()
			if err != nil {
				return sample{}, err
			}
			if err := warm(path); err != nil {
				return sample{}, err
			}
			return b.timed(commandOf(command(path)))
		}
	}
	gzip := func() (string, error) { return b.theirs("gzip") }
	zstd := func() (string, error) { return b.ours(b.image, "zstd.mender") }
	ours := func(path string) []string {
		return []string{b.plimsoll, "--quiet", "artifact", "verify", "-k", b.key("public.pem"), path}
	}
	return append(all,
		contender{name: "mender-artifact write gzip", run: func() (sample, error) { return b.menderArtifact("gzip", b.path("peer.mender")) }},
		b.writesXZ(),
		contender{name: "plimsoll verify zstd", run: verify(zstd, ours)},
		contender{name: "plimsoll verify gzip", run: verify(gzip, ours)},
		contender{name: "mender-artifact validate gzip", run: verify(gzip, func(path string) []string {
			return b.peer("mender-artifact", "validate", "-k", b.key("public.pem"), path)
		})},
	)
}

func commandOf(args []string) command { return command{args: args} }

// sumOf names a program by its content.
func (b *bench) sumOf(path string) string {
	_, sum, err := fingerprint(path)
	if err != nil {
		return "unknown"
	}
	return sum[:8]
}

// memory are the contenders that are about size: of memory, of the program.
func (b *bench) memory() []contender {
	return []contender{
		{name: "plimsoll install zstd, 16 GiB", note: "the image and zeros, into a slot of zeros", once: true, run: b.installBig},
		{name: "plimsoll verify zstd, 16 GiB", note: "the image and zeros", once: true, run: func() (sample, error) {
			path, err := b.bigArtifact()
			if err != nil {
				return sample{}, err
			}
			return b.timed(command{args: []string{b.plimsoll, "--quiet", "artifact", "verify", "-k", b.key("public.pem"), path}})
		}},
		{name: "plimsoll install zstd on a slow board", note: "the board's own time; two emulated processors", once: true, run: b.installSlowly},
		{name: "the image at 20 MB/s", note: "a quotient", once: true, run: b.pace},
		{name: "plimsoll status", note: "each the median of 21", before: b.device.reset, run: b.status},
		{name: "plimsoll for arm64, stripped", once: true, run: func() (sample, error) {
			if b.stripped == "" {
				return sample{}, errors.New("there is no such file")
			}
			return measured(sample{}, nil, b.stripped)
		}},
	}
}

func (b *bench) installBig() (s sample, err error) {
	path, err := b.bigArtifact()
	if err != nil {
		return s, err
	}
	slot, err := newSlot(b.path("big.slot"), big)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, slot.close()) }()
	d, err := b.newDevice("big", slot)
	if err != nil {
		return s, err
	}
	if err := d.reset(); err != nil {
		return s, err
	}
	if s, err = b.install(d, path); err != nil {
		return s, err
	}
	return s, slot.holds(b.path("big.img"), false)
}

// status is timed without a program in between, and often: it is short.
func (b *bench) status() (sample, error) {
	var took []time.Duration
	for range 21 {
		cmd := b.command(b.plimsoll, "--quiet", "--config", b.device.path("plimsoll.toml"), "status")
		begun := time.Now()
		err := cmd.Run()
		took = append(took, time.Since(begun))
		if err != nil {
			return sample{}, fmt.Errorf("status: %w", err)
		}
	}
	return sample{Wall: median(took)}, nil
}
