package board_test

import (
	"fmt"
	"strings"

	"github.com/plimsoll-ota/plimsoll/bootloader/board"
)

// What a board is: here QEMU's.
func Example() {
	p, err := board.Load("qemu-arm64")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(p.Description)
	fmt.Print(p.FwEnvConfig())
	fmt.Println("slots", p.Number("a"), p.Number("b"))
	fmt.Println(strings.Count(p.Script(), "plimsoll.slot="))
	// Output:
	// QEMU's virt machine, 64 bit, with Debian's u-boot-qemu
	// # The boot environment of qemu-arm64: device, offset, size of each copy.
	// /dev/vda 0x800000 0x4000
	// /dev/vda 0x1000000 0x4000
	// slots 2 3
	// 1
}
