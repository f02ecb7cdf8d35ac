package machine

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Where Debian's U-Boot for QEMU's virt machine looks for its environment: at
// the start of the second flash, in one copy: checksum, then the variables.
const (
	flashSize       = 64 << 20
	environmentSize = 0x40000
)

// environment returns the start of a flash from which U-Boot reads its own
// default variables with some of them set differently. A variable set to "" is
// left out.
func environment(uboot []byte, set map[string]string) ([]byte, error) {
	vars, err := defaults(uboot)
	if err != nil {
		return nil, err
	}
	maps.Copy(vars, set)
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		if vars[name] != "" {
			text.WriteString(name + "=" + vars[name] + "\x00")
		}
	}
	text.WriteByte(0)
	if text.Len() > environmentSize-4 {
		return nil, fmt.Errorf("U-Boot's environment: %d bytes do not fit %d", text.Len(), environmentSize-4)
	}
	b := make([]byte, environmentSize)
	copy(b[4:], text.String())
	binary.LittleEndian.PutUint32(b, crc32.ChecksumIEEE(b[4:]))
	return b, nil
}

var variable = regexp.MustCompile(`^[0-9A-Za-z_.-]+=`)

// defaults finds the variables that U-Boot was built with: strings that end
// with NUL, one after the other, of which one is bootcmd, and an empty one.
func defaults(uboot []byte) (map[string]string, error) {
	const sure = "\x00bootcmd="
	at := bytes.Index(uboot, []byte(sure))
	if at < 0 {
		return nil, fmt.Errorf("U-Boot's default environment: no bootcmd in %d bytes", len(uboot))
	}
	start := at + 1
	for start > 1 {
		before := bytes.LastIndexByte(uboot[:start-1], 0) + 1
		if !variable.Match(uboot[before : start-1]) {
			break
		}
		start = before
	}
	block, _, _ := bytes.Cut(uboot[start:], []byte("\x00\x00"))
	vars := map[string]string{}
	for v := range strings.SplitSeq(string(block), "\x00") {
		name, value, _ := strings.Cut(v, "=")
		vars[name] = value
	}
	return vars, nil
}
