package artifact

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// A Sum is a SHA-256.
type Sum [32]byte

// ParseSum parses what String returns: 64 lower-case hexadecimal digits and nothing else.
func ParseSum(s string) (Sum, error) {
	var sum Sum
	if len(s) != 2*len(sum) || s != strings.ToLower(s) {
		return Sum{}, fmt.Errorf("parse sha256 %q: want 64 lower-case hexadecimal digits", s)
	}
	if _, err := hex.Decode(sum[:], []byte(s)); err != nil {
		return Sum{}, fmt.Errorf("parse sha256 %q: %w", s, err)
	}
	return sum, nil
}

// String returns s as lower-case hexadecimal.
func (s Sum) String() string { return hex.EncodeToString(s[:]) }

// MarshalText is String, so that a Sum reads in JSON as it does everywhere else.
func (s Sum) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText is ParseSum.
func (s *Sum) UnmarshalText(b []byte) (err error) {
	*s, err = ParseSum(string(b))
	return err
}

// A manifest is what must be in the artifact. Readers take entries out of it one by one; what is still there at the end is missing.
type manifest struct {
	header  string // name of the header member that it lists
	entries []*entry
}

type entry struct {
	name string
	sum  Sum
	met  bool
}

const (
	dataPrefix  = "data/0000/"
	maxFileName = 90 // so that data/0000/<name> fits the 100 characters of a ustar name, which some readers ask for
)

var (
	fileName  = pattern(`^[A-Za-z0-9_.,-]{1,90}$`)
	otherData = pattern(`^data/[0-9]{4}/`)
)

// pattern compiles a regular expression at its first use: most runs of the program have none, and all of them would wait.
func pattern(expr string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expr) })
}

// validFile reports whether name may name a payload file: what both readers in the field accept, and no path.
func validFile(name string) bool { return fileName().MatchString(name) && name != "." && name != ".." }

// validHeader reports whether name is base with a suffix that the format knows.
func validHeader(name, base string) bool {
	suffix, ok := strings.CutPrefix(name, base)
	return ok && slices.Contains([]string{"", ".gz", ".xz", ".zst"}, suffix)
}

// parseManifest parses a manifest, whose header member is base with a suffix. A manifest lists version, manifest-augment does not.
func parseManifest(b []byte, base string, version bool) (*manifest, error) {
	m := new(manifest)
	if len(b) > 0 && b[len(b)-1] != '\n' {
		return nil, malformed("the last line has no newline")
	}
	for i, line := range bytes.Split(bytes.TrimSuffix(b, []byte("\n")), []byte("\n")) {
		if err := m.add(string(line), base, version); err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
	}
	if version && m.find("version") == nil {
		return nil, malformed("version is not listed")
	}
	if m.header == "" {
		return nil, malformed("%s is not listed", base)
	}
	return m, nil
}

// add parses one line.
func (m *manifest) add(line, base string, version bool) error {
	hexSum, name, ok := strings.Cut(line, "  ")
	if !ok {
		return malformed("want a sum, two spaces and a name, have %.120q", line)
	}
	sum, err := ParseSum(hexSum)
	if err != nil {
		return malformed("%w", err)
	}
	if m.find(name) != nil {
		return malformed("%s is listed twice", name)
	}
	file, isData := strings.CutPrefix(name, dataPrefix)
	switch {
	case isData && validFile(file), version && name == "version":
	case validHeader(name, base):
		if m.header != "" {
			return malformed("%s and %s are both listed", m.header, name)
		}
		m.header = name
	case otherData().MatchString(name) && !isData:
		return fmt.Errorf("%s: more than one payload: %w", name, ErrUnsupported)
	default:
		return malformed("%.120q is not a name that a manifest lists", name)
	}
	m.entries = append(m.entries, &entry{name: name, sum: sum})
	return nil
}

func (m *manifest) find(name string) *entry {
	for _, e := range m.entries {
		if e.name == name {
			return e
		}
	}
	return nil
}

// take returns the sum of a member or file that is there now. Everything is there exactly once.
func (m *manifest) take(name string) (Sum, error) {
	e := m.find(name)
	if e == nil {
		return Sum{}, malformed("%s is not listed in the manifest", name)
	}
	if e.met {
		return Sum{}, malformed("%s stands twice", name)
	}
	e.met = true
	return e.sum, nil
}

// files counts the payload files that are listed.
func (m *manifest) files() (n int) {
	for _, e := range m.entries {
		if strings.HasPrefix(e.name, dataPrefix) {
			n++
		}
	}
	return n
}

// complete returns an error that names what was listed and never taken.
func (m *manifest) complete() error {
	var missing []string
	for _, e := range m.entries {
		if !e.met {
			missing = append(missing, e.name)
		}
	}
	if missing != nil {
		return malformed("listed in the manifest and missing: %s", strings.Join(missing, ", "))
	}
	return nil
}

// encode returns the lines: payload files, header, version, as the writers in the field order them.
func (m *manifest) encode() []byte {
	var b bytes.Buffer
	for _, e := range m.entries {
		fmt.Fprintf(&b, "%v  %s\n", e.sum, e.name)
	}
	return b.Bytes()
}

// matches returns ErrChecksum, with both sums, unless have is want.
func matches(have, want Sum) error {
	if have != want {
		return fmt.Errorf("%w: have sha256 %v, want %v", ErrChecksum, have, want)
	}
	return nil
}
