package prepare

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/plimsoll-ota/plimsoll/udev/scan"
)

// maxName is the longest name on FAT32 and exFAT, in UTF-16.
const maxName = 255

// reserved are the names that Windows gives to devices, whatever ending they have.
var reserved = []string{"con", "prn", "aux", "nul"}

// checkName returns ErrName unless a device looks at a file of that name, and every file system of a stick can hold it: that it could be
// copied from one to another is not known when it is written.
func checkName(name string) error {
	bad := func(why string) error { return fmt.Errorf("%q: %w: %s", scan.Printable(name), ErrName, why) }
	stem, _, _ := strings.Cut(strings.ToLower(name), ".")
	switch {
	case !utf8.ValidString(name):
		return bad("it is not UTF-8")
	case strings.HasPrefix(name, "."):
		return bad("it begins with a dot, and is passed over")
	case !strings.HasSuffix(strings.ToLower(name), ".mender"):
		return bad("it does not end in .mender, and is passed over")
	case strings.ContainsAny(name, `"*/:<>?\|`):
		return bad(`FAT has no " * / : < > ? \ |`)
	case strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }):
		return bad("not all of it can be printed")
	case len(utf16.Encode([]rune(name))) > maxName:
		return bad("it is too long for FAT")
	case slices.Contains(reserved, stem):
		return bad("Windows has a device of that name")
	}
	return nil
}

// compareNames orders as FAT compares: upper and lower case are one.
func compareNames(a, b string) int {
	if strings.EqualFold(a, b) {
		return 0
	}
	return cmp.Or(strings.Compare(strings.ToLower(a), strings.ToLower(b)), strings.Compare(a, b))
}

// namesIn returns the names in a folder; of a folder that is larger than a device reads, an error.
func namesIn(dir *os.Root) ([]string, error) {
	d, err := dir.Open(".")
	if err != nil {
		return nil, err
	}
	defer d.Close() // only read
	names, err := d.Readdirnames(scan.MaxEntries)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	if len(names) == scan.MaxEntries {
		err = fmt.Errorf("%w: %d files or more in %s", ErrTooMany, scan.MaxEntries, dir.Name())
	}
	return names, err
}
