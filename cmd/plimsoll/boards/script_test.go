package boards

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/plimsoll-ota/plimsoll/bootloader"
	profile "github.com/plimsoll-ota/plimsoll/bootloader/board"
	"github.com/plimsoll-ota/plimsoll/partition/image"
)

// A copy is one copy of the environment as it is found.
type copyOf struct {
	flags byte
	env   bootloader.Env // differs so from what is usual; "" removes a variable
	torn  func([]byte)   // what happened to it
}

// A scriptCase is what the script finds: the names of its variables are those
// of a board whose script counts in the environment.
type scriptCase struct {
	name   string
	copies [2]copyOf
}

// alone is a case of an environment of which the other copy is older, and says
// the contrary.
func alone(name string, env bootloader.Env) scriptCase {
	return scriptCase{name, [2]copyOf{{flags: 7, env: env}, {flags: 6, env: bootloader.Env{"mender_boot_part": "3", "mender_boot_part_hex": "3", "upgrade_available": "1"}}}}
}

// raw returns both copies as they are on a disk of the board.
func (c scriptCase) raw(p *profile.Profile) (copies [2][]byte) {
	count, limit := bootloader.CountVariables(p.Environment.Counter)
	for i, copy := range c.copies {
		e := usual(p)
		for name, value := range copy.env {
			switch name {
			case "bootcount":
				name = count
			case "bootlimit":
				name = limit
			}
			e[name] = value
		}
		b, err := e.Encode(int(p.Environment.Size), true, copy.flags)
		if err != nil {
			panic(err)
		}
		if copy.torn != nil {
			copy.torn(b)
		}
		copies[i] = b
	}
	return copies
}

// usual is what is in an environment after an update or two. The variable that
// no script knows is dropped by its first save.
func usual(p *profile.Profile) bootloader.Env {
	e := p.FirstEnvironment()
	e["plimsoll_trial"], e["plimsoll_floor"], e["unknown"] = "0190b3c2-7e1f", "1.2.3", "to all"
	for i, name := range p.Boot.Keep {
		e[name] = fmt.Sprintf("kept %d", i)
	}
	if p.Environment.Counter == bootloader.CounterRegister {
		e["bootcount"], e["bootlimit"] = "99", "1" // of the register, and nothing to the script
	}
	return e
}

// What a cut leaves of a write, for the copy that was to be written.
var tears = map[string]func([]byte){
	"first sector only":     func(b []byte) { clear(b[512:]) },
	"all but the last":      func(b []byte) { b[len(b)-512] ^= 1; clear(b[len(b)-511:]) },
	"the last byte":         func(b []byte) { b[len(b)-1] ^= 0x80 },
	"checksum":              func(b []byte) { b[0] ^= 1 },
	"a bit of a variable":   func(b []byte) { b[20] ^= 1 },
	"never written":         func(b []byte) { clear(b) },
	"erased":                func(b []byte) { fill(b, 0xff) },
	"another's bytes":       func(b []byte) { rand.NewChaCha8([32]byte{1}).Read(b) },
	"a single copy's":       func(b []byte) { binary.LittleEndian.PutUint32(b, crc32.ChecksumIEEE(b[4:])) },
	"swapped byte order":    func(b []byte) { b[0], b[1], b[2], b[3] = b[3], b[2], b[1], b[0] },
	"the first sector lost": func(b []byte) { clear(b[:512]) },
}

func fill(b []byte, with byte) {
	for i := range b {
		b[i] = with
	}
}

// flagPairs are where counters wrap, and where a sign would.
var flagPairs = [][2]byte{
	{1, 2}, {2, 1}, {255, 0}, {0, 255}, {254, 255}, {255, 254}, {7, 7}, {0, 1}, {1, 0}, {255, 1}, {1, 255},
	{0, 0}, {255, 255}, {127, 128}, {128, 127}, {0, 128}, {16, 9}, {0, 254},
}

// flagCases have two copies that differ in everything, so that it is seen which
// one was taken.
func flagCases() (all []scriptCase) {
	onA := bootloader.Env{"upgrade_available": "1", "bootcount": "0", "plimsoll_floor": "first"}
	onB := bootloader.Env{"upgrade_available": "1", "bootcount": "1", "mender_boot_part": "3", "mender_boot_part_hex": "3", "plimsoll_floor": "second"}
	for _, f := range flagPairs {
		all = append(all, scriptCase{fmt.Sprintf("flags %d and %d", f[0], f[1]), [2]copyOf{{flags: f[0], env: onA}, {flags: f[1], env: onB}}})
	}
	for _, f := range [][2]byte{{1, 2}, {2, 1}, {255, 0}, {0, 255}, {7, 7}} {
		for torn := range 2 {
			c := scriptCase{fmt.Sprintf("flags %d and %d, copy %c torn", f[0], f[1], 'a'+torn), [2]copyOf{{flags: f[0], env: onA}, {flags: f[1], env: onB}}}
			c.copies[torn].torn = tears["all but the last"]
			all = append(all, c)
		}
	}
	for name, torn := range tears {
		c := scriptCase{"newer copy: " + name, [2]copyOf{{flags: 8, env: onA, torn: torn}, {flags: 7, env: onB}}}
		all = append(all, c)
		c.name, c.copies[1].torn = "both copies: "+name, torn
		all = append(all, c)
	}
	return all
}

// countCases are trials.
func countCases() (all []scriptCase) {
	trial := func(name string, with ...string) {
		e := bootloader.Env{"upgrade_available": "1"}
		for i := 0; i < len(with); i += 2 {
			e[with[i]] = with[i+1]
		}
		all = append(all, alone(name, e))
	}
	for _, limit := range []string{"1", "3", "9"} {
		for _, count := range []string{"0", "1", "2", "3", "8", "9"} {
			trial("count "+count+" of "+limit, "bootcount", count, "bootlimit", limit)
		}
	}
	for _, count := range []string{"", "x", "-1", "00", "01", "10", "255", "1 2", "1; reset", `1" = "1`, "${bootlimit}"} {
		trial(fmt.Sprintf("count %q", count), "bootcount", count, "bootlimit", "9")
	}
	for _, limit := range []string{"", "0", "x", "12", "-1", "10", "99999", "1 2", "; reset", `" = "`, "${pl_n}", "-lt"} {
		for _, count := range []string{"0", "2"} {
			trial(fmt.Sprintf("count %s, limit %q", count, limit), "bootcount", count, "bootlimit", limit)
		}
	}
	for _, part := range []string{"2", "3"} {
		for _, count := range []string{"0", "3"} {
			trial("part "+part+", count "+count, "mender_boot_part", part, "mender_boot_part_hex", part, "bootcount", count)
		}
	}
	// A backslash alone is not kept: U-Boot takes it for an escape, and writes two.
	trial("in another's words", "plimsoll_trial", `it's "$1" ${bootcount} \\ ; reset && x | y #`, "plimsoll_floor", "a=b=c")
	trial("long", "plimsoll_floor", strings.Repeat("long ", 3000))
	return all
}

// slotCases are about which slot it is, and whether it is on trial.
func slotCases() (all []scriptCase) {
	for _, flag := range []string{"", "0", "1", "2", "x"} {
		for _, part := range []string{"2", "3"} {
			all = append(all, alone(fmt.Sprintf("upgrade_available %q of part %s", flag, part), bootloader.Env{"upgrade_available": flag, "mender_boot_part": part, "mender_boot_part_hex": part}))
		}
	}
	for _, part := range []string{"", "1", "4", "x", "33", "0x3", "-3", "3 3", `3" = "3`, "3; reset", "${pl_slot}"} {
		all = append(all,
			alone(fmt.Sprintf("part %q", part), bootloader.Env{"mender_boot_part": part}),
			alone(fmt.Sprintf("part %q, going back", part), bootloader.Env{"mender_boot_part": part, "upgrade_available": "1", "bootcount": "3"}))
	}
	for _, hex := range []string{"2", "0x3", "", "x"} {
		all = append(all,
			alone(fmt.Sprintf("part 3, hexadecimal %q", hex), bootloader.Env{"mender_boot_part": "3", "mender_boot_part_hex": hex}),
			alone(fmt.Sprintf("part 3, hexadecimal %q, going back", hex), bootloader.Env{"mender_boot_part": "3", "mender_boot_part_hex": hex, "upgrade_available": "1", "bootcount": "3"}))
	}
	return all
}

// scripts are the boards whose scripts are run.
var scripts = []struct {
	board string
	arm   bool // by a U-Boot of 32 bits: a few cases will do
}{{board: "qemu-arm64"}, {board: "beaglebone-black-debian"}, {board: "raspberrypi3-32", arm: true}}

// keep are three variables more: there is room for no others.
func keep(p *profile.Profile) { p.Boot.Keep = []string{"ethaddr_of_fleet", "kept", "Kept.2"} }

// TestScript compares what the script does with what its model does.
func TestScript(t *testing.T) {
	for _, b := range scripts {
		t.Run(b.board, func(t *testing.T) {
			t.Parallel()
			s := newShell(t, b.board, b.arm, keep)
			cases := append(append(flagCases(), countCases()...), slotCases()...)
			if b.arm && !soak() {
				r := seeded(t)
				r.Shuffle(len(cases), func(i, j int) { cases[i], cases[j] = cases[j], cases[i] })
				cases = cases[:20]
			}
			began := time.Now()
			for _, c := range cases {
				t.Run(c.name, func(t *testing.T) { s.in(t).check(c.raw(s.Profile)) })
			}
			t.Logf("%d starts in %v", len(cases), time.Since(began).Round(time.Millisecond))
		})
	}
}

// TestScriptSample is TestScript with whatever comes together.
func TestScriptSample(t *testing.T) {
	for _, b := range scripts {
		t.Run(b.board, func(t *testing.T) {
			t.Parallel()
			s := newShell(t, b.board, b.arm, keep)
			n := 25
			if soak() {
				n = 1000
			}
			r := seeded(t)
			for i := range n {
				c := anyCase(r)
				c.name = fmt.Sprint(i)
				t.Run(c.name, func(t *testing.T) {
					if s.in(t).check(c.raw(s.Profile)); t.Failed() {
						t.Logf("%+v", c)
					}
				})
			}
		})
	}
}

// anyCase makes a case of values, each of which has one of its own above.
func anyCase(r *rand.Rand) (c scriptCase) {
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	names := slices.Sorted(maps.Keys(tears))
	for i := range c.copies {
		to := &c.copies[i]
		to.flags = byte(pick("\x00", "\x01", "\x7f", "\x80", "\xfe", "\xff")[0])
		if r.IntN(3) == 0 {
			to.flags = byte(r.Uint32())
		}
		if r.IntN(4) == 0 {
			to.torn = tears[pick(names...)]
		}
		to.env = bootloader.Env{
			"mender_boot_part":     pick("2", "3", "2", "3", "", "x"),
			"mender_boot_part_hex": pick("2", "3", ""),
			"upgrade_available":    pick("0", "1", "1", "1", "2", ""),
			"bootcount":            pick("0", "1", "2", "3", "4", "8", "9", "10", "", "x"),
			"bootlimit":            pick("0", "1", "2", "3", "9", "10", "", "x"),
			"plimsoll_floor":       pick("", "1.0", strings.Repeat("9", r.IntN(2000))),
		}
	}
	return c
}

// TestScriptWraps counts over the end of the counter, with the other writers of
// an environment in between.
func TestScriptWraps(t *testing.T) {
	for _, b := range scripts {
		t.Run(b.board, func(t *testing.T) {
			t.Parallel()
			s := newShell(t, b.board, b.arm, keep)
			c := scriptCase{"", [2]copyOf{{flags: 253}, {flags: 254, env: bootloader.Env{"upgrade_available": "1", "bootlimit": "9"}}}}
			copies := c.raw(s.Profile)
			count, _ := bootloader.CountVariables(s.Environment.Counter)
			newest := 1
			for n, want := range []byte{255, 0, 1, 255, 0, 1, 255, 0} {
				s.check(copies)
				newest = 1 - newest
				copies = s.load()
				e, flags, err := bootloader.ParseEnv(copies[newest], true)
				if err != nil || flags != want || e[count] != fmt.Sprint(n+1) {
					t.Fatalf("boot %d: flags %d, %v, %v; want flags %d", n+1, flags, e, err, want)
				}
			}
			for n, write := range []func(*testing.T, string, string){s.fwSetenv, s.update} {
				write(t, "plimsoll_floor", fmt.Sprint(n))
				newest = 1 - newest
				before := s.load()
				if _, e := s.read(s.locations()); e["plimsoll_floor"] != fmt.Sprint(n) {
					t.Fatalf("%v was not written", e)
				}
				s.check(before) // the ninth boot that is allowed, and the one that goes back
				newest = 1 - newest
			}
			_, e := s.read(s.locations())
			if part, hex, trial := bootloader.PartVariables(); e[part] != "3" || e[hex] != "3" || e[trial] != "0" || e[count] != "0" || e["plimsoll_floor"] != "1" {
				t.Errorf("after the tenth boot: %v", e)
			}
		})
	}
}

// fwSetenv sets a variable as others do.
func (s *shell) fwSetenv(t *testing.T, name, value string) {
	onHost(t, "libubootenv-tool", "fw_setenv", "-c", s.fwConfig(), name, value)
}

// update sets a variable as plimsoll does.
func (s *shell) update(t *testing.T, name, value string) {
	u := s.open(s.locations())
	if err := u.Update(func(e bootloader.Env) error { e[name] = value; return nil }); err != nil {
		t.Fatal(err)
	}
}

// TestScriptCannotSave: a disk that takes no writes. The script says so, and
// starts what it would have started.
func TestScriptCannotSave(t *testing.T) {
	t.Parallel()
	s := newShell(t, "qemu-arm64", false, nil)
	s.config.Disks[0].ReadOnly = true
	for _, count := range []string{"0", "2", "3"} {
		c := alone("count "+count, bootloader.Env{"upgrade_available": "1", "bootcount": count})
		t.Run(c.name, func(t *testing.T) { s.in(t).check(c.raw(s.Profile)) })
	}
}

// TestScriptCommandLine: what a slot's kernel is started with.
func TestScriptCommandLine(t *testing.T) {
	slot := []image.File{{Name: "boot", Mode: fs.ModeDir | 0o755}, {Name: "boot/Image", Data: []byte("I")}, {Name: "boot/zImage", Data: []byte("z")}}
	initrd, tree := image.File{Name: "boot/initrd", Data: make([]byte, 0x123)}, image.File{Name: "boot/my.dtb", Data: []byte("t")}
	for _, b := range scripts {
		for _, all := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/initrd and device tree %v", b.board, all), func(t *testing.T) {
				t.Parallel()
				files, with := slot, "0x42000000 - 0x40000000" // where QEMU has put its device tree
				if all {
					files, with = append(slices.Clone(slot), initrd, tree), "0x42000000 0x48000000:123 0x47000000"
				}
				s := newShell(t, b.board, b.arm, func(p *profile.Profile) {
					// Instead of starting a kernel, say what it would get.
					p.Boot.Kernels = []profile.Kernel{{File: "/boot/none", Command: "reset"}, {File: p.Boot.Kernels[0].File, Command: "echo START ${bootargs} WITH"}}
					p.Boot.DeviceTree = "/boot/my.dtb"
				}, files...)
				for _, c := range []scriptCase{
					alone("A", nil),
					alone("B", bootloader.Env{"mender_boot_part": "3", "mender_boot_part_hex": "3"}),
					alone("A on trial", bootloader.Env{"upgrade_available": "1"}),
					alone("B on trial", bootloader.Env{"mender_boot_part": "3", "mender_boot_part_hex": "3", "upgrade_available": "1", "bootcount": "2"}),
					alone("B is given up", bootloader.Env{"mender_boot_part": "3", "mender_boot_part_hex": "3", "upgrade_available": "1", "bootcount": "3"}),
					{"lost", [2]copyOf{{torn: tears["erased"]}, {torn: tears["never written"]}}},
				} {
					t.Run(c.name, func(t *testing.T) { s.in(t).starts(c.raw(s.Profile), with) })
				}
			})
		}
	}
}

var started = regexp.MustCompile(`(?m)^START (.*) WITH (.*)$`)

// starts compares what kernels are started with.
func (s *shell) starts(copies [2][]byte, with string) {
	s.Helper()
	s.store(copies)
	_, console := s.boot()
	got := started.FindAllStringSubmatch(console, -1)
	if len(got) != 2 {
		s.Fatalf("%d starts, want 2:\n%s", len(got), console)
	}
	r := strings.NewReplacer("UUID-A", s.partUUID(2), "UUID-B", s.partUUID(3), "TARGETS", ","+strings.ReplaceAll(targets, " ", ","))
	for i, want := range model(s.Profile, copies, false).starts {
		if want = r.Replace(want); got[i][1] != want || got[i][2] != with {
			s.Errorf("start %d:\n     %s\nwith %s; want\n     %s\nwith %s", i, got[i][1], got[i][2], want, with)
		}
	}
}

// partUUID is what Linux calls a partition by, in PARTUUID=.
func (s *shell) partUUID(number int) string {
	s.Helper()
	if s.Disk.Table == image.GPT {
		return strings.ToLower(strings.TrimSpace(onHost(s.T, "fdisk", "sfdisk", "--part-uuid", s.disk, fmt.Sprint(number))))
	}
	id := strings.TrimSpace(onHost(s.T, "fdisk", "sfdisk", "--disk-id", s.disk))
	return fmt.Sprintf("%s-%02x", strings.TrimPrefix(id, "0x"), number)
}

// in is the shell of a part of a test.
func (s *shell) in(t *testing.T) *shell {
	c := *s
	c.T = t
	return &c
}

// seeded returns the source of a sample, and says how to have it again.
func seeded(t *testing.T) *rand.Rand {
	seed, err := strconv.ParseUint(os.Getenv("PLIMSOLL_SEED"), 10, 64)
	if err != nil {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("PLIMSOLL_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}
