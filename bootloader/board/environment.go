package board

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/plimsoll-ota/plimsoll/bootloader"
)

// FwEnvConfig returns the fw_env.config that fits the board: what plimsoll and
// libubootenv's tools read.
func (p *Profile) FwEnvConfig() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# The boot environment of %s: device, offset, size of each copy.\n", p.Name)
	for _, o := range p.Environment.Offsets {
		fmt.Fprintf(&b, "%s %#x %#x\n", p.Disk.Linux, int64(o), int64(p.Environment.Size))
	}
	return b.String()
}

// FirstEnvironment returns the variables of a board that has never updated:
// slot A, no trial. It is nil for a board whose U-Boot follows the convention
// by itself: that one has defaults which an environment of ours would replace,
// and writes its own at its first start.
func (p *Profile) FirstEnvironment() bootloader.Env {
	if p.Boot.Method == MethodNative {
		return nil
	}
	part, hex, trial := bootloader.PartVariables()
	count, limit := bootloader.CountVariables(p.Environment.Counter)
	return bootloader.Env{
		part:  strconv.Itoa(p.Number("a")),
		hex:   strconv.FormatInt(int64(p.Number("a")), 16),
		trial: "0", count: "0", limit: strconv.Itoa(defaultLimit),
	}
}

// defaultLimit is the boots of a trial that somebody else arms: plimsoll sets
// its own with each arm.
const defaultLimit = 3

// EnvironmentCopies returns both copies of an environment with the variables
// of e, as they are on the medium: the first is current.
func (p *Profile) EnvironmentCopies(e bootloader.Env) ([2][]byte, error) {
	var copies [2][]byte
	for i := range copies {
		b, err := e.Encode(int(p.Environment.Size), true, byte(2-i))
		if err != nil {
			return copies, fmt.Errorf("first environment of %s: %w", p.Name, err)
		}
		copies[i] = b
	}
	return copies, nil
}
