package install

import (
	"cmp"
	"math/big"
	"strings"
)

// A version is a version number: numbers joined by dots, perhaps after a "v",
// perhaps with a pre-release after a hyphen and a build after a plus sign.
// Only what is written so is ordered; "release-8" is a name.
type version struct {
	release []*big.Int
	pre     []string // empty: the release itself, which is newer than each of its pre-releases
}

// parseVersion reads a version number, or reports that s is none.
func parseVersion(s string) (v version, ok bool) {
	if len(s) > 128 {
		return v, false
	}
	s, build, hasBuild := strings.Cut(strings.TrimPrefix(s, "v"), "+")
	release, pre, hasPre := strings.Cut(s, "-")
	if hasBuild && !identifiers(build) || hasPre && !identifiers(pre) {
		return v, false
	}
	for _, field := range strings.Split(release, ".") {
		n, ok := number(field)
		if !ok {
			return v, false
		}
		v.release = append(v.release, n)
	}
	if hasPre {
		v.pre = strings.Split(pre, ".")
	}
	return v, true
}

// number reads a field of ASCII digits.
func number(s string) (*big.Int, bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return nil, false
	}
	return new(big.Int).SetString(s, 10)
}

// identifiers reports whether s is dot-separated identifiers of letters,
// digits and hyphens, none empty.
func identifiers(s string) bool {
	for _, id := range strings.Split(s, ".") {
		if id == "" || strings.Trim(id, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-") != "" {
			return false
		}
	}
	return true
}

// compare orders as Semantic Versioning 2.0.0 (section 11) does, for any
// number of release fields: a field that is absent is zero.
func (v version) compare(w version) int {
	for i := range max(len(v.release), len(w.release)) {
		if c := field(v.release, i).Cmp(field(w.release, i)); c != 0 {
			return c
		}
	}
	if len(v.pre) == 0 || len(w.pre) == 0 {
		return cmp.Compare(len(w.pre), len(v.pre))
	}
	for i := range min(len(v.pre), len(w.pre)) {
		if c := compareIdentifiers(v.pre[i], w.pre[i]); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(v.pre), len(w.pre))
}

func field(release []*big.Int, i int) *big.Int {
	if i < len(release) {
		return release[i]
	}
	return new(big.Int)
}

// compareIdentifiers orders numbers by value, before words, and words by byte.
func compareIdentifiers(a, b string) int {
	m, aNumber := number(a)
	n, bNumber := number(b)
	switch {
	case aNumber && bNumber:
		return m.Cmp(n)
	case aNumber:
		return -1
	case bNumber:
		return 1
	}
	return strings.Compare(a, b)
}
