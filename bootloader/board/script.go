package board

import (
	"crypto/sha256"
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"sync"
	"text/template"

	"github.com/plimsoll-ota/plimsoll/bootloader"
)

//go:embed boot.cmd
var bootCmd string

// bootScript is the script of every board: what differs are its values.
var bootScript = sync.OnceValue(func() *template.Template { return template.Must(template.New("boot.cmd").Parse(bootCmd)) })

// maxVariables is how many variables U-Boot's env export takes beside its six
// other words, where it is built for 16 (CONFIG_SYS_MAXARGS).
const maxVariables = 10

// maxCount is the largest boot count that the script can tell from the next:
// it counts in one digit, and takes anything else for too many.
const maxCount = 9

// variables are what the script imports and saves.
func (p *Profile) variables() []string {
	return append(bootloader.ScriptVariables(p.Environment.Counter), p.Boot.Keep...)
}

// Script returns the source of the board's boot script, or "" for a board
// whose U-Boot needs none.
func (p *Profile) Script() string { return p.script(p.ScriptID()) }

// ScriptID names a version of the board's boot script: it is passed to the
// kernel as plimsoll.script, so that a device can tell an old one. It is "" for
// a board without a script.
func (p *Profile) ScriptID() string {
	if p.Boot.Method != MethodScript {
		return ""
	}
	sum := sha256.Sum256([]byte(p.script("")))
	return fmt.Sprintf("%x", sum[:8])
}

func (p *Profile) script(id string) string {
	if p.Boot.Method != MethodScript {
		return ""
	}
	const sector = 512
	e, a := p.Environment, p.Boot.Address
	words := strings.Fields(p.Disk.UBoot)
	count, limit := bootloader.CountVariables(e.Counter)
	part, partHex, trial := bootloader.PartVariables()
	v := scriptValues{
		Profile: p, ID: id, Part: part, PartHex: partHex, Trial: trial, VariableList: p.variables(),
		Interface: words[0], Device: words[1],
		Variables: strings.Join(p.variables(), " "), Count: count, Limit: limit,
		Sectors: fmt.Sprintf("%x", int64(e.Size)/sector), Bytes: fmt.Sprintf("%x", int64(e.Size)), Data: fmt.Sprintf("%x", int64(e.Size)-1),
		Work: int64(a.Scratch) + 2*int64(e.Size), Word: int64(a.Scratch) + 3*int64(e.Size),
		PartA: fmt.Sprintf("%x", p.Number("a")), PartB: fmt.Sprintf("%x", p.Number("b")),
		NumberA: p.Number("a"), NumberB: p.Number("b"),
		RootPrefix: rootPrefix(p.Disk.Linux), MaxCount: maxCount, Overflow: maxCount + 1,
	}
	for i, name := range []string{"a", "b"} {
		v.Copies = append(v.Copies, scriptCopy{
			Name: name, Address: int64(a.Scratch) + int64(i)*int64(e.Size),
			Block: fmt.Sprintf("%x", int64(e.Offsets[i])/sector), OtherBlock: fmt.Sprintf("%x", int64(e.Offsets[1-i])/sector),
		})
	}
	for n := range maxCount {
		v.Counts = append(v.Counts, scriptCount{n, n + 1})
	}
	var b strings.Builder
	if err := bootScript().Execute(&b, v); err != nil {
		panic("board: boot script: " + err.Error()) // the template is ours, and so are its values
	}
	return withoutBlankLines(b.String())
}

// scriptValues is what the template needs of a profile. Numbers that U-Boot
// takes for hexadecimal are strings.
type scriptValues struct {
	*Profile
	ID                   string
	Interface, Device    string // "virtio" and "0"
	Variables            string
	VariableList         []string
	Part, PartHex, Trial string // names of variables, as are
	Count, Limit         string
	Sectors, Bytes, Data string // of a copy; Data is all but one byte
	Copies               []scriptCopy
	Work, Word           int64 // addresses: room for a copy, and for a checksum
	PartA, PartB         string
	NumberA, NumberB     int
	RootPrefix           string
	Counts               []scriptCount
	MaxCount, Overflow   int
}

type scriptCopy struct {
	Name              string
	Block, OtherBlock string // where it is on the disk, and where the other is
	Address           int64
}

// Flags is where a copy's flags byte is in memory.
func (c scriptCopy) Flags() string { return fmt.Sprintf("0x%x", c.Address+4) }

// At is the copy's address.
func (c scriptCopy) At() string { return fmt.Sprintf("0x%x", c.Address) }

type scriptCount struct{ N, Next int }

// At returns the address of byte n of the work area.
func (v scriptValues) At(n int64) string { return fmt.Sprintf("0x%x", v.Work+n) }

// Temp is the address of a word.
func (v scriptValues) Temp() string { return fmt.Sprintf("0x%x", v.Word) }

// Hex writes an address.
func (scriptValues) Hex(s Size) string { return fmt.Sprintf("0x%x", int64(s)) }

// rootPrefix is the kernel's name of a partition without its number: a "p"
// separates the number from a disk whose name ends in a digit.
func rootPrefix(disk string) string {
	if strings.ContainsAny(disk[len(disk)-1:], "0123456789") {
		return disk + "p"
	}
	return disk
}

// withoutBlankLines drops what the template leaves behind, and comments' indents.
func withoutBlankLines(s string) string {
	lines := slices.DeleteFunc(strings.Split(s, "\n"), func(l string) bool { return strings.TrimSpace(l) == "" })
	return strings.Join(lines, "\n") + "\n"
}
